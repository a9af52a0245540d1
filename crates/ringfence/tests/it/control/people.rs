//! Operators, their passwords, and what takes two of them.

use std::fs;

use serde_json::Value;

use super::hq::{Hq, sample};

#[test]
fn an_operator_changes_the_first_password_and_does_no_more_than_the_roles_say() {
    let hq = Hq::start("control-people");
    let anna = hq.anna();
    fs::write(hq.here.join("first"), "a first password\n").unwrap();
    fs::write(hq.here.join("second"), "a second password\n").unwrap();
    let create =
        "operators create --login ben --role viewer --password-file first --reason colleague";
    anna.ok(create);
    anna.fails(create, 4, "login");
    let ben = hq.person("ben");
    let login = format!(
        "login --server {} --ca state/pki/root.pem --login ben --password-file",
        hq.server()
    );
    ben.ok(&format!("{login} first"));
    ben.fails("get devices", 5, "ringfence password");
    ben.fails("password --old-file second --new-file first", 5, "password.old");
    ben.ok("password --old-file first --new-file second");
    // Logged in anew.
    ben.ok("get devices");
    ben.fails("sites create w1 --reason x", 5, "it needs the role");
    ben.fails("get operators", 5, "admin");
    anna.ok("operators roles ben --role operator,security-admin --reason promotion");
    assert!(ben.ok("whoami").contains("security-admin"));
    insta::assert_snapshot!("get-operators", hq.same(&anna.ok("get operators")));
    anna.ok("operators disable ben --reason left");
    ben.fails("whoami", 1, "ringfence login");
    ben.fails(&format!("{login} second"), 1, "auth.wrong");
    anna.ok("operators enable ben --reason back");
    ben.ok(&format!("{login} second"));
    anna.ok("operators password ben --password-file first --reason forgotten");
    ben.fails("whoami", 1, "ringfence login");
    ben.ok(&format!("{login} first"));
    ben.fails("get devices", 5, "ringfence password");
    anna.fails("operators disable nobody --reason x", 3, "operator");
}

#[test]
fn a_change_of_many_devices_takes_a_second_person() {
    let hq = Hq::start("control-approve");
    let anna = hq.anna();
    sample(&hq.here.join("policy"));
    anna.ok("apply -f policy --reason first");
    fs::write(hq.here.join("first"), "a first password\n").unwrap();
    fs::write(hq.here.join("second"), "a second password\n").unwrap();
    anna.ok("operators create --login ben --role security-admin,policy-admin --password-file first --reason x");
    let ben = hq.person("ben");
    ben.ok(&format!(
        "login --server {} --ca state/pki/root.pem --login ben --password-file first",
        hq.server()
    ));
    ben.ok("password --old-file first --new-file second");
    hq.auth.set_approval_above(2);
    let cut = "quarantine state=active --reason outbreak";
    let asked = anna.run(cut);
    assert_eq!(asked.code, 5, "{}", asked.err);
    let id = anna.ok("get approvals -o name");
    let id = id.trim();
    assert!(asked.err.contains(&format!("ringfence approve {id}")), "{}", asked.err);
    insta::assert_snapshot!("get-approvals", hq.same(&anna.ok("get approvals")));
    anna.fails(&format!("{cut} --approval {id}"), 4, "approv");
    anna.fails(&format!("approve {id} --reason mine"), 5, id);
    ben.ok(&format!("approve {id} --reason checked"));
    let done = anna.run(&format!("{cut} --approval {id}"));
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("devices are changed"), "{}", done.err);
    // Once.
    anna.fails(&format!("{cut} --approval {id}"), 4, "approv");
    ben.fails(&format!("reject {id} --reason late"), 4, id);

    // A policy for many devices too; what differs from what was approved is another one.
    let tests = hq.here.join("policy/tests.toml");
    let text = fs::read_to_string(&tests).unwrap();
    fs::write(&tests, format!("# two\n{text}")).unwrap();
    let asked = anna.run("apply -f policy --reason second");
    assert_eq!(asked.code, 5, "{}", asked.err);
    let pending = anna.ok("get approvals -o jsonl");
    let pending = pending.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let pending = pending.into_iter().find(|approval| approval["state"] == "pending").unwrap();
    let id = pending["id"].as_str().unwrap();
    ben.ok(&format!("approve {id} --reason read"));
    fs::write(&tests, format!("# three\n{text}")).unwrap();
    anna.fails(&format!("apply -f policy --reason second --approval {id}"), 4, "approval");
    fs::write(&tests, format!("# two\n{text}")).unwrap();
    anna.ok(&format!("apply -f policy --reason second --approval {id}"));
    assert!(anna.ok("get policy").contains("\n 2 "));
}
