//! A fleet that has its certificates: a state folder with a journal that says so.

use std::path::Path;
use std::sync::Arc;

use controller::authority::Authority;
use controller::state::StateFolder;
use crypto::tls::rustls::ClientConfig;
use crypto::tls::{self, Credentials, SystemClock};
use crypto::{PrivateKey, Provider};
use estate::devices::{self, Found};
use estate::identities::{self, How, NewCredential, Serial};
use estate::record::Record;
use estate::side::Digest;
use estate::{Command, Event, sites};
use model::{Assurance, DeviceId, SiteId, Timestamp};
use pki::identity::{Estate, MemberId};
use pki::issue::{Profile, Subject};
use pki::{Certificate, KeyKind, request};
use store::{Disk, Expect, Log, Places, Sqlite, Store as _};

use crate::controller_bench::{NAME, stop};
use crate::{Stop, estate_bench};

/// Devices of one command.
const BATCH: u32 = 1_000;

/// A device with its key and its certificate.
#[derive(Clone)]
pub(super) struct Device {
    pub(super) id: DeviceId,
    key: Arc<PrivateKey>,
    pub(super) certificate: Certificate,
}

impl Device {
    /// What it shows, and whom it believes.
    pub(super) fn tls(&self, anchors: &[Certificate]) -> Result<Arc<ClientConfig>, Stop> {
        let chain = vec![self.certificate.clone()];
        let credentials = Credentials { chain, key: Arc::<PrivateKey>::clone(&self.key) };
        let roots = anchors.get(..1).unwrap_or_default().to_vec();
        let config = tls::client(roots, Some(&credentials), Arc::new(SystemClock)).map_err(stop)?;
        let mut config = ClientConfig::clone(&config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A request for its next certificate, as a body.
    pub(super) fn body(&self) -> Result<String, Stop> {
        let subject = Subject {
            estate: Estate::new(NAME).map_err(stop)?,
            id: MemberId::new("device").map_err(stop)?,
            hosts: Vec::new(),
            addresses: Vec::new(),
        };
        let der = request::make(Profile::Device, &subject, &*self.key, &Provider);
        Ok(pki::est::body(&der.map_err(stop)?))
    }
}

/// A state folder below `here` with a journal of so many devices, each with a certificate; and the authorities.
pub(super) fn prepare(here: &Path, count: u32) -> Result<(Vec<Device>, Vec<Certificate>), Stop> {
    let journal = Journal::new(here)?;
    let mut fleet = Vec::new();
    for first in (0..count).step_by(usize::try_from(BATCH).map_err(stop)?) {
        let mut events = Vec::new();
        for n in first..count.min(first.saturating_add(BATCH)) {
            let device = journal.device(n)?;
            let digest = |bytes: &[u8]| Digest(crypto::sha256(bytes));
            let credential = NewCredential {
                key: digest(&device.key.public().write()),
                serial: serial(&device.certificate)?,
                issuer: journal.authority.issuing().sha256(),
                since: device.certificate.not_before(),
                until: device.certificate.not_after(),
            };
            events.extend(enrolled(n, credential)?);
            fleet.push(device);
        }
        journal.append(events)?;
    }
    Ok((fleet, journal.authority.anchors()))
}

/// What the journal says of a device that enrolled.
pub(super) fn enrolled(n: u32, credential: NewCredential) -> Result<[Event; 3], Stop> {
    let (id, site) = (estate_bench::id(n)?, SiteId::new("main").map_err(stop)?);
    let facts = estate_bench::facts(n, "sensor")?;
    let (level, secret) = (Assurance::DeviceKey, Digest(crypto::sha256(&n.to_be_bytes())));
    let (device, how) = (id.clone(), How::Token { secret });
    Ok([
        Event::Device(devices::Event::Found(Found { site, source: "sensor".to_owned(), facts })),
        Event::Identity(identities::Event::Issued { device, credential, level, how }),
        Event::Device(devices::Event::Assured { id, level, limit: "credential".to_owned() }),
    ])
}

fn serial(certificate: &Certificate) -> Result<Serial, Stop> {
    let mut serial = [0; 16];
    let digits: Vec<u8> = certificate.serial().iter().copied().skip_while(|b| *b == 0).collect();
    let at = serial.len().checked_sub(digits.len());
    let room = at.and_then(|at| serial.get_mut(at..));
    let room = room.ok_or_else(|| Stop("a serial number is too long".to_owned()))?;
    room.copy_from_slice(&digits);
    Ok(Serial(serial))
}

/// A journal in the making.
pub(super) struct Journal {
    authority: Authority,
    log: Log<Sqlite, Disk>,
    now: Timestamp,
    _folder: StateFolder,
}

impl Journal {
    /// An empty one with one site, in a new folder.
    pub(super) fn new(here: &Path) -> Result<Self, Stop> {
        let _ = std::fs::remove_dir_all(here);
        std::fs::create_dir_all(here).map_err(stop)?;
        let now = Timestamp::from_nanos(
            i64::try_from(std::time::UNIX_EPOCH.elapsed().map_err(stop)?.as_nanos())
                .map_err(stop)?,
        );
        let folder = StateFolder::open(&here.join("hq")).map_err(stop)?;
        folder.write("name", format!("{NAME}\n").as_bytes(), 0o644).map_err(stop)?;
        let authority = Authority::open(&folder, NAME, now).map_err(stop)?;
        let (verifier, key) = folder.log_key(&format!("{NAME}/journal")).map_err(stop)?;
        let name = verifier.name().clone();
        let database = Sqlite::open(&folder.file("journal.db")).map_err(stop)?;
        let places = Places { tiles: folder.file("log"), signed: folder.file("signed") };
        let opened = Log::open(database, Disk, places, name, Box::new(key), &Provider);
        let journal = Self { authority, log: opened.map_err(stop)?.log, now, _folder: folder };
        let (id, name) = (SiteId::new("main").map_err(stop)?, "Main".to_owned());
        journal.append(vec![Event::Site(sites::Event::Created { id, name })])?;
        Ok(journal)
    }

    fn device(&self, n: u32) -> Result<Device, Stop> {
        let id = estate_bench::id(n)?;
        let (key, _) = PrivateKey::generate(KeyKind::P256).map_err(stop)?;
        let issued = self.authority.device(&id, &key.public(), self.now).map_err(stop)?;
        Ok(Device { id, key: Arc::new(key), certificate: issued.certificate })
    }

    /// Now, for who makes entries up.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn append(&self, events: Vec<Event>) -> Result<(), Stop> {
        let record = Record {
            at: self.now,
            who: controller::hub::itself().map_err(stop)?,
            why: "a bench".to_owned(),
            command: Command::Device(devices::Command::Sweep),
            evidence: std::collections::BTreeSet::new(),
            events,
        };
        let entries = record.entries().map_err(stop)?;
        let size = self.log.store().head().size();
        self.log.append(Expect::At(size), &entries).map_err(stop)?;
        Ok(())
    }

    /// Signs it.
    pub(super) fn end(self) -> Result<(), Stop> {
        self.log.publish().map(drop).map_err(stop)
    }
}
