//! Personal data and password hashes: records of the side store, and which login is whose.
//!
//! The estate only has commitments to records. A record that is not what was committed to is not believed: its operator cannot log in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use estate::access::{Access, Operator, OperatorId};
use estate::side::{Commitment, RecordId};
use serde::{Deserialize, Serialize};
use store::side::{SALT_BYTES, Side, Verified, commitment};

use super::AuthError;
use crate::Hub;

/// Characters of a login, a name, a contact.
const CHARS_MAX: usize = 128;

/// Who an operator is.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What is typed at login; unique, whatever its capitals.
    pub login: String,
    /// For people.
    pub name: String,
    /// How to reach it.
    pub contact: String,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Logs are not erasable.
        f.write_str("Profile")
    }
}

/// What there is of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// All.
    Kept(Profile),
    /// It was erased on purpose.
    Erased,
    /// It is not here, and was not erased: the side store is older than the journal.
    Lost,
    /// It is not what was committed to.
    Altered,
}

impl Known {
    /// The word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Kept(_) => "kept",
            Self::Erased => "erased",
            Self::Lost => "lost",
            Self::Altered => "altered",
        }
    }
}

/// The side store, and the index of logins.
pub(super) struct People {
    side: Side,
    logins: RwLock<BTreeMap<String, OperatorId>>,
    /// Held while operators are changed: from looking whether a login is free until it is taken.
    changing: Mutex<()>,
}

impl fmt::Debug for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("People").finish_non_exhaustive()
    }
}

impl People {
    /// Opens the store, erases what nothing names, and reads the logins.
    pub(super) fn open(
        path: &Path,
        hub: &Hub,
        told: &mut dyn FnMut(&str),
    ) -> Result<Self, AuthError> {
        let side = Side::open(path)?;
        let (size, used) = hub.read(|estate| {
            let used: BTreeSet<RecordId> = estate.access().records().cloned().collect();
            (estate.size(), used)
        });
        let here = side.ids()?;
        if size == 0 && !here.is_empty() {
            return Err(AuthError::Foreign(path.to_owned()));
        }
        let used_here = |id: &&String| RecordId::new(id).is_ok_and(|id| used.contains(&id));
        let orphans: Vec<&str> =
            here.iter().filter(|id| !used_here(id)).map(String::as_str).collect();
        if !orphans.is_empty() {
            side.erase(&orphans)?;
            told(&format!(
                "{} record(s) of operators that nothing names are erased",
                orphans.len()
            ));
        }
        let people = Self { side, logins: RwLock::new(BTreeMap::new()), changing: Mutex::new(()) };
        let operators = hub.read(|estate| estate.access().operators().clone());
        let mut logins = BTreeMap::new();
        for (id, operator) in &operators {
            match people.profile(operator)? {
                Known::Kept(profile) => {
                    if logins.insert(fold(&profile.login), id.clone()).is_some() {
                        told(&format!(
                            "operator {id} has the login of another one, who cannot log in now"
                        ));
                    }
                }
                Known::Erased => {}
                Known::Lost | Known::Altered => told(&format!(
                    "people.db is not what the journal says of operator {id}, who cannot log in: restore it, or set profile and password anew"
                )),
            }
        }
        *people.logins.write().unwrap_or_else(PoisonError::into_inner) = logins;
        Ok(people)
    }

    /// Keeps others from changing operators meanwhile.
    pub(super) fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a new record; durable when it returns.
    pub(super) fn keep(&self, hub: &Hub, bytes: &[u8]) -> Result<Commitment, AuthError> {
        let record = RecordId::new(&hub.id("rec")?).map_err(|e| AuthError::Id(e.to_string()))?;
        let mut salt = [0; SALT_BYTES];
        crypto::random(&mut salt)?;
        self.side.put(record.as_str(), &salt, bytes)?;
        Ok(Commitment { record, digest: commitment(&salt, bytes).into() })
    }

    /// Keeps a profile.
    pub(super) fn keep_profile(
        &self,
        hub: &Hub,
        profile: &Profile,
    ) -> Result<Commitment, AuthError> {
        let bytes = serde_json::to_vec(profile).map_err(|e| AuthError::Id(e.to_string()))?;
        self.keep(hub, &bytes)
    }

    /// Erases records.
    pub(super) fn erase(&self, records: &[&RecordId]) -> Result<(), AuthError> {
        let ids: Vec<&str> = records.iter().map(|id| id.as_str()).collect();
        self.side.erase(&ids)?;
        Ok(())
    }

