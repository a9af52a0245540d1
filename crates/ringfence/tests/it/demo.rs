//! The end-to-end test is the demo itself: real kernel, real programs, judged at the victims.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

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
fn netns_the_demo_shows_itself_in_its_console() {
    if !lab::need("netns_the_demo_shows_itself_in_its_console") {
        return;
    }
    let here = folder("demo-console");
    // What a demo left that was killed: no process has this number.
    let killed = here.join(format!("ringfence-demo-{}", u32::MAX));
    fs::create_dir_all(killed.join("pki")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(["demo", "--stay"]).current_dir(&here).env("TMPDIR", &here);
    let mut demo = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The address is the first line.
    let (line, sha256) = (lines.next().unwrap(), after(&mut lines, "root sha256"));
    let server = line.strip_prefix("Console: ").and_then(|rest| rest.split(' ').next()).unwrap();
    fs::write(here.join("password"), line.rsplit(' ').next().unwrap()).unwrap();
    assert!(!after(&mut lines, "The console stays at").is_empty());

    let run = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(arguments.split(' ')).current_dir(&here).env("NO_COLOR", "1");
        let output = command.env("RINGFENCE_CONFIG", here.join("contexts.toml")).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments}: {told}");
        String::from_utf8(output.stdout).unwrap()
    };
    let known = format!("--server {server} --ca-sha256 {sha256}");
    run(&format!("login {known} --login demo --password-file password"));
    assert!(run("get devices -o name").lines().count() >= 12);
    let cut: serde_json::Value =
        serde_json::from_str(&run("get devices -l posture=quarantined -o json")).unwrap();
    assert!(cut.to_string().contains("camera"), "{cut}");

    assert!(
        Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap().success()
    );
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    let left = fs::read_dir(&here).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> =
        left.filter(|name| name.to_string_lossy().contains("ringfence-demo-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The word behind a mark, on the next line that has it.
fn after(lines: &mut impl Iterator<Item = String>, mark: &str) -> String {
    let line = lines.find(|line| line.contains(mark)).unwrap_or_default();
    let rest = line.split(mark).nth(1).unwrap_or_default();
    rest.split_whitespace().next().unwrap_or_default().to_owned()
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
