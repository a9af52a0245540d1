//! The binary from outside: what it prints, writes, refuses and returns.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod bytes;
mod control;
mod demo;
mod document;
mod faults;
mod folders;
mod journal;
mod messages;
mod mud;
mod mutate;
mod netns;
mod observe;
mod peers;
mod policies;
mod usage;
mod witness;

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// What a run of the binary left.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs `ringfence` with arguments separated by spaces, in a folder of the test's own.
fn ringfence(folder: &Path, arguments: &str) -> Ran {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the binary writes UTF-8");
    Ran { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

/// An empty folder named after the test.
fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("the build folder is writable");
    path
}

/// An address that nobody else gets while nobody listens on it: port 0 is given from above 32768, and what one test has let go there, another one
/// may have the next moment.
fn own_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let place = std::process::id() * 8 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + place % 20_000).unwrap();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() {
            return address.to_string();
        }
    }
}

#[test]
fn help_is_an_answer_and_nonsense_is_usage() {
    let here = folder("help");
    let help = ringfence(&here, "inspect --help");
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    insta::assert_snapshot!("inspect-help", help.out);
    for nonsense in ["", "inspekt", "inspect", "inspect --for 10m a.pcap", "inspect -i x --for 0s"]
    {
        let ran = ringfence(&here, nonsense);
        assert_eq!(ran.code, 64, "`{nonsense}`: {}", ran.err);
        assert!(ran.out.is_empty() && !ran.err.is_empty());
    }
}

#[test]
fn fields_are_a_catalogue() {
    let ran = ringfence(&folder("fields"), "fields");
    assert_eq!(ran.code, 0);
    assert!(ran.out.lines().count() > 300);
    assert!(ran.out.lines().any(|l| l.starts_with("dhcp.hostname ")), "{}", ran.out);
}
