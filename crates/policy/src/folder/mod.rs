//! The policy folder as a value.
//!
//! | file | what it holds |
//! |---|---|
//! | `schema.cedarschema` | the words policies may use |
//! | `policies/*.cedar` | permits and forbids; `@id`, `@mode`, `@evidence`, `@reason` and obligations |
//! | `estate.toml` | packs, sites, zones, owners, devices, services, service groups, recorded conduits, maintenance windows |
//! | `tests.toml` | must allow, must deny, reaches at most N |
//! | `claims.toml` | standing claims: this class never reaches that one |
//! | `exceptions.toml` | expiring grants with owner and reason |
//! | `cards.toml` | capability cards by type or model, and what stands in for what is missing; may be absent |
//! | `mud/*.json` | manufacturer usage descriptions by type (evidence; they open nothing) |
//! | `*.md` | for people |
//!
//! [`parse`] refuses a folder with any fault as a whole; [`Folder::files`] writes one.

mod check;
mod hours;
mod read;
pub(crate) mod write;
mod zone;

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::inspect::Scope;
use model::observation::Transport;
use model::{Assurance, DeviceId, Mac, ServiceId, SiteId, Timestamp};

use crate::Fault;
use crate::cards::Card;
use crate::language::Policy;

pub use hours::{Maintenance, Weekday};
pub use zone::{
    Below, SECURITY_LEVEL_MAX, Treatment, Treatments, VLAN_MAX, VLAN_MIN, Zone, zone_in_force,
};

/// Schema file.
pub const SCHEMA_FILE: &str = "schema.cedarschema";
/// Estate file.
pub const ESTATE_FILE: &str = "estate.toml";
/// Tests file.
pub const TESTS_FILE: &str = "tests.toml";
/// Claims file.
pub const CLAIMS_FILE: &str = "claims.toml";
/// Exceptions file.
pub const EXCEPTIONS_FILE: &str = "exceptions.toml";
/// Value of `format` in `estate.toml`.
pub const FORMAT: &str = "ringfence.policy/v1";
/// Support states of a device.
pub const SUPPORT: [&str; 4] = ["supported", "ending", "ended", "unknown"];
/// How exposed a device is: to nothing known, to known flaws, to flaws that are exploited in the wild.
pub const EXPOSURE: [&str; 4] = ["none", "vulnerable", "known-exploited", "unknown"];
/// Postures of a device; a quarantined one opens nothing.
pub const POSTURE: [&str; 3] = ["normal", "watched", "quarantined"];
/// The schema that a draft writes.
pub const SCHEMA: &str = include_str!("../../policies/schema.cedarschema");

/// Reads a folder: relative path → text. Files it does not know are left alone.
pub fn parse(files: &BTreeMap<String, String>) -> Result<Folder, Vec<Fault>> {
    read::parse(files)
}

/// Services as `estate.toml` holds them, to be added to one.
pub fn services_text(services: &[Service]) -> String {
    write::services_text(services)
}

/// A policy folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Folder {
    /// Text of the schema.
    pub schema: String,
    /// What exists.
    pub estate: Estate,
    /// Policies, in order of file and position.
    pub policies: Vec<Policy>,
    /// Tests.
    pub tests: Tests,
    /// Claims.
    pub claims: Vec<Claim>,
    /// Exceptions.
    pub exceptions: Vec<Exception>,
    /// Capability cards; the controls they name are among the policies.
    pub cards: Vec<Card>,
}

/// What exists, as `estate.toml` tells it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Estate {
    /// Shipped policy packs that hold here too, by name.
    pub packs: Vec<String>,
    /// What the draft was learnt from.
    pub observed: Option<Observed>,
    /// Teams.
    pub owners: Vec<Owner>,
    /// Places.
    pub sites: Vec<Site>,
    /// Groups with one security requirement.
    pub zones: Vec<Zone>,
    /// Devices.
    pub devices: Vec<Device>,
    /// Destinations.
    pub services: Vec<Service>,
    /// Services of one port in one zone.
    pub groups: Vec<Group>,
    /// Who is meant by the controllers of MUD files: URI (or `my-controller`) → devices and services.
    pub controllers: BTreeMap<String, Vec<String>>,
    /// Recorded use behind each permit.
    pub conduits: Vec<Conduit>,
    /// Announced maintenance windows.
    pub maintenance: Vec<Maintenance>,
}

/// Observation span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// First packet.
    pub first: Timestamp,
    /// Last packet.
    pub last: Timestamp,
    /// Inputs by name.
    pub inputs: Vec<String>,
    /// What a span of this length cannot have seen.
    pub unseen: Vec<String>,
}

/// A team that is answerable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Short name used elsewhere.
    pub id: String,
    /// How to reach it.
    pub contact: String,
}

