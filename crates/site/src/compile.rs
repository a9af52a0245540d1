//! From an order and a folder to the ruleset of the present moment. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::Timestamp;
use model::observation::Transport;
use model::ruleset::{Exception, Mode, Ruleset};
use policy::folder::{Device, Folder, Service, Weekday};
use policy::lower::Lowered;
use policy::moment::Moment;

use crate::life::{Grant, Order};

/// What an order amounts to now.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What the kernel is to hold.
    pub ruleset: Ruleset,
    /// Zones with the folder's own modes.
    pub zones: BTreeMap<String, Mode>,
    /// Zone of each device address.
    pub zone_of: BTreeMap<IpAddr, String>,
    /// What of the folder or of a grant cannot be kept here, in words.
    pub limits: Vec<String>,
}

/// Grants of one order expand to at most this many kernel elements.
pub const GRANTED_MAX: usize = 100_000;

/// Every path, so that what `forbid` closes is what is left out.
const EVERYTHING: &str = "@id(\"break-glass\")\n@reason(\"emergency\")\npermit (principal, action == Action::\"connect\", resource);\n";

/// Compiles `folder` as `order` says, as of `now`; the site's time is `utc_offset_min` minutes from UTC.
pub fn compile(
    folder: &Folder,
    order: &Order,
    now: Timestamp,
    utc_offset_min: i32,
) -> Result<Compiled, String> {
    let moment = moment(now, utc_offset_min);
    let zones: BTreeMap<String, Mode> =
        folder.estate.zones.iter().map(|zone| (zone.id.clone(), zone.mode)).collect();
    let mut wanted = folder.clone();
    for zone in &mut wanted.estate.zones {
        if let Some(mode) = order.modes.get(&zone.id) {
            // The whole zone: a share is the folder's way to a mode, and somebody decided otherwise.
            (zone.mode, zone.share) = (*mode, None);
        }
    }
    wanted.exceptions.retain(|exception| exception.expires > now);
    let parent = order.parent.filter(|parent| *parent < order.generation);
    let ruleset = policy::compile::ruleset_at(&wanted, moment, order.generation, parent);
    let mut ruleset = ruleset.map_err(|error| error.to_string())?;
    if order.all_shadow {
        for class in ruleset.classes.values_mut() {
            class.mode = Mode::Shadow;
        }
    }
    let mut limits = policy::treat::limits(folder);
    let grants: Vec<&Grant> = order.grants.iter().filter(|grant| grant.until > now).collect();
    if !grants.is_empty() {
        let open = unforbidden(folder, moment)?;
        for grant in grants {
            let paths = granted(folder, &open, grant);
            if ruleset.exceptions.len().saturating_add(paths.len()) > GRANTED_MAX {
                limits.push(format!(
                    "{} would open {} paths, more than {GRANTED_MAX}: nothing is opened for it; name a smaller zone",
                    grant.id,
                    paths.len()
                ));
                continue;
            }
            ruleset.exceptions.extend(paths);
        }
        let key = |e: &Exception| (e.from, e.to, e.transport, e.port);
        // Of two grants for one path the later one counts, and is named.
        ruleset.exceptions.sort_by(|a, b| {
            key(a).cmp(&key(b)).then(b.expires.cmp(&a.expires)).then(a.name.cmp(&b.name))
        });
        ruleset.exceptions.dedup_by_key(|e| key(e));
    }
    let zone_of = folder
        .estate
        .devices
        .iter()
        .flat_map(|device| device.addresses.iter().map(|ip| (*ip, device.zone.clone())));
    Ok(Compiled { ruleset, zones, zone_of: zone_of.collect(), limits })
}

/// Who could be granted what, were everything permitted that no policy forbids.
fn unforbidden(folder: &Folder, moment: Moment) -> Result<Lowered, String> {
    let everything = policy::cedar::read_all(&[("policies/break-glass.cedar", EVERYTHING)]);
    let everything = everything.map_err(|faults| {
        faults.first().map_or_else(|| "no policy".to_owned(), ToString::to_string)
    })?;
    let mut open = folder.clone();
    open.policies.retain(|policy| policy.effect == policy::language::Effect::Forbid);
    open.policies.extend(everything);
    Ok(policy::lower::lower_at(&open, moment))
}

/// The paths from and to a zone that the estate knows and no policy forbids.
fn granted(folder: &Folder, open: &Lowered, grant: &Grant) -> Vec<Exception> {
    let estate = &folder.estate;
    let devices: BTreeMap<&str, &Device> =
        estate.devices.iter().map(|device| (device.id.as_str(), device)).collect();
    let host = |service: &Service| {
        service.device.as_ref().and_then(|id| devices.get(id.as_str())).copied()
    };
    let mut out = Vec::new();
    for (number, device) in estate.devices.iter().enumerate() {
        let from_inside = device.zone == grant.zone;
        for granted in open.grants(number) {
            let at = usize::try_from(granted.service).unwrap_or(usize::MAX);
            let Some(service) = estate.services.get(at) else {
                continue;
            };
            let host = host(service);
            let to_inside = host.is_some_and(|host| host.zone == grant.zone);
            if service.transport == Transport::Link || !(from_inside || to_inside) {
                continue;
            }
            for from in device.addresses.iter().filter(|ip| usable(ip)) {
                for to in estate.addresses(service, host).iter().filter(|ip| !ip.is_unspecified()) {
                    if from.is_ipv4() == to.is_ipv4() && from != to {
                        out.push(Exception {
                            from: *from,
                            to: *to,
                            transport: service.transport,
                            port: service.port,
                            expires: grant.until,
                            name: grant.id.clone(),
                        });
                    }
                }
            }
        }
    }
    out
}

fn usable(ip: &IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Whether two rulesets say the same, generation numbers aside.
pub fn same(a: &Ruleset, b: &Ruleset) -> bool {
    (&a.classes, &a.members, &a.peers, &a.permits, &a.exceptions, &a.names, &a.proposed)
        == (&b.classes, &b.members, &b.peers, &b.permits, &b.exceptions, &b.names, &b.proposed)
}

/// Hour and day at a site.
pub fn moment(now: Timestamp, utc_offset_min: i32) -> Moment {
    const MINUTE: i64 = 60_000_000_000;
    let minutes = now.as_nanos().div_euclid(MINUTE).saturating_add(i64::from(utc_offset_min));
    let hour = u8::try_from(minutes.div_euclid(60).rem_euclid(24)).unwrap_or(0);
    // 1970-01-01 was a Thursday.
    let day = minutes.div_euclid(1_440).saturating_add(3).rem_euclid(7);
    let day = usize::try_from(day).ok().and_then(|day| Weekday::ALL.get(day).copied());
    day.map_or_else(Moment::default, |day| Moment::at(day, hour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_days_at_a_site() {
        let check = |text: &str, offset, expect: Moment| {
            assert_eq!(moment(text.parse().unwrap(), offset), expect, "{text} {offset}");
        };
        check("1970-01-01T00:00:00Z", 0, Moment::at(Weekday::Thursday, 0));
        check("2026-11-26T23:30:00Z", 60, Moment::at(Weekday::Friday, 0));
        check("2026-11-26T00:30:00Z", -60, Moment::at(Weekday::Wednesday, 23));
        check("1969-12-31T23:59:59Z", 0, Moment::at(Weekday::Wednesday, 23));
    }
}
