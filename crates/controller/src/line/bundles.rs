//! The long answer: what a site is meant to enforce, and until when, for as long as the connection stands.
//!
//! The body is made while it is read: HTTP/2 asks for the next piece when the site has taken the last ones. So a slow site costs one frame
//! of memory, and what it did not wait for is never made: after a frame comes the newest bundle of that moment.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use model::line::{self, Delta, Files, Frame, Held, framed};

use super::Line;
use super::revoked::Sent;
use super::sessions::Session;
use crate::api::Problem;
use crate::pdp::Bundle;

/// Bytes that are handed on at once.
const PIECE_BYTES: usize = 64 << 10;

/// What a site says it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Has {
    /// Its generation; 0: none.
    pub(super) generation: u64,
    /// SHA-256 over its files, in hex; empty: none.
    pub(super) content: String,
    /// It asks for lists of revoked certificates.
    pub(super) lists: bool,
}

impl Has {
    /// From `held=GENERATION&content=HEX&lists=1`. What is not known is passed over.
    pub(super) fn read(query: &str) -> Result<Self, Problem> {
        let mut has = Self::default();
        for (name, value) in query.split('&').filter_map(|part| part.split_once('=')) {
            match name {
                "held" => {
                    has.generation = value.parse().map_err(|_| {
                        Problem::invalid("held", "it is the number of a generation")
                    })?;
                }
                "content" => {
                    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
                    if !value.is_empty() && (value.len() != 64 || !value.chars().all(hex)) {
                        let why = "it is 64 hex digits in lower case";
                        return Err(Problem::invalid("content", why));
                    }
                    value.clone_into(&mut has.content);
                }
                "lists" => has.lists = value == "1",
                _ => {}
            }
        }
        Ok(has)
    }
}

/// Frames without end.
pub(super) fn answer(line: &Arc<Line>, session: &Arc<Session>, has: Has) -> Response {
    let (line, session) = (Arc::clone(line), Arc::clone(session));
    let frames = async_stream::stream! {
        let mut latest = line.pdp.follow(session.site());
        let (mut revised, mut sent) = (line.revised.subscribe(), has.lists.then(Sent::default));
        let mut at = Position { has, base: None, fresh: true };
        loop {
            let bundle = latest.borrow_and_update().clone();
            if let Some(mut frame) = line.next(&session, &mut at, bundle).await {
                while !frame.is_empty() {
                    yield Ok::<_, Infallible>(frame.split_to(frame.len().min(PIECE_BYTES)));
                }
            }
            if let Some(sent) = &mut sent && let Some(mut frame) = line.lists(sent).await {
                while !frame.is_empty() {
                    yield Ok::<_, Infallible>(frame.split_to(frame.len().min(PIECE_BYTES)));
                }
            }
            tokio::select! {
                changed = latest.changed() => if changed.is_err() { return },
                changed = revised.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(Duration::from_secs(line.timing.lease_every_s.into())) => {}
                () = session.cut() => return,
            }
            if !session.is_believed(&line.hub) {
                line.recheck(Some(session.site()));
                return;
            }
        }
    };
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    (StatusCode::OK, kind, Body::from_stream(frames)).into_response()
}

/// How far one stream is.
struct Position {
    /// What the site has, or was sent.
    has: Has,
    /// The bundle with that content, where it is here.
    base: Option<Arc<Bundle>>,
    /// Nothing was sent yet.
    fresh: bool,
}

impl Line {
    /// What comes next: the newest bundle where it is newer, else how long leases hold.
    async fn next(
        &self,
        session: &Session,
        at: &mut Position,
        bundle: Option<Arc<Bundle>>,
    ) -> Option<Bytes> {
        if let Some(bundle) = bundle {
            let same = at.has.generation == bundle.generation && at.has.content == bundle.content;
            if bundle.generation > at.has.generation || (at.fresh && same) {
                at.fresh = false;
                if let Some(frame) = self.bundle(session, at, &bundle).await {
                    return Some(frame);
                }
            } else if at.fresh {
                at.fresh = false;
                self.is_ahead(session, at.has.generation).await;
            }
        }
        self.metrics.leases.up();
        let now = self.hub.now();
        let generation = self.hub.read(|estate| {
            let site = estate.sites().get(session.site())?;
            site.intended.as_ref().map(|bundle| bundle.generation)
        });
        encode(&Frame::Lease { generation: generation.unwrap_or(0), until: self.until(now), now })
    }

    async fn bundle(
        &self,
        session: &Session,
        at: &mut Position,
        bundle: &Arc<Bundle>,
    ) -> Option<Bytes> {
        let (base, content) = (at.base.take(), at.has.content.clone());
        let base = base.or_else(|| match bundle.content == content {
            true => Some(Arc::clone(bundle)),
            false => self.pdp.earlier(session.site(), &content),
        });
        let base = base.filter(|base| base.content == content);
        self.metrics.bundles.up();
        if base.is_some() {
            self.metrics.deltas.up();
        }
        at.has.generation = bundle.generation;
        at.has.content.clone_from(&bundle.content);
        at.base = Some(Arc::clone(bundle));
        let (until, stale_after_s) = (self.until(self.hub.now()), self.timing.stale_after_s);
        let bundle = Arc::clone(bundle);
        // A whole bundle of a large site takes its time.
        let made = tokio::task::spawn_blocking(move || {
            let held = match base {
                Some(base) => Held::Since {
                    content: base.content.clone(),
                    delta: Delta::between(&base.files, &bundle.files),
                },
                None => Held::Whole { files: Files::clone(&bundle.files) },
            };
            encode(&Frame::Bundle(Box::new(line::Bundle {
                generation: bundle.generation,
                content: bundle.content.clone(),
                held,
                expired: bundle.expired.clone(),
                stale: bundle.stale.clone(),
                lease_until: until,
                stale_after_s,
            })))
        });
        let frame = made.await.ok().flatten();
        if frame.is_none() {
            // The next one does not rest on what the site does not have.
            at.base = None;
            at.has.content.clear();
            let (site, generation) = (session.site(), at.has.generation);
            self.note(&format!("site {site}: generation {generation} is longer than a frame may be, and was not sent"));
        }
        frame
    }

    /// This controller was restored from a backup, and the site was not.
    async fn is_ahead(&self, session: &Session, generation: u64) {
        let site = session.site();
        self.note(&format!(
            "site {site} has generation {generation}, which this controller did not offer: was it restored from a backup? What it is meant to enforce is numbered anew"
        ));
        let (pdp, site) = (Arc::clone(&self.pdp), session.site().clone());
        let done = tokio::task::spawn_blocking(move || pdp.ahead(&site, generation)).await;
        if let Ok(Err(error)) = done {
            self.note(&format!("site {}: {error}", session.site()));
        }
    }
}

pub(super) fn encode(frame: &Frame) -> Option<Bytes> {
    let payload = serde_json::to_vec(frame).ok()?;
    framed(&payload).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_site_has_is_read_strictly_and_what_is_new_is_passed_over() {
        let hex = "0a".repeat(32);
        let read = |text: &str| Has::read(text).ok();
        assert_eq!(read(""), Some(Has::default()));
        let has = Has { generation: 7, content: hex.clone(), lists: false };
        assert_eq!(read(&format!("held=7&content={hex}&later=1")), Some(has.clone()));
        let asks = Has { lists: true, ..has };
        assert_eq!(read(&format!("held=7&content={hex}&lists=1")), Some(asks));
        assert_eq!(read("held=0&content="), Some(Has::default()));
        for wrong in ["held=", "held=-1", "held=18446744073709551616", "content=0A", "content=%30"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
