//! Live capture: an `AF_PACKET` socket with a ring of blocks shared with the kernel
//! (`TPACKET_V3`, packet(7) and the kernel's `packet_mmap` document).
//!
//! The kernel fills a block, hands it over by setting its status, and gets it back the same way.
//! Packets are read where the kernel put them; nothing is copied. When all blocks are full the
//! kernel drops packets and counts them: [`super::Status::dropped`] shows that count.

#![expect(
    unsafe_code,
    reason = "the ring is memory shared with the kernel and the socket calls are C; every block \
              says why it is sound"
)]

use std::ffi::{CString, c_int, c_void};
use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::Timestamp;

use super::{Faults, Packet, Source, Status};

/// How to capture.
#[derive(Clone, Debug)]
pub struct Options {
    /// See all frames of the segment, not only those for this machine.
    pub promiscuous: bool,
    /// Bytes of one block; a multiple of the page size.
    pub block_bytes: u32,
    /// Blocks in the ring.
    pub blocks: u32,
    /// A block that is not full is handed over after this many milliseconds.
    pub block_timeout_ms: u32,
    /// Ends the capture after this long.
    pub run_for: Option<Duration>,
    /// Ends the capture when somebody sets it (Ctrl-C).
    pub stop: Arc<AtomicBool>,
}

impl Default for Options {
    /// Promiscuous, 64 MiB: a reader may pause for 0.8 s at 300,000 frames of 256 bytes a second.
    fn default() -> Self {
        Self {
            promiscuous: true,
            block_bytes: 1 << 20,
            blocks: 64,
            block_timeout_ms: 50,
            run_for: None,
            stop: Arc::default(),
        }
    }
}

/// Why an interface cannot be captured.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// There is none of that name.
    #[error("there is no interface `{0}`; `ip link` lists those there are")]
    NoInterface(String),
    /// The capability is missing.
    #[error(
        "capturing on `{0}` needs the capability CAP_NET_RAW; run as root, or \
         `setcap cap_net_raw+ep` the program"
    )]
    NotPermitted(String),
    /// Its link layer is not understood.
    #[error(
        "interface `{name}` has a link layer (ARPHRD {kind}) that is not understood; capture on \
         the Ethernet or bridge interface below it"
    )]
    LinkLayer {
        /// The interface.
        name: String,
        /// Its type by the kernel's numbers.
        kind: u16,
    },
    /// Anything else the kernel refused.
    #[error("capturing on `{name}`: the kernel refused {step}: {source}")]
    Refused {
        /// The interface.
        name: String,
        /// What was asked.
        step: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

/// What [`Ring::wait`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// [`Source::current`] is a new packet.
    Packet(Timestamp),
    /// Nothing came in the time given.
    Idle,
    /// The time is over, somebody stopped it, or the interface is gone.
    Over,
}

/// A live interface.
#[derive(Debug)]
pub struct Ring {
    name: String,
    index: u32,
    socket: OwnedFd,
    memory: Mapping,
    block_bytes: usize,
    blocks: usize,
    /// Block being read or waited for.
    block: usize,
    /// Packets of it not read yet; the block belongs to us while `held`.
    left: u32,
    held: bool,
    /// Offset of the next packet in the block.
    next: usize,
    current: Option<Head>,
    link: u32,
    skip_outgoing: bool,
    gone: bool,
    packets: u64,
    bytes: u64,
    /// The kernel's counter restarts at every reading of it.
    dropped: AtomicU64,
    faults: Faults,
    end: Option<Instant>,
    stop: Arc<AtomicBool>,
}

