//! The estate's own certificate authority, as far as the line and the API need it: a root, an issuing authority below it, the
//! certificate of this server, and those of sites.
//!
//! Keys are files of the state folder that only its owner reads. The root signs nothing but issuing authorities: its key can be taken away
//! (to a safe, say) and is missed only when the issuing authority comes to its end.

use std::net::IpAddr;
use std::sync::Arc;

use crypto::tls::Credentials;
use crypto::{NoRandom, PrivateKey, Provider};
use estate::side::Digest;
use model::{DeviceId, SiteId, Timestamp};
use pki::identity::{Estate, MemberId};
use pki::issue::{self, Issuer, Order, Profile, Subject};
use pki::{Certificate, Key, KeyKind, Number, Pem, crl, ocsp, request};

use crate::blobs::hex;
use crate::state::{StateError, StateFolder};

/// Nanoseconds of a day.
const DAY_NANOS: i64 = 86_400 * 1_000_000_000;
/// Clocks differ: a certificate is good from this long before it was made, in nanoseconds.
const EARLIER_NANOS: i64 = 300 * 1_000_000_000;
/// Days that a root lives.
const ROOT_DAYS: i64 = 3_653;
/// Days that an issuing authority lives.
const ISSUING_DAYS: i64 = 1_826;
/// An issuing authority with fewer days than this is followed by another one.
const ISSUING_DAYS_MIN: i64 = 400;
/// Days that the certificate of a site or of this server lives. A site that is cut off renews when it is back.
const MEMBER_DAYS: i64 = 365;

/// Days that the certificate of a device lives.
const DEVICE_DAYS: i64 = 30;
/// By how much earlier it may end, in nanoseconds: three days.
const DEVICE_SPREAD_NANOS: i64 = 3 * DAY_NANOS;

const ROOT: &str = "pki/root.pem";
const ROOT_KEY: &str = "pki/root.key.pem";
const ISSUING: &str = "pki/issuing.pem";
const ISSUING_KEY: &str = "pki/issuing.key.pem";
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

