//! Devices in an order that people ask for.
//!
//! What has no value comes last, rising or falling. Devices that are alike come by id, so that every place in an order is one place and a
//! page can begin after it.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use model::{Assurance, DeviceId};
use serde::{Deserialize, Serialize};

use super::claims::CRITICALITY;
use super::{Device, Field};

/// An order of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    by: By,
    falling: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum By {
    Id,
    State,
    Address,
    FirstSeen,
    LastSeen,
    Site,
    Field(Field),
}

/// A word that is no order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no order; there are id, state, site, address, first_seen, last_seen and the fields, with `-` in front for falling"
)]
pub struct OrderError(String);

/// What decides where a device comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// A rank or an instant.
    #[serde(rename = "n")]
    Number(i64),
    /// An address.
    #[serde(rename = "a")]
    Address(IpAddr),
    /// A text.
    #[serde(rename = "t")]
    Text(Arc<str>),
}

/// Where a device comes: its key, if it has one, then its id.
pub type Rank = (Option<Key>, DeviceId);

impl Default for Order {
    /// By id.
    fn default() -> Self {
        Self { by: By::Id, falling: false }
    }
}

impl Order {
    /// Reads `FIELD` or `-FIELD`.
    pub fn parse(text: &str) -> Result<Self, OrderError> {
        let (word, falling) = text.strip_prefix('-').map_or((text, false), |word| (word, true));
        let by = match word {
            "id" => By::Id,
            "state" => By::State,
            "address" => By::Address,
            "first_seen" => By::FirstSeen,
            "last_seen" => By::LastSeen,
            "site" => By::Site,
            _ => By::Field(Field::of(word).ok_or_else(|| {
                OrderError(text.chars().filter(|c| !c.is_control()).take(60).collect())
            })?),
        };
        Ok(Self { by, falling })
    }

    /// It is by id, rising.
    pub fn is_by_id(&self) -> bool {
        *self == Self::default()
    }

    /// Where a device comes.
    pub fn rank(&self, device: &Device) -> Rank {
        let key = match self.by {
            By::Id => None,
            By::State => Some(Key::Number(device.state as i64)),
            By::Address => device.addresses.iter().min().copied().map(Key::Address),
            By::FirstSeen => Some(Key::Number(device.first_seen)),
            By::LastSeen => Some(Key::Number(device.last_seen)),
            By::Site => Some(Key::Text(Arc::from(device.site.as_str()))),
            By::Field(field) => device.believed(field).map(|claim| key(field, &claim.value)),
        };
        (key, device.id.clone())
    }

    /// Which of two comes first.
    pub fn compare(&self, a: &Rank, b: &Rank) -> Ordering {
        self.compare_keys(a, b).then_with(|| a.1.cmp(&b.1))
    }

    /// The same, where devices that are alike need not be told apart: they come by id already.
    pub fn compare_keys(&self, a: &Rank, b: &Rank) -> Ordering {
        let turned = |order: Ordering| if self.falling { order.reverse() } else { order };
        match (&a.0, &b.0) {
            (Some(x), Some(y)) => turned(x.compare(y)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) if self.by == By::Id => turned(a.1.cmp(&b.1)),
            (None, None) => Ordering::Equal,
        }
    }
}

/// Words of a ladder come in its order.
fn key(field: Field, value: &Arc<str>) -> Key {
    let place = match field {
        Field::Criticality => CRITICALITY.iter().position(|word| **word == **value),
        Field::Assurance => Assurance::ALL.iter().position(|level| level.word() == &**value),
        _ => None,
    };
    match place.and_then(|place| i64::try_from(place).ok()) {
        Some(place) => Key::Number(place),
        None => Key::Text(Arc::clone(value)),
    }
}

impl Key {
    /// Capitals count only between what is else alike.
    fn compare(&self, other: &Self) -> Ordering {
        let sort = |key: &Self| match key {
            Self::Number(_) => 0,
            Self::Address(_) => 1,
            Self::Text(_) => 2,
        };
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Address(a), Self::Address(b)) => a.cmp(b),
            // Devices share the texts that many of them have.
            (Self::Text(a), Self::Text(b)) if Arc::ptr_eq(a, b) => Ordering::Equal,
            (Self::Text(a), Self::Text(b)) => {
                let (small, other) = (a.bytes(), b.bytes().map(|b| b.to_ascii_lowercase()));
                small.map(|b| b.to_ascii_lowercase()).cmp(other).then_with(|| a.cmp(b))
            }
            _ => sort(self).cmp(&sort(other)),
        }
    }
}
