//! TLS over real loopback connections: rustls on both sides. Error paths first.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crypto::tls::{
    Clients, Clock, Credentials, Peer, Revoked, SystemClock, TlsError, Trust, WrongTime, client,
    client_pinned, pinned_root, server,
};
use crypto::{PrivateKey, sha256};
use model::Timestamp;
use pki::issue::{Profile, Subject};
use pki::{Certificate, KeyKind};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, HandshakeKind, ServerConfig,
    ServerConnection,
};

use crate::estate::{Authority, Member, days, now, server_subject, subject};
use crate::maker;

/// Far longer than any of it takes; only a hang ends by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A clock that shows what it is told.
pub(crate) struct Told(pub(crate) Option<Timestamp>);

impl Clock for Told {
    fn now(&self) -> Option<Timestamp> {
        self.0
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(Told(Some(now())))
}

pub(crate) fn nobody_revoked() -> Arc<dyn Revoked> {
    Arc::new(|_: &Certificate| false)
}

/// An estate with a server and a site.
pub(crate) struct World {
    pub(crate) root: Authority,
    pub(crate) issuing: Authority,
    pub(crate) server: Member,
    pub(crate) site: Member,
}

impl World {
    pub(crate) fn new() -> Self {
        let root = Authority::root("acme.example", KeyKind::P256);
        let issuing = root.issuing("acme.example", KeyKind::P256);
        let server = issuing.member(Profile::Server, &server_subject("acme.example"));
        let site = issuing.member(Profile::Site, &subject("acme.example", "shop-12"));
        Self { root, issuing, server, site }
    }

    /// With the root at its end.
    pub(crate) fn credentials(&self, member: &Member) -> Credentials {
        let key = PrivateKey::from_pem(member.pem.as_bytes()).unwrap();
        let chain = [&member.certificate, &self.issuing.certificate, &self.root.certificate];
        Credentials { chain: chain.map(Certificate::clone).to_vec(), key: Arc::new(key) }
    }

    pub(crate) fn roots(&self) -> Vec<Certificate> {
        vec![self.root.certificate.clone()]
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust { roots: self.roots(), revoked: nobody_revoked() }
    }

    pub(crate) fn server(&self, clients: Clients) -> Arc<ServerConfig> {
        server(&self.credentials(&self.server), clients, clock()).unwrap()
    }

    fn site_client(&self) -> Arc<ClientConfig> {
        client(self.roots(), Some(&self.credentials(&self.site)), clock()).unwrap()
    }
}

/// How one end saw it.
#[derive(Debug)]
struct Seen {
    result: Result<(), Error>,
    peer: Option<Peer>,
    kind: Option<HandshakeKind>,
    protocol: Option<Vec<u8>>,
}

fn tls_error(error: std::io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(tls) => tls.clone(),
        None => Error::General(error.to_string()),
    }
}

/// One echo each way, so that alerts after the handshake are seen too.
fn serve(listener: &TcpListener, config: Arc<ServerConfig>) -> Seen {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut connection = ServerConnection::new(config).unwrap();
    let mut talk = || {
        let mut stream = rustls::Stream::new(&mut connection, &mut socket);
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        stream.write_all(&byte)?;
        stream.flush()
    };
    let result = talk().map_err(tls_error);
    Seen {
        result,
        peer: Peer::of(connection.peer_certificates()),
        kind: connection.handshake_kind(),
        protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
    }
}

fn call(address: SocketAddr, config: Arc<ClientConfig>, name: &str) -> (Seen, ClientConnection) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = name.to_owned().try_into().unwrap();
    let mut connection = ClientConnection::new(config, name).unwrap();
    let mut talk = || {
        let mut stream = rustls::Stream::new(&mut connection, &mut socket);
        stream.write_all(b"x")?;
        stream.flush()?;
        stream.read_exact(&mut [0])
    };
    let result = talk().map_err(tls_error);
    let seen = Seen {
        result,
        peer: Peer::of(connection.peer_certificates()),
        kind: connection.handshake_kind(),
        protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
    };
    (seen, connection)
}

