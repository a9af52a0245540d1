//! Changes of operators, their passwords and tokens.
//!
//! A record of the side store is kept before the command that names it. When the estate refuses, the record is erased at once; when it is not
//! known what became of the command (the disk), the next start looks what the journal names.

use std::collections::BTreeSet;
use std::sync::Arc;

use estate::access::{self, Command, Grant, Operator, OperatorId, Principal, TokenId, Via};
use estate::side::{Commitment, Digest, RecordId};
use journal::entry::Actor;
use model::Timestamp;

use super::people::{self, Known, Profile};
use super::secret::{For, digest};
use super::{Auth, AuthError, Begun, Secret, Source, blocking, lock, password, password_of, setup};
use crate::HubError;

/// One more operator.
#[derive(Clone, Debug)]
pub struct NewOperator {
    /// Who it is.
    pub profile: Profile,
    /// A password that has to be changed at the first login; `None`: no login by password.
    pub password: Option<Secret>,
    /// What it may do.
    pub grant: Grant,
}

/// What is to be different about an operator; `None`: stays.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// What is typed at login.
    pub login: Option<String>,
    /// For people.
    pub name: Option<String>,
    /// How to reach it.
    pub contact: Option<String>,
    /// What it may do.
    pub grant: Option<Grant>,
    /// Whether it can act.
    pub enabled: Option<bool>,
}

impl Auth {
    /// Makes the first operator for whoever has the secret, and begins a session.
    pub async fn setup(
        self: &Arc<Self>,
        secret: Secret,
        profile: Profile,
        password: Secret,
        source: Source,
    ) -> Result<Begun, AuthError> {
        let key = digest("set-up");
        lock(&self.limits).admit(key, source, self.hub.now()).map_err(AuthError::TooMany)?;
        let operator = self.new_operator()?;
        let secret = Digest(secret.digest());
        // Whoever does not have the secret learns nothing else, and costs no hash.
        self.would_set_up(&secret, &operator)?;
        people::check(&profile)?;
        password::check(&password, &profile.login)?;
        let hash = self.hasher.hash(password).await?;
        let (auth, made) = (Arc::clone(self), operator.clone());
        blocking(move || {
            let _changing = auth.people.change();
            let actor = Principal::person(&made);
            let kept = auth.people.keep_profile(&auth.hub, &profile)?;
            let hash = auth.people.keep(&auth.hub, hash.as_bytes())?;
            let command = Command::SetUp {
                secret,
                operator: made.clone(),
                profile: kept.clone(),
                password: hash.clone(),
            };
            auth.commit(&actor, "the first operator", &[&kept, &hash], command)?;
            auth.people.set_login(&made, Some(&profile.login));
            // The secret is used up, and the next start takes the file away if this cannot.
            let _ = setup::remove(&auth.setup_file);
            Ok(())
        })
        .await?;
        lock(&self.limits).was_right(key, source);
        self.begin(&operator)
    }

    /// Whether the estate would take the secret.
    fn would_set_up(&self, secret: &Digest, operator: &OperatorId) -> Result<(), AuthError> {
        let empty = |name: &str| {
            let record = RecordId::new(name).map_err(|e| AuthError::Id(e.to_string()))?;
            Ok::<_, AuthError>(Commitment { record, digest: Digest([0; 32]) })
        };
        let command = Command::SetUp {
            secret: *secret,
            operator: operator.clone(),
            profile: empty("rec-profile")?,
            password: empty("rec-password")?,
        };
        self.would(&Principal::person(operator), &command)
    }

    /// Adds an operator.
    pub async fn add_operator(
        self: &Arc<Self>,
        who: &Principal,
        why: String,
        new: NewOperator,
    ) -> Result<OperatorId, AuthError> {
        let NewOperator { profile, password, grant } = new;
        people::check(&profile)?;
        self.people.is_free(&profile.login, None)?;
        let hash = match password {
            Some(password) => {
                password::check(&password, &profile.login)?;
                Some(self.hasher.hash(password).await?)
            }
            None => None,
        };
        let (auth, actor, operator) = (Arc::clone(self), who.actor.clone(), self.new_operator()?);
        blocking(move || {
            let _changing = auth.people.change();
            auth.people.is_free(&profile.login, None)?;
            let kept = auth.people.keep_profile(&auth.hub, &profile)?;
            let hash = hash.map(|hash| auth.people.keep(&auth.hub, hash.as_bytes())).transpose()?;
            let records: Vec<&Commitment> = std::iter::once(&kept).chain(&hash).collect();
            let command = Command::AddOperator {
                operator: operator.clone(),
                profile: kept.clone(),
                password: hash.clone(),
                grant,
            };
            auth.commit(&actor, &why, &records, command)?;
            auth.people.set_login(&operator, Some(&profile.login));
            Ok(operator)
        })
        .await
    }

