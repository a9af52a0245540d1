//! Rules as values, and as nft text. The kernel's form of them is in `crate::nft::expression`.

use super::key::{Type, mark};
use super::{Prefix, Tag};

/// Something of a packet that a rule can look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Link-layer sender.
    EtherSource,
    /// Link-layer receiver.
    EtherDestination,
    /// EtherType.
    EtherType,
    /// ARP: link address of the sender.
    ArpSenderEther,
    /// ARP: network address of the sender.
    ArpSenderIp,
    /// IPv4 source.
    Ip4Source,
    /// IPv4 destination.
    Ip4Destination,
    /// IPv6 source.
    Ip6Source,
    /// IPv6 destination.
    Ip6Destination,
    /// IPv6 hop limit.
    HopLimit,
    /// Address family.
    Family,
    /// IP protocol number.
    Protocol,
    /// Source port of any transport.
    SourcePort,
    /// Destination port of any transport.
    DestinationPort,
    /// UDP source port.
    UdpSource,
    /// UDP destination port.
    UdpDestination,
    /// ICMPv6 message type.
    Icmp6Type,
    /// Packet mark.
    Mark,
    /// Connection mark.
    FlowMark,
    /// 0 original, 1 reply.
    Direction,
    /// To this host, to all, to a group.
    PacketType,
}

/// What a rule does when all its parts before matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The packet passes.
    Accept,
    /// The packet stops.
    Drop,
    /// Judging goes on in a chain and comes back.
    Jump(String),
    /// Judging goes on in a chain and ends with it.
    Goto(String),
}

/// Which interface is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Where the packet came in.
    In,
    /// Where it will leave.
    Out,
}

/// One part of a rule: a condition or an action. Names of sets, chains and counters are without
/// the generation's tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The interface's name; `*` at the end for "begins with".
    Interface(Way, String),
    /// A field has this value (bytes as in a packet; marks in host order).
    Is(Field, Vec<u8>),
    /// A field has another value.
    IsNot(Field, Vec<u8>),
    /// The connection is in one of these states (bits: 1 invalid, 2 established, 4 related, 8 new).
    State(u32),
    /// The fields together are in a set.
    In(Vec<Field>, String),
    /// The fields together are not in a set.
    NotIn(Vec<Field>, String),
    /// A map names the verdict.
    Map(Vec<Field>, String),
    /// Packet mark := a number.
    SetMark(u32),
    /// Packet mark := what a map says; no change where it says nothing.
    SetMarkFrom(Vec<Field>, String),
    /// Connection mark := what a map says.
    SetFlowMarkFrom(Vec<Field>, String),
    /// Counts in a named counter.
    Count(String),
    /// Adds the fields together to a set; the element counts packets where `true`. In a full set
    /// the rule ends here.
    Remember(Vec<Field>, String, bool),
    /// More than this many a second.
    Beyond(u32),
    /// Logs to an NFLOG group with a prefix, whose generation is the tag's.
    Log(u16, Prefix),
    /// The end.
    Verdict(Verdict),
}

/// A rule: parts in order.
pub(crate) type Rule = Vec<Part>;

/// `ct state` bits.
pub(crate) const ESTABLISHED: u32 = 2;
pub(crate) const RELATED: u32 = 4;
pub(crate) const NEW: u32 = 8;

pub(crate) const ACCEPT: Part = Part::Verdict(Verdict::Accept);
pub(crate) const DROP: Part = Part::Verdict(Verdict::Drop);

/// Judging goes on in `chain` and ends with it.
pub(crate) fn goto(chain: impl Into<String>) -> Part {
    Part::Verdict(Verdict::Goto(chain.into()))
}

/// Judging goes on in `chain` and comes back.
pub(crate) fn jump(chain: impl Into<String>) -> Part {
    Part::Verdict(Verdict::Jump(chain.into()))
}

