//! How often somebody may ask: a program that has gone wild slows itself down, and nobody else.
//!
//! Each operator, token and machine has turns of its own for reading, for changing (each change is durable before it is answered), and for
//! what computes over the whole estate; whoever fails to say who they are has turns by source address. Without a turn the answer is 429 with
//! the seconds to wait.

use std::sync::{Mutex, PoisonError};

use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode};
use model::Timestamp;

use super::Problem;
use crate::turns::{Rate, SECOND, Source, Table};

/// Reading.
const READS: Rate = Rate { burst: 10_000, every_nanos: SECOND / 5_000 };
/// Changing.
const CHANGES: Rate = Rate { burst: 1_000, every_nanos: SECOND / 200 };
/// Computing over the whole estate.
const SWEEPS: Rate = Rate { burst: 20, every_nanos: SECOND / 5 };
/// Being nobody: wrong tokens, and what needs none, as the console's files. There may be a whole office behind an address.
const NOBODY: Rate = Rate { burst: 500, every_nanos: SECOND / 50 };

/// Endpoints that compute over the whole estate.
const OVER_ALL: [&str; 11] = [
    "/v1/devices/import",
    "/v1/policy",
    "/v1/policy/check",
    "/v1/policy/plan",
    "/v1/exceptions",
    "/v1/reach/matrix",
    "/v1/reach/devices/{id}",
    "/v1/reach/map",
    "/v1/reach/worst",
    "/v1/decisions/{id}/replay",
    "/v1/questions",
];

/// By the digest of who asks.
type Known = Table<[u8; 32]>;

/// Turns of everybody.
#[derive(Debug)]
pub struct Pace {
    reads: Mutex<Known>,
    changes: Mutex<Known>,
    sweeps: Mutex<Known>,
    nobody: Mutex<Table<Source>>,
}

impl Default for Pace {
    fn default() -> Self {
        let known = |rate| Mutex::new(Table::new(rate));
        Self {
            reads: known(READS),
            changes: known(CHANGES),
            sweeps: known(SWEEPS),
            nobody: Mutex::new(Table::new(NOBODY)),
        }
    }
}

impl Pace {
    /// Somebody asks for something.
    pub(super) fn somebody(
        &self,
        who: &str,
        method: &Method,
        path: &str,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let changes = !matches!(*method, Method::GET | Method::HEAD);
        let (table, what) = match () {
            // The policy in force is read like anything else.
            () if OVER_ALL.contains(&path) && (changes || path != "/v1/policy") => {
                (&self.sweeps, "questions over the whole estate")
            }
            () if changes => (&self.changes, "changes"),
            () => (&self.reads, "reads"),
        };
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        table.turn(crypto::sha256(who.as_bytes()), now).map_err(|wait| later(what, wait))
    }

    /// Somebody asks who does not say who, or says it wrongly. Without an address there is no network between.
    pub(super) fn nobody<B>(&self, request: &Request<B>, now: Timestamp) -> Result<(), Problem> {
        let Some(ConnectInfo(from)) =
            request.extensions().get::<ConnectInfo<std::net::SocketAddr>>()
        else {
            return Ok(());
        };
        let mut table = self.nobody.lock().unwrap_or_else(PoisonError::into_inner);
        let source = Source::from(Some(from.ip()));
        table.turn(source, now).map_err(|wait| later("requests of nobody", wait))
    }
}

fn later(what: &str, seconds: u32) -> Problem {
    let title = "too many requests";
    let why = format!("there were more {what} than this controller takes in the time");
    let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "request.too-many", title, why)
        .help(format!("try again in {seconds} s; other operators and tokens are not concerned"));
    problem.retry_after_s = Some(seconds);
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000, 0).plus_nanos(millis * 1_000_000)
    }

    #[test]
    fn who_asks_without_end_waits_and_others_do_not() {
        let pace = Pace::default();
        let ask =
            |who: &str, millis| pace.somebody(who, &Method::POST, "/v1/devices/edit", at(millis));
        for _ in 0..1_000 {
            ask("token/a", 0).unwrap();
        }
        let refused = ask("token/a", 0).unwrap_err();
        assert_eq!((refused.status, refused.code), (429, "request.too-many"));
        assert_eq!(refused.retry_after_s, Some(1));
        ask("token/b", 0).unwrap();
        ask("token/a", 5).unwrap();
        ask("token/a", 5).unwrap_err();
        // Reading is counted apart.
        pace.somebody("token/a", &Method::GET, "/v1/devices", at(5)).unwrap();
    }

    #[test]
    fn what_computes_over_all_is_there() {
        for path in OVER_ALL {
            let listed = super::super::ENDPOINTS.iter().any(|(_, known, _)| *known == path);
            assert!(listed, "{path} is no endpoint");
        }
    }

    #[test]
    fn what_computes_over_all_has_few_turns_and_reading_the_policy_is_reading() {
        let pace = Pace::default();
        for _ in 0..20 {
            pace.somebody("person/a", &Method::PUT, "/v1/policy", at(0)).unwrap();
        }
        pace.somebody("person/a", &Method::GET, "/v1/reach/matrix", at(0)).unwrap_err();
        pace.somebody("person/a", &Method::GET, "/v1/policy", at(0)).unwrap();
        pace.somebody("person/a", &Method::GET, "/v1/reach/matrix", at(200)).unwrap();
    }
}
