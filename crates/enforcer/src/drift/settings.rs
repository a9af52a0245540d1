//! Settings of the system that keep neighbours apart: switched off, frames pass between ports
//! without the fence, and no rule of it changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::contain::{Isolated, Method};
use crate::netlink::{Attributes, NetlinkError, Place, Protocol, Socket};

const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
/// Bytes of `struct ifinfomsg`.
const INFO: usize = 16;
const AF_BRIDGE: u8 = 7;
const IFLA_IFNAME: u16 = 3;
const IFLA_PROTINFO: u16 = 12;
const IFLA_BRPORT_ISOLATED: u16 = 33;

/// What must be set for devices of one subnet to meet only at the fence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Files below `/proc/sys` and their values.
    pub settings: BTreeMap<String, String>,
    /// Bridge ports that must be isolated.
    pub isolated: Vec<String>,
}

/// A setting that is not as it was left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Changed {
    /// `net/bridge/bridge-nf-call-iptables`, or `isolation of port lan3`.
    pub what: String,
    /// What it must be.
    pub expected: String,
    /// What it is; empty where it is not there.
    pub found: String,
}

impl std::fmt::Display for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let found = if self.found.is_empty() { "not there" } else { &self.found };
        write!(f, "{} is {found} and must be {}", self.what, self.expected)
    }
}

impl Expected {
    /// What [`crate::contain::isolate`] has set up.
    pub fn of(isolated: &Isolated) -> Self {
        let bridge = &isolated.bridge;
        let (files, ports) = match isolated.method {
            Method::BridgeFilter => {
                let files = ["iptables", "ip6tables"];
                let files = files.map(|family| format!("net/bridge/bridge-nf-call-{family}"));
                (files.to_vec(), Vec::new())
            }
            Method::IsolatedPorts => {
                let files = ["proxy_arp_pvlan", "forwarding"];
                let files = files.map(|name| format!("net/ipv4/conf/{bridge}/{name}"));
                (files.to_vec(), isolated.ports.clone())
            }
        };
        let settings = files.into_iter().map(|file| (file, "1".to_owned())).collect();
        Self { settings, isolated: ports }
    }

    /// What is not as it must be.
    pub fn check(&self, place: &Place) -> Result<Vec<Changed>, NetlinkError> {
        let mut out = self.read_settings(place)?;
        if self.isolated.is_empty() {
            return Ok(out);
        }
        let ports = isolation(place)?;
        for port in &self.isolated {
            let found = ports.get(port).copied();
            if found != Some(true) {
                let found = if found.is_some() { "off" } else { "" };
                out.push(Changed {
                    what: format!("isolation of port {port}"),
                    expected: "on".to_owned(),
                    found: found.to_owned(),
                });
            }
        }
        Ok(out)
    }

    fn read_settings(&self, place: &Place) -> Result<Vec<Changed>, NetlinkError> {
        // Settings belong to the network namespace of the thread that opens the file.
        place.enter(|| {
            let mut out = Vec::new();
            for (file, expected) in &self.settings {
                let found = std::fs::read_to_string(format!("/proc/sys/{file}"));
                let found = found.map_or(String::new(), |text| text.trim().to_owned());
                if found != *expected {
                    let (what, expected) = (file.clone(), expected.clone());
                    out.push(Changed { what, expected, found });
                }
            }
            Ok(out)
        })
    }
}

/// Bridge ports, and whether each is isolated.
fn isolation(place: &Place) -> Result<BTreeMap<String, bool>, NetlinkError> {
    let mut socket = Socket::open(Protocol::Route, place)?;
    let mut info = [0; INFO];
    if let Some(family) = info.first_mut() {
        *family = AF_BRIDGE;
    }
    socket.dump(
        GET_LINK,
        |e| e.raw(&info),
        |out: &mut BTreeMap<String, bool>, message| {
            if message.kind == NEW_LINK {
                out.extend(port(message.payload));
            }
        },
    )
}

fn port(payload: &[u8]) -> Option<(String, bool)> {
    let (_, attributes) = payload.split_at_checked(INFO)?;
    let attributes = Attributes::new(attributes);
    let isolated = attributes.get(IFLA_PROTINFO)?.nested().get(IFLA_BRPORT_ISOLATED)?;
    Some((attributes.text(IFLA_IFNAME)?, isolated.u8()? == 1))
}
