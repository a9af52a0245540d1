//! Connections that are open on a door with TLS, by whom they speak for: one registry for all doors, so that whoever is not believed any
//! more is cut while he is connected, and not at his next handshake. And strangers, who give their places to each other.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::network;
use tokio::sync::watch;

/// Connections of one. Its newest are real: what a dead link left behind goes.
const OF_ONE_MAX: usize = 4;
/// Connections of one network that have shown no certificate.
const STRANGERS_OF_ONE_MAX: usize = 64;
/// Connections of all networks that have shown none.
const STRANGERS_MAX: usize = 1_024;

/// The connections of a door: who each speaks for, and what it has shown for that.
#[derive(Debug)]
pub(crate) struct Sessions<W, S>(Mutex<All<W, S>>);

#[derive(Debug)]
struct All<W, S> {
    last: u64,
    open: BTreeMap<W, BTreeMap<u64, Open<S>>>,
}

#[derive(Debug)]
struct Open<S> {
    shown: S,
    cut: watch::Sender<bool>,
}

/// One connection. It is open until this is dropped.
#[derive(Debug)]
pub(crate) struct Session<W: Ord, S> {
    pub(crate) who: W,
    pub(crate) shown: S,
    number: u64,
    cut: watch::Receiver<bool>,
    of: Arc<Sessions<W, S>>,
}

impl<W: Ord, S> Session<W, S> {
    /// Ends when the connection has to end.
    pub(crate) async fn cut(&self) {
        ended(&self.cut).await;
    }
}

impl<W: Ord, S> Drop for Session<W, S> {
    fn drop(&mut self) {
        let mut all = self.of.all();
        if let Some(open) = all.open.get_mut(&self.who) {
            open.remove(&self.number);
            if open.is_empty() {
                all.open.remove(&self.who);
            }
        }
    }
}

impl<W, S> Default for Sessions<W, S> {
    fn default() -> Self {
        Self(Mutex::new(All { last: 0, open: BTreeMap::new() }))
    }
}

impl<W, S> Sessions<W, S> {
    fn all(&self) -> MutexGuard<'_, All<W, S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Ord + Clone, S: Clone> Sessions<W, S> {
    /// One more connection. The oldest goes where there are too many.
    pub(crate) fn open(self: &Arc<Self>, who: W, shown: S) -> Session<W, S> {
        let mut all = self.all();
        all.last = all.last.saturating_add(1);
        let number = all.last;
        let (sender, cut) = watch::channel(false);
        let open = all.open.entry(who.clone()).or_default();
        while open.len() >= OF_ONE_MAX
            && let Some((_, oldest)) = open.pop_first()
        {
            let _ = oldest.cut.send(true);
        }
        open.insert(number, Open { shown: shown.clone(), cut: sender });
        Session { who, shown, number, cut, of: Arc::clone(self) }
    }

    /// Cuts what is not believed any more: of some, or of all. How many.
    pub(crate) fn recheck(&self, of: Option<&[W]>, believes: impl Fn(&W, &S) -> bool) -> usize {
        let all = self.all();
        let looked_at: Vec<_> = match of {
            Some(of) => of.iter().filter_map(|who| all.open.get_key_value(who)).collect(),
            None => all.open.iter().collect(),
        };
        let mut cut = 0_usize;
        for (who, open) in looked_at {
            for one in open.values().filter(|one| !believes(who, &one.shown)) {
                if !one.cut.send_replace(true) {
                    cut = cut.saturating_add(1);
                }
            }
        }
        cut
    }

    /// Cuts everything.
    pub(crate) fn close(&self) {
        for one in self.all().open.values().flat_map(BTreeMap::values) {
            let _ = one.cut.send(true);
        }
    }

    /// Whether somebody is connected.
    pub(crate) fn has(&self, who: &W) -> bool {
        self.all().open.contains_key(who)
    }

    /// Who is connected.
    pub(crate) fn who(&self) -> Vec<W> {
        self.all().open.keys().cloned().collect()
    }
}

/// Ends when a connection is cut, or nobody is left who could cut it.
async fn ended(cut: &watch::Receiver<bool>) {
    let _ = cut.clone().wait_for(|cut| *cut).await;
}

/// Connections that have shown no certificate, by network, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strangers(Arc<Mutex<Come>>);

#[derive(Debug, Default)]
struct Come {
    last: u64,
    count: usize,
    by: BTreeMap<IpAddr, BTreeMap<u64, watch::Sender<bool>>>,
}

/// One of them; counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    from: IpAddr,
    number: u64,
    cut: watch::Receiver<bool>,
    of: Strangers,
}

impl Stranger {
    /// Ends when it has to give its place to another.
    pub(crate) async fn cut(&self) {
        ended(&self.cut).await;
    }
}

impl Strangers {
    /// One more. Where there are too many the oldest of its network goes, or of the network that has the most: whoever floods pushes out
    /// himself, and a device that says who it is in its first second finds its way in.
    pub(crate) fn come(&self, from: IpAddr) -> Stranger {
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
    use estate::side::Digest;

    use super::*;

    fn key(n: u8) -> Digest {
        Digest([n; 32])
    }

    #[test]
    fn a_key_that_is_not_believed_loses_all_its_connections_and_no_other_does() {
        let all = Arc::new(Sessions::default());
        let open = |who: u8, shown: u8| all.open(key(who), shown);
        let (a, b, other) = (open(1, 7), open(1, 8), open(2, 7));
        assert_eq!(all.recheck(Some(&[key(1), key(3)]), |_, _| true), 0);
        assert_eq!(all.recheck(Some(&[key(1)]), |_, shown| *shown == 8), 1);
        assert!(*a.cut.borrow() && !*b.cut.borrow() && !*other.cut.borrow());
        assert_eq!(all.recheck(Some(&[key(1)]), |_, _| false), 1, "one was cut already");
        assert_eq!(all.recheck(None, |who, _| *who == key(2)), 0);
        assert!(all.has(&key(1)) && !all.has(&key(3)));
        drop((a, b));
        assert_eq!(all.who(), [key(2)], "nothing is left of those that ended");
        let many: Vec<_> = (0..OF_ONE_MAX).map(|_| open(2, 7)).collect();
        assert!(*other.cut.borrow(), "the oldest gives its place");
        assert!(many.iter().all(|one| !*one.cut.borrow()));
        all.close();
        assert!(many.iter().all(|one| *one.cut.borrow()));
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
