//! Objects of a plan as messages of a transaction.

use crate::netlink::{Batch, Encoder};
use crate::nft::expression::{self, GOTO, counter, verdict_data};
use crate::nft::{APPEND, CREATE, EXCLUSIVE, LIST_ITEM, family, message};
use crate::plan::elements::{Element, Value};
use crate::plan::rule::Rule;
use crate::plan::{Chain, Data, Set, Tag, Type};

/// Room that elements of one message may take: an attribute's length has 16 bits.
const ELEMENTS_BYTES: usize = 48 << 10;
/// `NFT_DATA_VERDICT`.
const DATA_VERDICT: u32 = 0xffff_ff00;
/// nft's numbers of the types of data, for its listings.
const TYPE_MARK: u32 = 19;

pub(crate) const FLAG_INTERVAL: u32 = 0x04;
pub(crate) const FLAG_MAP: u32 = 0x08;
pub(crate) const FLAG_TIMEOUT: u32 = 0x10;
pub(crate) const FLAG_EVALUATED: u32 = 0x20;
pub(crate) const FLAG_CONCATENATED: u32 = 0x80;

/// Where objects are written: a table, and the tag of their names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub family: &'static str,
    pub table: &'a str,
    pub tag: &'a Tag,
}

impl Target<'_> {
    fn number(&self) -> u8 {
        family(self.family)
    }

    /// The table, with its flags.
    pub(crate) fn table(&self, batch: &mut Batch, flags: u32, only_new: bool) {
        let mode = if only_new { CREATE | EXCLUSIVE } else { CREATE };
        batch.push(message::NEW_TABLE, mode, self.number(), |e| {
            e.put_str(1, self.table);
            e.put_be32(2, flags);
        });
    }

    pub(crate) fn delete_table(&self, batch: &mut Batch) {
        batch.push(message::DELETE_TABLE, 0, self.number(), |e| e.put_str(1, self.table));
    }

    pub(crate) fn counter(&self, batch: &mut Batch, name: &str, comment: &str) {
        batch.push(message::NEW_OBJECT, CREATE | EXCLUSIVE, self.number(), |e| {
            e.put_str(1, self.table);
            e.put_str(2, &self.tag.name(name));
            e.put_be32(3, 1);
            e.nested(4, |_| {});
            e.put(8, &user_text(0, comment));
        });
    }

    pub(crate) fn delete_counter(&self, batch: &mut Batch, full_name: &str) {
        batch.push(message::DELETE_OBJECT, 0, self.number(), |e| {
            e.put_str(1, self.table);
            e.put_str(2, full_name);
            e.put_be32(3, 1);
        });
    }

    /// The chain without its rules.
    pub(crate) fn chain(&self, batch: &mut Batch, chain: &Chain) {
        batch.push(message::NEW_CHAIN, CREATE | EXCLUSIVE, self.number(), |e| {
            e.put_str(1, self.table);
            e.put_str(3, &chain.full_name(self.tag));
            if let Some(hook) = chain.hook {
                e.nested(4, |e| {
                    e.put_be32(1, hook_number(hook));
                    e.put_be32(2, priority(self.family));
                });
                e.put_be32(5, 1);
                e.put_str(7, "filter");
            }
            if !chain.comment.is_empty() {
                e.put(12, &user_text(0, &chain.comment));
            }
        });
    }

    /// A base chain passes what its rules leave.
    pub(crate) fn accept_policy(&self, batch: &mut Batch, chain: &str) {
        batch.push(message::NEW_CHAIN, 0, self.number(), |e| {
            e.put_str(1, self.table);
            e.put_str(3, chain);
            e.put_be32(5, 1);
        });
    }

    pub(crate) fn delete_chain(&self, batch: &mut Batch, full_name: &str) {
        batch.push(message::DELETE_CHAIN, 0, self.number(), |e| {
            e.put_str(1, self.table);
            e.put_str(3, full_name);
        });
    }

    pub(crate) fn rule(&self, batch: &mut Batch, chain: &str, rule: &Rule) {
        let bridge = self.family == "bridge";
        batch.push(message::NEW_RULE, CREATE | APPEND, self.number(), |e| {
            e.put_str(1, self.table);
            e.put_str(2, chain);
            e.nested(4, |e| expression::encode(e, rule, self.tag, bridge));
        });
    }

    /// Takes away all rules of a chain.
    pub(crate) fn flush(&self, batch: &mut Batch, chain: &str) {
        batch.push(message::DELETE_RULE, 0, self.number(), |e| {
            e.put_str(1, self.table);
            e.put_str(2, chain);
        });
    }

    /// The set without its elements. `number` is unique in the transaction.
    pub(crate) fn set(&self, batch: &mut Batch, set: &Set, number: u32) {
        batch.push(message::NEW_SET, CREATE | EXCLUSIVE, self.number(), |e| {
            e.put_str(1, self.table);
            e.put_str(2, &self.tag.name(&set.name));
            definition(e, set);
            e.put_be32(10, number);
            e.put(13, &byte_orders(set));
        });
    }

    pub(crate) fn delete_set(&self, batch: &mut Batch, full_name: &str) {
        batch.push(message::DELETE_SET, 0, self.number(), |e| {
            e.put_str(1, self.table);
            e.put_str(2, full_name);
        });
    }

    /// Adds or deletes elements, as many messages as they need. `sent` is asked after each
    /// message whether the transaction may be cut there.
    pub(crate) fn elements<'a, E>(
        &self,
        batch: &mut Batch,
        set: &Set,
        elements: impl Iterator<Item = Element<'a>>,
        add: bool,
        mut sent: impl FnMut(&mut Batch) -> Result<(), E>,
    ) -> Result<(), E> {
        let (code, flags) =
            if add { (message::NEW_ELEMENT, CREATE) } else { (message::DELETE_ELEMENT, 0) };
        let mut elements = elements.peekable();
        while elements.peek().is_some() {
            batch.push(code, flags, self.number(), |e| {
                e.put_str(1, self.table);
                e.put_str(2, &self.tag.name(&set.name));
                e.nested(3, |e| {
                    let begin = e.len();
                    while let Some(element) = elements.next_if(|_| e.len() - begin < ELEMENTS_BYTES)
                    {
                        write_element(e, set, &element, add, self.tag);
                    }
                });
            });
            sent(batch)?;
        }
        Ok(())
    }
}

