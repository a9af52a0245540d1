//! Devices, sites and teams: seen, decided about, cut off, waited for.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::hq::{Hq, Person, sample, without_numbers};

/// The sample estate is in force.
fn estate(test: &str) -> (Hq, Person) {
    let hq = Hq::start(test);
    let anna = hq.anna();
    sample(&hq.here.join("policy"));
    anna.ok("apply -f policy --reason first");
    (hq, anna)
}

/// A device that is granted something.
fn granted(anna: &Person) -> String {
    let first = anna.ok("get devices -o name").lines().next().unwrap().to_owned();
    anna.ok(&format!("wait device {first} --for lease=granted --timeout 60s"));
    first
}

#[test]
fn devices_are_seen_in_every_form() {
    let (hq, anna) = estate("control-get");
    let id = granted(&anna);
    let count = anna.ok("get devices -o name").lines().count();
    assert!(count > 3);
    let json: Value = serde_json::from_str(&anna.ok("get devices -o json")).unwrap();
    assert_eq!(json.as_array().unwrap().len(), count);
    assert_eq!(anna.ok("get devices -o jsonl").lines().count(), count);
    let one: Value = serde_json::from_str(&anna.ok(&format!("get device {id} -o json"))).unwrap();
    assert_eq!(one["id"], Value::from(id.as_str()));
    assert!(anna.ok(&format!("get device {id} -o yaml")).contains(&format!("id: {id}\n")));
    insta::assert_snapshot!("get-devices", hq.same(&anna.ok("get devices")));
    insta::assert_snapshot!("get-devices-wide", hq.same(&anna.ok("get devices -o wide")));
    // How many bundles there were until then depends on how many decisions were made at one time.
    insta::assert_snapshot!("get-sites", without_numbers(&hq.same(&anna.ok("get sites"))));
    insta::assert_snapshot!("get-teams", hq.same(&anna.ok("get teams")));
    insta::assert_snapshot!("get-policy", hq.same(&anna.ok("get policy")));
    insta::assert_snapshot!(
        "describe-device",
        without_numbers(&hq.same(&anna.ok(&format!("describe device {id}"))))
    );
    assert!(anna.ok("get slo").contains("change to decision"));
    let lease = anna.ok(&format!("get leases {id} -o jsonl"));
    let lease: Value = serde_json::from_str(&lease).unwrap();
    let decision = lease["decision"].as_str().unwrap();
    let explained = anna.ok(&format!("explain {decision} --replay"));
    insta::assert_snapshot!("explain", hq.same(&explained));
    assert_eq!(anna.ok(&format!("explain {id} --replay")), explained);

    let none = anna.run("get devices -l type=toaster");
    assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (0, "", "none\n"));
    assert_eq!(anna.ok("get devices -l type=toaster -o json"), "[]\n");
    anna.fails("get devices -l colour=red", 64, "`colour` is no field");
    anna.fails("get sites -l type=plc", 64, "-l: it is for devices");
    anna.fails("get sites --where device.id==\"x\"", 64, "--where: it is for devices");
    let here =
        format!("get devices -o name --where device.id==\"{id}\"&&device.state!=\"retired\"");
    assert_eq!(anna.ok(&here), format!("{id}\n"));
    let found = anna.ok(&format!("get devices -o name --search {}", id.to_uppercase()));
    assert!(found.lines().all(|other| other.contains(&id)), "{found}");
    assert!(found.lines().any(|other| other == id), "{found}");
    let falling = anna.ok("get devices -o name --sort -id");
    let mut rising: Vec<&str> = falling.lines().collect();
    rising.reverse();
    assert_eq!(anna.ok("get devices -o name"), rising.join("\n") + "\n");
    let wrong = anna.run("get devices --where device.typ==\"plc\"");
    assert_eq!(wrong.code, 64);
    insta::assert_snapshot!("where-is-wrong", wrong.err);
    anna.fails("get teams --watch", 64, "only devices and sites");
    anna.fails("get device nobody", 3, "device nobody");
    anna.fails("describe site nowhere", 3, "site nowhere");
    anna.fails("explain nobody", 3, "decision nobody");
    anna.fails("history device nobody", 3, "device.unknown");
    anna.fails("get leases nobody", 3, "device nobody");
}

