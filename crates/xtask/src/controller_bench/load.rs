//! Connections that ask for as long as there is work, each as soon as it is answered.

use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use tokio::task::JoinSet;

use super::hq::{Connection, Server};
use super::{now, stop};
use crate::Stop;

/// What one connection has to ask, in order.
pub(super) type Work = Vec<Request<Full<Bytes>>>;

/// What became of it.
pub(super) struct Load {
    pub(super) requests: f64,
    pub(super) secs: f64,
    /// Processor time of the server.
    pub(super) cpu_secs: f64,
    /// How long each took, sorted.
    pub(super) took: Vec<Duration>,
}

impl Load {
    pub(super) fn per_second(&self) -> f64 {
        self.requests / self.secs
    }

    pub(super) fn per_cpu_second(&self) -> f64 {
        self.requests / self.cpu_secs.max(0.01)
    }

    /// Milliseconds within which so many of a hundred were answered.
    pub(super) fn within_ms(&self, percent: usize) -> f64 {
        let at = self.took.len().saturating_sub(1) * percent / 100;
        self.took.get(at).map_or(f64::NAN, |took| took.as_secs_f64() * 1_000.0)
    }
}

/// Asks; every answer has to be a success that `good` accepts.
pub(super) async fn run(
    server: &Server,
    connections: &mut Vec<Connection>,
    work: Vec<Work>,
    good: fn(&[u8]) -> bool,
) -> Result<Load, Stop> {
    let cpu_before = server.cpu_secs()?;
    let begin = now();
    let mut asking = JoinSet::new();
    for (mut connection, work) in connections.drain(..).zip(work) {
        asking.spawn(async move {
            let mut took = Vec::with_capacity(work.len());
            for request in work {
                let begin = now();
                let (status, body) = connection.ask(request).await?;
                if !(200..300).contains(&status) || !good(&body) {
                    let body = String::from_utf8_lossy(&body);
                    return Err(Stop(format!("answered {status}: {body}")));
                }
                took.push(begin.elapsed());
            }
            Ok((connection, took))
        });
    }
    let mut took = Vec::new();
    while let Some(done) = asking.join_next().await {
        let (connection, times) = done.map_err(stop)??;
        connections.push(connection);
        took.extend(times);
    }
    let secs = begin.elapsed().as_secs_f64();
    let cpu_secs = server.cpu_secs()? - cpu_before;
    took.sort_unstable();
    let requests = f64::from(u32::try_from(took.len()).unwrap_or(u32::MAX));
    Ok(Load { requests, secs, cpu_secs, took })
}
