//! Contexts, logins, and who is believed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use std::process::{Command, Stdio};

use super::hq::{Hq, has};

#[test]
fn the_first_operator_comes_in_once_and_a_session_ends() {
    let hq = Hq::start("control-session");
    let anna = hq.anna();
    let mode = fs::metadata(&anna.config).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(anna.ok("whoami").contains("roles    admin"), "{}", anna.ok("whoami"));
    insta::assert_snapshot!("context-list", hq.same(&anna.ok("context list")));
    insta::assert_snapshot!("context-show", hq.same(&anna.ok("context show")));

    // The secret is used up.
    let again = "setup --state state --login eve --password-file anna-password --server";
    let again = anna.run(&format!("{again} {}", hq.server()));
    assert_eq!(again.code, 1, "{}", again.err);

    let kept = fs::read_to_string(&anna.config).unwrap();
    assert!(kept.contains("rfs_") && !kept.contains("correct horse"));
    anna.ok("logout");
    anna.fails("get devices", 1, "nobody is logged in");
    assert!(!fs::read_to_string(&anna.config).unwrap().contains("rfs_"));
    // The old one is worth nothing, also where it was kept.
    fs::write(&anna.config, kept).unwrap();
    anna.fails("whoami", 1, "ringfence login");
    // The server and the name are remembered.
    anna.ok("login --password-file anna-password");
    anna.ok("whoami -o json");

    fs::write(hq.here.join("wrong"), "not this one at all\n").unwrap();
    anna.fails("login --password-file wrong", 1, "auth.wrong");
    anna.fails("login --password-file nowhere", 1, "nowhere");
    anna.ok("whoami");
    anna.fails("whoami --context elsewhere", 3, "there are 127.0.0.1");
    anna.ok("context remove 127.0.0.1");
    anna.fails("whoami", 1, "ringfence login");
}

#[test]
fn a_controller_is_known_by_its_root_or_not_spoken_to() {
    let hq = Hq::start("control-root");
    hq.anna();
    let (server, digest) = (hq.server(), hq.root_sha256.clone());
    let ben = hq.person("ben");
    let login = "--login anna --password-file anna-password";
    ben.fails(&format!("login --server {server} {login}"), 64, "--ca");
    let other = "0".repeat(64);
    ben.fails(&format!("login --server {server} --ca-sha256 {other} {login}"), 1, "identity");
    ben.fails(&format!("login --server {server} --ca-sha256 12 {login}"), 64, "64 hexadecimal");
    assert!(!ben.config.exists(), "nothing is remembered of what was not believed");
    ben.ok(&format!("login --server {server} --ca-sha256 {digest} {login} --context hq"));
    ben.ok("whoami");

    // Another estate's root: its controller is not ours.
    let foreign = Hq::start("control-root-foreign");
    let ca = foreign.state.join("pki/root.pem");
    let ca = ca.to_str().unwrap();
    ben.fails(&format!("login --server {server} --ca {ca} {login} --context x"), 1, "identity");
    let at = |server: &str| ben.run_with("whoami", &[("RINGFENCE_SERVER", server)]);
    // A session is not told to somebody else.
    let elsewhere = at(&foreign.server());
    assert_eq!(elsewhere.code, 1);
    assert!(elsewhere.err.contains("nobody is logged in"), "{}", elsewhere.err);
    assert_eq!(at(&server).code, 0);
    assert_eq!(at("http://127.0.0.1:1").code, 64);

    // A name that the certificate does not have.
    let plain = "login --server https://127.0.0.2:1 --ca state/pki/root.pem";
    ben.fails(&format!("{plain} {login}"), 1, "unreachable");
}

#[test]
fn the_machine_itself_and_programs_need_no_password() {
    let hq = Hq::start("control-host");
    let host = hq.person("host");
    host.ok(&format!("login --state state --server {}", hq.server()));
    assert!(host.ok("whoami").starts_with("host/"));
    let anna = hq.anna();
    let token = anna.ok("tokens create --label ci --role viewer --for 2h --reason ticket-17");
    let (ca, server) = (hq.state.join("pki/root.pem"), hq.server());
    let env = |token: &'static str| {
        [
            ("RINGFENCE_SERVER", server.clone()),
            ("RINGFENCE_CA", ca.display().to_string()),
            ("RINGFENCE_TOKEN", token.to_owned()),
        ]
    };
    let nobody = hq.person("nobody");
    let with = |token: &str, arguments: &str| {
        let mut env = env("");
        env[2].1 = token.to_owned();
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        nobody.run_with(arguments, &env)
    };
    let seen = with(token.trim(), "get tokens -o name");
    assert_eq!(seen.code, 0, "{}", seen.err);
    let refused = with(token.trim(), "sites create w9 --reason x");
    assert_eq!(refused.code, 5, "{}", refused.err);
    assert_eq!(with("rft_nonsense", "whoami").code, 1);
    insta::assert_snapshot!("tokens", hq.same(&anna.ok("get tokens")));
    let id = anna.ok("get tokens -o name");
    anna.ok(&format!("tokens revoke {}", id.trim()));
    assert_eq!(with(token.trim(), "whoami").code, 1);
    assert!(!nobody.config.exists());
}

#[test]
fn shells_and_manuals_know_the_commands() {
    let hq = Hq::start("control-shell");
    let nobody = hq.person("nobody");
    for shell in ["bash", "zsh", "fish"] {
        assert!(nobody.ok(&format!("completions {shell}")).contains("quarantine"), "{shell}");
    }
    let pages = nobody.run("man man/man1");
    assert_eq!(pages.code, 0, "{}", pages.err);
    let page = |name: &str| fs::read_to_string(hq.here.join("man/man1").join(name)).unwrap();
    assert!(page("ringfence.1").contains("ringfence\\-get"));
    assert!(page("ringfence-sites-create.1").contains("Warehouse 1"));
    assert!(page("ringfence-get.1").contains("selector"));
    nobody.fails("man state/journal.db", 1, "state/journal.db");
    nobody.fails("completions tcsh", 64, "bash");
}

#[test]
fn a_password_is_typed_unseen() {
    if !has("a_password_is_typed_unseen", "script") {
        return;
    }
    let hq = Hq::start("control-typed");
    hq.anna();
    let ben = hq.person("ben");
    // `script` (util-linux) gives the program a terminal.
    let line = format!(
        "{} login --server {} --ca state/pki/root.pem --login anna",
        env!("CARGO_BIN_EXE_ringfence"),
        hq.server()
    );
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
    command.current_dir(&hq.here).env("RINGFENCE_CONFIG", &ben.config).env("NO_COLOR", "1");
    let mut typed = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut screen) = (typed.stdin.take().unwrap(), typed.stdout.take().unwrap());
    let mut seen = Vec::new();
    let mut byte = [0];
    // What is typed before the question would be seen: whoever asks is waited for.
    while !seen.ends_with(b": ") {
        screen.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    keys.write_all(b"wrong\x15correct horse batteryx\x7f\r").unwrap();
    screen.read_to_end(&mut seen).unwrap();
    let seen = String::from_utf8(seen).unwrap();
    assert!(typed.wait().unwrap().success(), "{seen}");
    assert!(seen.contains("password of anna") && seen.contains("logged in"), "{seen}");
    assert!(!seen.contains("horse") && !seen.contains("wrong"), "{seen}");
    ben.ok("whoami");
}
