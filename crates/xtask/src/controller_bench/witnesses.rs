//! Witnesses: how long after a change two of three, of different parties, have cosigned a head that has it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::hq::{Hq, Server};
use super::{now, stop};
use crate::Stop;
use crate::figures::{Bar, Figure};

const PARTIES: [&str; 3] = ["it", "ot", "auditor"];
const CHANGES: u32 = 20;
/// No quorum takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn measure(folder: PathBuf) -> Result<Vec<Figure>, Stop> {
    // The journal's key is there after the first start, and witnesses are named before the second.
    let hq = Hq::new(&folder).await?;
    let mut witnesses = Vec::new();
    let mut policy = format!("log {}\n", read(&folder.join("hq/log.vkey"))?.trim_end());
    for party in PARTIES {
        let witness = witness(&folder, party)?;
        let key = read(&folder.join(party).join("witness.vkey"))?;
        policy += &format!("witness {party} {} http://{}\n", key.trim_end(), witness.at);
        witnesses.push(witness);
    }
    policy += "group two 2 it ot auditor\nquorum two\n";
    std::fs::write(folder.join("hq/witnesses"), policy).map_err(stop)?;
    let (mut hq, _) = hq.again().await?;
    let all = changes(&mut hq, "all").await?;
    // One of them is gone.
    witnesses.truncate(2);
    let two = changes(&mut hq, "two").await?;
    Ok(vec![
        Figure::new("change until two of three witnesses have cosigned it, worst of 20", all, "s")
            .bar(Bar::AtMost(2.0)),
        Figure::new("the same with one witness gone", two, "s").bar(Bar::AtMost(2.0)),
    ])
}

/// The longest of some changes, in seconds.
async fn changes(hq: &mut Hq, name: &str) -> Result<f64, Stop> {
    let mut worst = 0.0_f64;
    for n in 0..CHANGES {
        let begin = now();
        let team = json!({ "name": "T", "contact": "t@acme.example", "escalate_after_min": 60, "why": "a bench" });
        hq.must("PUT", &format!("/v1/teams/{name}-{n}"), Some(&team)).await?;
        let size = hq.must("GET", "/v1/journal", None).await?["entries"].as_u64();
        let size = size.ok_or_else(|| Stop("the journal has no size".to_owned()))?;
        loop {
            let standing = hq.must("GET", "/v1/journal", None).await?;
            // Nothing is signed without its quorum.
            if standing["signed"].as_u64() >= Some(size) {
                break;
            }
            if begin.elapsed() > PATIENCE {
                return Err(Stop(format!("the witnesses do not cosign: {standing}")));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        worst = worst.max(begin.elapsed().as_secs_f64());
    }
    Ok(worst)
}

fn witness(folder: &Path, party: &str) -> Result<Server, Stop> {
    let ringfence = crate::ringfence()?;
    let mut new = Command::new(&ringfence);
    new.args(["witness", "new", party, "--name"])
        .arg(format!("{party}.example/witness"))
        .current_dir(folder);
    let made = new.output().map_err(stop)?;
    if !made.status.success() {
        return Err(Stop(String::from_utf8_lossy(&made.stderr).into_owned()));
    }
    let mut serve = Command::new(ringfence);
    serve.args(["witness", "serve", party, "--listen", "127.0.0.1:0", "--log", "hq/log.vkey"]);
    serve.current_dir(folder);
    Server::start(serve, "")
}

fn read(path: &Path) -> Result<String, Stop> {
    std::fs::read_to_string(path).map_err(|e| Stop(format!("{}: {e}", path.display())))
}
