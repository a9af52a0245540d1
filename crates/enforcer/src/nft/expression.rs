//! Rules as the kernel's expressions: little programs over registers.
//!
//! Registers are 4 bytes wide here. The kernel names those at the beginning of its old 16-byte
//! registers by the old number; so do we, because comparing is then comparing bytes.

use crate::netlink::{Attribute, Attributes, Encoder};
use crate::nft::LIST_ITEM;
use crate::plan::rule::{Field, Part, Rule, Verdict, Way};
use crate::plan::{Prefix, Tag};

const NAME: u16 = 1;
const DATA: u16 = 2;
/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`.
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
/// Of a logged packet: enough for all headers that a rule looks at.
pub(crate) const LOGGED_BYTES: u32 = 128;
const ETHERNET: [u8; 2] = 1u16.to_ne_bytes();

/// Where a field is found.
enum Source {
    /// Header (0 link, 1 network, 2 transport), offset, length.
    Payload(u32, u32, u32),
    /// Key of `meta`.
    Meta(u32),
    /// Key of `ct`.
    Flow(u32),
}

/// Writes `rule` as a list of expressions. `bridge`: in a table of that family.
pub(crate) fn encode(e: &mut Encoder, rule: &Rule, tag: &Tag, bridge: bool) {
    let mut writer = Writer { e, tag, bridge, known: Vec::new() };
    for part in rule {
        writer.part(part);
    }
}

struct Writer<'a> {
    e: &'a mut Encoder,
    tag: &'a Tag,
    bridge: bool,
    /// What this rule has already made sure of.
    known: Vec<Need>,
}

/// What must be true of a packet before a field of it means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Family(u8),
    Protocol(u8),
    /// The interface speaks Ethernet.
    Ethernet,
    EtherType([u8; 2]),
}

impl Writer<'_> {
    fn part(&mut self, part: &Part) {
        let tag = self.tag;
        match part {
            Part::Interface(way, name) => {
                self.load(&Source::Meta(if *way == Way::In { 6 } else { 7 }), 0);
                let value = match name.strip_suffix('*') {
                    Some(begin) => begin.as_bytes().to_vec(),
                    None => {
                        let mut whole = name.as_bytes().to_vec();
                        whole.resize(16, 0);
                        whole
                    }
                };
                self.compare(EQUAL, &value);
            }
            Part::Is(field, value) | Part::IsNot(field, value) => {
                self.need(&[*field]);
                self.load(&source(*field), 0);
                let not = matches!(part, Part::IsNot(..));
                self.compare(if not { NOT_EQUAL } else { EQUAL }, value);
                if let (Field::EtherType, [one, two], false) = (field, value.as_slice(), not) {
                    self.known.push(Need::EtherType([*one, *two]));
                }
            }
            Part::State(bits) => {
                self.load(&Source::Flow(0), 0);
                self.expression("bitwise", |e| {
                    e.put_be32(1, register(0));
                    e.put_be32(2, register(0));
                    e.put_be32(3, 4);
                    e.put_be32(6, 0);
                    e.nested(4, |e| e.put(VALUE, &bits.to_ne_bytes()));
                    e.nested(5, |e| e.put(VALUE, &[0; 4]));
                });
                self.compare(NOT_EQUAL, &[0; 4]);
            }
            Part::In(fields, set) => self.lookup(fields, set, None, false),
            Part::NotIn(fields, set) => self.lookup(fields, set, None, true),
            Part::Map(fields, set) => self.lookup(fields, set, Some(0), false),
            Part::SetMark(mark) => {
                self.immediate(&mark.to_ne_bytes());
                self.set_meta_mark();
            }
            Part::SetMarkFrom(fields, set) => {
                self.lookup(fields, set, Some(register(0)), false);
                self.set_meta_mark();
            }
            Part::SetFlowMarkFrom(fields, set) => {
                self.lookup(fields, set, Some(register(0)), false);
                self.expression("ct", |e| {
                    e.put_be32(2, 3);
                    e.put_be32(4, register(0));
                });
            }
            Part::Count(name) => {
                let name = self.tag.name(name);
                self.expression("objref", |e| {
                    e.put_be32(1, 1);
                    e.put_str(2, &name);
                });
            }
            Part::Remember(fields, set, counted) => {
                self.need(fields);
                self.load_all(fields, false);
                let name = self.tag.name(set);
                self.expression("dynset", |e| {
                    e.put_be32(4, register(0));
                    e.put_be32(3, 0);
                    e.put_str(1, &name);
                    if *counted {
                        e.nested(7, counter);
                    }
                });
            }
            Part::Beyond(rate) => self.expression("limit", |e| {
                e.put_be64(1, u64::from(*rate));
                e.put_be64(2, 1);
                e.put_be32(3, *rate);
                e.put_be32(4, 0);
                e.put_be32(5, 1);
            }),
            Part::Log(group, prefix) => self.expression("log", |e| {
                let prefix = Prefix { generation: tag.generation, ..*prefix };
                e.put_str(2, &prefix.to_string());
                e.put_be16(1, *group);
                e.put_be32(3, LOGGED_BYTES);
            }),
            Part::Verdict(verdict) => {
                let (code, chain) = match verdict {
                    Verdict::Accept => (1, None),
                    Verdict::Drop => (0, None),
                    Verdict::Jump(chain) => (-3, Some(self.tag.name(chain))),
                    Verdict::Goto(chain) => (GOTO, Some(self.tag.name(chain))),
                };
                self.expression("immediate", |e| {
                    e.put_be32(1, 0);
                    e.nested(2, |e| verdict_data(e, code, chain.as_deref()));
                });
            }
        }
    }

    /// Makes sure of what `fields` take for granted, as nft does.
    fn need(&mut self, fields: &[Field]) {
        let has = |wanted: &[Field]| fields.iter().any(|field| wanted.contains(field));
        let link = has(&[Field::EtherSource, Field::EtherDestination]) && !self.bridge;
        let four = has(&[Field::Ip4Source, Field::Ip4Destination]);
        let six =
            has(&[Field::Ip6Source, Field::Ip6Destination, Field::HopLimit, Field::Icmp6Type]);
        if link {
            self.make_sure(Need::Ethernet, &Source::Meta(8), &ETHERNET);
            let kind: Option<[u8; 2]> = match (four, six) {
                (true, _) => Some([0x08, 0x00]),
                (_, true) => Some([0x86, 0xdd]),
                _ => None,
            };
            if let Some(kind) = kind {
                self.make_sure(Need::EtherType(kind), &Source::Payload(0, 12, 2), &kind);
            }
        } else if four {
            self.make_sure(Need::Family(2), &Source::Meta(15), &[2]);
        } else if six {
            self.make_sure(Need::Family(10), &Source::Meta(15), &[10]);
        }
        if has(&[Field::ArpSenderEther, Field::ArpSenderIp]) {
            let arp = [0x08, 0x06];
            self.make_sure(Need::EtherType(arp), &Source::Payload(0, 12, 2), &arp);
        }
        if has(&[Field::UdpSource, Field::UdpDestination]) {
            self.make_sure(Need::Protocol(17), &Source::Meta(16), &[17]);
        }
        if has(&[Field::Icmp6Type]) {
            self.make_sure(Need::Protocol(58), &Source::Meta(16), &[58]);
        }
    }

    fn make_sure(&mut self, need: Need, source: &Source, value: &[u8]) {
        if !self.known.contains(&need) {
            self.known.push(need);
            self.load(source, 0);
            self.compare(EQUAL, value);
        }
    }

    fn lookup(&mut self, fields: &[Field], set: &str, into: Option<u32>, not: bool) {
        self.need(fields);
        // Keys of ranges must be in order: there, numbers in host order are turned round.
        self.load_all(fields, set.starts_with("range_") || set.starts_with("maybe_range_"));
        let name = self.tag.name(set);
        self.expression("lookup", |e| {
            e.put_str(1, &name);
            e.put_be32(2, register(0));
            if let Some(into) = into {
                e.put_be32(3, into);
            }
            e.put_be32(5, u32::from(not));
        });
    }

    fn load_all(&mut self, fields: &[Field], ordered: bool) {
        let mut at = 0;
        for field in fields {
            self.load(&source(*field), at);
            if ordered && *field == Field::Mark {
                self.expression("byteorder", |e| {
                    e.put_be32(1, register(at));
                    e.put_be32(2, register(at));
                    e.put_be32(3, 1);
                    e.put_be32(4, 4);
                    e.put_be32(5, 4);
                });
            }
            let length = field.kind().map_or(4, crate::plan::Type::length);
            at += u32::try_from(length.div_ceil(4)).unwrap_or(1);
        }
    }

    fn load(&mut self, source: &Source, at: u32) {
        match *source {
            Source::Payload(header, offset, length) => self.expression("payload", |e| {
                e.put_be32(1, register(at));
                e.put_be32(2, header);
                e.put_be32(3, offset);
                e.put_be32(4, length);
            }),
            Source::Meta(key) => self.expression("meta", |e| {
                e.put_be32(2, key);
                e.put_be32(1, register(at));
            }),
            Source::Flow(key) => self.expression("ct", |e| {
                e.put_be32(2, key);
                e.put_be32(1, register(at));
            }),
        }
    }

    fn compare(&mut self, operation: u32, value: &[u8]) {
        self.expression("cmp", |e| {
            e.put_be32(1, register(0));
            e.put_be32(2, operation);
            e.nested(3, |e| e.put(VALUE, value));
        });
    }

    fn immediate(&mut self, value: &[u8]) {
        self.expression("immediate", |e| {
            e.put_be32(1, register(0));
            e.nested(2, |e| e.put(VALUE, value));
        });
    }

    fn set_meta_mark(&mut self) {
        self.expression("meta", |e| {
            e.put_be32(2, 3);
            e.put_be32(3, register(0));
        });
    }

    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Encoder)) {
        self.e.nested(LIST_ITEM, |e| {
            e.put_str(NAME, name);
            e.nested(DATA, data);
        });
    }
}

pub(crate) const GOTO: i32 = -4;

/// The expression that counts, for elements of a set.
pub(crate) fn counter(e: &mut Encoder) {
    e.put_str(NAME, "counter");
    e.nested(DATA, |_| {});
}

/// `NFTA_DATA_VERDICT` with its code and chain.
pub(crate) fn verdict_data(e: &mut Encoder, code: i32, chain: Option<&str>) {
    e.nested(VERDICT, |e| {
        e.put(1, &code.to_be_bytes());
        if let Some(chain) = chain {
            e.put_str(2, chain);
        }
    });
}

/// The kernel's number of the register that begins at 4-byte word `at`.
fn register(at: u32) -> u32 {
    if at.is_multiple_of(4) { 1 + at / 4 } else { 8 + at }
}

fn source(field: Field) -> Source {
    match field {
        Field::EtherDestination => Source::Payload(0, 0, 6),
        Field::EtherSource => Source::Payload(0, 6, 6),
        Field::EtherType => Source::Payload(0, 12, 2),
        Field::ArpSenderEther => Source::Payload(1, 8, 6),
        Field::ArpSenderIp => Source::Payload(1, 14, 4),
        Field::Ip4Source => Source::Payload(1, 12, 4),
        Field::Ip4Destination => Source::Payload(1, 16, 4),
        Field::Ip6Source => Source::Payload(1, 8, 16),
        Field::Ip6Destination => Source::Payload(1, 24, 16),
        Field::HopLimit => Source::Payload(1, 7, 1),
        Field::SourcePort | Field::UdpSource => Source::Payload(2, 0, 2),
        Field::DestinationPort | Field::UdpDestination => Source::Payload(2, 2, 2),
        Field::Icmp6Type => Source::Payload(2, 0, 1),
        Field::Mark => Source::Meta(3),
        Field::Family => Source::Meta(15),
        Field::Protocol => Source::Meta(16),
        Field::PacketType => Source::Meta(19),
        Field::Direction => Source::Flow(1),
        Field::FlowMark => Source::Flow(3),
    }
}

/// Two lists of expressions mean the same. What the kernel adds by itself does not count:
/// attributes that are all zero, and running counts.
pub(crate) fn same(one: Attributes<'_>, other: Attributes<'_>) -> bool {
    let (mut one, mut other) = (one, other);
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if same_expression(one.nested(), other.nested()) => {}
            _ => return false,
        }
    }
}

fn same_expression(one: Attributes<'_>, other: Attributes<'_>) -> bool {
    let (name, same_name) = (one.text(NAME), other.text(NAME));
    let counts = name.as_deref() == Some("counter");
    name == same_name
        && (counts
            || same_attributes(
                one.nested(DATA),
                other.nested(DATA),
                name.as_deref().unwrap_or_default(),
            ))
}

fn same_attributes(one: Attributes<'_>, other: Attributes<'_>, name: &str) -> bool {
    // A lookup with register 0 asks a map for a verdict; without one it asks a set.
    let zero = |attribute: &Attribute<'_>| {
        (name, attribute.kind) != ("lookup", 3) && attribute.payload.iter().all(|byte| *byte == 0)
    };
    let covered = |one: Attributes<'_>, other: Attributes<'_>| {
        let mut one = one;
        one.all(|attribute| match other.get(attribute.kind) {
            Some(same) if (name, attribute.kind) == ("dynset", 7) => {
                same_expression(attribute.nested(), same.nested())
            }
            Some(same) => same.payload == attribute.payload,
            None => zero(&attribute),
        })
    };
    covered(one, other) && covered(other, one)
}

/// Expressions as words, for a person who has to find out what differs.
pub(crate) fn words(expressions: Attributes<'_>) -> String {
    let mut out = Vec::new();
    for expression in expressions {
        let inner = expression.nested();
        let mut text = inner.text(NAME).unwrap_or_default();
        for attribute in inner.nested(DATA) {
            let printable = |byte: &u8| byte.is_ascii_graphic() || *byte == 0;
            let payload = attribute.payload;
            if payload.len() > 4 && payload.iter().all(printable) {
                text.push_str(&format!(" {}", attribute.text()));
            } else if payload.iter().any(|byte| *byte != 0) {
                let digits: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
                text.push_str(&format!(" {}={digits}", attribute.kind));
            }
        }
        out.push(format!("[{text}]"));
    }
    out.join(" ")
}
