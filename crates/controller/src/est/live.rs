//! Connections that are open, by the key that opened them: so that one whose key is revoked ends while it is open. And strangers, who give
//! their places to each other.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use estate::side::Digest;
use model::network;
use tokio::sync::watch;

/// Connections of one key.
const OF_ONE_MAX: usize = 4;
/// Connections of one network that have shown no certificate.
const STRANGERS_OF_ONE_MAX: usize = 64;
/// Connections of all networks that have shown none.
const STRANGERS_MAX: usize = 1_024;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Live(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    last: u64,
    open: BTreeMap<Digest, BTreeMap<u64, watch::Sender<bool>>>,
}

/// One connection. It is open until this is dropped.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) key: Digest,
    number: u64,
    cut: watch::Receiver<bool>,
    of: Arc<Live>,
}

impl Session {
    /// Ends when the connection has to end.
    pub(super) async fn cut(&self) {
        let mut cut = self.cut.clone();
        // Nobody is left who could say so: that is an end too.
        let _ = cut.wait_for(|cut| *cut).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut all = self.of.all();
        if let Some(open) = all.open.get_mut(&self.key) {
            open.remove(&self.number);
            if open.is_empty() {
                all.open.remove(&self.key);
            }
        }
    }
}

impl Live {
    /// One more connection of a key. The oldest goes where there are too many.
    pub(super) fn open(self: &Arc<Self>, key: Digest) -> Session {
        let mut all = self.all();
        all.last = all.last.saturating_add(1);
        let number = all.last;
        let (sender, cut) = watch::channel(false);
        let open = all.open.entry(key).or_default();
        while open.len() >= OF_ONE_MAX
            && let Some((_, oldest)) = open.pop_first()
        {
            let _ = oldest.send(true);
        }
        open.insert(number, sender);
        Session { key, number, cut, of: Arc::clone(self) }
    }

    /// Cuts those of which somebody does not believe the key any more; of `keys`, or of all. How many.
    pub(super) fn recheck(
        &self,
        keys: Option<&[Digest]>,
        believes: impl Fn(&Digest) -> bool,
    ) -> u64 {
        let all = self.all();
        let open: Vec<_> = match keys {
            Some(keys) => keys.iter().filter_map(|key| all.open.get_key_value(key)).collect(),
            None => all.open.iter().collect(),
        };
        let mut cut = 0_u64;
        for (_, open) in open.into_iter().filter(|(key, _)| !believes(key)) {
            for one in open.values() {
                if !one.send_replace(true) {
                    cut = cut.saturating_add(1);
                }
            }
        }
        cut
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections that have shown no certificate, by network, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Strangers(Arc<Mutex<Come>>);

#[derive(Debug, Default)]
struct Come {
    last: u64,
    count: usize,
    by: BTreeMap<IpAddr, BTreeMap<u64, watch::Sender<bool>>>,
}

/// One of them; counts until it is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    from: IpAddr,
    number: u64,
    cut: watch::Receiver<bool>,
    of: Strangers,
}

impl Stranger {
    /// Ends when it has to give its place to another.
    pub(super) async fn cut(&self) {
        let mut cut = self.cut.clone();
        let _ = cut.wait_for(|cut| *cut).await;
    }
}

impl Strangers {
    /// One more. Where there are too many the oldest of its network goes, or of the network that has the most: whoever floods pushes out
    /// himself, and a device that says who it is in its first second finds its way in.
    pub(super) fn come(&self, from: IpAddr) -> Stranger {
        let from = network(from);
        let mut all = self.all();
        let here = all.by.get(&from).map_or(0, BTreeMap::len);
        if here >= STRANGERS_OF_ONE_MAX {
            all.push_out(from);
        } else if all.count >= STRANGERS_MAX
            && let Some(most) = all.by.iter().max_by_key(|(_, open)| open.len()).map(|(at, _)| *at)
        {
            all.push_out(most);
        }
        all.last = all.last.saturating_add(1);
        all.count = all.count.saturating_add(1);
        let (number, (sender, cut)) = (all.last, watch::channel(false));
        all.by.entry(from).or_default().insert(number, sender);
        drop(all);
        Stranger { from, number, cut, of: self.clone() }
    }

    fn all(&self) -> MutexGuard<'_, Come> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Come {
    fn push_out(&mut self, from: IpAddr) {
        if let Some((_, oldest)) = self.by.get_mut(&from).and_then(BTreeMap::pop_first) {
            self.count = self.count.saturating_sub(1);
            let _ = oldest.send(true);
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut all = self.of.all();
        let Come { count, by, .. } = &mut *all;
        let Some(open) = by.get_mut(&self.from) else { return };
        if open.remove(&self.number).is_some() {
            *count = count.saturating_sub(1);
        }
        if open.is_empty() {
            by.remove(&self.from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Digest {
        Digest([n; 32])
    }

    #[test]
    fn a_key_that_is_not_believed_loses_all_its_connections_and_no_other_does() {
        let live = Arc::new(Live::default());
        let (a, b, other) = (live.open(key(1)), live.open(key(1)), live.open(key(2)));
        assert_eq!(live.recheck(Some(&[key(1), key(3)]), |_| true), 0);
        assert_eq!(live.recheck(Some(&[key(1)]), |_| false), 2);
        assert!(*a.cut.borrow() && *b.cut.borrow() && !*other.cut.borrow());
        assert_eq!(live.recheck(None, |k| *k == key(2)), 0, "they were cut already");
        drop((a, b));
        assert_eq!(live.all().open.len(), 1);
        let many: Vec<_> = (0..OF_ONE_MAX).map(|_| live.open(key(2))).collect();
        assert!(*other.cut.borrow(), "the oldest gives its place");
        assert!(many.iter().all(|one| !*one.cut.borrow()));
    }

    #[test]
    fn whoever_floods_pushes_out_himself() {
        let strangers = Strangers::default();
        let at = |n: u8, m: u8| IpAddr::from([192, 0, n, m]);
        let other = strangers.come(at(9, 9));
        let flood: Vec<_> = (0..=STRANGERS_OF_ONE_MAX).map(|_| strangers.come(at(0, 1))).collect();
        let cut: Vec<bool> = flood.iter().map(|one| *one.cut.borrow()).collect();
        assert!(cut[0] && !cut[1..].contains(&true), "the oldest of its own goes");
        assert!(!*other.cut.borrow());
        // Many networks together push out of those that have the most.
        let many: Vec<_> = (0..=u8::MAX)
            .flat_map(|n| (0..8).map(move |m| (n, m)))
            .map(|(n, m)| strangers.come(at(n, 100 + m)))
            .collect();
        assert_eq!(strangers.all().count, STRANGERS_MAX);
        assert!(!*other.cut.borrow() || STRANGERS_MAX < 2_048);
        drop((many, flood, other));
        assert!(strangers.all().by.is_empty() && strangers.all().count == 0);
    }
}