impl Ring {
    /// Starts capturing on an interface.
    pub fn open(name: &str, options: &Options) -> Result<Self, RingError> {
        let refused = |step| {
            let name = name.to_owned();
            move |source: io::Error| RingError::Refused { name, step, source }
        };
        let no_interface = || RingError::NoInterface(name.to_owned());
        let c_name = CString::new(name).map_err(|_| no_interface())?;
        // SAFETY: a C string that ends with a zero byte and lives through the call.
        let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
        if index == 0 {
            return Err(no_interface());
        }
        let socket = packet_socket().map_err(|e| match e.kind() {
            io::ErrorKind::PermissionDenied => RingError::NotPermitted(name.to_owned()),
            _ => refused("a packet socket")(e),
        })?;
        let version = libc::tpacket_versions::TPACKET_V3 as c_int;
        set(&socket, libc::PACKET_VERSION, &version).map_err(refused("TPACKET_V3"))?;
        let frame_bytes = 2_048;
        let request = libc::tpacket_req3 {
            tp_block_size: options.block_bytes,
            tp_block_nr: options.blocks,
            tp_frame_size: frame_bytes,
            tp_frame_nr: (options.block_bytes / frame_bytes).saturating_mul(options.blocks),
            tp_retire_blk_tov: options.block_timeout_ms,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(&socket, libc::PACKET_RX_RING, &request).map_err(refused("the ring"))?;
        let (block_bytes, blocks) = (options.block_bytes as usize, options.blocks as usize);
        let memory = Mapping::of(&socket, block_bytes.saturating_mul(blocks))
            .map_err(refused("mapping the ring"))?;
        if options.promiscuous {
            let membership = libc::packet_mreq {
                mr_ifindex: index.cast_signed(),
                mr_type: libc::PACKET_MR_PROMISC as u16,
                mr_alen: 0,
                mr_address: [0; 8],
            };
            set(&socket, libc::PACKET_ADD_MEMBERSHIP, &membership)
                .map_err(refused("promiscuous mode"))?;
        }
        let kind = bind(&socket, index).map_err(refused("binding to the interface"))?;
        let link =
            link_type(kind).ok_or_else(|| RingError::LinkLayer { name: name.to_owned(), kind })?;
        Ok(Self {
            name: name.to_owned(),
            index,
            socket,
            memory,
            block_bytes,
            blocks,
            block: 0,
            left: 0,
            held: false,
            next: 0,
            current: None,
            link,
            // Every frame on a loopback interface is sent and received.
            skip_outgoing: kind == libc::ARPHRD_LOOPBACK,
            gone: false,
            packets: 0,
            bytes: 0,
            dropped: AtomicU64::new(0),
            faults: Faults::default(),
            end: options.run_for.and_then(|time| now().checked_add(time)),
            stop: Arc::clone(&options.stop),
        })
    }

    /// Goes to the next packet, waiting at most `up_to` for one.
    pub fn wait(&mut self, up_to: Duration) -> Wait {
        self.current = None;
        let until = now().checked_add(up_to);
        loop {
            while self.left > 0 {
                if let Some(at) = self.packet() {
                    return Wait::Packet(at);
                }
            }
            self.release();
            // Looked at once a block, so a stop under full load ends within one block.
            if self.stop.load(Ordering::Relaxed) {
                return Wait::Over;
            }
            if self.acquire() {
                continue;
            }
            let now = now();
            if self.end.is_some_and(|end| now >= end) {
                return Wait::Over;
            }
            if until.is_some_and(|until| now >= until) {
                return Wait::Idle;
            }
            let ends = [self.end, until];
            let nearest = ends.into_iter().flatten().min();
            let pause = nearest.map_or(POLL_MAX, |t| t.duration_since(now).min(POLL_MAX));
            self.poll(pause);
        }
    }

    /// Reads the packet at `next`; `None` for one that does not count.
    fn packet(&mut self) -> Option<Timestamp> {
        let block = self.memory.block(self.block, self.block_bytes)?;
        let head: libc::tpacket3_hdr = read_at(block, self.next)?;
        let sender: libc::sockaddr_ll = read_at(block, self.next + SENDER)?;
        let start = self.next.checked_add(usize::from(head.tp_mac))?;
        let len = head.tp_snaplen as usize;
        self.left -= 1;
        self.next = self.next.saturating_add(head.tp_next_offset as usize);
        if head.tp_next_offset == 0 {
            self.left = 0;
        }
        block.get(start..start.checked_add(len)?)?;
        if self.skip_outgoing && sender.sll_pkttype == libc::PACKET_OUTGOING {
            return None;
        }
        let with_tag = head.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
        // The lower 12 bits of the tag are the VLAN id (802.1Q §9.6).
        let vlan = with_tag.then_some((head.hv1.tp_vlan_tci & 0x0fff) as u16);
        let at = Timestamp::from_secs(i64::from(head.tp_sec), i64::from(head.tp_nsec));
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(len as u64);
        self.current = Some(Head { start, len, wire_len: head.tp_len, at, vlan });
        Some(at)
    }

    /// Takes the next block if the kernel has handed it over.
    fn acquire(&mut self) -> bool {
        let ready = self
            .memory
            .status(self.block, self.block_bytes)
            .is_some_and(|s| s.load(Ordering::Acquire) & libc::TP_STATUS_USER != 0);
        if !ready {
            return false;
        }
        let Some(block) = self.memory.block(self.block, self.block_bytes) else {
            return false;
        };
        let head: Option<libc::tpacket_hdr_v1> = read_at(block, HEAD);
        self.held = true;
        self.left = head.map_or(0, |h| h.num_pkts);
        self.next = head.map_or(0, |h| h.offset_to_first_pkt as usize);
        true
    }

    /// Gives the block back to the kernel.
    fn release(&mut self) {
        if !self.held {
            return;
        }
        if let Some(status) = self.memory.status(self.block, self.block_bytes) {
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
        self.held = false;
        self.block = (self.block + 1) % self.blocks.max(1);
    }

    /// Sleeps until the kernel hands over a block. When the interface is gone, what it received last
    /// still comes within the block timeout; then the capture ends.
    fn poll(&mut self, pause: Duration) {
        let mut poll = libc::pollfd {
            fd: self.socket.as_raw_fd(),
            events: libc::POLLIN | libc::POLLERR,
            revents: 0,
        };
        let millis = c_int::try_from(pause.as_millis().max(1)).unwrap_or(c_int::MAX);
        // SAFETY: one pollfd of ours, and the count says one.
        unsafe { libc::poll(&raw mut poll, 1, millis) };
        if poll.revents & libc::POLLERR == 0 || self.gone {
            return;
        }
        let error = socket_error(&self.socket);
        let name = &self.name;
        let mut buffer = [0; libc::IF_NAMESIZE];
        // SAFETY: the buffer has the IF_NAMESIZE bytes the call may write.
        self.gone = unsafe { libc::if_indextoname(self.index, buffer.as_mut_ptr()) }.is_null();
        if self.gone {
            self.faults.add(format!("interface {name} is gone"));
            let last = now().checked_add(GONE_PATIENCE);
            self.end = [self.end, last].into_iter().flatten().min();
        } else if let Some(error) = error {
            self.faults.add(format!("interface {name}: {error}"));
        }
    }
}

impl Source for Ring {
    fn advance(&mut self) -> Option<Timestamp> {
        loop {
            match self.wait(Duration::from_secs(3_600)) {
                Wait::Packet(at) => return Some(at),
                Wait::Idle => {}
                Wait::Over => return None,
            }
        }
    }

    fn current(&self) -> Option<Packet<'_>> {
        let head = self.current?;
        let block = self.memory.block(self.block, self.block_bytes)?;
        Some(Packet {
            data: block.get(head.start..head.start.checked_add(head.len)?)?,
            wire_len: head.wire_len,
            at: head.at,
            link: self.link,
            number: self.packets,
            vlan: head.vlan,
        })
    }

    fn status(&self) -> Status {
        let fresh = statistics(&self.socket).map_or(0, |s| u64::from(s.tp_drops));
        let dropped = self.dropped.fetch_add(fresh, Ordering::Relaxed) + fresh;
        Status {
            name: self.name.clone(),
            packets: self.packets,
            bytes: self.bytes,
            position: self.bytes,
            size: None,
            errors: self.faults.to_vec(),
            truncated: false,
            dropped,
        }
    }
}

/// Longest sleep, so that a stop is noticed.
const POLL_MAX: Duration = Duration::from_millis(100);

/// How long a capture goes on after its interface is gone: several block timeouts.
const GONE_PATIENCE: Duration = Duration::from_millis(200);

/// Where the block's own header begins.
const HEAD: usize = offset_of!(libc::tpacket_block_desc, hdr);

/// Where a packet's sender address begins, behind its header.
const SENDER: usize = size_of::<libc::tpacket3_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);

