//! What nf_tables tells about changes, read from bytes. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::netlink::Message;

/// `NFNL_SUBSYS_NFTABLES`.
pub(super) const SUBSYSTEM: u8 = 10;
/// `NFT_MSG_NEWGEN`: ends the events of one transaction.
const NEW_GENERATION: u8 = 15;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Something was changed.
    Change(Change),
    /// A transaction ended: its number and who sent it.
    End(Generation),
}

/// The number of a transaction, and the process that sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// Changes with every transaction of the network namespace.
    pub id: u32,
    /// Id of the thread (of a process with one, the process), as the kernel's first process
    /// namespace numbers it.
    pub pid: u32,
    /// Name of the program, at most 15 bytes.
    pub process: String,
}

/// One change of an nf_tables object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// Made or taken away.
    pub act: Act,
    /// What kind of object.
    pub object: Object,
    /// Address family: `inet`, `bridge`….
    pub family: String,
    /// Table.
    pub table: String,
    /// Chain, set or other object in the table; empty for the table itself. For a rule its chain,
    /// for an element its set.
    pub name: String,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Made, or changed.
    Added,
    /// Taken away.
    Deleted,
}

/// What kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// A table.
    Table,
    /// A chain.
    Chain,
    /// A rule.
    Rule,
    /// A set or map.
    Set,
    /// An element of a set or map.
    Element,
    /// A counter, quota or the like.
    Named,
    /// A flow table.
    FlowTable,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, table, name, .. } = self;
        let act = if self.act == Act::Added { "added" } else { "deleted" };
        match self.object {
            Object::Table => write!(f, "{act} table {family} {table}"),
            Object::Chain => write!(f, "{act} chain {family} {table} {name}"),
            Object::Rule => write!(f, "{act} rule in chain {family} {table} {name}"),
            Object::Set => write!(f, "{act} set {family} {table} {name}"),
            Object::Element => write!(f, "{act} element of set {family} {table} {name}"),
            Object::Named => write!(f, "{act} object {family} {table} {name}"),
            Object::FlowTable => write!(f, "{act} flow table {family} {table} {name}"),
        }
    }
}

/// Reads one event; `None` for what is none.
pub(super) fn read(message: &Message<'_>) -> Option<Event> {
    if message.subsystem() != SUBSYSTEM {
        return None;
    }
    if message.code() == NEW_GENERATION {
        return generation(message).map(Event::End);
    }
    // Codes come in threes: new, get, delete.
    let (act, object) = match message.code() {
        0 => (Act::Added, Object::Table),
        2 => (Act::Deleted, Object::Table),
        3 => (Act::Added, Object::Chain),
        5 => (Act::Deleted, Object::Chain),
        6 => (Act::Added, Object::Rule),
        8 => (Act::Deleted, Object::Rule),
        9 => (Act::Added, Object::Set),
        11 => (Act::Deleted, Object::Set),
        12 => (Act::Added, Object::Element),
        14 => (Act::Deleted, Object::Element),
        18 => (Act::Added, Object::Named),
        20 => (Act::Deleted, Object::Named),
        22 => (Act::Added, Object::FlowTable),
        24 => (Act::Deleted, Object::FlowTable),
        _ => return None,
    };
    let (family, _, attributes) = message.netfilter()?;
    // The table is the first attribute of every object. A chain has its handle second.
    let name = match object {
        Object::Table => None,
        Object::Chain => attributes.text(3),
        _ => attributes.text(2),
    };
    Some(Event::Change(Change {
        act,
        object,
        family: family_word(family).to_owned(),
        table: clean(&attributes.text(1)?),
        name: clean(&name.unwrap_or_default()),
    }))
}

/// Reads the answer to `NFT_MSG_GETGEN`, or the event of the same layout.
pub(super) fn generation(message: &Message<'_>) -> Option<Generation> {
    if message.subsystem() != SUBSYSTEM || message.code() != NEW_GENERATION {
        return None;
    }
    let (_, _, attributes) = message.netfilter()?;
    Some(Generation {
        id: attributes.get(1)?.be32()?,
        pid: attributes.get(2).and_then(|pid| pid.be32()).unwrap_or(0),
        process: clean(&attributes.text(3).unwrap_or_default()),
    })
}

/// A program may call itself anything; a terminal must not obey it.
pub(super) fn clean(text: &str) -> String {
    text.chars().take(128).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub(super) fn family_word(family: u8) -> &'static str {
    match family {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Encoder, Messages};

    fn told(code: u8, body: impl FnOnce(&mut Encoder)) -> Option<Event> {
        let mut e = Encoder::new();
        e.message(u16::from_be_bytes([SUBSYSTEM, code]), 0, 0, |e| {
            e.netfilter(1, 0);
            body(e);
        });
        read(&Messages::new(e.bytes()).next().unwrap())
    }

    #[test]
    fn changes_are_told_in_words() {
        let check = |code, kind, expect: &str| {
            let event = told(code, |e| {
                e.put_str(1, "ringfence");
                e.put_str(kind, "x");
            });
            let Some(Event::Change(change)) = event else { panic!("{event:?}") };
            assert_eq!(change.to_string(), expect);
        };
        check(2, 9, "deleted table inet ringfence");
        check(3, 3, "added chain inet ringfence x");
        check(8, 2, "deleted rule in chain inet ringfence x");
        check(9, 2, "added set inet ringfence x");
        check(14, 2, "deleted element of set inet ringfence x");
        check(18, 2, "added object inet ringfence x");
        check(22, 2, "added flow table inet ringfence x");
    }

    #[test]
    fn the_end_names_the_process_and_nothing_a_terminal_obeys() {
        let event = told(NEW_GENERATION, |e| {
            e.put_be32(1, 77);
            e.put_be32(2, 4_711);
            e.put_str(3, "n\u{1b}ft");
        });
        let process = "n ft".to_owned();
        assert_eq!(event, Some(Event::End(Generation { id: 77, pid: 4_711, process })));
        assert_eq!(told(NEW_GENERATION, |_| {}), None);
        assert_eq!(told(17, |e| e.put_str(1, "x")), None);
        assert_eq!(told(0, |_| {}), None);
    }
}
