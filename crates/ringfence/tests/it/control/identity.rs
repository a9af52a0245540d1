//! Identities at the command line: what is wrong first, then tokens, levels, revocation, vouching, requests that wait.

use std::fs;
use std::process::Command;

use crypto::PrivateKey;
use estate::access::Principal;
use estate::identities::{self, Enrolment, How, NewCredential, Serial, Wanted};
use estate::side::Digest;
use model::DeviceId;
use pki::{KeyKind, Pem};
use serde_json::Value;

use super::hq::{Hq, Person, has, ran, sample, without_numbers};
use crate::Ran;

pub(super) fn estate(test: &str) -> (Hq, Person) {
    let hq = Hq::start(test);
    let anna = hq.anna();
    sample(&hq.here.join("policy"));
    anna.ok("apply -f policy --reason first");
    (hq, anna)
}

fn command(hq: &Hq, command: identities::Command) {
    let (who, command) = (Principal::host("test"), estate::Command::Identity(command));
    hq.hub.command(&who, "a test", command, Default::default()).unwrap();
}

/// Somebody else, who may do the same.
fn ben(hq: &Hq, anna: &Person) -> Person {
    fs::write(hq.here.join("first"), "a first password\n").unwrap();
    fs::write(hq.here.join("second"), "a second password\n").unwrap();
    anna.ok("operators create --login ben --role security-admin --password-file first --reason x");
    let ben = hq.person("ben");
    ben.ok(&format!(
        "login --server {} --ca state/pki/root.pem --login ben --password-file first",
        hq.server()
    ));
    ben.ok("password --old-file first --new-file second");
    ben
}

/// What a device does with its token; the certificate is in a file.
fn enrols(hq: &Hq, id: &str, token: &str) {
    let (device, now) = (DeviceId::new(id).unwrap(), hq.hub.now());
    let (key, _) = PrivateKey::generate(KeyKind::P256).unwrap();
    let made = hq.authority.device(&device, &key.public(), now).unwrap();
    let pem = Pem::write("CERTIFICATE", made.certificate.der()).unwrap();
    fs::write(hq.here.join(format!("{id}.pem")), pem).unwrap();
    let credential = NewCredential {
        key: Digest::of(&key.public().write()),
        serial: Serial(made.serial),
        issuer: made.issuer,
        since: made.certificate.not_before(),
        until: made.certificate.not_after(),
    };
    let how = How::Token { secret: Digest::of(token.as_bytes()) };
    let batch = vec![Enrolment { device, credential, how }];
    command(hq, identities::Command::Enrol { batch });
}

#[test]
fn a_device_gets_a_token_and_a_level_and_loses_it() {
    let (hq, anna) = estate("control-identity");
    anna.fails("identity token camera", 64, "--reason");
    anna.fails("identity token nobody --reason x", 3, "nobody");
    anna.fails("identity token camera --for 31d --reason x", 1, "identity.token-life");
    anna.fails("identity show nobody", 3, "nobody");
    anna.fails("identity list --level high", 64, "possible values");
    anna.fails("identity list -o csv", 64, "devices");
    anna.fails("identity list --ends-before tomorrow", 64, "ends_before");
    anna.fails("identity revoke camera --because boredom --reason x", 64, "possible values");
    anna.fails("identity revoke camera --because superseded --serial 1 --reason x", 64, "serial");
    anna.fails("identity vouch camera --reason x", 64, "--for");
    anna.fails("identity vouch camera --for 1h --end --reason x", 64, "cannot be used");

    let made = anna.run("identity token camera --for 2d --reason installed");
    assert_eq!(made.code, 0, "{}", made.err);
    let token = made.out.trim();
    assert!(token.starts_with("est-") && made.out.lines().count() == 1, "{}", made.out);
    assert!(made.err.contains(&hq.root_sha256) && made.err.contains("not shown again"));
    let drawn = anna.ok("identity token camera --qr --reason installed");
    // One with many digits in a row needs less room.
    assert!(matches!(drawn.lines().count(), 19 | 21) && drawn.contains('▀'), "{drawn}");
    let json = anna.ok("identity token camera --reason installed -o json");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["hint"].as_str().unwrap().starts_with("curl --cacert root.pem"), "{json}");

    enrols(&hq, "camera", token);
    assert_eq!(anna.ok("identity list --level device-key -o name"), "camera\n");
    insta::assert_snapshot!("list", without_numbers(&hq.same(&anna.ok("identity list -o wide"))));
    insta::assert_snapshot!("show", without_numbers(&hq.same(&anna.ok("identity show camera"))));
    assert!(anna.ok("describe device camera").contains("stands at"));
    let shown: Value = serde_json::from_str(&anna.ok("identity show camera -o json")).unwrap();
    let serial = shown["credentials"][0]["serial"].as_str().unwrap();
    published(&hq, "good");
    let done = anna.run(&format!(
        "identity revoke camera --serial {serial} --because key-compromise --reason stolen"
    ));
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("camera stands at observed"), "{}", done.err);
    published(&hq, "revoked");
    assert!(anna.ok("identity show camera").contains("revoked: key-compromise"));
}

