//! The site's resolver, hooked to its enforcement point: an answer leaves after its addresses are open.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::Sender;

use enforcer::{Fence, NameGrant};
use names::{Config, Event, Grant, Policy, Running, Settings, Sink, StartError};

/// Where names are asked for on behalf of devices, and who opens paths.
pub struct Names {
    /// Upstream resolvers.
    pub upstreams: Vec<SocketAddr>,
    /// The enforcement point.
    pub sink: Box<dyn Sink>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("upstreams", &self.upstreams).finish_non_exhaustive()
    }
}

/// A fence as the resolver's enforcement point.
#[derive(Clone, Debug)]
pub struct Opener(pub Fence);

impl Sink for Opener {
    fn put_in_force(&mut self, grant: &Grant) -> Result<(), String> {
        let grants: Vec<NameGrant<'_>> = grant
            .openings
            .iter()
            .map(|opening| NameGrant {
                permit: &opening.permit,
                name: &grant.name,
                ip: opening.address,
                timeout_s: opening.timeout_s,
            })
            .collect();
        self.0.name_answer(&grants).map(drop).map_err(|error| error.to_string())
    }
}

/// What the resolver tells.
#[derive(Debug)]
pub struct Told {
    /// Stable word.
    pub kind: &'static str,
    /// One line.
    pub what: String,
}

/// Listens on port 53 of the site's own addresses; nothing is permitted before [`ruleset`] is told.
pub fn start<T: From<Told> + Send + 'static>(
    names: Names,
    addresses: &[(IpAddr, u8)],
    state_file: PathBuf,
    told: Sender<T>,
) -> Result<Running, StartError> {
    // An address of the link alone needs a scope to be listened on; devices ask the others.
    let local = |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let listen = addresses.iter().map(|(ip, _)| *ip).filter(|ip| !local(ip));
    let settings = Settings { site: addresses.to_vec(), ..Settings::new(names.upstreams) };
    names::start(Config {
        listen: listen.map(|ip| SocketAddr::new(ip, 53)).collect(),
        settings,
        policy: Policy::default(),
        state_file: Some(state_file),
        sink: names.sink,
        observer: Box::new(move |event| {
            if let Event::Finding(finding) = event {
                // The loop ends before the resolver does.
                let _ =
                    told.send(T::from(Told { kind: finding.kind(), what: finding.to_string() }));
            }
        }),
    })
}

/// What a ruleset says about names.
pub fn ruleset(ruleset: &model::ruleset::Ruleset) -> Policy {
    Policy::of(ruleset, BTreeSet::new())
}
