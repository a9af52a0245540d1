//! The identity graph: observations in, devices with evidence out.
//!
//! Floor 1: no I/O, no clock; ids are handed in. An inventory is a fold over observations
//! ([`Inventory::apply`]), and [`Inventory::resolve`] says what they amount to now:
//!
//! ```text
//! observations ─▶ graph (nodes) ─▶ owns (addresses) ─▶ merge (clusters) ─▶ rules ─▶ belief ─▶ devices
//!                                                  └─▶ paths (services, conduits)   └─▶ findings
//! ```
//!
//! A device is a cluster of identities, never a link address and never a network address.
//! Every attribute carries the evidence it rests on; contradictions lower confidence and stay
//! visible; uncertain ties are suggestions.

mod belief;
mod devices;
mod findings;
mod graph;
pub mod import;
pub mod leases;
mod merge;
mod mud;
pub mod oui;
mod owns;
mod paths;
pub mod resolvers;
pub mod rules;
#[cfg(test)]
mod scenarios;
pub mod vendors;

use model::inspect::{Conduit, Device, Finding, Service};
use model::observation::Observation;

pub use graph::Ids;

use crate::graph::Graph;
use crate::oui::Oui;
use crate::resolvers::Resolvers;
use crate::rules::Rules;

/// What is known, as the fold of observations.
#[derive(Debug, Default)]
pub struct Inventory {
    graph: Graph,
}

/// What the observations amount to.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Devices in order of first sight.
    pub devices: Vec<Device>,
    /// Destinations.
    pub services: Vec<Service>,
    /// Paths that were used.
    pub conduits: Vec<Conduit>,
    /// What deserves attention.
    pub findings: Vec<Finding>,
}

/// What the inventory believes with: text files that a site may extend.
#[derive(Debug)]
pub struct Knowledge {
    /// Identification rules.
    pub rules: Rules,
    /// Owners of address blocks.
    pub oui: Oui,
    /// Public resolvers.
    pub resolvers: Resolvers,
}

impl Inventory {
    /// Takes one observation. Applying the same observations gives the same inventory.
    pub fn apply(&mut self, seen: &Observation, ids: &mut dyn Ids) {
        self.graph.apply(seen, ids);
    }

    /// Devices, services, paths and findings as of now.
    pub fn resolve(&mut self, knowledge: &Knowledge, ids: &mut dyn Ids) -> Resolved {
        let mut devices = Vec::new();
        let rest = self.resolve_each(knowledge, ids, &mut |device| devices.push(device));
        Resolved { devices, ..rest }
    }

    /// The same, with each device handed to `take` as it is made instead of kept: their documents are
    /// many times as large as what they are made from.
    pub fn resolve_each(
        &mut self,
        knowledge: &Knowledge,
        ids: &mut dyn Ids,
        take: &mut dyn FnMut(Device),
    ) -> Resolved {
        devices::resolve(&mut self.graph, knowledge, ids, take)
    }
}
