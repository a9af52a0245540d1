//! TLS with the openssl program at the other end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crypto::sha256;
use crypto::tls::{Clients, Peer, Trust, client, client_pinned};
use pki::Certificate;
use pki::issue::Profile;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use crate::estate::{now, subject};
use crate::peer::{Folder, need};
use crate::tls::{PATIENCE, World, clock};

/// A server of ours for one connection: who came, or why nobody did.
fn listen(config: Arc<ServerConfig>) -> (SocketAddr, JoinHandle<Result<Option<Peer>, String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serving = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = ServerConnection::new(config).unwrap();
        let mut stream = rustls::Stream::new(&mut connection, &mut socket);
        let mut byte = [0];
        stream.read_exact(&mut byte).map_err(|e| e.to_string())?;
        stream.write_all(b"welcome\n").map_err(|e| e.to_string())?;
        let peer = Peer::of(connection.peer_certificates());
        connection.send_close_notify();
        while connection.wants_write() {
            connection.write_tls(&mut socket).map_err(|e| e.to_string())?;
        }
        Ok(peer)
    });
    (address, serving)
}

/// What `openssl s_client` prints, after it sent a byte.
fn s_client(address: SocketAddr, arguments: &[&str]) -> (bool, String) {
    let seconds = (now().as_nanos() / 1_000_000_000).to_string();
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-attime", &seconds])
        .args(["-verify_return_error", "-brief", "-ign_eof", "-alpn", "http/1.1"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may be gone already.
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(b"x");
    let _ = stdin.flush();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    drop(stdin);
    (child.wait().unwrap().success(), said)
}

struct Files {
    root: PathBuf,
    other_root: PathBuf,
    issuing: PathBuf,
    server: (PathBuf, PathBuf),
    site: (PathBuf, PathBuf),
    stranger: (PathBuf, PathBuf),
}

impl Files {
    fn new(folder: &Folder, world: &World, other: &World) -> Self {
        let pair = |name: &str, member: &crate::estate::Member| {
            let key = folder.put(&format!("{name}.key"), member.pem.as_bytes());
            (folder.certificate(&format!("{name}.pem"), &member.certificate), key)
        };
        let chain: String = [&world.issuing.certificate, &world.root.certificate]
            .map(|c| pki::Pem::write("CERTIFICATE", c.der()).unwrap())
            .concat();
        Self {
            root: folder.certificate("root.pem", &world.root.certificate),
            other_root: folder.certificate("other.pem", &other.root.certificate),
            issuing: folder.put("issuing.pem", chain.as_bytes()),
            server: pair("server", &world.server),
            site: pair("site", &world.site),
            stranger: pair("stranger", &other.site),
        }
    }
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn openssl_as_a_client() {
    if !need("openssl_as_a_client") {
        return;
    }
    let folder = Folder::new("s-client");
    let (world, other) = (World::new(), World::new());
    let files = Files::new(&folder, &world, &other);
    let (root, foreign) = (["-CAfile", text(&files.root)], ["-CAfile", text(&files.other_root)]);
    let site = [
        "-cert",
        text(&files.site.0),
        "-key",
        text(&files.site.1),
        "-cert_chain",
        text(&files.issuing),
    ];
    let stranger = ["-cert", text(&files.stranger.0), "-key", text(&files.stranger.1)];
    let host = ["-verify_hostname", "localhost"];
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let gone = world.site.certificate.clone();
    let revoked: Arc<dyn crypto::tls::Revoked> = Arc::new(move |c: &Certificate| *c == gone);
    let revoking = Clients::Required(Trust { roots: world.roots(), revoked });
    let required = Clients::Required(world.trust());
    let open = Clients::Anonymous;
    let empty: &[&str] = &[];
    // Whether it works, and what each end says.
    for (clients, arguments, expected) in [
        (&open, vec![&root[..], &host[..], empty], Ok("Protocol version: TLSv1.3")),
        (&open, vec![&root, &host, &["-tls1_2"]], Ok("Protocol version: TLSv1.2")),
        (&required, vec![&root, &host, &site], Ok("Verification: OK")),
        (&required, vec![&root, &host, &site, &["-tls1_2"]], Ok("Protocol version: TLSv1.2")),
        (&open, vec![&root, &old], Err("incompatible")),
        (&open, vec![&foreign], Err("alert")),
        (&open, vec![&root, &["-verify_hostname", "other.example"]], Err("alert")),
        (&required, vec![&root], Err("no certificates")),
        (&required, vec![&root, &["-tls1_2"]], Err("no certificates")),
        (&required, vec![&root, &stranger], Err("invalid peer certificate")),
        (&revoking, vec![&root, &site], Err("Revoked")),
        (&revoking, vec![&root, &site, &["-tls1_2"]], Err("Revoked")),
    ] {
        let arguments = arguments.concat();
        let (address, serving) = listen(world.server(clients.clone()));
        let (_, said) = s_client(address, &arguments);
        let served = serving.join().unwrap();
        match expected {
            Ok(word) => {
                let peer = served.unwrap_or_else(|why| panic!("{arguments:?}: {why}: {said}"));
                assert!(said.contains(word) && said.contains("welcome"), "{arguments:?}: {said}");
                let id = peer.and_then(|p| p.identity).map(|i| i.to_string());
                let shown = arguments.contains(&"-cert");
                assert_eq!(id.as_deref(), shown.then_some("spiffe://acme.example/site/shop-12"));
            }
            Err(word) => {
                let why = served.unwrap_err();
                assert!(why.contains(word), "{arguments:?}: {why}; {said}");
                assert!(!said.contains("welcome"), "{arguments:?}: {said}");
            }
        }
    }
}

/// A running `openssl s_server`, ended when it is dropped.
struct Server(Child, SocketAddr);

impl Server {
    fn start(files: &Files, arguments: &[&str]) -> Self {
        let seconds = (now().as_nanos() / 1_000_000_000).to_string();
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-attime", &seconds])
            .args(["-cert", text(&files.server.0), "-key", text(&files.server.1)])
            .args(["-cert_chain", text(&files.issuing), "-rev"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It says on which port it listens.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find_map(|l| l.unwrap().strip_prefix("ACCEPT ").map(str::to_owned));
        let address = line.unwrap().parse().unwrap();
        // Whatever else it prints is read, or it would stop at a full pipe.
        thread::spawn(move || lines.for_each(drop));
        Self(child, address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A line is sent, and comes back turned round.
fn turned(server: &Server, config: Arc<ClientConfig>, name: &str) -> Result<String, String> {
    let mut socket = TcpStream::connect(server.1).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut connection =
        ClientConnection::new(config, name.to_owned().try_into().unwrap()).unwrap();
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(b"fence\n").map_err(|e| e.to_string())?;
    let mut line = [0; 6];
    stream.read_exact(&mut line).map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

#[test]
fn openssl_as_a_server() {
    if !need("openssl_as_a_server") {
        return;
    }
    let folder = Folder::new("s-server");
    let (world, other) = (World::new(), World::new());
    let files = Files::new(&folder, &world, &other);
    let site = world.credentials(&world.site);
    let nameless = client(world.roots(), None, clock()).unwrap();
    let member = client(world.roots(), Some(&site), clock()).unwrap();
    let operator = world.issuing.member(Profile::Operator, &subject("acme.example", "kim"));
    let operator = client(world.roots(), Some(&world.credentials(&operator)), clock()).unwrap();
    let stranger = client(world.roots(), Some(&other.credentials(&other.site)), clock()).unwrap();
    let foreign = client(other.roots(), None, clock()).unwrap();
    let pinned = client_pinned(sha256(world.root.certificate.der()), clock()).unwrap();
    let unpinned = client_pinned(sha256(other.root.certificate.der()), clock()).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let server = Server::start(&files, &[version]);
        let works = |config: &Arc<ClientConfig>, name: &str| turned(&server, config.clone(), name);
        assert_eq!(works(&nameless, "localhost").as_deref(), Ok("ecnef"), "{version}");
        assert_eq!(works(&pinned, "127.0.0.1").as_deref(), Ok("ecnef"), "{version}");
        for (config, name) in
            [(&foreign, "localhost"), (&unpinned, "localhost"), (&nameless, "other.example")]
        {
            let why = works(config, name).unwrap_err();
            assert!(why.contains("invalid peer certificate"), "{version} {name}: {why}");
        }
        // It asks for a certificate and accepts only good ones.
        let strict =
            ["-Verify", "3", "-verify_return_error", "-CAfile", text(&files.root), version];
        let server = Server::start(&files, &strict);
        let works = |config: &Arc<ClientConfig>| turned(&server, config.clone(), "localhost");
        assert_eq!(works(&member).as_deref(), Ok("ecnef"), "{version}");
        assert_eq!(works(&operator).as_deref(), Ok("ecnef"), "{version}");
        assert!(works(&nameless).is_err(), "{version}");
        assert!(works(&stranger).is_err(), "{version}");
    }
    let old = Server::start(&files, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    let why = turned(&old, nameless, "localhost").unwrap_err();
    assert!(why.contains("alert") || why.contains("version"), "{why}");
}