/// A place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Id.
    pub id: SiteId,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Id.
    pub id: DeviceId,
    /// For people: vendor, model or host name.
    pub name: String,
    /// Device type, `unknown` when not known.
    pub kind: String,
    /// Zone it is in.
    pub zone: String,
    /// Zone it is meant for, where it stands too low for that one ([`zone_in_force`]).
    pub meant: Option<String>,
    /// Link addresses; empty for one that is only known behind another.
    pub macs: Vec<Mac>,
    /// Network addresses, each owned by one device only.
    pub addresses: Vec<IpAddr>,
    /// Device it sits behind: its packets carry that one's link address when it has none itself.
    pub behind: Option<DeviceId>,
    /// Owner; "" for the zone's.
    pub owner: String,
    /// Identity ladder.
    pub assurance: Assurance,
    /// Support state, one of [`SUPPORT`].
    pub support: String,
    /// Exposure, one of [`EXPOSURE`].
    pub exposure: String,
    /// Posture, one of [`POSTURE`].
    pub posture: String,
    /// URL of the manufacturer usage description that it announces.
    pub mud_url: Option<String>,
}

impl Device {
    /// Zone it is meant for, whether it is there or not.
    pub fn meant(&self) -> &str {
        self.meant.as_deref().unwrap_or(&self.zone)
    }
}

/// A destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Id.
    pub id: ServiceId,
    /// For people.
    pub name: String,
    /// Device that offers it.
    pub device: Option<DeviceId>,
    /// Where it is.
    pub scope: Scope,
    /// Zone: the device's, `external` or `groups`.
    pub zone: String,
    /// Addresses; empty means those of its device.
    pub addresses: Vec<IpAddr>,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// Transport.
    pub transport: Transport,
    /// Port, ICMP type, protocol number or EtherType.
    pub port: u16,
    /// Application protocol, "" when not confirmed.
    pub application: String,
    /// Owner.
    pub owner: String,
    /// Devices without an owner stay out.
    pub sensitive: bool,
    /// Lowest identity that may be granted it.
    pub assurance_min: Assurance,
}

/// A service group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Id: `ZONE:TRANSPORT/PORT`.
    pub id: String,
    /// Members.
    pub services: Vec<ServiceId>,
}

/// Recorded use behind a permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conduit {
    /// Policy id.
    pub rule: String,
    /// Source in words: `zone main/cameras/10.0.1.0-24`, `type plc`, `device cam-1`.
    pub from: String,
    /// Destination in words: `service …`, `group …`.
    pub to: String,
    /// Devices that used it.
    pub devices: u64,
    /// Connections or exchanges.
    pub flows: u64,
    /// First use.
    pub first_seen: Timestamp,
    /// Last use.
    pub last_seen: Timestamp,
}

/// What must stay true of the policies.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tests {
    /// Must be allowed.
    pub allow: Vec<PathTest>,
    /// Must be denied.
    pub deny: Vec<PathTest>,
    /// Upper bounds.
    pub reach: Vec<ReachTest>,
}

/// One device and one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTest {
    /// Source.
    pub from: DeviceId,
    /// Destination.
    pub to: ServiceId,
    /// Why.
    pub because: String,
    /// Line in the file, 0 when not read from text.
    pub line: u32,
}

/// No device of a zone, class or site reaches more than this, hopping included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachTest {
    /// Whose devices.
    pub of: ReachOf,
    /// Services at most.
    pub services_max: u64,
    /// Devices at most.
    pub devices_max: u64,
    /// Line in the file, 0 when not read from text.
    pub line: u32,
}

/// Whose devices a reach budget is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReachOf {
    /// Of this zone.
    Zone(String),
    /// Of all zones of this class.
    Class(String),
    /// Of this site.
    Site(String),
}

impl ReachOf {
    /// Its key in `tests.toml`, and the name.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Zone(name) => ("zone", name),
            Self::Class(name) => ("class", name),
            Self::Site(name) => ("site", name),
        }
    }
}

/// Devices of one class never reach another class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Name.
    pub id: String,
    /// Class of the source.
    pub from: String,
    /// Class it never reaches.
    pub never: String,
    /// Also not by hopping through other devices.
    pub hops: bool,
    /// Why.
    pub because: String,
    /// Line in the file, 0 when not read from text.
    pub line: u32,
}

/// An owned, reasoned, expiring grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Name.
    pub id: String,
    /// Source.
    pub from: DeviceId,
    /// Destination.
    pub to: ServiceId,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it ends by itself.
    pub expires: Timestamp,
    /// Line in the file, 0 when not read from text.
    pub line: u32,
}

impl Folder {
    /// The folder's machine-read files: relative path → text.
    pub fn files(&self) -> BTreeMap<String, String> {
        write::files(self, &BTreeMap::new())
    }

    /// The same with comment lines to put at the end of policy files (path → lines).
    pub(crate) fn files_with(
        &self,
        notes: &BTreeMap<String, Vec<String>>,
    ) -> BTreeMap<String, String> {
        write::files(self, notes)
    }

    /// Exceptions that have ended at `now`.
    pub fn expired(&self, now: Timestamp) -> impl Iterator<Item = &Exception> {
        self.exceptions.iter().filter(move |exception| exception.expires <= now)
    }
}

impl Estate {
    /// Addresses at which a service is: its own, else its device's.
    pub fn addresses<'e>(
        &'e self,
        service: &'e Service,
        device: Option<&'e Device>,
    ) -> &'e [IpAddr] {
        match device {
            Some(device) if service.addresses.is_empty() => &device.addresses,
            _ => &service.addresses,
        }
    }
}