    /// Who an operator is.
    pub(super) fn profile(&self, operator: &Operator) -> Result<Known, AuthError> {
        if operator.erased_at.is_some() {
            return Ok(Known::Erased);
        }
        let Commitment { record, digest } = &operator.profile;
        Ok(match self.side.verify(record.as_str(), &(*digest).into())? {
            Verified::Kept(bytes) => {
                serde_json::from_slice(&bytes).map_or(Known::Altered, Known::Kept)
            }
            Verified::Erased => Known::Erased,
            Verified::Unknown => Known::Lost,
            Verified::Altered => Known::Altered,
        })
    }

    /// The hash of a password; `None`: there is none that can be believed.
    pub(super) fn password(&self, record: &Commitment) -> Result<Option<String>, AuthError> {
        let Commitment { record, digest } = record;
        Ok(match self.side.verify(record.as_str(), &(*digest).into())? {
            Verified::Kept(bytes) => String::from_utf8(bytes).ok(),
            Verified::Erased | Verified::Unknown | Verified::Altered => None,
        })
    }

    /// Takes as long as looking for a password that is not there.
    pub(super) fn look_for_nothing(&self) -> Result<(), AuthError> {
        self.side.get("rec-nobody")?;
        Ok(())
    }

    /// Whose login it is.
    pub(super) fn whose(&self, login: &str) -> Option<OperatorId> {
        let logins = self.logins.read().unwrap_or_else(PoisonError::into_inner);
        logins.get(&fold(login)).cloned()
    }

    /// The login of an operator.
    pub(super) fn login_of(&self, operator: &OperatorId) -> Option<String> {
        let logins = self.logins.read().unwrap_or_else(PoisonError::into_inner);
        logins.iter().find(|(_, id)| *id == operator).map(|(login, _)| login.clone())
    }

    /// Whether a login can be the one of an operator. Ask while holding [`People::change`].
    pub(super) fn is_free(&self, login: &str, of: Option<&OperatorId>) -> Result<(), AuthError> {
        match self.whose(login) {
            Some(other) if Some(&other) != of => Err(AuthError::Taken),
            _ => Ok(()),
        }
    }

    /// A login is somebody's from now on, and the one it had before is free. `None`: it has none any more.
    pub(super) fn set_login(&self, operator: &OperatorId, login: Option<&str>) {
        let mut logins = self.logins.write().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|_, id| id != operator);
        if let Some(login) = login {
            logins.insert(fold(login), operator.clone());
        }
    }
}

/// A login as it is compared.
pub(super) fn fold(login: &str) -> String {
    login.to_ascii_lowercase()
}

/// Whether a profile can be one.
pub(super) fn check(profile: &Profile) -> Result<(), AuthError> {
    let Profile { login, name, contact } = profile;
    // No letters that look like others: a login names one person, also for whoever reads it.
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
    let why = |what: &str, why: &str| Err(AuthError::Profile(format!("{what} {why}")));
    if login.is_empty() || login.len() > CHARS_MAX || !login.chars().all(fits) {
        return why("the login", "is not 1 to 128 characters of a-z A-Z 0-9 . _ - + @");
    }
    for (what, text, least) in [("the name", name, 1), ("the contact", contact, 0)] {
        let chars = text.chars().count();
        if chars < least || chars > CHARS_MAX || text.chars().any(char::is_control) {
            return why(what, "is not 1 to 128 characters without control characters");
        }
    }
    Ok(())
}

/// The records of an operator.
pub(super) fn records(access: &Access, id: &OperatorId) -> Vec<RecordId> {
    access.operators().get(id).map_or_else(Vec::new, |operator| {
        let password = operator.password.as_ref().map(|p| p.record.record.clone());
        std::iter::once(operator.profile.record.clone()).chain(password).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_plain_and_names_are_anything_readable() {
        let of = |login: &str, name: &str| Profile {
            login: login.to_owned(),
            name: name.to_owned(),
            contact: String::new(),
        };
        for (login, name) in [("ada", "Ада"), ("Ada.L@example.com", "Ada Lovelace")] {
            check(&of(login, name)).unwrap();
        }
        for (login, name) in
            [("", "Ada"), ("a b", "Ada"), ("аda", "Ada"), ("ada", ""), ("ada", "A\u{1b}[2J")]
        {
            assert!(check(&of(login, name)).is_err(), "{login} {name}");
        }
        assert!(check(&of(&"x".repeat(129), "Ada")).is_err());
        assert_eq!(fold("Ada.L"), fold("aDA.l"));
        assert_eq!(format!("{:?}", of("ada", "Ada")), "Profile");
    }
}
