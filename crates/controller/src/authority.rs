//! The estate's own certificate authority, as far as the line and the API need it: a root, an issuing authority below it, the
//! certificate of this server, and those of sites.
//!
//! Keys are files of the state folder, under its passphrase ([`crate::keys`]); what signs is a [`Signer`], wherever its key lives. The root
//! signs nothing but issuing authorities: its key can be taken away (to a safe, say) and is missed only when the issuing authority comes to
//! its end. An issuing authority that was followed by another one keeps its key until its last certificate is over: it signs lists of
//! what it revoked, and nothing else.

mod kept;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crypto::tls::Credentials;
use crypto::{NoRandom, PrivateKey, Provider};
use estate::side::Digest;
use model::{DeviceId, SiteId, Timestamp};
use pki::identity::{Estate, MemberId};
use pki::issue::{self, Issuer, Order, Profile, Subject};
use pki::{Certificate, Key, KeyKind, Number, Signer, crl, ocsp, request};

use self::kept::{
    NewKey, armoured, belongs, certificate, earlier, former, former_root_key, issuing_signer, keep,
    keep_token, remember, root_key,
};
use crate::blobs::hex;
use crate::state::{StateError, StateFolder};
use crate::token::TokenError;

/// Nanoseconds of a day.
const DAY_NANOS: i64 = 86_400 * 1_000_000_000;
/// Clocks differ: a certificate is good from this long before it was made, in nanoseconds.
const EARLIER_NANOS: i64 = 300 * 1_000_000_000;
/// Days that a root lives.
const ROOT_DAYS: i64 = 3_653;
/// Days that an issuing authority lives.
const ISSUING_DAYS: i64 = 1_826;
/// An issuing authority with fewer days than this is followed by another one.
pub(crate) const ISSUING_DAYS_MIN: i64 = 400;
/// Days that the certificate of a site or of this server lives. A site that is cut off renews when it is back.
pub(crate) const MEMBER_DAYS: i64 = 365;

/// Days that the certificate of a device lives.
const DEVICE_DAYS: i64 = 30;
/// By how much earlier it may end, in nanoseconds: three days.
const DEVICE_SPREAD_NANOS: i64 = 3 * DAY_NANOS;

const ROOT: &str = "pki/root.pem";
const ROOT_KEY: &str = "pki/root.key.pem";
const ISSUING: &str = "pki/issuing.pem";
const ISSUING_KEY: &str = "pki/issuing.key.pem";
/// Names a key in a token (RFC 7512), which issues instead of that one.
const ISSUING_TOKEN: &str = "pki/issuing.pkcs11";
/// Authorities of before, and crosses between them and those of today.
const FORMER: &str = "pki/former.pem";

/// Why there is no authority, or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file that is not what it should be.
    #[error("{file}: {why}")]
    File {
        /// Which.
        file: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A key in a token.
    #[error("{file}: {source}")]
    Token {
        /// The file that names it.
        file: String,
        /// Why it cannot be had.
        source: TokenError,
    },
    /// The root's key is not there, and an issuing authority has to be made.
    #[error(
        "the issuing authority ends at {0} and another one needs the root's key: put {ROOT_KEY} back for one start"
    )]
    RootAway(Timestamp),
    /// The root's key is not there, and it has to certify what comes after it.
    #[error("the root's key has to certify its successor: put {ROOT_KEY} back for that")]
    RootKeyAway,
    /// A certificate that must not be.
    #[error("no certificate is issued: {0}")]
    Refused(#[from] issue::Refusal),
    /// A name.
    #[error("{0}")]
    Name(#[from] pki::Malformed),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

/// A certificate that was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, then those up to the root, which is the last.
    pub chain: Vec<Certificate>,
    /// SHA-256 of its public key, in hex.
    pub key_sha256: String,
    /// Serial number, in hex.
    pub serial: String,
    /// Until when it is good.
    pub not_after: Timestamp,
}

/// A certificate of a device, which nobody has yet.
#[derive(Clone, Debug)]
pub struct DeviceCertificate {
    /// The certificate.
    pub certificate: Certificate,
    /// Its serial number.
    pub serial: [u8; 16],
    /// SHA-256 of the authority that issued it.
    pub issuer: Digest,
}

/// Whatever signs for an authority: a key of the state folder, a token, a machine elsewhere.
pub type AnySigner = Box<dyn Signer + Send + Sync>;

/// An issuing authority, with what signs for it.
pub struct Issuing {
    certificate: Certificate,
    signer: AnySigner,
}

/// The authority.
pub struct Authority {
    estate: Estate,
    root: Certificate,
    issuing: Issuing,
    /// Those before it whose certificates are not all over.
    earlier: Vec<Issuing>,
    /// Roots and issuing authorities of before that are not over, and roots as those before them certify them: whoever has not heard of the new
    /// ones believes and is believed.
    former: Vec<Certificate>,
    /// What this server shows.
    shown: Mutex<Option<Certificate>>,
}

/// A root that has taken the place of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextRoot {
    /// SHA-256 of the root of before, in hex.
    pub before_sha256: String,
    /// SHA-256 of the new one, in hex.
    pub root_sha256: String,
    /// File of the state folder with the key of the root of before, which signs nothing any more.
    pub former_key: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("estate", &self.estate).finish_non_exhaustive()
    }
}

