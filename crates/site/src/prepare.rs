//! Puts neighbours of one subnet under the fence, tells beforehand what that changes, and says per
//! path what cannot be enforced here and what it would need.

use std::fs;
use std::io;

use enforcer::EnforceError;
use enforcer::contain::{self, Isolated, Method};
use enforcer::runner::Runner;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Name of the record in the state directory.
pub const RECORD: &str = "containment.json";

/// What there is to work with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survey {
    /// Interface that was asked about.
    pub interface: String,
    /// It is a bridge.
    pub bridge: bool,
    /// Its ports.
    pub ports: Vec<String>,
    /// Ports that are isolated.
    pub isolated: Vec<String>,
    /// Bridged IPv4 frames pass the forward chain; none: the kernel has no bridge filter.
    pub filter4: Option<bool>,
    /// Bridged IPv6 frames pass the forward chain.
    pub filter6: Option<bool>,
    /// It answers ARP for neighbours that are isolated from each other.
    pub answers_arp: bool,
    /// This machine forwards IPv4.
    pub forwards: bool,
    /// Link address of the interface.
    pub mac: String,
    /// Its addresses with their prefix length.
    pub addresses: Vec<(std::net::IpAddr, u8)>,
    /// Version of the kernel: major, minor.
    pub kernel: (u32, u32),
}

/// One kind of path, and whether the fence decides about it here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathState {
    /// Which.
    pub path: String,
    /// The fence decides about it now.
    pub enforced: bool,
    /// By what; or `not enforceable here; needs …`.
    pub how: String,
}

/// Why a survey cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// No such interface.
    #[error("there is no interface `{0}`; `ip link` lists those there are")]
    NoInterface(String),
    /// It is no bridge.
    #[error(
        "`{0}` is no bridge: what devices send each other inside one subnet does not pass this machine; not enforceable here; needs a bridge with one port per device (or per group of devices that may reach each other), or private VLANs on the switch"
    )]
    NoBridge(String),
    /// A bridge without ports.
    #[error("bridge `{0}` has no ports: nothing is behind it")]
    NoPorts(String),
    /// Nothing was recorded.
    #[error("nothing was prepared with this state directory: there is nothing to undo")]
    NothingToUndo,
    /// The system.
    #[error(transparent)]
    Enforce(#[from] EnforceError),
}

/// Looks at `interface`; changes nothing.
pub fn survey(runner: &dyn Runner, interface: &str) -> Result<Survey, PrepareError> {
    let links = json(runner, &["ip", "-j", "-d", "addr", "show", "dev", interface])?;
    let link = links.as_ref().and_then(|links| links.get(0));
    let link = link.ok_or_else(|| PrepareError::NoInterface(interface.to_owned()))?;
    let kind = link.pointer("/linkinfo/info_kind").and_then(Value::as_str);
    let bridge = kind == Some("bridge");
    let ports = if bridge { contain::ports(runner, interface)? } else { Vec::new() };
    let slaves = json(runner, &["ip", "-j", "-d", "link", "show", "master", interface])?;
    let isolated = slaves.iter().flat_map(|all| all.as_array()).flatten().filter(|link| {
        link.pointer("/linkinfo/info_slave_data/isolated").and_then(Value::as_bool) == Some(true)
    });
    let name = |link: &Value| link.get("ifname").and_then(Value::as_str).map(str::to_owned);
    let addresses = link.get("addr_info").and_then(Value::as_array).into_iter().flatten();
    let address = |info: &Value| {
        let ip = info.get("local")?.as_str()?.parse().ok()?;
        Some((ip, u8::try_from(info.get("prefixlen")?.as_u64()?).ok()?))
    };
    Ok(Survey {
        interface: interface.to_owned(),
        bridge,
        ports,
        isolated: isolated.filter_map(name).collect(),
        filter4: setting(runner, "net/bridge/bridge-nf-call-iptables"),
        filter6: setting(runner, "net/bridge/bridge-nf-call-ip6tables"),
        answers_arp: setting(runner, &format!("net/ipv4/conf/{interface}/proxy_arp_pvlan"))
            == Some(true),
        forwards: setting(runner, "net/ipv4/ip_forward") == Some(true),
        mac: link.get("address").and_then(Value::as_str).unwrap_or_default().to_owned(),
        addresses: addresses.filter_map(address).collect(),
        kernel: kernel(&fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()),
    })
}

