//! Access: operators, their roles and tokens, and what needs two people.
//!
//! ```text
//!  who (a person, a token, the host) ──principal──▶ roles and sites it has now ──rbac::may──▶ yes, or a Refusal
//! ```
//!
//! * An operator is an id. Login, name, contact and password hash are records of the erasable side store; events carry
//!   commitments to them ([`crate::side`]).
//! * The first operator is made with a secret that the host offers, once. There is no default password, and none is here.
//! * A token is worth what its operator is worth, and never more than what it was made for.
//! * A command above a limit waits for a second person; who asked never approves. What is approved is carried out by whoever
//!   asked, once: [`Access::approval_of`], then [`Event::Concluded`].
//! * One enabled operator can always do everything, everywhere.
//!
//! Times are kept to the microsecond, as documents carry them, so that a replay gives the same state.
//!
//! It must never know a password, a secret, a session, or what a command of another area means.

mod command;
mod decide;
mod grant;
pub(crate) mod id;
pub mod rbac;

use std::collections::BTreeMap;

use journal::entry::Actor;
use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::side::{Commitment, Digest, RecordId};
use crate::{Refusal, Sort};

pub use command::{By, Command, Event};
pub use grant::{Grant, Principal, Role, Sites, Via};
pub use id::{ApprovalId, IdError, OperatorId, TokenId};

/// Operators of one estate.
pub const OPERATORS_MAX: usize = 10_000;
/// Tokens of one estate, with those that are shown as expired or revoked.
pub const TOKENS_MAX: usize = 20_000;
/// Tokens of one operator that are worth something.
pub const TOKENS_OF_OPERATOR_MAX: usize = 100;
/// Commands that wait for a second person.
pub const PENDING_MAX: usize = 1_000;
/// Of these, asked by one operator.
pub const PENDING_OF_OPERATOR_MAX: usize = 50;
/// Bytes of a command that waits.
pub const COMMAND_BYTES_MAX: usize = 12 * 1_024;
/// Characters of a label.
pub const LABEL_CHARS_MAX: usize = 64;
/// Characters of a reason.
pub const WHY_CHARS_MAX: usize = 1_000;
/// Sites of one grant.
pub const SITES_MAX: usize = 100;
/// Longest life of a setup secret and of an approval, in seconds.
pub const WEEK_S: i64 = 7 * 86_400;
/// Longest life of a token, in seconds.
pub const TOKEN_LIFE_S_MAX: i64 = 366 * 86_400;
/// What is over is shown for so long, in seconds; then only the journal has it.
pub const SHOWN_S: i64 = 90 * 86_400;
/// A use of a token is noted once in so long, in seconds.
pub const USED_EVERY_S: i64 = 3_600;

/// Who may do what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Access {
    setup: Option<Setup>,
    operators: BTreeMap<OperatorId, Operator>,
    tokens: BTreeMap<TokenId, Token>,
    approvals: BTreeMap<ApprovalId, Approval>,
    /// Tokens by the digest of their secret.
    #[serde(skip)]
    secrets: BTreeMap<Digest, TokenId>,
}

/// [`Access`] as a snapshot has it.
#[derive(Deserialize)]
struct Stored {
    setup: Option<Setup>,
    operators: BTreeMap<OperatorId, Operator>,
    tokens: BTreeMap<TokenId, Token>,
    approvals: BTreeMap<ApprovalId, Approval>,
}

impl From<Stored> for Access {
    fn from(stored: Stored) -> Self {
        let Stored { setup, operators, tokens, approvals } = stored;
        let secrets = tokens.iter().map(|(id, token)| (token.secret, id.clone())).collect();
        Self { setup, operators, tokens, approvals, secrets }
    }
}

/// An offer to make the first operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// SHA-256 of the secret.
    pub secret: Digest,
    /// Until then.
    pub expires_at: Timestamp,
}