#[test]
fn what_a_person_decides_is_done_once_and_told() {
    let (hq, anna) = estate("control-edit");
    let id = granted(&anna);
    anna.ok("teams set video --name Video --contact video@example.com --reason new");
    anna.ok("teams set video --escalate-after 30m --reason shifts");
    let team = anna.ok("describe team video");
    assert!(team.contains("video@example.com") && team.contains("30 min"), "{team}");
    anna.ok(&format!(
        "edit device {id} --set name=Gate --set label.rack=B12 --reason walk-through"
    ));
    let again = anna.run(&format!("edit device {id} --set name=Gate --reason walk-through"));
    assert!(again.err.contains("was so already"), "{}", again.err);
    anna.ok(&format!("owner {id} video --reason new-team"));
    anna.fails(&format!("owner {id} nobody --reason x"), 3, "team");
    anna.fails("teams remove video", 4, "video");
    let shown: Value = serde_json::from_str(&anna.ok(&format!("get device {id} -o json"))).unwrap();
    assert_eq!(shown["owner"]["value"], "video");
    assert_eq!(
        (&shown["name"]["value"], &shown["labels"]["rack"]),
        (&"Gate".into(), &"B12".into())
    );

    let all =
        anna.run("edit device -l state=active --set criticality=high --reason line-1 --dry-run");
    assert!(all.err.contains("nothing was changed"), "{}", all.err);
    let all = anna.run("edit device -l label.rack=B12 --set criticality=high --reason line-1");
    assert!(all.err.contains("1 of 1 devices are changed"), "{}", all.err);
    anna.fails("edit device -l type=toaster --set zone=x --reason y", 3, "none is selected");
    let of = "--where device.labels.rack==\"B12\"";
    let all = anna.run(&format!("edit device {of} -l state=active --set label.shelf=2 --reason z"));
    assert!(all.err.contains("1 of 1 devices are changed"), "{}", all.err);
    let all = anna.run(&format!("owner {of} video --reason again"));
    assert!(all.err.contains("0 of 1 devices are changed"), "{}", all.err);
    anna.fails(&format!("owner {of} {id} video --reason again"), 64, "cannot be used with");
    anna.fails("owner video --reason again", 64, "<SELECTOR>");
    let all = anna.run("quarantine --where device.labels.rack==\"B13\" --reason z");
    assert_eq!((all.code, all.err.contains("none is selected")), (3, true), "{}", all.err);
    anna.fails(&format!("edit device {id} --set criticality=huge --reason y"), 1, "criticality");
    anna.fails(&format!("edit device {id} --set zone=x"), 64, "--reason");

    anna.ok(&format!("quarantine {id} --reason it-scans"));
    anna.ok(&format!("wait device {id} --for lease=refused --timeout 60s"));
    anna.ok(&format!("quarantine {id} --lift --reason new-firmware"));
    anna.ok(&format!("wait device {id} --for lease=granted --timeout 60s"));
    anna.fails(&format!("wait device {id} --for state=retired --timeout 1s"), 1, "state=active");
    anna.fails(&format!("wait device {id} --for retired"), 64, "FIELD=VALUE");
    let history = anna.ok(&format!("history device {id} --limit 6"));
    insta::assert_snapshot!("history", without_numbers(&hq.same(&history)));
    anna.ok(&format!("retire device {id} --reason scrapped"));
    anna.ok(&format!("wait device {id} --for state=retired --timeout 5s"));
    // The same of a selection: all of it, or nothing.
    anna.fails("retire device --reason x", 64, "required");
    anna.fails(&format!("retire device {id} -l type=nvr --reason x"), 64, "cannot be used");
    anna.fails("retire device -l colour=red --reason x", 64, "`colour` is no field");
    anna.fails("retire device -l type=toaster --reason x", 3, "");
    anna.fails("wait site -l type=nvr --for verified", 64, "-l: it is for devices");
    anna.fails("wait device -l type=toaster --for state=retired", 3, "no device is selected");
    let dry = anna.run("retire device -l type=nvr --reason x --dry-run");
    assert_eq!((dry.code, &*dry.err), (0, "it is about 2 devices; nothing was changed\n"));
    anna.fails(
        "wait device -l type=nvr --for state=retired --timeout 1s",
        1,
        "2 of 2 are not there",
    );
    let gone = anna.run("retire device --where device.type==\"nvr\" --reason scrapped");
    assert_eq!((gone.code, &*gone.err), (0, "2 of 2 devices are retired\n"));
    let none = anna.run("wait device -l type=nvr,state=active --for state=retired");
    assert_eq!(none.code, 3, "{}", none.err);
    let there = anna.run("wait device -l type=nvr --for state=retired --timeout 5s");
    assert_eq!(there.code, 0, "{}", there.err);
    assert!(there.err.contains("devices type=nvr: state=retired, all 2"), "{}", there.err);
    let again = anna.run("retire device -l type=nvr --reason scrapped");
    assert_eq!((again.code, &*again.err), (0, "0 of 2 devices are retired\n"));
}