/// What makes a set what it is: type, data, flags, timeout, expressions.
pub(crate) fn definition(e: &mut Encoder, set: &Set) {
    e.put_be32(3, flags(set));
    e.put_be32(4, set.key.iter().fold(0, |sum, part| (sum << 6) | part.number()));
    let length = u32::try_from(crate::plan::key::key_length(set.key)).unwrap_or(0);
    e.put_be32(5, length);
    match set.data {
        None => {}
        Some(Data::Mark) => {
            e.put_be32(6, TYPE_MARK);
            e.put_be32(7, 4);
        }
        Some(Data::Verdict) => {
            e.put_be32(6, DATA_VERDICT);
            e.put_be32(7, 0);
        }
    }
    let ranges_of_parts = set.interval && set.key.len() > 1;
    let size = set.size.or(set.dynamic.map(|dynamic| dynamic.size));
    if size.is_some() || ranges_of_parts {
        e.nested(9, |e| {
            if let Some(size) = size {
                e.put_be32(1, size);
            }
            if ranges_of_parts {
                e.nested(2, |e| {
                    for part in set.key {
                        let length = u32::try_from(part.length()).unwrap_or(0);
                        e.nested(LIST_ITEM, |e| e.put_be32(1, length));
                    }
                });
            }
        });
    }
    if let Some(dynamic) = set.dynamic {
        e.put_be64(11, u64::from(dynamic.timeout_s) * 1_000);
    }
    if set.counted {
        e.nested(17, counter);
    }
}

/// nft's notes of the order of bytes in keys and data (1 host, 2 big-endian, 0 mixed), without
/// which it lists marks the wrong way round.
fn byte_orders(set: &Set) -> [u8; 12] {
    let key = match set.key {
        [Type::Mark | Type::Family | Type::Protocol | Type::Icmp6] => 1,
        [_] => 2,
        _ => 0,
    };
    let data = if set.data == Some(Data::Mark) { 1 } else { 0 };
    [0, 4, key, 0, 0, 0, 1, 4, data, 0, 0, 0]
}

fn flags(set: &Set) -> u32 {
    let flag = |on: bool, flag: u32| if on { flag } else { 0 };
    flag(set.interval, FLAG_INTERVAL)
        | flag(set.data.is_some(), FLAG_MAP)
        | flag(set.timeout || set.dynamic.is_some(), FLAG_TIMEOUT)
        | flag(set.dynamic.is_some(), FLAG_EVALUATED)
        | flag(set.interval && set.key.len() > 1, FLAG_CONCATENATED)
}

/// One element; a range of a lone part is two: its first key, and the first key after it.
fn write_element(e: &mut Encoder, set: &Set, element: &Element<'_>, whole: bool, tag: &Tag) {
    let lone = set.key.len() == 1;
    let after = element.end.filter(|_| lone).map(successor);
    e.nested(LIST_ITEM, |e| {
        key(e, 1, element.key);
        if let (Some(end), false) = (element.end, lone) {
            key(e, 10, end);
        }
        if whole {
            match element.value {
                Value::None => {}
                Value::Mark(mark) => e.nested(2, |e| e.put(1, &mark.to_ne_bytes())),
                Value::Goto(chain) => {
                    e.nested(2, |e| verdict_data(e, GOTO, Some(&tag.name(chain))));
                }
            }
            if let Some(seconds) = element.timeout_s {
                e.put_be64(4, u64::from(seconds) * 1_000);
            }
            let mut user = Vec::new();
            if !element.comment.is_empty() {
                user = user_text(0, element.comment);
            }
            if after == Some(None) {
                // nft's note that the range has no end because it goes up to the last key.
                user.extend_from_slice(&[1, 4, 1, 0, 0, 0]);
            }
            if !user.is_empty() {
                e.put(6, &user);
            }
        }
    });
    if let Some(Some(after)) = after {
        e.nested(LIST_ITEM, |e| {
            key(e, 1, &after);
            e.put_be32(3, 1);
        });
    }
}

/// `NFTA_SET_ELEM_KEY` or `…_KEY_END`.
pub(crate) fn key(e: &mut Encoder, kind: u16, bytes: &[u8]) {
    e.nested(kind, |e| e.put(1, bytes));
}

/// The key after `key`; `None` after the last.
pub(crate) fn successor(key: &[u8]) -> Option<Vec<u8>> {
    let mut next = key.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, over) = byte.overflowing_add(1);
        *byte = sum;
        if !over {
            return Some(next);
        }
    }
    None
}

/// nft's note of a comment: type, length with its zero byte, text.
pub(crate) fn user_text(kind: u8, text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    let mut out = vec![kind, length];
    out.extend_from_slice(text.as_bytes().get(..usize::from(length) - 1).unwrap_or_default());
    out.push(0);
    out
}

pub(crate) fn hook_number(hook: &str) -> u32 {
    match hook {
        "input" => 1,
        _ => 2,
    }
}

/// nft's `filter`: 0, and −200 in bridge tables.
pub(crate) fn priority(family: &str) -> u32 {
    if family == "bridge" { (-200i32).cast_unsigned() } else { 0 }
}