/// What [`isolate`](contain::isolate) by `method` would change, in words.
pub fn changes(survey: &Survey, method: Method) -> Vec<String> {
    let mut out = Vec::new();
    match method {
        Method::BridgeFilter => {
            for (family, value) in [("iptables", survey.filter4), ("ip6tables", survey.filter6)] {
                if value != Some(true) {
                    out.push(format!("set net.bridge.bridge-nf-call-{family} to 1"));
                }
            }
        }
        Method::IsolatedPorts => {
            if !survey.answers_arp {
                let interface = &survey.interface;
                out.push(format!("set net.ipv4.conf.{interface}.proxy_arp_pvlan to 1"));
            }
            if !survey.forwards {
                out.push(format!("set net.ipv4.conf.{}.forwarding to 1", survey.interface));
            }
            let open = survey.ports.iter().filter(|port| !survey.isolated.contains(port));
            out.extend(open.map(|port| format!("isolate port {port}")));
        }
    }
    out
}

/// The method that holds now.
pub fn method(survey: &Survey) -> Option<Method> {
    let all_isolated =
        !survey.ports.is_empty() && survey.ports.iter().all(|p| survey.isolated.contains(p));
    match survey {
        Survey { bridge: false, .. } => None,
        Survey { filter4: Some(true), filter6: Some(true), .. } => Some(Method::BridgeFilter),
        Survey { answers_arp: true, .. } if all_isolated => Some(Method::IsolatedPorts),
        _ => None,
    }
}

/// Every kind of path with what decides about it, as things are now.
pub fn paths(survey: &Survey) -> Vec<PathState> {
    let now = method(survey);
    let filter = survey.filter4.is_some();
    let bridge = "not enforceable here; needs a bridge with a port per device";
    let prepare = if filter {
        "not prepared; `ringfence site prepare` does it"
    } else {
        "not prepared; this kernel has no br_netfilter (modprobe br_netfilter), so it needs --method isolated-ports"
    };
    let neighbours = |by_filter: &str, by_isolation: &str| match now {
        Some(Method::BridgeFilter) => (true, by_filter.to_owned()),
        Some(Method::IsolatedPorts) => (true, by_isolation.to_owned()),
        None if survey.bridge => (false, prepare.to_owned()),
        None => (false, bridge.to_owned()),
    };
    let routed = if survey.forwards {
        (true, "the forward chain judges it".to_owned())
    } else {
        (true, "this machine does not forward, so nothing passes".to_owned())
    };
    let owner = if survey.kernel >= (6, 9) {
        (true, "tables belong to the running site (owner, persist)".to_owned())
    } else {
        let (major, minor) = survey.kernel;
        let how = format!(
            "not enforceable here; needs Linux 6.9 (this is {major}.{minor}): outside changes are noticed and undone instead"
        );
        (false, how)
    };
    let rows = [
        ("to other networks", routed),
        ("to this machine", (true, "the input chain judges it".to_owned())),
        (
            "between neighbours, IPv4",
            neighbours("bridged frames pass the forward chain", "ports are isolated and routed"),
        ),
        (
            "between neighbours, IPv6",
            neighbours(
                "bridged frames pass the forward chain",
                "closed by port isolation; to permit some, a router has to advertise the prefix off-link",
            ),
        ),
        (
            "ARP between neighbours",
            neighbours("senders must be members", "closed; this machine answers"),
        ),
        (
            "groups (mDNS, SSDP)",
            neighbours("judged by the group's address", "closed by port isolation"),
        ),
        (
            "frames that are not IP (PROFINET, GOOSE)",
            neighbours("judged by EtherType", "closed by port isolation"),
        ),
        (
            "between devices behind one port",
            (
                false,
                "not enforceable here; needs a port of their own, or private VLANs on the switch between"
                    .to_owned(),
            ),
        ),
        ("outside changes of our tables", owner),
    ];
    let row = |(path, (enforced, how)): (&str, (bool, String))| PathState {
        path: path.to_owned(),
        enforced,
        how,
    };
    rows.into_iter().map(row).collect()
}