/// What others hear of the camera's certificate, over TLS and without a login.
fn published(hq: &Hq, status: &str) {
    let test = "a_device_gets_a_token_and_a_level_and_loses_it";
    if !has(test, "curl") || !has(test, "openssl") {
        return;
    }
    let run = |program: &str, line: &str| {
        let mut command = Command::new(program);
        ran(command.args(line.split_whitespace()).current_dir(&hq.here).output().unwrap())
    };
    let curl = |line: &str, path: &str| {
        let server = hq.server();
        let line =
            format!("--silent --fail --cacert state/pki/root.pem {line} {server}/pki/{path}");
        let ran = run("curl", &line);
        assert_eq!(ran.code, 0, "{line}: {}", ran.err);
    };
    for file in ["root.pem", "issuing.pem", "issuing.crl", "issuing-delta.crl"] {
        curl(&format!("--output {file}"), file);
    }
    let of = "-issuer issuing.pem -cert camera.pem";
    assert_eq!(run("openssl", &format!("ocsp {of} -no_nonce -reqout asked")).code, 0);
    curl(
        "--output said --header Content-Type:application/ocsp-request --data-binary @asked",
        "ocsp",
    );
    let Ran { out, err, .. } =
        run("openssl", &format!("ocsp {of} -no_nonce -respin said -CAfile root.pem"));
    assert!(out.contains(&format!("camera.pem: {status}")), "{out}{err}");
    assert!(err.contains("Response verify OK"), "{out}{err}");
    assert_eq!(run("openssl", "crl -inform DER -in issuing.crl -out crl.pem").code, 0);
    let verify = "verify -crl_check -CAfile root.pem -untrusted issuing.pem -CRLfile crl.pem";
    let Ran { code, out, err } = run("openssl", &format!("{verify} camera.pem"));
    assert_eq!(code == 0, status == "good", "{out}{err}");
}

#[test]
fn vouching_takes_a_second_person_at_the_command_line_too() {
    let (hq, anna) = estate("control-vouch");
    let ben = ben(&hq, &anna);
    let vouch = "identity vouch camera --for 30d --reason seen";
    let asked = anna.run(vouch);
    assert_eq!(asked.code, 5, "{}", asked.err);
    let id = anna.ok("get approvals -o name");
    let id = id.trim();
    assert!(asked.err.contains(&format!("ringfence approve {id}")), "{}", asked.err);
    anna.fails(&format!("{vouch} --approval {id}"), 4, "approv");
    ben.ok(&format!("approve {id} --reason checked"));
    let done = anna.run(&format!("{vouch} --approval {id}"));
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("camera stands at vouched until"), "{}", done.err);
    let shown = anna.ok("identity show camera");
    assert!(shown.contains("two people vouch for it") && shown.contains(" and op-"), "{shown}");
    ben.ok("identity vouch camera --end --reason moved");
    assert_eq!(anna.ok("identity list --level vouched -o name"), "");
}

