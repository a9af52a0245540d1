//! What a connection of a site may do at one time, beside being open.

use std::sync::Arc;

use model::{SiteId, Timestamp};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

use crate::{Hub, sessions};

/// Requests with commitments of one connection that are worked on.
const SIGNED_OF_ONE_MAX: usize = 2;

/// Connections of sites, with the SHA-256 of the key that each has shown, in hex.
pub(super) type Sessions = sessions::Sessions<SiteId, String>;

/// One connection of a site. It is open until this is dropped.
#[derive(Debug)]
pub(super) struct Session {
    open: sessions::Session<SiteId, String>,
    batch: Semaphore,
    /// Places of requests with commitments.
    pub(super) signed: Semaphore,
}

impl Session {
    pub(super) fn open(of: &Arc<Sessions>, site: SiteId, key_sha256: String) -> Self {
        let (batch, signed) = (Semaphore::new(1), Semaphore::new(SIGNED_OF_ONE_MAX));
        Self { open: of.open(site, key_sha256), batch, signed }
    }

    pub(super) const fn site(&self) -> &SiteId {
        &self.open.who
    }

    pub(super) fn key_sha256(&self) -> &str {
        &self.open.shown
    }

    /// The place of the one batch that is worked on: batches are in order.
    pub(super) fn batch(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.batch.try_acquire()
    }

    /// Ends when the connection has to end.
    pub(super) async fn cut(&self) {
        self.open.cut().await;
    }

    /// Whether the site is still believed with the key of this connection.
    pub(super) fn is_believed(&self, hub: &Hub) -> bool {
        believed(hub, self.site(), self.key_sha256(), hub.now())
    }
}

/// Whether a site is believed with a key.
pub(super) fn believed(hub: &Hub, site: &SiteId, key_sha256: &str, now: Timestamp) -> bool {
    let believes = |site: &estate::sites::Site| site.believes(key_sha256, now);
    hub.read(|estate| estate.sites().get(site).is_some_and(believes))
}
