//! Exceptions in the policy folder of the lab's warehouse.

use std::fs;
use std::path::Path;

/// Adds an exception for `from` to reach a service, which is over after `seconds`.
pub(crate) fn except(folder: &Path, from: &str, to: &str, port: u16, seconds: i64) {
    let expires = site::shell::now().plus_nanos(seconds * 1_000_000_000);
    let append = |file: &str, text: &str| {
        let path = folder.join(file);
        fs::write(&path, fs::read_to_string(&path).unwrap() + text).unwrap();
    };
    append("estate.toml", "[[owner]]\nid = \"repairs\"\n");
    let exception = format!(
        "[[exception]]\nid = \"repair\"\nfrom = \"{from}\"\nto = \"svc:{to}/tcp/{port}\"\nowner = \"repairs\"\n\
         reason = \"the pump is stuck\"\nexpires = \"{expires}\"\n"
    );
    append("exceptions.toml", &exception);
}