#[test]
fn requests_that_wait_are_shown_with_what_does_not_fit_and_answered() {
    let (hq, anna) = estate("control-requests");
    anna.fails("identity approve 00 --device camera --reason x", 3, "identity requests");
    assert_eq!(anna.run("identity requests").err, "none\n");
    assert_eq!(anna.run("identity findings").err, "none\n");
    let (code, why) = ("identity.request".to_owned(), "from 192.0.2.7: it is empty".to_owned());
    let from = "192.0.2.7".parse().ok();
    let refuse = identities::Command::Refuse { code, why, device: None, key: None, from, times: 3 };
    command(&hq, refuse);
    let listed = anna.ok("identity findings");
    for part in ["(door) 192.0.2.7", "  3  ", "it is empty"] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    for (name, seen_as) in [("CN=axis-q6135", Some("camera")), ("CN=lost", None)] {
        let wanted = Wanted {
            request: Digest::of(name.as_bytes()),
            key: Digest::of(format!("key of {name}").as_bytes()),
            names: vec![name.to_owned(), "\u{1b}[31mred".to_owned()],
            from: "192.0.2.7".parse().unwrap(),
            seen_as: seen_as.map(|id| DeviceId::new(id).unwrap()),
        };
        command(&hq, identities::Command::Ask { wanted });
    }
    let shown = anna.ok("identity requests");
    assert!(shown.chars().all(|c| c != '\u{1b}'), "{shown}");
    insta::assert_snapshot!("requests", hq.same(&shown));
    let all = anna.ok("identity requests -o name");
    let ids: Vec<&str> = all.lines().collect();
    anna.fails("identity reject zz --reason x", 3, "identity requests");
    let beginning: String = ids[0].chars().take(10).collect();
    let approve = format!("identity approve {beginning} --device camera --reason seen");
    let done = anna.run(&approve);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("it is camera"), "{}", done.err);
    anna.fails(&format!("identity reject {} --reason x", ids[0]), 4, "answered");
    anna.ok(&format!("identity reject {} --reason stranger", ids[1]));
    assert_eq!(anna.ok("identity requests --state all -o name").lines().count(), 2);
    assert_eq!(anna.ok("identity requests -o name"), "");
}

#[test]
fn keys_are_told_listed_rotated_and_ended() {
    let (hq, anna) = estate("control-identity-keys");
    let file = |name: &str, text: &str| fs::write(hq.here.join(name), text).unwrap();
    let key = "000102030405060708090a0b0c0d0e0f";
    file("psk", &format!("{key}\n"));
    file("new", "ff0102030405060708090a0b0c0d0e0f");
    file("short", "0011");
    file("none", "\n");
    anna.fails("identity keys add camera --kind psk --reason x", 64, "--secret-file");
    anna.fails("identity keys add camera --kind pin --secret-file psk --reason x", 64, "possible");
    anna.fails(
        "identity keys add camera --kind psk --secret-file none --reason x",
        64,
        "no secret",
    );
    anna.fails("identity keys add camera --kind psk --secret-file gone --reason x", 64, "gone");
    anna.fails(
        "identity keys add camera --kind psk --secret-file short --reason x",
        64,
        "16 to 256",
    );
    anna.fails("identity keys add nobody --kind psk --secret-file psk --reason x", 3, "nobody");
    anna.fails("identity keys end camera --kind psk --reason x", 3, "none such");
    anna.fails(
        "identity keys rotate camera --kind psk --secret-file psk --reason x",
        3,
        "none such",
    );
    anna.fails("identity keys --kind pin", 64, "possible values");
    anna.fails("identity keys -o csv", 64, "devices");

    let add = "identity keys add camera --kind psk --secret-file psk --reason installed";
    assert!(anna.run(add).err.contains("its digest is known"));
    assert!(anna.run(add).err.contains("known already"));
    file(
        "more.csv",
        &format!(
            "device,secret,name,since,rotate_days\nnvr,{key},context,2020-01-01T00:00:00Z,90\n"
        ),
    );
    let done = anna.run("identity keys import more.csv --kind oscore --reason delivered");
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("1 secrets: 1 since now, 0 were known"), "{}", done.err);
    assert!(done.err.contains("finding: 2 devices have the same secret"), "{}", done.err);
    assert!(!done.err.contains(key));
    let listed = anna.ok("identity keys");
    for word in ["root", "issuing", "camera", "nvr", "overdue", "shared", "security-admin"] {
        assert!(listed.contains(word), "{word}: {listed}");
    }
    assert!(!listed.contains(key));
    assert_eq!(anna.ok("identity keys --overdue -o name"), "context\n");
    assert!(anna.ok("identity findings").contains("identity.secret-shared"));
    anna.ok("identity keys rotate camera --kind psk --secret-file new --reason yearly");
    assert!(!anna.ok("identity keys").contains("shared"));
    anna.ok("identity keys end nvr --kind oscore --name context --reason gone");
    assert_eq!(anna.ok("identity keys --device nvr -o name"), "");
}