impl Authority {
    /// Opens the authority of an estate, or makes it.
    pub fn open(
        folder: &StateFolder,
        estate: &str,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let estate = Estate::new(estate)?;
        let root = match certificate(folder, ROOT)? {
            Some(root) => root,
            None => make_root(folder, &estate, now)?,
        };
        let kept = match (certificate(folder, ISSUING)?, issuing_signer(folder)?) {
            (Some(certificate), Some(signer)) if belongs(&certificate, &*signer) => {
                Ok(Issuing { certificate, signer })
            }
            // A crash between the two files leaves them apart.
            (certificate, _) => Err(certificate),
        };
        let least = now.plus_nanos(ISSUING_DAYS_MIN.saturating_mul(DAY_NANOS));
        let lasts = |issuing: &Certificate| {
            issuing.not_after() > least && issuing.issuer() == root.subject()
        };
        let issuing = match kept {
            Ok(issuing) if lasts(&issuing.certificate) => issuing,
            kept => match root_key(folder, &root)? {
                Some(root_key) => {
                    match &kept {
                        Ok(issuing) => keep(folder, &issuing.certificate)?,
                        Err(Some(alone)) => keep(folder, alone)?,
                        Err(None) => {}
                    }
                    make_issuing(folder, &estate, &root, &root_key, now)?
                }
                // It goes on while it can.
                None => match kept {
                    Ok(issuing) if issuing.certificate.not_after() > now => issuing,
                    Ok(Issuing { certificate, .. }) | Err(Some(certificate)) => {
                        return Err(AuthorityError::RootAway(certificate.not_after()));
                    }
                    Err(None) => return Err(AuthorityError::RootAway(now)),
                },
            },
        };
        keep_token(folder, &issuing)?;
        let mut former = former(folder)?;
        let earlier = earlier(folder, &former, &root, &issuing.certificate, now)?;
        former.retain(|one| one.not_after() > now && *one != root && *one != issuing.certificate);
        Ok(Self { estate, root, issuing, earlier, former, shown: Mutex::default() })
    }

