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

/// Says what is waited for.
pub(super) fn waiting(what: impl Into<String>) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_message(what.into());
    bar.enable_steady_tick(LATER);
    bar
}
