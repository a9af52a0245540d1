//! Every refusal at the door of EST is in the journal: what is asked, what is shown, what is no TLS, and what comes as a flood.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crypto::tls::{self, Credentials, SystemClock};
use crypto::{PrivateKey, Provider};
use estate::identities::{self, Enrolment, How, NewCredential, Serial, WAITING_OF_ONE_MAX};
use estate::side::Digest;
use estate::{Command, Event};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use model::DeviceId;
use pki::identity::{Estate, MemberId};
use pki::issue::{Profile, Subject};
use pki::{Algorithm, KeyKind, Signer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::est::{Door, P256, need, runtime, soon};
use crate::{Folder, now};

const PSK: &str = "../ringfence/v1/psk";
const DAY_NANOS: i64 = 86_400 * 1_000_000_000;

/// Codes and reasons of the refusals in entries from `since` on.
fn refused(door: &Door, since: u64) -> Vec<(String, String)> {
    let size = door.running.hub.read(estate::Estate::size);
    let entries = (since..size).map(|n| door.running.hub.entry(n).unwrap().unwrap());
    let events = entries.flat_map(|entry| estate::record::events(&entry).unwrap());
    events
        .filter_map(|event| match event {
            Event::Identity(identities::Event::Refused { code, why, .. }) => Some((code, why)),
            _ => None,
        })
        .collect()
}

fn size(door: &Door) -> u64 {
    door.running.hub.read(estate::Estate::size)
}

/// TLS from an address of this machine.
pub(super) async fn shake(
    port: u16,
    from: Ipv4Addr,
    root: &pki::Certificate,
    own: Option<&Credentials>,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = tls::client(vec![root.clone()], own, Arc::new(SystemClock)).unwrap();
    let mut config = Arc::unwrap_or_clone(config);
    config.alpn_protocols = vec![protocol.to_vec()];
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let name = Ipv4Addr::LOCALHOST.to_string().try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A request of a new key.
fn csr() -> String {
    let (key, _) = PrivateKey::generate(KeyKind::P256).unwrap();
    let subject = Subject {
        estate: Estate::new("ringfence.example").unwrap(),
        id: MemberId::new("whoever").unwrap(),
        hosts: Vec::new(),
        addresses: Vec::new(),
    };
    let der = pki::request::make(Profile::Device, &subject, &key, &Provider).unwrap();
    pki::est::body(&der)
}

async fn client(door: &Door, from: Ipv4Addr) -> std::io::Result<SendRequest<Full<Bytes>>> {
    let stream = shake(door.port, from, door.authority.root(), None, b"http/1.1").await?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Status, seconds to wait, and what is said.
async fn post(
    to: &mut SendRequest<Full<Bytes>>,
    body: String,
) -> hyper::Result<(u16, Option<u32>, String)> {
    let request = Request::post("/.well-known/est/simpleenroll")
        .header("host", "127.0.0.1")
        .body(Full::new(body.into()))
        .unwrap();
    to.ready().await?;
    let answer = to.send_request(request).await?;
    let status = answer.status().as_u16();
    let later = answer.headers().get("retry-after").map(|text| text.to_str().unwrap());
    let later = later.map(|text| text.parse().unwrap());
    let said = answer.into_body().collect().await?.to_bytes();
    Ok((status, later, String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn whatever_is_refused_is_in_the_journal_before_it_is_said() {
    if !need("refusals", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &["cam-1"]).await;
        let long = "x".repeat(200_000);
        std::fs::write(door.file("long"), &long).unwrap();
        let cases: [(&str, &[&str], u16, &str); 8] = [
            (PSK, &["-X", "POST"], 401, "HTTP Basic"),
            (PSK, &[], 405, "POST"),
            ("simpleenroll", &[], 405, "simpleenroll"),
            ("serverkeygen", &["-d", "x"], 501, "nobody's own"),
            ("fullcmc", &["-d", "x"], 501, "nobody's own"),
            ("anything", &[], 404, "cacerts"),
            ("simpleenroll", &["--data-binary", "@long"], 413, "longer"),
            ("../ringfence/v1/report", &["-d", "{}"], 403, "certificate"),
        ];
        for (at, (operation, words, status, says)) in cases.into_iter().enumerate() {
            let before = size(&door);
            let got = door.curl(operation, words).await;
            assert_eq!(got.status, status, "{operation}: {}", got.text());
            let written = refused(&door, before);
            let [(code, why)] = written.as_slice() else { panic!("{at}: {written:?}") };
            assert_eq!(code, "identity.request", "{why}");
            assert!(why.contains("from 127.0.0.1: ") && why.contains(says), "{why}");
        }
        // What is no HTTP was answered before anybody here saw it.
        let root = door.authority.root();
        let (here, before) = (Ipv4Addr::new(127, 1, 0, 1), size(&door));
        let mut stream = shake(door.port, here, root, None, b"http/1.1").await.unwrap();
        stream.write_all(b"GET  nothing\r\n\r\n").await.unwrap();
        soon(|| refused(&door, before).iter().any(|(_, why)| why.contains("no HTTP"))).await;

        // Those beyond ten in a minute are counted, and written when it is over.
        let before = size(&door);
        for _ in 0..7 {
            assert_eq!(door.curl("anything", &[]).await.status, 404);
        }
        assert_eq!(refused(&door, before).len(), 10 - cases.len());
        door.close().await;
        let door = Door::again(&folder).await;
        let more: Vec<_> = refused(&door, before);
        let more = more.iter().filter(|(code, _)| code == "identity.more-refused");
        let more: Vec<_> = more.map(|(_, why)| why.as_str()).collect();
        assert!(
            matches!(more.as_slice(), [why] if why.starts_with("5 more refused from 127.0.0.1 ")
                && why.ends_with(": identity.request 5")),
            "{more:?}"
        );
        door.close().await;
    });
}

/// Shows one key and signs with another.
struct Liar {
    shows: PrivateKey,
    signs: PrivateKey,
}

impl Signer for Liar {
    fn algorithm(&self) -> Algorithm {
        self.shows.algorithm()
    }

    fn public_key(&self) -> Vec<u8> {
        self.shows.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        self.signs.sign(message)
    }
}

#[test]
fn a_handshake_that_fails_is_in_the_journal_and_one_that_never_began_is_not() {
    if !need("handshakes", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &["cam-1"]).await;
        let new = || PrivateKey::generate(KeyKind::P256).unwrap().0;
        let device = DeviceId::new("cam-1").unwrap();
        let given = |key: &PrivateKey, days: i64| {
            let at = now().plus_nanos(days * DAY_NANOS);
            let made = door.authority.device(&device, &key.public(), at).unwrap();
            vec![made.certificate]
        };
        // One that the estate knows, so that its signature is looked at.
        let good = new();
        let made = door.authority.device(&device, &good.public(), now()).unwrap();
        let chain = vec![made.certificate.clone()];
        door.token("cam-1", "est-good");
        let credential = NewCredential {
            key: Digest::of(&good.public().write()),
            serial: Serial(made.serial),
            issuer: made.issuer,
            since: made.certificate.not_before(),
            until: made.certificate.not_after(),
        };
        let how = How::Token { secret: Digest::of(b"est-good") };
        let batch = vec![Enrolment { device: device.clone(), credential, how }];
        door.command(Command::Identity(identities::Command::Enrol { batch }));
        // Whoever comes, says nothing and goes was not refused.
        for _ in 0..3 {
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, door.port)).await.unwrap());
        }
        let before = size(&door);
        let (early, unknown) = (new(), new());
        let later = given(&early, 9);
        let liar = Credentials { chain, key: Arc::new(Liar { shows: good, signs: new() }) };
        let early = Credentials { chain: later, key: Arc::new(early) };
        // The estate has not heard of this one.
        let unknown = Credentials { chain: given(&unknown, 0), key: Arc::new(unknown) };
        for (own, code, says) in [
            (&liar, "identity.certificate", "BadSignature"),
            (&early, "identity.certificate", "begins at"),
            (&unknown, "identity.certificate", "Revoked"),
        ] {
            let since = size(&door);
            let (here, root) = (Ipv4Addr::LOCALHOST, door.authority.root());
            // In TLS 1.3 the client is through before it hears of it.
            let _ = shake(door.port, here, root, Some(own), b"http/1.1").await;
            soon(|| !refused(&door, since).is_empty()).await;
            let written = refused(&door, since);
            let [(of, why)] = written.as_slice() else { panic!("{written:?}") };
            assert!(of == code && why.contains(says), "{says}: {of} {why}");
        }
        // A client that does not believe in us, one with a stranger's certificate, and one that speaks no TLS.
        let (url, plain) = (
            format!("https://127.0.0.1:{}/", door.port),
            format!("http://127.0.0.1:{}/", door.port),
        );
        // Nothing of openssl's own settings, which make an authority of it.
        let config = "[req]\ndistinguished_name=dn\nx509_extensions=x\n[dn]\n[x]\nkeyUsage=digitalSignature\n";
        std::fs::write(door.file("x.cnf"), config).unwrap();
        let own = ["req", "-x509", "-config", "x.cnf", "-nodes", "-newkey"];
        let own = [&own[..], &P256, &["-subj", "/CN=x", "-keyout", "x.key", "-out", "x.pem"]];
        assert!(door.run("openssl", &own.concat()).await.status.success());
        let x = ["-s", "--cacert", "root.pem", "--cert", "x.pem", "--key", "x.key", &url];
        for (words, code, says) in [
            (&["-s", &url][..], "identity.handshake", "UnknownCA"),
            (&x, "identity.certificate", "UnknownIssuer"),
            (&["-s", &plain], "identity.handshake", "the handshake fails"),
        ] {
            let since = size(&door);
            door.run("curl", words).await;
            soon(|| !refused(&door, since).is_empty()).await;
            let written = refused(&door, since);
            let [(of, why)] = written.as_slice() else { panic!("{written:?}") };
            assert!(of == code && why.contains(says), "{says}: {of} {why}");
        }
        assert_eq!(refused(&door, before).len(), 6, "nothing of those who said nothing");
        door.close().await;
    });
}