    /// Puts another root, and an issuing authority below it, in the place of those that there are. The new root is certified by the one of before, and
    /// both are shown and believed for as long as they last: nobody is cut off.
    pub fn next_root(
        folder: &StateFolder,
        estate: &str,
        now: Timestamp,
    ) -> Result<NextRoot, AuthorityError> {
        let before = Self::open(folder, estate, now)?;
        let before_key = root_key(folder, &before.root)?;
        let before_key = before_key.ok_or(AuthorityError::RootKeyAway)?;
        let (root_key, key) = (new_key()?, NewKey::of(folder)?);
        let seconds = now.as_nanos().div_euclid(1_000_000_000);
        let id = format!("root-{seconds}");
        let root = root_of(&authority(&before.estate, &id)?, &root_key, now)?;
        let subject = authority(&before.estate, &format!("issuing-{seconds}"))?;
        let issuing = issuing_of(&subject, key.signer(), &root, &root_key, now)?;
        let cross =
            cross_of(&authority(&before.estate, &id)?, &root, &before.root, &before_key, now)?;
        let former_key = former_root_key(&before.root);
        // Whatever of it is missing after a crash is made by the next start, or by doing this again.
        remember(folder, &[before.root.clone(), cross])?;
        keep(folder, &before.issuing.certificate)?;
        folder.write_key(&former_key, &before_key)?;
        folder.write_key(ROOT_KEY, &root_key)?;
        folder.write(ROOT, armoured(&root)?.as_bytes(), 0o644)?;
        let issuing = key.kept(folder, issuing)?;
        keep_token(folder, &issuing)?;
        let sha256 = |certificate: &Certificate| hex(&crypto::sha256(certificate.der()));
        let (before_sha256, root_sha256) = (sha256(&before.root), sha256(&root));
        Ok(NextRoot { before_sha256, root_sha256, former_key })
    }

    /// Roots that vouch for members of the estate: the one of today first.
    pub fn roots(&self) -> Vec<Certificate> {
        let former = self.former.iter().filter(|one| one.subject() == one.issuer());
        std::iter::once(&self.root).chain(former).cloned().collect()
    }

    /// Roots as those before them certify them.
    fn crosses(&self) -> impl Iterator<Item = &Certificate> {
        let roots = self.roots();
        let of_root = move |one: &&Certificate| {
            one.subject() != one.issuer() && roots.iter().any(|r| r.subject() == one.subject())
        };
        self.former.iter().filter(of_root)
    }

    /// The estate that it is for.
    pub const fn estate(&self) -> &Estate {
        &self.estate
    }

    /// Whom devices and servers of the estate are vouched for by: its root, the authority below it that issues, and those of before.
    pub fn anchors(&self) -> Vec<Certificate> {
        [&self.root, &self.issuing.certificate].into_iter().chain(&self.former).cloned().collect()
    }

    /// Its root.
    pub const fn root(&self) -> &Certificate {
        &self.root
    }

    /// SHA-256 of the root, in hex: what people compare, and what tokens of sites carry.
    pub fn root_sha256(&self) -> String {
        hex(&crypto::sha256(self.root.der()))
    }

    /// What this server shows: a new key and a certificate for its names, with the root as the last of the chain.
    pub fn server(&self, hosts: &[String], now: Timestamp) -> Result<Credentials, AuthorityError> {
        let key = new_key()?;
        let (addresses, hosts): (Vec<_>, Vec<_>) =
            hosts.iter().cloned().partition(|host| host.parse::<IpAddr>().is_ok());
        let subject = Subject {
            estate: self.estate.clone(),
            id: MemberId::new("controller")?,
            hosts,
            addresses: addresses.iter().filter_map(|text| text.parse().ok()).collect(),
        };
        let chain = self.issue(Profile::Server, &subject, &key.public(), now)?;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = chain.first().cloned();
        Ok(Credentials { chain, key: Arc::new(key) })
    }

    /// The last certificate that was made for this server.
    pub fn shown(&self) -> Option<Certificate> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A certificate for a site, for the key of its request. What else the request wishes does not count.
    pub fn site(
        &self,
        site: &SiteId,
        request: &request::Request,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        let subject = Subject {
            estate: self.estate.clone(),
            id: member_of(site)?,
            hosts: Vec::new(),
            addresses: Vec::new(),
        };
        let chain = self.issue(Profile::Site, &subject, &request.key, now)?;
        let leaf = chain.first().ok_or_else(|| AuthorityError::File {
            file: ISSUING,
            why: "it issued nothing".to_owned(),
        })?;
        Ok(Issued {
            key_sha256: key_sha256(&request.key),
            serial: hex(leaf.serial()),
            not_after: leaf.not_after(),
            chain,
        })
    }

    /// A certificate for a device, for a key whose possession was shown.
    pub fn device(
        &self,
        device: &DeviceId,
        key: &Key,
        now: Timestamp,
    ) -> Result<DeviceCertificate, AuthorityError> {
        self.of_fleet(Profile::Device, device, key, now)
    }

