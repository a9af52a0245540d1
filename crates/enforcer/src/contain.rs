//! Makes devices of one subnet reach each other only through the fence.
//!
//! A bridge forwards between its ports without asking the network layer, so a fence on routed
//! traffic alone never sees a camera attack the till beside it. Two ways out, both of which keep
//! broadcasts to this machine (DHCP, ARP) working:
//!
//! * [`Method::BridgeFilter`]: the bridge hands frames to the forward chain
//!   (`bridge-nf-call-iptables`). Addresses and ARP stay as they are: it bites at once, for IPv4
//!   and IPv6, and nothing on the devices changes. Group frames between ports (mDNS, DHCP
//!   requests) are judged like all others: without a permit to the group's address they stop here.
//! * [`Method::IsolatedPorts`]: ports are isolated, this machine answers ARP for the neighbours
//!   (`proxy_arp_pvlan`, RFC 3069) and routes between them. Frames never pass between ports, so
//!   no mDNS, and no IPv6 between neighbours unless a router advertises the prefix off-link.
//!   A neighbour's address that a device has cached must age out (up to a minute) first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::EnforceError;
use crate::runner::{Runner, failure, must};

/// How neighbours are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Bridged frames pass the forward chain.
    #[default]
    BridgeFilter,
    /// Ports are isolated, neighbours are routed.
    IsolatedPorts,
}

/// What [`isolate`] changed, with what was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "hand it to `release` to undo"]
pub struct Isolated {
    /// How.
    pub method: Method,
    /// The bridge.
    pub bridge: String,
    /// Its ports at that time.
    pub ports: Vec<String>,
    before: BTreeMap<String, String>,
}

/// The ports of `bridge`.
pub fn ports(runner: &dyn Runner, bridge: &str) -> Result<Vec<String>, EnforceError> {
    let argv = ["ip", "-j", "link", "show", "master", bridge];
    let answer = must(runner, &argv, "")?;
    let unreadable = |why: String| EnforceError::Unreadable { command: argv.join(" "), why };
    let empty = answer.trim().is_empty();
    let links: Vec<Value> = if empty {
        Vec::new()
    } else {
        serde_json::from_str(&answer).map_err(|error| unreadable(error.to_string()))?
    };
    let name = |link: &Value| link.get("ifname").and_then(Value::as_str).map(str::to_owned);
    Ok(links.iter().filter_map(name).collect())
}

/// Puts all traffic between ports of `bridge` under the fence.
pub fn isolate(
    runner: &dyn Runner,
    bridge: &str,
    method: Method,
) -> Result<Isolated, EnforceError> {
    let ports = ports(runner, bridge)?;
    let settings: Vec<(String, &str)> = match method {
        Method::BridgeFilter => ["iptables", "ip6tables"]
            .map(|family| (format!("net/bridge/bridge-nf-call-{family}"), "1"))
            .to_vec(),
        Method::IsolatedPorts => vec![
            (format!("net/ipv4/conf/{bridge}/proxy_arp_pvlan"), "1"),
            ("net/ipv4/conf/all/send_redirects".to_owned(), "0"),
            (format!("net/ipv4/conf/{bridge}/send_redirects"), "0"),
            (format!("net/ipv4/conf/{bridge}/forwarding"), "1"),
        ],
    };
    let mut done = Isolated { method, bridge: bridge.to_owned(), ports, before: BTreeMap::new() };
    let changed = change(runner, &mut done, settings);
    if let Err(error) = changed {
        // Half a containment is worse than none: it looks like one.
        let _ = release(runner, &done);
        return Err(error);
    }
    Ok(done)
}

/// Undoes [`isolate`].
pub fn release(runner: &dyn Runner, isolated: &Isolated) -> Result<(), EnforceError> {
    if isolated.method == Method::IsolatedPorts {
        set_isolated(runner, &isolated.ports, "off")?;
    }
    isolated.before.iter().try_for_each(|(key, value)| write(runner, key, value))
}

fn change(
    runner: &dyn Runner,
    done: &mut Isolated,
    settings: Vec<(String, &str)>,
) -> Result<(), EnforceError> {
    for (key, value) in settings {
        let before = must(runner, &["cat", &path(&key)], "").map_err(|error| match error {
            EnforceError::Failed { .. } if done.method == Method::BridgeFilter => {
                EnforceError::Io {
                    doing: format!("filter bridged frames of {}", done.bridge),
                    source: std::io::Error::other(
                        "the kernel has no bridge filter; load it (modprobe br_netfilter) or use isolated ports",
                    ),
                }
            }
            other => other,
        })?;
        if before.trim() != value {
            write(runner, &key, value)?;
            done.before.insert(key, before.trim().to_owned());
        }
    }
    if done.method == Method::IsolatedPorts {
        set_isolated(runner, &done.ports, "on")?;
    }
    Ok(())
}

fn set_isolated(runner: &dyn Runner, ports: &[String], state: &str) -> Result<(), EnforceError> {
    ports.iter().try_for_each(|port| {
        let argv = ["ip", "link", "set", "dev", port, "type", "bridge_slave", "isolated", state];
        must(runner, &argv, "").map(|_| ())
    })
}

fn path(key: &str) -> String {
    format!("/proc/sys/{key}")
}

/// A setting; it belongs to the network namespace of the process that opens the file.
fn write(runner: &dyn Runner, key: &str, value: &str) -> Result<(), EnforceError> {
    let file = path(key);
    let argv = ["tee", &file];
    let output = crate::runner::attempt(runner, &argv, value)?;
    if output.code == 0 { Ok(()) } else { Err(failure(&argv, &output)) }
}