/// Client, then server.
fn meet(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> (Seen, Seen) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let config = server.clone();
    let serving = thread::spawn(move || serve(&listener, config));
    let (seen, _) = call(address, client.clone(), name);
    (seen, serving.join().unwrap())
}

fn refused(seen: &Seen) -> &CertificateError {
    match &seen.result {
        Err(Error::InvalidCertificate(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn members_know_each_other() {
    let world = World::new();
    let listening = world.server(Clients::Required(world.trust()));
    for name in ["localhost", "127.0.0.1", "::1", "hq-1.server.acme.example"] {
        let (caller, listener) = meet(&world.site_client(), &listening, name);
        assert_eq!((&caller.result, &listener.result), (&Ok(()), &Ok(())), "{name}");
        let identity =
            |seen: &Seen| seen.peer.as_ref().unwrap().identity.clone().unwrap().to_string();
        assert_eq!(identity(&caller), "spiffe://acme.example/server/hq-1");
        assert_eq!(identity(&listener), "spiffe://acme.example/site/shop-12");
        assert_eq!(listener.peer.unwrap().certificate, world.site.certificate);
        assert_eq!(listener.protocol.as_deref(), Some(&b"h2"[..]));
    }
}

#[test]
fn another_root_or_name_is_refused_by_the_client() {
    let (world, other) = (World::new(), World::new());
    let listening = world.server(Clients::Anonymous);
    let caller = client(other.roots(), None, clock()).unwrap();
    let (seen, listener) = meet(&caller, &listening, "localhost");
    assert!(
        matches!(refused(&seen), CertificateError::BadSignature | CertificateError::UnknownIssuer),
        "{seen:?}"
    );
    assert!(matches!(listener.result, Err(Error::AlertReceived(_))), "{listener:?}");
    let caller = client(world.roots(), None, clock()).unwrap();
    for name in ["other.example", "127.0.0.2", "shop-12.site.acme.example"] {
        let (seen, _) = meet(&caller, &listening, name);
        assert!(
            matches!(refused(&seen), CertificateError::NotValidForNameContext { .. }),
            "{name}"
        );
    }
    // A client's certificate is none for a server, even under its own name.
    let operator = world.issuing.member(Profile::Operator, &subject("acme.example", "kim"));
    let posing = server(&world.credentials(&operator), Clients::Anonymous, clock()).unwrap();
    let (seen, _) = meet(&caller, &posing, "kim.operator.acme.example");
    assert!(matches!(refused(&seen), CertificateError::InvalidPurposeContext { .. }), "{seen:?}");
}

#[test]
fn another_root_no_certificate_or_a_servers_is_refused_by_the_server() {
    let (world, other) = (World::new(), World::new());
    let required = world.server(Clients::Required(world.trust()));
    let optional = world.server(Clients::Optional(world.trust()));
    let stranger = client(world.roots(), Some(&other.credentials(&other.site)), clock()).unwrap();
    let nameless = client(world.roots(), None, clock()).unwrap();
    for listening in [&required, &optional] {
        let (seen, listener) = meet(&stranger, listening, "localhost");
        assert!(
            matches!(
                refused(&listener),
                CertificateError::BadSignature | CertificateError::UnknownIssuer
            ),
            "{listener:?}"
        );
        assert!(seen.result.is_err(), "the client is told");
    }
    let (seen, listener) = meet(&nameless, &required, "localhost");
    assert_eq!(listener.result, Err(Error::NoCertificatesPresented));
    assert!(seen.result.is_err());
    let (seen, listener) = meet(&nameless, &optional, "localhost");
    assert_eq!((seen.result, listener.result, listener.peer), (Ok(()), Ok(()), None));
    let (_, listener) = meet(&world.site_client(), &optional, "localhost");
    assert_eq!(listener.peer.unwrap().identity.unwrap().id.as_str(), "shop-12");
    // A server is no client.
    let posing = client(world.roots(), Some(&world.credentials(&world.server)), clock()).unwrap();
    let (_, listener) = meet(&posing, &required, "localhost");
    assert!(
        matches!(refused(&listener), CertificateError::InvalidPurposeContext { .. }),
        "{listener:?}"
    );
}

#[test]
fn what_is_over_or_not_yet_is_refused_on_both_sides() {
    let world = World::new();
    let (before, after) = (world.site.certificate.not_before(), world.site.certificate.not_after());
    let second = 1_000_000_000;
    let by = |time: Timestamp| Arc::new(Told(Some(time))) as Arc<dyn Clock>;
    let site = world.credentials(&world.site);
    let shown = world.credentials(&world.server);
    for (time, good) in [
        (before, true),
        (after, true),
        (before.plus_nanos(-second), false),
        (after.plus_nanos(second), false),
    ] {
        // The server's clock counts for clients, the client's for servers.
        let listening = server(&shown, Clients::Required(world.trust()), by(time)).unwrap();
        let (_, listener) = meet(&world.site_client(), &listening, "localhost");
        assert_eq!(listener.result.is_ok(), good, "{time}: {listener:?}");
        let listening = world.server(Clients::Required(world.trust()));
        let caller = client(world.roots(), Some(&site), by(time)).unwrap();
        let (seen, _) = meet(&caller, &listening, "localhost");
        assert_eq!(seen.result.is_ok(), good, "{time}: {seen:?}");
        let wrong = seen.result.err().and_then(|e| WrongTime::of(&e));
        let expected = match () {
            () if good => None,
            () if time < before => Some(WrongTime::NotYetValid { now: time, not_before: before }),
            () => Some(WrongTime::Expired { now: time, not_after: after }),
        };
        assert_eq!(wrong, expected, "{time}");
    }
}

#[test]
fn without_a_clock_nothing_is_believed() {
    let world = World::new();
    let blind: Arc<dyn Clock> = Arc::new(Told(None));
    let listening = world.server(Clients::Anonymous);
    for caller in [
        client(world.roots(), None, blind.clone()).unwrap(),
        client_pinned(sha256(world.root.certificate.der()), blind.clone()).unwrap(),
        client(world.roots(), None, Arc::new(Told(Some(Timestamp::MIN)))).unwrap(),
    ] {
        let (seen, _) = meet(&caller, &listening, "localhost");
        let error = seen.result.unwrap_err();
        assert_eq!(WrongTime::of(&error), Some(WrongTime::Unknown), "{error}");
    }
    let required = Clients::Required(world.trust());
    let listening = server(&world.credentials(&world.server), required, blind).unwrap();
    let (_, listener) = meet(&world.site_client(), &listening, "localhost");
    assert_eq!(listener.result, Err(Error::FailedToGetCurrentTime));
    // The machine's clock is one, and it runs after this was written.
    assert!(SystemClock.now().unwrap() > "2026-01-01T00:00:00Z".parse().unwrap());
}

/// A root that is over vouches for nobody, even where something beneath it lives on.
#[test]
fn an_expired_root_vouches_for_nobody() {
    let key = PrivateKey::generate(KeyKind::P256).unwrap().0;
    let old = maker::Blank { ends: "350531000000Z", ..maker::Blank::root() };
    let root = old.sign(&key.public(), &key);
    let old = Authority { certificate: root.clone(), key };
    let (leaf_key, leaf_pem) = PrivateKey::generate(KeyKind::P256).unwrap();
    let usage = maker::key_usage(maker::DIGITAL_SIGNATURE);
    let name = maker::extension(
        "2.5.29.17",
        false,
        &maker::der(0x30, &[&[&[0x82, 9][..], b"localhost"].concat()]),
    );
    let leaf = |ends| {
        let extensions = vec![usage.clone(), name.clone()];
        maker::Blank { subject: "Leaf", issuer: "Root", ends, extensions, ..maker::Blank::root() }
            .sign(&leaf_key.public(), &old.key)
    };
    let world = World::new();
    let long = leaf("400101000000Z");
    let key = Arc::new(PrivateKey::from_pem(leaf_pem.as_bytes()).unwrap());
    let shown = Credentials { chain: vec![long, root.clone()], key };
    let listening = server(&shown, Clients::Anonymous, clock()).unwrap();
    let at = |text: &str| Arc::new(Told(Some(text.parse().unwrap()))) as Arc<dyn Clock>;
    let pin = sha256(root.der());
    let both = vec![root.clone(), world.root.certificate.clone()];
    // While it lives all of them believe it.
    for caller in [
        client(vec![root.clone()], None, at("2035-05-30T00:00:00Z")).unwrap(),
        client(both.clone(), None, at("2035-05-30T00:00:00Z")).unwrap(),
        client_pinned(pin, at("2035-05-30T00:00:00Z")).unwrap(),
    ] {
        assert_eq!(meet(&caller, &listening, "localhost").0.result, Ok(()));
    }
    let (alone, pinned) =
        (client(vec![root.clone()], None, clock()).unwrap(), client_pinned(pin, clock()).unwrap());
    for caller in [alone, pinned] {
        let (seen, _) = meet(&caller, &listening, "localhost");
        assert!(matches!(refused(&seen), CertificateError::ExpiredContext { .. }), "{seen:?}");
    }
    // The other root is still good, and does not help.
    let caller = client(both.clone(), None, clock()).unwrap();
    let (seen, _) = meet(&caller, &listening, "localhost");
    assert!(matches!(refused(&seen), CertificateError::ExpiredContext { .. }), "{seen:?}");
    let other = world.server(Clients::Required(Trust { roots: both.clone(), ..world.trust() }));
    let caller = client(both, Some(&world.credentials(&world.site)), clock()).unwrap();
    assert_eq!(meet(&caller, &other, "localhost").1.result, Ok(()));
    let posing = client(world.roots(), Some(&shown), clock()).unwrap();
    let (_, listener) = meet(&posing, &other, "localhost");
    assert!(matches!(refused(&listener), CertificateError::ExpiredContext { .. }), "{listener:?}");
}

#[test]
fn revocation_is_asked_at_every_handshake() {
    let world = World::new();
    let (asked, revoked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, gone, serial) = (asked.clone(), revoked.clone(), world.site.certificate.clone());
    let ask = move |certificate: &Certificate| {
        if *certificate != serial {
            return false;
        }
        count.fetch_add(1, Ordering::SeqCst);
        gone.load(Ordering::SeqCst)
    };
    let trust = Trust { roots: world.roots(), revoked: Arc::new(ask) };
    for clients in [Clients::Required(trust.clone()), Clients::Optional(trust)] {
        asked.store(0, Ordering::SeqCst);
        revoked.store(false, Ordering::SeqCst);
        let listening = world.server(clients);
        // A client that would resume if it could.
        let mut caller = ClientConfig::clone(&world.site_client());
        caller.resumption = rustls::client::Resumption::in_memory_sessions(16);
        let caller = Arc::new(caller);
        for n in 1..=5 {
            let (seen, listener) = meet(&caller, &listening, "localhost");
            assert_eq!((seen.result, listener.result), (Ok(()), Ok(())));
            assert_ne!(listener.kind, Some(HandshakeKind::Resumed));
            assert_eq!(asked.load(Ordering::SeqCst), n);
        }
        revoked.store(true, Ordering::SeqCst);
        let (seen, listener) = meet(&caller, &listening, "localhost");
        assert_eq!(refused(&listener), &CertificateError::Revoked);
        assert!(seen.result.is_err());
        revoked.store(false, Ordering::SeqCst);
        assert_eq!(meet(&caller, &listening, "localhost").1.result, Ok(()));
    }
    // The same client does resume where nobody's certificate is asked for: the test above can fail.
    let listening = world.server(Clients::Anonymous);
    let mut caller = ClientConfig::clone(&world.site_client());
    caller.resumption = rustls::client::Resumption::in_memory_sessions(16);
    let caller = Arc::new(caller);
    let kinds: Vec<_> = (0..2).map(|_| meet(&caller, &listening, "localhost").1.kind).collect();
    assert_eq!(kinds[1], Some(HandshakeKind::Resumed), "{kinds:?}");
    // And ours does not.
    let ours = world.site_client();
    for _ in 0..3 {
        assert_ne!(meet(&ours, &listening, "localhost").1.kind, Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_revoked_authority_takes_its_members_with_it() {
    let world = World::new();
    let gone = world.issuing.certificate.clone();
    let revoked: Arc<dyn Revoked> = Arc::new(move |c: &Certificate| *c == gone);
    let listening = world.server(Clients::Required(Trust { roots: world.roots(), revoked }));
    let (_, listener) = meet(&world.site_client(), &listening, "localhost");
    assert_eq!(refused(&listener), &CertificateError::Revoked);
}

#[test]
fn first_contact_is_by_the_digest_of_the_root() {
    let (world, other) = (World::new(), World::new());
    let pin = sha256(world.root.certificate.der());
    let caller = client_pinned(pin, clock()).unwrap();
    let listening = world.server(Clients::Anonymous);
    let contact = |listening: Arc<ServerConfig>, name: &str| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = thread::spawn(move || serve(&listener, listening));
        let (seen, connection) = call(address, caller.clone(), name);
        serving.join().unwrap();
        (seen, pinned_root(connection.peer_certificates().unwrap_or_default(), pin))
    };
    let (seen, root) = contact(listening.clone(), "localhost");
    assert_eq!((seen.result, root), (Ok(()), Some(world.root.certificate.clone())));
    let (seen, _) = contact(listening, "other.example");
    assert!(matches!(refused(&seen), CertificateError::NotValidForNameContext { .. }));
    let with = |chain: Vec<&Certificate>, member: &Member| {
        let key = Arc::new(PrivateKey::from_pem(member.pem.as_bytes()).unwrap());
        let shown = Credentials { chain: chain.into_iter().cloned().collect(), key };
        contact(server(&shown, Clients::Anonymous, clock()).unwrap(), "localhost").0
    };
    let (leaf, issuing, root) =
        (&world.server.certificate, &world.issuing.certificate, &world.root.certificate);
    // In any order.
    assert_eq!(with(vec![leaf, root, issuing], &world.server).result, Ok(()));
    // Without the root, or without what is between.
    assert_eq!(
        refused(&with(vec![leaf, issuing], &world.server)),
        &CertificateError::UnknownIssuer
    );
    assert_eq!(refused(&with(vec![leaf, root], &world.server)), &CertificateError::UnknownIssuer);
    // Another estate that shows the pinned root, which is no secret, beside its own chain.
    let (stranger, between) = (&other.server.certificate, &other.issuing.certificate);
    for chain in [
        vec![stranger, between, &other.root.certificate],
        vec![stranger, between, root],
        vec![stranger, between, &other.root.certificate, root],
        vec![stranger, issuing, root],
    ] {
        assert!(with(chain, &other.server).result.is_err());
    }
    // More certificates than anybody needs.
    let many = [&[leaf, issuing][..], &[root; 8][..]].concat();
    assert_eq!(refused(&with(many, &world.server)), &CertificateError::BadEncoding);
    // The server's own certificate is not taken for a root.
    let own = client_pinned(sha256(leaf.der()), clock()).unwrap();
    let (seen, _) = meet(&own, &world.server(Clients::Anonymous), "localhost");
    assert_eq!(refused(&seen), &CertificateError::UnknownIssuer);
}

#[test]
fn credentials_that_do_not_fit_are_refused_at_once() {
    let world = World::new();
    let good = world.credentials(&world.server);
    let set_up = |credentials: &Credentials| {
        server(credentials, Clients::Anonymous, clock()).map(|_| ()).unwrap_err()
    };
    let empty = Credentials { chain: Vec::new(), ..good.clone() };
    assert_eq!(set_up(&empty), TlsError::NoCertificate);
    let name = world.server.certificate.subject_text();
    let other = Credentials { key: world.credentials(&world.site).key, ..good.clone() };
    assert_eq!(set_up(&other), TlsError::OtherKey(name.clone()));
    let rsa = Arc::new(PrivateKey::generate(KeyKind::Rsa(2_048)).unwrap().0);
    assert_eq!(set_up(&Credentials { key: rsa, ..good.clone() }), TlsError::KeyKind(name));
    assert_eq!(client(Vec::new(), None, clock()).unwrap_err(), TlsError::NoRoots);
    let nobody = Trust { roots: Vec::new(), ..world.trust() };
    let nobody = server(&good, Clients::Required(nobody), clock());
    assert_eq!(nobody.unwrap_err(), TlsError::NoRoots);
}

/// Every kind of curve, in both versions of the protocol, as server and as client.
#[test]
fn both_versions_and_both_curves() {
    let root = Authority::root("acme.example", KeyKind::P384);
    let issuing = root.issuing("acme.example", KeyKind::P256);
    for kind in [KeyKind::P256, KeyKind::P384] {
        let with = |profile, subject: &Subject| {
            let (key, _) = PrivateKey::generate(kind).unwrap();
            let public = key.public();
            let order = crate::estate::order(profile, subject, &public);
            let chain = vec![issuing.issue(&order).unwrap(), issuing.certificate.clone()];
            Credentials { chain, key: Arc::new(key) }
        };
        let shown = with(Profile::Server, &server_subject("acme.example"));
        let site = with(Profile::Site, &subject("acme.example", "shop-12"));
        let roots = vec![root.certificate.clone()];
        let trust = Trust { roots: roots.clone(), revoked: nobody_revoked() };
        let listening = server(&shown, Clients::Required(trust), clock()).unwrap();
        let caller = client(roots, Some(&site), clock()).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        for only in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let limited = ServerConfig::builder_with_provider(provider);
            let limited = limited.with_protocol_versions(&[only]).unwrap();
            let mut limited =
                limited.with_no_client_auth().with_cert_resolver(listening.cert_resolver.clone());
            limited.alpn_protocols = listening.alpn_protocols.clone();
            let (seen, listener_seen) = meet(&caller, &Arc::new(limited), "localhost");
            assert_eq!((seen.result, listener_seen.result), (Ok(()), Ok(())), "{kind:?} {only:?}");
        }
        let serving = {
            let listening = listening.clone();
            thread::spawn(move || serve(&listener, listening))
        };
        let (seen, connection) = call(address, caller, "localhost");
        assert_eq!(seen.result, Ok(()), "{kind:?}");
        assert_eq!(connection.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        assert_eq!(serving.join().unwrap().result, Ok(()));
    }
}

#[test]
fn random_bytes_and_digests() {
    let mut buffers = [[0_u8; 32]; 4];
    for buffer in &mut buffers {
        crypto::random(buffer).unwrap();
    }
    for (n, one) in buffers.iter().enumerate() {
        assert!(buffers[n + 1..].iter().all(|other| other != one));
    }
    // FIPS 180-4, `abc`.
    assert_eq!(sha256(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
}

#[test]
fn the_clock_is_read_anew_each_time() {
    struct Moving(Mutex<Timestamp>);
    impl Clock for Moving {
        fn now(&self) -> Option<Timestamp> {
            self.0.lock().ok().map(|now| *now)
        }
    }
    let world = World::new();
    let time = Arc::new(Moving(Mutex::new(now())));
    let caller = client(world.roots(), None, time.clone()).unwrap();
    let listening = world.server(Clients::Anonymous);
    assert_eq!(meet(&caller, &listening, "localhost").0.result, Ok(()));
    *time.0.lock().unwrap() = days(now(), 91);
    let (seen, _) = meet(&caller, &listening, "localhost");
    assert!(matches!(refused(&seen), CertificateError::ExpiredContext { .. }));
}