    /// The same for a device that is a gateway.
    pub fn gateway(
        &self,
        device: &DeviceId,
        key: &Key,
        now: Timestamp,
    ) -> Result<DeviceCertificate, AuthorityError> {
        self.of_fleet(Profile::Gateway, device, key, now)
    }

    fn of_fleet(
        &self,
        profile: Profile,
        device: &DeviceId,
        key: &Key,
        now: Timestamp,
    ) -> Result<DeviceCertificate, AuthorityError> {
        let subject = Subject {
            estate: self.estate.clone(),
            id: member_of_device(device)?,
            hosts: Vec::new(),
            addresses: Vec::new(),
        };
        let (serial, issuing) = (serial()?, &self.issuing.certificate);
        // Devices that were unpacked together do not all renew together.
        let [a, b, ..] = serial;
        let earlier =
            i64::from(u16::from_be_bytes([a, b])).saturating_mul(DEVICE_SPREAD_NANOS) >> 16;
        let end = later(now, DEVICE_DAYS).plus_nanos(earlier.saturating_neg());
        let order = Order {
            profile,
            subject: &subject,
            key,
            serial,
            not_before: now.plus_nanos(-EARLIER_NANOS).max(issuing.not_before()),
            not_after: end.min(issuing.not_after()),
        };
        let issuer = Issuer::Authority(issuing);
        let certificate = issue::issue(&order, issuer, &*self.issuing.signer, &Provider)?;
        Ok(DeviceCertificate { certificate, serial, issuer: self.issuing.sha256() })
    }

    /// The authority that issues.
    pub const fn issuing(&self) -> &Issuing {
        &self.issuing
    }

    /// It, and those before it that still sign lists: the latest first.
    pub fn all_issuing(&self) -> impl Iterator<Item = &Issuing> {
        std::iter::once(&self.issuing).chain(&self.earlier)
    }

    fn issue(
        &self,
        profile: Profile,
        subject: &Subject,
        key: &Key,
        now: Timestamp,
    ) -> Result<Vec<Certificate>, AuthorityError> {
        let issuing = &self.issuing.certificate;
        let order = Order {
            profile,
            subject,
            key,
            serial: serial()?,
            not_before: now.plus_nanos(-EARLIER_NANOS).max(issuing.not_before()),
            not_after: later(now, MEMBER_DAYS).min(issuing.not_after()),
        };
        let issuer = Issuer::Authority(issuing);
        let leaf = issue::issue(&order, issuer, &*self.issuing.signer, &Provider)?;
        let mut chain = vec![leaf, issuing.clone()];
        chain.extend(self.crosses().cloned());
        chain.extend(self.roots().into_iter().rev());
        Ok(chain)
    }
}

impl Issuing {
    /// Its certificate.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// SHA-256 of that.
    pub fn sha256(&self) -> Digest {
        Digest(crypto::sha256(self.certificate.der()))
    }

    /// Signs a list of what it has revoked.
    pub fn list(&self, order: &crl::Order<'_>) -> Result<Vec<u8>, crl::NotIssued> {
        crl::issue(order, &self.certificate, &*self.signer, &Provider)
    }

    /// Answers a request about certificates that it has issued.
    pub fn answer(
        &self,
        request: &ocsp::Request,
        times: &ocsp::Times,
        status: impl FnMut(&Number) -> ocsp::Status,
    ) -> Result<Vec<u8>, ocsp::NotAnswered> {
        let responder = ocsp::Responder::new(&self.certificate, &Provider)?;
        responder.answer(request, times, status, &*self.signer, &Provider)
    }
}

impl std::fmt::Debug for Issuing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuing").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What a site is called in certificates: its id where that is one label of a host name, else a digest of it.
pub fn member_of(site: &SiteId) -> Result<MemberId, pki::Malformed> {
    member("site", site.as_str())
}

/// What a device is called in certificates: its id where that is one label of a host name, else a digest of it.
pub fn member_of_device(device: &DeviceId) -> Result<MemberId, pki::Malformed> {
    member("device", device.as_str())
}

