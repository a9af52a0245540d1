//! What an enforcement point did with the first packet of a flow, and why: a line of the log that
//! `ringfence observe` reads and writes.
//!
//! Every line is a document of its own and names its schema. Field names are a contract: new ones
//! may be added within v1, a meaning never changes, and readers pass over fields they do not know.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::observation::Transport;
use crate::ruleset::ClassId;
use crate::{DeviceId, Mac, SiteId, Timestamp};

/// Schema of a verdict.
pub const SCHEMA: &str = "ringfence.verdict/v1";
/// Schema of a gap in the log.
pub const LOST_SCHEMA: &str = "ringfence.lost/v1";

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema")]
pub enum Entry {
    /// A verdict.
    #[serde(rename = "ringfence.verdict/v1")]
    Verdict(Box<VerdictRecord>),
    /// Verdicts that nobody saw: the log never hides a gap.
    #[serde(rename = "ringfence.lost/v1")]
    Lost(Lost),
}

impl Entry {
    /// When.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Verdict(record) => record.at,
            Self::Lost(lost) => lost.at,
        }
    }
}

/// What was done with one flow's first packet.
///
/// The kernel logs a pair once in a while, not every packet of it: counters have the numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// When the kernel saw the packet.
    pub at: Timestamp,
    /// Where.
    pub site: SiteId,
    /// What was done.
    pub verdict: Kind,
    /// Who sent it.
    pub from: End,
    /// Whom it was for.
    pub to: End,
    /// Transport.
    pub transport: Transport,
    /// IP protocol number; 0 for frames that are not IP.
    pub protocol: u8,
    /// Port of the service: the destination's, or ICMP type, IP protocol number or EtherType, as
    /// `transport` says. `None` where the packet was too short to tell, and in later fragments.
    pub port: Option<u16>,
    /// What decided, or came nearest.
    pub why: Why,
    /// Generation that decided, as the kernel says.
    pub generation: Option<u64>,
    /// Interface it came in by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_in: Option<String>,
    /// Interface it would have left by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_out: Option<String>,
}

/// What was done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Dropped.
    Denied,
    /// Passed, because its class or the policy that would deny it is in shadow.
    WouldDeny,
    /// Dropped, and a policy in shadow would permit it.
    WouldAllow,
    /// Permitted by a rule that asks for a log.
    Logged,
    /// Permitted by an exception.
    AllowedByException,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Denied, Self::WouldDeny, Self::WouldAllow, Self::Logged, Self::AllowedByException];

    /// The word used in documents and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::WouldDeny => "would-deny",
            Self::WouldAllow => "would-allow",
            Self::Logged => "logged",
            Self::AllowedByException => "allowed-by-exception",
        }
    }

    /// The packet went through.
    pub const fn passed(self) -> bool {
        matches!(self, Self::WouldDeny | Self::Logged | Self::AllowedByException)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One end of a flow. What is not known is absent, never guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct End {
    /// Device whose binding (link address and network address) this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// Service or network at this address, by the name of its class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Link address, of the sender on this link only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Network address; `None` for frames that are not IP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Port, where there are ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Why a verdict is what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Why {
    /// Rule that decided: that permits, that would deny (in shadow) or would permit (in shadow).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Exception that permits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// For a denial by default: the rule that comes nearest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
    /// For a denial by default: the first field in which the nearest rule differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<Differs>,
    /// What the kernel's chain said where no rule decides: `strangers`, `spoofed`….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
}

/// Field in which the nearest rule differs from a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Differs {
    /// The port is another.
    Port,
    /// The transport is another.
    Transport,
    /// The destination is another.
    Destination,
    /// The destination is no known device, service or group.
    UnknownDestination,
    /// The source class is another.
    Source,
    /// The network address is known, but not from this link address: spoofed or moved.
    SourceBinding,
    /// Neither is known.
    UnknownSource,
    /// The class has no rule at all.
    NoRule,
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Port => "the port differs",
            Self::Transport => "the transport differs",
            Self::Destination => "the destination differs",
            Self::UnknownDestination => "the destination is unknown",
            Self::Source => "the source differs",
            Self::SourceBinding => "the source address belongs to another link address",
            Self::UnknownSource => "the source is unknown",
            Self::NoRule => "the source has no rule",
        })
    }
}

/// Who can say what a ruleset makes of a flow: the reference interpreter does, for those who only
/// know what the kernel did.
pub trait Explain {
    /// What decides about a flow of a device, or comes nearest.
    fn explain(&self, from: (Mac, IpAddr), to: IpAddr, transport: Transport, port: u16) -> Why;

    /// As [`Explain::explain`], for a source whose class is known already.
    fn explain_class(&self, from: ClassId, to: IpAddr, transport: Transport, port: u16) -> Why;
}

/// A gap in the log, counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// When it was noticed.
    pub at: Timestamp,
    /// Where.
    pub site: SiteId,
    /// Records that are missing by their sequence numbers; 0 where the kernel only said "some".
    pub records: u64,
    /// What happened, for people.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_their_schema_and_read_back() {
        let site = SiteId::new("north").unwrap();
        let at = Timestamp::from_secs(1_700_000_000, 5_000);
        let record = VerdictRecord {
            at,
            site: site.clone(),
            verdict: Kind::Denied,
            from: End {
                device: Some(DeviceId::new("camera-7").unwrap()),
                mac: Some(Mac([2, 0, 0, 0, 0, 7])),
                ip: Some("10.0.0.7".parse().unwrap()),
                port: Some(40_000),
                ..End::default()
            },
            to: End { ip: Some("10.0.0.9".parse().unwrap()), port: Some(23), ..End::default() },
            transport: Transport::Tcp,
            protocol: 6,
            port: Some(23),
            why: Why { differs: Some(Differs::Port), nearest: Some("r1".into()), ..Why::default() },
            generation: Some(5),
            interface_in: Some("br0".into()),
            interface_out: None,
        };
        let lines = [
            (Entry::Verdict(Box::new(record)), SCHEMA),
            (Entry::Lost(Lost { at, site, records: 3, why: "x".into() }), LOST_SCHEMA),
        ];
        for (entry, schema) in lines {
            let text = serde_json::to_string(&entry).unwrap();
            assert!(text.starts_with(&format!("{{\"schema\":\"{schema}\"")), "{text}");
            assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
            let newer = text.replacen('{', "{\"new_field\":[1],", 1);
            assert_eq!(serde_json::from_str::<Entry>(&newer).unwrap(), entry);
            assert_eq!(entry.at(), at);
        }
        let foreign = serde_json::from_str::<Entry>("{\"schema\":\"ringfence.verdict/v2\"}");
        assert!(foreign.unwrap_err().to_string().contains("ringfence.verdict/v1"));
    }

    #[test]
    fn words_are_those_of_the_documents() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
    }
}
