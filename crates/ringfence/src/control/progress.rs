//! For people who wait: how far it is, where standard error is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shown only when something takes longer than this.
const LATER: Duration = Duration::from_millis(300);

/// Counts what was read so far.
pub(super) fn counter() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} read") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(LATER);
    bar
}

/// Counts how many of so many are done.
pub(super) fn parts(all: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(all.try_into().unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} of {len} {msg}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(LATER);
    bar
}

/// Says what is waited for.
pub(super) fn waiting(what: impl Into<String>) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_message(what.into());
    bar.enable_steady_tick(LATER);
    bar
}
