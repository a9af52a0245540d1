//! Sites: places, the identity with which each is enrolled, and what it says of what it enforces.
//!
//! A bundle is what a site is meant to enforce, numbered by generations that only grow. A site acknowledges each as
//! *applied* and, after reading back its kernel, as *verified*; nobody else can say so.
//!
//! An answer may be lost on its way to a site. So a site may enrol again with the secret it had and the key that it has by now, and after a
//! renewal the key before is believed until the new one was used, for [`BEFORE_S`] at most.
//!
//! What happened at a site comes in numbered batches. The highest number is part of the state: a batch that comes twice counts once, and one
//! that comes too early is refused.

mod decide;

use std::collections::{BTreeMap, VecDeque};

use model::{SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{At, Refusal, Sort};

/// Sites of one estate.
pub const SITES_MAX: usize = 10_000;
/// Longest life of an enrolment token, in seconds: a week.
pub const TOKEN_S_MAX: i64 = 7 * 86_400;
/// How long the key before a renewal is believed, in seconds, unless the new one is used sooner.
pub const BEFORE_S: i64 = 86_400;
/// What happened last at a site, kept for people to see; all of it is in the journal.
pub const HAPPENED_MAX: usize = 100;
/// Things that happened, of one batch.
pub const TELL_MAX: usize = 1_000;

/// What can be commanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// There is a site.
    Create {
        /// Its id.
        id: SiteId,
        /// For people.
        name: String,
    },
    /// Whoever knows a secret may enrol as this site, once.
    IssueToken {
        /// Which.
        id: SiteId,
        /// SHA-256 of the secret, in hex.
        secret_sha256: String,
        /// Until when.
        expires_at: Timestamp,
    },
    /// It enrolled with a token; or again, with the same key.
    Enrol {
        /// Which.
        id: SiteId,
        /// SHA-256 of the secret it knows, in hex.
        secret_sha256: String,
        /// What it has from now on.
        identity: Identity,
    },
    /// It renewed its certificate.
    Renew {
        /// Which.
        id: SiteId,
        /// SHA-256 of the key that it asked with, in hex.
        key_sha256: String,
        /// What it has from now on.
        identity: Identity,
    },
    /// It is not believed any more, from now on.
    Revoke {
        /// Which.
        id: SiteId,
    },
    /// What it is meant to enforce.
    Offer {
        /// Which.
        id: SiteId,
        /// The bundle.
        bundle: Bundle,
    },
    /// What it says of what it enforces.
    Acknowledge {
        /// Which.
        id: SiteId,
        /// What it says.
        ack: Ack,
    },
    /// It was here with the key that it has: the one before is over.
    Settle {
        /// Which.
        id: SiteId,
        /// SHA-256 of the key that it used, in hex.
        key_sha256: String,
    },
    /// It tells what happened there.
    Tell {
        /// Which.
        id: SiteId,
        /// Number of the batch, from 1, without gaps.
        number: u64,
        /// What, in order.
        happened: Vec<Happened>,
    },
}

/// A certificate of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// SHA-256 of its public key, in hex.
    pub key_sha256: String,
    /// Serial number, in hex.
    pub serial: String,
    /// Until when it is good.
    pub not_after: Timestamp,
}

/// What a site is meant to enforce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Its number at this site; only grows.
    pub generation: u64,
    /// SHA-256 over its files, in hex.
    pub content: String,
}

/// How far a bundle has come at a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Number of the bundle.
    pub generation: u64,
    /// How far.
    pub progress: Progress,
    /// Generation of the kernel's ruleset, which the site numbers by itself.
    pub kernel_generation: Option<u64>,
    /// Why it is no further; empty where it is.
    pub why: String,
}

/// How far something is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// The site refuses it, or its kernel does; what was there before stays.
    Refused,
    /// The kernel took it.
    Applied,
    /// It was read back.
    Verified,
}

