//! Connections that are open, by the key that opened them: so that one whose key is revoked ends while it is open. And strangers, of whom
//! each network has few.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use estate::side::Digest;
use tokio::sync::watch;

use crate::line::pace::network;

/// Connections of one key.
const OF_ONE_MAX: usize = 4;
/// Connections of one network that have shown no certificate.
const STRANGERS_OF_ONE_MAX: usize = 32;
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

/// Connections without a certificate, by network.
#[derive(Clone, Debug, Default)]
pub(super) struct Strangers(Arc<Mutex<(usize, BTreeMap<IpAddr, usize>)>>);

/// One of them; counts until it is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    from: IpAddr,
    of: Strangers,
}

impl Strangers {
    /// One more; `None`: there are too many, from there or in all.
    pub(super) fn come(&self, from: IpAddr) -> Option<Stranger> {
        let from = network(from);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, by) = &mut *all;
        let of_one = by.get(&from).copied().unwrap_or(0);
        if *count >= STRANGERS_MAX || of_one >= STRANGERS_OF_ONE_MAX {
            return None;
        }
        *count = count.saturating_add(1);
        by.insert(from, of_one.saturating_add(1));
        drop(all);
        Some(Stranger { from, of: self.clone() })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut all = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, by) = &mut *all;
        *count = count.saturating_sub(1);
        if let Some(of_one) = by.get_mut(&self.from) {
            *of_one = of_one.saturating_sub(1);
            if *of_one == 0 {
                by.remove(&self.from);
            }
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
    fn one_network_does_not_take_all_the_room() {
        let strangers = Strangers::default();
        let at = |n: u16| IpAddr::from([192, 0, u8::try_from(n >> 8).unwrap(), 2]);
        let of_one: Vec<_> =
            (0..STRANGERS_OF_ONE_MAX).filter_map(|_| strangers.come(at(0))).collect();
        assert_eq!(of_one.len(), STRANGERS_OF_ONE_MAX);
        assert!(strangers.come(at(0)).is_none());
        let other = strangers.come(at(256));
        assert!(other.is_some());
        drop(of_one);
        assert!(strangers.come(at(0)).is_some());
    }
}
