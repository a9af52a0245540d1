//! Bodies of requests.

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::Problem;

/// A JSON body; one that is not understood is a problem with line, column and field.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| {
            kind.split(';').next().is_some_and(|k| k.trim() == "application/json")
        }) {
            let detail = "its Content-Type is not application/json";
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "request.media",
                "the body",
                detail,
            ));
        }
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(unread)?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "request.body",
                "the body",
                error.to_string(),
            )
            .help("GET /v1/openapi.json has the form of every body")
        })
    }
}

/// The bytes of a list, whatever they are; JSON is none.
#[derive(Debug)]
pub struct Raw(pub axum::body::Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.trim_start().starts_with("application/json")) {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let detail =
                "its Content-Type is application/json, and a list is text/csv or text/plain";
            return Err(Problem::new(status, "request.media", "the body", detail));
        }
        axum::body::Bytes::from_request(request, state).await.map(Self).map_err(unread)
    }
}

fn unread(rejection: BytesRejection) -> Problem {
    let status = rejection.status();
    let code =
        if status == StatusCode::PAYLOAD_TOO_LARGE { "request.too-large" } else { "request.cut" };
    Problem::new(status, code, "the body", rejection.body_text())
}
