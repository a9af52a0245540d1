//! What a change makes look at again: a few devices and their sites, or everything.

use std::collections::BTreeSet;

use estate::devices::{self, Field};
use estate::{Event, sites};
use model::{DeviceId, SiteId};

/// Changed devices above which everything is looked at: it costs less.
const DEVICES_MAX: usize = 2_000;

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// These devices, where they are now, and these sites.
    Some {
        devices: BTreeSet<DeviceId>,
        sites: BTreeSet<SiteId>,
    },
    All,
}

impl Scope {
    /// What some events make look at; `None`: nothing.
    pub(super) fn of(events: &[Event]) -> Option<Self> {
        events.iter().filter_map(Self::of_one).reduce(Self::and)
    }

    fn of_one(event: &Event) -> Option<Self> {
        match event {
            Event::Policy(_) => Some(Self::All),
            Event::Device(event) => Self::of_device(event),
            Event::Exception(event) => {
                let devices = BTreeSet::from([event.device().clone()]);
                Some(Self::Some { devices, sites: BTreeSet::new() })
            }
            Event::Site(sites::Event::Created { id, .. }) => {
                Some(Self::Some { devices: BTreeSet::new(), sites: BTreeSet::from([id.clone()]) })
            }
            Event::Site(_)
            | Event::Access(_)
            | Event::Team(_)
            | Event::Lease(_)
            | Event::Commitment(_)
            | Event::View(_)
            | Event::Identity(_)
            | Event::Release(_) => None,
        }
    }

    fn of_device(event: &devices::Event) -> Option<Self> {
        let mut sites = BTreeSet::new();
        match event {
            devices::Event::Seen { .. } | devices::Event::KeptApart { .. } => return None,
            // One of them is not there any more, or was elsewhere before.
            devices::Event::Merged { .. } => return Some(Self::All),
            devices::Event::Edited { edit, .. } if edit.set.contains_key(&Field::Site) => {
                return Some(Self::All);
            }
            devices::Event::Moved { from, to, .. } => sites.extend([from.clone(), to.clone()]),
            _ => {}
        }
        let devices = event.devices().iter().cloned().collect();
        Some(Self::Some { devices, sites })
    }

    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (
                Self::Some { mut devices, mut sites },
                Self::Some { devices: others, sites: theirs },
            ) => {
                devices.extend(others);
                sites.extend(theirs);
                match devices.len() > DEVICES_MAX {
                    true => Self::All,
                    false => Self::Some { devices, sites },
                }
            }
            _ => Self::All,
        }
    }
}
