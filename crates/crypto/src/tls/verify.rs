//! Who is believed during a handshake: paths by rustls' own verifier, and what that one does not ask.
//!
//! It takes a root as a name and a key. Here a root is a certificate with a validity, and one that is over vouches for nobody;
//! what was presented is read as strictly as everywhere; and revocation is asked every time.

use std::sync::Arc;

use pki::Certificate;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::remembered::remembering;
use super::{Revoked, TlsError, timestamp};

/// Certificates that are looked at beside the first.
const BETWEEN_MAX: usize = 8;

/// Roots, each for as long as it is valid.
#[derive(Debug)]
pub(super) struct Anchors {
    roots: Vec<Certificate>,
    provider: Arc<CryptoProvider>,
}

impl Anchors {
    pub(super) fn new(
        roots: Vec<Certificate>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        match roots.is_empty() {
            true => Err(TlsError::NoRoots),
            false => Ok(Self { roots, provider }),
        }
    }

    fn store<'a>(roots: impl Iterator<Item = &'a Certificate>) -> Result<RootCertStore, Error> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(CertificateDer::from(root.der()))?;
        }
        Ok(store)
    }

    /// `None` where all of them are valid.
    fn valid_at(&self, now: UnixTime) -> Result<Option<RootCertStore>, Error> {
        let valid: Vec<&Certificate> = self.roots.iter().filter(|r| is_valid(r, now)).collect();
        if valid.len() == self.roots.len() {
            return Ok(None);
        }
        if valid.is_empty() {
            // Say of the last one what is wrong with it.
            return Err(self
                .roots
                .last()
                .map_or(CertificateError::UnknownIssuer, |r| over(r, now))
                .into());
        }
        Self::store(valid.into_iter()).map(Some)
    }
}

fn is_valid(root: &Certificate, now: UnixTime) -> bool {
    let now = timestamp(now);
    root.not_before() <= now && now <= root.not_after()
}

fn over(root: &Certificate, time: UnixTime) -> CertificateError {
    let unix = |at: model::Timestamp| {
        let seconds = u64::try_from(at.as_nanos().div_euclid(1_000_000_000)).unwrap_or_default();
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    };
    match timestamp(time) < root.not_before() {
        true => CertificateError::NotValidYetContext { time, not_before: unix(root.not_before()) },
        false => CertificateError::ExpiredContext { time, not_after: unix(root.not_after()) },
    }
}

fn server_inner(
    store: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone());
    builder.build().map_err(|error| Error::General(error.to_string()))
}

fn client_inner(
    store: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(store), remembering(provider));
    builder.build().map_err(|error| Error::General(error.to_string()))
}

/// What was presented, the first certificate first; read strictly and of bounded number.
fn read(
    first: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
) -> Result<Vec<Certificate>, Error> {
    if between.len() > BETWEEN_MAX {
        return Err(CertificateError::BadEncoding.into());
    }
    let all = std::iter::once(first).chain(between).map(|der| Certificate::from_der(der));
    all.collect::<Result<_, _>>().map_err(|_| CertificateError::BadEncoding.into())
}

/// Believes servers.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    anchors: Anchors,
    whole: Arc<WebPkiServerVerifier>,
}

impl ServerVerifier {
    pub(super) fn new(anchors: Anchors) -> Result<Self, TlsError> {
        let whole = server_inner(Anchors::store(anchors.roots.iter())?, &anchors.provider)?;
        Ok(Self { anchors, whole })
    }
}

/// Believes clients.
pub(super) struct ClientVerifier {
    anchors: Anchors,
    whole: Arc<dyn ClientCertVerifier>,
    hints: Vec<DistinguishedName>,
    mandatory: bool,
    revoked: Arc<dyn Revoked>,
}

impl ClientVerifier {
    pub(super) fn new(
        anchors: Anchors,
        mandatory: bool,
        revoked: Arc<dyn Revoked>,
    ) -> Result<Self, TlsError> {
        let store = Anchors::store(anchors.roots.iter())?;
        let hints = store.subjects();
        let whole = client_inner(store, &anchors.provider)?;
        Ok(Self { anchors, whole, hints, mandatory, revoked })
    }
}

impl std::fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ClientVerifier").field(&self.anchors.roots).finish()
    }
}

/// Believes one server once, by the digest of its root.
#[derive(Debug)]
pub(super) struct Pinned {
    root_sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    pub(super) const fn new(root_sha256: [u8; 32], provider: Arc<CryptoProvider>) -> Self {
        Self { root_sha256, provider }
    }
}

/// Signatures over handshakes are checked as the provider does it; the rest is each verifier's own.
macro_rules! handshake_signatures {
    ($self:ident, $provider:expr) => {
        fn verify_tls12_signature(
            &$self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &$provider.signature_verification_algorithms;
            verify_tls12_signature(message, cert, dss, algorithms)
        }

        fn verify_tls13_signature(
            &$self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &$provider.signature_verification_algorithms;
            verify_tls13_signature(message, cert, dss, algorithms)
        }

        fn supported_verify_schemes(&$self) -> Vec<SignatureScheme> {
            $provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        read(end_entity, intermediates)?;
        let inner = match self.anchors.valid_at(now)? {
            None => self.whole.clone(),
            Some(store) => server_inner(store, &self.anchors.provider)?,
        };
        inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    handshake_signatures!(self, self.anchors.provider);
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented = read(end_entity, intermediates)?;
        // Never the first one: a server's own certificate is no root.
        let mut others = presented.iter().skip(1);
        let root = others.find(|c| crate::sha256(c.der()) == self.root_sha256);
        let root = root.ok_or(CertificateError::UnknownIssuer)?;
        if !is_valid(root, now) {
            return Err(over(root, now).into());
        }
        let inner = server_inner(Anchors::store(std::iter::once(root))?, &self.provider)?;
        inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    handshake_signatures!(self, self.provider);
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let presented = read(end_entity, intermediates)?;
        let inner = match self.anchors.valid_at(now)? {
            None => self.whole.clone(),
            Some(store) => client_inner(store, &self.anchors.provider)?,
        };
        let verified = inner.verify_client_cert(end_entity, intermediates, now)?;
        // Asked last, so that only certificates of our own are looked up.
        match presented.iter().any(|c| self.revoked.is_revoked(c)) {
            true => Err(CertificateError::Revoked.into()),
            false => Ok(verified),
        }
    }

    handshake_signatures!(self, self.anchors.provider);
}
