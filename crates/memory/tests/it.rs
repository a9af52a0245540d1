//! A program that uses the crate has its allocator, set as the crate says.

use std::process::Command;

use memory as _;

#[test]
fn the_allocator_is_heard_and_set() {
    // jemalloc tells of itself when a program ends; this one only lists its tests.
    let mut itself = Command::new(std::env::current_exe().unwrap());
    itself.arg("--list").env("_RJEM_MALLOC_CONF", "stats_print:true");
    let said = itself.output().unwrap();
    let said = String::from_utf8(said.stderr).unwrap();
    let value = |option: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(option));
        line.unwrap_or_else(|| panic!("it says nothing of {option}")).split(' ').nth(1)
    };
    assert_eq!(value("opt.thp:"), Some("\"always\""));
    assert_eq!(value("opt.dirty_decay_ms:"), Some("200"));
    assert_eq!(value("opt.muzzy_decay_ms:"), Some("0"));
}
