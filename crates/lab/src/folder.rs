//! A policy folder for the lab's warehouse, written by hand from what it needs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use crate::LabError;
use crate::estate::{DEVICES, GATEWAY, NEEDS, Need, PAYMENTS};

/// The zone of the devices of a role.
pub fn zone(role: &str) -> String {
    format!("lab/{role}/10.77.0.0-24")
}

/// Writes the folder. `shadow`: roles whose zones are in shadow; `without`: a need that no policy
/// permits any more, though it is recorded; `site`: text of `site.toml`; `zones`: lines added to
/// zones by role.
pub fn write(
    folder: &Path,
    shadow: &[&str],
    without: Option<(&str, &str)>,
    site: &str,
    zones: &[(&str, &str)],
) -> Result<(), LabError> {
    let _ = fs::remove_dir_all(folder);
    let written = || -> io::Result<()> {
        fs::create_dir_all(folder.join("policies"))?;
        for (name, text) in [
            ("schema.cedarschema", policy::folder::SCHEMA),
            ("estate.toml", &estate(shadow, zones)),
            ("policies/lab.cedar", &policies(without)),
            ("tests.toml", ""),
            ("claims.toml", ""),
            ("exceptions.toml", ""),
            ("site.toml", site),
        ] {
            fs::write(folder.join(name), text)?;
        }
        Ok(())
    };
    written().map_err(|error| LabError::failed("write the policy folder", error))
}

fn service(need: &Need) -> String {
    format!("svc:{}/{}/{}", need.to, need.transport.word(), need.port)
}

fn rule(need: &Need) -> String {
    format!("{}-to-{}-{}", need.from, need.to, need.port)
}

fn estate(shadow: &[&str], zones: &[(&str, &str)]) -> String {
    let mut out = "format = \"ringfence.policy/v1\"\n[[site]]\nid = \"lab\"\n".to_owned();
    let roles: BTreeSet<&str> = DEVICES.iter().map(|spec| spec.role).collect();
    for role in roles {
        let mode = if shadow.contains(&role) { "shadow" } else { "enforce" };
        let (id, more) = (zone(role), zones.iter().find(|(of, _)| *of == role));
        let more = more.map_or("", |(_, line)| line);
        let _ = writeln!(
            out,
            "[[zone]]\nid = \"{id}\"\nsite = \"lab\"\nclass = \"{role}\"\nsubnet = \"10.77.0.0/24\"\nmode = \"{mode}\"\n{more}"
        );
    }
    out += "[[zone]]\nid = \"external\"\nclass = \"external\"\n";
    for spec in &DEVICES {
        let _ = writeln!(
            out,
            "[[device]]\nid = \"{}\"\ntype = \"{}\"\nzone = \"{}\"\nmacs = [\"{}\"]\naddresses = [\"{}\"]",
            spec.name,
            spec.role,
            zone(spec.role),
            spec.mac,
            spec.ip()
        );
    }
    let mut written = BTreeSet::new();
    for need in &NEEDS {
        if !written.insert(service(need)) {
            continue;
        }
        let place = match DEVICES.iter().find(|spec| spec.name == need.to) {
            Some(spec) => {
                format!(
                    "scope = \"estate\"\nzone = \"{}\"\ndevice = \"{}\"",
                    zone(spec.role),
                    spec.name
                )
            }
            None => {
                let ip = if need.to == "gateway" { GATEWAY } else { PAYMENTS };
                format!("scope = \"external\"\nzone = \"external\"\naddresses = [\"{ip}\"]")
            }
        };
        let (id, protocol, port) = (service(need), need.transport.word(), need.port);
        let _ = writeln!(
            out,
            "[[service]]\nid = \"{id}\"\n{place}\nprotocol = \"{protocol}\"\nport = {port}"
        );
    }
    for need in &NEEDS {
        let at = "2026-11-01T00:00:00Z";
        // A conduit names the policy it is behind; the one of a path that was closed is the first.
        let _ = writeln!(
            out,
            "[[conduit]]\nrule = \"{}\"\nfrom = \"device {}\"\nto = \"service {}\"\ndevices = 1\nflows = 9\nfirst_seen = \"{at}\"\nlast_seen = \"{at}\"",
            rule(&NEEDS[0]),
            need.from,
            service(need)
        );
    }
    out
}

fn policies(without: Option<(&str, &str)>) -> String {
    let mut out = String::new();
    for need in NEEDS.iter().filter(|need| without != Some((need.from, need.to))) {
        let _ = writeln!(
            out,
            "@id(\"{}\")\n@mode(\"enforce\")\n@reason(\"the warehouse needs it\")\npermit (\n  principal == Device::\"{}\",\n  action == Action::\"connect\",\n  resource == Service::\"{}\"\n);",
            rule(need),
            need.from,
            service(need)
        );
    }
    out
}
