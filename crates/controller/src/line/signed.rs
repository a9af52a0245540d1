//! What devices of a site signed, brought by the site: it cannot change any of it, only bring it or not.

use std::sync::Arc;

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;

use super::sessions::Session;
use super::{Line, actor, too_early, whole};
use crate::HubError;
use crate::api::Problem;
use crate::api::keys::media;
use crate::commitments::{BODY_BYTES_MAX, read, take};

/// Commitments that cost as much of a site's purse as a request.
const PART: usize = 256;

/// A sequence of commitments. Whoever signed is in them, so that it does not matter which site brings them: a device may have moved.
pub(super) async fn commitments(
    line: &Arc<Line>,
    session: &Arc<Session>,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response, Problem> {
    media(headers)?;
    // Nothing is read before there is room for it. Neither is ever closed.
    let _one = session.signed.acquire().await;
    let _all = line.signed.acquire().await;
    let bytes = whole(headers, body, BODY_BYTES_MAX).await?;
    let signed = read(&bytes)?;
    drop(bytes);
    let cost = i64::try_from(signed.len() / PART).unwrap_or(i64::MAX).saturating_add(1);
    // A purse of their own: devices that sign without end keep their site from saying nothing else.
    line.signed_purses.spend(session.site(), cost, line.hub.now()).map_err(|later| {
        line.metrics.too_early.up();
        too_early(later, "this site", "its devices sign more than the journal takes of one site")
    })?;
    let who = actor(session.site()).map_err(HubError::from)?;
    let taken = take(&line.hub, who, signed, &|_| true).await?;
    line.metrics.signed.up();
    Ok(Json(taken).into_response())
}