/// The authority.
pub struct Authority {
    estate: Estate,
    root: Certificate,
    issuing: Certificate,
    key: PrivateKey,
    /// Roots and issuing authorities of before that are not over, and roots as those before them certify them: whoever has not heard of the new
    /// ones believes and is believed.
    former: Vec<Certificate>,
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
        let kept = certificate(folder, ISSUING)?;
        let lasts = |issuing: &Certificate| {
            issuing.not_after() > now.plus_nanos(ISSUING_DAYS_MIN.saturating_mul(DAY_NANOS))
        };
        let (issuing, key) = match (kept, key(folder, ISSUING_KEY)?) {
            (Some(issuing), Some(key))
                if lasts(&issuing)
                    && belongs(&issuing, &key)
                    && issuing.issuer() == root.subject() =>
            {
                (issuing, key)
            }
            (kept, old) => match key(folder, ROOT_KEY)? {
                Some(root_key) => {
                    remember(folder, kept.as_slice())?;
                    make_issuing(folder, &estate, &root, &root_key, now)?
                }
                None => match (kept, old) {
                    // It goes on while it can.
                    (Some(issuing), Some(key))
                        if issuing.not_after() > now && belongs(&issuing, &key) =>
                    {
                        (issuing, key)
                    }
                    (kept, _) => {
                        let end = kept.map_or(now, |issuing| issuing.not_after());
                        return Err(AuthorityError::RootAway(end));
                    }
                },
            },
        };
        let mut former = former(folder)?;
        former.retain(|one| one.not_after() > now && *one != root && *one != issuing);
        Ok(Self { estate, root, issuing, key, former })
    }

    /// Puts another root, and an issuing authority below it, in the place of those that there are. The new root is certified by the one of before, and
    /// both are shown and believed for as long as they last: nobody is cut off.
    pub fn next_root(
        folder: &StateFolder,
        estate: &str,
        now: Timestamp,
    ) -> Result<NextRoot, AuthorityError> {
        let before = Self::open(folder, estate, now)?;
        let before_key = key(folder, ROOT_KEY)?;
        let before_key = before_key.ok_or(AuthorityError::RootKeyAway)?;
        let (root_key, root_pem) = new_key()?;
        let (key, pem) = new_key()?;
        let seconds = now.as_nanos().div_euclid(1_000_000_000);
        let id = format!("root-{seconds}");
        let root = root_of(&authority(&before.estate, &id)?, &root_key, now)?;
        let subject = authority(&before.estate, &format!("issuing-{seconds}"))?;
        let issuing = issuing_of(&subject, &key, &root, &root_key, now)?;
        let cross =
            cross_of(&authority(&before.estate, &id)?, &root, &before.root, &before_key, now)?;
        let former_key = format!("pki/root-{}.key.pem", hex(before.root.serial()));
        let old = folder.read(ROOT_KEY)?.unwrap_or_default();
        // Whatever of it is missing after a crash is made by the next start, or by doing this again.
        remember(folder, &[before.root.clone(), before.issuing.clone(), cross])?;
        folder.write(&former_key, &old, 0o600)?;
        folder.write(ROOT_KEY, root_pem.as_bytes(), 0o600)?;
        folder.write(ROOT, armoured(&root)?.as_bytes(), 0o644)?;
        folder.write(ISSUING_KEY, pem.as_bytes(), 0o600)?;
        folder.write(ISSUING, armoured(&issuing)?.as_bytes(), 0o644)?;
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
        [&self.root, &self.issuing].into_iter().chain(&self.former).cloned().collect()
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
        let (key, _) = new_key()?;
        let (addresses, hosts): (Vec<_>, Vec<_>) =
            hosts.iter().cloned().partition(|host| host.parse::<IpAddr>().is_ok());
        let subject = Subject {
            estate: self.estate.clone(),
            id: MemberId::new("controller")?,
            hosts,
            addresses: addresses.iter().filter_map(|text| text.parse().ok()).collect(),
        };
        let chain = self.issue(Profile::Server, &subject, &key.public(), now)?;
        Ok(Credentials { chain, key: Arc::new(key) })
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
        let subject = Subject {
            estate: self.estate.clone(),
            id: member_of_device(device)?,
            hosts: Vec::new(),
            addresses: Vec::new(),
        };
        let serial = serial()?;
        // Devices that were unpacked together do not all renew together.
        let [a, b, ..] = serial;
        let earlier =
            i64::from(u16::from_be_bytes([a, b])).saturating_mul(DEVICE_SPREAD_NANOS) >> 16;
        let end = later(now, DEVICE_DAYS).plus_nanos(earlier.saturating_neg());
        let order = Order {
            profile: Profile::Device,
            subject: &subject,
            key,
            serial,
            not_before: now.plus_nanos(-EARLIER_NANOS).max(self.issuing.not_before()),
            not_after: end.min(self.issuing.not_after()),
        };
        let issuer = Issuer::Authority(&self.issuing);
        let certificate = issue::issue(&order, issuer, &self.key, &Provider)?;
        Ok(DeviceCertificate { certificate, serial, issuer: self.issuing_sha256() })
    }

    /// The authority that issues.
    pub const fn issuing(&self) -> &Certificate {
        &self.issuing
    }

    /// Signs a list of what it has revoked.
    pub fn list(&self, order: &crl::Order<'_>) -> Result<Vec<u8>, crl::NotIssued> {
        crl::issue(order, &self.issuing, &self.key, &Provider)
    }

    /// Answers a request about certificates that it has issued.
    pub fn answer(
        &self,
        request: &ocsp::Request,
        times: &ocsp::Times,
        status: impl FnMut(&Number) -> ocsp::Status,
    ) -> Result<Vec<u8>, ocsp::NotAnswered> {
        let responder = ocsp::Responder::new(&self.issuing, &Provider)?;
        responder.answer(request, times, status, &self.key, &Provider)
    }

    /// SHA-256 of the issuing authority.
    pub fn issuing_sha256(&self) -> Digest {
        Digest(crypto::sha256(self.issuing.der()))
    }

    fn issue(
        &self,
        profile: Profile,
        subject: &Subject,
        key: &Key,
        now: Timestamp,
    ) -> Result<Vec<Certificate>, AuthorityError> {
        let within = self.issuing.not_before();
        let order = Order {
            profile,
            subject,
            key,
            serial: serial()?,
            not_before: now.plus_nanos(-EARLIER_NANOS).max(within),
            not_after: later(now, MEMBER_DAYS).min(self.issuing.not_after()),
        };
        let issuer = Issuer::Authority(&self.issuing);
        let leaf = issue::issue(&order, issuer, &self.key, &Provider)?;
        let mut chain = vec![leaf, self.issuing.clone()];
        chain.extend(self.crosses().cloned());
        chain.extend(self.roots().into_iter().rev());
        Ok(chain)
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
    let (key, pem) = new_key()?;
    let root = root_of(&authority(estate, "root")?, &key, now)?;
    // The certificate last: where it is, the key was.
    folder.write(ROOT_KEY, pem.as_bytes(), 0o600)?;
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
    root_key: &PrivateKey,
    now: Timestamp,
) -> Result<(Certificate, PrivateKey), AuthorityError> {
    let (key, pem) = new_key()?;
    let subject = authority(estate, &format!("issuing-{}", now.as_nanos().div_euclid(DAY_NANOS)))?;
    let issuing = issuing_of(&subject, &key, root, root_key, now)?;
    folder.write(ISSUING_KEY, pem.as_bytes(), 0o600)?;
    folder.write(ISSUING, armoured(&issuing)?.as_bytes(), 0o644)?;
    Ok((issuing, key))
}

