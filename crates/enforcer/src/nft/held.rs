//! What the kernel holds, read back.

use std::collections::BTreeMap;

use crate::netlink::{Attributes, Encoder, Message, NetlinkError, Socket};
use crate::nft::{SUBSYSTEM, family, message, write};

/// A chain, with all but its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    pub comment: String,
    /// Hook and priority of a base chain.
    pub hook: Option<(u32, u32)>,
    pub policy: Option<u32>,
}

/// A set, with all but its elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    /// Type, data, flags, size, timeout, expressions as attributes; see [`write::definition`].
    pub definition: Vec<(u16, Vec<u8>)>,
    /// Elements; older kernels do not say.
    pub count: Option<u32>,
}

/// An element as the kernel keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub end: Option<Vec<u8>>,
    pub mark: Option<u32>,
    /// Verdict and its chain.
    pub verdict: Option<(i32, String)>,
    pub comment: String,
    pub packets: u64,
    pub has_timeout: bool,
    /// Milliseconds left.
    pub expires_ms: Option<u64>,
}

/// Key of an element, and whether it ends a range instead of beginning one.
pub(crate) type Key = (Vec<u8>, bool);

fn kind(code: u8) -> u16 {
    u16::from_be_bytes([SUBSYSTEM, code])
}

/// The number that changes with every transaction of the namespace.
pub(crate) fn generation_id(socket: &mut Socket) -> Result<u32, NetlinkError> {
    let mut id = None;
    let each = |message: Message<'_>| {
        id = message.netfilter().and_then(|(_, _, attributes)| attributes.get(1)?.be32());
    };
    socket.get(kind(message::GET_GENERATION), |e| e.netfilter(0, 0), each)?;
    id.ok_or(NetlinkError::Unreadable("no generation id"))
}

/// Flags of a table; `None` where there is none.
pub(crate) fn table(
    socket: &mut Socket,
    in_family: &str,
    name: &str,
) -> Result<Option<u32>, NetlinkError> {
    let mut flags = None;
    let body = |e: &mut Encoder| {
        e.netfilter(family(in_family), 0);
        e.put_str(1, name);
    };
    let asked = socket.get(kind(message::GET_TABLE), body, |message| {
        let attributes = message.netfilter().map(|(_, _, attributes)| attributes);
        flags = attributes.and_then(|a| a.get(2)?.be32()).or(Some(0));
    });
    match asked {
        Ok(()) => Ok(flags),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lists objects of one table: `each` is given the attributes of those that are in it.
fn list<T: Default>(
    socket: &mut Socket,
    code: u8,
    in_family: &str,
    table: &str,
    body: impl Fn(&mut Encoder),
    each: impl Fn(&mut T, Attributes<'_>),
) -> Result<T, NetlinkError> {
    let number = family(in_family);
    let request = |e: &mut Encoder| {
        e.netfilter(number, 0);
        body(e);
    };
    socket.dump(kind(code), request, |out: &mut T, message| {
        if let Some((its, _, attributes)) = message.netfilter()
            && its == number
            && attributes.text(1).as_deref() == Some(table)
        {
            each(out, attributes);
        }
    })
}

/// Chains of a table by name.
pub(crate) fn chains(
    socket: &mut Socket,
    in_family: &str,
    table: &str,
) -> Result<BTreeMap<String, Chain>, NetlinkError> {
    let each = |out: &mut BTreeMap<String, Chain>, attributes: Attributes<'_>| {
        let hook = attributes.get(4).map(|hook| hook.nested());
        let numbers = hook.and_then(|hook| hook.get(1)?.be32().zip(hook.get(2)?.be32()));
        let chain = Chain {
            comment: attributes.get(12).map_or(String::new(), |a| comment(a.payload)),
            hook: numbers,
            policy: attributes.get(5).and_then(|a| a.be32()),
        };
        out.insert(attributes.text(3).unwrap_or_default(), chain);
    };
    list(socket, message::GET_CHAIN, in_family, table, |_| {}, each)
}

/// Rules of a table: expressions by chain, in order.
pub(crate) fn rules(
    socket: &mut Socket,
    in_family: &str,
    table: &str,
) -> Result<BTreeMap<String, Vec<Vec<u8>>>, NetlinkError> {
    let each = |out: &mut BTreeMap<String, Vec<Vec<u8>>>, attributes: Attributes<'_>| {
        let expressions = attributes.get(4).map_or(Vec::new(), |a| a.payload.to_vec());
        out.entry(attributes.text(2).unwrap_or_default()).or_default().push(expressions);
    };
    list(socket, message::GET_RULE, in_family, table, |e| e.put_str(1, table), each)
}

/// Sets of a table by name.
pub(crate) fn sets(
    socket: &mut Socket,
    in_family: &str,
    table: &str,
) -> Result<BTreeMap<String, Set>, NetlinkError> {
    let each = |out: &mut BTreeMap<String, Set>, attributes: Attributes<'_>| {
        let set = Set {
            definition: definition(attributes),
            count: attributes.get(20).and_then(|a| a.be32()),
        };
        out.insert(attributes.text(2).unwrap_or_default(), set);
    };
    list(socket, message::GET_SET, in_family, table, |e| e.put_str(1, table), each)
}

