//! Devices and services by what people call them.

use miette::{Diagnostic, Result};
use policy::folder::{Folder, Service};

/// Suggestions given for a name that is not there.
const SUGGESTIONS: usize = 5;

#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum NotFound {
    #[error("there is no {kind} `{name}`")]
    #[diagnostic(code(ringfence::policy::not_found), help("{help}"))]
    Nothing { kind: &'static str, name: String, help: String },
    #[error("`{name}` may mean {count} {kind}s")]
    #[diagnostic(code(ringfence::policy::ambiguous), help("{help}"))]
    Several { kind: &'static str, name: String, count: usize, help: String },
}

/// A device's index: by id, then address, then name, then a part of the name or id that only one has.
pub(crate) fn device(folder: &Folder, name: &str) -> Result<usize> {
    let devices = &folder.estate.devices;
    let lower = name.to_lowercase();
    let by: [&dyn Fn(usize) -> bool; 4] = [
        &|i| devices.get(i).is_some_and(|d| d.id.as_str() == name),
        &|i| {
            devices.get(i).is_some_and(|d| {
                d.macs.iter().any(|mac| mac.to_string() == lower)
                    || d.addresses.iter().any(|ip| ip.to_string() == lower)
            })
        },
        &|i| devices.get(i).is_some_and(|d| d.name.to_lowercase() == lower),
        &|i| {
            devices.get(i).is_some_and(|d| {
                d.name.to_lowercase().contains(&lower) || d.id.as_str().contains(&lower)
            })
        },
    ];
    let names = |i: usize| devices.get(i).map_or(String::new(), |d| d.id.to_string());
    pick("device", name, devices.len(), &by, &names)
}

/// A service's index, also by the device that offers it; with a port, the one there.
pub(crate) fn service(folder: &Folder, name: &str, port: Option<u16>) -> Result<usize> {
    let services = &folder.estate.services;
    let lower = name.to_lowercase();
    let host = device(folder, name).ok().and_then(|d| folder.estate.devices.get(d)).map(|d| &d.id);
    let is_at = |s: &Service| port.is_none_or(|port| s.port == port);
    let hosted = |s: &Service| {
        (host.is_some() && s.device.as_ref() == host)
            || s.addresses.iter().any(|ip| ip.to_string() == lower)
    };
    let by: [&dyn Fn(usize) -> bool; 5] = [
        &|i| services.get(i).is_some_and(|s| s.id.as_str() == name),
        &|i| services.get(i).is_some_and(|s| hosted(s) && is_at(s)),
        &|i| services.get(i).is_some_and(&hosted),
        &|i| services.get(i).is_some_and(|s| s.name.to_lowercase() == lower && is_at(s)),
        &|i| {
            services.get(i).is_some_and(|s| {
                s.name.to_lowercase().contains(&lower)
                    || s.id.as_str().contains(&lower)
                    || s.dns_names.iter().any(|dns| dns.contains(&lower))
            })
        },
    ];
    let names = |i: usize| services.get(i).map_or(String::new(), |s| s.id.to_string());
    pick("service", name, services.len(), &by, &names)
}

/// A policy's index, by its id.
pub(crate) fn rule(folder: &Folder, name: &str) -> Result<usize> {
    named("policy", name, &folder.policies.iter().map(|p| p.id.as_str()).collect::<Vec<_>>())
}

/// A zone's index, by its id.
pub(crate) fn zone(folder: &Folder, name: &str) -> Result<usize> {
    let zones = &folder.estate.zones;
    named("zone", name, &zones.iter().map(|zone| zone.id.as_str()).collect::<Vec<_>>())
}

/// A claim's index, by its id.
pub(crate) fn claim(folder: &Folder, name: &str) -> Result<usize> {
    named("claim", name, &folder.claims.iter().map(|claim| claim.id.as_str()).collect::<Vec<_>>())
}

/// A shipped pack's index, by its name.
pub(crate) fn pack(name: &str) -> Result<usize> {
    named("pack", name, &policy::packs::ALL.iter().map(|pack| pack.name).collect::<Vec<_>>())
}

fn named(kind: &'static str, name: &str, all: &[&str]) -> Result<usize> {
    let by: [&dyn Fn(usize) -> bool; 1] = [&|i| all.get(i).is_some_and(|known| *known == name)];
    pick(kind, name, all.len(), &by, &|i| all.get(i).map_or(String::new(), |id| (*id).to_owned()))
}

fn pick(
    kind: &'static str,
    name: &str,
    count: usize,
    by: &[&dyn Fn(usize) -> bool],
    names: &dyn Fn(usize) -> String,
) -> Result<usize> {
    for is in by {
        let found: Vec<usize> = (0..count).filter(|i| is(*i)).collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok(*one),
            many => {
                let some: Vec<String> = many.iter().take(SUGGESTIONS).map(|i| names(*i)).collect();
                let more = if many.len() > SUGGESTIONS { ", …" } else { "" };
                let help = format!("one of: {}{more}", some.join(", "));
                let name = name.to_owned();
                return Err(NotFound::Several { kind, name, count: many.len(), help }.into());
            }
        }
    }
    let mut near: Vec<(usize, String)> =
        (0..count).map(names).map(|known| (distance(name, &known), known)).collect();
    near.sort();
    let some: Vec<String> = near.into_iter().take(SUGGESTIONS).map(|(_, known)| known).collect();
    let help = match some.as_slice() {
        [] => format!("the policy folder has no {kind} at all"),
        some => format!("the nearest names: {}", some.join(", ")),
    };
    Err(NotFound::Nothing { kind, name: name.to_owned(), help }.into())
}

/// Letters to change, add or take away (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(128).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(128).enumerate() {
        let mut corner = row.first().copied().unwrap_or(0);
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, y) in b.iter().enumerate() {
            let left = row.get(j).copied().unwrap_or(0);
            let above = row.get(j + 1).copied().unwrap_or(0);
            let cost = corner + usize::from(x != *y);
            corner = above;
            if let Some(slot) = row.get_mut(j + 1) {
                *slot = cost.min(left + 1).min(above + 1);
            }
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("cam-1", "cam-1"), 0);
        assert_eq!(distance("cam-1", "cam-12"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
