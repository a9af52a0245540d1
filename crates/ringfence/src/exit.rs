//! Exit codes, the same for every command.

use miette::Report;

/// All went well.
pub(crate) const FINE: u8 = 0;
/// Something failed, or part of the input could not be read.
pub(crate) const FAILED: u8 = 1;
/// There are changes or findings (only with `--detailed-exitcode`).
pub(crate) const FINDINGS: u8 = 2;
/// What was asked for does not exist.
pub(crate) const NOT_FOUND: u8 = 3;
/// Something else changed in the meantime.
pub(crate) const CONFLICT: u8 = 4;
/// Policy refuses it.
pub(crate) const REFUSED: u8 = 5;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 64;

/// The code of an error: its own code says when something that was named does not exist.
pub(crate) fn of(report: &Report) -> u8 {
    let code = report.code().map_or(String::new(), |code| code.to_string());
    match code.rsplit("::").next() {
        Some("not_found" | "ambiguous") => NOT_FOUND,
        _ => FAILED,
    }
}
