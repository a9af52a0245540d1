//! Refusals that are too many for an entry of the journal each: counted by network, and written together when their minute is over. So every refusal is on the
//! record, and nobody fills it. Time is an argument.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{Timestamp, network};

const MINUTE_NANOS: i64 = 60 * 1_000_000_000;
/// Networks that are counted one by one; those beyond share a count.
const NETWORKS_MAX: usize = 4_096;
/// Networks that get an entry of their own for a minute: those with the most. Others share one.
const ENTRIES_MAX: usize = 32;

/// How many, by what they were refused for.
type Counts = BTreeMap<&'static str, u64>;

/// Of this minute.
#[derive(Debug, Default)]
pub(super) struct Unsaid(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    /// When the first of them came; `None`: there are none.
    began: Option<Timestamp>,
    by: BTreeMap<IpAddr, Counts>,
    others: Counts,
}

/// What one entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    began: Timestamp,
    /// Of which network; `None`: of several.
    of: Option<IpAddr>,
    networks: usize,
    counts: Counts,
}

impl Unsaid {
    /// One more was refused.
    pub(super) fn add(&self, code: &'static str, from: IpAddr, now: Timestamp) {
        let mut minute = self.locked();
        minute.add(network(from), &Counts::from([(code, 1)]), now);
    }

    /// What is to be written: of a minute that is over, or of any.
    pub(super) fn take(&self, now: Timestamp, any: bool) -> Vec<Said> {
        let mut minute = self.locked();
        let Some(began) = minute.began else { return Vec::new() };
        let since = now.as_nanos().saturating_sub(began.as_nanos());
        // A clock that was put back keeps nothing from being written.
        if !any && (0..MINUTE_NANOS).contains(&since) {
            return Vec::new();
        }
        let Minute { by, others, .. } = std::mem::take(&mut *minute);
        drop(minute);
        said(began, by, others)
    }

    /// It could not be written, and is written with the next ones.
    pub(super) fn put_back(&self, said: &Said) {
        let mut minute = self.locked();
        match said.of {
            Some(network) => minute.add(network, &said.counts, said.began),
            None => {
                minute.began.get_or_insert(said.began);
                sum(&mut minute.others, &said.counts);
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Minute> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Minute {
    fn add(&mut self, network: IpAddr, counts: &Counts, now: Timestamp) {
        self.began.get_or_insert(now);
        let full = self.by.len() >= NETWORKS_MAX && !self.by.contains_key(&network);
        sum(if full { &mut self.others } else { self.by.entry(network).or_default() }, counts);
    }
}

fn said(began: Timestamp, by: BTreeMap<IpAddr, Counts>, mut others: Counts) -> Vec<Said> {
    let mut by: Vec<(IpAddr, Counts)> = by.into_iter().collect();
    by.sort_by_key(|(_, counts)| std::cmp::Reverse(total(counts)));
    let rest = by.split_off(by.len().min(ENTRIES_MAX));
    let networks = rest.len();
    rest.iter().for_each(|(_, counts)| sum(&mut others, counts));
    let one = |(of, counts)| Said { began, of: Some(of), networks: 1, counts };
    let all = (!others.is_empty()).then_some(Said { began, of: None, networks, counts: others });
    by.into_iter().map(one).chain(all).collect()
}

impl Said {
    /// A line for the journal.
    pub(super) fn line(&self) -> String {
        let mut line = format!("{} more refused from ", total(&self.counts));
        let from = match self.of {
            Some(IpAddr::V6(network)) => format!("{network}/64"),
            Some(address) => address.to_string(),
            None => format!("{} other networks or more", self.networks),
        };
        let _ = write!(line, "{from} in the minute from {}:", self.began);
        for (at, (code, count)) in self.counts.iter().enumerate() {
            let _ = write!(line, "{} {code} {count}", if at == 0 { "" } else { "," });
        }
        line
    }
}

fn sum(to: &mut Counts, more: &Counts) {
    for (code, count) in more {
        let has = to.entry(code).or_default();
        *has = has.saturating_add(*count);
    }
}

fn total(counts: &Counts) -> u64 {
    counts.values().copied().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_900_000_000 + seconds, 0)
    }

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn a_minute_of_a_network_is_one_line() {
        let unsaid = Unsaid::default();
        assert!(unsaid.take(at(0), true).is_empty(), "nothing is nothing");
        for n in 0..5 {
            unsaid.add("identity.request", "2001:db8::1".parse().unwrap(), at(n));
            unsaid.add("identity.too-early", "2001:db8::ffff".parse().unwrap(), at(n));
        }
        unsaid.add("identity.request", "::ffff:192.0.2.7".parse().unwrap(), at(59));
        assert!(unsaid.take(at(59), false).is_empty(), "it is not over");
        let said = unsaid.take(at(60), false);
        let lines: Vec<String> = said.iter().map(Said::line).collect();
        assert_eq!(
            lines,
            [
                "10 more refused from 2001:db8::/64 in the minute from 2030-03-17T17:46:40.000000Z: identity.request 5, identity.too-early 5",
                "1 more refused from 192.0.2.7 in the minute from 2030-03-17T17:46:40.000000Z: identity.request 1",
            ]
        );
        assert!(unsaid.take(at(120), false).is_empty(), "said once");
        // A disk that is full keeps it for later.
        said.iter().for_each(|said| unsaid.put_back(said));
        unsaid.add("identity.request", ip(1), at(70));
        assert_eq!(unsaid.take(at(90), false).len(), 3);
        // So does a clock that was put back.
        unsaid.add("identity.request", ip(1), at(1_000));
        assert_eq!(unsaid.take(at(0), false).len(), 1);
        unsaid.add("identity.request", ip(1), at(0));
        assert_eq!(unsaid.take(at(1), true).len(), 1, "it ends");
    }

    #[test]
    fn a_flood_of_networks_is_few_lines_and_none_is_left_out() {
        let unsaid = Unsaid::default();
        for n in 0..20_000_u32 {
            unsaid.add("identity.request", ip(n), at(0));
        }
        for _ in 0..7 {
            unsaid.add("identity.request", ip(9), at(0));
        }
        assert_eq!(unsaid.locked().by.len(), NETWORKS_MAX);
        let said = unsaid.take(at(60), false);
        assert_eq!(said.len(), ENTRIES_MAX + 1);
        assert_eq!(said.first().map(|said| (said.of, total(&said.counts))), Some((Some(ip(9)), 8)));
        assert_eq!(said.iter().map(|said| total(&said.counts)).sum::<u64>(), 20_007);
        let last = said.last().unwrap();
        assert!(last.line().contains("from 4064 other networks or more"), "{}", last.line());
        unsaid.put_back(last);
        assert_eq!(unsaid.take(at(60), true).len(), 1);
    }
}
