//! Folders that a person changed: faults with file and line, exceptions, tests and claims.

use std::collections::BTreeMap;

use policy::check;
use policy::compile::{CompileError, ruleset};
use policy::draft::{DraftOptions, draft};
use policy::evaluate::{Why, evaluate};
use policy::folder::{self, Folder, Treatment, Weekday};
use policy::lower::lower;

use crate::sample::{TCP, at, warehouse};

fn files() -> BTreeMap<String, String> {
    draft(&warehouse(), &DraftOptions::default()).files
}

/// The folder with one text replaced in one file.
fn changed(file: &str, from: &str, to: &str) -> BTreeMap<String, String> {
    let mut files = files();
    let text = files.get_mut(file).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    *text = text.replacen(from, to, 1);
    files
}

fn added(file: &str, text: &str) -> BTreeMap<String, String> {
    let mut files = files();
    files.get_mut(file).unwrap().push_str(text);
    files
}

/// There is a fault about `what` in `file`, at the last line that contains `at`.
fn check_fault(files: &BTreeMap<String, String>, file: &str, at: &str, what: &str) {
    let faults = folder::parse(files).unwrap_err();
    let lines: Vec<&str> = files.get(file).map_or("", String::as_str).lines().collect();
    let line = lines.iter().rposition(|line| line.contains(at)).map_or(0, |i| i + 1);
    let line = if at.is_empty() { 0 } else { u32::try_from(line).unwrap() };
    let found =
        faults.iter().any(|f| f.file == file && f.line == line && f.to_string().contains(what));
    assert!(found, "{file}:{line} {what}: {faults:#?}");
    assert!(faults.iter().all(|f| !f.why.is_empty()), "{faults:#?}");
}

#[test]
fn faults_in_the_estate() {
    let file = "estate.toml";
    for (from, to, at, what) in [
        ("format = \"", "format = \"x", "format =", "unknown format"),
        ("[[site]]", "[[sight]]", "[[sight]]", "sight"),
        ("10.0.1.12", "10.0.1.1222", "10.0.1.1222", "not an IP address"),
        ("02:00:00:00:00:03", "02:xx", "02:xx", "wrong value"),
        ("10.0.1.12", "10.0.1.13", "\"10.0.1.13\"", "claimed twice"),
        ("type = \"nvr\"", "type = \"\"", "type = \"\"", "empty value"),
        ("mode = \"enforce\"", "mode = \"maybe\"", "maybe", "unknown variant"),
        ("protocol = \"tcp\"", "protocol = \"tcpp\"", "tcpp", "unknown variant"),
        ("port = 554", "port = 70000", "70000", "not understood"),
        ("device = \"nvr\"", "device = \"nvx\"", "nvx", "unknown device `nvx`"),
        ("owner = \"\"", "owner = \"nobody\"", "nobody", "unknown owner"),
        ("rule = \"nvr-", "rule = \"nvx-", "nvx-", "unknown policy"),
        ("mode = \"enforce\"", "share = 101", "share = 101", "101 is not: a share"),
        ("mode = \"enforce\"", "security_level = 5", "level = 5", "security levels are 0 to 4"),
        ("mode = \"enforce\"", "vlan = 4095", "vlan = 4095", "a VLAN is 1 to 4094"),
        ("mode = \"enforce\"", "vlan = 0", "vlan = 0", "a VLAN is 1 to 4094"),
        ("mode = \"enforce\"", "vlan = -1", "vlan = -1", "a VLAN is 1 to 4094"),
        ("mode = \"enforce\"", "otherwise = \"x\"", "otherwise", "both or none"),
        (
            "mode = \"enforce\"",
            "assurance_min = \"vouched\"",
            "assurance_min = \"vouched\"",
            "both or none",
        ),
        (
            "mode = \"enforce\"",
            "assurance_min = \"known\"\notherwise = \"x\"",
            "\"known\"",
            "unknown assurance_min `known`",
        ),
        (
            "mode = \"enforce\"",
            "assurance_min = \"vouched\"\notherwise = \"x\"",
            "otherwise",
            "unknown zone `x`",
        ),
        ("owner = \"\"", "treatment = { mdns = \"maybe\" }", "= \"maybe\"", "unknown variant"),
        ("owner = \"\"", "treatment = { slp = \"deny\" }", "{ slp", "unknown field"),
        ("[\"base\"]", "[\"base\", \"base\"]", "packs", "duplicate pack"),
    ] {
        check_fault(&changed(file, from, to), file, at, what);
    }
    for (text, at, what) in [
        ("[[owner]]\nid = \"it\"\n[[owner]]\nid = \"it\"\n", "id = \"it\"", "duplicate owner"),
        (
            "[[zone]]\nid = \"yard\"\nsite = \"main\"\nclass = \"yard\"\nassurance_min = \"vouched\"\notherwise = \"external\"\n",
            "otherwise",
            "it is at another site",
        ),
        (
            "[[device]]\nid = \"gw\"\ntype = \"x\"\nzone = \"groups\"\n",
            "id = \"gw\"",
            "duplicate device",
        ),
        (
            "[[service]]\nid = \"lost\"\nscope = \"external\"\nzone = \"external\"\nprotocol = \"tcp\"\nport = 1\n",
            "\"lost\"",
            "has no address",
        ),
        ("[[group]]\nid = \"g\"\nservices = [\"ghost\"]\n", "ghost", "unknown service `ghost`"),
        (
            "[[zone]]\nid = \"z\"\nclass = \"tills\"\nsite = \"mars\"\n",
            "mars",
            "unknown site `mars`",
        ),
        (
            "[[maintenance]]\nsite = \"mars\"\ndays = [\"sat\"]\nfrom = 1\nto = 2\n",
            "mars",
            "unknown site `mars`",
        ),
        (
            "[[maintenance]]\nsite = \"main\"\ndays = []\nfrom = 1\nto = 2\n",
            "days",
            "at least one day",
        ),
        (
            "[[maintenance]]\nsite = \"main\"\ndays = [\"noday\"]\nfrom = 1\nto = 2\n",
            "noday",
            "unknown variant",
        ),
        (
            "[[maintenance]]\nsite = \"main\"\ndays = [\"sat\"]\nfrom = 24\nto = 2\n",
            "from = 24",
            "hour from 0 to 23",
        ),
        ("[[zone]]\nid = \"z\"\nklass = \"tills\"\n", "klass", "klass"),
    ] {
        check_fault(&added(file, text), file, at, what);
    }
}

