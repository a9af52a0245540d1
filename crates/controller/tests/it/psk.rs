//! Pre-shared keys as real programs say them: a certificate at `simpleenroll`, or a proof that counts for a while; and wrong ones.

use estate::identities::{self, NewSecret, SecretKind, SecretName};
use estate::side::Digest;
use estate::{Command, devices};
use model::{Assurance, DeviceId};

use crate::est::{Door, P256, need, runtime};
use crate::{Folder, now};

const KEY: &str = "000102030405060708090a0b0c0d0e0f";
const SAME: &str = "AAECAwQFBgcICQoLDA0ODw==";
const OTHER: &str = "f00102030405060708090a0b0c0d0e0f";

fn psk(door: &Door, device: &str, name: &str, key: &str) -> NewSecret {
    let digests = controller::secrets::Digests::open(&door.running.state).unwrap();
    let digest: Digest = digests.of(&controller::secrets::key_of(key).unwrap());
    let of = SecretName {
        device: DeviceId::new(device).unwrap(),
        kind: SecretKind::Psk,
        name: name.to_owned(),
    };
    NewSecret { of, digest, since: now(), rotate_days: 365 }
}

fn add(door: &Door, secrets: Vec<NewSecret>) {
    door.command(Command::Identity(identities::Command::AddSecrets { secrets }));
}

fn found(door: &Door) -> Vec<String> {
    door.running
        .hub
        .read(|estate| estate.identities().found().map(|found| found.code.clone()).collect())
}

#[test]
fn a_device_gets_its_certificate_with_its_pre_shared_key() {
    if !need("psk enrols", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &["meter-1", "meter-2"]).await;
        add(&door, vec![psk(&door, "meter-1", "m1", KEY), psk(&door, "meter-2", "m2", OTHER)]);
        door.request("meter-1", &P256).await;
        let enrol = async |user: &str| door.enrol("simpleenroll", "meter-1", &["-u", user]).await;
        let mut said = Vec::new();
        for wrong in [format!("m1:{OTHER}"), format!("m2:{KEY}"), format!("nobody:{KEY}")] {
            let got = enrol(&wrong).await;
            assert_eq!(got.status, 401, "{}", got.text());
            said.push(String::from_utf8(got.body).unwrap());
        }
        assert!(said.iter().all(|text| *text == said[0]), "which it was is nobody's to know");
        assert_eq!(found(&door), ["identity.psk", "identity.psk"]);
        assert!(door.est.counts.all().contains(&("wrong-secrets", 2)));

        // As hex or as base64, it is the same key.
        for user in [format!("m1:{KEY}"), format!("m1:{SAME}")] {
            let certificate = door.keep("meter-1", &enrol(&user).await);
            let identity = pki::identity_of(&certificate).unwrap();
            assert_eq!(identity.to_string(), "spiffe://ringfence.example/device/meter-1");
        }
        assert_eq!(door.level("meter-1"), Assurance::DeviceKey);
        let own = ["--cert", "meter-1.pem", "--key", "meter-1.key"];
        let renewed = door.enrol("simplereenroll", "meter-1", &own).await;
        door.keep("meter-1", &renewed);
        // It is in the journal before its bytes leave.
        let entries = door.running.hub.read(|estate| {
            let id = DeviceId::new("meter-1").unwrap();
            estate.identities().get(&id).unwrap().credentials.len()
        });
        assert_eq!(entries, 3);

        // A second device with the same key: neither gets anything.
        add(&door, vec![psk(&door, "meter-2", "copy", KEY)]);
        assert!(found(&door).contains(&"identity.secret-shared".to_owned()));
        let shared = enrol(&format!("m1:{KEY}")).await;
        assert_eq!(shared.status, 403, "{}", shared.text());
        // And none at all when it is ended.
        let of = psk(&door, "meter-2", "m2", OTHER).of;
        door.command(Command::Identity(identities::Command::EndSecret { of }));
        let ended = enrol(&format!("m2:{OTHER}")).await;
        assert_eq!(ended.status, 401, "{}", ended.text());
        door.close().await;
    });
}

#[test]
fn a_device_without_a_key_proves_its_secret_for_a_while() {
    if !need("psk proves", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &["scale-1"]).await;
        add(&door, vec![psk(&door, "scale-1", "scale-1", KEY)]);
        assert_eq!(door.level("scale-1"), Assurance::Observed);
        let user = format!("scale-1:{KEY}");
        let direct = format!("https://127.0.0.1:{}/.well-known/ringfence/v1/psk", door.port);
        let ask = async |query: &str, more: &[&str]| {
            let url = format!("{direct}{query}");
            let mut arguments = vec!["-sS", "--cacert", "root.pem", "-o", "body"];
            arguments.extend(more);
            arguments.extend(["-w", "%{http_code}", &url]);
            let done = door.run("curl", &arguments).await;
            let body = std::fs::read_to_string(door.file("body")).unwrap_or_default();
            (String::from_utf8_lossy(&done.stdout).into_owned(), body)
        };
        let post = ["-X", "POST", "-u", &user];
        assert_eq!(ask("", &["-u", &user]).await.0, "405");
        assert_eq!(ask("", &["-X", "POST"]).await.0, "401");
        assert_eq!(ask("", &["-X", "POST", "-u", &format!("scale-1:{OTHER}")]).await.0, "401");
        assert_eq!(ask("?for_s=604801", &post).await.0, "400");
        assert_eq!(door.level("scale-1"), Assurance::Observed);
        for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let (status, body) = ask("?for_s=3600", &[&post[..], version].concat()).await;
            assert_eq!(status, "200", "{body}");
            let said: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(said["device"], "scale-1");
            assert!(said["until"].as_str().unwrap().ends_with('Z'), "{said}");
        }
        assert_eq!(door.level("scale-1"), Assurance::SharedSecret);
        assert!(door.est.counts.all().contains(&("proved", 2)));

        // It falls with a new secret, and with the device.
        let secret = psk(&door, "scale-1", "scale-1", OTHER);
        door.command(Command::Identity(identities::Command::RotateSecret { secret }));
        assert_eq!(door.level("scale-1"), Assurance::Observed);
        assert_eq!(ask("", &post).await.0, "401");
        let new = format!("scale-1:{OTHER}");
        assert_eq!(ask("", &["-X", "POST", "-u", &new]).await.0, "200");
        assert_eq!(door.level("scale-1"), Assurance::SharedSecret);
        let retire = devices::Command::Retire { devices: vec![DeviceId::new("scale-1").unwrap()] };
        door.command(Command::Device(retire));
        assert_eq!(ask("", &["-X", "POST", "-u", &new]).await.0, "409");

        // Whoever tries without end is told to wait, and fills no journal.
        let before = door.running.hub.read(estate::Estate::size);
        for n in 0.. {
            let wrong = format!("scale-1:{n:032x}");
            if ask("", &["-X", "POST", "-u", &wrong]).await.0 == "429" {
                break;
            }
            assert!(n < 30, "it may go on guessing");
        }
        let written = door.running.hub.read(estate::Estate::size) - before;
        assert!(written <= 11, "each wrong one, and that it came too often: {written}");
        door.close().await;
    });
}
