//! Who is who: passwords, sessions, tokens, and this machine's own token.
//!
//! ```text
//!  login ─▶ limits ─▶ password ─▶ sessions ─┐
//!  rfs_… session, rft_… token, rfh_… host ──┴─▶ Access::principal: roles and sites it has now
//! ```
//!
//! * `password`: argon2id, on threads of its own, a few at a time. Unknown logins and wrong passwords get the same answer after the same time.
//! * `limits`: how often somebody may try.
//! * `sessions`: who is logged in; in memory only.
//! * `people`: personal data and password hashes in the erasable side store, and whose login is whose.
//! * `operators`: changes of all that. A record is kept before the command that names it, and erased when the command is refused.
//! * `setup`: the first operator.
//!
//! What somebody may do is decided in `estate::access`, and asked for at every request: whoever is disabled can do nothing from then on.
//! Another way to prove who somebody is ends in [`Auth::begin`].

mod limits;
mod operators;
mod password;
mod people;
mod secret;
mod sessions;
mod setup;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use estate::access::{Access, OperatorId, Principal, TokenId, USED_EVERY_S};
use estate::side::{Digest, RecordId};
use estate::{Command, Refusal, access};
use model::Timestamp;

use crate::state::{StateError, StateFolder};
use crate::{Hub, HubError};

use limits::Limits;
use password::Hasher;
use people::People;
use secret::{For, digest};
use sessions::{Session, Sessions};

pub use limits::Source;
pub use operators::{Changes, NewOperator};
pub use people::{Known, Profile};
pub use secret::Secret;

/// Devices above which a change takes a second person, unless it is set otherwise.
pub const APPROVAL_ABOVE: usize = 1_000;
/// A use of a token that could not be noted is tried again after so long.
const NOTE_AGAIN_NANOS: i64 = 60 * 1_000_000_000;
/// Tokens whose last note is remembered before old ones are forgotten.
const NOTED_MAX: usize = 1_024;

/// Why something about access does not work.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The estate refuses, or the journal cannot be written.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The side store.
    #[error("people.db: {0}")]
    Side(#[from] store::side::SideError),
    /// A side store without its journal.
    #[error("{} has operators, and the journal is empty: restore both from one backup, or move it away", .0.display())]
    Foreign(PathBuf),
    /// The disk.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No randomness.
    #[error(transparent)]
    Random(#[from] crypto::NoRandom),
    /// A password cannot be hashed.
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
    /// An id that is none.
    #[error("{0}")]
    Id(String),
    /// Login or password is wrong; which one is not told.
    #[error("login or password is wrong")]
    Wrong,
    /// The old password is another one.
    #[error("the old password is another one")]
    Old,
    /// No such session or token.
    #[error("nobody has this token, or it is worth nothing any more")]
    Nobody,
    /// Too many tries.
    #[error("too many tries; the next one is taken in {0} s")]
    TooMany(u32),
    /// Too many at once.
    #[error("too many logins at once")]
    Busy,
    /// A password that is none.
    #[error("{0}")]
    Password(String),
    /// A profile that is none.
    #[error("{0}")]
    Profile(String),
    /// Somebody else has the login.
    #[error("somebody else has this login")]
    Taken,
    /// Only a person who is logged in.
    #[error("it takes a person who is logged in")]
    Person,
    /// There is another way for that.
    #[error("nobody sets their own password without the old one")]
    Own,
}

impl From<Refusal> for AuthError {
    fn from(refusal: Refusal) -> Self {
        Self::Hub(HubError::Refused(refusal))
    }
}

/// A session that began.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Whose.
    pub operator: OperatorId,
    /// Its secret.
    pub token: Secret,
    /// It ends then at the latest.
    pub expires_at: Timestamp,
    /// Somebody else has set the password: it has to be changed first.
    pub must_change: bool,
}

/// Who is who.
pub struct Auth {
    hub: Arc<Hub>,
    people: People,
    hasher: Hasher,
    sessions: Mutex<Sessions>,
    limits: Mutex<Limits>,
    /// SHA-256 of this machine's token.
    host: [u8; 32],
    setup_file: PathBuf,
    /// When the use of a token was written down last, or tried to be.
    noted: Mutex<BTreeMap<TokenId, Timestamp>>,
    approval_above: AtomicUsize,
    tries: Tries,
}