/// The packet that is current, as offsets into its block.
#[derive(Clone, Copy, Debug)]
struct Head {
    start: usize,
    len: usize,
    wire_len: u32,
    at: Timestamp,
    vlan: Option<u16>,
}

/// The clock decides when to stop, never what a packet's time is: the kernel stamps packets.
#[expect(
    clippy::disallowed_methods,
    reason = "live capture is an edge of the process: `run_for` is a duration of real time"
)]
fn now() -> Instant {
    Instant::now()
}

/// Memory shared with the kernel.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and has one owner.
unsafe impl Send for Mapping {}

impl Mapping {
    fn of(socket: &OwnedFd, bytes: usize) -> io::Result<Self> {
        // SAFETY: a fresh mapping at an address of the kernel's choice cannot alias anything of ours.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { start, bytes })
    }

    /// One block. Only looked into while its status says it is ours.
    fn block(&self, index: usize, bytes: usize) -> Option<&[u8]> {
        let offset = index.checked_mul(bytes)?;
        if offset.checked_add(bytes)? > self.bytes {
            return None;
        }
        // SAFETY: inside the mapping (checked above), which lives as long as `self`; the kernel does
        // not write to a block between handing it over (`acquire`) and `release`, and `release`
        // needs `&mut Ring`, so no slice of the block is alive then. Before `acquire` only the
        // status word is read, through `status`.
        Some(unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset), bytes) })
    }

    /// The word that says whose a block is.
    fn status(&self, index: usize, bytes: usize) -> Option<&AtomicU32> {
        const STATUS: usize = HEAD + offset_of!(libc::tpacket_hdr_v1, block_status);
        let offset = index.checked_mul(bytes)?.checked_add(STATUS)?;
        if offset.checked_add(size_of::<AtomicU32>())? > self.bytes {
            return None;
        }
        // SAFETY: inside the mapping; blocks begin on pages and STATUS is a multiple of four, so it
        // is aligned; both sides access the word atomically.
        Some(unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `mmap` returned, once.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Structures of the kernel that are made of integers only: any bytes are a value.
trait Plain: Copy {}
impl Plain for libc::tpacket3_hdr {}
impl Plain for libc::tpacket_hdr_v1 {}
impl Plain for libc::sockaddr_ll {}

/// A structure at an offset of a block.
fn read_at<T: Plain>(block: &[u8], offset: usize) -> Option<T> {
    let bytes = block.get(offset..offset.checked_add(size_of::<T>())?)?;
    // SAFETY: `bytes` has the size of `T`, any bytes are a `T` (it is `Plain`), and the read does
    // not ask for alignment.
    Some(unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) })
}

