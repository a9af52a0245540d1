//! Lists of revoked certificates, as files for whoever terminates connections of devices beside the site: a broker, a proxy.
//!
//! ```text
//! authorities.pem     roots and authorities whose certificates count
//! revoked.pem         their complete lists (X509 CRL), one after the other
//! revoked-delta.pem   what changed since, for programs that know deltas (RFC 5280 §5.2.4)
//! ```
//!
//! They are no secret: everybody may read them. A file is replaced whole, `revoked.pem` first: a delta never stands beside a list that it does not fit.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;

use crypto::Provider;
use model::Timestamp;
use model::line::RevocationList;
use pki::crl::{self, NotApplied};
use pki::{Certificate, Pem};

/// Name of the directory in the state directory.
pub const FOLDER: &str = "lists";

const AUTHORITIES: &str = "authorities.pem";
const COMPLETE: &str = "revoked.pem";
const DELTA: &str = "revoked-delta.pem";

/// Why lists are not kept; those of before stay.
#[derive(Debug, thiserror::Error)]
pub enum ListsError {
    /// What came.
    #[error("lists of revoked certificates cannot be used: {0}; those of before stay")]
    Wrong(String),
    /// The directory.
    #[error("lists of revoked certificates cannot be written to {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The directory, and what is in it.
#[derive(Debug)]
pub struct Lists {
    folder: PathBuf,
    /// Complete lists by their authority, both PEM.
    complete: BTreeMap<String, String>,
}

impl Lists {
    /// Lists in a directory, which is made when there are some.
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder, complete: BTreeMap::new() }
    }

    /// Takes what the controller says, at this moment.
    pub fn take(
        &mut self,
        authorities: &str,
        lists: Vec<RevocationList>,
        now: Timestamp,
    ) -> Result<(), ListsError> {
        let (mut deltas, mut all) = (String::new(), BTreeMap::new());
        for list in lists {
            let complete = list.complete.or_else(|| self.complete.get(&list.authority).cloned());
            let complete = complete.ok_or_else(|| {
                ListsError::Wrong("a change came before what it changes".to_owned())
            })?;
            check(&list.authority, &complete, &list.delta, now).map_err(ListsError::Wrong)?;
            deltas.push_str(&list.delta);
            all.insert(list.authority, complete);
        }
        let complete: String = all.values().map(String::as_str).collect();
        let mut folder = fs::DirBuilder::new();
        let made = folder.recursive(true).mode(0o755).create(&self.folder);
        made.map_err(|source| ListsError::Io { path: self.folder.clone(), source })?;
        for (name, text) in
            [(AUTHORITIES, authorities), (COMPLETE, complete.as_str()), (DELTA, deltas.as_str())]
        {
            let path = self.folder.join(name);
            self.replace(name, text).map_err(|source| ListsError::Io { path, source })?;
        }
        self.complete = all;
        Ok(())
    }

    /// Nothing of it has to survive a crash of the machine: they come again with the line.
    fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        let new = self.folder.join(format!("{name}.new"));
        let mut file = fs::OpenOptions::new();
        let mut file = file.write(true).create(true).truncate(true).mode(0o644).open(&new)?;
        // Whatever the umask.
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, self.folder.join(name))
    }
}

/// Both are of the authority and count now, and the one goes on from the other.
fn check(authority: &str, complete: &str, delta: &str, now: Timestamp) -> Result<(), String> {
    let authority = Pem::read_all(authority.as_bytes()).map_err(|error| error.to_string())?;
    let [one] = authority.as_slice() else {
        return Err("one certificate of an authority is expected".to_owned());
    };
    let authority = Certificate::from_der(&one.der).map_err(|error| error.to_string())?;
    let read = |list: &str| {
        crl::read(list.as_bytes(), &authority, now, &Provider).map_err(|error| error.to_string())
    };
    match read(complete)?.apply(&read(delta)?) {
        // Made together: the list has all of it.
        Ok(_) | Err(NotApplied::Old { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
