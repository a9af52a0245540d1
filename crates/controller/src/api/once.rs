//! A `POST` that is sent again because its answer was lost is done once (`Idempotency-Key`).
//!
//! Who asks chooses a key, one for each thing it wants done. The first request with it is carried out and its answer kept for a day; another one
//! with the same key and the same content gets that answer, and one with another content is refused. Kept in memory: after a restart of the
//! process a repeated request is carried out as a new one, and most then conflict with what they themselves made.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::Timestamp;

use super::{BODY_BYTES_MAX, Problem, approvals};

/// Header with the key.
const KEY: &str = "idempotency-key";
/// Header that an answer has which was given before.
const REPLAYED: &str = "idempotency-replayed";
/// Bytes of a key.
const KEY_BYTES_MAX: usize = 128;
/// How long an answer is kept, in nanoseconds: a day.
const KEPT_NANOS: i64 = 86_400 * 1_000_000_000;
/// Answers kept.
const KEPT_MAX: usize = 4_096;
/// Bytes of an answer that is kept; for a longer one only that the thing was done.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Who asked, and under which key.
type Name = (String, String);

/// Answers that were given.
#[derive(Debug, Default)]
pub struct Answers {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    kept: BTreeMap<Name, Kept>,
    /// By the time they were asked.
    order: VecDeque<(Timestamp, Name)>,
}

#[derive(Clone, Debug)]
struct Kept {
    /// SHA-256 over method, path, approval and body.
    asked: [u8; 32],
    /// `None`: it is being carried out.
    answer: Option<Answer>,
}

#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// What is to be done with a request.
enum Step {
    Do,
    Repeat(Answer),
    Refuse(Problem),
}

impl Answers {
    /// Carries out a request, or gives the answer that it got before.
    pub(crate) async fn once(
        self: &Arc<Self>,
        who: &str,
        now: Timestamp,
        request: Request,
        next: Next,
    ) -> Response {
        let key = request.headers().get(KEY);
        let Some(key) = key else {
            return next.run(request).await;
        };
        let fits = |key: &&str| {
            (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
        };
        let Some(key) = key.to_str().ok().filter(fits).map(str::to_owned) else {
            let why = format!("a key is 1 to {KEY_BYTES_MAX} visible ASCII characters");
            return Problem::invalid("Idempotency-Key", why).into_response();
        };
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
            let (title, why) = ("the body", "it is too long, or broke off");
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "request.too-large", title, why)
                .into_response();
        };
        let approval = parts.headers.get(approvals::HEADER).map_or(&[][..], HeaderValue::as_bytes);
        let mut asked = format!("{} {}\n", parts.method, parts.uri).into_bytes();
        asked.extend_from_slice(approval);
        asked.push(b'\n');
        asked.extend_from_slice(&body);
        let (name, asked) = ((who.to_owned(), key), crypto::sha256(&asked));
        match self.begin(&name, asked, now) {
            Step::Refuse(problem) => problem.into_response(),
            Step::Repeat(answer) => repeated(answer),
            Step::Do => {
                let mut begun = Begun { answers: Arc::clone(self), name: Some(name) };
                // It goes on when whoever asked goes away: the answer is kept for when it comes back.
                let done = tokio::spawn(async move {
                    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
                    begun.end(response).await
                });
                done.await.unwrap_or_else(|error| {
                    let (title, why) = ("the request was given up", error.to_string());
                    let status = StatusCode::INTERNAL_SERVER_ERROR;
                    Problem::new(status, "internal", title, why).into_response()
                })
            }
        }
    }

    fn begin(&self, name: &Name, asked: [u8; 32], now: Timestamp) -> Step {
        let mut inner = self.inner();
        inner.forget(now);
        match inner.kept.get(name) {
            Some(kept) if kept.asked != asked => Step::Refuse(
                Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "idempotency.other-request",
                    "Idempotency-Key",
                    "this key was used for another request",
                )
                .help("use a new key for each thing that is to be done"),
            ),
            Some(Kept { answer: None, .. }) => Step::Refuse(Problem::new(
                StatusCode::CONFLICT,
                "idempotency.in-progress",
                "Idempotency-Key",
                "the first request with this key is being carried out",
            )),
            Some(Kept { answer: Some(answer), .. }) => Step::Repeat(answer.clone()),
            None => {
                inner.kept.insert(name.clone(), Kept { asked, answer: None });
                inner.order.push_back((now, name.clone()));
                Step::Do
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.order.front() {
            let old = now.as_nanos().saturating_sub(at.as_nanos()) >= KEPT_NANOS;
            if !old && self.order.len() < KEPT_MAX {
                return;
            }
            if let Some((_, name)) = self.order.pop_front() {
                self.kept.remove(&name);
            }
        }
    }
}

/// A request that is being carried out.
struct Begun {
    answers: Arc<Answers>,
    name: Option<Name>,
}

impl Begun {
    async fn end(&mut self, response: Response) -> Response {
        // What failed on our side may be tried again, and a refusal too: nothing was done.
        if !response.status().is_success() {
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let short = body.len() <= ANSWER_BYTES_MAX;
        let answer = Answer {
            status: parts.status,
            headers: parts.headers.clone(),
            body: if short { body.clone() } else { Bytes::new() },
        };
        if let Some(name) = self.name.take()
            && let Some(kept) = self.answers.inner().kept.get_mut(&name)
        {
            kept.answer = Some(answer);
        }
        Response::from_parts(parts, Body::from(body))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.answers.inner().kept.remove(&name);
        }
    }
}

fn repeated(answer: Answer) -> Response {
    let Answer { status, mut headers, body } = answer;
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    headers.remove(header::CONTENT_LENGTH);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds, 0)
    }

    fn name(key: &str) -> Name {
        ("anna".to_owned(), key.to_owned())
    }

    fn done(answers: &Answers, name: &Name) {
        let answer =
            Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() };
        answers.inner().kept.get_mut(name).unwrap().answer = Some(answer);
    }

    #[test]
    fn a_key_is_for_one_thing_for_a_day() {
        let answers = Answers::default();
        let one = name("k");
        assert!(matches!(answers.begin(&one, [1; 32], at(0)), Step::Do));
        assert!(matches!(answers.begin(&one, [1; 32], at(1)), Step::Refuse(p) if p.status == 409));
        done(&answers, &one);
        assert!(matches!(answers.begin(&one, [1; 32], at(2)), Step::Repeat(_)));
        assert!(matches!(answers.begin(&one, [2; 32], at(2)), Step::Refuse(p) if p.status == 422));
        let other = ("bert".to_owned(), "k".to_owned());
        assert!(matches!(answers.begin(&other, [2; 32], at(2)), Step::Do));
        assert!(matches!(answers.begin(&one, [2; 32], at(86_401)), Step::Do));
    }

    #[test]
    fn memory_is_bounded_and_what_broke_off_can_be_tried_again() {
        let answers = Arc::new(Answers::default());
        for n in 0..KEPT_MAX + 10 {
            let name = name(&n.to_string());
            assert!(matches!(answers.begin(&name, [0; 32], at(0)), Step::Do));
        }
        assert!(answers.inner().kept.len() <= KEPT_MAX);
        let last = name("broke off");
        assert!(matches!(answers.begin(&last, [0; 32], at(0)), Step::Do));
        drop(Begun { answers: Arc::clone(&answers), name: Some(last.clone()) });
        assert!(matches!(answers.begin(&last, [0; 32], at(0)), Step::Do));
    }
}