/// A root as another one certifies it.
fn cross_of(
    subject: &Subject,
    root: &Certificate,
    before: &Certificate,
    before_key: &PrivateKey,
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
    key: &PrivateKey,
    root: &Certificate,
    root_key: &PrivateKey,
    now: Timestamp,
) -> Result<Certificate, AuthorityError> {
    let order = Order {
        profile: Profile::Issuing,
        subject,
        key: &key.public(),
        serial: serial()?,
        not_before: now.plus_nanos(-EARLIER_NANOS).max(root.not_before()),
        not_after: later(now, ISSUING_DAYS).min(root.not_after()),
    };
    Ok(issue::issue(&order, Issuer::Authority(root), root_key, &Provider)?)
}

/// Authorities of before.
fn former(folder: &StateFolder) -> Result<Vec<Certificate>, AuthorityError> {
    let Some(bytes) = folder.read(FORMER)? else { return Ok(Vec::new()) };
    let wrong = |why: String| AuthorityError::File { file: FORMER, why };
    Certificate::read_all(&bytes).map_err(|error| wrong(error.to_string()))
}

/// Adds to them.
fn remember(folder: &StateFolder, more: &[Certificate]) -> Result<(), AuthorityError> {
    if more.is_empty() {
        return Ok(());
    }
    let mut all = former(folder)?;
    all.extend(more.iter().filter(|one| !all.contains(one)).cloned().collect::<Vec<_>>());
    let text: Result<Vec<String>, AuthorityError> = all.iter().map(armoured).collect();
    Ok(folder.write(FORMER, text?.concat().as_bytes(), 0o644)?)
}

/// A crash between the two files leaves them apart.
fn belongs(issuing: &Certificate, key: &PrivateKey) -> bool {
    issuing.key().is_ok_and(|of| of == key.public())
}

fn authority(estate: &Estate, id: &str) -> Result<Subject, AuthorityError> {
    let id = MemberId::new(id)?;
    Ok(Subject { estate: estate.clone(), id, hosts: Vec::new(), addresses: Vec::new() })
}

fn new_key() -> Result<(PrivateKey, String), AuthorityError> {
    let made = PrivateKey::generate(KeyKind::P256);
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

fn armoured(certificate: &Certificate) -> Result<String, AuthorityError> {
    Ok(Pem::write("CERTIFICATE", certificate.der())?)
}

fn certificate(
    folder: &StateFolder,
    file: &'static str,
) -> Result<Option<Certificate>, AuthorityError> {
    let Some(bytes) = folder.read(file)? else {
        return Ok(None);
    };
    let wrong = |why: String| AuthorityError::File { file, why };
    let all = Certificate::read_all(&bytes).map_err(|error| wrong(error.to_string()))?;
    match all.into_iter().next() {
        Some(first) => Ok(Some(first)),
        None => Err(wrong("there is no certificate in it".to_owned())),
    }
}

fn key(folder: &StateFolder, file: &'static str) -> Result<Option<PrivateKey>, AuthorityError> {
    let Some(bytes) = folder.read(file)? else {
        return Ok(None);
    };
    let key = PrivateKey::from_pem(&bytes);
    key.map(Some).map_err(|error| AuthorityError::File { file, why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

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
        let (key, _) = new_key().unwrap();
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
        assert_eq!(first.issuing, again.issuing);
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
        assert_ne!(first.issuing, later.issuing);
        let issued = later.site(&SiteId::new("shop-1").unwrap(), &request(), at(4 * YEAR)).unwrap();
        assert!(issued.not_after <= later.issuing.not_after());
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
        let (key, _) = new_key().unwrap();
        let before = Authority::open(&folder, "acme.example", at(0)).unwrap();
        let old = before.device(&device, &key.public(), at(0)).unwrap();
        let next = Authority::next_root(&folder, "acme.example", at(1)).unwrap();
        assert_eq!(next.before_sha256, before.root_sha256());
        let after = Authority::open(&folder, "acme.example", at(1)).unwrap();
        assert_eq!(after.root_sha256(), next.root_sha256);
        assert_ne!(after.issuing, before.issuing);
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
        fs::remove_file(path.join(ROOT_KEY)).unwrap();
        let away = Authority::next_root(&folder, "acme.example", at(2)).unwrap_err();
        assert!(away.to_string().contains("put pki/root.key.pem back"), "{away}");
        // What is over is forgotten.
        let late = Authority::open(&folder, "acme.example", at(3_652)).map(|a| a.roots().len());
        assert!(late.is_err() || late.is_ok_and(|roots| roots == 1));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn files_that_do_not_belong_together_are_made_anew() {
        let (path, folder) = folder("torn");
        let first = Authority::open(&folder, "acme.example", at(0)).unwrap();
        let (_, pem) = new_key().unwrap();
        folder.write(ISSUING_KEY, pem.as_bytes(), 0o600).unwrap();
        let again = Authority::open(&folder, "acme.example", at(1)).unwrap();
        assert_eq!(first.root(), again.root());
        again.site(&SiteId::new("shop-1").unwrap(), &request(), at(1)).unwrap();
        fs::remove_dir_all(path).unwrap();
    }
}
