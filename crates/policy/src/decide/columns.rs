//! The estate as numbers: entities and texts interned, attributes in rows of plain values.

use rustc_hash::FxHashMap;

use crate::folder::{Device, Folder, write::scope_word};
use crate::lower::{index, small};

/// Kind of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Site,
    Zone,
    DeviceType,
    ServiceGroup,
    Device,
    Service,
    /// A type that no estate has: nothing is in it and it has no attributes.
    Other,
}

impl Kind {
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "Site" => Self::Site,
            "Zone" => Self::Zone,
            "DeviceType" => Self::DeviceType,
            "ServiceGroup" => Self::ServiceGroup,
            "Device" => Self::Device,
            "Service" => Self::Service,
            _ => Self::Other,
        }
    }
}

/// A value: what a column holds and what the stack carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Val {
    Bool(bool),
    Long(i64),
    /// Number of an interned text.
    Text(u32),
    /// An entity: its kind and its number among its kind.
    Entity(Kind, u32),
}

/// Attributes that a schema can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Name {
    Type,
    Zone,
    Site,
    Owner,
    Assurance,
    Support,
    Exposure,
    Posture,
    Device,
    Scope,
    Protocol,
    Port,
    Application,
    Sensitive,
    AssuranceMin,
    Class,
    SecurityLevel,
    /// One that no entity has.
    None,
}

impl Name {
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "type" => Self::Type,
            "zone" => Self::Zone,
            "site" => Self::Site,
            "owner" => Self::Owner,
            "assurance" => Self::Assurance,
            "support" => Self::Support,
            "exposure" => Self::Exposure,
            "posture" => Self::Posture,
            "device" => Self::Device,
            "scope" => Self::Scope,
            "protocol" => Self::Protocol,
            "port" => Self::Port,
            "application" => Self::Application,
            "sensitive" => Self::Sensitive,
            "assurance_min" => Self::AssuranceMin,
            "class" => Self::Class,
            "security_level" => Self::SecurityLevel,
            _ => Self::None,
        }
    }
}

/// Numbers for texts, in order of first use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    numbers: FxHashMap<String, u32>,
    all: Vec<String>,
}

impl Texts {
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        if let Some(known) = self.numbers.get(text) {
            return *known;
        }
        let number = small(self.all.len());
        self.all.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }

    pub(crate) fn text(&self, number: u32) -> &str {
        self.all.get(index(number)).map_or("", String::as_str)
    }
}

/// A device's attributes. Equal rows cannot be told apart but by their own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DeviceRow {
    pub(crate) kind: u32,
    pub(crate) zone: u32,
    /// Its zone's site; the entity `Site::""` where it has none.
    pub(crate) site: u32,
    pub(crate) owner: u32,
    pub(crate) assurance: u8,
    pub(crate) support: u32,
    pub(crate) exposure: u32,
    pub(crate) posture: u32,
}

/// A service's attributes.
#[derive(Clone, Debug)]
pub(crate) struct ServiceRow {
    pub(crate) zone: u32,
    pub(crate) site: Option<u32>,
    pub(crate) device: Option<u32>,
    pub(crate) scope: u32,
    pub(crate) protocol: u32,
    pub(crate) port: u16,
    pub(crate) application: u32,
    pub(crate) owner: u32,
    pub(crate) sensitive: bool,
    pub(crate) assurance_min: u8,
    /// Service groups it is in, sorted.
    pub(crate) groups: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct ZoneRow {
    site: Option<u32>,
    class: u32,
    security_level: Option<u8>,
}

/// An estate in numbers. Devices and services keep their indexes in the folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    pub(crate) texts: Texts,
    /// Names of sites, zones, types and groups; what policies name beyond the estate follows it.
    sites: Texts,
    zones: Texts,
    kinds: Texts,
    groups: Texts,
    others: Texts,
    device_numbers: FxHashMap<String, u32>,
    service_numbers: FxHashMap<String, u32>,
    zone_rows: Vec<ZoneRow>,
    pub(crate) devices: Vec<DeviceRow>,
    pub(crate) services: Vec<ServiceRow>,
    /// Entities that policies name and the estate does not have.
    strangers: Texts,
}