#[test]
fn a_view_is_opened_with_its_columns_and_what_is_typed_besides() {
    let (hq, anna) = estate("control-views");
    let id = granted(&anna);
    anna.ok(&format!("edit device {id} --set label.rack=B12 --reason walk-through"));
    anna.ok("views set racked --where !(device.labels.rack==\"\") --columns id,label.rack,mac,zone,last_seen --sort -id --reason walk-through");
    anna.ok("views set everything --columns id --sort -id --reason walk-through");
    anna.fails("views set racked --where device.typ==1 --reason x", 1, "typ");
    anna.fails("views set racked --columns colour --reason x", 1, "colour");
    assert_eq!(anna.ok("get devices --view racked -o name"), format!("{id}\n"));
    assert_eq!(anna.ok("get devices --view racked -l site=nowhere -o json"), "[]\n");
    assert_eq!(anna.ok("get devices --view racked --where false -o json"), "[]\n");
    insta::assert_snapshot!("get-devices-view", hq.same(&anna.ok("get devices --view racked")));
    insta::assert_snapshot!("get-views", hq.same(&anna.ok("get views")));
    let falling = anna.ok("get devices --view everything -o name");
    let mut rising: Vec<&str> = falling.lines().collect();
    rising.reverse();
    assert_eq!(
        anna.ok("get devices --view everything --sort id -o name"),
        rising.join("\n") + "\n"
    );
    assert_eq!(anna.ok("get devices --view racked -o csv").lines().count(), 2);
    anna.ok("views remove racked");
    anna.fails("get devices --view racked", 3, "view racked");
    anna.fails("get sites --view everything", 64, "--view: it is for devices");
}

#[test]
fn what_waits_is_listed_shown_and_decided() {
    let hq = Hq::start("control-decide");
    let anna = hq.anna();
    anna.ok("sites create w1 --reason new");
    let told = |day: u8, keys: &[&str]| {
        let device = |id: &str, keys: &[&str]| {
            json!({
                "id": id, "subject": id, "keys": keys, "first_seen": "2026-01-01T00:00:00Z",
                "last_seen": format!("2026-02-{day:02}T00:00:00Z"),
            })
        };
        let devices = [device("a", keys), device("b", &["mac/00:80:f4:00:00:0b"])];
        let report =
            json!({ "do": "report", "site": "w1", "source": "sensor", "devices": devices });
        let command = estate::Command::Device(serde_json::from_value(report).unwrap());
        let who = controller::hub::itself().unwrap();
        hq.hub.command(&who, "a list", command, Default::default()).unwrap();
    };
    told(1, &["mac/00:80:f4:00:00:0a"]);
    told(2, &["mac/00:80:f4:00:00:0a", "mac/00:80:f4:00:00:0b"]);
    insta::assert_snapshot!("decide", without_numbers(&hq.same(&anna.ok("decide"))));
    let id = anna.ok("decide --kind same-device -o name").trim().to_owned();
    insta::assert_snapshot!(
        "decide-one",
        without_numbers(&hq.same(&anna.ok(&format!("decide {id}"))))
    );
    anna.fails(&format!("decide {id} divide --reason x"), 64, "there are merge, merge-");
    anna.fails(&format!("decide {id} merge"), 64, "--reason");
    anna.fails("decide no-owner-w1 owner --reason x", 64, "ringfence owner");
    anna.fails("decide same-0 merge --reason x", 3, "nothing waits");
    anna.ok(&format!("decide {id} merge --reason new-card"));
    assert_eq!(anna.ok("get devices -o name"), "a\n");
    anna.fails(&format!("decide {id} merge --reason new-card"), 3, "nothing waits");
    assert!(anna.ok("decide -o jsonl").contains("no-owner-w1"));
}