/// Contains neighbours by `method`, and looks again: what was asked for must hold.
pub fn contain(
    runner: &dyn Runner,
    survey: &Survey,
    method_: Method,
) -> Result<Isolated, PrepareError> {
    if !survey.bridge {
        return Err(PrepareError::NoBridge(survey.interface.clone()));
    }
    if survey.ports.is_empty() {
        return Err(PrepareError::NoPorts(survey.interface.clone()));
    }
    let done = contain::isolate(runner, &survey.interface, method_)?;
    let after = self::survey(runner, &survey.interface)?;
    let left = changes(&after, method_);
    if left.is_empty() {
        return Ok(done);
    }
    let _ = contain::release(runner, &done); // Half a containment looks like one.
    Err(PrepareError::Enforce(EnforceError::Io {
        doing: format!("contain neighbours of {}", survey.interface),
        source: io::Error::other(format!("the kernel did not keep: {}", left.join(", "))),
    }))
}

fn json(runner: &dyn Runner, argv: &[&str]) -> Result<Option<Value>, PrepareError> {
    let doing = || argv.join(" ");
    let output = runner.run(argv, "");
    let output = output.map_err(|source| EnforceError::Io { doing: doing(), source })?;
    if output.code != 0 {
        return Ok(None);
    }
    let unreadable = |why: serde_json::Error| EnforceError::Unreadable {
        command: doing(),
        why: why.to_string(),
    };
    let text = if output.stdout.trim().is_empty() { "[]" } else { &output.stdout };
    Ok(Some(serde_json::from_str(text).map_err(unreadable)?))
}

/// A switch of the runner's network namespace; none where the kernel does not have it.
fn setting(runner: &dyn Runner, key: &str) -> Option<bool> {
    let output = runner.run(&["cat", &format!("/proc/sys/{key}")], "").ok()?;
    (output.code == 0).then(|| output.stdout.trim() != "0")
}

fn kernel(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Survey {
        Survey {
            interface: "br0".to_owned(),
            bridge: true,
            ports: vec!["p1".to_owned(), "p2".to_owned()],
            isolated: Vec::new(),
            filter4: Some(false),
            filter6: Some(false),
            answers_arp: false,
            forwards: true,
            mac: String::new(),
            addresses: Vec::new(),
            kernel: (6, 1),
        }
    }

    fn not_enforced(survey: &Survey) -> Vec<String> {
        let paths = paths(survey).into_iter().filter(|path| !path.enforced);
        paths.map(|path| format!("{}: {}", path.path, path.how)).collect()
    }

    #[test]
    fn every_path_is_enforced_or_says_what_it_needs() {
        let flat = sample();
        assert_eq!(not_enforced(&flat).len(), 7, "{:?}", not_enforced(&flat));
        let filtered = Survey { filter4: Some(true), filter6: Some(true), ..sample() };
        let left = not_enforced(&filtered);
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left[0].contains("needs a port of their own"), "{left:?}");
        assert!(left[1].contains("needs Linux 6.9 (this is 6.1)"), "{left:?}");
        let isolated =
            Survey { isolated: sample().ports, answers_arp: true, kernel: (6, 18), ..sample() };
        assert_eq!(not_enforced(&isolated).len(), 1);
        let no_bridge = Survey { bridge: false, ports: Vec::new(), ..sample() };
        assert!(not_enforced(&no_bridge)[0].contains("needs a bridge"));
        let no_filter = Survey { filter4: None, filter6: None, ..sample() };
        assert!(not_enforced(&no_filter)[0].contains("isolated-ports"));
    }

    #[test]
    fn changes_are_told_and_end_when_they_hold() {
        assert_eq!(changes(&sample(), Method::BridgeFilter).len(), 2);
        let words = changes(&sample(), Method::IsolatedPorts);
        assert_eq!(words.last().unwrap(), "isolate port p2");
        let done = Survey { isolated: sample().ports, answers_arp: true, ..sample() };
        assert_eq!(changes(&done, Method::IsolatedPorts), [""; 0]);
        assert_eq!(method(&done), Some(Method::IsolatedPorts));
        // A port that came later is open.
        let grown = Survey { ports: vec!["p1".into(), "p2".into(), "p3".into()], ..done };
        assert_eq!(method(&grown), None);
        assert_eq!(changes(&grown, Method::IsolatedPorts), ["isolate port p3"]);
    }

    #[test]
    fn kernel_versions() {
        assert_eq!(kernel("6.18.5-cloud\n"), (6, 18));
        assert_eq!(kernel("6.1.0-28-amd64"), (6, 1));
        assert_eq!(kernel(""), (0, 0));
    }
}
