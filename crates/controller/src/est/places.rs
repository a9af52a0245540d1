//! From where a device's key is used, and which of its certificates it shows. A key that is used here, then there, then here again within an hour is in
//! two places, or its device goes to and fro; one that only went is not told of. Addresses of IPv4 and of IPv6 are compared with their own kind: a
//! device that has both changes between them as it likes. Time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use estate::Estate;
use estate::identities::{Command, Serial, Showing};
use model::{DeviceId, Timestamp, network};
use pki::{Certificate, Number};

use super::Est;
use super::door::Caller;
use super::enrol::{self, actor, command};
use crate::api::Problem;
use crate::published::own;

/// How long it is remembered where a key was, in nanoseconds: an hour. So long it is not told of again, too.
const WITHIN_NANOS: i64 = 3_600 * 1_000_000_000;
/// Devices that are remembered. Where there are more of them within an hour, those of before that are forgotten sooner.
const DEVICES_MAX: usize = 262_144;
/// Places of one device that are remembered, the last ones.
const PLACES_MAX: usize = 4;
/// What it is called.
pub(super) const CODE: &str = "identity.key-at-two-places";

/// Where devices were lately.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Since when `new` is filled.
    began: Option<Timestamp>,
    new: BTreeMap<DeviceId, Seen>,
    /// Those of before that; they go together.
    old: BTreeMap<DeviceId, Seen>,
}

/// Of one device.
#[derive(Debug, Default)]
struct Seen {
    /// The last one at the end.
    places: Vec<Place>,
    /// When it was told of last.
    told: Option<Timestamp>,
    /// The places are at two sites.
    apart: bool,
}

#[derive(Debug)]
struct Place {
    network: IpAddr,
    address: IpAddr,
    at: Timestamp,
}

/// A key is used here, and was used there since it was here last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Twice {
    here: IpAddr,
    there: IpAddr,
}

impl Places {
    /// A device's key is used from an address. `Some`: at two places, which is not told of yet.
    fn used(&self, device: &DeviceId, from: IpAddr, now: Timestamp) -> Option<Twice> {
        self.kept().of(device, now).used(from, now)
    }

    /// It was told of: at two sites, or not; or it could not be told of, and is the next time.
    fn settle(&self, device: &DeviceId, told: bool, apart: bool, now: Timestamp) {
        let mut kept = self.kept();
        let seen = kept.of(device, now);
        seen.apart = apart;
        if !told {
            seen.told = None;
        }
    }

