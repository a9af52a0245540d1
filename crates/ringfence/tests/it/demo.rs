//! The end-to-end test is the demo itself: real kernel, real programs, judged at the victims.

use crate::{folder, ringfence};

#[test]
fn netns_the_demo_learns_fences_and_proves() {
    if !lab::need("netns_the_demo_learns_fences_and_proves") {
        return;
    }
    let here = folder("demo");
    let ran = ringfence(&here, "demo --seed 11 --html demo.html");
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    let row = |name: &str| {
        let line = ran.out.lines().find(|l| l.trim_start().starts_with(name)).unwrap_or_default();
        line.trim_start().trim_start_matches(name).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(ran.out.contains("12 of its 12 devices found"), "{}", ran.out);
    assert_eq!(row("attacks that succeed"), "9 of 9 0 of 9", "{}", ran.out);
    assert_eq!(row("hosts the camera's scan finds"), "12 0", "{}", ran.out);
    assert!(ran.out.contains("Kernel and policy agree on all"), "{}", ran.out);
    assert!(ran.out.contains("Everything the warehouse needs still works."), "{}", ran.out);
    assert!(ran.out.contains("probes to and from it 0 pass"), "{}", ran.out);
    let hand = ["the kernel refuses: the table has an owner", "put back"];
    assert!(hand.iter().any(|what| ran.out.contains(what)), "{}", ran.out);
    assert!(ran.out.contains("denials, none was lost"), "{}", ran.out);
    let page = std::fs::read_to_string(here.join("demo.html")).unwrap();
    assert!(page.contains("attacks that succeed"));
}

#[test]
fn netns_a_demo_that_nobody_reads_ends_at_once() {
    if !lab::need("netns_a_demo_that_nobody_reads_ends_at_once") {
        return;
    }
    let here = folder("demo-unread");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(["demo", "--html", "page.html"]).current_dir(&here).stdout(writer);
    let child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(command);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nobody reads any more; everything it made is gone"), "{said}");
    assert!(!here.join("page.html").exists());
}