impl Columns {
    pub(crate) fn of(folder: &Folder) -> Self {
        let estate = &folder.estate;
        let mut c = Self::default();
        for zone in &estate.zones {
            c.zones.number(&zone.id);
            let site = zone.site.as_ref().map(|s| c.sites.number(s.as_str()));
            let class = c.texts.number(&zone.class);
            c.zone_rows.push(ZoneRow { site, class, security_level: zone.security_level });
        }
        let nowhere = c.sites.number("");
        let owner_of_zone: FxHashMap<&str, &str> =
            estate.zones.iter().map(|z| (z.id.as_str(), z.owner.as_str())).collect();
        for (i, device) in estate.devices.iter().enumerate() {
            c.device_numbers.insert(device.id.to_string(), small(i));
            let row = c.device_row(device, &owner_of_zone, nowhere);
            c.devices.push(row);
        }
        let mut groups_of: FxHashMap<&str, Vec<u32>> = FxHashMap::default();
        for group in &estate.groups {
            let number = c.groups.number(&group.id);
            for service in &group.services {
                groups_of.entry(service.as_str()).or_default().push(number);
            }
        }
        for (i, service) in estate.services.iter().enumerate() {
            c.service_numbers.insert(service.id.to_string(), small(i));
            let mut groups = groups_of.remove(service.id.as_str()).unwrap_or_default();
            groups.sort_unstable();
            let zone = c.zones.number(&service.zone);
            let row = ServiceRow {
                zone,
                site: c.site_of(zone),
                device: service.device.as_ref().map(|d| c.entity("Device", d.as_str()).1),
                scope: c.texts.number(scope_word(service.scope)),
                protocol: c.texts.number(service.transport.word()),
                port: service.port,
                application: c.texts.number(&service.application),
                owner: c.texts.number(&service.owner),
                sensitive: service.sensitive,
                assurance_min: service.assurance_min.rank(),
                groups,
            };
            c.services.push(row);
        }
        c
    }

    fn device_row(
        &mut self,
        device: &Device,
        owner_of_zone: &FxHashMap<&str, &str>,
        nowhere: u32,
    ) -> DeviceRow {
        let zone = self.zones.number(&device.zone);
        let owner = match owner_of_zone.get(device.zone.as_str()) {
            Some(owner) if device.owner.is_empty() => owner,
            _ => device.owner.as_str(),
        };
        DeviceRow {
            kind: self.kinds.number(&device.kind),
            zone,
            site: self.site_of(zone).unwrap_or(nowhere),
            owner: self.texts.number(owner),
            assurance: device.assurance.rank(),
            support: self.texts.number(&device.support),
            exposure: self.texts.number(&device.exposure),
            posture: self.texts.number(&device.posture),
        }
    }

    fn site_of(&self, zone: u32) -> Option<u32> {
        self.zone_rows.get(index(zone)).and_then(|z| z.site)
    }

    /// Name of a device's site; "" where it has none.
    pub(crate) fn site_of_device(&self, device: usize) -> &str {
        self.devices.get(device).map_or("", |row| self.sites.text(row.site))
    }

    /// The entity of a type and id, as a policy names it.
    pub(crate) fn entity(&mut self, kind: &str, id: &str) -> (Kind, u32) {
        let strange = |strangers: &mut Texts| {
            // Numbers from the top, so that they never meet the estate's.
            u32::MAX.saturating_sub(strangers.number(&format!("{kind}\0{id}")))
        };
        match Kind::of(kind) {
            Kind::Site => (Kind::Site, self.sites.number(id)),
            Kind::Zone => (Kind::Zone, self.zones.number(id)),
            Kind::DeviceType => (Kind::DeviceType, self.kinds.number(id)),
            Kind::ServiceGroup => (Kind::ServiceGroup, self.groups.number(id)),
            Kind::Device => {
                let known = self.device_numbers.get(id).copied();
                (Kind::Device, known.unwrap_or_else(|| strange(&mut self.strangers)))
            }
            Kind::Service => {
                let known = self.service_numbers.get(id).copied();
                (Kind::Service, known.unwrap_or_else(|| strange(&mut self.strangers)))
            }
            Kind::Other => (Kind::Other, self.others.number(&format!("{kind}\0{id}"))),
        }
    }