#[test]
fn a_site_is_made_once_and_waits_for_its_box() {
    let hq = Hq::start("control-sites");
    let anna = hq.anna();
    anna.ok("sites create w1 --name Warehouse --reason new");
    anna.fails("sites create w1 --reason new", 4, "w1");
    insta::assert_snapshot!("describe-site", hq.same(&anna.ok("describe site w1")));
    anna.fails("wait site w1 --for enrolled --timeout 1s", 1, "created");
    // One that has neither certificate nor token has nothing that could be revoked.
    anna.ok("sites revoke w1 --reason stolen");
    assert!(anna.ok("get site w1").contains("created"));
    anna.fails("sites revoke w9 --reason stolen", 3, "w9");
}

#[test]
fn a_list_of_many_pages_is_whole() {
    let hq = Hq::start("control-pages");
    let anna = hq.anna();
    anna.ok("sites create w1 --reason new");
    let device = |n: usize| {
        json!({
            "id": format!("d-{n:05}"), "subject": format!("s{n}"), "keys": [format!("serial/ACME/{n}")],
            "first_seen": "2031-01-01T00:00:00Z", "last_seen": "2031-01-01T00:00:00Z",
        })
    };
    let devices: Vec<Value> = (0..2_500).map(device).collect();
    let report =
        json!({ "do": "report", "site": "w1", "source": "import/list", "devices": devices });
    let command = estate::Command::Device(serde_json::from_value(report).unwrap());
    let who = controller::hub::itself().unwrap();
    hq.hub.command(&who, "a list", command, Default::default()).unwrap();
    let names = anna.ok("get devices -o name");
    let names: BTreeSet<&str> = names.lines().collect();
    assert_eq!(names.len(), 2_500);
    let array: Value = serde_json::from_str(&anna.ok("get devices -o json")).unwrap();
    assert_eq!(array.as_array().unwrap().len(), 2_500);
    assert!(anna.ok("describe site w1").contains("devices   2500"));
    let set = anna.run("edit device -l site=w1 --set zone=w1/all --reason x");
    assert!(set.err.contains("takes a second person"), "{}", set.err);
}

#[test]
fn changes_are_heard_as_they_happen() {
    let (hq, anna) = estate("control-watch");
    let id = granted(&anna);
    let watch = |arguments: &str| {
        let mut command = anna.command();
        command.args(arguments.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut watching = watch("get devices -l label.rack --watch -o jsonl");
    let mut listening = watch("events --area device -n 1");
    // Both have begun when they have said so.
    let mut said = BufReader::new(listening.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().contains("from now on"));
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let seen = std::thread::spawn(move || lines.next().unwrap().unwrap());
    // Until it is seen: the watch may begin a little later.
    let mut rack = 0;
    while !seen.is_finished() {
        rack += 1;
        assert!(rack < 500, "nobody hears");
        anna.ok(&format!("edit device {id} --set label.rack={rack} --reason shelf"));
    }
    let line: Value = serde_json::from_str(&seen.join().unwrap()).unwrap();
    assert_eq!(line["id"], Value::from(id.as_str()));
    watching.kill().unwrap();
    watching.wait().unwrap();
    let told = super::hq::ran(listening.wait_with_output().unwrap());
    assert_eq!(told.code, 0);
    assert!(told.out.contains(&format!("device {id} edited: label.rack=1")), "{}", told.out);
    drop(hq);
}

#[test]
fn doctor_says_what_is_wrong_and_what_to_do() {
    let (hq, anna) = estate("control-doctor");
    granted(&anna);
    hq.hub.publish().unwrap();
    let ran = anna.run("doctor");
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.out.contains("has never enrolled"), "{}", ran.out);
    assert!(ran.out.contains("-> `ringfence sites token"), "{}", ran.out);
    let looks: Value = serde_json::from_str(&anna.run("doctor -o json").out).unwrap();
    let wrong = looks.as_array().unwrap().iter().filter(|look| look["state"] == "wrong");
    // How quick this machine is today is no matter here.
    let known = ["sites", "levels"];
    assert!(
        wrong.into_iter().all(|look| known.iter().any(|check| look["check"] == *check)),
        "{looks}"
    );
    for check in ["context", "connection", "health", "clock", "login", "policy", "journal"] {
        let fine = |look: &&Value| look["check"] == check && look["state"] == "fine";
        assert!(looks.as_array().unwrap().iter().any(|look| fine(&look)), "{check}: {looks}");
    }
    let gone = anna.run_with("doctor", &[("RINGFENCE_SERVER", "https://127.0.0.1:1")]);
    assert_eq!(gone.code, 1);
    assert!(gone.out.contains("!!  connection"), "{}", gone.out);
    assert_eq!(hq.person("nobody").run("doctor").code, 1);
}
