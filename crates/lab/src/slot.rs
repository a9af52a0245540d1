//! At most two labs at once on a machine: all namespaces share one neighbour table of a thousand
//! entries, and a lab whose devices all look for each other needs three hundred.

use std::fs::{File, OpenOptions};
use std::io;
use std::time::Duration;

use crate::{LabError, wait};

/// Held while a lab exists; given back by the kernel when the process ends.
#[derive(Debug)]
pub(crate) struct Slot {
    _file: File,
}

const SLOTS: u8 = 2;
/// Longer than any test or demo holds one.
const PATIENCE: Duration = Duration::from_secs(300);

impl Slot {
    /// Waits for a free slot.
    pub(crate) fn take() -> Result<Self, LabError> {
        let mut taken = None;
        let mut trouble = None;
        let found = wait::until(wait::now() + PATIENCE, || {
            for number in 0..SLOTS {
                match open(number).map(|file| file.try_lock().is_ok().then_some(file)) {
                    Ok(Some(file)) => taken = Some(Self { _file: file }),
                    Ok(None) => continue,
                    Err(error) => trouble = Some(error),
                }
                return true;
            }
            false
        })?;
        match (taken, trouble) {
            (Some(slot), _) => Ok(slot),
            (None, Some(error)) => Err(LabError::failed("take a lab slot", error)),
            (None, None) => {
                debug_assert!(!found);
                let why = format!("{SLOTS} labs are running on this machine; wait for one to end");
                Err(LabError::failed("build a lab", why))
            }
        }
    }
}

/// The lock file; another user's is only read, which is enough to lock it.
fn open(number: u8) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("ringfence-slot-{number}"));
    match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new().write(true).create(true).truncate(false).open(&path)
        }
        other => other,
    }
}