/// Somebody who works with the estate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Login, name and contact.
    pub profile: Commitment,
    /// Its password; `None`: no login by password.
    pub password: Option<Password>,
    /// What it may do.
    pub grant: Grant,
    /// Whether it can act.
    pub enabled: bool,
    /// When it was made.
    pub added_at: Timestamp,
    /// When its grant was changed last.
    pub granted_at: Timestamp,
    /// When its personal data was erased.
    pub erased_at: Option<Timestamp>,
}

/// A password, which is not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password {
    /// Its hash.
    pub record: Commitment,
    /// Somebody else has set it: it has to be changed.
    pub temporary: bool,
    /// When it was set.
    pub changed_at: Timestamp,
}

/// A secret for a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Who is answerable for it.
    pub operator: OperatorId,
    /// SHA-256 of the secret.
    pub secret: Digest,
    /// What it is for.
    pub label: String,
    /// What it was made for.
    pub grant: Grant,
    /// When it was made.
    pub made_at: Timestamp,
    /// It is worth nothing from then on.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When its use was noted last; see [`USED_EVERY_S`].
    pub used_at: Option<Timestamp>,
}

impl Token {
    /// Whether it is neither expired nor revoked.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }

    /// When it ceases to be worth anything.
    fn over_at(&self) -> Timestamp {
        self.revoked_at.map_or(self.expires_at, |at| at.min(self.expires_at))
    }
}

/// A command that needs a second person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The command, as JSON.
    pub command: String,
    /// SHA-256 of that text.
    pub digest: Digest,
    /// Who asked.
    pub by: By,
    /// The operator who is answerable for that, and can never approve it.
    pub operator: OperatorId,
    /// Why it is needed.
    pub why: String,
    /// Role of whoever approves.
    pub needs: Role,
    /// Where whoever approves has to have it.
    pub sites: Sites,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Until then it can be approved, and carried out.
    pub expires_at: Timestamp,
    /// What a person said.
    pub answer: Option<Answer>,
    /// When it was carried out.
    pub concluded_at: Option<Timestamp>,
}

/// What a person said to a command that needs two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Who.
    pub by: OperatorId,
    /// Yes or no.
    pub approved: bool,
    /// When.
    pub at: Timestamp,
}

/// Where a command that needs two people is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalState {
    /// It waits for a second person.
    Pending,
    /// Whoever asked may carry it out.
    Approved,
    /// It was carried out.
    Concluded,
    /// It will not be carried out.
    Rejected,
    /// It was not answered, or not carried out, in time.
    Expired,
}

impl Approval {
    /// Where it is now.
    pub fn state(&self, now: Timestamp) -> ApprovalState {
        match &self.answer {
            _ if self.concluded_at.is_some() => ApprovalState::Concluded,
            Some(answer) if !answer.approved => ApprovalState::Rejected,
            _ if now >= self.expires_at => ApprovalState::Expired,
            Some(_) => ApprovalState::Approved,
            None => ApprovalState::Pending,
        }
    }
}

impl Access {
    /// Who an actor is, and what it may do now. Disabled operators, and tokens that are expired, revoked or of a disabled
    /// operator, are nobody.
    pub fn principal(&self, who: &Actor, now: Timestamp) -> Result<Principal, Refusal> {
        let nobody = |why: &str| {
            Refusal::new(Sort::Forbidden, "access.nobody", format!("{} {}", who.kind, who.id), why)
        };
        match who.kind.as_str() {
            Principal::HOST => Ok(Principal {
                actor: who.clone(),
                operator: None,
                grant: Grant::admin(),
                via: Via::Host,
                password_temporary: false,
            }),
            Principal::PERSON => {
                let (id, operator) = OperatorId::new(&who.id)
                    .ok()
                    .and_then(|id| self.operators.get_key_value(&id))
                    .ok_or_else(|| nobody("there is no such operator"))?;
                if !operator.enabled {
                    return Err(nobody("the operator is disabled"));
                }
                Ok(Principal {
                    actor: who.clone(),
                    operator: Some(id.clone()),
                    grant: operator.grant.clone(),
                    via: Via::Session,
                    password_temporary: operator.password.as_ref().is_some_and(|p| p.temporary),
                })
            }
            Principal::TOKEN => {
                let token = TokenId::new(&who.id).ok().and_then(|id| self.tokens.get(&id));
                let token = token.ok_or_else(|| nobody("there is no such token"))?;
                if !token.is_live(now) {
                    return Err(nobody("the token is expired or revoked"));
                }
                let operator = self.operators.get(&token.operator).filter(|o| o.enabled);
                let operator = operator.ok_or_else(|| nobody("its operator is disabled"))?;
                Ok(Principal {
                    actor: who.clone(),
                    operator: Some(token.operator.clone()),
                    grant: token.grant.within(&operator.grant),
                    via: Via::Token,
                    password_temporary: false,
                })
            }
            _ => Err(nobody("it is neither a person nor a token")),
        }
    }

