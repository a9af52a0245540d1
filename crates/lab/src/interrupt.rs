//! Ctrl-C and SIGTERM as a flag that every wait looks at, so that destructors run.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static INSTALLED: Once = Once::new();

/// From now on Ctrl-C, SIGTERM and SIGHUP only set the flag. A second signal ends the process.
pub fn install() {
    INSTALLED.call_once(|| {
        for signal in sys::SIGNALS {
            sys::on_signal(signal, note);
        }
    });
}

/// A signal came.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

extern "C" fn note(_: i32) {
    if INTERRUPTED.swap(true, Ordering::SeqCst) {
        sys::exit_now(130); // Asked twice. Namespaces and programs end with the process.
    }
}
