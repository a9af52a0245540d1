//! Makers of devices whose identities (IDevID, IEEE 802.1AR) are believed: each a file of the state folder with its roots. What they say is
//! who made a device and which of theirs it is; whether it was bought stands in the estate.

use std::fs;

use crypto::Provider;
use crypto::tls::rustls::pki_types::CertificateDer;
use estate::identities::How;
use estate::side::Digest;
use model::Timestamp;
use pki::Certificate;
use pki::path::{self, Purpose};

use crate::state::{StateError, StateFolder};

/// Folder with a PEM file for each maker: `axis.pem`.
const FOLDER: &str = "pki/makers";
/// Makers of one estate.
const MAKERS_MAX: usize = 256;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Makers(Vec<(String, Vec<Certificate>)>);

/// What a device has shown of its maker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Idevid {
    maker: String,
    number: String,
    key: Digest,
    mud_url: Option<String>,
}

impl Idevid {
    /// Where the description of the device is, as its maker signed it.
    pub(super) fn mud_url(&self) -> Option<&str> {
        self.mud_url.as_deref()
    }

    /// Of which maker it is, and which of theirs.
    pub(super) fn named(&self) -> (&str, &str) {
        (&self.maker, &self.number)
    }

    pub(super) fn how(&self, token: Option<Digest>) -> How {
        let Self { maker, number, key, .. } = self.clone();
        How::Idevid { maker, number, key, token }
    }
}

impl Makers {
    /// Of a state folder; nobody, where there is no such folder.
    pub(super) fn open(folder: &StateFolder) -> Result<Self, StateError> {
        let mut makers = Vec::new();
        let entries = fs::read_dir(folder.file(FOLDER)).into_iter().flatten();
        for entry in entries.filter_map(Result::ok).take(MAKERS_MAX) {
            let path = entry.path();
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            if path.extension().is_none_or(|extension| extension != "pem") || name.is_empty() {
                continue;
            }
            let wrong = |why: String| StateError::Maker { path: path.clone(), why };
            let bytes = fs::read(&path).map_err(|error| wrong(error.to_string()))?;
            let roots = Certificate::read_all(&bytes).map_err(|error| wrong(error.to_string()))?;
            if roots.is_empty() {
                return Err(wrong("there is no certificate in it".to_owned()));
            }
            makers.push((name.to_owned(), roots));
        }
        makers.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self(makers))
    }

    /// All their roots.
    pub(super) fn roots(&self) -> impl Iterator<Item = &Certificate> {
        self.0.iter().flat_map(|(_, roots)| roots)
    }

    /// What was shown in a handshake that is complete.
    pub(super) fn shown(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        at: Timestamp,
    ) -> Option<Idevid> {
        let chain: Result<Vec<_>, _> =
            chain?.iter().map(|der| Certificate::from_der(der)).collect();
        let chain = chain.ok()?;
        let (first, others) = chain.split_first()?;
        let by = |roots: &[Certificate]| {
            path::find(first, others, roots, at, Purpose::Idevid, &Provider).is_ok()
        };
        let (maker, _) = self.0.iter().find(|(_, roots)| by(roots))?;
        let key = Digest(crypto::sha256(&first.key().ok()?.write()));
        let (maker, mud_url) = (maker.clone(), first.mud_url());
        Some(Idevid { maker, number: first.device_number()?, key, mud_url })
    }
}
