//! What the threads of a process may do, as the kernel tells.

use std::collections::BTreeMap;
use std::fs;

/// `CAP_NET_ADMIN` is bit 12, `CAP_NET_RAW` bit 13.
pub(crate) const KEPT: u64 = 0x3000;
/// `CAP_NET_BIND_SERVICE`.
pub(crate) const TO_BIND: u64 = 0x400;

/// One thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) name: String,
    /// `CapInh`, `CapPrm`, `CapEff`, `CapBnd`, `CapAmb`.
    pub(crate) sets: BTreeMap<String, u64>,
    /// It and its programs get no new privileges.
    pub(crate) closed: bool,
}

pub(crate) fn threads(pid: u32) -> Vec<Thread> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    // A thread may end while it is looked at.
    let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    let thread = |text: String| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let lines: BTreeMap<&str, &str> = lines.map(|(key, value)| (key, value.trim())).collect();
        let sets = lines.iter().filter(|(key, _)| key.starts_with("Cap"));
        let set = |value: &str| u64::from_str_radix(value, 16).unwrap();
        Thread {
            name: lines["Name"].to_owned(),
            sets: sets.map(|(key, value)| ((*key).to_owned(), set(value))).collect(),
            closed: lines["NoNewPrivs"] == "1",
        }
    };
    texts.map(thread).collect()
}

/// Every thread has what a site keeps, and nothing else.
#[track_caller]
pub(crate) fn only_kept(pid: u32) {
    let threads = threads(pid);
    assert!(threads.len() > 2, "{threads:#?}");
    for thread in &threads {
        assert!(thread.closed && thread.sets.len() == 5, "{thread:#?}");
        assert!(thread.sets.values().all(|set| *set == KEPT), "{thread:#?}");
    }
}