    /// A value in words, as a policy would write it.
    pub(crate) fn words(&self, value: Val, folder: &Folder) -> String {
        let (kind, number) = match value {
            Val::Bool(value) => return value.to_string(),
            Val::Long(value) => return value.to_string(),
            Val::Text(number) => return format!("\"{}\"", self.texts.text(number)),
            Val::Entity(kind, number) => (kind, number),
        };
        let estate = &folder.estate;
        let id = match kind {
            Kind::Site => self.sites.text(number),
            Kind::Zone => self.zones.text(number),
            Kind::DeviceType => self.kinds.text(number),
            Kind::ServiceGroup => self.groups.text(number),
            Kind::Device => estate.devices.get(index(number)).map_or("", |d| d.id.as_str()),
            Kind::Service => estate.services.get(index(number)).map_or("", |s| s.id.as_str()),
            Kind::Other => "",
        };
        format!("{kind:?}::\"{id}\"")
    }

    /// An attribute of an entity; `None` where it has none.
    pub(crate) fn attribute(&self, (kind, number): (Kind, u32), name: Name) -> Option<Val> {
        match kind {
            Kind::Device => {
                let row = self.devices.get(index(number))?;
                Some(match name {
                    Name::Type => Val::Entity(Kind::DeviceType, row.kind),
                    Name::Zone => Val::Entity(Kind::Zone, row.zone),
                    Name::Site => Val::Entity(Kind::Site, row.site),
                    Name::Owner => Val::Text(row.owner),
                    Name::Assurance => Val::Long(i64::from(row.assurance)),
                    Name::Support => Val::Text(row.support),
                    Name::Exposure => Val::Text(row.exposure),
                    Name::Posture => Val::Text(row.posture),
                    _ => return None,
                })
            }
            Kind::Service => {
                let row = self.services.get(index(number))?;
                Some(match name {
                    Name::Zone => Val::Entity(Kind::Zone, row.zone),
                    Name::Site => Val::Entity(Kind::Site, row.site?),
                    Name::Device => Val::Entity(Kind::Device, row.device?),
                    Name::Scope => Val::Text(row.scope),
                    Name::Protocol => Val::Text(row.protocol),
                    Name::Port => Val::Long(i64::from(row.port)),
                    Name::Application => Val::Text(row.application),
                    Name::Owner => Val::Text(row.owner),
                    Name::Sensitive => Val::Bool(row.sensitive),
                    Name::AssuranceMin => Val::Long(i64::from(row.assurance_min)),
                    _ => return None,
                })
            }
            Kind::Zone => {
                let row = self.zone_rows.get(index(number))?;
                match name {
                    Name::Class => Some(Val::Text(row.class)),
                    Name::SecurityLevel => row.security_level.map(|n| Val::Long(i64::from(n))),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The entity is the other, or below it.
    pub(crate) fn is_in(&self, entity: (Kind, u32), other: (Kind, u32)) -> bool {
        if entity == other {
            return true;
        }
        let (number, above) = (index(entity.1), other.1);
        match (entity.0, other.0) {
            (Kind::Zone, Kind::Site) => self.site_of(entity.1) == Some(above),
            (Kind::Device, kind) => self.devices.get(number).is_some_and(|d| match kind {
                Kind::DeviceType => d.kind == above,
                Kind::Zone => d.zone == above,
                Kind::Site => d.site == above,
                _ => false,
            }),
            (Kind::Service, kind) => self.services.get(number).is_some_and(|s| match kind {
                Kind::ServiceGroup => s.groups.binary_search(&above).is_ok(),
                Kind::Zone => s.zone == above,
                Kind::Site => s.site == Some(above),
                _ => false,
            }),
            _ => false,
        }
    }
}
