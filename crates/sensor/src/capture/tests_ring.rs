//! Live capture between the two ends of a virtual cable, in a network namespace of its own.

#![expect(
    unsafe_code,
    reason = "makes a network namespace and sends raw frames; each block says why it is sound"
)]

use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::ring::{Options, Ring, RingError, Wait};
use super::{Source, merge};

const FRAMES: u32 = 5_000;

/// What a test needs that not every machine has. Under `RINGFENCE_STRICT` (as `./x test` sets it)
/// missing things fail the test; otherwise it is skipped, and says so.
fn in_namespace(test: &str, body: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        // SAFETY: moves only this thread, which ends with the test, into a fresh namespace.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err("root");
        }
        for line in [
            "link add near type veth peer name far",
            "link set near up",
            "link set far up",
            "link set lo up",
        ] {
            match Command::new("ip").args(line.split(' ')).status() {
                Ok(status) if status.success() => {}
                _ => return Err("iproute2 and virtual cables"),
            }
        }
        body();
        Ok(())
    });
    if let Err(missing) = thread.join().expect("the test failed in its namespace") {
        assert!(std::env::var_os("RINGFENCE_STRICT").is_none(), "{test} needs {missing}");
        eprintln!("SKIPPED {test}: needs {missing}");
    }
}

/// A raw socket bound to an interface.
fn sender(interface: &std::ffi::CStr) -> OwnedFd {
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0);
    // SAFETY: a C string that lives through the call.
    let index = unsafe { libc::if_nametoindex(interface.as_ptr()) };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: pointer and length describe `address`, which is only read.
    let bound = unsafe { libc::bind(fd, (&raw const address).cast(), len) };
    assert_eq!(bound, 0);
    // SAFETY: just made, no other owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn send(socket: &OwnedFd, frame: &[u8]) {
    // SAFETY: pointer and length describe `frame`, which is only read.
    let sent = unsafe { libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
    assert_eq!(usize::try_from(sent), Ok(frame.len()));
}

/// A frame of a local experimental EtherType (IEEE 802) with a number in it, tagged when told to.
fn frame(number: u32, vlan: Option<u16>) -> Vec<u8> {
    let tag = vlan.map(|id| [&[0x81, 0x00][..], &id.to_be_bytes()].concat());
    [
        &[0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1][..],
        &tag.unwrap_or_default(),
        &[0x88, 0xb5],
        &number.to_be_bytes(),
        &[0xaa; 42],
    ]
    .concat()
}

#[test]
fn netns_every_frame_of_a_cable_is_read_once_with_its_tag() {
    in_namespace("netns_every_frame_of_a_cable_is_read_once_with_its_tag", || {
        let options = Options { run_for: Some(Duration::from_secs(20)), ..Options::default() };
        let ring = Ring::open("far", &options).unwrap();
        let near = sender(c"near");
        for number in 0..FRAMES {
            let vlan = number.is_multiple_of(2).then_some(0x6000 | 100);
            send(&near, &frame(number, vlan));
        }
        let mut merged = merge(vec![Box::new(ring)]);
        let mut next = 0;
        let mut last = model::Timestamp::MIN;
        while next < FRAMES {
            let (_, packet) = merged.next_packet().expect("all frames before the time is over");
            let Some(payload) = packet.data.strip_prefix(&frame(0, None)[..14]) else {
                continue; // the kernel's own neighbour discovery
            };
            assert_eq!(payload[..4], next.to_be_bytes(), "in order, none twice");
            assert_eq!(packet.vlan, next.is_multiple_of(2).then_some(100));
            assert_eq!((packet.data.len(), packet.wire_len, packet.link), (60, 60, 1));
            assert!(packet.at >= last && packet.at.as_nanos() > 1_600_000_000_000_000_000);
            last = packet.at;
            next += 1;
        }
        let status = merged.status().remove(0);
        assert_eq!((status.dropped, status.errors), (0, Vec::new()));
        assert!(status.packets >= u64::from(FRAMES));
    });
}

#[test]
fn netns_a_full_ring_counts_what_it_drops() {
    in_namespace("netns_a_full_ring_counts_what_it_drops", || {
        let options = Options {
            block_bytes: 4_096,
            blocks: 2,
            run_for: Some(Duration::from_millis(300)),
            ..Options::default()
        };
        let mut ring = Ring::open("far", &options).unwrap();
        let near = sender(c"near");
        for number in 0..FRAMES {
            send(&near, &frame(number, None));
        }
        let mut read = 0;
        while let Some(packet) = ring.next() {
            read += u64::from(packet.data.ends_with(&[0xaa; 42]));
        }
        let dropped = ring.status().dropped;
        assert!(read > 0 && dropped > 0);
        assert!(read + dropped >= u64::from(FRAMES), "{read} read, {dropped} dropped");
        assert_eq!(ring.status().dropped, dropped, "asking again loses nothing");
    });
}

#[test]
fn netns_a_stop_an_idle_wait_and_a_vanished_interface_end_it() {
    in_namespace("netns_a_stop_an_idle_wait_and_a_vanished_interface_end_it", || {
        let stop = Arc::new(AtomicBool::new(false));
        let options = Options { stop: Arc::clone(&stop), ..Options::default() };
        let mut ring = Ring::open("lo", &options).unwrap();
        assert_eq!(ring.wait(Duration::from_millis(30)), Wait::Idle);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(ring.wait(Duration::from_secs(30)), Wait::Over);
        assert!(ring.next().is_none());

        let mut ring = Ring::open("far", &Options::default()).unwrap();
        let deleted = Command::new("ip").args(["link", "delete", "near"]).status();
        assert!(deleted.unwrap().success());
        while ring.next().is_some() {}
        assert!(ring.next().is_none(), "the end is the end");
        assert_eq!(ring.status().errors, ["interface far is gone"]);

        let error = Ring::open("far", &Options::default()).unwrap_err();
        assert!(matches!(error, RingError::NoInterface(_)), "{error}");
        let error = Ring::open("with\0zero", &Options::default()).unwrap_err();
        assert!(error.to_string().contains("`ip link` lists"), "{error}");
    });
}
