//! The site's resolver, hooked to its enforcement point: an answer leaves after its addresses are open.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

use enforcer::{Fence, NameGrant};
use names::{Config, Event, Grant, Policy, Running, Settings, Sink, Sockets, StartError};

use ::policy::folder::{Device, Folder};
use model::ruleset::{Ruleset, dns_name};

use crate::asked::{Questions, Tally};
use crate::life::Control;
use crate::privileges;

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

/// The resolver of a site, from its first try to listen to its end.
#[derive(Debug)]
pub(crate) struct Resolver {
    stage: Stage,
    /// Until it runs.
    config: Option<Config>,
    policy: Policy,
    /// Why it does not run.
    why: String,
    tally: Arc<Mutex<Tally>>,
}

#[derive(Debug)]
enum Stage {
    /// Port 53 could not be had yet.
    Waiting(Binder),
    Bound(Sockets),
    Running(Running),
    /// It cannot run in this process.
    Over,
}

impl Resolver {
    /// Binds port 53 of the site's own addresses. To be called before privileges are dropped: what
    /// cannot be bound now is bound later by a thread that keeps the privilege for it alone.
    pub(crate) fn bind<T: From<Told> + Send + 'static>(
        names: Names,
        addresses: &[(IpAddr, u8)],
        state_file: PathBuf,
        told: Sender<T>,
    ) -> Self {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let counting = Arc::clone(&tally);
        let settings = Settings { site: addresses.to_vec(), ..Settings::new(names.upstreams) };
        let config = Config {
            settings,
            policy: Policy::default(),
            state_file: Some(state_file),
            sink: names.sink,
            observer: Box::new(move |event| match event {
                // Counted here: there may be thousands a second, and the loop has other things to do.
                Event::Asked(asked) => lock(&counting).add(asked),
                Event::Finding(finding) => {
                    let (kind, what) = (finding.kind(), finding.to_string());
                    // The loop ends before the resolver does.
                    let _ = told.send(T::from(Told { kind, what }));
                }
            }),
        };
        let (stage, why) = match names::bind(&listen(addresses)) {
            Ok(sockets) => (Stage::Bound(sockets), String::new()),
            Err(error) => match Binder::start() {
                Ok(binder) => (Stage::Waiting(binder), error.to_string()),
                Err(other) => (Stage::Over, format!("{error}; not tried again: {other}")),
            },
        };
        Self { stage, config: Some(config), policy: Policy::default(), why, tally }
    }

    /// Runs on what was bound, in threads with this one's privileges; an error says why it does not
    /// run, or not yet.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        match (std::mem::replace(&mut self.stage, Stage::Over), self.config.take()) {
            (Stage::Bound(sockets), Some(config)) => {
                let config = Config { policy: self.policy.clone(), ..config };
                match names::start(sockets, config) {
                    Ok(running) => self.stage = Stage::Running(running),
                    Err(error) => self.why = error.to_string(),
                }
            }
            (stage, config) => (self.stage, self.config) = (stage, config),
        }
        if matches!(self.stage, Stage::Running(_)) { Ok(()) } else { Err(self.why.clone()) }
    }

    /// Tries again, where it does not listen yet; whether it runs since this moment.
    pub(crate) fn look(&mut self, addresses: &[(IpAddr, u8)]) -> bool {
        let Stage::Waiting(binder) = &mut self.stage else {
            return false;
        };
        match binder.look(&listen(addresses)) {
            None => false,
            Some(Err(why)) => {
                self.why = why;
                false
            }
            Some(Ok(sockets)) => {
                self.stage = Stage::Bound(sockets);
                self.start().is_ok()
            }
        }
    }

    /// What policy says about names, from now on.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        if let Stage::Running(running) = &self.stage {
            running.set_policy(policy.clone());
        }
        self.policy = policy;
    }

    /// What devices asked so far.
    pub(crate) fn questions(&self) -> Questions {
        lock(&self.tally).questions()
    }

    /// How far it is, and why it is no further.
    pub(crate) fn standing(&self) -> (Control, String) {
        let Stage::Running(running) = &self.stage else {
            return (Control::Intended, self.why.clone());
        };
        match running.counts() {
            None => (Control::Intended, "it has ended; start the site again".to_owned()),
            Some(counts) if counts.down => {
                (Control::Applied, "no upstream resolver answers".to_owned())
            }
            Some(counts) if counts.answered == 0 => {
                (Control::Applied, "no device has asked for a name yet".to_owned())
            }
            Some(_) => (Control::Verified, String::new()),
        }
    }
}

/// Where to listen: an address of the link alone needs a scope for that; devices ask the others.
fn listen(addresses: &[(IpAddr, u8)]) -> Vec<SocketAddr> {
    let local = |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let listen = addresses.iter().map(|(ip, _)| *ip).filter(|ip| !local(ip));
    listen.map(|ip| SocketAddr::new(ip, 53)).collect()
}

/// A thread that may bind low ports and nothing else; it ends when this is dropped.
#[derive(Debug)]
struct Binder {
    asks: Sender<Vec<SocketAddr>>,
    bound: Receiver<Result<Sockets, StartError>>,
    /// A try is under way.
    trying: bool,
}

