//! A million devices with identities, asked about through the API.

use std::path::PathBuf;

use estate::identities::{NewCredential, Serial};
use estate::side::Digest;

use super::fleet::{Journal, enrolled};
use crate::Stop;
use crate::controller_bench::hq::Hq;
use crate::controller_bench::{now, stop};
use crate::figures::{Bar, Figure};

const MANY: u32 = 1_000_000;
const BATCH: u32 = 1_000;
/// Questions of each kind.
const ASKED: u32 = 200;
const DAY_NANOS: i64 = 86_400 * 1_000_000_000;

pub(super) async fn measure(here: PathBuf) -> Result<Vec<Figure>, Stop> {
    let journal = Journal::new(&here)?;
    for first in (0..MANY).step_by(usize::try_from(BATCH).map_err(stop)?) {
        let mut events = Vec::new();
        for n in first..first.saturating_add(BATCH) {
            let mut serial = [7; 16];
            serial.iter_mut().zip(n.to_be_bytes()).for_each(|(to, from)| *to = from);
            let life = i64::from(n % 30 + 1).saturating_mul(DAY_NANOS);
            events.extend(enrolled(
                n,
                NewCredential {
                    key: Digest(crypto::sha256(&n.to_be_bytes())),
                    serial: Serial(serial),
                    issuer: Digest([1; 32]),
                    since: journal.now(),
                    until: journal.now().plus_nanos(life),
                },
            )?);
        }
        journal.append(events)?;
    }
    journal.end()?;
    let (mut hq, _) = Hq::over(&here).await?.again().await?;
    let mut figures = vec![Figure::new(
        "a million identities: memory of the controller",
        hq.server.resident_mb()?,
        "MB",
    )];
    for (what, path) in [
        ("one device", "/v1/devices/DEVICE/identity"),
        ("a page", "/v1/identities?limit=100"),
        ("a page of one level", "/v1/identities?limit=100&level=device-key"),
        ("those below a level", "/v1/identities?limit=100&below=device-key"),
        ("those that end soon", "/v1/identities?limit=100&ends_before=SOON"),
    ] {
        let soon = journal_time(DAY_NANOS * 3)?;
        let mut took = Vec::new();
        for n in 0..ASKED {
            let id = crate::estate_bench::id(n.wrapping_mul(2_654_435_761) % MANY)?;
            let path = path.replace("DEVICE", id.as_str()).replace("SOON", &soon);
            let begin = now();
            hq.must("GET", &path, None).await?;
            took.push(begin.elapsed());
        }
        took.sort_unstable();
        let p99 = took.get(took.len() * 99 / 100).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3);
        figures.push(
            Figure::new(format!("a million identities: {what}, p99"), p99, "ms")
                .bar(Bar::AtMost(200.0)),
        );
    }
    Ok(figures)
}

/// A moment after now, as the API takes it.
fn journal_time(after_nanos: i64) -> Result<String, Stop> {
    let now = std::time::UNIX_EPOCH.elapsed().map_err(stop)?.as_nanos();
    let now = model::Timestamp::from_nanos(i64::try_from(now).map_err(stop)?);
    Ok(now.plus_nanos(after_nanos).to_string())
}