/// A zone of the site `main` that asks for a level.
fn asking(id: &str, asks: Option<(&str, &str)>) -> String {
    let asks = asks.map_or(String::new(), |(level, otherwise)| {
        format!("assurance_min = \"{level}\"\notherwise = \"{otherwise}\"\n")
    });
    format!("[[zone]]\nid = \"{id}\"\nsite = \"main\"\nclass = \"{id}\"\nvlan = 7\n{asks}")
}

#[test]
fn devices_are_where_their_level_lets_them_be() {
    for (level, zone) in [
        ("observed", "landing"),
        ("vouched", "vouched"),
        ("shared-secret", "vouched"),
        ("device-key", "plant"),
        ("attested", "plant"),
    ] {
        let mut files = files();
        let text = files.get_mut("estate.toml").unwrap();
        text.push_str(&asking("plant", Some(("device-key", "vouched"))));
        text.push_str(&asking("vouched", Some(("vouched", "landing"))));
        text.push_str(&asking("landing", None));
        text.push_str(&format!(
            "[[device]]\nid = \"robot\"\ntype = \"robot\"\nzone = \"plant\"\nassurance = \"{level}\"\n"
        ));
        let read = parsed(&files);
        let robot = read.estate.devices.iter().find(|device| device.id.as_str() == "robot");
        let robot = robot.unwrap();
        assert_eq!((robot.zone.as_str(), robot.meant()), (zone, "plant"), "{level}");
        let again = parsed(&read.files());
        assert_eq!(again.estate.zones, read.estate.zones);
        assert_eq!(again.estate.devices, read.estate.devices);
    }
    // In a circle, and to one that asks for as much.
    for (first, second) in [("vouched", "device-key"), ("vouched", "vouched")] {
        let mut files = files();
        let text = files.get_mut("estate.toml").unwrap();
        text.push_str(&asking("plant", Some((first, "yard"))));
        text.push_str(&asking("yard", Some((second, "plant"))));
        check_fault(&files, "estate.toml", "otherwise = \"yard\"", "it asks for as much or more");
    }
}