    /// Who presents a secret with this digest.
    pub fn bearer(&self, secret: &Digest, now: Timestamp) -> Result<Principal, Refusal> {
        let unknown = || {
            let why = "no token has this secret";
            Refusal::new(Sort::Forbidden, "access.nobody", "the token", why)
        };
        self.principal(&Principal::token(self.secrets.get(secret).ok_or_else(unknown)?), now)
    }

    /// The offer to make the first operator, while it stands.
    pub fn setup(&self, now: Timestamp) -> Option<&Setup> {
        self.setup.as_ref().filter(|setup| now < setup.expires_at)
    }

    /// Operators, by id.
    pub const fn operators(&self) -> &BTreeMap<OperatorId, Operator> {
        &self.operators
    }

    /// Tokens, by id: those that are worth something, and for [`SHOWN_S`] those that no longer are.
    pub const fn tokens(&self) -> &BTreeMap<TokenId, Token> {
        &self.tokens
    }

    /// What needs two people, by id; what is over is here for [`SHOWN_S`].
    pub const fn approvals(&self) -> &BTreeMap<ApprovalId, Approval> {
        &self.approvals
    }

    /// An approval with which `who` may carry out a command now, given by the digest of its JSON.
    pub fn approval_of(
        &self,
        who: &Actor,
        command: &Digest,
        now: Timestamp,
    ) -> Option<&ApprovalId> {
        let by = By::from(who);
        let ready = |approval: &&Approval| {
            approval.digest == *command
                && approval.by == by
                && approval.state(now) == ApprovalState::Approved
        };
        self.approvals.iter().find(|(_, approval)| ready(approval)).map(|(id, _)| id)
    }

    /// The records of the side store that are in use. All others of operators can be erased, and those of erased operators have to be.
    pub fn records(&self) -> impl Iterator<Item = &RecordId> {
        self.operators.values().filter(|operator| operator.erased_at.is_none()).flat_map(
            |operator| {
                let password = operator.password.as_ref().map(|p| &p.record.record);
                std::iter::once(&operator.profile.record).chain(password)
            },
        )
    }

