//! One enforcement point.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::ruleset::Ruleset;

use crate::json::{self, Listing};
use crate::plan::{GENERATION, Options, Plan};
use crate::render::{refused, transaction};
use crate::runner::{Output, Runner, attempt, failure, first_line};
use crate::verify::{self, Difference, Verified};
use crate::{EnforceError, Host};

/// The tables of one name, in the network namespace that the runner reaches.
#[derive(Clone, Debug)]
pub struct Fence<R = Host> {
    runner: R,
    table: String,
}

/// A transaction that the kernel took. Not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Generation now in force.
    pub generation: u64,
    /// Generation it replaced.
    pub replaced: Option<u64>,
    /// Elements sent.
    pub elements: usize,
    /// Permits this enforcement point cannot carry, in words.
    pub unsupported: Vec<String>,
}

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

impl<R: Runner> Fence<R> {
    /// The fence named `table` that `runner` reaches.
    pub fn new(runner: R, table: &str) -> Self {
        Self { runner, table: table.to_owned() }
    }

    /// Replaces what is in force by `ruleset`, in one transaction: all of it or nothing.
    ///
    /// Refuses a generation older than the one read back from the kernel. The same generation may
    /// be applied again: that repairs drift.
    pub fn apply(&self, ruleset: &Ruleset, options: &Options) -> Result<Applied, EnforceError> {
        let options = Options { table: self.table.clone(), ..options.clone() };
        let plan = Plan::new(ruleset, &options)?;
        let standing = self.standing()?;
        let replaced = standing.iter().filter_map(|(_, _, generation)| *generation).max();
        if let Some(in_force) = replaced.filter(|in_force| *in_force > plan.generation) {
            return Err(EnforceError::Stale { offered: plan.generation, in_force });
        }
        let text = transaction(&plan, &standing);
        let argv = ["nft", "-f", "-"];
        let output = attempt(&self.runner, &argv, &text)?;
        if output.code != 0 {
            return Err(match failure(&argv, &output) {
                EnforceError::Failed { said, .. } => refused(&text, &said),
                other => other,
            });
        }
        Ok(Applied {
            generation: plan.generation,
            replaced,
            elements: plan.sets().map(|(_, set)| set.elements.len()).sum(),
            unsupported: plan.unsupported,
        })
    }

    /// Reads the kernel back and compares it with `ruleset`: every element, every rule.
    pub fn verify(
        &self,
        ruleset: &Ruleset,
        options: &Options,
    ) -> Result<Result<Verified, Vec<Difference>>, EnforceError> {
        let options = Options { table: self.table.clone(), ..options.clone() };
        let plan = Plan::new(ruleset, &options)?;
        let reference = verify::reference(&self.runner, &plan)?;
        let mut held = BTreeMap::new();
        for table in &plan.tables {
            if let Some(listing) = self.list(table.family, &[])? {
                held.insert(table.family.to_owned(), listing);
            }
        }
        Ok(verify::compare(&plan, &reference, &held))
    }

    /// What is in force, and what it has counted.
    pub fn read(&self) -> Result<InForce, EnforceError> {
        let mut out = InForce::default();
        for family in ["inet", "bridge"] {
            let Some(listing) = self.list(family, &[])? else {
                continue;
            };
            out.generation = out.generation.max(generation_of(&listing));
            for (name, packets) in &listing.counters {
                *out.counters.entry(name.clone()).or_default() += packets;
            }
            for (name, set) in &listing.sets {
                let remembered = name.starts_with("denied");
                for (key, element) in &set.elements {
                    if remembered {
                        out.denials.extend(denial(key, element.packets));
                    } else if element.value.starts_with("goto ") && !element.comment.is_empty() {
                        *out.hits.entry(element.comment.clone()).or_default() += element.packets;
                    }
                }
            }
        }
        out.denials
            .sort_by_key(|d| (std::cmp::Reverse(d.packets), d.from, d.to, d.protocol, d.port));
        Ok(out)
    }

    /// Takes the fence away. That it is already gone is fine.
    pub fn remove(&self) -> Result<(), EnforceError> {
        let standing = self.standing()?;
        if standing.is_empty() {
            return Ok(());
        }
        let lines =
            standing.iter().map(|(family, name, _)| format!("delete table {family} {name}\n"));
        let text: String = lines.collect();
        crate::runner::must(&self.runner, &["nft", "-f", "-"], &text).map(|_| ())
    }

    /// Our tables in the kernel: family, name, generation.
    fn standing(&self) -> Result<Vec<(String, String, Option<u64>)>, EnforceError> {
        let mut out = Vec::new();
        for family in ["inet", "bridge"] {
            if let Some(listing) = self.list(family, &["-t"])? {
                out.push((family.to_owned(), self.table.clone(), generation_of(&listing)));
            }
        }
        Ok(out)
    }

    fn list(&self, family: &str, extra: &[&str]) -> Result<Option<Listing>, EnforceError> {
        let mut argv = vec!["nft", "-j", "-n"];
        argv.extend_from_slice(extra);
        argv.extend(["list", "table", family, &self.table]);
        let output = attempt(&self.runner, &argv, "")?;
        if absent(&output) {
            return Ok(None);
        }
        if output.code != 0 {
            return Err(failure(&argv, &output));
        }
        let unreadable = |why| EnforceError::Unreadable { command: argv.join(" "), why };
        let mut tables = json::listing(&output.stdout).map_err(unreadable)?;
        Ok(Some(tables.remove(family).unwrap_or_default()))
    }
}

fn absent(output: &Output) -> bool {
    output.code != 0 && first_line(&output.stderr).contains("No such file or directory")
}

fn generation_of(listing: &Listing) -> Option<u64> {
    let numbers =
        listing.chains.keys().filter_map(|name| name.strip_prefix(GENERATION)?.parse().ok());
    numbers.max()
}

fn denial(key: &str, packets: u64) -> Option<Denial> {
    let mut parts = key.split(" . ");
    let from = parts.next()?.parse().ok()?;
    let to = parts.next()?.parse().ok()?;
    let protocol = parts.next()?.parse().ok()?;
    let port = parts.next().and_then(|port| port.parse().ok());
    Some(Denial { from, to, protocol, port, packets })
}
