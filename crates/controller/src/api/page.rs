//! Lists in pages, and versions of single things.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;

/// Things of one page, unless asked otherwise.
const LIMIT: u16 = 100;
/// Things of one page at most.
pub const LIMIT_MAX: u16 = 1_000;

/// Bytes of what a page token holds: the longest value that devices are ordered by, written as JSON, and an id.
const TOKEN_BYTES_MAX: usize = 4_096;

/// Which page.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// How many: 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// `next` of the page before.
    pub page: Option<String>,
}

/// One page.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// `page` of the next one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Paging {
    /// How many are wanted.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        match self.limit.unwrap_or(LIMIT) {
            limit @ 1..=LIMIT_MAX => Ok(usize::from(limit)),
            limit => Err(Problem::invalid("the limit", format!("{limit} is not 1 to {LIMIT_MAX}"))),
        }
    }

    /// A page of things in the order of their keys; those after the token's key.
    pub(crate) fn of<T>(
        &self,
        things: impl Iterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> Result<Page<T>, Problem> {
        let limit = self.limit()?;
        let mut items = Vec::new();
        let mut next = None;
        for thing in things {
            if items.len() == limit {
                next = items.last().map(&key).map(|key| token(&key));
                break;
            }
            items.push(thing);
        }
        Ok(Page { items, next })
    }

    /// The key that the page begins after.
    pub(crate) fn after(&self) -> Result<Option<String>, Problem> {
        let Some(page) = &self.page else {
            return Ok(None);
        };
        let wrong = || Problem::invalid("the page", "it is no `next` of an earlier answer");
        let mut bytes = Vec::new();
        for pair in page.as_bytes().chunks(2) {
            let pair = std::str::from_utf8(pair).ok().filter(|p| p.len() == 2);
            bytes.push(pair.and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or_else(wrong)?);
        }
        String::from_utf8(bytes)
            .ok()
            .filter(|key| key.len() <= TOKEN_BYTES_MAX)
            .map(Some)
            .ok_or_else(wrong)
    }

    /// The journal's entry that the page ends before, the newest coming first.
    pub(crate) fn before(&self) -> Result<u64, Problem> {
        let wrong = |_| Problem::invalid("the page", "it is no `next` of an earlier answer");
        self.after()?.map_or(Ok(u64::MAX), |text| text.parse().map_err(wrong))
    }
}

/// Page tokens are opaque, so that nobody makes their own.
pub(crate) fn token(key: &str) -> String {
    crate::blobs::hex(key.as_bytes())
}

/// The version of a thing: the entry that changed it last.
pub(crate) fn etag(changed_by: u64) -> String {
    format!("\"{changed_by}\"")
}

/// Headers that say so.
pub(crate) fn versioned(changed_by: u64) -> [(header::HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_str(&etag(changed_by));
    [(header::ETAG, value.unwrap_or(HeaderValue::from_static("\"0\"")))]
}

/// Refuses a change of what has changed since it was read.
pub(crate) fn unchanged(headers: &HeaderMap, changed_by: u64) -> Result<(), Problem> {
    let Some(wanted) = headers.get(header::IF_MATCH) else {
        return Ok(());
    };
    let now = etag(changed_by);
    let wanted = wanted.to_str().unwrap_or_default();
    match wanted == "*" || wanted.split(',').any(|tag| tag.trim() == now) {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "request.stale",
            "it has changed since it was read",
            format!("If-Match is {wanted}, and its version is {now}"),
        )
        .help("read it again, and decide again")),
    }
}

/// Whether who asks has it already.
pub(crate) fn known(headers: &HeaderMap, changed_by: u64) -> bool {
    let tags = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let now = etag(changed_by);
    tags.is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == now))
}