/// One thing that happened at a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// When, by the site's clock.
    pub at: Timestamp,
    /// Stable word: `leases-ended`, `break-glass`….
    pub kind: String,
    /// Whom or what it concerns.
    pub subject: String,
    /// One line.
    pub what: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// There is a site.
    Created {
        /// Its id.
        id: SiteId,
        /// For people.
        name: String,
    },
    /// There is a token.
    TokenIssued {
        /// For which.
        id: SiteId,
        /// SHA-256 of the secret, in hex.
        secret_sha256: String,
        /// Until when.
        expires_at: Timestamp,
    },
    /// It has a certificate; the token is used up.
    Enrolled {
        /// Which.
        id: SiteId,
        /// The certificate.
        identity: Identity,
        /// With the certificate it had, not with a token: that one is believed until this one was used.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        renewed: bool,
    },
    /// It is not believed any more.
    Revoked {
        /// Which.
        id: SiteId,
    },
    /// It is meant to enforce this.
    Offered {
        /// Which.
        id: SiteId,
        /// This.
        bundle: Bundle,
    },
    /// It says so.
    Acknowledged {
        /// Which.
        id: SiteId,
        /// What.
        ack: Ack,
    },
    /// It used its new key; the one before is over.
    Settled {
        /// Which.
        id: SiteId,
    },
    /// That happened there. A long batch is several events of one number.
    Told {
        /// Which.
        id: SiteId,
        /// Number of the batch.
        number: u64,
        /// What, in order.
        happened: Vec<Happened>,
    },
}

impl Event {
    /// Its word in the journal.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::TokenIssued { .. } => "token-issued",
            Self::Enrolled { .. } => "enrolled",
            Self::Revoked { .. } => "revoked",
            Self::Offered { .. } => "offered",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Settled { .. } => "settled",
            Self::Told { .. } => "told",
        }
    }

    /// Which site it concerns.
    pub const fn site(&self) -> &SiteId {
        match self {
            Self::Created { id, .. }
            | Self::TokenIssued { id, .. }
            | Self::Enrolled { id, .. }
            | Self::Revoked { id }
            | Self::Offered { id, .. }
            | Self::Acknowledged { id, .. }
            | Self::Settled { id }
            | Self::Told { id, .. } => id,
        }
    }
}

/// One site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// For people.
    pub name: String,
    /// An open enrolment: SHA-256 of the secret, and until when.
    token: Option<(String, Timestamp)>,
    /// The enrolment that it used, for as long as it would have been open.
    used: Option<(String, Timestamp)>,
    /// The certificate it has.
    pub identity: Option<Identity>,
    /// The one before, until the one it has was used, and until when that may take.
    before: Option<(Identity, Timestamp)>,
    /// It was revoked and has not enrolled since.
    pub revoked: bool,
    /// What it is meant to enforce.
    pub intended: Option<Bundle>,
    /// Highest generation the kernel took.
    pub applied: Option<u64>,
    /// Highest generation that was read back.
    pub verified: Option<u64>,
    /// What it said last.
    pub ack: Option<Ack>,
    /// Number of the last batch of what happened there.
    pub told: u64,
    /// What happened last, the latest at the end.
    pub happened: VecDeque<Happened>,
    /// Number of the entry that changed it last.
    pub changed_by: u64,
}

impl Site {
    /// Somebody may enrol as it at a time, and until when.
    pub fn token_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.token.as_ref().map(|(_, until)| *until).filter(|until| *until > now)
    }

    /// Whether a certificate with this key is believed at a time.
    pub fn believes(&self, key_sha256: &str, now: Timestamp) -> bool {
        let before = self.before.as_ref().filter(|(_, until)| *until > now);
        let mut good = self.identity.iter().chain(before.map(|(identity, _)| identity));
        !self.revoked && good.any(|i| i.key_sha256 == key_sha256 && i.not_after > now)
    }

    /// Whether a key is the one it has, and the one before would still be believed.
    pub fn unsettled(&self, key_sha256: &str) -> bool {
        self.before.is_some() && self.identity.as_ref().is_some_and(|i| i.key_sha256 == key_sha256)
    }

    /// Whether who knows a secret and holds a key may enrol as it at a time: while the token is open, and again with the same key.
    pub fn enrols(&self, secret_sha256: &str, key_sha256: &str, now: Timestamp) -> bool {
        let is = |token: &Option<(String, Timestamp)>| {
            token.as_ref().is_some_and(|(hash, until)| hash == secret_sha256 && *until > now)
        };
        let has = self.identity.as_ref().is_some_and(|i| i.key_sha256 == key_sha256);
        is(&self.token) || (is(&self.used) && has && self.believes(key_sha256, now))
    }
}

