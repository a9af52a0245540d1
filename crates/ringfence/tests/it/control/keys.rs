//! Keys with which devices sign: registered, shown, revoked.

use std::fs;

use crypto::PrivateKey;
use pki::{KeyKind, Pem};

use super::hq::{Hq, sample};

#[test]
fn a_key_is_registered_from_a_file_shown_and_revoked_by_its_beginning() {
    let hq = Hq::start("control-keys");
    let anna = hq.anna();
    sample(&hq.here.join("policy"));
    anna.ok("apply -f policy --reason first");
    let ids = anna.ok("get devices -o name");
    let mut ids = ids.lines();
    let (id, other) = (ids.next().unwrap(), ids.next().unwrap());
    let (key, private) = PrivateKey::generate(KeyKind::P256).unwrap();
    let public = Pem::write("PUBLIC KEY", &key.public().write()).unwrap();
    fs::write(hq.here.join("key.pub"), public).unwrap();
    fs::write(hq.here.join("key.pem"), private).unwrap();
    fs::write(hq.here.join("text"), "hello\n").unwrap();

    assert_eq!(anna.run(&format!("keys list {id}")).err, "none\n");
    anna.fails(&format!("keys list {id} -o csv"), 64, "devices");
    anna.fails(&format!("keys register {id} --key key.pem --reason x"), 64, "never leaves");
    anna.fails(&format!("keys register {id} --key nothing --reason x"), 1, "nothing");
    anna.fails(&format!("keys register {id} --key text --reason x"), 1, "key.malformed");
    anna.fails("keys register nobody --key key.pub --reason x", 3, "nobody");
    let made = anna.run(&format!("keys register {id} --key key.pub --reason installed"));
    assert_eq!((made.code, made.out.as_str()), (0, ""), "{}", made.err);
    assert!(made.err.contains(&format!("signs for device {id} in epoch 0")), "{}", made.err);
    anna.fails(&format!("keys register {other} --key key.pub --reason x"), 4, id);
    // The next epoch, with the same key: after a gap.
    anna.ok(&format!("keys register {id} --key key.pub --reason gap"));
    insta::assert_snapshot!("keys", hq.same(&anna.ok(&format!("keys list {id}"))));
    insta::assert_snapshot!("chains", hq.same(&anna.ok(&format!("keys chains {id}"))));
    let key = anna.ok(&format!("keys list {id} -o name"));
    let key = key.trim();
    assert_eq!(key.len(), 64, "{key}");
    anna.fails(&format!("keys revoke {id} zz --reason x"), 3, "no such key");
    anna.fails(&format!("keys revoke {other} {key} --reason x"), 3, "no such key");
    anna.ok(&format!(
        "keys revoke {id} {} --reason opened",
        key.chars().take(12).collect::<String>()
    ));
    assert!(anna.ok(&format!("keys list {id}")).contains("revoked"));
    anna.fails(&format!("keys register {id} --key key.pub --reason x"), 4, "revoked");
}