fn member(word: &str, id: &str) -> Result<MemberId, pki::Malformed> {
    MemberId::new(id).or_else(|_| {
        let digest = hex(&crypto::sha256(id.as_bytes()));
        let short: String = digest.chars().take(24).collect();
        MemberId::new(&format!("{word}-{short}"))
    })
}

/// SHA-256 of a public key, as the estate has it.
pub fn key_sha256(key: &Key) -> String {
    hex(&crypto::sha256(&key.write()))
}

fn make_root(
    folder: &StateFolder,
    estate: &Estate,
    now: Timestamp,
) -> Result<Certificate, AuthorityError> {
    let key = new_key()?;
    let root = root_of(&authority(estate, "root")?, &key, now)?;
    // The certificate last: where it is, the key was.
    folder.write_key(ROOT_KEY, &key)?;
    folder.write(ROOT, armoured(&root)?.as_bytes(), 0o644)?;
    Ok(root)
}

fn root_of(
    subject: &Subject,
    key: &PrivateKey,
    now: Timestamp,
) -> Result<Certificate, AuthorityError> {
    let order = Order {
        profile: Profile::Root,
        subject,
        key: &key.public(),
        serial: serial()?,
        not_before: now.plus_nanos(-EARLIER_NANOS),
        not_after: later(now, ROOT_DAYS),
    };
    Ok(issue::issue(&order, Issuer::Itself, key, &Provider)?)
}

fn make_issuing(
    folder: &StateFolder,
    estate: &Estate,
    root: &Certificate,
    root_key: &dyn Signer,
    now: Timestamp,
) -> Result<Issuing, AuthorityError> {
    let key = NewKey::of(folder)?;
    let subject = authority(estate, &format!("issuing-{}", now.as_nanos().div_euclid(DAY_NANOS)))?;
    let issuing = issuing_of(&subject, key.signer(), root, root_key, now)?;
    key.kept(folder, issuing)
}

/// A root as another one certifies it.
fn cross_of(
    subject: &Subject,
    root: &Certificate,
    before: &Certificate,
    before_key: &dyn Signer,
    now: Timestamp,
) -> Result<Certificate, AuthorityError> {
    let key = root.key().map_err(issue::Refusal::from)?;
    let order = Order {
        profile: Profile::Cross,
        subject,
        key: &key,
        serial: serial()?,
        not_before: now.plus_nanos(-EARLIER_NANOS).max(before.not_before()),
        not_after: later(now, ISSUING_DAYS).min(before.not_after()),
    };
    Ok(issue::issue(&order, Issuer::Authority(before), before_key, &Provider)?)
}

fn issuing_of(
    subject: &Subject,
    key: &dyn Signer,
    root: &Certificate,
    root_key: &dyn Signer,
    now: Timestamp,
) -> Result<Certificate, AuthorityError> {
    let order = Order {
        profile: Profile::Issuing,
        subject,
        key: &Key::of(key).map_err(issue::Refusal::from)?,
        serial: serial()?,
        not_before: now.plus_nanos(-EARLIER_NANOS).max(root.not_before()),
        not_after: later(now, ISSUING_DAYS).min(root.not_after()),
    };
    Ok(issue::issue(&order, Issuer::Authority(root), root_key, &Provider)?)
}

fn authority(estate: &Estate, id: &str) -> Result<Subject, AuthorityError> {
    let id = MemberId::new(id)?;
    Ok(Subject { estate: estate.clone(), id, hosts: Vec::new(), addresses: Vec::new() })
}

fn new_key() -> Result<PrivateKey, AuthorityError> {
    let made = PrivateKey::generate(KeyKind::P256).map(|(key, _)| key);
    made.map_err(|error| AuthorityError::File { file: "a new key", why: error.to_string() })
}

fn serial() -> Result<[u8; 16], NoRandom> {
    let mut serial = [0; 16];
    crypto::random(&mut serial)?;
    Ok(serial)
}