/// All sites.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sites {
    all: BTreeMap<SiteId, Site>,
}

impl Sites {
    /// A site by its id.
    pub fn get(&self, id: &SiteId) -> Option<&Site> {
        self.all.get(id)
    }

    /// All sites by id.
    pub fn iter(&self) -> impl Iterator<Item = &Site> {
        self.all.values()
    }

    /// A site, or that there is none.
    pub fn one(&self, id: &SiteId) -> Result<&Site, Refusal> {
        self.all.get(id).ok_or_else(|| {
            Refusal::new(
                Sort::Unknown,
                "site.unknown",
                format!("site {id}"),
                "there is none with this id",
            )
            .help("`ringfence get sites` lists them")
        })
    }

    /// Who may enrol with a secret.
    pub fn of_token(&self, secret_sha256: &str, now: Timestamp) -> Option<&Site> {
        let open = |site: &&Site| {
            site.token.as_ref().is_some_and(|(hash, until)| hash == secret_sha256 && *until > now)
        };
        self.all.values().find(open)
    }

    /// Who may enrol with a secret and a key, for the first time or again.
    pub fn enrolling(
        &self,
        secret_sha256: &str,
        key_sha256: &str,
        now: Timestamp,
    ) -> Option<&Site> {
        self.all.values().find(|site| site.enrols(secret_sha256, key_sha256, now))
    }

    /// Who is believed with a key.
    pub fn of_key(&self, key_sha256: &str, now: Timestamp) -> Option<&Site> {
        self.all.values().find(|site| site.believes(key_sha256, now))
    }

    pub(crate) fn apply(&mut self, event: &Event, at: At<'_>) {
        if let Event::Created { id, name } = event {
            let site = Site {
                id: id.clone(),
                name: name.clone(),
                token: None,
                used: None,
                identity: None,
                before: None,
                revoked: false,
                intended: None,
                applied: None,
                verified: None,
                ack: None,
                told: 0,
                happened: VecDeque::new(),
                changed_by: at.entry,
            };
            self.all.insert(id.clone(), site);
            return;
        }
        let Some(site) = self.all.get_mut(event.site()) else {
            return;
        };
        site.changed_by = at.entry;
        match event {
            Event::Created { .. } => {}
            Event::TokenIssued { secret_sha256, expires_at, .. } => {
                site.token = Some((secret_sha256.clone(), *expires_at));
                site.used = None;
            }
            Event::Enrolled { identity, renewed: true, .. } => {
                let until = at.time.plus_nanos(BEFORE_S.saturating_mul(1_000_000_000));
                let was = site.identity.replace(identity.clone());
                // What was never used is not what the site has: the one before stays.
                let before = site.before.take().filter(|(_, until)| *until > at.time);
                let was = before.map(|(before, _)| before).or(was);
                let other = was.filter(|was| was.key_sha256 != identity.key_sha256);
                site.before = other.map(|was| (was, until));
            }
            Event::Enrolled { identity, .. } => {
                let was = site.identity.replace(identity.clone());
                if was.is_none_or(|was| was.key_sha256 != identity.key_sha256) {
                    // Another machine counts from 1 again.
                    site.told = 0;
                }
                site.used = site.token.take().or(site.used.take());
                site.before = None;
                site.revoked = false;
            }
            Event::Revoked { .. } => {
                site.revoked = true;
                site.token = None;
                site.used = None;
                site.before = None;
            }
            Event::Settled { .. } => site.before = None,
            Event::Told { number, happened, .. } => {
                site.told = site.told.max(*number);
                site.happened.extend(happened.iter().cloned());
                let over = site.happened.len().saturating_sub(HAPPENED_MAX);
                site.happened.drain(..over);
            }
            Event::Offered { bundle, .. } => site.intended = Some(bundle.clone()),
            Event::Acknowledged { ack, .. } => {
                let up = |last: Option<u64>| last.max(Some(ack.generation));
                match ack.progress {
                    Progress::Refused => {}
                    Progress::Applied => site.applied = up(site.applied),
                    Progress::Verified => {
                        site.applied = up(site.applied);
                        site.verified = up(site.verified);
                    }
                }
                site.ack = Some(ack.clone());
            }
        }
    }
}