impl Binder {
    /// Starts it; its other privileges are gone when this returns.
    fn start() -> io::Result<Self> {
        let (asks, asked) = mpsc::channel::<Vec<SocketAddr>>();
        let (answers, bound) = mpsc::channel();
        let (ready, wait) = mpsc::channel();
        thread::Builder::new().name("resolver-bind".to_owned()).spawn(move || {
            let dropped = privileges::drop_to_bind();
            let goes_on = dropped.is_ok();
            // Whoever waits is there until it has heard.
            let _ = ready.send(dropped);
            for addresses in asked.iter().take_while(|_| goes_on) {
                if answers.send(names::bind(&addresses)).is_err() {
                    return;
                }
            }
        })?;
        let dropped = wait.recv().map_err(io::Error::other)?;
        dropped.map_err(io::Error::other)?;
        Ok(Self { asks, bound, trying: false })
    }

    /// What came of the last try; where there is none, begins one.
    fn look(&mut self, addresses: &[SocketAddr]) -> Option<Result<Sockets, String>> {
        if self.trying {
            let result = self.bound.try_recv().ok()?;
            self.trying = false;
            return Some(result.map_err(|error| error.to_string()));
        }
        self.trying = self.asks.send(addresses.to_vec()).is_ok();
        None
    }
}

/// What a ruleset says about names, and its folder: services that it gives both a name and addresses
/// are the site's own there. `refuse`: zones that get no answer for names outside policy.
pub(crate) fn policy(ruleset: &Ruleset, folder: &Folder, refuse: &BTreeSet<String>) -> Policy {
    let estate = &folder.estate;
    let refusing: BTreeSet<IpAddr> = estate
        .devices
        .iter()
        .filter(|device| refuse.contains(&device.zone))
        .flat_map(|device| device.addresses.iter().copied())
        .collect();
    // All addresses of a class are of one zone.
    let classes = ruleset.members.iter().filter(|member| refusing.contains(&member.ip));
    let mut policy = Policy::of(ruleset, classes.map(|member| member.class).collect());
    let devices: BTreeMap<&str, &Device> =
        estate.devices.iter().map(|device| (device.id.as_str(), device)).collect();
    for service in &estate.services {
        let host = service.device.as_ref().and_then(|id| devices.get(id.as_str())).copied();
        for name in service.dns_names.iter().filter_map(|name| dns_name(name)) {
            policy.add_inside(&name, estate.addresses(service, host));
        }
    }
    policy
}

/// A count is whole after each step: one that another thread died over is as good as any.
fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESTATE: &str = "format = \"ringfence.policy/v1\"\n[[site]]\nid = \"lab\"\n\
        [[zone]]\nid = \"hmis\"\nsite = \"lab\"\nclass = \"hmi\"\nsubnet = \"10.0.0.0/24\"\nmode = \"enforce\"\n\
        [[zone]]\nid = \"plcs\"\nsite = \"lab\"\nclass = \"plc\"\nsubnet = \"10.0.0.0/24\"\nmode = \"enforce\"\n\
        [[zone]]\nid = \"external\"\nclass = \"external\"\n\
        [[device]]\nid = \"hmi\"\ntype = \"hmi\"\nzone = \"hmis\"\nmacs = [\"02:00:00:00:00:01\"]\naddresses = [\"10.0.0.1\"]\n\
        [[device]]\nid = \"plc\"\ntype = \"plc\"\nzone = \"plcs\"\nmacs = [\"02:00:00:00:00:02\"]\naddresses = [\"10.0.0.2\"]\n\
        [[service]]\nid = \"svc:plc/tcp/502\"\nscope = \"estate\"\nzone = \"plcs\"\ndevice = \"plc\"\ndns_names = [\"PLC.warehouse.example.\"]\nprotocol = \"tcp\"\nport = 502\n\
        [[service]]\nid = \"svc:cloud/tcp/443\"\nscope = \"external\"\nzone = \"external\"\ndns_names = [\"api.cloud.example\"]\nprotocol = \"tcp\"\nport = 443\n";

    #[test]
    fn the_folder_says_which_names_are_inside_and_who_is_refused_others() {
        let files = [
            ("schema.cedarschema", ::policy::folder::SCHEMA),
            ("estate.toml", ESTATE),
            ("policies/none.cedar", ""),
            ("tests.toml", ""),
            ("claims.toml", ""),
            ("exceptions.toml", ""),
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let folder = ::policy::folder::parse(&files.into()).unwrap();
        let ruleset = ::policy::compile::ruleset(&folder, 1, None).unwrap();
        let told = policy(&ruleset, &folder, &["plcs".to_owned()].into());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(told.is_inside("plc.warehouse.example", ip("10.0.0.2")));
        // Another device's address is none of this name's.
        assert!(!told.is_inside("plc.warehouse.example", ip("10.0.0.1")));
        assert!(!told.is_inside("api.cloud.example", ip("10.0.0.2")));
        let refuses = |at: &str| told.refuses_unknown(told.class_of(ip(at)).unwrap());
        assert!(refuses("10.0.0.2") && !refuses("10.0.0.1"));
    }
}
