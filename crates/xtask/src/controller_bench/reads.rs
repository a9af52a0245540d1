//! Reading: single devices a second, and pages of a very long list.

use std::path::PathBuf;

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::hq::{Connection, Hq, request, text, trust};
use super::load::{self, Load, Work};
use super::{CORES, bare, median, now, stop};
use crate::figures::{Bar, Figure};
use crate::{Stop, decisions, estate_bench};

const DEVICES: u32 = 10_000;
const CONNECTIONS: usize = 32;
/// Requests of one connection in one round.
const EACH: u32 = 1_500;
const ROUNDS: usize = 5;

/// Devices of the long list.
const MANY: u32 = 1_000_000;
/// Of one page, as the API has it when nothing is asked for, and the most it has.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1_000;
const PAGES: usize = 101;

/// Single devices, beside the bare handler with the same bytes.
pub(super) async fn measure(folder: PathBuf) -> Result<Vec<Figure>, Stop> {
    let mut hq = Hq::new(&folder).await?;
    fill(&mut hq, DEVICES).await?;
    let tokens = hq.tokens(CONNECTIONS).await?;
    let id = |n: u32| estate_bench::id(n % DEVICES);
    let path = |n: u32| Ok::<_, Stop>(format!("/v1/devices/{}", id(n)?));
    let answer = hq.must("GET", &path(1)?, None).await?;
    let peer = bare::start(&folder.join("bare"), answer.to_string().as_bytes())?;
    let peer_tls = trust(&folder.join("bare"))?;
    let (mut ours, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        ours.push(hq.connect().await?);
        bares.push(Connection::open(peer.at, &peer_tls).await?);
    }
    let work = || -> Result<Vec<Work>, Stop> {
        let of = |(first, token): (u32, &String)| {
            let numbers = (0..EACH).map(|n| first.wrapping_add(n.wrapping_mul(7_919)));
            numbers.map(|n| request("GET", &path(n)?, token, None)).collect()
        };
        (0_u32..).zip(&tokens).map(of).collect()
    };
    let is_device = |body: &[u8]| body.starts_with(b"{\"id\"");
    let (mut rounds, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        peers.push(load::run(&peer, &mut bares, work()?, |_| true).await?);
        rounds.push(load::run(&hq.server, &mut ours, work()?, is_device).await?);
    }
    let of = |rounds: &[Load], value: fn(&Load) -> f64| median(rounds.iter().map(value).collect());
    let (per_cpu, peer_per_cpu) =
        (of(&rounds, Load::per_cpu_second), of(&peers, Load::per_cpu_second));
    let (seen, peer_seen) = (of(&rounds, Load::per_second), of(&peers, Load::per_second));
    Ok(vec![
        Figure::new("device reads on two cores, beside a bare handler", CORES * per_cpu, "reads/s")
            .beside(Some(CORES * peer_per_cpu))
            .bar(Bar::AtLeast(20_000.0)),
        Figure::new("the same, whoever asks on the same cores", seen, "reads/s")
            .beside(Some(peer_seen)),
        Figure::new("one read among 32, p99", of(&rounds, |load| load.within_ms(99)), "ms"),
    ])
}

