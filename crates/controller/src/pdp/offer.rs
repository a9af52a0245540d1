//! What each site is meant to enforce: made, numbered, kept, and shown to who follows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use estate::devices::{self, State};
use estate::leases::{self, Subject};
use estate::{Command, sites};
use model::line::Delta;
use model::{SiteId, Timestamp};
use policy::folder::{CLAIMS_FILE, ESTATE_FILE, EXCEPTIONS_FILE, TESTS_FILE};
use tokio::sync::watch;

use super::scope::Scope;
use super::{Held, Pdp, PolicyError, exceptions, with_always};
use crate::blobs::{Files, digest};

/// Bundles that newer ones have replaced, kept so that a site that was away for a moment gets only what changed.
const EARLIER_MAX: usize = 64;
/// Bytes of texts that they have together, at most. Of sites that are larger none is kept: one that was away gets all of what is new.
const EARLIER_BYTES_MAX: usize = 64 << 20;

/// What a site is meant to enforce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Its number at the site.
    pub generation: u64,
    /// SHA-256 over `files`.
    pub content: String,
    /// While leases hold.
    pub files: Files,
    /// What changes when they have ended and the controller is out of reach: what is not critical to availability is closed.
    pub expired: Delta,
    /// What changes when that has lasted for the staleness budget: nothing is granted.
    pub stale: Delta,
    /// When what it answers to happened.
    pub since: Timestamp,
}

impl Bundle {
    /// Bytes of all its texts.
    fn bytes(&self) -> usize {
        let all = [&self.files, &self.expired.set, &self.stale.set];
        all.iter().flat_map(|files| files.values()).map(String::len).sum()
    }
}

/// How long a site has not heard from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Leases hold.
    Held,
    /// They have ended.
    Expired,
    /// For long.
    Stale,
}

/// The bundles of all sites.
#[derive(Debug, Default)]
pub(super) struct Bundles {
    all: Mutex<BTreeMap<SiteId, watch::Sender<Option<Arc<Bundle>>>>>,
    earlier: Mutex<VecDeque<(SiteId, Arc<Bundle>)>>,
    /// Generations that sites have and this controller does not know of.
    ahead: Mutex<BTreeMap<SiteId, u64>>,
    /// Held while bundles are made.
    making: Mutex<()>,
    /// When the next exception ends.
    ends: Mutex<Option<Timestamp>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bundles {
    fn get(&self, site: &SiteId) -> Option<Arc<Bundle>> {
        locked(&self.all).get(site).and_then(|latest| latest.borrow().clone())
    }

    fn put(&self, site: &SiteId, bundle: Bundle) {
        let mut all = locked(&self.all);
        let latest = all.entry(site.clone()).or_insert_with(|| watch::Sender::new(None));
        if let Some(was) = latest.send_replace(Some(Arc::new(bundle))) {
            let mut earlier = locked(&self.earlier);
            earlier.push_back((site.clone(), was));
            let bytes = |earlier: &VecDeque<(SiteId, Arc<Bundle>)>| {
                earlier.iter().map(|(_, bundle)| bundle.bytes()).fold(0, usize::saturating_add)
            };
            while earlier.len() > EARLIER_MAX || bytes(&earlier) > EARLIER_BYTES_MAX {
                earlier.pop_front();
            }
        }
    }
}

impl Pdp {
    /// What a site is meant to enforce.
    pub fn bundle(&self, site: &SiteId) -> Option<Arc<Bundle>> {
        self.bundles.get(site)
    }

    /// The same, and each that follows: whoever looks late sees only the newest.
    pub fn follow(&self, site: &SiteId) -> watch::Receiver<Option<Arc<Bundle>>> {
        let mut all = locked(&self.bundles.all);
        all.entry(site.clone()).or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    /// A bundle with this content that the site had before, if it is still here.
    pub fn earlier(&self, site: &SiteId, content: &str) -> Option<Arc<Bundle>> {
        let earlier = locked(&self.bundles.earlier);
        let same = earlier.iter().rev().find(|(of, was)| of == site && was.content == content);
        same.map(|(_, was)| Arc::clone(was))
    }

    /// A site has a generation that is not known here: this controller was restored from a backup. What the site is meant to enforce gets
    /// a higher number, because sites never go back.
    pub fn ahead(&self, site: &SiteId, generation: u64) -> Result<(), PolicyError> {
        {
            let mut ahead = locked(&self.bundles.ahead);
            let known = ahead.entry(site.clone()).or_default();
            *known = generation.max(*known);
        }
        let Some(held) = self.held() else {
            return Ok(());
        };
        let sites = BTreeSet::from([site.clone()]);
        let scope = Scope::Some { devices: BTreeSet::new(), sites };
        self.offer(&held, &scope, self.hub.now())
    }

    /// Whether an exception has ended since bundles were made last; said once.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        locked(&self.bundles.ends).take_if(|end| *end <= now).is_some()
    }

    fn next_end(&self, held: &Held, now: Timestamp) -> Option<Timestamp> {
        let of_folder = held.folder.exceptions.iter().map(|e| e.expires).filter(|end| *end > now);
        let made = self.hub.read(|estate| {
            estate.exceptions().open(now).map(|exception| exception.expires_at).min()
        });
        of_folder.chain(made).min()
    }

