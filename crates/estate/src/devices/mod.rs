//! Devices: what there is, who says so, and what people decided about it.
//!
//! Everything said about a device is a [`Claim`]: a field, a value, who says it, when, and how sure. Claims of several
//! sources stand beside each other; [`Device::believed`] picks one: what a person decided, else the surest, else the
//! newest. So nothing that is discovered overwrites what a person decided, and taking a decision back shows what was
//! discovered meanwhile.
//!
//! A device is recognised by its identifiers wherever it turns up; see [`key`].

mod claims;
mod command;
mod decide;
mod device;
pub mod key;
mod known;
mod order;
mod query;
mod selection;

pub use claims::{CLAIMS_MAX, Claim, Field};
pub use command::{Command, Edit, Event, Facts, Found, OwnWord, Said, Timeouts, Told, Wait};
pub use device::{Device, State};
pub(crate) use known::Apart;
pub use known::Devices;
pub use order::{Key, Order, OrderError, Rank};
pub use query::{Query, QueryError};
pub use selection::{Selection, SelectionError};

/// The source that a device is which says what runs on it, and shows its certificate.
pub const OWN_WORD: &str = "agent";
/// How sure that is, in percent: less than what any rule makes of what is seen of it, because nothing shows that it is true.
pub const OWN_WORD_CONFIDENCE: u8 = 15;
/// What a device may say of itself.
pub const OWN_WORD_FIELDS: [Field; 4] = [Field::Vendor, Field::Model, Field::Firmware, Field::Os];
/// Devices in one estate.
pub const DEVICES_MAX: usize = 4_000_000;
/// Devices in one command.
pub const BATCH_MAX: usize = 10_000;
/// Characters of a value, a source or a label.
pub const VALUE_CHARS_MAX: usize = 256;
/// Labels of one device.
pub const LABELS_MAX: usize = 32;
/// Network addresses kept of one device.
pub const ADDRESSES_MAX: usize = 64;
/// Identifiers of one device.
pub const KEYS_MAX: usize = 64;
/// Entries remembered as the history of one device; older ones are in the journal only.
pub const HISTORY_MAX: usize = 1_024;
/// A device that is seen again is an event only after so long, in seconds: sightings are no changes.
pub const SEEN_EVERY_S: i64 = 3_600;