/// Logins that were tried since the process began.
#[derive(Debug, Default)]
struct Tries {
    right: AtomicU64,
    wrong: AtomicU64,
    too_many: AtomicU64,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

impl Auth {
    /// Opens what a state folder has, makes this machine's token at the first start, and offers to make the first operator. `told` gets what
    /// people should know.
    pub fn open(
        hub: Arc<Hub>,
        folder: &StateFolder,
        told: &mut dyn FnMut(&str),
    ) -> Result<Arc<Self>, AuthError> {
        let people = People::open(&folder.file("people.db"), &hub, told)?;
        let host = setup::host_token(folder, told)?;
        setup::offer(&hub, folder, told)?;
        Ok(Arc::new(Self {
            hub,
            people,
            hasher: Hasher::new()?,
            sessions: Mutex::default(),
            limits: Mutex::new(Limits::new()),
            host,
            setup_file: folder.file(setup::SETUP),
            noted: Mutex::default(),
            approval_above: AtomicUsize::new(APPROVAL_ABOVE),
            tries: Tries::default(),
        }))
    }

    /// To be called now and then: forgets sessions that are over, and offers another set-up secret when one is over unused.
    pub fn upkeep(
        &self,
        folder: &StateFolder,
        told: &mut dyn FnMut(&str),
    ) -> Result<(), AuthError> {
        let now = self.hub.now();
        lock(&self.sessions).forget(now);
        let due = self.hub.read(|estate| {
            let access = estate.access();
            access.operators().is_empty() && access.setup(now).is_none()
        });
        if due {
            let _changing = self.people.change();
            setup::offer(&self.hub, folder, told)?;
        }
        Ok(())
    }

    /// Devices above which a change takes a second person.
    pub fn approval_above(&self) -> usize {
        self.approval_above.load(Ordering::Relaxed)
    }

    /// Sets that limit.
    pub fn set_approval_above(&self, devices: usize) {
        self.approval_above.store(devices, Ordering::Relaxed);
    }

    /// The principal of a bearer token (RFC 6750).
    pub fn bearer(&self, token: &str) -> Result<Principal, AuthError> {
        let now = self.hub.now();
        if For::Session.fits(token) {
            return self.session(&digest(token), now);
        }
        if For::Token.fits(token) {
            let secret = Digest(digest(token));
            let principal = self.hub.read(|estate| {
                let access = estate.access();
                access.bearer(&secret, now).map(|who| (used_long_ago(access, &who, now), who))
            });
            let (due, who) = principal.map_err(|_| AuthError::Nobody)?;
            if let Some(token) = due {
                self.note_use(token, &who, now);
            }
            return Ok(who);
        }
        if For::Host.fits(token) && crypto::same(&digest(token), &self.host) {
            let host = Principal::host("local");
            return Ok(self.hub.read(|estate| estate.access().principal(&host, now))?);
        }
        Err(AuthError::Nobody)
    }

    /// Who a bearer token still is, without using it: for answers that go on.
    pub fn still(&self, token: &str) -> Option<Principal> {
        let now = self.hub.now();
        if For::Session.fits(token) {
            let session = lock(&self.sessions).get(&digest(token), now).cloned();
            return self.person(&session?, now);
        }
        if For::Token.fits(token) {
            let secret = Digest(digest(token));
            return self.hub.read(|estate| estate.access().bearer(&secret, now).ok());
        }
        self.bearer(token).ok()
    }

    fn session(&self, secret: &[u8; 32], now: Timestamp) -> Result<Principal, AuthError> {
        let session = lock(&self.sessions).used(secret, now).ok_or(AuthError::Nobody)?;
        self.person(&session, now).ok_or_else(|| {
            lock(&self.sessions).end(secret);
            AuthError::Nobody
        })
    }

    /// Whose session it is. It ends with the password that it began with, and with its operator.
    fn person(&self, session: &Session, now: Timestamp) -> Option<Principal> {
        let actor = Principal::person(&session.operator);
        self.hub.read(|estate| {
            let access = estate.access();
            let now_has = password_of(access, &session.operator);
            access.principal(&actor, now).ok().filter(|_| now_has == session.password)
        })
    }