#[test]
fn a_full_desk_says_when_to_come_again_and_one_network_fills_none() {
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &[]).await;
        let here = Ipv4Addr::new(127, 1, 0, 1);
        let mut stranger = client(&door, here).await.unwrap();
        for _ in 0..WAITING_OF_ONE_MAX {
            let (status, _, said) = post(&mut stranger, csr()).await.unwrap();
            assert_eq!(status, 202, "{said}");
        }
        let before = size(&door);
        let (status, later, said) = post(&mut stranger, csr()).await.unwrap();
        assert_eq!((status, later.is_some_and(|s| s > 0)), (503, true), "{said}");
        let written = refused(&door, before);
        let [(code, why)] = written.as_slice() else { panic!("{written:?}") };
        assert_eq!(code, "identity.waiting-of-one", "{why}");
        let mut other = client(&door, Ipv4Addr::new(127, 1, 0, 2)).await.unwrap();
        assert_eq!(post(&mut other, csr()).await.unwrap().0, 202);
        door.close().await;
    });
}

#[test]
fn a_flood_neither_issues_nor_starves_renewals() {
    if !need("a flood", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Arc::new(Door::new(&folder, &["cam-1"]).await);
        door.request("cam-1", &P256).await;
        door.token("cam-1", "est-secret");
        let first = door.enrol("simpleenroll", "cam-1", &["-u", "x:est-secret"]).await;
        door.keep("cam-1", &first);
        let (stop, stopping) = watch::channel(false);
        // Hundreds that say nothing, from the device's own address, again and again.
        let silent = tokio::spawn({
            let (stopping, at) = (stopping.clone(), ("127.0.0.1", door.port));
            async move {
                let (mut open, mut came) = (std::collections::VecDeque::new(), 0_u32);
                while !*stopping.borrow() {
                    if let Ok(stream) = TcpStream::connect(at).await {
                        open.push_back(stream);
                        came += 1;
                    }
                    if open.len() > 300 {
                        open.pop_front();
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                came
            }
        });
        // And others whose requests are sound, each for another key, from networks of their own.
        let sound: Vec<_> = (0..6_u8)
            .map(|n| {
                let (door, stopping) = (Arc::clone(&door), stopping.clone());
                tokio::spawn(async move {
                    let mut statuses = Vec::new();
                    while !*stopping.borrow() || statuses.len() <= WAITING_OF_ONE_MAX {
                        let Ok(mut one) = client(&door, Ipv4Addr::new(127, 2, 0, n)).await else {
                            continue;
                        };
                        while let Ok((status, ..)) = post(&mut one, csr()).await {
                            statuses.push(status);
                            if status != 202 {
                                tokio::time::sleep(Duration::from_millis(5)).await;
                            }
                            if *stopping.borrow() && statuses.len() > WAITING_OF_ONE_MAX {
                                break;
                            }
                        }
                    }
                    statuses
                })
            })
            .collect();
        let own = ["--cert", "cam-1.pem", "--key", "cam-1.key"];
        for _ in 0..4 {
            let mut tries = 0;
            let renewed = loop {
                let got = door.enrol("simplereenroll", "cam-1", &own).await;
                tries += 1;
                // On a slow machine it is pushed out with the others before it could say who it is, and comes again.
                if got.status != 0 || tries == 20 {
                    break got;
                }
            };
            door.keep("cam-1", &renewed);
        }
        stop.send(true).unwrap();
        let came = silent.await.unwrap();
        for one in sound {
            let statuses = one.await.unwrap();
            let waiting = statuses.iter().filter(|status| **status == 202).count();
            assert_eq!(waiting, WAITING_OF_ONE_MAX, "{statuses:?}");
            assert!(statuses.iter().all(|s| matches!(s, 202 | 429 | 503)), "{statuses:?}");
        }
        let counts = door.est.counts.all();
        assert!(counts.contains(&("issued", 5)), "{came} came: {counts:?}");
        // The device itself is bounded too, and is told when to come again.
        door.enrol("simplereenroll", "cam-1", &own).await;
        let often = door.enrol("simplereenroll", "cam-1", &own).await;
        assert_eq!(often.status, 503, "{}", often.text());
        assert!(often.head.contains("retry-after: "), "{}", often.head);
        Arc::into_inner(door).unwrap().close().await;
    });
}
