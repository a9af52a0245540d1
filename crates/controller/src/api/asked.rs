//! What a request says in its address: the parts of its path, and its query. What is not understood is a problem like any other.

use axum::extract::{FromRequestParts, rejection};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::Problem;

/// Parts of the path.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        let wrong = |why: rejection::PathRejection| Problem::invalid("the path", why.body_text());
        path.map(|path| Self(path.0)).map_err(wrong)
    }
}

/// The query, after the question mark.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        let wrong = |why: rejection::QueryRejection| {
            Problem::invalid("the query", why.body_text())
                .help("GET /v1/openapi.json has the parameters of every path")
        };
        query.map(|query| Self(query.0)).map_err(wrong)
    }
}

/// Why something is taken away: a `DELETE` has no body that everybody passes on (RFC 9110, section 9.3.5).
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Reason {
    /// In words; it goes into the journal. Without it, what was done and by whom is there.
    #[param(min_length = 1, max_length = 4_096)]
    pub why: Option<String>,
}

impl Reason {
    /// What was said, or what was done.
    pub fn or(self, done: impl FnOnce() -> String) -> String {
        self.why.unwrap_or_else(done)
    }
}
