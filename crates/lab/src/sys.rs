//! System calls that the standard library does not have. The only unsafe code of this crate.

#![expect(unsafe_code, reason = "namespaces, signals and packet sockets are system calls")]

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// Moves the calling thread into a new network namespace.
pub(crate) fn unshare_net() -> io::Result<()> {
    // SAFETY: no memory is involved; affects the calling thread only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(|_| ())
}

/// Moves the calling thread into the network namespace behind `fd`.
pub(crate) fn set_netns(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: no memory is involved; affects the calling thread only.
    check(unsafe { libc::setns(fd.as_raw_fd(), libc::CLONE_NEWNET) }).map(|_| ())
}

/// The child is killed when the *thread* that spawned it ends.
pub(crate) fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)).map(|_| ()));
    }
}

/// Calls `handler` on `signal`; it may only do what is async-signal-safe (store to an atomic).
pub(crate) fn on_signal(signal: i32, handler: extern "C" fn(i32)) {
    // SAFETY: the handler is a plain function for the life of the process.
    unsafe {
        libc::signal(signal, handler as *const () as libc::sighandler_t);
    }
}

/// Ends the process at once, without destructors; async-signal-safe.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

pub(crate) const SIGNALS: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Waits until one of `fds` is readable, writable (`true`) or failed. Returns which ones.
pub(crate) fn poll(fds: &[(RawFd, bool)], timeout: Duration) -> io::Result<Vec<bool>> {
    let events = |write| if write { libc::POLLOUT } else { libc::POLLIN };
    let entry =
        |(fd, write): &(RawFd, bool)| libc::pollfd { fd: *fd, events: events(*write), revents: 0 };
    let mut set: Vec<_> = fds.iter().map(entry).collect();
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let count = libc::nfds_t::try_from(set.len()).unwrap_or(0);
    // SAFETY: the array and its length belong together.
    let result = check(unsafe { libc::poll(set.as_mut_ptr(), count, milliseconds) });
    match result {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(vec![false; set.len()]),
        Err(error) => Err(error),
        Ok(_) => Ok(set.iter().map(|entry| entry.revents != 0).collect()),
    }
}

/// `fd` has something to read, or fails, within `timeout`.
pub(crate) fn readable(fd: &impl AsRawFd, timeout: Duration) -> io::Result<bool> {
    Ok(poll(&[(fd.as_raw_fd(), false)], timeout)?.contains(&true))
}

/// Raises the limit of open files to `wanted`, or as far as this user may; returns the limit.
pub(crate) fn open_files(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a whole rlimit that lives through the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return 1_024;
    }
    if limit.rlim_cur < wanted {
        let raised = libc::rlimit { rlim_cur: wanted.min(limit.rlim_max), ..limit };
        // SAFETY: as above.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            return raised.rlim_cur;
        }
    }
    limit.rlim_cur
}

/// Starts a connection without waiting for it.
pub(crate) fn connect_start(to: SocketAddrV4) -> io::Result<TcpStream> {
    let fd = socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
    let address = inet(to);
    // SAFETY: pointer and length describe one sockaddr_in that lives through the call.
    let result = check(unsafe {
        libc::connect(fd.as_raw_fd(), (&raw const address).cast(), size_of_val_u32(&address))
    });
    match result {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from(fd)),
    }
}

/// A UDP socket that sends with a source address which is not ours.
pub(crate) fn udp_as(source: Ipv4Addr) -> io::Result<UdpSocket> {
    let fd = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    set_option(&fd, libc::SOL_IP, libc::IP_TRANSPARENT, 1)?;
    let address = inet(SocketAddrV4::new(source, 0));
    // SAFETY: pointer and length describe one sockaddr_in that lives through the call.
    check(unsafe {
        libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of_val_u32(&address))
    })?;
    Ok(UdpSocket::from(fd))
}

/// Makes room for `bytes` of received datagrams, past the system's limit where that is allowed.
pub(crate) fn receive_buffer(socket: &UdpSocket, bytes: i32) -> io::Result<()> {
    // SAFETY: pointer and length describe `bytes`, which lives through the calls.
    let set = |name: i32| unsafe {
        let value = (&raw const bytes).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, value, size_u32::<i32>())
    };
    check(set(libc::SO_RCVBUFFORCE)).or_else(|_| check(set(libc::SO_RCVBUF))).map(|_| ())
}

/// All frames of one interface of the calling thread's namespace, both directions.
pub(crate) fn packet_socket(interface: &str, promiscuous: bool) -> io::Result<OwnedFd> {
    let all = i32::from(ETH_P_ALL.to_be());
    let fd = socket(libc::AF_PACKET, libc::SOCK_RAW, all)?;
    // Frames of all interfaces arrive until the bind; a large buffer keeps bursts.
    set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 16 << 20)
        .or_else(|_| set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, 16 << 20))?;
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: a valid C string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    let index =
        i32::try_from(index).ok().filter(|i| *i > 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: all fields are integers; zero is valid for each.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(17);
    address.sll_protocol = ETH_P_ALL.to_be();
    address.sll_ifindex = index;
    // SAFETY: pointer and length describe one sockaddr_ll that lives through the call.
    check(unsafe {
        libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of_val_u32(&address))
    })?;
    if promiscuous {
        // SAFETY: all fields are integers; zero is valid for each.
        let mut request: libc::packet_mreq = unsafe { std::mem::zeroed() };
        request.mr_ifindex = index;
        request.mr_type = u16::try_from(libc::PACKET_MR_PROMISC).unwrap_or(1);
        set_raw(&fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)?;
    }
    Ok(fd)
}

const ETH_P_ALL: u16 = 3;

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd = check(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_option(fd: &OwnedFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_raw(fd, level, name, &value)
}

fn set_raw<T>(fd: &OwnedFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which lives through the call.
    let result = unsafe {
        let value = std::ptr::from_ref(value).cast();
        libc::setsockopt(fd.as_raw_fd(), level, name, value, size_u32::<T>())
    };
    check(result).map(|_| ())
}

fn inet(to: SocketAddrV4) -> libc::sockaddr_in {
    // SAFETY: all fields are integers; zero is valid for each.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = u16::try_from(libc::AF_INET).unwrap_or(2);
    address.sin_port = to.port().to_be();
    address.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
    address
}

fn size_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}

fn size_of_val_u32<T>(_: &T) -> u32 {
    size_u32::<T>()
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
