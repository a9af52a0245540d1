//! What is said at the door: bodies and answers of EST, and nothing of why.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pki::Certificate;
use pki::est;

/// Seconds after which a device whose request waits should ask again.
pub(super) const LATER_S: u32 = 15;

/// An answer that is no certificate: a status, and a line for whoever reads the device's log (RFC 7030 §4.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct No {
    pub(super) status: StatusCode,
    pub(super) why: String,
    /// Stable word for the journal.
    pub(super) code: &'static str,
    /// Seconds after which it may be another answer.
    pub(super) retry_after_s: Option<u32>,
    /// It is in the journal.
    pub(super) written: bool,
}

impl No {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        let code = "identity.request";
        Self { status, why: why.into(), code, retry_after_s: None, written: false }
    }

    /// It is no refusal: a person looks first.
    pub(super) fn waits(&self) -> bool {
        self.status == StatusCode::ACCEPTED
    }

    /// Whether there is something to look at on the device: not where the fault is ours, nor where it is only asked for its secret.
    pub(super) fn is_theirs(&self) -> bool {
        let asked = self.status == StatusCode::UNAUTHORIZED;
        (self.status.is_client_error() && !asked) || self.status == StatusCode::NOT_IMPLEMENTED
    }

    /// The same, which is in the journal.
    pub(super) fn written(mut self) -> Self {
        self.written = true;
        self
    }

    /// It is looked at by a person (RFC 7030 §4.2.3).
    pub(super) fn later(why: impl Into<String>) -> Self {
        Self { retry_after_s: Some(LATER_S), ..Self::new(StatusCode::ACCEPTED, why) }
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let mut answer = (self.status, format!("{}\n", self.why)).into_response();
        let headers = answer.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let basic = HeaderValue::from_static("Basic realm=\"est\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, basic);
        }
        answer
    }
}

/// Certificates, in the one form that all clients read (RFC 7030 §4.1.3, RFC 8951 §3.1).
pub(super) fn certificates(all: &[Certificate]) -> Response {
    let body = est::body(&est::certs_only(all));
    coded("application/pkcs7-mime; smime-type=certs-only", body)
}

/// What requests should say (RFC 7030 §4.5.2).
pub(super) fn wishes(wishes: &est::Wishes) -> Response {
    coded("application/csrattrs", est::body(&est::csrattrs(wishes)))
}

fn coded(kind: &'static str, body: String) -> Response {
    let mut answer = Response::new(Body::from(Bytes::from(body)));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("content-transfer-encoding", HeaderValue::from_static("base64"));
    answer
}

/// User and password of HTTP Basic (RFC 7617).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Basic {
    pub(super) user: String,
    pub(super) password: String,
}

/// What a header says, if it says it so.
pub(super) fn basic(value: &HeaderValue) -> Option<Basic> {
    let (user, password) = est::basic(value.to_str().ok()?)?;
    Some(Basic { user, password })
}

/// The password alone: the secret of a token. Whatever the user is.
pub(super) fn password(value: &HeaderValue) -> Option<String> {
    basic(value).map(|basic| basic.password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_what_stands_behind_the_first_colon() {
        let of = |text: &str| password(&HeaderValue::from_str(text).unwrap());
        assert_eq!(of("Basic YTpiOmM="), Some("b:c".to_owned()));
        assert_eq!(of("basic  OmI="), Some("b".to_owned()));
        for wrong in ["Basic", "Basic !", "Bearer YTpi", "Basic YWI=", ""] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
