//! The netlink socket against the kernel.

use std::time::Duration;

use enforcer::netlink::{Batch, Encoder, NetlinkError, Place, Protocol, Socket};
use lab::Netns;

const NFTABLES: u8 = 10;
const INET: u8 = 1;
const NEW_TABLE: u8 = 0;
const GET_TABLE: u16 = 0x0a01;
const NEW_SET: u8 = 9;
const GET_GENERATION: u16 = 0x0a10;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;

fn open(netns: &Netns) -> Socket {
    Socket::open(Protocol::Netfilter, &Place::netns(&netns.path())).unwrap()
}

fn generation(socket: &mut Socket) -> u32 {
    let mut id = None;
    let each = |message: enforcer::netlink::Message<'_>| {
        id = message.netfilter().and_then(|(_, _, attributes)| attributes.get(1)?.be32());
    };
    socket.get(GET_GENERATION, |e| e.netfilter(0, 0), each).unwrap();
    id.unwrap()
}

fn tables(socket: &mut Socket) -> Vec<String> {
    socket
        .dump(
            GET_TABLE,
            |e: &mut Encoder| e.netfilter(INET, 0),
            |out: &mut Vec<String>, message| {
                out.extend(message.netfilter().and_then(|(_, _, a)| a.text(1)));
            },
        )
        .unwrap()
}

#[test]
fn netns_transactions_are_taken_whole_or_refused_with_the_message_that_failed() {
    if !lab::need("netns_transactions_are_taken_whole_or_refused_with_the_message_that_failed") {
        return;
    }
    let netns = Netns::new("rf-netlink").unwrap();
    let mut socket = open(&netns);
    let before = generation(&mut socket);
    let mut batch = Batch::new(NFTABLES);
    for n in 0..3_000 {
        let name = format!("table_{n}");
        batch.push(NEW_TABLE, CREATE | EXCLUSIVE, INET, |e| e.put_str(1, &name));
    }
    socket.commit(&mut batch, Some(before)).unwrap();
    assert!(batch.is_empty(), "what was sent is not sent twice");
    // Longer than one datagram of a dump.
    assert_eq!(tables(&mut socket).len(), 3_000);
    assert_ne!(generation(&mut socket), before);

    // Somebody changed rules since `before`.
    batch.push(NEW_TABLE, CREATE, INET, |e| e.put_str(1, "late"));
    let error = socket.commit(&mut batch, Some(before)).unwrap_err();
    assert!(matches!(error, NetlinkError::Changed), "{error}");

    // The third of four messages is refused: none is taken.
    for name in ["one", "two", "table_7", "four"] {
        batch.push(NEW_TABLE, CREATE | EXCLUSIVE, INET, |e| e.put_str(1, name));
    }
    let error = socket.commit(&mut batch, None).unwrap_err();
    let NetlinkError::Refused { index: Some(2), ref source, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(source.raw_os_error(), Some(libc::EEXIST));
    let message = batch.message(2).unwrap();
    assert_eq!(message.netfilter().unwrap().2.text(1).unwrap(), "table_7");
    assert_eq!(tables(&mut socket).len(), 3_000);

    // Another namespace has none of it.
    let other = Netns::new("rf-other").unwrap();
    assert_eq!(tables(&mut open(&other)), [""; 0]);
    let missing = Place::netns(std::path::Path::new("/run/netns/rf-not-there"));
    let error = Socket::open(Protocol::Netfilter, &missing).unwrap_err();
    assert!(error.to_string().contains("/run/netns/rf-not-there"), "{error}");
}

#[test]
fn netns_events_name_who_caused_them_and_loss_is_told() {
    if !lab::need("netns_events_name_who_caused_them_and_loss_is_told") {
        return;
    }
    let netns = Netns::new("rf-netlink").unwrap();
    let (mut socket, mut listener) = (open(&netns), open(&netns));
    listener.buffers(4_096, 4_096).unwrap();
    listener.join(7).unwrap();
    assert!(!listener.events(Duration::ZERO, |_| {}).unwrap());
    let mut batch = Batch::new(NFTABLES);
    batch.push(NEW_TABLE, CREATE, INET, |e| e.put_str(1, "heard"));
    socket.commit(&mut batch, None).unwrap();
    let mut heard = Vec::new();
    let each = |message: enforcer::netlink::Message<'_>| heard.push((message.code(), message.port));
    assert!(listener.events(Duration::from_secs(5), each).unwrap());
    assert_eq!(heard.first(), Some(&(NEW_TABLE, socket.port().unwrap())));

    for n in 0..2_000 {
        batch.push(NEW_TABLE, CREATE, INET, |e| e.put_str(1, &format!("table_{n}")));
        batch.push(NEW_SET, CREATE, INET, |e| {
            e.put_str(1, &format!("table_{n}"));
            e.put_str(2, "set");
            e.put_be32(5, 4);
            e.put_be32(10, 1);
        });
        if n % 100 == 0 {
            socket.commit(&mut batch, None).unwrap();
        }
    }
    socket.commit(&mut batch, None).unwrap();
    let mut lost = false;
    while let Ok(true) | Err(NetlinkError::Lost) = listener
        .events(Duration::from_millis(200), |_| {})
        .inspect_err(|error| lost |= matches!(error, NetlinkError::Lost))
    {}
    assert!(lost, "a full buffer went unnoticed");
}
