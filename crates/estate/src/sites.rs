//! Sites: places, the identity with which each is enrolled, and what it says of what it enforces.
//!
//! A bundle is what a site is meant to enforce, numbered by generations that only grow. A site acknowledges each as
//! *applied* and, after reading back its kernel, as *verified*; nobody else can say so.

use std::collections::BTreeMap;

use model::{SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Refusal, Sort};

/// Sites of one estate.
pub const SITES_MAX: usize = 10_000;
/// Characters kept of why a site is no further.
const WHY_CHARS_MAX: usize = 1_000;
/// Longest life of an enrolment token, in seconds: a week.
pub const TOKEN_S_MAX: i64 = 7 * 86_400;

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
    /// It enrolled, or renewed its certificate.
    Enrol {
        /// Which.
        id: SiteId,
        /// SHA-256 of the secret it knows; `None`: it renews with the certificate it has.
        secret_sha256: Option<String>,
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
            | Self::Acknowledged { id, .. } => id,
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
    /// The certificate it has.
    pub identity: Option<Identity>,
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
        !self.revoked
            && self
                .identity
                .as_ref()
                .is_some_and(|i| i.key_sha256 == key_sha256 && i.not_after > now)
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

    pub(crate) fn decide(&self, command: &Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Create { id, name } => {
                if self.all.contains_key(id) {
                    let why = "there is one with this id";
                    return Err(Refusal::new(
                        Sort::Conflict,
                        "site.exists",
                        format!("site {id}"),
                        why,
                    ));
                }
                if self.all.len() >= SITES_MAX {
                    let why = format!("there are {SITES_MAX} already");
                    return Err(Refusal::new(Sort::Full, "site.full", format!("site {id}"), why));
                }
                if name.is_empty()
                    || name.chars().count() > 200
                    || name.chars().any(char::is_control)
                {
                    let why = "its name is 1 to 200 characters without control characters";
                    return Err(Refusal::new(
                        Sort::Invalid,
                        "site.name",
                        format!("site {id}"),
                        why,
                    ));
                }
                Ok(vec![Event::Created { id: id.clone(), name: name.clone() }])
            }
            Command::IssueToken { id, secret_sha256, expires_at } => {
                self.one(id)?;
                check_hash(secret_sha256)?;
                let life = expires_at.as_nanos().saturating_sub(now.as_nanos());
                if life <= 0 || life > TOKEN_S_MAX.saturating_mul(1_000_000_000) {
                    let why = "a token is good for a moment to 7 days";
                    return Err(Refusal::new(
                        Sort::Invalid,
                        "site.token-life",
                        format!("token of site {id}"),
                        why,
                    ));
                }
                let (id, secret_sha256, expires_at) =
                    (id.clone(), secret_sha256.clone(), *expires_at);
                Ok(vec![Event::TokenIssued { id, secret_sha256, expires_at }])
            }
            Command::Enrol { id, secret_sha256, identity } => {
                let site = self.one(id)?;
                check_hash(&identity.key_sha256)?;
                let may = match secret_sha256 {
                    Some(secret) => site
                        .token
                        .as_ref()
                        .is_some_and(|(hash, until)| hash == secret && *until > now),
                    None => !site.revoked && site.identity.is_some(),
                };
                if !may {
                    let why = match secret_sha256 {
                        Some(_) => "its token is unknown, used up, or expired",
                        None => "it is revoked, or never enrolled",
                    };
                    return Err(Refusal::new(
                        Sort::Forbidden,
                        "site.enrol",
                        format!("enrolment of site {id}"),
                        why,
                    )
                    .help(format!(
                        "`ringfence site token {id}` on the controller makes a new one"
                    )));
                }
                Ok(vec![Event::Enrolled { id: id.clone(), identity: identity.clone() }])
            }
            Command::Revoke { id } => {
                let site = self.one(id)?;
                if site.revoked || (site.identity.is_none() && site.token.is_none()) {
                    return Ok(Vec::new());
                }
                Ok(vec![Event::Revoked { id: id.clone() }])
            }
            Command::Offer { id, bundle } => {
                let site = self.one(id)?;
                check_hash(&bundle.content)?;
                let last = site.intended.as_ref();
                if last.is_some_and(|last| last.content == bundle.content) {
                    return Ok(Vec::new());
                }
                if last.is_some_and(|last| last.generation >= bundle.generation) {
                    let why = "generations only grow";
                    return Err(Refusal::new(
                        Sort::Conflict,
                        "site.generation",
                        format!("bundle {} of site {id}", bundle.generation),
                        why,
                    ));
                }
                Ok(vec![Event::Offered { id: id.clone(), bundle: bundle.clone() }])
            }
            Command::Acknowledge { id, ack } => {
                let site = self.one(id)?;
                let offered = site.intended.as_ref().map_or(0, |bundle| bundle.generation);
                if ack.generation > offered {
                    let why = format!("{offered} is the newest that it was offered");
                    return Err(Refusal::new(
                        Sort::Invalid,
                        "site.ack",
                        format!("acknowledgement of {} by site {id}", ack.generation),
                        why,
                    ));
                }
                // A site may say anything: what it says at length is cut, not refused again and again.
                let why = ack.why.chars().filter(|c| !c.is_control()).take(WHY_CHARS_MAX).collect();
                let ack = Ack { why, ..ack.clone() };
                let same = site.ack.as_ref() == Some(&ack);
                Ok(if same {
                    Vec::new()
                } else {
                    vec![Event::Acknowledged { id: id.clone(), ack }]
                })
            }
        }
    }

    pub(crate) fn apply(&mut self, event: &Event, entry: u64) {
        if let Event::Created { id, name } = event {
            let site = Site {
                id: id.clone(),
                name: name.clone(),
                token: None,
                identity: None,
                revoked: false,
                intended: None,
                applied: None,
                verified: None,
                ack: None,
                changed_by: entry,
            };
            self.all.insert(id.clone(), site);
            return;
        }
        let Some(site) = self.all.get_mut(event.site()) else {
            return;
        };
        site.changed_by = entry;
        match event {
            Event::Created { .. } => {}
            Event::TokenIssued { secret_sha256, expires_at, .. } => {
                site.token = Some((secret_sha256.clone(), *expires_at));
            }
            Event::Enrolled { identity, .. } => {
                site.identity = Some(identity.clone());
                site.token = None;
                site.revoked = false;
            }
            Event::Revoked { .. } => {
                site.revoked = true;
                site.token = None;
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

fn check_hash(text: &str) -> Result<(), Refusal> {
    match text.len() == 64 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)) {
        true => Ok(()),
        false => Err(Refusal::new(
            Sort::Invalid,
            "hash.malformed",
            "a digest",
            "SHA-256 is 64 hex digits in lower case",
        )),
    }
}
