//! Proving who one is: the first operator, login, logout, and one's own password.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Api, Body, Problem, Who, bearer};
use crate::auth::{AuthError, Begun, Profile, Secret, Source};

/// On the way of a secret nobody keeps it.
pub(crate) const NO_STORE: [(HeaderName, HeaderValue); 1] =
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];

/// Where a request comes from; not known where no socket says it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(Source);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(Source::from(peer.map(|ConnectInfo(address)| address.ip()))))
    }
}

/// The first operator.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// What the file `setup-token` says.
    pub secret: Secret,
    /// What is typed at login: 1 to 128 characters of `a-z A-Z 0-9 . _ - + @`.
    pub login: String,
    /// For people.
    pub name: String,
    /// How to reach it.
    #[serde(default)]
    pub contact: Option<String>,
    /// Twelve characters or more.
    pub password: Secret,
}

/// A session that began.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Session {
    /// Whose.
    pub operator: String,
    /// What to send as `Authorization: Bearer …`. Told once.
    pub token: Secret,
    /// It ends then at the latest (RFC 3339), and 30 minutes after its last use.
    pub expires_at: String,
    /// Somebody else has set the password: it has to be changed before anything else.
    pub must_change: bool,
}

impl From<Begun> for Session {
    fn from(begun: Begun) -> Self {
        let Begun { operator, token, expires_at, must_change } = begun;
        Self {
            operator: operator.to_string(),
            token,
            expires_at: expires_at.to_string(),
            must_change,
        }
    }
}

/// Makes the first operator, once, and logs it in.
#[utoipa::path(post, path = "/v1/setup", tag = "access", security(()), request_body = Setup,
    responses((status = 201, body = Session), (status = "default", body = Problem)))]
pub async fn setup(
    State(api): State<Api>,
    Peer(source): Peer,
    Body(setup): Body<Setup>,
) -> Result<Response, Problem> {
    let Setup { secret, login, name, contact, password } = setup;
    let profile = Profile { login, name, contact: contact.unwrap_or_default() };
    let begun = api.who.setup(secret, profile, password, source).await?;
    Ok((StatusCode::CREATED, NO_STORE, Json(Session::from(begun))).into_response())
}

/// Somebody who says who it is.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The login, with any capitals.
    pub login: String,
    /// The password.
    pub password: Secret,
}

/// Begins a session. Which of login and password is wrong is not told; too many tries are answered with 429.
#[utoipa::path(post, path = "/v1/login", tag = "access", security(()), request_body = Login,
    responses((status = 200, body = Session), (status = "default", body = Problem)))]
pub async fn login(
    State(api): State<Api>,
    Peer(source): Peer,
    Body(login): Body<Login>,
) -> Result<Response, Problem> {
    let Login { login, password } = login;
    let begun = api.who.login(&login, password, source).await?;
    Ok((NO_STORE, Json(Session::from(begun))).into_response())
}

/// Ends the session that it is asked with.
#[utoipa::path(post, path = "/v1/logout", tag = "access",
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn logout(
    State(api): State<Api>,
    _who: Who,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    match bearer(&headers).is_some_and(|token| api.who.logout(token)) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "auth.no-session",
            "logging out",
            "this is no session",
        )
        .help("an API token ends with DELETE /v1/tokens/{id}")),
    }
}

/// Another password of one's own.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = PasswordChange)]
#[serde(deny_unknown_fields)]
pub struct Password {
    /// The old one.
    pub old: Secret,
    /// The new one: twelve characters or more.
    pub new: Secret,
}

/// Changes one's own password. All sessions of the operator end, this one too.
#[utoipa::path(post, path = "/v1/password", tag = "access", request_body = Password,
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn password(
    State(api): State<Api>,
    who: Who,
    Peer(source): Peer,
    Body(password): Body<Password>,
) -> Result<StatusCode, Problem> {
    let Password { old, new } = password;
    api.who.change_password(who.principal(), old, new, source).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let text = error.to_string();
        let invalid = StatusCode::UNPROCESSABLE_ENTITY;
        match error {
            AuthError::Hub(error) => error.into(),
            AuthError::Wrong => Self::new(StatusCode::UNAUTHORIZED, "auth.wrong", "who asks", text)
                .help("an admin can set another password"),
            AuthError::Nobody => {
                Self::new(StatusCode::UNAUTHORIZED, "auth.unknown", "who asks", text)
                    .help("`ringfence login`, or another API token")
            }
            AuthError::TooMany(seconds) => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                let mut problem = Self::new(status, "auth.too-many", "too many tries", text);
                problem.retry_after_s = Some(seconds);
                problem.help("who is logged in, and every API token, is not concerned")
            }
            AuthError::Busy => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let mut problem = Self::new(status, "auth.busy", "too many at once", text);
                problem.retry_after_s = Some(1);
                problem
            }
            AuthError::Password(_) => Self::new(invalid, "password.unfit", "the password", text)
                .help("twelve characters or more; length counts, not signs"),
            AuthError::Profile(_) => Self::new(invalid, "operator.profile", "the operator", text),
            AuthError::Old => {
                Self::new(StatusCode::FORBIDDEN, "password.old", "the old password", text)
            }
            AuthError::Taken => {
                Self::new(StatusCode::CONFLICT, "operator.login-taken", "the login", text)
            }
            AuthError::Person => Self::new(StatusCode::FORBIDDEN, "auth.person", "who asks", text),
            AuthError::Own => {
                Self::new(StatusCode::FORBIDDEN, "password.own", "the password", text)
                    .help("POST /v1/password")
            }
            AuthError::State(_)
            | AuthError::Side(_)
            | AuthError::Foreign(_)
            | AuthError::Io { .. }
            | AuthError::Random(_)
            | AuthError::Hash(_)
            | AuthError::Id(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "auth.unwritable",
                "operators cannot be read or changed",
                text,
            )
            .help("see the controller's disk; sites keep enforcing"),
        }
    }
}