/// Pages of a list of a million.
pub(super) async fn pages(folder: PathBuf) -> Result<Vec<Figure>, Stop> {
    let mut hq = Hq::new(&folder).await?;
    let begin = now();
    fill(&mut hq, MANY).await?;
    let filled = begin.elapsed().as_secs_f64();
    let (mut hq, started) = hq.again().await?;

    // Through all of it, as an export goes.
    let (mut next, mut late, mut seen) = (None::<String>, String::new(), 0_u32);
    let begin = now();
    loop {
        let page = next.map(|page| format!("&page={page}")).unwrap_or_default();
        let listed = hq.must("GET", &format!("/v1/devices?limit={PAGE_MAX}{page}"), None).await?;
        let items = listed["items"].as_array().map_or(0, Vec::len);
        seen = seen.saturating_add(u32::try_from(items).map_err(stop)?);
        if seen == MANY / 10 * 9 {
            late = text(&listed, "next")?;
        }
        next = listed["next"].as_str().map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    if seen != MANY {
        return Err(Stop(format!("{seen} of {MANY} devices are listed")));
    }
    let walked = begin.elapsed().as_secs_f64();
    let early = format!("/v1/devices?limit={PAGE}");
    let late = format!("{early}&page={late}");
    let (mut firsts, mut lates) = (Vec::new(), Vec::new());
    for _ in 0..PAGES {
        firsts.push(once(&mut hq, &early).await?);
        lates.push(once(&mut hq, &late).await?);
    }
    let (first, late) = (median(firsts), median(lates));
    let mut figures = vec![
        Figure::new(
            "list of 1,000,000: told of through the API",
            f64::from(MANY) / filled,
            "device/s",
        ),
        Figure::new("list of 1,000,000: start of the process, from its snapshot", started, "s")
            .bar(Bar::AtMost(10.0)),
        Figure::new("list of 1,000,000: all pages of 1,000", walked, "s"),
        Figure::new("list of 1,000,000: first page of 100", first, "ms"),
        Figure::new("list of 1,000,000: a page at nine tenths", late, "ms"),
        Figure::new("list of 1,000,000: the one beside the other", late / first, "ratio")
            .bar(Bar::AtMost(1.2)),
    ];
    for (what, query) in [
        ("counted, sorted by address", "sort=address&count=true"),
        ("a selector that 1 of 10 has", "l=type=ip-camera-1&count=true"),
        ("text in any field", "q=host-999999"),
        ("a Cedar expression", "count=true&where=principal.owner%20%3D%3D%20%22nobody%22"),
    ] {
        let took = once(&mut hq, &format!("/v1/devices?{query}")).await?;
        figures.push(Figure::new(format!("list of 1,000,000: {what}, first page"), took, "ms"));
    }
    Ok(figures)
}

/// Milliseconds of one answer.
async fn once(hq: &mut Hq, path: &str) -> Result<f64, Stop> {
    let begin = now();
    hq.must("GET", path, None).await?;
    Ok(begin.elapsed().as_secs_f64() * 1_000.0)
}

/// Tells a controller of devices, a thousand at a time, and of where they are.
pub(super) async fn fill(hq: &mut Hq, devices: u32) -> Result<(), Stop> {
    let why = "a bench";
    hq.must("POST", "/v1/sites", Some(&json!({ "id": "main", "name": "Main", "why": why })))
        .await?;
    // As many as changes are taken of one token.
    let mut connection = hq.connect().await?;
    let tokens = hq.tokens(8).await?;
    let all: Vec<u32> = (0..devices).collect();
    for (part, token) in all.chunks(1_000).zip(tokens.iter().cycle()) {
        let facts = part.iter().map(|n| {
            let facts = estate_bench::facts(*n, "sensor")?;
            serde_json::to_value(facts).map_err(stop)
        });
        let facts: Vec<Value> = facts.collect::<Result<_, Stop>>()?;
        let report =
            json!({ "site": "main", "source": "import/bench", "devices": facts, "why": why });
        let request = request("POST", "/v1/devices/report", token, Some(&report))?;
        let (status, answer): (u16, Bytes) = connection.ask(request).await?;
        if status != 200 {
            return Err(Stop(format!("{status}: {}", String::from_utf8_lossy(&answer))));
        }
    }
    Ok(())
}

/// A folder of fifty policies and five hundred services over so many devices, as the API takes it.
pub(super) fn policy(devices: u32) -> Result<Value, Stop> {
    let folder = decisions::estate(50, devices)?;
    Ok(json!({ "files": folder.files(), "origin": "bench", "why": "a bench" }))
}
