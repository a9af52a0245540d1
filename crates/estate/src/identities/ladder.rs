//! From evidence to a level: the lowest of what the credential shows, how fresh it is, and who vouches for it. Health is beside it:
//! [`crate::devices::Device::assurance`].

use model::{Assurance, DeviceId, Timestamp};

use super::{Record, Voucher};

/// What keeps a device from standing higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// There is no evidence but what is seen on the wire.
    Evidence,
    /// The credential shows no more.
    Credential,
    /// Evidence for more has ended.
    Freshness,
    /// Who vouches for it stands no higher, or vouching goes no further.
    Voucher,
    /// How it behaves.
    Health,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Evidence, Self::Credential, Self::Freshness, Self::Voucher, Self::Health];

    /// Its word in documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Evidence => "evidence",
            Self::Credential => "credential",
            Self::Freshness => "freshness",
            Self::Voucher => "voucher",
            Self::Health => "health",
        }
    }

    /// The limit of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.word() == word)
    }
}

/// How high a device stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its level.
    pub level: Assurance,
    /// Why it is no higher.
    pub limit: Limit,
    /// When it falls, unless something is renewed.
    pub until: Option<Timestamp>,
}

impl Standing {
    /// Somebody who has shown nothing.
    pub const NOTHING: Self =
        Self { level: Assurance::Observed, limit: Limit::Evidence, until: None };
}

/// How high evidence puts a device, with a pre-shared key of its own `proved` until then; `of_gateway` says how high a gateway stands.
pub fn standing(
    record: Option<&Record>,
    proved: Option<Timestamp>,
    of_gateway: &dyn Fn(&DeviceId) -> Assurance,
    now: Timestamp,
) -> Standing {
    let none = Record::default();
    let record = record.unwrap_or(&none);
    let own = record.credentials.iter().filter(|c| c.is_good(now));
    let own = own.map(|c| {
        let attested = record
            .attestation
            .as_ref()
            .filter(|a| a.until > now && a.key == c.key && c.level >= Assurance::HardwareKey);
        match attested {
            Some(a) => (Assurance::Attested, Limit::Credential, a.until.min(c.until)),
            None => (c.level, Limit::Credential, c.until),
        }
    });
    let vouched = record.voucher.iter().filter(|v| v.until() > now).map(|voucher| {
        let level = match voucher {
            Voucher::People { .. } => Assurance::Vouched,
            Voucher::Gateway { gateway, .. } => of_gateway(gateway).min(Assurance::Vouched),
        };
        (level, Limit::Voucher, voucher.until())
    });
    let shared = proved.filter(|until| *until > now);
    let shared = shared.map(|until| (Assurance::SharedSecret, Limit::Credential, until));
    let best = own.chain(vouched).chain(shared).max_by_key(|(level, _, until)| (*level, *until));
    let (level, limit, until) = match best {
        Some((level, limit, until)) => (level, limit, Some(until)),
        None => (Assurance::Observed, Limit::Evidence, None),
    };
    let limit = if ended(record, proved, now) > Some(level) { Limit::Freshness } else { limit };
    Standing { level, limit, until }
}

/// The highest level that evidence showed which is over, and was not taken back.
fn ended(record: &Record, proved: Option<Timestamp>, now: Timestamp) -> Option<Assurance> {
    let over = record.credentials.iter().filter(|c| c.revoked.is_none() && c.until <= now);
    let vouched = record.voucher.iter().filter(|v| v.until() <= now);
    let good = |a: &super::Attestation| {
        let of = record.credentials.iter().filter(|c| c.key == a.key && c.revoked.is_none());
        of.into_iter().any(|c| c.level >= Assurance::HardwareKey)
    };
    let attested = record.attestation.iter().filter(|a| a.until <= now && good(a));
    over.map(|c| c.level)
        .chain(vouched.map(|_| Assurance::Vouched))
        .chain(attested.map(|_| Assurance::Attested))
        .chain(proved.filter(|until| *until <= now).map(|_| Assurance::SharedSecret))
        .max()
}

/// The step below.
pub fn lower(level: Assurance) -> Assurance {
    let below = usize::from(level.rank()).saturating_sub(1);
    Assurance::ALL.get(below).copied().unwrap_or_default()
}

/// What behaviour leaves of a level: it only lowers.
pub fn healthy(level: Assurance, posture: Option<&str>) -> Assurance {
    match posture {
        Some("quarantined") => Assurance::Observed,
        Some("watched") => level.min(Assurance::Vouched),
        _ => level,
    }
}