#[test]
fn the_lowest_and_the_highest_vlan_are_good() {
    for vlan in [folder::VLAN_MIN, folder::VLAN_MAX] {
        let to = format!("mode = \"enforce\"\nvlan = {vlan}");
        let read = parsed(&changed("estate.toml", "mode = \"enforce\"", &to));
        assert_eq!(read.estate.zones[0].vlan, Some(vlan));
        assert_eq!(parsed(&read.files()).estate.zones, read.estate.zones);
    }
}

#[test]
fn what_a_zone_declares_is_read_and_written() {
    let mut files = changed(
        "estate.toml",
        "mode = \"enforce\"",
        "mode = \"enforce\"\nshare = 20\nsecurity_level = 3\ntreatment = { mdns = \"within-zone\", goose = \"permit\" }",
    );
    let text = files.get_mut("estate.toml").unwrap();
    *text = text.replacen("[\"base\"]", "[\"base\", \"retail\"]", 1);
    text.push_str(
        "[[maintenance]]\nsite = \"main\"\ndays = [\"sat\", \"sun\"]\nfrom = 22\nto = 4\n",
    );
    let mut read = parsed(&files);
    let zone = read.estate.zones.first().unwrap();
    assert_eq!((zone.share, zone.security_level), (Some(20), Some(3)));
    assert_eq!(zone.treatment.mdns, Some(Treatment::WithinZone));
    assert_eq!((zone.treatment.goose, zone.treatment.ssdp), (Some(Treatment::Permit), None));
    assert_eq!(read.estate.packs, ["base", "retail"]);
    assert!(read.estate.maintenance.first().unwrap().covers(Weekday::Monday, 3));
    let mut again = parsed(&read.files());
    for window in read.estate.maintenance.iter_mut().chain(&mut again.estate.maintenance) {
        window.line = 0;
    }
    assert_eq!(again.estate, read.estate);
}

#[test]
fn faults_in_other_files() {
    let exception = |owner: &str, expires: &str| {
        let head = "[[exception]]\nid = \"e\"\nfrom = \"cam-1\"\nto = \"svc:files/tcp/445\"\n";
        format!("{head}owner = \"{owner}\"\nreason = \"r\"\nexpires = \"{expires}\"\n")
    };
    let day = "2031-01-01T00:00:00Z";
    for (file, text, at, what) in [
        (
            "tests.toml",
            "[[allow]]\nfrom = \"ghost\"\nto = \"svc:nvr/icmp/8\"\n",
            "ghost",
            "unknown device",
        ),
        ("tests.toml", "[[reach]]\nzone = \"nowhere\"\n", "nowhere", "unknown zone"),
        (
            "claims.toml",
            "[[claim]]\nid = \"c\"\nfrom = \"zebras\"\nnever = \"tills\"\n",
            "id = \"c\"",
            "zebras",
        ),
        ("exceptions.toml", &exception("", day), "owner = \"\"", "empty value"),
        ("exceptions.toml", &exception("it", day), "owner = \"it\"", "unknown owner"),
        ("exceptions.toml", &exception("it", "soon"), "soon", "not an RFC 3339 instant"),
        ("exceptions.toml", "[[exception]]\nid = \"e\"\nfrom = \"cam-1\"\n", "", ""),
        (
            "policies/cameras.cedar",
            "@id(\"x\") permit (principal in Zone::\"cats\", action, resource);",
            "cats",
            "unknown Zone `cats`",
        ),
        (
            "policies/cameras.cedar",
            "permit (principal, action, resource",
            "permit (principal, action, resource",
            "not understood",
        ),
        (
            "policies/cameras.cedar",
            "@id(\"base.no-owner\") forbid (principal, action, resource);",
            "resource);",
            "duplicate policy id",
        ),
        (
            "policies/cameras.cedar",
            "@id(\"x\") permit (principal, action, resource) when { principal.port == 1 };",
            "principal.port",
            "not valid",
        ),
    ] {
        let files = added(file, text);
        if at.is_empty() {
            assert!(
                folder::parse(&files).unwrap_err().iter().all(|f| f.file == file && f.line > 0)
            );
        } else {
            check_fault(&files, file, at, what);
        }
    }
    for file in
        ["tests.toml", "claims.toml", "exceptions.toml", "estate.toml", "schema.cedarschema"]
    {
        let mut files = files();
        files.remove(file);
        check_fault(&files, file, "", "missing file");
    }
    check_fault(&added("schema.cedarschema", "\nentity"), "schema.cedarschema", "entity", "schema");
}

