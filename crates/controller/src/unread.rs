//! What is left of a request's body when it is answered.
//!
//! Whoever may not do something, or asks for what is not there, is answered before his body is read, and it may still be on its way. hyper then
//! closes the connection behind the answer without saying so: a client that sends its next request there loses it, and one that is still
//! sending may lose the answer. So the rest is read, within bounds; beyond them the answer says that it is the last one.
//!
//! Over HTTP/2 only the stream is reset (NO_ERROR, RFC 9113 §8.1); there are clients that take that for a fault, and throw the answer away.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderValue, Version};
use axum::response::Response;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;

/// Bytes that are read for nothing.
const REST_BYTES_MAX: usize = 1 << 20;
/// How long they may take.
const REST: Duration = Duration::from_secs(2);

/// Answers a request, and reads what of it nobody wanted.
pub(crate) async fn answer(
    request: Request<Incoming>,
    respond: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    if request.body().is_end_stream() {
        return respond(request.map(Body::new)).await;
    }
    // Who waits to be told that his body is wanted need not send it.
    let waits = request.headers().contains_key(EXPECT);
    let one_by_one = request.version() <= Version::HTTP_11;
    let (back, mut left) = oneshot::channel();
    let request = request.map(|body| Body::new(Lent { body: Some(body), back: Some(back) }));
    let mut response = respond(request).await;
    if let Ok(body) = left.try_recv() {
        let ended = !waits && tokio::time::timeout(REST, read(body)).await == Ok(true);
        if !ended && one_by_one {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    response
}

/// Whether it came to its end.
async fn read(mut body: Incoming) -> bool {
    let mut left = REST_BYTES_MAX;
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else { return false };
        let Some(fewer) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else {
            return false;
        };
        left = fewer;
    }
    true
}

/// A body that is given back when nobody reads on.
struct Lent {
    body: Option<Incoming>,
    back: Option<oneshot::Sender<Incoming>>,
}

impl hyper::body::Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take()) {
            let _ = back.send(body); // Nobody waits for it when the connection is over.
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    /// A server that reads bodies at `/read` only.
    fn serve() -> DuplexStream {
        let (here, there) = tokio::io::duplex(8 << 20);
        tokio::spawn(async move {
            let respond = async |request: Request| match request.uri().path() {
                "/read" => match axum::body::to_bytes(request.into_body(), 16 << 20).await {
                    Ok(body) => body.len().to_string().into_response(),
                    Err(_) => StatusCode::BAD_REQUEST.into_response(),
                },
                _ => StatusCode::FORBIDDEN.into_response(),
            };
            let service =
                service_fn(async |request| Ok::<_, Infallible>(answer(request, respond).await));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(there), service).await;
        });
        here
    }

    /// The head of an answer.
    async fn head(stream: &mut DuplexStream) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(bytes).unwrap()
    }

    async fn say(stream: &mut DuplexStream, text: &str) {
        stream.write_all(text.as_bytes()).await.unwrap();
    }

    fn post(path: &str, length: usize) -> String {
        format!("POST {path} HTTP/1.1\r\nhost: hq\r\ncontent-length: {length}\r\n\r\n")
    }

    async fn ends(stream: &mut DuplexStream) -> bool {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.is_ok() && rest.is_empty()
    }

    #[tokio::test]
    async fn a_body_that_nobody_wants_takes_no_connection_along() {
        let mut stream = serve();
        for length in [2, REST_BYTES_MAX] {
            say(&mut stream, &post("/no", length)).await;
            // It comes later than its head.
            tokio::task::yield_now().await;
            say(&mut stream, &"x".repeat(length)).await;
            let said = head(&mut stream).await;
            assert!(said.starts_with("HTTP/1.1 403") && !said.contains("close"), "{said}");
        }
        let chunked = "POST /no HTTP/1.1\r\nhost: hq\r\ntransfer-encoding: chunked\r\n\r\n";
        say(&mut stream, &format!("{chunked}3\r\nabc\r\n")).await;
        tokio::task::yield_now().await;
        say(&mut stream, "0\r\n\r\n").await;
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 403"));
        // The next one is heard, and whoever reads his body gets all of it.
        say(&mut stream, &post("/read", 5)).await;
        tokio::task::yield_now().await;
        say(&mut stream, "abcde").await;
        let said = head(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 200") && !said.contains("close"), "{said}");
        assert_eq!(stream.read_u8().await.unwrap(), b'5');
        say(&mut stream, "GET /no HTTP/1.1\r\nhost: hq\r\n\r\n").await;
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 403"));
    }

    #[tokio::test]
    async fn an_answer_that_is_the_last_one_says_so() {
        // One byte more than is read for nothing; one that never comes; one that would be sent if it was wanted.
        let more = REST_BYTES_MAX + 1;
        let expects = post("/no", 3).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
        for asked in [post("/no", more) + &"x".repeat(more), post("/no", 3) + "ab", expects] {
            let mut stream = serve();
            say(&mut stream, &asked).await;
            let said = head(&mut stream).await;
            assert!(said.starts_with("HTTP/1.1 403"), "{said}");
            assert!(said.contains("connection: close"), "{said}");
            assert!(ends(&mut stream).await);
        }
    }
}
