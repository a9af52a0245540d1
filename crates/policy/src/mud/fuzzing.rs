//! What the fuzz target calls: any bytes as a MUD file.

use super::{Mud, parse};

/// Reads a file; what is read is written and read again, and must be the same.
///
/// # Panics
/// When it is not.
pub fn mud(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(read) = parse("input", &text) else {
        return;
    };
    let told = (read.unsupported(), read.remarks(), read.abstractions());
    let again: Result<Mud, _> = parse("again", &read.to_json());
    assert!(again.as_ref() == Ok(&read), "{read:?} became {again:?}");
    assert!(again.is_ok_and(|again| (again.unsupported(), again.remarks(), again.abstractions()) == told));
}