/// Named counters of a table: packets and comment by name.
pub(crate) fn counters(
    socket: &mut Socket,
    in_family: &str,
    table: &str,
) -> Result<BTreeMap<String, (u64, String)>, NetlinkError> {
    let each = |out: &mut BTreeMap<String, (u64, String)>, attributes: Attributes<'_>| {
        if attributes.get(3).and_then(|a| a.be32()) == Some(1) {
            let packets = attributes.nested(4).get(2).and_then(|a| a.be64()).unwrap_or(0);
            let comment = attributes.get(8).map_or(String::new(), |a| comment(a.payload));
            out.insert(attributes.text(2).unwrap_or_default(), (packets, comment));
        }
    };
    list(socket, message::GET_OBJECT, in_family, table, |e| e.put_str(1, table), each)
}

/// All elements of a set. The kernel's listing takes time that grows with the square of the size:
/// for sets of some ten thousand at most.
pub(crate) fn elements(
    socket: &mut Socket,
    in_family: &str,
    table: &str,
    set: &str,
) -> Result<BTreeMap<Key, Element>, NetlinkError> {
    let body = |e: &mut Encoder| {
        e.put_str(1, table);
        e.put_str(2, set);
    };
    let each = |out: &mut BTreeMap<Key, Element>, attributes: Attributes<'_>| {
        for item in attributes.nested(3) {
            let (key, element) = element(item.nested());
            out.insert(key, element);
        }
    };
    list(socket, message::GET_ELEMENT, in_family, table, body, each)
}

/// The elements of `keys` that a set holds. An absent key is the kernel's refusal of all: then
/// they are asked for one by one.
pub(crate) fn lookup(
    socket: &mut Socket,
    in_family: &str,
    table: &str,
    set: &str,
    keys: &[&[u8]],
) -> Result<BTreeMap<Key, Element>, NetlinkError> {
    let mut out = BTreeMap::new();
    let body = |e: &mut Encoder| {
        e.netfilter(family(in_family), 0);
        e.put_str(1, table);
        e.put_str(2, set);
        e.nested(3, |e| {
            for bytes in keys {
                e.nested(crate::nft::LIST_ITEM, |e| write::key(e, 1, bytes));
            }
        });
    };
    let asked = socket.get(kind(message::GET_ELEMENT), body, |message| {
        let attributes = message.netfilter().map(|(_, _, attributes)| attributes);
        for item in attributes.into_iter().flat_map(|attributes| attributes.nested(3)) {
            let (key, element) = element(item.nested());
            out.insert(key, element);
        }
    });
    match asked {
        Ok(()) => Ok(out),
        Err(error) if error.is_absent() && keys.len() == 1 => Ok(BTreeMap::new()),
        Err(error) if error.is_absent() => {
            let mut out = BTreeMap::new();
            for one in keys.chunks(1) {
                out.extend(lookup(socket, in_family, table, set, one)?);
            }
            Ok(out)
        }
        Err(error) => Err(error),
    }
}

fn element(attributes: Attributes<'_>) -> (Key, Element) {
    let value = |kind: u16| attributes.nested(kind).get(1).map(|a| a.payload);
    let data = attributes.nested(2);
    let verdict = data.get(2).map(|verdict| verdict.nested()).and_then(|verdict| {
        let code = verdict.get(1)?.be32()?.cast_signed();
        Some((code, verdict.text(2).unwrap_or_default()))
    });
    let ends = attributes.get(3).and_then(|a| a.be32()).is_some_and(|flags| flags & 1 != 0);
    let packets = attributes.nested(7).nested(2).get(2).and_then(|a| a.be64());
    let element = Element {
        end: value(10).map(<[u8]>::to_vec),
        mark: data.get(1).and_then(|a| a.u32()),
        verdict,
        comment: attributes.get(6).map_or(String::new(), |a| comment(a.payload)),
        packets: packets.unwrap_or(0),
        has_timeout: attributes.get(4).is_some(),
        expires_ms: attributes.get(5).and_then(|a| a.be64()),
    };
    ((value(1).unwrap_or_default().to_vec(), ends), element)
}

/// The attributes of a set that define it, in the order of their kinds. Counting by element
/// (`EXPR`) is what matters of the expressions, not their counts.
pub(crate) fn definition(attributes: Attributes<'_>) -> Vec<(u16, Vec<u8>)> {
    let mut out = Vec::new();
    // The length of data (7) follows from its type.
    for kind in [3, 4, 5, 6, 9, 11, 17] {
        if let Some(attribute) = attributes.get(kind) {
            let payload = match kind {
                17 => attribute.nested().get(1).map_or(Vec::new(), |name| name.payload.to_vec()),
                // What a size is rounded to is the kernel's business; an empty description is none.
                9 => attribute.nested().get(2).map_or(Vec::new(), |parts| parts.payload.to_vec()),
                _ => attribute.payload.to_vec(),
            };
            if payload.iter().any(|byte| *byte != 0) {
                out.push((kind, payload));
            }
        }
    }
    out
}

/// The comment in nft's notes: type 0, length, text.
fn comment(mut notes: &[u8]) -> String {
    while let [kind, length, rest @ ..] = notes {
        let length = usize::from(*length);
        let Some(value) = rest.get(..length) else {
            break;
        };
        if *kind == 0 {
            let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
            return String::from_utf8_lossy(text).into_owned();
        }
        notes = rest.get(length..).unwrap_or_default();
    }
    String::new()
}