    /// Whether a device's key was used at two sites within the hour.
    pub(super) fn is_apart(&self, device: &DeviceId, now: Timestamp) -> bool {
        let kept = self.kept();
        let seen = kept.new.get(device).or_else(|| kept.old.get(device));
        seen.is_some_and(|seen| seen.apart && seen.told.is_some_and(|at| lately(at, now)))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn of(&mut self, device: &DeviceId, now: Timestamp) -> &mut Seen {
        let over = self.began.is_none_or(|began| !lately(began, now));
        if over || self.new.len() >= DEVICES_MAX {
            (self.began, self.old) = (Some(now), std::mem::take(&mut self.new));
        }
        let Self { new, old, .. } = self;
        new.entry(device.clone()).or_insert_with(|| old.remove(device).unwrap_or_default())
    }
}

impl Seen {
    fn used(&mut self, from: IpAddr, now: Timestamp) -> Option<Twice> {
        let here = network(from);
        let kind = |place: &&Place| place.network.is_ipv4() == here.is_ipv4();
        let last = self.places.iter().rev().find(kind).map(|place| (place.network, place.address));
        let before = self.places.iter().position(|place| place.network == here);
        let before = before.map(|place| self.places.remove(place));
        let again = before.is_some_and(|before| lately(before.at, now));
        if self.places.len() >= PLACES_MAX {
            self.places.remove(0);
        }
        self.places.push(Place { network: here, address: from, at: now });
        let (_, there) = last.filter(|(network, _)| again && *network != here)?;
        if self.told.is_some_and(|at| lately(at, now)) {
            return None;
        }
        self.told = Some(now);
        Some(Twice { here: from, there })
    }
}

/// A clock that was put back ends it.
fn lately(at: Timestamp, now: Timestamp) -> bool {
    (0..=WITHIN_NANOS).contains(&now.as_nanos().saturating_sub(at.as_nanos()))
}

/// The serial number of a certificate, if it is one of ours.
pub(super) fn serial_of(certificate: &Certificate) -> Option<Serial> {
    own(&Number::new(certificate.serial()).ok()?)
}

/// A device has come, with a certificate and its key.
pub(super) async fn came(est: &Arc<Est>, caller: &Caller) {
    used(est, caller).await;
    let (Some(device), Some(serial), Ok(who)) = (device(est, caller), caller.serial, actor())
    else {
        return;
    };
    let showing = Showing { device, serial, from: caller.from.ip().to_canonical() };
    let show = |batch| estate::Command::Identity(Command::Show { batch });
    let (one, now) = (show(vec![showing.clone()]), est.hub.now());
    // Mostly there is nothing to write.
    let news = est.hub.read(|estate| estate.decide(&one, &who, now).is_ok_and(|e| !e.is_empty()));
    if !news {
        return;
    }
    let at = Arc::clone(est);
    let settle = move |(): &(), batch: Vec<Showing>| {
        let count = batch.len();
        let why = "devices show certificates";
        let done = at.hub.command(&who, why, show(batch), BTreeSet::new());
        done.map(|_| vec![(); count]).map_err(Problem::from)
    };
    // What cannot be written now is written when it comes again.
    let _ = est.shows.write((), vec![showing], settle).await;
}

/// A device's key is used.
pub(super) async fn used(est: &Arc<Est>, caller: &Caller) {
    let Some(device) = device(est, caller) else { return };
    let now = est.hub.now();
    let Some(twice) = est.places.used(&device, caller.from.ip().to_canonical(), now) else {
        return;
    };
    let (what, apart) = est.hub.read(|estate| line(estate, twice));
    let find = Command::Find { code: CODE.to_owned(), device: device.clone(), what };
    let told = command(est, "a key is used at two places", find).await.is_ok();
    est.places.settle(&device, told, apart, now);
}

fn device(est: &Est, caller: &Caller) -> Option<DeviceId> {
    let (key, now) = (caller.key?, est.hub.now());
    est.hub.read(|estate| estate.speaks(&key, now).map(|device| device.id.clone()))
}

/// What people read, and whether it is at two sites.
fn line(estate: &Estate, twice: Twice) -> (String, bool) {
    let Twice { here, there } = twice;
    let [at_here, at_there] = [here, there].map(|address| enrol::at(estate, address));
    let sites = at_here.zip(at_there).map(|(here, there)| (&here.site, &there.site));
    let named = |address: IpAddr, device: Option<&estate::devices::Device>| match device {
        Some(device) => format!("{address} (site {})", device.site),
        None => address.to_string(),
    };
    let what = format!(
        "its key was used from {}, from {}, and from the first again within an hour: it is in two places, or the device goes to and fro",
        named(here, at_here),
        named(there, at_there)
    );
    (what, sites.is_some_and(|(here, there)| here != there))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_900_000_000 + seconds, 0)
    }

    fn id(name: &str) -> DeviceId {
        DeviceId::new(name).unwrap()
    }

    /// What is told of uses of one key: seconds, and addresses.
    fn told(uses: &[(i64, &str)]) -> Vec<i64> {
        let (places, device) = (Places::default(), id("a"));
        let told = uses.iter().filter(|(seconds, from)| {
            places.used(&device, from.parse().unwrap(), at(*seconds)).is_some()
        });
        told.map(|(seconds, _)| *seconds).collect()
    }

    #[test]
    fn a_key_that_comes_back_within_the_hour_is_at_two_places_and_one_that_moves_is_not() {
        let (a, b, c, d) = ("192.0.2.7", "198.51.100.9", "203.0.113.1", "203.0.113.2");
        // It stays, moves, moves on.
        assert_eq!(told(&[(0, a), (10, a), (20, b), (30, b), (40, c), (50, d)]), [0; 0]);
        // It comes back: told once in an hour.
        assert_eq!(told(&[(0, a), (10, b), (20, a), (30, b), (40, a)]), [20]);
        assert_eq!(
            told(&[(0, a), (10, b), (20, a), (3_000, b), (3_100, a), (3_700, b)]),
            [20, 3_700]
        );
        assert_eq!(told(&[(0, a), (10, b), (20, c), (30, a)]), [30], "by a way around");
        // An hour later that is another day at work.
        assert_eq!(told(&[(0, a), (10, b), (3_601, a)]), [0; 0]);
        assert_eq!(
            told(&[(0, a), (3_590, a), (3_595, b), (7_190, a)]),
            [7_190],
            "since it was used last"
        );
        // A network of IPv6 is one place, IPv4 in IPv6 is IPv4, and a device may have both.
        let (v6, same, other) = ("2001:db8::1", "2001:db8::ffff", "2001:db8:1::1");
        assert_eq!(told(&[(0, v6), (1, same), (2, v6), (3, a), (4, v6), (5, a)]), [0; 0]);
        assert_eq!(told(&[(0, v6), (1, other), (2, a), (3, v6)]), [3]);
        assert_eq!(told(&[(0, a), (1, "::ffff:192.0.2.7"), (2, a)]), [0; 0]);
        // A clock that was put back accuses nobody.
        assert_eq!(told(&[(100, a), (110, b), (50, a)]), [0; 0]);
    }

    #[test]
    fn what_could_not_be_told_is_told_the_next_time_and_two_sites_are_apart_for_an_hour() {
        let (places, device) = (Places::default(), id("a"));
        let [here, there] = ["192.0.2.7", "198.51.100.9"].map(|a| a.parse().unwrap());
        let used = |from, seconds| places.used(&device, from, at(seconds));
        assert_eq!((used(here, 0), used(there, 1)), (None, None));
        assert_eq!(used(here, 2), Some(Twice { here, there }));
        places.settle(&device, false, true, at(2));
        assert!(!places.is_apart(&device, at(2)));
        assert_eq!(used(there, 3), Some(Twice { here: there, there: here }));
        places.settle(&device, true, true, at(3));
        assert_eq!(used(here, 4), None);
        assert!(places.is_apart(&device, at(3_603)) && !places.is_apart(&device, at(3_604)));
        assert!(!places.is_apart(&id("b"), at(3)));
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let places = Places::default();
        let from = "192.0.2.7".parse().unwrap();
        for n in 0..DEVICES_MAX + 10 {
            places.used(&id(&format!("d{n}")), from, at(0));
        }
        let kept = places.kept();
        assert_eq!((kept.new.len(), kept.old.len()), (10, DEVICES_MAX));
        drop(kept);
        // Those of before are not lost at once, and go in the end.
        places.used(&id("d0"), "198.51.100.9".parse().unwrap(), at(1));
        assert!(places.used(&id("d0"), from, at(2)).is_some());
        places.used(&id("x"), from, at(3_601));
        places.used(&id("x"), from, at(7_300));
        let kept = places.kept();
        assert!(kept.new.len() + kept.old.len() < 20);
        let mut seen = Seen::default();
        for n in 0..=u8::MAX {
            seen.used([192, 0, 2, n].into(), at(0));
        }
        assert_eq!(seen.places.len(), PLACES_MAX);
    }
}