#[test]
fn words_that_policies_compare_with_are_checked() {
    let check = |after: &str, line: &str, expect: &str| {
        let mut files = files();
        let text = files.get_mut("estate.toml").unwrap();
        // Each is said once.
        *text = text.replace("assurance_min = \"observed\"\n", "");
        *text = text.replacen(after, &format!("{after}{line}\n"), 1);
        let (before, _) = text.split_once(line).unwrap();
        let (row, column) = (before.lines().count() + 1, line.find('"').unwrap() + 1);
        match folder::parse(&files) {
            Ok(_) => assert_eq!(expect, ""),
            Err(faults) => assert_eq!(
                faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
                [format!("estate.toml:{row}:{column}: {expect}")]
            ),
        }
    };
    let (device, service) = ("id = \"hmi\"\n", "id = \"svc:pay/tcp/443\"\n");
    check(device, "posture = \"quarantined\"", "");
    check(
        device,
        "posture = \"quarantine\"",
        "unknown posture `quarantine`: it is one of `normal`, `watched`, `quarantined` (did you mean `quarantined`?)",
    );
    check(
        device,
        "support = \"eol\"",
        "unknown support `eol`: it is one of `supported`, `ending`, `ended`, `unknown`",
    );
    check(
        device,
        "exposure = \"known_exploited\"",
        "unknown exposure `known_exploited`: it is one of `none`, `vulnerable`, `known-exploited`, `unknown` (did you mean `known-exploited`?)",
    );
    let ladder = "it is one of `observed`, `vouched`, `shared-secret`, `device-key`, `hardware-key`, `attested`";
    check(
        service,
        "assurance_min = \"devicekey\"",
        &format!("unknown assurance_min `devicekey`: {ladder} (did you mean `device-key`?)"),
    );
}

