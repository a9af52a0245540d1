//! Connections that are open, by site: so that one that is not believed any more is cut while it is open, and not at its next handshake.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{SiteId, Timestamp, network};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError, watch};

use crate::Hub;

/// Connections of one site. Its newest ones are real: what a dead link left behind goes.
const OF_ONE_MAX: usize = 4;
/// Connections of one network that have not shown who they are.
const UNKNOWN_OF_ONE_MAX: usize = 32;
/// Requests with commitments of one connection that are worked on.
const SIGNED_OF_ONE_MAX: usize = 2;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    last: u64,
    open: BTreeMap<SiteId, BTreeMap<u64, Open>>,
    unknown: BTreeMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Open {
    key_sha256: String,
    cut: watch::Sender<bool>,
}

/// One connection of a site. It is open until this is dropped.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) site: SiteId,
    pub(super) key_sha256: String,
    number: u64,
    cut: watch::Receiver<bool>,
    of: Arc<Sessions>,
    batch: Semaphore,
    /// Places of requests with commitments.
    pub(super) signed: Semaphore,
}

impl Session {
    /// The place of the one batch that is worked on: batches are in order.
    pub(super) fn batch(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.batch.try_acquire()
    }

    /// Ends when the connection has to end.
    pub(super) async fn cut(&self) {
        let mut cut = self.cut.clone();
        // Nobody is left who could say so: that is an end too.
        let _ = cut.wait_for(|cut| *cut).await;
    }

    /// Whether the site is still believed with the key of this connection.
    pub(super) fn is_believed(&self, hub: &Hub) -> bool {
        believed(hub, &self.site, &self.key_sha256, hub.now())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut all = self.of.all();
        if let Some(open) = all.open.get_mut(&self.site) {
            open.remove(&self.number);
            if open.is_empty() {
                all.open.remove(&self.site);
            }
        }
    }
}

/// A connection that has not shown who it is; counts until it is dropped.
#[derive(Debug)]
pub(super) struct Unknown {
    from: IpAddr,
    of: Arc<Sessions>,
}

impl Drop for Unknown {
    fn drop(&mut self) {
        let mut all = self.of.all();
        if let Some(count) = all.unknown.get_mut(&self.from) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                all.unknown.remove(&self.from);
            }
        }
    }
}

impl Sessions {
    /// One more connection of a site. The oldest goes where there are too many.
    pub(super) fn open(self: &Arc<Self>, site: SiteId, key_sha256: String) -> Session {
        let mut all = self.all();
        all.last = all.last.saturating_add(1);
        let number = all.last;
        let (sender, cut) = watch::channel(false);
        let open = all.open.entry(site.clone()).or_default();
        while open.len() >= OF_ONE_MAX
            && let Some((_, oldest)) = open.pop_first()
        {
            let _ = oldest.cut.send(true);
        }
        open.insert(number, Open { key_sha256: key_sha256.clone(), cut: sender });
        let (of, batch) = (Arc::clone(self), Semaphore::new(1));
        let signed = Semaphore::new(SIGNED_OF_ONE_MAX);
        Session { site, key_sha256, number, cut, of, batch, signed }
    }

    /// One more connection that has not shown who it is; `None`: there are too many from there.
    pub(super) fn unknown(self: &Arc<Self>, from: IpAddr) -> Option<Unknown> {
        let from = network(from);
        let mut all = self.all();
        let count = all.unknown.entry(from).or_default();
        if *count >= UNKNOWN_OF_ONE_MAX {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Unknown { from, of: Arc::clone(self) })
    }

    /// Cuts what is not believed any more: of one site, or of all. How many.
    pub(super) fn recheck(&self, hub: &Hub, of: Option<&SiteId>) -> usize {
        let now = hub.now();
        let all = self.all();
        let mut cut = 0_usize;
        let concerned = all.open.iter().filter(|(site, _)| of.is_none_or(|of| of == *site));
        for (site, open) in concerned {
            for one in open.values().filter(|one| !believed(hub, site, &one.key_sha256, now)) {
                if !one.cut.send_replace(true) {
                    cut = cut.saturating_add(1);
                }
            }
        }
        cut
    }

    /// Cuts everything.
    pub(super) fn close(&self) {
        for one in self.all().open.values().flat_map(BTreeMap::values) {
            let _ = one.cut.send(true);
        }
    }

    /// Whether a site is connected.
    pub(super) fn has(&self, site: &SiteId) -> bool {
        self.all().open.contains_key(site)
    }

    /// Sites that are connected.
    pub(super) fn sites(&self) -> Vec<SiteId> {
        self.all().open.keys().cloned().collect()
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn believed(hub: &Hub, site: &SiteId, key_sha256: &str, now: Timestamp) -> bool {
    let believes = |site: &estate::sites::Site| site.believes(key_sha256, now);
    hub.read(|estate| estate.sites().get(site).is_some_and(believes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_connections_of_a_site_stay_and_nothing_is_left_of_those_that_ended() {
        let sessions = Arc::new(Sessions::default());
        let north = SiteId::new("north").unwrap();
        let open = || sessions.open(north.clone(), "a".repeat(64));
        let mut all: Vec<Session> = (0..=OF_ONE_MAX).map(|_| open()).collect();
        assert!(*all[0].cut.borrow(), "the oldest is cut");
        assert!(!*all[1].cut.borrow());
        drop(all.remove(0));
        assert_eq!(sessions.sites(), [north]);
        drop(all);
        assert_eq!(sessions.sites(), []);
    }

    #[test]
    fn who_shows_nothing_has_few_connections() {
        let sessions = Arc::new(Sessions::default());
        let from = "192.0.2.7".parse().unwrap();
        let mut all: Vec<Unknown> =
            (0..UNKNOWN_OF_ONE_MAX).map(|_| sessions.unknown(from).unwrap()).collect();
        assert!(sessions.unknown(from).is_none());
        assert!(sessions.unknown("192.0.2.8".parse().unwrap()).is_some());
        drop(all.pop());
        all.push(sessions.unknown(from).unwrap());
        drop(all);
        assert!(sessions.all().unknown.is_empty());
    }
}
