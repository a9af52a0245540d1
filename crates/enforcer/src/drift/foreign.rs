//! Rules of others that lead packets around the fence, or make it believe something. They are
//! reported, never touched.
//!
//! An `accept` of another table bypasses nothing: the kernel asks every base chain of a hook. What
//! matters is what changes where a packet goes, or what the fence reads: tracking switched off, the
//! connection mark, translated destinations, copies and short cuts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::event::{SUBSYSTEM, clean, family_word};
use crate::netlink::{Attributes, Message, NetlinkError, Socket};

const GET_CHAIN: u8 = 4;
const GET_RULE: u8 = 7;
const GET_FLOW_TABLE: u8 = 23;
const NEW_CHAIN: u8 = 3;
const NEW_RULE: u8 = 6;
const NEW_FLOW_TABLE: u8 = 22;

/// Reported at most; that there are more is reported too.
const REPORTED_MAX: usize = 64;

/// Something of others that a packet could use to get around the fence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bypass {
    /// Address family of its table.
    pub family: String,
    /// Table.
    pub table: String,
    /// Chain or flow table.
    pub name: String,
    /// Hook, for a base chain.
    pub hook: Option<String>,
    /// What it does.
    pub does: Does,
}

/// What a foreign rule does that matters to the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Does {
    /// Switches connection tracking off.
    NoTrack,
    /// Sets the connection mark, by which the fence knows flows it permitted.
    SetsConnectionMark,
    /// Sends packets out of another interface.
    Forwards,
    /// Copies packets to somewhere else.
    Copies,
    /// Changes the destination.
    ChangesDestination,
    /// Sends packets to a program on this machine.
    Redirects,
    /// Hands packets to a program that decides.
    AsksAProgram,
    /// Sends the rest of a flow past all chains.
    Offloads,
}

impl Does {
    fn words(self) -> &'static str {
        match self {
            Self::NoTrack => "switches connection tracking off: answers are judged as new flows",
            Self::SetsConnectionMark => {
                "sets the connection mark, by which the fence knows the flows it permitted"
            }
            Self::Forwards => "sends packets out of another interface, past the fence",
            Self::Copies => "copies packets to somewhere else, past the fence",
            Self::ChangesDestination => {
                "changes destinations: the fence judges the changed address"
            }
            Self::Redirects => "sends packets to a program on this machine instead",
            Self::AsksAProgram => "lets a program decide about packets",
            Self::Offloads => "sends the rest of a flow past all chains: a cut would not end it",
        }
    }
}

impl fmt::Display for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, table, name, .. } = self;
        write!(f, "{family} {table} {name}")?;
        if let Some(hook) = &self.hook {
            write!(f, " ({hook})")?;
        }
        write!(f, " {}", self.does.words())
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// The first of it.
    pub found: BTreeSet<Bypass>,
    /// There is more than is listed.
    pub more: bool,
}

/// Looks through all tables except ours, which is `ours` in families `inet` and `bridge`.
pub fn scan(socket: &mut Socket, ours: &str) -> Result<Foreign, NetlinkError> {
    let others = |family: u8, table: &str| !(table == ours && matches!(family, 1 | 7));
    let chains: BTreeMap<(u8, String, String), u32> = list(socket, GET_CHAIN, |out, message| {
        let (family, table, attributes) = object(&message, NEW_CHAIN)?;
        let hook = attributes.get(4)?.nested().get(1)?.be32()?;
        if others(family, &table) {
            BTreeMap::insert(out, (family, table, attributes.text(3)?), hook);
        }
        Some(())
    })?;
    let rules: BTreeSet<(u8, String, String, Does)> = list(socket, GET_RULE, |out, message| {
        let (family, table, attributes) = object(&message, NEW_RULE)?;
        if others(family, &table) {
            let chain = attributes.text(2)?;
            for does in deeds(attributes.nested(4)) {
                BTreeSet::insert(out, (family, table.clone(), chain.clone(), does));
            }
        }
        Some(())
    })?;
    let flow_tables = list(socket, GET_FLOW_TABLE, |out: &mut BTreeSet<_>, message| {
        let (family, table, attributes) = object(&message, NEW_FLOW_TABLE)?;
        if others(family, &table) {
            out.insert((family, table, attributes.text(2)?, Does::Offloads));
        }
        Some(())
    });
    let flow_tables = match flow_tables {
        // A kernel without flow tables has none.
        Err(error) if error.code().is_some() && !error.is_denied() => BTreeSet::new(),
        other => other?,
    };
    let mut out = Foreign::default();
    for (family, table, name, does) in rules.into_iter().chain(flow_tables) {
        let hook = chains.get(&(family, table.clone(), name.clone())).copied();
        let elsewhere = hook.is_some_and(|hook| leaves(family, hook));
        // What this machine itself sends is not a device's; the connection mark is everybody's.
        if elsewhere && !matches!(does, Does::SetsConnectionMark | Does::Offloads) {
            continue;
        }
        if out.found.len() >= REPORTED_MAX {
            out.more = true;
            break;
        }
        out.found.insert(Bypass {
            family: family_word(family).to_owned(),
            table: clean(&table),
            name: clean(&name),
            hook: hook.map(|hook| hook_word(family, hook).to_owned()),
            does,
        });
    }
    Ok(out)
}

