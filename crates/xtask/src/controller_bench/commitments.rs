//! What devices sign: brought over TLS, each signature checked, each durable in the journal before it is answered.

use std::path::PathBuf;

use crypto::{NoteKey, PrivateKey};
use hyper::body::Bytes;
use journal::Hash;
use journal::Signer as _;
use journal::commitment::{Class, Commitment, Key, NOTHING, Signed, root};
use pki::{KeyKind, Pem};
use serde_json::json;

use super::hq::{Hq, request_of};
use super::load::{self, Load, Work};
use super::reads::fill;
use super::{CORES, median, stop};
use crate::figures::{Bar, Figure};
use crate::{Stop, estate_bench};

const CONNECTIONS: usize = 256;
/// Each has a pace of its own.
const TOKENS: usize = 80;
/// Devices that each connection speaks for.
const DEVICES_EACH: u32 = 1;
/// Commitments of one connection in one round.
const EACH: u32 = 128;
const ROUNDS: usize = 5;
/// Messages that one signature commits to.
const MESSAGES: u64 = 16;
/// Commitments of one request.
const BATCHES: [u32; 2] = [1, 16];

/// A device that signs.
struct Device {
    id: String,
    public: pki::Key,
    key: NoteKey,
    next: u64,
    previous: Hash,
}

impl Device {
    fn new(n: u32) -> Result<Self, Stop> {
        let (key, _) = PrivateKey::generate(KeyKind::Ed25519).map_err(stop)?;
        let public = key.public();
        let key = NoteKey::try_from(key).map_err(stop)?;
        Ok(Self { id: estate_bench::id(n)?.to_string(), public, key, next: 0, previous: NOTHING })
    }

    fn pem(&self) -> Result<String, Stop> {
        Pem::write("PUBLIC KEY", &self.public.write()).map_err(stop)
    }

    fn public(&self) -> Key {
        Key::Ed25519(self.key.public_key())
    }

    /// The next one, as bytes.
    fn sign(&mut self) -> Result<Vec<u8>, Stop> {
        let (first, last) = (self.next, self.next + MESSAGES - 1);
        let messages: Vec<[u8; 8]> = (first..=last).map(u64::to_be_bytes).collect();
        let (device, key, root) = (self.id.clone(), self.public().id(), root(&messages));
        let (class, epoch, previous) = (Class::Device, 0, self.previous);
        let commitment = Commitment { class, key, device, epoch, first, last, previous, root };
        (self.next, self.previous) = (last + 1, commitment.hash().map_err(stop)?);
        Signed::sign(commitment, &self.key).map_err(Stop)?.encode().map_err(stop)
    }
}

pub(super) async fn measure(folder: PathBuf) -> Result<Vec<Figure>, Stop> {
    let mut hq = Hq::new(&folder).await?;
    let count = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX) * DEVICES_EACH;
    fill(&mut hq, count).await?;
    let tokens = hq.tokens(TOKENS).await?;
    let mut devices = Vec::new();
    for n in 0..count {
        let device = Device::new(n)?;
        let path = format!("/v1/devices/{}/keys", device.id);
        let order = json!({ "key": device.pem()?, "epoch": 0, "why": "a bench" });
        hq.must("POST", &path, Some(&order)).await?;
        devices.push(device);
    }
    let mut figures = Vec::new();
    for batch in BATCHES {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let each = usize::try_from(DEVICES_EACH).map_err(stop)?;
            let work = devices
                .chunks_mut(each)
                .zip(tokens.iter().cycle())
                .map(|(devices, token)| signed(devices, token, batch));
            let work = work.collect::<Result<Vec<Work>, Stop>>()?;
            let all_taken = |body: &[u8]| {
                !body.windows(8).any(|at| at == b"\"why\":\"c") && body.starts_with(b"{\"items\"")
            };
            // A connection that is silent for long is closed, and signing takes its time.
            let mut connections = Vec::new();
            for _ in 0..CONNECTIONS {
                connections.push(hq.connect().await?);
            }
            rounds.push(load::run(&hq.server, &mut connections, work, all_taken).await?);
        }
        let of = |value: fn(&Load) -> f64| median(rounds.iter().map(value).collect());
        let many = f64::from(batch);
        let seen = many * of(Load::per_second);
        let per_cpu = CORES * many * of(Load::per_cpu_second);
        figures.extend([
            Figure::new(
                format!("signed commitments, {batch} a request, on two cores"),
                per_cpu,
                "commitments/s",
            )
            .bar(Bar::AtLeast(10_000.0)),
            Figure::new(
                format!("signed commitments, {batch} a request, sender on the same cores"),
                seen,
                "commitments/s",
            ),
            Figure::new(
                format!("signed commitments, {batch} a request, until durable, p99"),
                of(|load| load.within_ms(99)),
                "ms",
            ),
        ]);
    }
    // Every one of them counts, or the figures mean nothing.
    let standing =
        hq.must("GET", &format!("/v1/devices/{}/commitments", devices[0].id), None).await?;
    let counted = standing["items"][0]["messages"].as_u64();
    if counted != Some(devices[0].next) {
        return Err(Stop(format!("{counted:?} of {} messages count", devices[0].next)));
    }
    Ok(figures)
}

/// What one connection sends in a round, signed before.
fn signed(devices: &mut [Device], token: &str, batch: u32) -> Result<Work, Stop> {
    let mut work = Work::new();
    for n in 0..EACH / batch {
        let at = usize::try_from(n).map_err(stop)? % devices.len();
        let mut body = Vec::new();
        for _ in 0..batch {
            body.extend(devices[at].sign()?);
        }
        work.push(request_of(
            "POST",
            "/v1/commitments",
            token,
            "application/cbor-seq",
            Bytes::from(body),
        )?);
    }
    Ok(work)
}