    /// Changes an operator: everything is looked at first, so that it is all or nothing while the disk works.
    pub async fn change_operator(
        self: &Arc<Self>,
        who: &Principal,
        why: String,
        id: OperatorId,
        changes: Changes,
    ) -> Result<(), AuthError> {
        let (auth, actor) = (Arc::clone(self), who.actor.clone());
        blocking(move || {
            let _changing = auth.people.change();
            let operator = auth.operator(&id)?;
            let profile = auth.changed_profile(&id, &operator, &changes)?;
            let of = || id.clone();
            let before = [
                (changes.enabled == Some(false))
                    .then(|| Command::DisableOperator { operator: of() }),
                changes.grant.map(|grant| Command::ChangeGrant { operator: of(), grant }),
            ];
            let after =
                (changes.enabled == Some(true)).then(|| Command::EnableOperator { operator: of() });
            for command in before.iter().flatten().chain(&after) {
                auth.would(&actor, command)?;
            }
            let kept = profile
                .as_ref()
                .map(|profile| auth.people.keep_profile(&auth.hub, profile))
                .transpose()?;
            // The one that names a record goes first: when it is refused, nothing was done.
            if let (Some(kept), Some(profile)) = (kept, profile) {
                let command = Command::ChangeProfile { operator: of(), profile: kept.clone() };
                auth.commit(&actor, &why, &[&kept], command)?;
                auth.people.set_login(&id, Some(&profile.login));
                auth.erase_later_if_not_now(&[&operator.profile.record]);
            }
            for command in before.into_iter().flatten().chain(after) {
                let disables = matches!(command, Command::DisableOperator { .. });
                auth.commit(&actor, &why, &[], command)?;
                if disables {
                    lock(&auth.sessions).end_all(&id);
                }
            }
            Ok(())
        })
        .await
    }

    /// The profile as it will be; `None`: as it is.
    fn changed_profile(
        &self,
        id: &OperatorId,
        operator: &Operator,
        changes: &Changes,
    ) -> Result<Option<Profile>, AuthError> {
        let Changes { login, name, contact, .. } = changes;
        if login.is_none() && name.is_none() && contact.is_none() {
            return Ok(None);
        }
        let old = match self.people.profile(operator)? {
            Known::Kept(profile) => profile,
            // What cannot be believed is said anew.
            Known::Erased | Known::Lost | Known::Altered => Profile::default(),
        };
        let new = Profile {
            login: login.clone().unwrap_or_else(|| old.login.clone()),
            name: name.clone().unwrap_or_else(|| old.name.clone()),
            contact: contact.clone().unwrap_or_else(|| old.contact.clone()),
        };
        people::check(&new)?;
        self.people.is_free(&new.login, Some(id))?;
        Ok((new != old).then_some(new))
    }

    /// Changes one's own password, for whoever knows the old one; all sessions of the operator end.
    pub async fn change_password(
        self: &Arc<Self>,
        who: &Principal,
        old: Secret,
        new: Secret,
        source: Source,
    ) -> Result<(), AuthError> {
        let operator = match (&who.operator, who.via) {
            (Some(operator), Via::Session) => operator.clone(),
            _ => return Err(AuthError::Person),
        };
        let login = self.people.login_of(&operator).unwrap_or_else(|| operator.to_string());
        // Whoever found a session guesses here no faster than at the login.
        let key = digest(&login);
        lock(&self.limits).admit(key, source, self.hub.now()).map_err(AuthError::TooMany)?;
        if old.expose().len() > password::BYTES_MAX {
            return Err(AuthError::Old);
        }
        let has = self.hub.read(|estate| password_of(estate.access(), &operator));
        let (auth, of) = (Arc::clone(self), operator.clone());
        let known = blocking(move || {
            let of = auth.operator(&of)?;
            of.password.map_or(Ok(None), |password| auth.people.password(&password.record))
        });
        if !self.hasher.verify(old.clone(), known.await?).await? {
            return Err(AuthError::Old);
        }
        lock(&self.limits).was_right(key, source);
        password::check(&new, &login)?;
        if new.expose() == old.expose() {
            return Err(AuthError::Password("it is the old one".to_owned()));
        }
        let actor = who.actor.clone();
        self.replace_password(actor, "own password".to_owned(), operator, new, Some(has)).await
    }

    /// Sets the password of somebody else, who has to change it at the next login.
    pub async fn set_password(
        self: &Arc<Self>,
        who: &Principal,
        why: String,
        operator: OperatorId,
        new: Secret,
    ) -> Result<(), AuthError> {
        if who.operator.as_ref() == Some(&operator) {
            return Err(AuthError::Own);
        }
        self.operator(&operator)?;
        password::check(&new, &self.people.login_of(&operator).unwrap_or_default())?;
        self.replace_password(who.actor.clone(), why, operator, new, None).await
    }

