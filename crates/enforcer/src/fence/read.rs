//! What the kernel holds and has counted.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{FAMILIES, Fence};
use crate::EnforceError;
use crate::nft::held::{self, Element};
use crate::plan::key::address;
use crate::plan::{Marker, SEEN_MAX, Tag};

/// What the kernel holds and has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// Generation, where a fence is in force.
    pub generation: Option<u64>,
    /// Packets by named counter: `strangers`, `spoofed`, `denied_3`….
    pub counters: BTreeMap<String, u64>,
    /// What was denied (or would be, in shadow), most packets first.
    pub denials: Vec<Denial>,
    /// Packets that opened a flow, by comment of the element: the name of its rule or exception,
    /// or several joined with a comma, cut to 120 bytes. 0 for a rule never used.
    pub hits: BTreeMap<String, u64>,
    /// New flows that pass and that a policy in shadow would close, by that policy.
    pub would_deny: BTreeMap<String, u64>,
    /// Packets that nothing permits and that a policy in shadow would permit, by that policy.
    pub would_allow: BTreeMap<String, u64>,
    /// New flows beyond the rate of a rule, by that rule.
    pub beyond_rate: BTreeMap<String, u64>,
    /// Sets that remember denials or logged flows and are full: what comes now is not remembered,
    /// or not logged.
    pub full: Vec<String>,
    /// Sets too large to be listed; their hits are not in [`InForce::hits`].
    pub unlisted: Vec<String>,
}

/// A pair that no permit names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Source address.
    pub from: IpAddr,
    /// Destination address.
    pub to: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port, where there are ports.
    pub port: Option<u16>,
    /// Packets.
    pub packets: u64,
}

/// Sets with more elements are not listed: the kernel's listing takes time with their square.
const LISTED_MAX: u32 = 50_000;

impl Fence {
    /// What is in force, and what it has counted since its objects were built.
    pub fn read(&self) -> Result<InForce, EnforceError> {
        let mut out = InForce::default();
        let mut session = self.session()?;
        let socket = session.socket()?;
        let table = &self.inner.table;
        for family in FAMILIES {
            let Some(Marker { generation, tag }) =
                super::marker(held::chains(socket, family, table)?.keys())
            else {
                continue;
            };
            out.generation = out.generation.max(Some(generation));
            for (full, (packets, comment)) in held::counters(socket, family, table)? {
                if let Some((name, _)) = Tag::split(&full).filter(|(_, its)| *its == tag) {
                    out.count(name, packets, comment);
                }
            }
            for (full, set) in held::sets(socket, family, table)? {
                let Some((name, _)) = Tag::split(&full).filter(|(_, its)| *its == tag) else {
                    continue;
                };
                let remembers = name.starts_with("denied") || name.starts_with("seen");
                let permits = ["exact_", "any_", "range_", "maybe_", "except", "name"];
                if !remembers && !permits.iter().any(|prefix| name.starts_with(prefix)) {
                    continue;
                }
                if set.count.is_some_and(|count| count > LISTED_MAX) {
                    out.unlisted.push(name.to_owned());
                    continue;
                }
                let elements = held::elements(socket, family, table, &full)?;
                let most =
                    if name.starts_with("seen") { SEEN_MAX } else { crate::plan::DENIALS_MAX };
                if remembers && elements.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
                    out.full.push(name.to_owned());
                }
                for ((key, _), element) in elements {
                    out.element(name, &key, &element);
                }
            }
        }
        out.denials
            .sort_by_key(|d| (std::cmp::Reverse(d.packets), d.from, d.to, d.protocol, d.port));
        Ok(out)
    }
}

impl InForce {
    fn count(&mut self, name: &str, packets: u64, comment: String) {
        let list = if name.starts_with("closing_") {
            &mut self.would_deny
        } else if name.starts_with("beyond_") {
            &mut self.beyond_rate
        } else if name.starts_with("maybe_") {
            &mut self.would_allow
        } else {
            *self.counters.entry(name.to_owned()).or_default() += packets;
            return;
        };
        *list.entry(comment).or_default() += packets;
    }

    fn element(&mut self, set: &str, key: &[u8], element: &Element) {
        if set.starts_with("denied") {
            self.denials.extend(denial(set, key, element.packets));
        } else if element.verdict.is_some()
            && !element.comment.is_empty()
            && !set.starts_with("maybe_")
        {
            *self.hits.entry(element.comment.clone()).or_default() += element.packets;
        }
    }
}

fn denial(set: &str, key: &[u8], packets: u64) -> Option<Denial> {
    let length = if set.ends_with('4') { 4 } else { 16 };
    let (from, rest) = key.split_at_checked(length)?;
    let (to, rest) = rest.split_at_checked(length)?;
    let protocol = *rest.first()?;
    let port = rest.get(4..6).and_then(|port| port.first_chunk().copied());
    let port = port.map(u16::from_be_bytes);
    Some(Denial { from: address(from)?, to: address(to)?, protocol, port, packets })
}