fn list<T: Default>(
    socket: &mut Socket,
    code: u8,
    each: impl Fn(&mut T, Message<'_>) -> Option<()>,
) -> Result<T, NetlinkError> {
    let kind = u16::from_be_bytes([SUBSYSTEM, code]);
    socket.dump(
        kind,
        |e| e.netfilter(0, 0),
        |out: &mut T, message| {
            let _ = each(out, message);
        },
    )
}

fn object<'a>(message: &Message<'a>, code: u8) -> Option<(u8, String, Attributes<'a>)> {
    if message.subsystem() != SUBSYSTEM || message.code() != code {
        return None;
    }
    let (family, _, attributes) = message.netfilter()?;
    Some((family, attributes.text(1)?, attributes))
}

/// What a message says of a rule, whoever made it.
pub(super) fn read_any(message: &Message<'_>) -> Option<BTreeSet<Does>> {
    let (_, _, attributes) = object(message, message.code())?;
    Some(deeds(attributes.nested(4)))
}

/// What the expressions of a rule do. Numbers: linux/netfilter/nf_tables.h.
fn deeds(expressions: Attributes<'_>) -> BTreeSet<Does> {
    expressions.filter_map(|item| deed(item.nested())).collect()
}

fn deed(expression: Attributes<'_>) -> Option<Does> {
    let data = expression.nested(2);
    let number = |kind: u16| data.get(kind).and_then(|a| a.be32());
    Some(match expression.text(1)?.as_str() {
        "notrack" => Does::NoTrack,
        // NFTA_CT_SREG and NFTA_CT_KEY: NFT_CT_MARK.
        "ct" if data.get(4).is_some() && number(2) == Some(3) => Does::SetsConnectionMark,
        "fwd" => Does::Forwards,
        "dup" => Does::Copies,
        // NFTA_NAT_TYPE: NFT_NAT_DNAT.
        "nat" if number(1) == Some(1) => Does::ChangesDestination,
        "redir" | "tproxy" => Does::Redirects,
        "queue" => Does::AsksAProgram,
        "flow_offload" => Does::Offloads,
        // Rules that iptables made.
        "target" => match data.text(1)?.as_str() {
            "NOTRACK" | "CT" => Does::NoTrack,
            "CONNMARK" => Does::SetsConnectionMark,
            "TEE" => Does::Copies,
            "DNAT" => Does::ChangesDestination,
            "REDIRECT" | "TPROXY" => Does::Redirects,
            "NFQUEUE" => Does::AsksAProgram,
            "FLOWOFFLOAD" => Does::Offloads,
            _ => return None,
        },
        _ => return None,
    })
}

/// The hook sees only what leaves this machine.
fn leaves(family: u8, hook: u32) -> bool {
    family != 5 && matches!(hook, 3 | 4)
}

fn hook_word(family: u8, hook: u32) -> &'static str {
    match (family, hook) {
        (5, 0) | (1, 5) => "ingress",
        (5, 1) => "egress",
        (_, 0) => "prerouting",
        (_, 1) => "input",
        (_, 2) => "forward",
        (_, 3) => "output",
        (_, 4) => "postrouting",
        _ => "another hook",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Encoder;

    fn rule(name: &str, data: impl FnOnce(&mut Encoder)) -> Vec<u8> {
        let mut e = Encoder::new();
        e.nested(1, |e| {
            e.put_str(1, name);
            e.nested(2, data);
        });
        e.bytes().to_vec()
    }

    #[test]
    fn only_what_leads_around_is_reported() {
        let check = |name: &str, numbers: &[(u16, u32)], expect: Option<Does>| {
            let bytes = rule(name, |e| numbers.iter().for_each(|(k, n)| e.put_be32(*k, *n)));
            let found: Vec<_> = deeds(Attributes::new(&bytes)).into_iter().collect();
            assert_eq!(found, expect.into_iter().collect::<Vec<_>>(), "{name}");
        };
        check("notrack", &[], Some(Does::NoTrack));
        check("ct", &[(2, 3), (4, 1)], Some(Does::SetsConnectionMark));
        check("ct", &[(2, 3), (1, 1)], None);
        check("ct", &[(2, 0), (4, 1)], None);
        check("nat", &[(1, 1)], Some(Does::ChangesDestination));
        check("nat", &[(1, 0)], None);
        check("masq", &[], None);
        check("counter", &[], None);
        check("flow_offload", &[], Some(Does::Offloads));
        let target = |name: &str| rule("target", |e| e.put_str(1, name));
        assert!(deeds(Attributes::new(&target("TEE"))).contains(&Does::Copies));
        assert!(deeds(Attributes::new(&target("LOG"))).is_empty());
    }
}