    /// Logins that were tried, by what came of them.
    pub fn tries(&self) -> [(&'static str, u64); 3] {
        let Tries { right, wrong, too_many } = &self.tries;
        [("right", right), ("wrong", wrong), ("too-many", too_many)]
            .map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }

    /// Lets in whoever knows a password.
    pub async fn login(
        self: &Arc<Self>,
        login: &str,
        password: Secret,
        source: Source,
    ) -> Result<Begun, AuthError> {
        let done = self.try_login(login, password, source).await;
        let count = match &done {
            Ok(_) => &self.tries.right,
            Err(AuthError::Wrong) => &self.tries.wrong,
            Err(AuthError::TooMany(_)) => &self.tries.too_many,
            Err(_) => return done,
        };
        count.fetch_add(1, Ordering::Relaxed);
        done
    }

    async fn try_login(
        self: &Arc<Self>,
        login: &str,
        password: Secret,
        source: Source,
    ) -> Result<Begun, AuthError> {
        if password.expose().len() > password::BYTES_MAX {
            return Err(AuthError::Wrong);
        }
        let key = digest(&people::fold(login));
        lock(&self.limits).admit(key, source, self.hub.now()).map_err(AuthError::TooMany)?;
        let (auth, typed) = (Arc::clone(self), login.to_owned());
        let found = blocking(move || auth.password_of_login(&typed)).await?;
        let known = found.as_ref().map(|(.., hash)| hash.clone());
        let right = self.hasher.verify(password, known).await?;
        let Some((operator, record, _)) = found.filter(|_| right) else {
            return Err(AuthError::Wrong);
        };
        lock(&self.limits).was_right(key, source);
        // It may have been disabled, or got another password, meanwhile.
        self.begin_with(&operator, Some(&record)).map_err(|_| AuthError::Wrong)
    }

    /// The operator and the password hash of a login, if it can log in. Looks as long whether there is one or not.
    fn password_of_login(
        &self,
        login: &str,
    ) -> Result<Option<(OperatorId, RecordId, String)>, AuthError> {
        let record = self.people.whose(login).and_then(|id| {
            let record = self.hub.read(|estate| {
                let operator = estate.access().operators().get(&id).filter(|o| o.enabled)?;
                operator.password.as_ref().map(|password| password.record.clone())
            });
            record.map(|record| (id, record))
        });
        match record {
            Some((id, kept)) => {
                Ok(self.people.password(&kept)?.map(|hash| (id, kept.record, hash)))
            }
            None => {
                self.people.look_for_nothing()?;
                Ok(None)
            }
        }
    }

    /// Begins a session of an operator who has proved who it is.
    pub fn begin(&self, operator: &OperatorId) -> Result<Begun, AuthError> {
        self.begin_with(operator, None)
    }

    /// The same for one who did so with a password, if that is still the one it has.
    fn begin_with(
        &self,
        operator: &OperatorId,
        proved: Option<&RecordId>,
    ) -> Result<Begun, AuthError> {
        let now = self.hub.now();
        let actor = Principal::person(operator);
        let (principal, password) = self.hub.read(|estate| {
            let access = estate.access();
            let principal = access.principal(&actor, now)?;
            Ok::<_, Refusal>((principal, password_of(access, operator)))
        })?;
        if proved.is_some() && proved != password.as_ref() {
            return Err(AuthError::Wrong);
        }
        let token = For::Session.make()?;
        let mut sessions = lock(&self.sessions);
        let expires_at = sessions.begin(token.digest(), operator.clone(), password, now);
        Ok(Begun {
            operator: operator.clone(),
            token,
            expires_at,
            must_change: principal.password_temporary,
        })
    }

    /// Ends the session of a secret; whether there was one.
    pub fn logout(&self, token: &str) -> bool {
        For::Session.fits(token) && lock(&self.sessions).end(&digest(token))
    }

    /// Writes down that a token is used, on a thread of its own, once an hour.
    fn note_use(&self, token: TokenId, who: &Principal, now: Timestamp) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        {
            let mut noted = lock(&self.noted);
            let recent = |at: &Timestamp| {
                (0..NOTE_AGAIN_NANOS).contains(&now.as_nanos().saturating_sub(at.as_nanos()))
            };
            if noted.get(&token).is_some_and(recent) {
                return;
            }
            if noted.len() >= NOTED_MAX {
                noted.retain(|_, at| recent(at));
            }
            noted.insert(token.clone(), now);
        }
        let (hub, actor) = (Arc::clone(&self.hub), who.actor.clone());
        runtime.spawn_blocking(move || {
            let command = Command::Access(access::Command::NoteUse { token });
            // What cannot be written now is tried again at a later use.
            let _ = hub.command(&actor, "used", command, std::collections::BTreeSet::new());
        });
    }
}

/// The token, if it is one whose last use was noted long ago.
fn used_long_ago(access: &Access, who: &Principal, now: Timestamp) -> Option<TokenId> {
    let id = TokenId::new(&who.actor.id).ok()?;
    let used_at = access.tokens().get(&id)?.used_at;
    let due = |at: Timestamp| now >= at.plus_nanos(USED_EVERY_S * 1_000_000_000);
    used_at.is_none_or(due).then_some(id)
}

/// The record of an operator's password.
fn password_of(access: &Access, operator: &OperatorId) -> Option<RecordId> {
    access.operators().get(operator)?.password.as_ref().map(|p| p.record.record.clone())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AuthError> + Send + 'static,
) -> Result<T, AuthError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| AuthError::Busy)?
}