    /// `has`: the record that the old password was compared with, if it was.
    async fn replace_password(
        self: &Arc<Self>,
        actor: Actor,
        why: String,
        operator: OperatorId,
        new: Secret,
        has: Option<Option<RecordId>>,
    ) -> Result<(), AuthError> {
        let hash = self.hasher.hash(new).await?;
        let auth = Arc::clone(self);
        blocking(move || {
            let _changing = auth.people.change();
            let old = auth.hub.read(|estate| password_of(estate.access(), &operator));
            if has.is_some_and(|has| has != old) {
                return Err(AuthError::Old);
            }
            let kept = auth.people.keep(&auth.hub, hash.as_bytes())?;
            let command =
                Command::ChangePassword { operator: operator.clone(), password: kept.clone() };
            auth.commit(&actor, &why, &[&kept], command)?;
            lock(&auth.sessions).end_all(&operator);
            auth.erase_later_if_not_now(&old.iter().collect::<Vec<_>>());
            Ok(())
        })
        .await
    }

    /// Erases what is known of a disabled operator, for good.
    pub async fn erase_operator(
        self: &Arc<Self>,
        who: &Principal,
        why: String,
        operator: OperatorId,
    ) -> Result<(), AuthError> {
        let (auth, actor) = (Arc::clone(self), who.actor.clone());
        blocking(move || {
            let _changing = auth.people.change();
            let records = auth.hub.read(|estate| people::records(estate.access(), &operator));
            let command = Command::EraseOperator { operator: operator.clone() };
            auth.commit(&actor, &why, &[], command)?;
            lock(&auth.sessions).end_all(&operator);
            auth.people.set_login(&operator, None);
            // Whoever asked has to know whether it is gone: again does it again.
            auth.people.erase(&records.iter().collect::<Vec<_>>())
        })
        .await
    }

    /// Makes a token; its secret is told once.
    pub async fn make_token(
        self: &Arc<Self>,
        who: &Principal,
        why: String,
        label: String,
        grant: Grant,
        expires_at: Timestamp,
    ) -> Result<(TokenId, Secret), AuthError> {
        let secret = For::Token.make()?;
        let text = self.hub.id("tok")?;
        let token = TokenId::new(&text).map_err(|e| AuthError::Id(e.to_string()))?;
        let command = Command::MakeToken {
            token: token.clone(),
            secret: Digest(secret.digest()),
            label,
            grant,
            expires_at,
        };
        let (auth, actor) = (Arc::clone(self), who.actor.clone());
        blocking(move || auth.commit(&actor, &why, &[], command)).await?;
        Ok((token, secret))
    }

    /// Who an operator is. Reads the disk.
    pub fn profile(&self, operator: &Operator) -> Result<Known, AuthError> {
        self.people.profile(operator)
    }

    fn operator(&self, id: &OperatorId) -> Result<Operator, AuthError> {
        let found = self.hub.read(|estate| estate.access().operators().get(id).cloned());
        found.ok_or_else(|| {
            let (what, why) = (format!("operator {id}"), "there is no such operator");
            estate::Refusal::new(estate::Sort::Unknown, "operator.unknown", what, why).into()
        })
    }

    fn new_operator(&self) -> Result<OperatorId, AuthError> {
        OperatorId::new(&self.hub.id("op")?).map_err(|e| AuthError::Id(e.to_string()))
    }

    /// Whether the estate would do it.
    fn would(&self, who: &Actor, command: &Command) -> Result<(), AuthError> {
        let now = self.hub.now();
        self.hub.read(|estate| estate.access().decide(command, who, now))?;
        Ok(())
    }

    /// Does it; new records that it names are erased when it is refused.
    fn commit(
        &self,
        who: &Actor,
        why: &str,
        kept: &[&Commitment],
        command: access::Command,
    ) -> Result<(), AuthError> {
        let command = estate::Command::Access(command);
        match self.hub.command(who, why, command, BTreeSet::new()) {
            Ok(_) => Ok(()),
            Err(error) => {
                if matches!(error, HubError::Refused(_)) {
                    let records: Vec<&RecordId> = kept.iter().map(|kept| &kept.record).collect();
                    self.erase_later_if_not_now(&records);
                }
                Err(error.into())
            }
        }
    }

    /// Erases what nothing names any more. If the disk does not let it, the next start does.
    fn erase_later_if_not_now(&self, records: &[&RecordId]) {
        if !records.is_empty() {
            let _ = self.people.erase(records);
        }
    }
}
