//! Nothing is left: no program, directory or namespace, after an orderly end, Ctrl-C or a kill.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use lab::{Lab, traffic, wait};

#[test]
fn netns_nothing_is_left_after_an_orderly_end() {
    if !lab::need("netns_nothing_is_left_after_an_orderly_end") {
        return;
    }
    let lab = Lab::new(7).unwrap();
    lab.boot().unwrap();
    traffic::baseline(&lab, Duration::from_millis(100)).unwrap();
    let spaces: BTreeSet<_> = lab.devices().iter().map(|d| inode(&d.netns.path())).collect();
    let (pids, directory) = (lab.processes(), lab.directory().to_owned());
    assert_eq!((spaces.len(), pids.len()), (14, 3));
    drop(lab);
    check_gone(&pids, &directory, &spaces);
}

/// Not a test: what the next two start and end.
#[test]
#[ignore = "holds a lab until it is interrupted; started by other tests"]
fn hold_a_lab() {
    let lab = Lab::new(7).unwrap();
    lab.boot().unwrap();
    let pids: Vec<_> = lab.processes().iter().map(ToString::to_string).collect();
    let spaces: Vec<_> = lab.devices().iter().map(|d| inode(&d.netns.path())).collect();
    println!("\nready {} {} {}", lab.directory().display(), pids.join(","), spaces.join(","));
    let interrupted = wait::pass(Duration::from_secs(60));
    assert!(interrupted.is_err());
}

#[test]
fn netns_ctrl_c_leaves_nothing() {
    if !lab::need("netns_ctrl_c_leaves_nothing") {
        return;
    }
    for signal in ["-INT", "-TERM"] {
        let mut held = Held::start();
        held.signal(signal);
        assert!(held.child.wait().unwrap().success(), "it did not end in order");
        check_gone(&held.pids, Path::new(&held.directory), &held.spaces);
    }
}

#[test]
fn netns_a_kill_leaves_a_directory_that_the_next_lab_sweeps() {
    if !lab::need("netns_a_kill_leaves_a_directory_that_the_next_lab_sweeps") {
        return;
    }
    let mut held = Held::start();
    held.signal("-KILL");
    held.child.wait().unwrap();
    // Its directory is there still, unless the lab of another process has swept it already.
    drop(Lab::new(8).unwrap());
    check_gone(&held.pids, Path::new(&held.directory), &held.spaces);
}

struct Held {
    child: Child,
    /// Kept open: who prints to a closed pipe panics.
    _lines: Lines<BufReader<ChildStdout>>,
    directory: String,
    pids: Vec<u32>,
    spaces: BTreeSet<String>,
}

impl Held {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "leftovers::hold_a_lab", "--nocapture"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line =
            lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("ready ")).unwrap();
        let words: Vec<_> = line.split(' ').collect();
        Self {
            child,
            _lines: lines,
            directory: words[1].to_owned(),
            pids: words[2].split(',').map(|pid| pid.parse().unwrap()).collect(),
            spaces: words[3].split(',').map(str::to_owned).collect(),
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn inode(path: &Path) -> String {
    std::fs::read_link(path).unwrap().display().to_string()
}

fn check_gone(pids: &[u32], directory: &Path, spaces: &BTreeSet<String>) {
    assert!(!directory.exists(), "{}", directory.display());
    let end = wait::now() + Duration::from_secs(5);
    let alive = || {
        pids.iter()
            .any(|pid| Path::new(&format!("/proc/{pid}/ns")).read_link().is_ok() || running(*pid))
    };
    assert!(wait::until(end, || !alive()).unwrap(), "{pids:?}");
    let used = || namespaces_in_use().intersection(spaces).next().is_some();
    assert!(wait::until(end, || !used()).unwrap(), "a namespace is still in use");
}

fn running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Network namespaces that any process is in.
fn namespaces_in_use() -> BTreeSet<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let links = processes.filter_map(|entry| std::fs::read_link(entry.path().join("ns/net")).ok());
    links.map(|link| link.display().to_string()).collect()
}