fn parsed(files: &BTreeMap<String, String>) -> Folder {
    folder::parse(files).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// The warehouse with an owner and one exception.
fn excepted(from: &str, to: &str) -> Folder {
    let mut files = added("estate.toml", "[[owner]]\nid = \"it\"\n");
    let text = format!(
        "[[exception]]\nid = \"visit\"\nfrom = \"{from}\"\nto = \"{to}\"\nowner = \"it\"\nreason = \"r\"\nexpires = \"{}\"\n",
        at(1000)
    );
    files.get_mut("exceptions.toml").unwrap().push_str(&text);
    parsed(&files)
}

#[test]
fn an_exception_opens_one_path_and_ends() {
    let folder = excepted("cam-2", "svc:files/tcp/445");
    let compiled = ruleset(&folder, 1, None).unwrap();
    let [exception] = compiled.exceptions.as_slice() else { panic!("{:?}", compiled.exceptions) };
    assert_eq!((exception.from.to_string(), exception.expires), ("10.0.1.12".to_owned(), at(1000)));
    let member = compiled.members.iter().find(|m| m.ip == exception.from).unwrap();
    let verdict = evaluate(&compiled, (member.mac, member.ip), exception.to, TCP, 445);
    assert_eq!((verdict.allowed, verdict.why), (true, Why::Exception("visit".to_owned())));
    assert!(!evaluate(&compiled, (member.mac, member.ip), exception.to, TCP, 446).allowed);
    assert_eq!(folder.expired(at(999)).count(), 0);
    assert_eq!(folder.expired(at(1000)).count(), 1);
}

#[test]
fn an_exception_lifts_no_forbid_and_needs_addresses() {
    let error = ruleset(&excepted("cam-2", "svc:files/tcp/23"), 1, None).unwrap_err();
    assert!(
        matches!(&error, CompileError::ExceptionForbidden { policy, .. } if policy == "base.cleartext-admin")
    );
    assert!(error.to_string().contains("pack:base/cleartext.cedar:"), "{error}");
    let error = ruleset(&excepted("plc-1-slot-3", "svc:files/tcp/445"), 1, None).unwrap_err();
    assert!(matches!(error, CompileError::ExceptionWithoutAddress { .. }), "{error}");
}

#[test]
fn broken_tests_and_claims_name_the_policy() {
    let check = |policy: &str, expect: &[&str]| {
        let folder = parsed(&added("policies/tills.cedar", policy));
        let broken = check::run(&folder, &lower(&folder));
        let all: String = broken.iter().map(|f| format!("{f}\n")).collect();
        assert!(broken.iter().all(|f| f.line > 0), "{all}");
        for expect in expect {
            assert!(all.contains(expect), "{expect}: {all}");
        }
        assert_eq!(broken.is_empty(), expect.is_empty(), "{all}");
    };
    check("", &[]);
    check(
        "@id(\"oops\") permit (principal in DeviceType::\"ip-camera\", action, resource == Service::\"svc:till-1/tcp/443\");",
        &[
            "cam-2 to svc:till-1/tcp/443 must be denied: `oops` grants it (policies/tills.cedar:",
            "claim `cameras-never-tills`: cameras never reach tills: cam-1 reaches svc:till-1/tcp/443: `oops`",
            "zone main/cameras/10.0.1.0-24 must reach at most",
        ],
    );
    check(
        "@id(\"hop\") permit (principal == Device::\"nvr\", action, resource == Service::\"svc:till-1/tcp/443\");",
        &["claim `cameras-never-tills`", "nvr, which it reaches by hopping, reaches"],
    );
    check(
        "@id(\"no\") forbid (principal == Device::\"hmi\", action, resource);",
        &["hmi to svc:plc-1/tcp/502 must be allowed: no policy grants it"],
    );
    check(
        "@id(\"later\") @mode(\"shadow\") forbid (principal == Device::\"hmi\", action, resource);",
        &[],
    );
    check("@id(\"other\") forbid (principal, action == Action::\"publish\", resource);", &[]);
}

#[test]
fn ceilings_owners_and_quarantine_bite() {
    let granted = |files: &BTreeMap<String, String>| {
        let folder = parsed(files);
        let index =
            |id: &str| folder.estate.devices.iter().position(|d| d.id.as_str() == id).unwrap();
        let service =
            folder.estate.services.iter().position(|s| s.id.as_str() == "svc:pay/tcp/443");
        lower(&folder).grant(index("till-1"), service.unwrap()).is_some()
    };
    assert!(granted(&files()));
    let service = "id = \"svc:pay/tcp/443\"\n";
    let zone = "id = \"main/tills/10.0.3.0-24\"\nsite = \"main\"\nclass = \"tills\"\nsubnet = \"10.0.3.0/24\"\nmode = \"enforce\"\nowner = \"\"";
    let mut files = changed("estate.toml", service, &format!("{service}sensitive = true\n"));
    assert!(!granted(&files), "nobody owns the till");
    let text = files.get_mut("estate.toml").unwrap();
    *text = text.replace(zone, &zone.replace("owner = \"\"", "owner = \"it\""))
        + "[[owner]]\nid = \"it\"\n";
    assert!(granted(&files), "its zone's owner answers for it");
    let text = files.get_mut("estate.toml").unwrap();
    let (before, after) = text.split_once(service).unwrap();
    let after = after.replacen("assurance_min = \"observed\"", "assurance_min = \"vouched\"", 1);
    *text = format!("{before}{service}{after}");
    assert!(!granted(&files), "an observed device stays below the ceiling");
    let till = "id = \"till-1\"\n";
    let text = files.get_mut("estate.toml").unwrap();
    *text = text.replace(till, &format!("{till}assurance = \"device-key\"\n"));
    assert!(granted(&files));
    let text = files.get_mut("estate.toml").unwrap();
    *text = text.replace(till, &format!("{till}posture = \"quarantined\"\n"));
    assert!(!granted(&files));
}
