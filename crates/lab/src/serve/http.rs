//! HTTP/1.1 servers: camera pages, printer pages, file server, payments.

use std::io::{self, Write};
use std::sync::Arc;

use super::{Handler, Session};

/// One site: what it says about itself and what it serves.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    pub name: &'static str,
    /// `Server` header.
    pub server: &'static str,
    /// Digest realm; requests without `Authorization` are answered 401.
    pub realm: Option<&'static str>,
    /// Path, content type, body.
    pub pages: &'static [(&'static str, &'static str, &'static str)],
}

pub(crate) const CAMERA: Site = Site {
    name: "camera",
    server: "Apache/2.4.53 (Unix) OpenSSL/1.1.1n",
    realm: Some("AXIS_ACCC8E123440"),
    pages: &[
        (
            "/axis-cgi/param.cgi",
            "text/plain",
            "root.Brand.Brand=AXIS\r\nroot.Brand.ProdFullName=AXIS M3045-V Network Camera\r\n\
             root.Brand.ProdNbr=M3045-V\r\nroot.Properties.Firmware.Version=9.80.3.8\r\n\
             root.Properties.System.SerialNumber=ACCC8E123440\r\n",
        ),
        ("/axis-cgi/jpg/image.cgi", "image/jpeg", "\u{7f}\u{10}JFIF picture of the dock"),
        ("/", "text/html", "<html><head><title>AXIS M3045-V</title></head></html>"),
    ],
};

pub(crate) const PRINTER: Site = Site {
    name: "printer",
    server: "Zebra ZTC ZT410-203dpi ZPL",
    realm: None,
    pages: &[(
        "/",
        "text/html",
        "<html><head><title>Zebra Technologies ZTC ZT410-203dpi ZPL</title></head>\
         <body>Printer Home Page<br>V75.20.01Z</body></html>",
    )],
};

pub(crate) const NVR: Site = Site {
    name: "nvr",
    server: "nginx",
    realm: None,
    pages: &[(
        "/",
        "text/html",
        "<html><head><title>nvr-dock&nbsp;-&nbsp;Synology&nbsp;DiskStation</title></head></html>",
    )],
};

pub(crate) const FILES: Site = Site {
    name: "files",
    server: "http server 1.0",
    realm: None,
    pages: &[
        ("/orders/today.csv", "text/csv", "order,sku,quantity\r\n4711,0815,12\r\n4712,0816,3\r\n"),
        ("/projects/packing-line.stu", "application/octet-stream", "PLC project: packing line"),
        ("/", "text/html", "<html><head><title>QNAP TS-453D</title></head></html>"),
    ],
};

pub(crate) const PAYMENTS: Site = Site {
    name: "payments",
    server: "payments-edge/3.2",
    realm: None,
    pages: &[("/v1/authorise", "application/json", r#"{"result":"approved","code":"00"}"#)],
};

pub(crate) const TILL: Site = Site {
    name: "till",
    server: "Verifone-Engage/2.1",
    realm: None,
    pages: &[("/status", "application/json", r#"{"model":"Carbon 10","state":"idle"}"#)],
};

pub(crate) fn handler(site: &'static Site) -> Handler {
    Arc::new(move |session| serve(session, site))
}

fn serve(session: &mut Session<'_>, site: &Site) -> io::Result<()> {
    while let Some(request) = session.message(request_length)? {
        let text = String::from_utf8_lossy(&request);
        let mut words = text.split_whitespace();
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
        let path = target.split('?').next().unwrap_or("/");
        session.log.note(site.name, session.client, format!("{method} {path}"));
        let (status, more, kind, body) = answer(site, &text, path);
        let head = format!(
            "HTTP/1.1 {status}\r\nServer: {}\r\n{more}Content-Type: {kind}\r\n\
             Content-Length: {}\r\nConnection: keep-alive\r\n\r\n{body}",
            site.server,
            body.len()
        );
        session.stream.write_all(head.as_bytes())?;
    }
    Ok(())
}

fn answer<'a>(
    site: &Site,
    request: &str,
    path: &str,
) -> (&'static str, String, &'static str, &'a str) {
    if let Some(realm) = site.realm.filter(|_| !request.contains("\r\nAuthorization:")) {
        let more = format!(
            "WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"5f2c8a\", qop=\"auth\"\r\n"
        );
        return ("401 Unauthorized", more, "text/html", "");
    }
    match site.pages.iter().find(|(known, _, _)| *known == path) {
        Some((_, kind, body)) => ("200 OK", String::new(), *kind, *body),
        None => ("404 Not Found", String::new(), "text/plain", "not found\r\n"),
    }
}

/// Length of head and body, once both are there.
pub(crate) fn request_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(bytes.get(..end)?).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok())
        .unwrap_or(0);
    let total = end.checked_add(length.min(super::BUFFER_MAX))?;
    (bytes.len() >= total).then_some(total)
}