    /// Folds an event. One that does not fit what is there changes nothing; [`Access::decide`] makes none.
    pub fn apply(&mut self, event: &Event, at: Timestamp) {
        let at = micros(at);
        match event {
            Event::SetupOffered { secret, expires_at } => {
                self.setup = Some(Setup { secret: *secret, expires_at: *expires_at });
            }
            Event::SetupUsed { operator, profile, password } => {
                self.setup = None;
                let password = Some((password, false));
                self.add(operator, profile, password, &Grant::admin(), at);
            }
            Event::OperatorAdded { operator, profile, password, grant } => {
                let password = password.as_ref().map(|password| (password, true));
                self.add(operator, profile, password, grant, at);
            }
            Event::GrantChanged { operator, grant } => self.change(operator, |o| {
                o.grant = grant.clone();
                o.granted_at = at;
            }),
            Event::ProfileChanged { operator, profile } => {
                self.change(operator, |o| o.profile = profile.clone());
            }
            Event::PasswordChanged { operator, password, temporary } => {
                let record = password.clone();
                let password = Password { record, temporary: *temporary, changed_at: at };
                self.change(operator, |o| o.password = Some(password));
            }
            Event::OperatorDisabled { operator } => self.change(operator, |o| o.enabled = false),
            Event::OperatorEnabled { operator } => self.change(operator, |o| o.enabled = true),
            Event::OperatorErased { operator } => {
                self.change(operator, |o| o.erased_at = Some(at));
            }
            Event::TokenMade { token, operator, secret, label, grant, expires_at } => {
                self.forget_tokens(at);
                let made = Token {
                    operator: operator.clone(),
                    secret: *secret,
                    label: label.clone(),
                    grant: grant.clone(),
                    made_at: at,
                    expires_at: *expires_at,
                    revoked_at: None,
                    used_at: None,
                };
                self.secrets.insert(*secret, token.clone());
                self.tokens.insert(token.clone(), made);
            }
            Event::TokenRevoked { token } => {
                self.tokens.entry(token.clone()).and_modify(|t| t.revoked_at = Some(at));
            }
            Event::TokenUsed { token } => {
                self.tokens.entry(token.clone()).and_modify(|t| t.used_at = Some(at));
            }
            Event::Asked {
                approval,
                command,
                digest,
                by,
                operator,
                why,
                needs,
                sites,
                expires_at,
            } => {
                self.approvals.retain(|_, approval| !over(approval.expires_at, at));
                let asked = Approval {
                    command: command.clone(),
                    digest: *digest,
                    by: by.clone(),
                    operator: operator.clone(),
                    why: why.clone(),
                    needs: *needs,
                    sites: sites.clone(),
                    asked_at: at,
                    expires_at: *expires_at,
                    answer: None,
                    concluded_at: None,
                };
                self.approvals.insert(approval.clone(), asked);
            }
            Event::Approved { approval, by } => self.answer(approval, by, true, at),
            Event::Rejected { approval, by } => self.answer(approval, by, false, at),
            Event::Concluded { approval } => {
                self.approvals.entry(approval.clone()).and_modify(|a| a.concluded_at = Some(at));
            }
        }
    }

    fn add(
        &mut self,
        id: &OperatorId,
        profile: &Commitment,
        password: Option<(&Commitment, bool)>,
        grant: &Grant,
        at: Timestamp,
    ) {
        let password = password.map(|(record, temporary)| Password {
            record: record.clone(),
            temporary,
            changed_at: at,
        });
        let operator = Operator {
            profile: profile.clone(),
            password,
            grant: grant.clone(),
            enabled: true,
            added_at: at,
            granted_at: at,
            erased_at: None,
        };
        self.operators.insert(id.clone(), operator);
    }

    fn change(&mut self, id: &OperatorId, how: impl FnOnce(&mut Operator)) {
        if let Some(operator) = self.operators.get_mut(id) {
            how(operator);
        }
    }

    fn answer(&mut self, id: &ApprovalId, by: &OperatorId, approved: bool, at: Timestamp) {
        if let Some(approval) = self.approvals.get_mut(id) {
            approval.answer = Some(Answer { by: by.clone(), approved, at });
        }
    }

    fn forget_tokens(&mut self, at: Timestamp) {
        let secrets = &mut self.secrets;
        self.tokens.retain(|_, token| {
            let keep = !over(token.over_at(), at);
            if !keep {
                secrets.remove(&token.secret);
            }
            keep
        });
    }
}

/// Whether what ended then need not be shown any more.
fn over(ended: Timestamp, at: Timestamp) -> bool {
    at >= later(ended, SHOWN_S)
}

fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.plus_nanos(seconds.saturating_mul(1_000_000_000))
}

/// A time as documents carry it.
fn micros(at: Timestamp) -> Timestamp {
    // Towards the epoch, so that the result is always a time.
    Timestamp::from_nanos(at.as_nanos() / 1_000 * 1_000)
}
