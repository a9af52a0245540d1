//! The words of Ringfence as types (DESIGN vocabulary): addresses, ids, dated evidence, the
//! versioned documents that cross a boundary.
//!
//! Floor 0: no I/O, no clock, no randomness, no environment. Everything here is a value.

mod address;
mod assurance;
mod id;
pub mod inspect;
pub mod limits;
pub mod line;
pub mod observation;
pub mod report;
pub mod ruleset;
mod time;
pub mod tpm;
pub mod verdict;

pub use address::{AddressError, Mac, is_private, network};
pub use assurance::Assurance;
pub use id::{DeviceId, IdError, SensorId, ServiceId, SiteId};
pub use time::Timestamp;
