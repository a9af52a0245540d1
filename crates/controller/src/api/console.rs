//! The web console: files that were built into the program, and what a browser is told to do with them.
//!
//! It has no privilege: whoever loads it asks the same API as everybody, with their own session. Nothing here is secret, so nobody
//! has to be somebody to load it; it says nothing of the estate.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{Path, Problem, nowhere};

/// A file of the console.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    /// Its path below the root: `assets/index-1a2b.js`.
    pub name: &'static str,
    /// What is in it.
    pub body: &'static [u8],
    /// The same, compressed (RFC 7932).
    pub brotli: Option<&'static [u8]>,
    /// The same, compressed (RFC 1952).
    pub gzip: Option<&'static [u8]>,
}

/// What was built; empty when it was not.
const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// The page that all screens are.
const PAGE: &str = "index.html";

/// In place of a console that was not built.
const ABSENT: File =
    File { name: PAGE, body: include_bytes!("console.html"), brotli: None, gzip: None };

/// A console runs its own scripts and styles, asks the server that it came from, and nobody else. No text becomes code: there is no
/// policy for trusted types, so that the browser refuses what would parse a string as markup or script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
/// What of a person's machine it may use: nothing.
const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), serial=(), usb=(), \
     publickey-credentials-get=(), browsing-topics=()";

/// The console's page.
#[utoipa::path(get, path = "/", tag = "console", security(()),
    responses((status = 200, body = String, content_type = "text/html")))]
pub async fn home(headers: HeaderMap) -> Response {
    answer(FILES, PAGE, &headers)
}

/// A file of the console; its page for whatever else is no path of the API.
#[utoipa::path(get, path = "/{file}", tag = "console", security(()), params(("file" = String, Path)),
    responses((status = 200, body = String, content_type = "text/html"), (status = 304), (status = 404, body = Problem)))]
pub async fn file(Path(file): Path<String>, headers: HeaderMap) -> Response {
    if file.starts_with("v1/") || file == "v1" {
        return nowhere().await.into_response();
    }
    answer(FILES, &file, &headers)
}

/// A file of a console. Its screens are paths too, and the page shows them: so that a link to a device can be sent to somebody.
fn answer(files: &[File], name: &str, headers: &HeaderMap) -> Response {
    let found = |name: &str| files.iter().find(|file| file.name == name);
    let page = || found(PAGE).unwrap_or(&ABSENT);
    let file = match found(name) {
        Some(file) => file,
        // An old page asks for a script of its build: no page is one.
        None if name.starts_with("assets/") => {
            let why = "this controller has another console: load the page again";
            let title = "the console's file";
            return Problem::new(StatusCode::NOT_FOUND, "console.file", title, why).into_response();
        }
        None => page(),
    };
    // Names of assets say what is in them; everything else is asked about each time.
    let cache = match file.name.starts_with("assets/") {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let (encoding, body) = match (file.brotli, file.gzip) {
        (Some(packed), _) if takes(headers, "br") => (Some("br"), packed),
        (_, Some(packed)) if takes(headers, "gzip") => (Some("gzip"), packed),
        _ => (None, file.body),
    };
    let tag = crate::blobs::hex(&crypto::sha256(body));
    let tag = format!("\"{}\"", tag.get(..32).unwrap_or(&tag));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let known = known.is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag));
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => body.into_response(),
    };
    let told = response.headers_mut();
    told.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind(file.name)));
    told.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    told.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        told.insert(header::ETAG, tag);
    }
    if let Some(encoding) = encoding {
        told.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("permissions-policy", PERMISSIONS),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        told.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What a file is, by its name.
fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether who asks takes a coding (RFC 9110, section 12.5.3).
fn takes(headers: &HeaderMap, coding: &str) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|l| l.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok());
            weight.is_some_and(|q| q <= 0.0)
        });
        named && !refused
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    const BUILT: &[File] = &[
        File { name: PAGE, body: b"<p>page", brotli: Some(b"br"), gzip: Some(b"gz") },
        File { name: "assets/a-1.js", body: b"1", brotli: None, gzip: Some(b"gz1") },
        File { name: "icon.svg", body: b"<svg/>", brotli: None, gzip: None },
    ];

    async fn ask(files: &[File], name: &str, asked: &[(HeaderName, &str)]) -> (Response, String) {
        let mut headers = HeaderMap::new();
        for (name, value) in asked {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let (parts, body) = answer(files, name, &headers).into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (
            Response::from_parts(parts, ().into_response().into_body()),
            String::from_utf8(bytes.to_vec()).unwrap(),
        )
    }

    fn header<'a>(response: &'a Response, name: &str) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn nobody_gets_what_they_do_not_take() {
        let accept = |list| [(header::ACCEPT_ENCODING, list)];
        for (name, list, encoding, body) in [
            (PAGE, "", "", "<p>page"),
            (PAGE, "identity, x-br", "", "<p>page"),
            (PAGE, "gzip, deflate, br;q=0.9", "br", "br"),
            (PAGE, "gzip, br;q=0", "gzip", "gz"),
            (PAGE, "GZIP", "gzip", "gz"),
            ("assets/a-1.js", "br", "", "1"),
            ("assets/a-1.js", "br, gzip", "gzip", "gz1"),
            ("icon.svg", "br, gzip", "", "<svg/>"),
        ] {
            let (response, told) = ask(BUILT, name, &accept(list)).await;
            assert_eq!(
                (header(&response, "content-encoding"), &*told),
                (encoding, body),
                "{name} {list}"
            );
            assert_eq!(header(&response, "vary"), "accept-encoding");
        }
    }

    #[tokio::test]
    async fn a_file_of_another_build_is_not_a_page() {
        let (response, body) = ask(BUILT, "assets/a-0.js", &[]).await;
        assert_eq!(response.status(), 404);
        assert!(body.contains("load the page again"), "{body}");
    }

    #[tokio::test]
    async fn a_screen_is_the_page_and_is_asked_about_each_time() {
        let (response, body) = ask(BUILT, "devices/camera", &[]).await;
        assert_eq!((response.status().as_u16(), &*body), (200, "<p>page"));
        assert_eq!(header(&response, "cache-control"), "no-cache");
        assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
        let tag = header(&response, "etag").to_owned();
        let (again, body) = ask(BUILT, "reach", &[(header::IF_NONE_MATCH, &tag)]).await;
        assert_eq!((again.status().as_u16(), &*body), (304, ""));
        assert_eq!(header(&again, "content-security-policy"), POLICY);
        // Another coding is another file.
        let asked = [(header::IF_NONE_MATCH, &*tag), (header::ACCEPT_ENCODING, "br")];
        assert_eq!(ask(BUILT, "reach", &asked).await.0.status(), 200);
    }

    #[tokio::test]
    async fn an_asset_is_kept_for_ever() {
        let (response, _) = ask(BUILT, "assets/a-1.js", &[]).await;
        assert_eq!(header(&response, "cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(header(&response, "content-type"), "text/javascript; charset=utf-8");
    }

    #[tokio::test]
    async fn without_a_console_a_page_says_how_to_build_it() {
        let (response, body) = ask(&[], "devices", &[]).await;
        assert_eq!(response.status(), 200);
        assert!(body.contains("./x console"), "{body}");
    }
}