impl Field {
    /// Type of its value, where sets can hold it.
    pub(crate) fn kind(self) -> Option<Type> {
        Some(match self {
            Self::EtherSource | Self::EtherDestination | Self::ArpSenderEther => Type::Ether,
            Self::EtherType => Type::EtherType,
            Self::ArpSenderIp | Self::Ip4Source | Self::Ip4Destination => Type::Ip4,
            Self::Ip6Source | Self::Ip6Destination => Type::Ip6,
            Self::Family => Type::Family,
            Self::Protocol => Type::Protocol,
            Self::SourcePort | Self::DestinationPort | Self::UdpSource | Self::UdpDestination => {
                Type::Port
            }
            Self::Icmp6Type => Type::Icmp6,
            Self::Mark | Self::FlowMark => Type::Mark,
            Self::HopLimit | Self::Direction | Self::PacketType => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::EtherSource => "ether saddr",
            Self::EtherDestination => "ether daddr",
            Self::EtherType => "ether type",
            Self::ArpSenderEther => "arp saddr ether",
            Self::ArpSenderIp => "arp saddr ip",
            Self::Ip4Source => "ip saddr",
            Self::Ip4Destination => "ip daddr",
            Self::Ip6Source => "ip6 saddr",
            Self::Ip6Destination => "ip6 daddr",
            Self::HopLimit => "ip6 hoplimit",
            Self::Family => "meta nfproto",
            Self::Protocol => "meta l4proto",
            Self::SourcePort => "th sport",
            Self::DestinationPort => "th dport",
            Self::UdpSource => "udp sport",
            Self::UdpDestination => "udp dport",
            Self::Icmp6Type => "icmpv6 type",
            Self::Mark => "meta mark",
            Self::FlowMark => "ct mark",
            Self::Direction => "ct direction",
            Self::PacketType => "meta pkttype",
        }
    }

    fn value_text(self, value: &[u8]) -> String {
        match (self, value) {
            (Self::Direction, [1]) => "reply".to_owned(),
            (Self::Direction, _) => "original".to_owned(),
            (Self::PacketType, [0]) => "host".to_owned(),
            (Self::PacketType, [1]) => "broadcast".to_owned(),
            (Self::PacketType, [2]) => "multicast".to_owned(),
            (Self::Mark | Self::FlowMark, value) => mark(value).to_string(),
            (_, value) => {
                let number = Type::Protocol;
                self.kind().unwrap_or(number).text(value, false)
            }
        }
    }
}

/// A rule as nft writes it.
pub(crate) fn text(rule: &[Part], tag: &Tag) -> String {
    rule.iter().map(|part| part.text(tag)).collect::<Vec<_>>().join(" ")
}

impl Part {
    fn text(&self, tag: &Tag) -> String {
        let set = |fields: &[Field], name: &str, not: &str| {
            format!("{} {not}@{}", joined(fields), tag.name(name))
        };
        match self {
            Self::Interface(way, name) => {
                let way = if *way == Way::In { "iifname" } else { "oifname" };
                format!("{way} \"{name}\"")
            }
            Self::Is(field, value) => format!("{} {}", field.word(), field.value_text(value)),
            Self::IsNot(field, value) => format!("{} != {}", field.word(), field.value_text(value)),
            Self::State(bits) => {
                let states = [
                    (1, "invalid"),
                    (ESTABLISHED, "established"),
                    (RELATED, "related"),
                    (NEW, "new"),
                ];
                let words = states.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| *word);
                format!("ct state {}", words.collect::<Vec<_>>().join(","))
            }
            Self::In(fields, name) => set(fields, name, ""),
            Self::NotIn(fields, name) => set(fields, name, "!= "),
            Self::Map(fields, name) => set(fields, name, "vmap "),
            Self::SetMark(mark) => format!("meta mark set {mark}"),
            Self::SetMarkFrom(fields, name) => {
                format!("meta mark set {}", set(fields, name, "map "))
            }
            Self::SetFlowMarkFrom(fields, name) => {
                format!("ct mark set {}", set(fields, name, "map "))
            }
            Self::Count(name) => format!("counter name \"{}\"", tag.name(name)),
            Self::Remember(fields, name, counted) => {
                let counter = if *counted { " counter" } else { "" };
                format!("add @{} {{ {}{counter} }}", tag.name(name), joined(fields))
            }
            Self::Beyond(rate) => format!("limit rate over {rate}/second burst {rate} packets"),
            Self::Log(group, prefix) => {
                let bytes = crate::nft::expression::LOGGED_BYTES;
                let prefix = Prefix { generation: tag.generation, ..*prefix };
                format!("log prefix \"{prefix}\" group {group} snaplen {bytes}")
            }
            Self::Verdict(verdict) => match verdict {
                Verdict::Accept => "accept".to_owned(),
                Verdict::Drop => "drop".to_owned(),
                Verdict::Jump(chain) => format!("jump {}", tag.name(chain)),
                Verdict::Goto(chain) => format!("goto {}", tag.name(chain)),
            },
        }
    }
}

fn joined(fields: &[Field]) -> String {
    fields.iter().map(|field| field.word()).collect::<Vec<_>>().join(" . ")
}
