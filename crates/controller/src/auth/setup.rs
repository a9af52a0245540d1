//! The first start: a token for this machine, and a secret with which the first operator is made.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use estate::Command;
use estate::access::{self, Principal};
use estate::side::Digest;
use model::Timestamp;

use super::AuthError;
use super::secret::{For, digest};
use crate::Hub;
use crate::state::StateFolder;

const HOST: &str = "host-token";
pub(super) const SETUP: &str = "setup-token";
/// How long a secret for the first operator stands.
const OFFER_NANOS: i64 = 24 * 3_600 * 1_000_000_000;

/// The digest of this machine's token, which is made when there is none. One that others could read is not believed any more.
pub(super) fn host_token(
    folder: &StateFolder,
    told: &mut dyn FnMut(&str),
) -> Result<[u8; 32], AuthError> {
    if let Some(text) = text_of(folder, HOST)? {
        if !is_private(&folder.file(HOST))? {
            told("host-token could be read by others: another one is made");
        } else if For::Host.fits(&text) {
            return Ok(digest(&text));
        } else {
            told("host-token is damaged: another one is made");
        }
    }
    let secret = For::Host.make()?;
    folder.write(HOST, format!("{}\n", secret.expose()).as_bytes(), 0o600)?;
    Ok(secret.digest())
}

/// Offers a secret while there is nobody, unless one stands; takes it away when there is somebody.
pub(super) fn offer(
    hub: &Hub,
    folder: &StateFolder,
    told: &mut dyn FnMut(&str),
) -> Result<(), AuthError> {
    let at = folder.file(SETUP);
    let (somebody, stands) = hub.read(|estate| {
        let access = estate.access();
        (!access.operators().is_empty(), access.setup(hub.now()).cloned())
    });
    if somebody {
        return remove(&at);
    }
    let until = match (stands, text_of(folder, SETUP)?) {
        (Some(setup), Some(text)) if setup.secret == Digest(digest(&text)) && is_private(&at)? => {
            setup.expires_at
        }
        _ => {
            let secret = For::Setup.make()?;
            let expires_at = hub.now().plus_nanos(OFFER_NANOS);
            let command =
                access::Command::OfferSetup { secret: Digest(secret.digest()), expires_at };
            let why = "there is no operator yet";
            let host = Principal::host("setup");
            hub.command(&host, why, Command::Access(command), BTreeSet::new())?;
            folder.write(SETUP, format!("{}\n", secret.expose()).as_bytes(), 0o600)?;
            expires_at
        }
    };
    told(&offered(&at, until));
    Ok(())
}

fn offered(at: &Path, until: Timestamp) -> String {
    format!(
        "there is no operator yet: whoever reads {} may make the first one, until {until} (`ringfence setup`)",
        at.display()
    )
}

/// Takes away the file with a secret that is worth nothing any more.
pub(super) fn remove(at: &Path) -> Result<(), AuthError> {
    match fs::remove_file(at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk("take away", at)(error)),
        _ => Ok(()),
    }
}

fn text_of(folder: &StateFolder, name: &str) -> Result<Option<String>, AuthError> {
    let bytes = folder.read(name)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned()))
}

fn is_private(at: &Path) -> Result<bool, AuthError> {
    let about = fs::metadata(at).map_err(disk("look at", at))?;
    Ok(about.permissions().mode() & 0o077 == 0)
}

fn disk(doing: &'static str, at: &Path) -> impl Fn(io::Error) -> AuthError + use<> {
    let path = at.to_owned();
    move |source| AuthError::Io { doing, path: path.clone(), source }
}
