//! `ringfence mud` from the outside: what it prints, where, and its exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FILE: &str = r#"{"ietf-mud:mud": {"mud-version": 1, "mud-url": "https://lamp.example/m.json",
  "last-update": "2031-01-01T00:00:00Z", "cache-validity": 24, "is-supported": true, "systeminfo": "a lamp",
  "mud-signature": "https://lamp.example/m.p7s", "firmware-rev": "2.4.1",
  "from-device-policy": {"access-lists": {"access-list": [{"name": "fr"}]}}},
 "ietf-access-control-list:acls": {"acl": [{"name": "fr", "type": "ipv4-acl-type", "aces": {"ace": [
  {"name": "cloud", "matches": {"ipv4": {"protocol": 6, "ietf-acldns:dst-dnsname": "cloud.lamp.example"},
    "tcp": {"destination-port": {"operator": "eq", "port": 443}}}, "actions": {"forwarding": "accept"}},
  {"name": "broker", "matches": {"ietf-mud:mud": {"my-controller": [null]},
    "tcp": {"destination-port": {"operator": "eq", "port": 1883}}}, "actions": {"forwarding": "accept"}},
  {"name": "till", "matches": {"ietf-mud:mud": {"local-networks": [null]},
    "tcp": {"destination-port": {"operator": "eq", "port": 443}}}, "actions": {"forwarding": "accept"}}]}}]}}"#;

const ESTATE: &str = r#"format = "ringfence.policy/v1"

[[site]]
id = "main"

[[zone]]
id = "main/lamps"
site = "main"
class = "lamps"

[[zone]]
id = "main/servers"
site = "main"
class = "servers"

[[device]]
id = "lamp-1"
type = "lamp"
zone = "main/lamps"
macs = ["02:00:00:00:00:01"]
addresses = ["10.0.0.1"]
mud_url = "https://lamp.example/m.json"

[[device]]
id = "server"
type = "server"
zone = "main/servers"
macs = ["02:00:00:00:00:02"]
addresses = ["10.0.0.2"]

[[service]]
id = "svc:server/tcp/1883"
scope = "estate"
zone = "main/servers"
device = "server"
protocol = "tcp"
port = 1883

[[service]]
id = "svc:server/tcp/443"
scope = "estate"
zone = "main/servers"
device = "server"
protocol = "tcp"
port = 443

[controllers]
"my-controller" = ["server"]
"#;

const POLICIES: &str = r#"@id("lamps-to-the-broker")
permit (
  principal in DeviceType::"lamp",
  action == Action::"connect",
  resource == Service::"svc:server/tcp/1883"
);

@id("no-lamps-on-the-web")
forbid (
  principal in DeviceType::"lamp",
  action == Action::"connect",
  resource == Service::"svc:server/tcp/443"
);
"#;

struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("ringfence-mud-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("policy/policies")).unwrap();
        let folder = Self(path);
        folder.put("m.json", FILE);
        folder.put("policy/schema.cedarschema", policy::folder::SCHEMA);
        folder.put("policy/estate.toml", ESTATE);
        folder.put("policy/policies/own.cedar", POLICIES);
        for file in ["tests.toml", "claims.toml", "exceptions.toml"] {
            folder.put(&format!("policy/{file}"), "");
        }
        folder
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn run(&self, words: &[&str]) -> Output {
        let binary = env!("CARGO_BIN_EXE_ringfence");
        Command::new(binary).arg("mud").args(words).current_dir(&self.0).output().unwrap()
    }

    /// Standard output, or what went wrong.
    fn good(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What went wrong, with its code.
    fn bad(&self, words: &[&str], code: i32) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        assert_eq!(output.stdout, b"", "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn has(text: &str, parts: &[&str]) {
    // Messages are wrapped at the terminal's width.
    let plain = text.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(plain.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn check_and_show() {
    let folder = Folder::new("check");
    has(
        &folder.good(&["check", "m.json"]),
        &["https://lamp.example/m.json: sound, 3 entries in 1 lists", "not verified"],
    );
    let text = folder.good(&["show", "m.json", "--fetched", "2026-01-01T00:00:00Z"]);
    has(
        &text,
        &[
            "firmware 2.4.1",
            "accept tcp/443 with cloud.lamp.example",
            "fetch again, due since 2026-01-02T00:00:00",
        ],
    );
    let json = folder.good(&["show", "-o", "json", "m.json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["abstractions"]["my-controller"], 1);
    folder.put("odd.json", &FILE.replace("\"my-controller\": [null]", "\"vendor:x\": 1"));
    has(&folder.good(&["check", "odd.json"]), &["the entry opens nothing"]);
    assert_eq!(folder.run(&["check", "odd.json", "--detailed-exitcode"]).status.code(), Some(2));
}

#[test]
fn faults_say_where() {
    let folder = Folder::new("faults");
    folder.put("bad.json", &FILE.replace("\"port\": 1883", "\"port\": 99999"));
    has(
        &folder.bad(&["check", "bad.json"], 1),
        &["bad.json: ", "ace[1]/matches/tcp/", "destination-port", "1 fault(s)"],
    );
    folder.put("cut.json", FILE.get(..200).unwrap());
    has(&folder.bad(&["check", "cut.json"], 1), &["cut.json:3:", "not JSON"]);
    has(&folder.bad(&["check", "none.json"], 1), &["none.json cannot be read"]);
    folder.bad(&["check", "m.json", "--signature", "m.json"], 64);
    folder.bad(&["propose", "m.json", "--policy", "policy"], 64);
    has(
        &folder.bad(&["propose", "m.json", "--policy", "policy", "--type", "toaster"], 3),
        &["`toaster` is not in estate.toml"],
    );
    has(&folder.bad(&["export", "--policy", "policy", "--type", "x"], 3), &["no type `x`", "lamp"]);
    has(&folder.bad(&["export", "--policy", ".", "--type", "x"], 1), &["no policy folder"]);
    folder.put("policy/policies/own.cedar", "permit (");
    has(
        &folder.bad(&["propose", "m.json", "--policy", "policy", "--type", "lamp"], 1),
        &["policies/own.cedar"],
    );
}

#[test]
fn a_proposal_and_what_stands_against_it() {
    let folder = Folder::new("propose");
    let propose = ["propose", "m.json", "--policy", "policy", "--type", "lamp"];
    let text = folder.good(&propose);
    has(
        &text,
        &[
            "1 path(s) are described and granted already",
            "lamp-1 -> svc:cloud.lamp.example/tcp/443 (fr cloud)",
            "by no-lamps-on-the-web at policies/own.cedar:8",
            "@mode(\"shadow\")",
        ],
    );
    let with = |more: &[&str]| folder.run(&[&propose[..], more].concat());
    assert_eq!(with(&["--detailed-exitcode"]).status.code(), Some(2));
    let json: serde_json::Value = serde_json::from_slice(&with(&["-o", "json"]).stdout).unwrap();
    assert_eq!(json["conflicts"][0]["line"], 8);
    assert_eq!(json["opens"][0]["to"], "svc:cloud.lamp.example/tcp/443");
    // The proposed file is a part of a folder as it is.
    let cedar = String::from_utf8(with(&["-o", "cedar"]).stdout).unwrap();
    let service: String = cedar
        .lines()
        .skip_while(|l| !l.contains("[[service]]"))
        .map_while(|l| l.strip_prefix("// "))
        .fold(String::new(), |text, line| text + line + "\n");
    folder.put("policy/policies/mud-lamp.cedar", &cedar);
    let zone = "\n[[zone]]\nid = \"external\"\nclass = \"external\"\n";
    folder.put("policy/estate.toml", &format!("{}{zone}\n{service}", ESTATE));
    let again = folder.good(&propose);
    has(&again, &["lamp-1 -> svc:cloud.lamp.example/tcp/443"]);
    // Two files: the firmware decides.
    folder.put("old.json", &FILE.replace("2.4.1", "1.0").replace("cloud.lamp", "old.lamp"));
    let two = |firmware: &str| {
        let words = ["propose", "m.json", "old.json", "--policy", "policy", "--type", "lamp"];
        folder.run(&[&words[..], &["--firmware", firmware]].concat())
    };
    has(&String::from_utf8_lossy(&two("1.0").stdout), &["old.lamp.example"]);
    assert_eq!(two("9.9").status.code(), Some(1));
}

/// The openssl program makes the certificates here and is the peer.
#[test]
fn signed_exports_verify_here_and_with_openssl() {
    let openssl = |folder: &Path, words: &[&str]| {
        Command::new("openssl").args(words).current_dir(folder).output()
    };
    if openssl(Path::new("."), &["version"]).is_err() {
        let strict = std::env::var_os("RINGFENCE_STRICT").is_some_and(|value| value == "1");
        assert!(!strict, "the program openssl is missing (Debian package openssl)");
        eprintln!("SKIPPED signed_exports_verify_here_and_with_openssl: openssl is missing");
        return;
    }
    let folder = Folder::new("export");
    let certificate = |usage: &str, name: &str| {
        let (key, cert) = (format!("{name}.key"), format!("{name}.pem"));
        let subject = format!("/O=Example/CN={name}");
        let words = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-keyout",
            &key,
            "-out",
            &cert,
            "-subj",
            &subject,
            "-addext",
            usage,
        ];
        let output = openssl(&folder.0, &words).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    certificate("keyUsage=critical,digitalSignature,keyCertSign", "maker");
    certificate("keyUsage=critical,keyCertSign", "other");
    let export = |key: &str, cert: &str| {
        folder.run(&[
            "export",
            "--policy",
            "policy",
            "--type",
            "lamp",
            "--out",
            "lamp.json",
            "--sign",
            key,
            "--cert",
            cert,
        ])
    };
    let output = export("maker.key", "maker.pem");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let check = ["check", "lamp.json", "--signature", "lamp.p7s", "--anchor", "maker.pem"];
    has(&folder.good(&check), &["signed by CN=maker,O=Example (ECDSA with SHA-256)"]);
    let verify = [
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        "lamp.p7s",
        "-content",
        "lamp.json",
        "-CAfile",
        "maker.pem",
        "-purpose",
        "any",
        "-out",
        "verified.json",
    ];
    let peer = openssl(&folder.0, &verify).unwrap();
    assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    let spoilt = fs::read_to_string(folder.0.join("lamp.json")).unwrap().replace("1883", "1884");
    folder.put("lamp.json", &spoilt);
    has(&folder.bad(&check, 1), &["the file is not the one that was signed"]);
    assert!(!openssl(&folder.0, &verify).unwrap().status.success());
    let stranger = ["check", "lamp.json", "--signature", "lamp.p7s", "--anchor", "other.pem"];
    has(&folder.bad(&stranger, 1), &["does not count"]);
    // What nobody would accept is not written.
    for (key, cert, part) in [
        ("maker.key", "other.pem", "belong together"),
        ("other.key", "other.pem", "lacks digitalSignature"),
        ("maker.pem", "maker.pem", "no private key"),
    ] {
        let output = export(key, cert);
        assert_eq!(output.status.code(), Some(1), "{key}");
        has(&String::from_utf8_lossy(&output.stderr), &[part]);
    }
    let late = [&check[..], &["--at", "2099-01-01T00:00:00Z"]].concat();
    folder.put("lamp.json", &spoilt.replace("1884", "1883"));
    has(&folder.bad(&late, 1), &["expired at"]);
}
