//! Lists of devices on the command line: shown first, then done, and given out again.

use std::fs;

use super::hq::{Hq, sample};

const LIST: &str = "mac;vendor;serial;name;owner;label.rack\r\n\
                    00:80:f4:00:00:01;Schneider;17;Line 1;night;B12\r\n\
                    00:80:f4:00:00:02;Schneider;18;;;\r\n\
                    00:80:f4:00:00:03;;;;nobody;\r\n";

#[test]
fn a_list_is_shown_then_taken_in_then_given_out() {
    let hq = Hq::start("control-import");
    let anna = hq.anna();
    sample(&hq.here.join("policy"));
    anna.ok("apply -f policy --reason first");
    anna.ok("teams set night --contact night@example.com --reason new");
    let sites = anna.ok("get sites -o name");
    let site = sites.lines().next().unwrap();
    fs::write(hq.here.join("list.csv"), LIST).unwrap();

    let dry = format!("import list.csv --site {site} --dry-run");
    let shown = anna.run(&dry);
    assert_eq!(shown.code, 1, "a row is refused: {}", shown.err);
    insta::assert_snapshot!("import-dry", hq.same(&shown.out));
    assert_eq!(anna.run(&dry).out, shown.out);
    anna.fails("import list.csv --site w1", 64, "--reason");
    anna.fails("import nowhere.csv --dry-run", 1, "nowhere.csv");

    let good: String = LIST.lines().take(3).map(|line| format!("{line}\n")).collect();
    fs::write(hq.here.join("good.csv"), good).unwrap();
    let detailed = format!("import good.csv --site {site} --dry-run --detailed-exitcode");
    assert_eq!(anna.run(&detailed).code, 2);
    let done = anna.ok(&format!("import good.csv --site {site} --reason delivery"));
    assert!(done.contains("2 new, 0 changed, 0 same"), "{done}");
    let again = anna.ok(&format!("import good.csv --site {site} --why delivery"));
    assert!(again.contains("0 new, 0 changed, 2 same"), "{again}");
    assert_eq!(anna.run(&detailed).code, 0);

    let table = anna.ok("get devices -o csv");
    assert_eq!(table.lines().count(), anna.ok("get devices -o name").lines().count() + 1);
    fs::write(hq.here.join("all.csv"), &table).unwrap();
    let same = anna.ok("import all.csv --reason again");
    assert!(same.contains("0 new, 0 changed"), "{same}");
    assert_eq!(anna.ok("get devices -o csv"), table);
    anna.fails("get sites -o csv", 64, "lists of devices");

    let leases =
        "4102444800 24:0a:c4:00:00:05 10.7.0.5 cam-5 *\n1 24:0a:c4:00:00:06 10.7.0.6 x *\n";
    fs::write(hq.here.join("dnsmasq.leases"), leases).unwrap();
    let done = anna.ok(&format!("import dnsmasq.leases --site {site} --reason hourly"));
    assert!(
        done.contains("1 new, 0 changed, 0 same, 0 refused, 1 ended as leases/dnsmasq"),
        "{done}"
    );
}
