//! One enforcement point.

mod apply;
mod change;
mod read;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::ruleset::Ruleset;

use crate::EnforceError;
use crate::netlink::{Batch, NetlinkError, Place, Protocol, Socket};
use crate::nft::{self, held};
use crate::plan::{Marker, Options, Plan};
use crate::verify::{self, Difference, Verified};

pub use change::{Change, NameGrant};
pub use read::{Denial, InForce};

/// The tables of one name in one network namespace.
///
/// Clones share one socket. Where the kernel can, the tables belong to that socket: others cannot
/// change them while it lives, and when it is gone the rules stay and the next fence claims them.
#[derive(Clone, Debug)]
pub struct Fence {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    table: String,
    /// Held by whoever puts a ruleset in force, from its first message to its last.
    applying: Mutex<()>,
    session: Mutex<Session>,
}

/// What is shared with a fence's clones; locked for one exchange with the kernel at a time, so
/// that answers to names need not wait for a whole ruleset.
#[derive(Debug, Default)]
struct Session {
    socket: Option<Socket>,
    /// What this process knows to be in force.
    memory: Option<Memory>,
}

#[derive(Debug)]
struct Memory {
    plan: Plan,
    /// Elements changed since, by family, set and key; `None`: taken away.
    pending: BTreeMap<(&'static str, String, Vec<u8>), Option<change::Owned>>,
    generation: u64,
}

/// A ruleset that is in force. Not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Generation now in force.
    pub generation: u64,
    /// Generation it replaced.
    pub replaced: Option<u64>,
    /// Elements it consists of.
    pub elements: usize,
    /// Elements that had to be sent: all of them, or those that differ.
    pub sent: usize,
    /// Permits this enforcement point cannot carry, in words.
    pub unsupported: Vec<String>,
    /// The tables are owned by this process.
    pub owned: bool,
}

impl Fence {
    /// The fence named `table` in `place`. Nothing is asked of the kernel yet.
    pub fn new(place: Place, table: &str) -> Self {
        let (applying, session) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { place, table: table.to_owned(), applying, session }) }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.inner.place
    }

    /// Puts `ruleset` in force in the place of what is: all of it or nothing, for every packet.
    ///
    /// Where only devices, exceptions or single permits differ from what this process put in
    /// force, only the difference is sent, in one transaction. Else the new generation is built
    /// beside the old one, switched to in one small transaction, and the old one taken away.
    ///
    /// Refuses a generation older than the one read back from the kernel. The same generation may
    /// be applied again: that repairs drift.
    pub fn apply(&self, ruleset: &Ruleset, options: &Options) -> Result<Applied, EnforceError> {
        let options = self.named(options);
        let plan = Plan::new(ruleset, &options)?;
        let _one_at_a_time = self.inner.applying.lock().unwrap_or_else(PoisonError::into_inner);
        self.put_in_force(plan, ruleset, &options)
    }

    /// Reads the kernel back and compares it with `ruleset`: generation, rules, definitions and
    /// counts of sets; all elements of sets up to [`verify::LISTED_MAX`], and of larger ones
    /// [`verify::SAMPLE`] by key.
    pub fn verify(
        &self,
        ruleset: &Ruleset,
        options: &Options,
    ) -> Result<Result<Verified, Vec<Difference>>, EnforceError> {
        self.compare(ruleset, options, verify::SAMPLE)
    }

    /// The same with every element of every set, by key: seconds for a million.
    pub fn verify_all(
        &self,
        ruleset: &Ruleset,
        options: &Options,
    ) -> Result<Result<Verified, Vec<Difference>>, EnforceError> {
        self.compare(ruleset, options, usize::MAX)
    }

    fn compare(
        &self,
        ruleset: &Ruleset,
        options: &Options,
        sample: usize,
    ) -> Result<Result<Verified, Vec<Difference>>, EnforceError> {
        let options = self.named(options);
        let mut plan = Plan::new(ruleset, &options)?;
        let mut session = self.session()?;
        let compared = verify::compare(session.socket()?, &mut plan, sample)?;
        if compared.is_ok() {
            let generation = plan.generation;
            session.memory = Some(Memory { plan, pending: BTreeMap::new(), generation });
        }
        Ok(compared)
    }

    /// The netlink port that this fence's changes come from, as events of the kernel name it.
    pub fn port(&self) -> Result<u32, EnforceError> {
        Ok(self.session()?.socket()?.port()?)
    }

    /// Takes the fence away. That it is already gone is fine.
    pub fn remove(&self) -> Result<(), EnforceError> {
        let mut session = self.session()?;
        let mut batch = Batch::new(nft::SUBSYSTEM);
        for family in FAMILIES {
            if let Some(flags) = held::table(session.socket()?, family, &self.inner.table)? {
                let tag = crate::plan::Tag::first(0);
                let target = nft::write::Target { family, table: &self.inner.table, tag: &tag };
                if flags & PERSISTENT != 0 {
                    // An orphan must be claimed before it can be taken away.
                    target.table(&mut batch, OWNED | PERSISTENT, false);
                }
                target.delete_table(&mut batch);
            }
        }
        session.memory = None;
        session.commit(&mut batch, None)
    }

    fn named(&self, options: &Options) -> Options {
        Options { table: self.inner.table.clone(), ..options.clone() }
    }

    /// The shared socket, opened when it is first needed.
    fn session(&self) -> Result<MutexGuard<'_, Session>, EnforceError> {
        let mut session = self.inner.session.lock().unwrap_or_else(PoisonError::into_inner);
        if session.socket.is_none() {
            session.socket = Some(Socket::open(Protocol::Netfilter, &self.inner.place)?);
        }
        Ok(session)
    }
}

impl Session {
    fn socket(&mut self) -> Result<&mut Socket, NetlinkError> {
        self.socket.as_mut().ok_or(NetlinkError::Unreadable("the socket is closed"))
    }

    /// Sends a transaction; a refusal says what was refused.
    fn commit(&mut self, batch: &mut Batch, id: Option<u32>) -> Result<(), EnforceError> {
        let sent = self.socket()?.commit(batch, id);
        sent.map_err(|error| told(batch, error))
    }
}

/// Both families a fence may have a table in.
pub(crate) const FAMILIES: [&str; 2] = ["inet", "bridge"];
/// `NFT_TABLE_F_OWNER`, `NFT_TABLE_F_PERSIST`.
const OWNED: u32 = 2;
const PERSISTENT: u32 = 4;

/// The generation in force, as the chains of a table tell it.
pub(crate) fn marker<'a>(chains: impl Iterator<Item = &'a String>) -> Option<Marker> {
    chains.filter_map(|name| Marker::parse(name)).max()
}

/// What was refused, in words.
fn told(batch: &Batch, error: NetlinkError) -> EnforceError {
    if error.is_denied() {
        return EnforceError::NotPermitted { said: error.to_string() };
    }
    let NetlinkError::Refused { index, why, source } = &error else {
        return EnforceError::Netlink(error);
    };
    let message = index.and_then(|index| batch.message(index));
    let what = message.map_or("put the transaction in force".to_owned(), |message| {
        let name = message.netfilter().and_then(|(_, _, attributes)| {
            let kind = match message.code() {
                nft::message::NEW_TABLE | nft::message::DELETE_TABLE => 1,
                nft::message::NEW_CHAIN | nft::message::DELETE_CHAIN => 3,
                _ => 2,
            };
            attributes.text(kind)
        });
        format!("{} {}", nft::word(message.code()), name.unwrap_or_default())
    });
    let why = why.as_ref().map_or(source.to_string(), |why| format!("{source} ({why})"));
    EnforceError::Refused { what, why }
}