/// Sends one frame out of an interface, as it is.
///
/// For proofs that need a packet of a known kind: a sensor itself sends nothing.
pub fn send(name: &str, frame: &[u8]) -> Result<(), RingError> {
    let refused = |step| {
        let name = name.to_owned();
        move |source: io::Error| RingError::Refused { name, step, source }
    };
    let no_interface = || RingError::NoInterface(name.to_owned());
    let c_name = CString::new(name).map_err(|_| no_interface())?;
    // SAFETY: a C string that ends with a zero byte and lives through the call.
    let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
    if index == 0 {
        return Err(no_interface());
    }
    let socket = packet_socket().map_err(|e| match e.kind() {
        io::ErrorKind::PermissionDenied => RingError::NotPermitted(name.to_owned()),
        _ => refused("a packet socket")(e),
    })?;
    bind(&socket, index).map_err(refused("binding to the interface"))?;
    let sent = io::Write::write_all(&mut std::fs::File::from(socket), frame);
    sent.map_err(refused("sending a frame"))
}

/// A packet socket that receives nothing before it is bound.
fn packet_socket() -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was just made and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an option of the packet layer.
fn set<T>(socket: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which the call only reads.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            ptr::from_ref(value).cast::<c_void>(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gets an option into a value; `false` when the kernel refuses.
fn get<T>(socket: &OwnedFd, level: c_int, option: c_int, value: &mut T) -> bool {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `value`, of which the call writes at most `len`
    // bytes; the types used are plain integers.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_mut(value).cast::<c_void>(),
            &raw mut len,
        )
    };
    done == 0
}

/// Packets and drops since the last call.
fn statistics(socket: &OwnedFd) -> Option<libc::tpacket_stats_v3> {
    let mut stats = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
    get(socket, libc::SOL_PACKET, libc::PACKET_STATISTICS, &mut stats).then_some(stats)
}

/// The pending error of a socket.
fn socket_error(socket: &OwnedFd) -> Option<io::Error> {
    let mut code: c_int = 0;
    let known = get(socket, libc::SOL_SOCKET, libc::SO_ERROR, &mut code);
    (known && code != 0).then(|| io::Error::from_raw_os_error(code))
}

/// Starts receiving; tells the interface's hardware type.
fn bind(socket: &OwnedFd, index: u32) -> io::Result<u16> {
    let mut address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let mut len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: pointer and length describe `address`, which `bind` reads and `getsockname` writes.
    let done = unsafe {
        let at = (&raw mut address).cast::<libc::sockaddr>();
        libc::bind(socket.as_raw_fd(), at, len) == 0
            && libc::getsockname(socket.as_raw_fd(), at, &raw mut len) == 0
    };
    if done { Ok(address.sll_hatype) } else { Err(io::Error::last_os_error()) }
}

/// The link type of a hardware type.
const fn link_type(kind: u16) -> Option<u32> {
    match kind {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(1),
        libc::ARPHRD_NONE
        | libc::ARPHRD_TUNNEL
        | libc::ARPHRD_TUNNEL6
        | libc::ARPHRD_SIT
        | libc::ARPHRD_IPGRE
        | libc::ARPHRD_PPP => Some(101),
        libc::ARPHRD_IEEE80211 => Some(105),
        libc::ARPHRD_IEEE80211_RADIOTAP => Some(127),
        _ => None,
    }
}