fn later(now: Timestamp, days: i64) -> Timestamp {
    now.plus_nanos(days.saturating_mul(DAY_NANOS))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::kept::former_key;
    use super::*;

    const YEAR: i64 = 365;

    fn at(days: i64) -> Timestamp {
        later(Timestamp::from_secs(1_700_000_000, 0), days)
    }

    fn folder(name: &str) -> (PathBuf, StateFolder) {
        let path = std::env::temp_dir().join(format!("rf-ca-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let folder = StateFolder::open(&path).unwrap();
        (path, folder)
    }

    fn request() -> request::Request {
        let key = new_key().unwrap();
        let subject = authority(&Estate::new("acme.example").unwrap(), "whoever").unwrap();
        let der = request::make(Profile::Site, &subject, &key, &Provider).unwrap();
        request::read(&der, &Provider).unwrap()
    }

    #[test]
    fn it_is_the_same_after_a_restart_and_names_a_site_as_we_do() {
        let (path, folder) = folder("same");
        let first = Authority::open(&folder, "acme.example", at(0)).unwrap();
        let again = Authority::open(&folder, "acme.example", at(1)).unwrap();
        assert_eq!(first.root_sha256(), again.root_sha256());
        assert_eq!(first.issuing.certificate, again.issuing.certificate);
        let site = SiteId::new("Halle/7").unwrap();
        let issued = again.site(&site, &request(), at(1)).unwrap();
        let identity = pki::identity_of(&issued.chain[0]).unwrap();
        assert_eq!(identity.id, member_of(&site).unwrap());
        assert_eq!(identity.estate.as_str(), "acme.example");
        assert_eq!(issued.not_after, at(1 + MEMBER_DAYS));
        assert_eq!(issued.chain.last(), Some(again.root()));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn an_issuing_authority_is_followed_by_another_under_the_same_root() {
        let (path, folder) = folder("next");
        let first = Authority::open(&folder, "acme.example", at(0)).unwrap();
        let later = Authority::open(&folder, "acme.example", at(4 * YEAR)).unwrap();
        assert_eq!(first.root(), later.root());
        assert_ne!(first.issuing.certificate, later.issuing.certificate);
        let issued = later.site(&SiteId::new("shop-1").unwrap(), &request(), at(4 * YEAR)).unwrap();
        assert!(issued.not_after <= later.issuing.certificate.not_after());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn the_roots_key_can_be_away_and_is_asked_for_when_it_is_needed() {
        let (path, folder) = folder("away");
        Authority::open(&folder, "acme.example", at(0)).unwrap();
        fs::rename(path.join(ROOT_KEY), path.join("safe")).unwrap();
        Authority::open(&folder, "acme.example", at(YEAR)).unwrap();
        // It goes on for as long as it can.
        Authority::open(&folder, "acme.example", at(1_800)).unwrap();
        let gone = Authority::open(&folder, "acme.example", at(1_900)).unwrap_err();
        assert!(gone.to_string().contains("put pki/root.key.pem back"), "{gone}");
        fs::rename(path.join("safe"), path.join(ROOT_KEY)).unwrap();
        Authority::open(&folder, "acme.example", at(1_900)).unwrap();
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn another_root_leaves_nobody_behind() {
        let (path, folder) = folder("roll");
        let device = DeviceId::new("cam-1").unwrap();
        let key = new_key().unwrap();
        let before = Authority::open(&folder, "acme.example", at(0)).unwrap();
        let old = before.device(&device, &key.public(), at(0)).unwrap();
        let next = Authority::next_root(&folder, "acme.example", at(1)).unwrap();
        assert_eq!(next.before_sha256, before.root_sha256());
        let after = Authority::open(&folder, "acme.example", at(1)).unwrap();
        assert_eq!(after.root_sha256(), next.root_sha256);
        assert_ne!(after.issuing.sha256(), before.issuing.sha256());
        let new = after.device(&device, &key.public(), at(1)).unwrap();
        let server = after.server(&["localhost".to_owned()], at(1)).unwrap().chain;
        let good = |first: &Certificate, others: &[Certificate], root: &Certificate| {
            let purpose = match pki::identity_of(first).unwrap().kind {
                pki::identity::Kind::Server => pki::path::Purpose::Server,
                _ => pki::path::Purpose::Client,
            };
            let roots = std::slice::from_ref(root);
            pki::path::find(first, others, roots, at(1), purpose, &Provider).is_ok()
        };
        // Whoever knows only one of the two roots believes the server, and new certificates.
        for root in [before.root(), after.root()] {
            assert!(good(&server[0], &server[1..], root));
            assert!(good(&new.certificate, &after.anchors(), root));
        }
        // The controller believes certificates of before.
        assert!(good(&old.certificate, &after.anchors(), before.root()));
        assert_eq!(after.roots(), [after.root().clone(), before.root().clone()]);
        // The key of before is beside, to be taken away; without the new one nothing can follow.
        assert!(path.join(&next.former_key).exists());
        for name in [&next.former_key, ROOT_KEY, ISSUING_KEY] {
            assert!(PrivateKey::is_sealed(&fs::read(path.join(name)).unwrap()), "{name}");
        }
        fs::remove_file(path.join(ROOT_KEY)).unwrap();
        let away = Authority::next_root(&folder, "acme.example", at(2)).unwrap_err();
        assert!(away.to_string().contains("put pki/root.key.pem back"), "{away}");
        // What is over is forgotten.
        let late = Authority::open(&folder, "acme.example", at(3_652)).map(|a| a.roots().len());
        assert!(late.is_err() || late.is_ok_and(|roots| roots == 1));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn the_key_of_one_that_was_followed_stays_until_its_last_certificate_is_over() {
        let (path, folder) = folder("earlier");
        let first = Authority::open(&folder, "acme.example", at(0)).unwrap();
        assert_eq!(first.all_issuing().count(), 1);
        Authority::next_root(&folder, "acme.example", at(10)).unwrap();
        Authority::next_root(&folder, "acme.example", at(20)).unwrap();
        let all = |days| -> Vec<Digest> {
            let authority = Authority::open(&folder, "acme.example", at(days)).unwrap();
            authority.all_issuing().map(Issuing::sha256).collect()
        };
        let three = all(21);
        assert_eq!((three.len(), three[2]), (3, first.issuing.sha256()));
        assert_eq!(all(10 + YEAR), three);
        let kept = former_key(&first.issuing.certificate);
        assert!(path.join(&kept).exists());
        assert_eq!(all(12 + YEAR), three[..2]);
        assert!(!path.join(&kept).exists());
        // One that comes to its end leaves its key too; the last of its certificates ended before that.
        let fourth = all(4 * YEAR);
        assert_eq!((fourth.len(), fourth[1]), (2, three[0]));
        assert_eq!(all(5 * YEAR + 2).len(), 1);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_crash_between_two_files_of_another_root_loses_nothing() {
        let (path, folder) = folder("crash");
        let before = Authority::open(&folder, "acme.example", at(0)).unwrap();
        let files = [ROOT_KEY, ROOT, ISSUING_KEY, ISSUING];
        let old = files.map(|name| fs::read(path.join(name)).unwrap());
        Authority::next_root(&folder, "acme.example", at(1)).unwrap();
        let new = files.map(|name| fs::read(path.join(name)).unwrap());
        for written in 0..files.len() {
            for (i, name) in files.iter().enumerate() {
                let bytes = if i < written { &new[i] } else { &old[i] };
                fs::write(path.join(name), bytes).unwrap();
            }
            let after = Authority::open(&folder, "acme.example", at(2)).unwrap();
            after.site(&SiteId::new("shop-1").unwrap(), &request(), at(2)).unwrap();
            let lists =
                |of: &Authority| of.all_issuing().any(|i| i.sha256() == before.issuing.sha256());
            assert!(lists(&after), "{written}");
            Authority::next_root(&folder, "acme.example", at(3)).unwrap();
            assert!(lists(&Authority::open(&folder, "acme.example", at(4)).unwrap()));
        }
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn files_that_do_not_belong_together_are_made_anew() {
        let (path, folder) = folder("torn");
        let first = Authority::open(&folder, "acme.example", at(0)).unwrap();
        folder.write_key(ISSUING_KEY, &new_key().unwrap()).unwrap();
        let again = Authority::open(&folder, "acme.example", at(1)).unwrap();
        assert_eq!(first.root(), again.root());
        again.site(&SiteId::new("shop-1").unwrap(), &request(), at(1)).unwrap();
        fs::remove_dir_all(path).unwrap();
    }
}
