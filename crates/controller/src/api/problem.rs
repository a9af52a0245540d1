//! What went wrong, as RFC 9457 has it: `application/problem+json` with a stable `code`, what, why and what to do.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use estate::{Refusal, Sort};
use serde::Serialize;
use utoipa::ToSchema;

use crate::HubError;

/// In front of a code, the `type` of a problem.
const TYPE: &str = "https://ringfence.invalid/problems/";

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// URI of the sort of problem; ends with the code.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: Box<str>,
    /// What is wrong, for people.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable word for programs.
    #[schema(value_type = String)]
    pub code: &'static str,
    /// Why.
    pub detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// Seconds after which to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem of a status.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind: format!("{TYPE}{code}").into_boxed_str(),
            title: title.into(),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            help: String::new(),
            retry_after_s: None,
        }
    }

    /// The same with what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Input that makes no sense.
    pub fn invalid(title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "request.invalid", title, detail)
    }

    /// There is no such thing.
    pub fn unknown(code: &'static str, title: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, title, "there is none with this id")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.sort {
            Sort::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Sort::Unknown => StatusCode::NOT_FOUND,
            Sort::Conflict => StatusCode::CONFLICT,
            Sort::Forbidden => StatusCode::FORBIDDEN,
            Sort::Full => StatusCode::INSUFFICIENT_STORAGE,
        };
        Self::new(status, refusal.code, refusal.what, refusal.why).help(refusal.help)
    }
}

impl From<HubError> for Problem {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Refused(refusal) => refusal.into(),
            HubError::Journal(store::LogError::Store(store::StoreError::Conflict { .. })) => {
                Self::new(
                    StatusCode::CONFLICT,
                    "journal.conflict",
                    "the estate changed meanwhile",
                    "another process writes to this journal",
                )
            }
            other => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "journal.unwritable",
                "nothing was changed",
                other.to_string(),
            )
            .help("sites keep enforcing; see the controller's disk and `readyz`"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = self.retry_after_s;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"ringfence\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
