//! Changing: how soon a change is a decision, and another policy everybody's.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::hq::Hq;
use super::now;
use super::reads::policy;
use crate::Stop;
use crate::figures::{Bar, Figure};

/// An estate, and the largest.
const FEW: u32 = 10_000;
const MANY: u32 = 50_000;
const CHANGES: u32 = 300;
/// Between two changes, or two looks.
const PAUSE: Duration = Duration::from_millis(20);
const LEVEL: &str = "change to decision";
/// No decision takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn measure(folder: PathBuf) -> Result<Vec<Figure>, Stop> {
    let (count, one) = one_by_one(folder.join("few")).await?;
    let mut hq = ready(folder.join("many"), MANY).await?;
    let mut other = policy(MANY)?;
    let closed = close_one(&mut other)?;
    other["parent"] = hq.must("GET", "/v1/policy", None).await?["content"].clone();
    hq.must_by_two("PUT", "/v1/policy", &other).await?;
    let (_, all) = settled(&mut hq).await?;
    Ok(vec![
        Figure::new("one of 10,000 devices changes: measured", count, "change")
            .bar(Bar::AtLeast(100.0)),
        Figure::new("one of 10,000 devices changes: until it is decided, p99", one, "ms")
            .bar(Bar::AtMost(50.0)),
        Figure::new("policies that another folder leaves out", closed, "policy"),
        Figure::new(
            "another folder: until 50,000 devices × 500 services are decided",
            all / 1_000.0,
            "s",
        )
        .bar(Bar::AtMost(2.0)),
    ])
}

/// Devices change one after the other: how many decisions were measured, and their 99th percentile in milliseconds.
async fn one_by_one(folder: PathBuf) -> Result<(f64, f64), Stop> {
    let mut hq = ready(folder, FEW).await?;
    for n in 0..CHANGES {
        let posture = if n % 2 == 0 { "quarantined" } else { "normal" };
        // Each twice: cut off, and back.
        let device = (n / 2).wrapping_mul(2_654_435_761) % FEW;
        let change = json!({ "set": { "posture": posture }, "why": "a bench" });
        hq.must("PATCH", &format!("/v1/devices/d{device}"), Some(&change)).await?;
        tokio::time::sleep(PAUSE).await;
    }
    settled(&mut hq).await
}

/// A controller whose estate is decided, with nothing measured yet.
async fn ready(folder: PathBuf, devices: u32) -> Result<Hq, Stop> {
    let mut hq = Hq::new(&folder).await?;
    hq.must("PUT", "/v1/policy", Some(&policy(devices)?)).await?;
    settled(&mut hq).await?;
    let (mut hq, _) = hq.again().await?;
    // It decides about everything when it starts.
    let begin = now();
    let mut site = Value::Null;
    while site["rests_on"].as_u64() < site["entries"].as_u64() || site.is_null() {
        if begin.elapsed() > PATIENCE {
            return Err(Stop(format!("the controller does not decide: {site}")));
        }
        tokio::time::sleep(PAUSE).await;
        site = hq.must("GET", "/v1/sites?limit=1", None).await?["items"][0].clone();
    }
    Ok(hq)
}

/// Waits until nothing more is decided: measurements, and the 99th percentile in milliseconds.
async fn settled(hq: &mut Hq) -> Result<(f64, f64), Stop> {
    let begin = now();
    let (mut last, mut still) = (0, 0);
    while still < 10 {
        if begin.elapsed() > PATIENCE {
            return Err(Stop("decisions do not come to an end".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (count, _) = hq.level(LEVEL).await?;
        still = if count == last && count > 0 { still + 1 } else { 0 };
        last = count;
    }
    let (count, p99) = hq.level(LEVEL).await?;
    Ok((f64::from(u32::try_from(count).unwrap_or(u32::MAX)), p99))
}

/// Leaves out every second policy of a folder.
fn close_one(folder: &mut Value) -> Result<f64, Stop> {
    let mut closed = 0_u32;
    let files = folder["files"].as_object_mut();
    for (path, text) in files.ok_or_else(|| Stop("no files".to_owned()))? {
        let Some(policies) = text.as_str().filter(|_| path.ends_with(".cedar")) else { continue };
        let (mut kept, mut n) = (String::new(), 0_u32);
        for policy in policies.split_inclusive(";\n") {
            n += 1;
            if n.is_multiple_of(2) && policy.contains("permit") {
                closed += 1;
            } else {
                kept.push_str(policy);
            }
        }
        *text = Value::String(kept);
    }
    if closed == 0 {
        return Err(Stop("the folder has no policy to leave out".to_owned()));
    }
    Ok(f64::from(closed))
}
