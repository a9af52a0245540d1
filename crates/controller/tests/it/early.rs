//! Answers that are given before a request has come to its end are heard, and the next request on that connection too: at the doors of devices and of sites.

use std::net::Ipv4Addr;

use controller::line::Timing;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::Folder;
use crate::est::{Door, PATIENCE, need, runtime};
use crate::refusals::shake;

const EST: &str = "/.well-known/est";
const OURS: &str = "/.well-known/ringfence/v1";

/// A device that sends its body later than its head, and listens when it has sent all of it.
struct Device(TlsStream<TcpStream>);

impl Device {
    async fn come(door: &Door) -> Self {
        let (here, root) = (Ipv4Addr::LOCALHOST, door.authority.root());
        Self(shake(door.port, here, root, None, b"http/1.1").await.unwrap())
    }

    /// The head of the answer, and what is said in it.
    async fn ask(&mut self, method: &str, path: &str, length: usize) -> (String, String) {
        let asking = async {
            let head =
                format!("{method} {path} HTTP/1.1\r\nhost: hq\r\ncontent-length: {length}\r\n\r\n");
            self.0.write_all(head.as_bytes()).await.unwrap();
            self.0.flush().await.unwrap();
            for part in vec![b'x'; length].chunks(16 << 10) {
                tokio::task::yield_now().await;
                // Who is told that this is the last answer is heard no further.
                if self.0.write_all(part).await.is_err() {
                    break;
                }
            }
            let _ = self.0.flush().await;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
            self.0.read_exact(&mut body).await.unwrap();
            (head, String::from_utf8_lossy(&body).into_owned())
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap()
    }
}

#[test]
fn a_device_hears_why_its_long_request_is_refused_and_goes_on() {
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &[]).await;
        let mut device = Device::come(&door).await;
        for (path, status, says) in [
            (format!("{EST}/simpleenroll"), "413", "longer"),
            (format!("{OURS}/psk"), "401", "HTTP Basic"),
            (format!("{EST}/nothing"), "404", "cacerts"),
            (format!("{OURS}/report"), "403", "certificate"),
            (format!("{OURS}/tpm/nothing"), "404", "quote"),
        ] {
            let (head, said) = device.ask("POST", &path, 900_000).await;
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{path}: {head}");
            assert!(said.contains(says), "{path}: {said}");
            assert!(!head.contains("connection: close"), "{path}: {head}");
            // It makes its next request where it is.
            let (head, _) = device.ask("GET", &format!("{EST}/csrattrs"), 0).await;
            assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        }
        // What is longer than anybody reads for nothing is answered once, and says so. The rest of it is not waited for.
        let mut device = Device::come(&door).await;
        let more = (1 << 20) + (64 << 10);
        let (head, _) = device.ask("POST", &format!("{EST}/nothing"), more).await;
        assert!(head.starts_with("http/1.1 404") && head.contains("connection: close"), "{head}");
        door.close().await;
    });
}

#[test]
fn over_http_2_an_answer_that_comes_early_is_heard_too() {
    if !need("early answers over HTTP/2", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &[]).await;
        std::fs::write(door.file("long"), vec![b'x'; 900_000]).unwrap();
        for (operation, status) in [("simpleenroll", 413), ("nothing", 404)] {
            let got = door.curl(operation, &["--http2", "--data-binary", "@long"]).await;
            assert_eq!(got.status, status, "{}", got.text());
            assert!(got.head.starts_with("http/2"), "{}", got.head);
        }
        door.close().await;
    });
}

#[test]
fn a_site_hears_why_its_long_request_is_refused_and_goes_on() {
    runtime().block_on(async {
        let folder = Folder::new();
        // A site speaks HTTP/2 and nothing else, where a request ends by itself.
        let hq = crate::line::Hq::new(&folder, Timing::default()).await;
        let mut stranger = hq.dial(hq.pinned()).await;
        let site = hq.site("shop");
        let own = hq.enrolled(&site).await;
        let mut known = hq.dial(hq.with_credentials(&own)).await;
        let long = || vec![b'x'; 3 << 20];
        for _ in 0..3 {
            let answer = stranger.post("/site/v1/enrol", long()).await.unwrap();
            assert_eq!(answer.code(), (413, "request.too-large".to_owned()));
            let answer = stranger.post("/site/v1/acks", long()).await.unwrap();
            assert_eq!(answer.code(), (403, "line.certificate".to_owned()));
            for path in ["/site/v1/acks", "/site/v1/renew"] {
                let answer = known.post(path, long()).await.unwrap();
                assert_eq!(answer.code(), (413, "request.too-large".to_owned()), "{path}");
            }
            let answer = known.post("/site/v1/nothing", long()).await.unwrap();
            assert_eq!(answer.code(), (404, "request.nowhere".to_owned()));
        }
    });
}