    pub(super) fn offer(
        &self,
        held: &Held,
        scope: &Scope,
        since: Timestamp,
    ) -> Result<(), PolicyError> {
        let _making = locked(&self.bundles.making);
        let now = self.hub.now();
        *locked(&self.bundles.ends) = self.next_end(held, now);
        let all: Vec<_> = self.hub.read(|estate| {
            let concerned: Option<BTreeSet<_>> = match scope {
                Scope::All => None,
                Scope::Some { devices, sites } => {
                    let there = devices.iter().filter_map(|id| estate.devices().get(id));
                    let there = there.map(|device| device.site.clone());
                    Some(there.chain(sites.iter().cloned()).collect())
                }
            };
            let sites = estate.sites().iter();
            let sites =
                sites.filter(|site| concerned.as_ref().is_none_or(|c| c.contains(&site.id)));
            sites.map(|site| (site.id.clone(), site.intended.clone())).collect()
        });
        for (site, intended) in all {
            let files = self.site_files(held, &site, Phase::Held, now);
            let content = digest(&files);
            let expired = self.site_files(held, &site, Phase::Expired, now);
            let expired = Delta::between(&files, &expired);
            let stale = Delta::between(&files, &self.site_files(held, &site, Phase::Stale, now));
            let ahead = locked(&self.bundles.ahead).get(&site).copied().unwrap_or(0);
            let known = self.bundles.get(&site);
            // What holds without us is part of it: a device that became critical changes nothing else.
            let as_known = known.as_ref().map(|bundle| {
                (&bundle.content, &bundle.expired, &bundle.stale) == (&content, &expired, &stale)
            });
            let same = intended.as_ref().filter(|last| last.content == content);
            let same = same.filter(|last| last.generation > ahead && as_known != Some(false));
            if as_known == Some(true) && same.is_some() {
                continue;
            }
            let last = intended.as_ref().map_or(0, |bundle| bundle.generation).max(ahead);
            let generation = same.map_or(last.saturating_add(1), |last| last.generation);
            let offered = sites::Bundle { generation, content: content.clone() };
            let command = sites::Command::Offer { id: site.clone(), bundle: offered };
            let why = "what the site is meant to enforce has changed";
            self.hub.command(&self.me, why, Command::Site(command), BTreeSet::new())?;
            // A site sees nothing that the journal does not have.
            let bundle = Bundle { generation, content, files, expired, stale, since };
            self.bundles.put(&site, bundle);
        }
        Ok(())
    }

    /// The folder for one site: its devices as the estate has them, and those elsewhere that the folder names.
    fn site_files(&self, held: &Held, site: &SiteId, phase: Phase, now: Timestamp) -> Files {
        let mut folder = self.hub.read(|estate| {
            let there = estate.devices().iter().filter(|device| {
                device.state != State::Retired
                    && (device.site == *site || held.named.contains(device.id.as_str()))
            });
            let with = there.map(|device| {
                let mut subject = Subject::of(device);
                let decided = estate.leases().get(&device.id).is_some();
                let critical =
                    matches!(device.value(devices::Field::Criticality), Some("high" | "safety"));
                let goes_on = match phase {
                    Phase::Held => true,
                    Phase::Expired => critical,
                    Phase::Stale => false,
                };
                // Nothing is granted about which nothing was decided.
                if !decided || !goes_on {
                    subject.values.insert(
                        devices::Field::Posture.word().to_owned(),
                        "quarantined".to_owned(),
                    );
                }
                (subject, device)
            });
            let mut folder = leases::overlay(&held.folder, with);
            exceptions::put_in(&mut folder, estate, now);
            exceptions::name_owners(&mut folder, estate);
            folder
        });
        let declared: BTreeMap<_, _> =
            held.folder.estate.devices.iter().map(|d| (&d.id, d)).collect();
        let present: BTreeSet<_> = folder.estate.devices.iter().map(|d| d.id.clone()).collect();
        for device in &mut folder.estate.devices {
            // What only a folder says.
            if let Some(own) = declared.get(&device.id) {
                device.behind = own.behind.clone().filter(|id| present.contains(id));
                device.mud_url.clone_from(&own.mud_url);
            }
        }
        let known = |id: &model::DeviceId| present.contains(id);
        folder.estate.services.retain(|service| service.device.as_ref().is_none_or(known));
        let services: BTreeSet<_> = folder.estate.services.iter().map(|s| s.id.clone()).collect();
        for group in &mut folder.estate.groups {
            group.services.retain(|id| services.contains(id));
        }
        // Tests and claims were asked of the whole estate here, where all of it is known.
        folder.tests = policy::folder::Tests::default();
        folder.claims.clear();
        folder.exceptions.retain(|e| known(&e.from) && services.contains(&e.to));
        // A device that is cut off, or has no address for a while, takes its exceptions with it: one that cannot be in force would
        // have the site refuse all of the folder.
        policy::compile::leave_out_exceptions(&mut folder);
        let mut files = with_always(&held.files);
        let made = folder.files();
        for name in [ESTATE_FILE, TESTS_FILE, CLAIMS_FILE, EXCEPTIONS_FILE] {
            if let Some(text) = made.get(name) {
                files.insert(name.to_owned(), text.clone());
            }
        }
        files
    }
}
