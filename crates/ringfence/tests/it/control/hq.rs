//! Headquarters in this process: a real journal, real people, TLS on a socket; and people at a command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use controller::Hub;
use controller::api::{Api, router};
use controller::auth::Auth;
use controller::authority::Authority;
use controller::blobs::Blobs;
use controller::pdp::Pdp;
use controller::published::Published;
use controller::secrets::Digests;
use controller::state::StateFolder;
use crypto::tls::{self, Clients, SystemClock};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use model::Timestamp;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::{Ran, folder};

/// A running controller.
pub(super) struct Hq {
    /// Everything of the test lies in it.
    pub(super) here: PathBuf,
    pub(super) state: PathBuf,
    pub(super) api: SocketAddr,
    pub(super) root_sha256: String,
    pub(super) auth: Arc<Auth>,
    pub(super) hub: Arc<Hub>,
    pub(super) authority: Arc<Authority>,
    stop: Arc<AtomicBool>,
    decisions: Option<JoinHandle<()>>,
    _runtime: Runtime,
    _folder: StateFolder,
}

fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    Timestamp::from_secs(i64::try_from(since.as_secs()).unwrap(), since.subsec_nanos().into())
}

impl Hq {
    pub(super) fn start(test: &str) -> Self {
        let here = folder(test);
        let state = here.join("state");
        let folder = StateFolder::open(&state).unwrap();
        let authority = Authority::open(&folder, "acme.example", now()).unwrap();
        let mut told = |_: &str| {};
        let hub = Arc::new(Hub::open(&folder, "acme.example/journal", now, &mut told).unwrap());
        let auth = Auth::open(Arc::clone(&hub), &folder, &mut told).unwrap();
        let pdp = Pdp::open(Arc::clone(&hub), Blobs::open(&folder.file("blobs")).unwrap()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let decisions = {
            let (pdp, stop) = (Arc::clone(&pdp), Arc::clone(&stop));
            std::thread::spawn(move || pdp.run(&stop, &|told| eprintln!("{told}")))
        };
        let mut api = Api::new(Arc::clone(&hub), pdp, Arc::clone(&auth));
        let authority = Arc::new(authority);
        let published = Published::new(Arc::clone(&hub), Arc::clone(&authority), None, &folder);
        api.published = Some(Arc::new(published.unwrap()));
        api.digests = Some(Arc::new(Digests::open(&folder).unwrap()));
        let router = router(api);
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let shown = authority.server(&names, now()).unwrap();
        let config = tls::server(&shown, Clients::Anonymous, Arc::new(SystemClock)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let api = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (config, router) = (Arc::clone(&config), router.clone());
                tokio::spawn(async move {
                    let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else { return };
                    let service = TowerToHyperService::new(router);
                    let http = auto::Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        let root_sha256 = authority.root_sha256();
        let (decisions, _runtime, _folder) = (Some(decisions), runtime, folder);
        Self {
            here,
            state,
            api,
            root_sha256,
            auth,
            hub,
            authority,
            stop,
            decisions,
            _runtime,
            _folder,
        }
    }

    pub(super) fn server(&self) -> String {
        format!("https://{}", self.api)
    }

    /// Somebody with contexts of their own.
    pub(super) fn person(&self, name: &str) -> Person {
        Person::new(&self.here, name)
    }

    /// The first operator, logged in.
    pub(super) fn anna(&self) -> Person {
        let anna = self.person("anna");
        std::fs::write(self.here.join("anna-password"), "correct horse battery\n").unwrap();
        let setup = format!(
            "setup --state state --server {} --login anna --name Anna --password-file anna-password",
            self.server()
        );
        anna.ok(&setup);
        anna
    }

    /// A text of which everything is taken out that is other at every run.
    pub(super) fn same(&self, text: &str) -> String {
        let text = text.replace(&self.api.to_string(), "127.0.0.1:PORT");
        let text = text.replace(&self.here.display().to_string(), "HERE");
        let mut out = String::new();
        for part in text.split_inclusive([' ', '\n', ',', ')', ';', '/']) {
            let word = part.trim_end_matches([' ', '\n', ',', ')', ';', '/']);
            out.push_str(&plain(word));
            out.push_str(part.strip_prefix(word).unwrap());
        }
        out
    }
}

/// A table without its entries' numbers, which depend on what else was decided meanwhile.
pub(super) fn without_numbers(table: &str) -> String {
    table.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect()
}

/// Ids, digests, days and times as signs of the same length.
fn plain(word: &str) -> String {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let hex = word.chars().all(|c| c.is_ascii_hexdigit()) && word.len() >= 12;
    let ids = ["dec-", "op-", "apr-", "exc-", "rel-", "tok-", "rfj_", "rft_", "est-"];
    match shape.as_str() {
        "9999-99-99" | "99:99:99" => shape,
        _ if shape.starts_with("9999-99-99T") => shape,
        _ if hex => "x".repeat(word.len()),
        _ => match ids.iter().find(|id| word.starts_with(**id) && word.len() > 16) {
            Some(id) => format!("{id}{}", "x".repeat(word.len() - id.len())),
            None => word.to_owned(),
        },
    }
}

impl Drop for Hq {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.decisions.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Somebody at a command line.
pub(super) struct Person {
    pub(super) config: PathBuf,
    here: PathBuf,
}

impl Person {
    pub(super) fn new(here: &Path, name: &str) -> Self {
        Self { config: here.join(format!("{name}/contexts.toml")), here: here.to_owned() }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command
            .current_dir(&self.here)
            .env("NO_COLOR", "1")
            .env("RINGFENCE_CONFIG", &self.config)
            .stdin(Stdio::null());
        for name in ["CONTEXT", "SERVER", "CA", "TOKEN"] {
            command.env_remove(format!("RINGFENCE_{name}"));
        }
        command
    }

    /// Arguments are separated by spaces; `_` in `--reason` and the like stands for itself.
    pub(super) fn run(&self, arguments: &str) -> Ran {
        self.run_with(arguments, &[])
    }

    pub(super) fn run_with(&self, arguments: &str, env: &[(&str, &str)]) -> Ran {
        let mut command = self.command();
        command.args(arguments.split_whitespace()).envs(env.iter().copied());
        ran(command.output().unwrap())
    }

    /// It works, and this is what it prints.
    pub(super) fn ok(&self, arguments: &str) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments}: {}{}", ran.out, ran.err);
        ran.out
    }

    /// It does not work, with this exit code, and says why.
    pub(super) fn fails(&self, arguments: &str, code: i32, says: &str) {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "{arguments}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(says), "{arguments}: no `{says}` in {}", ran.err);
        assert_eq!(ran.out, "", "{arguments}");
    }
}

/// A program of others is here; a test that needs it is left out loudly, or fails where all have to be here.
pub(super) fn has(test: &str, program: &str) -> bool {
    let here = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    let strict = std::env::var_os("RINGFENCE_STRICT").is_some_and(|value| value == "1");
    assert!(here || !strict, "{test}: {program} is not installed");
    if !here {
        eprintln!("SKIPPED {test}: {program} is not installed");
    }
    here
}

pub(super) fn ran(output: Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the binary writes UTF-8");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Copies the sample estate of the warehouse pack.
pub(super) fn sample(to: &Path) {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/warehouse/sample"), to);
    std::fs::write(to.join("schema.cedarschema"), policy::folder::SCHEMA).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(std::fs::copy(&from, &to).unwrap()),
        }
    }
}
