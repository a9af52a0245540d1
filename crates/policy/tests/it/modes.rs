//! Shadow, shares, terms and moments: what a policy does while it does not decide, and when it does.

use model::ruleset::Mode;
use policy::cedar::{self, Oracle};
use policy::compile::{ruleset, ruleset_at};
use policy::decide::{Action, Ask, Decider, View};
use policy::draft::{DraftOptions, draft};
use policy::evaluate::evaluate;
use policy::folder::{Folder, Maintenance, Weekday};
use policy::lower::{Change, lower, lower_at};
use policy::moment::{Moment, next_change};

use crate::sample::{Sample, TCP};

/// Cameras that a recorder may read, and these policies.
fn folder(policies: &str) -> Folder {
    let mut s = Sample::new(60);
    s.device("nvr", "nvr", &["10.0.0.100"]);
    for n in 1..=20u8 {
        let (camera, ip) = (format!("cam-{n}"), format!("10.0.0.{n}"));
        s.device(&camera, "ip-camera", &[&ip]);
        s.service(&camera, "", &[&ip], TCP, 554, "rtsp");
    }
    s.service("nvr", "", &["10.0.0.100"], TCP, 443, "https");
    let mut folder = draft(&s.0, &DraftOptions::default()).folder;
    folder.policies.clear();
    let files = [("policies/x.cedar", policies)];
    cedar::validate(&folder.schema, &files).unwrap();
    folder.policies = cedar::read_all(&files).unwrap();
    folder
}

const NVR: &str = "@id(\"nvr\")\n@rate(\"600/m\")\n@log(\"\")\n@mqtt(\"telemetry\")\n\
    permit (principal in DeviceType::\"nvr\", action == Action::\"connect\", resource) when { resource.port == 554 };\n";
const CAMERAS: &str = "permit (principal in DeviceType::\"ip-camera\", action, resource) when { resource.port == 443 };\n";

#[test]
fn a_permit_in_shadow_is_proposed() {
    let folder = folder(&format!("{NVR}@id(\"cams\")\n@mode(\"shadow\")\n{CAMERAS}"));
    let compiled = ruleset(&folder, 1, None).unwrap();
    assert!(compiled.permits.iter().all(|p| p.rule == "nvr"));
    assert!(!compiled.proposed.is_empty() && compiled.proposed.iter().all(|p| p.rule == "cams"));
    let terms = &compiled.permits[0].terms;
    assert_eq!((terms.rate_per_second, terms.log), (Some(10), true));
    assert_eq!(terms.application["mqtt"], "telemetry");
}

#[test]
fn a_forbid_in_shadow_closes_nothing_and_is_named() {
    let forbid = "@id(\"no\")\n@mode(\"shadow\")\nforbid (principal, action, resource) when { principal.owner == \"\" };\n";
    let compiled = ruleset(&folder(&format!("{NVR}{forbid}")), 1, None).unwrap();
    assert!(!compiled.permits.is_empty() && compiled.proposed.is_empty());
    assert!(compiled.permits.iter().all(|p| p.terms.closing.as_deref() == Some("no")));
}

#[test]
fn a_share_of_devices_is_enforced_first() {
    let folder = folder(&format!("@id(\"cams\")\n@share(\"30%\")\n{CAMERAS}"));
    let lowered = lower(&folder);
    let (mut granted, mut proposed) = (0, 0);
    for (i, device) in folder.estate.devices.iter().enumerate() {
        let held = policy::share::holds(device.id.as_str(), 30) && device.kind == "ip-camera";
        assert_eq!(!lowered.grants(i).is_empty(), held, "{}", device.id);
        let shadows = lowered.shadows(lowered.profile_of[i]);
        assert!(shadows.iter().all(|s| s.change == Change::Open));
        granted += usize::from(held);
        proposed += shadows.len();
    }
    assert!(granted > 0 && granted + proposed == 20, "{granted} {proposed}");
    let oracle = Oracle::new(&folder).unwrap();
    for d in 0..folder.estate.devices.len() {
        for s in 0..folder.estate.services.len() {
            assert_eq!(oracle.allows(d, s), Ok(lowered.grant(d, s).is_some()));
        }
    }
}

#[test]
fn strangers_pass_while_every_zone_with_devices_is_in_shadow() {
    let cloud =
        "@id(\"out\") permit (principal, action, resource) when { resource.port == 123 };\n";
    let mut folder = folder(&format!("{NVR}{cloud}"));
    let mut time = folder.estate.services[0].clone();
    time.id = model::ServiceId::new("svc:time/udp/123").unwrap();
    (time.device, time.transport, time.port) = (None, model::observation::Transport::Udp, 123);
    time.addresses = vec!["192.0.2.1".parse().unwrap()];
    folder.estate.services.push(time);
    let stranger = (model::Mac([2, 9, 9, 9, 9, 9]), "10.0.0.200".parse().unwrap());
    let check = |folder: &Folder, expect: Mode| {
        let compiled = ruleset(folder, 1, None).unwrap();
        let strangers = evaluate(&compiled, stranger, "192.0.2.1".parse().unwrap(), TCP, 80);
        assert_eq!((strangers.allowed, strangers.mode), (false, expect));
        let all = compiled.classes.values().all(|class| class.mode == Mode::Shadow);
        assert_eq!(all, expect == Mode::Shadow, "{:#?}", compiled.classes);
        let peers: Vec<_> = compiled.peers.iter().map(|p| &compiled.classes[&p.class]).collect();
        assert!(peers.len() >= 3 && peers.iter().all(|class| class.mode == expect), "{peers:#?}");
    };
    let populated: Vec<String> = folder.estate.devices.iter().map(|d| d.zone.clone()).collect();
    for zone in &mut folder.estate.zones {
        zone.treatment.mdns = Some(policy::folder::Treatment::Permit);
        // Zones of destinations only do not count.
        zone.mode = if populated.contains(&zone.id) { Mode::Shadow } else { Mode::Enforce };
    }
    check(&folder, Mode::Shadow);
    let zone = folder.estate.zones.iter_mut().find(|zone| populated.contains(&zone.id)).unwrap();
    (zone.mode, zone.share) = (Mode::Enforce, Some(0));
    check(&folder, Mode::Shadow);
    // The first device that is enforced closes the site to strangers.
    let zone = folder.estate.zones.iter_mut().find(|zone| populated.contains(&zone.id)).unwrap();
    zone.share = None;
    check(&folder, Mode::Enforce);
}

#[test]
fn a_share_of_a_zone_is_enforced_the_rest_is_in_shadow() {
    let mut folder = folder(NVR);
    for zone in &mut folder.estate.zones {
        zone.share = Some(50);
    }
    let compiled = ruleset(&folder, 1, None).unwrap();
    for member in &compiled.members {
        let held = policy::share::holds(member.device.as_str(), 50);
        let mode = if held { Mode::Enforce } else { Mode::Shadow };
        assert_eq!(compiled.classes[&member.class].mode, mode, "{}", member.device);
    }
}

#[test]
fn hours_and_windows_open_and_close_paths() {
    let by_day = "@id(\"day\")\npermit (principal in DeviceType::\"nvr\", action, resource) when { context has hour && context.hour >= 8 && context.hour < 18 };\n";
    let folder_by_day = folder(by_day);
    let check = |folder: &Folder, day, hour, expect: bool| {
        let compiled = ruleset_at(folder, Moment::at(day, hour), 1, None).unwrap();
        assert_eq!(!compiled.permits.is_empty(), expect, "{day} {hour}");
    };
    for (hour, expect) in [(7, false), (8, true), (17, true), (18, false)] {
        check(&folder_by_day, Weekday::Monday, hour, expect);
    }
    // Without a clock nothing that needs one is granted.
    assert!(ruleset(&folder_by_day, 1, None).unwrap().permits.is_empty());
    let next = |folder: &Folder, day, hour| next_change(folder, Moment::at(day, hour));
    assert_eq!(next(&folder_by_day, Weekday::Monday, 5), Some(3));
    assert_eq!(next(&folder_by_day, Weekday::Monday, 8), Some(10));
    assert_eq!(next(&folder(NVR), Weekday::Monday, 8), None);
    assert_eq!(next_change(&folder_by_day, Moment::default()), None);

    let window = "@id(\"window\")\npermit (principal in DeviceType::\"nvr\", action, resource) when { context has maintenance && context.maintenance };\n";
    let mut folder = folder(window);
    let site = folder.estate.sites[0].id.clone();
    let days = vec![Weekday::Saturday];
    folder.estate.maintenance = vec![Maintenance { site, days, from: 22, to: 2, line: 0 }];
    for (day, hour, expect) in [
        (Weekday::Saturday, 21, false),
        (Weekday::Saturday, 22, true),
        (Weekday::Sunday, 1, true),
        (Weekday::Sunday, 2, false),
    ] {
        check(&folder, day, hour, expect);
    }
    assert_eq!(next(&folder, Weekday::Sunday, 1), Some(1));
    assert_eq!(next(&folder, Weekday::Sunday, 2), Some(6 * 24 + 20));
}

#[test]
fn what_cannot_be_compiled_runs_on_cedar_and_is_listed() {
    let folder = folder(
        "@id(\"sum\")\npermit (principal in DeviceType::\"nvr\", action, resource) when { resource.port + principal.assurance == 554 };\n\
         @id(\"no\")\nforbid (principal, action, resource == Service::\"svc:cam-3/tcp/554\") when { resource.port * 2 > 1000 };\n",
    );
    let decider = Decider::new(&folder, View::Today);
    let on_cedar: Vec<String> = decider.on_cedar().into_iter().map(|p| p.policy).collect();
    assert_eq!(on_cedar, ["no", "sum"]);
    let told = policy::check::on_cedar(&folder);
    assert_eq!(told.len(), 2);
    assert!(told[0].starts_with("policies/x.cedar:3: `no` runs on Cedar: "), "{told:?}");
    let (oracle, lowered) = (Oracle::new(&folder).unwrap(), lower(&folder));
    let mut granted = 0;
    for d in 0..folder.estate.devices.len() {
        for s in 0..folder.estate.services.len() {
            let allowed = oracle.allows(d, s).unwrap();
            assert_eq!(lowered.grant(d, s).is_some(), allowed);
            granted += usize::from(allowed);
        }
    }
    assert_eq!(granted, 19);
}

/// Sets inside sets of conditions need room that the machine may not have; the answer is Cedar's all the same.
#[test]
fn deep_and_wide_conditions_mean_what_cedar_says() {
    let mut deep = "context.port == 554".to_owned();
    for n in 0..12 {
        deep = format!("[true, {n} == 3].containsAll([({deep})])");
    }
    let mut nested = "context.port == 554".to_owned();
    for n in 0..60 {
        nested = format!("({nested}) && !(principal.assurance > {})", 10 + n);
    }
    let ports: Vec<String> = (0..400).map(|n| (300 + n).to_string()).collect();
    let folder = folder(&format!(
        "@id(\"deep\")\npermit (principal, action, resource) when {{ {deep} }};\n\
         @id(\"nested\")\nforbid (principal in DeviceType::\"ip-camera\", action, resource) when {{ {nested} }};\n\
         @id(\"wide\")\nforbid (principal, action, resource) unless {{ [{}].contains(context.port) }};\n",
        ports.join(", ")
    ));
    let (oracle, decider) = (Oracle::new(&folder).unwrap(), Decider::new(&folder, View::Today));
    let mut allowed = 0;
    for device in 0..folder.estate.devices.len() {
        for service in 0..folder.estate.services.len() {
            for port in [299, 300, 443, 554, 699, 700] {
                let moment = Moment::at(Weekday::Friday, 23);
                let ask =
                    Ask { device, service, action: Action::Connect, transport: TCP, port, moment };
                let decision = decider.decide(&ask);
                assert_eq!(oracle.decide(&ask), Ok(decision.allowed), "{ask:?}");
                allowed += usize::from(decision.allowed);
            }
        }
    }
    assert!(allowed > 0);
}

#[test]
fn the_matrix_is_its_decisions() {
    let folder = folder(&format!(
        "{NVR}@id(\"cams\")\n{CAMERAS}@id(\"own\")\npermit (principal, action, resource) when {{ resource has device && resource.device == principal }};\n\
         @id(\"top\")\nforbid (principal, action, resource) when {{ context.port == 443 && principal.assurance < 1 && principal.owner == resource.owner }};\n\
         @id(\"class\")\npermit (principal, action, resource) when {{ principal.zone.class == \"recorders\" && (context.protocol == \"udp\" || resource.sensitive) }};\n\
         @id(\"site\")\npermit (principal, action, resource) when {{ context.port == 53 && resource has site && resource has device && principal.site == resource.site && principal.type == resource.device.type }};\n\
         @id(\"other\")\nforbid (principal, action, resource) when {{ if principal.support == \"ended\" then context.port == 554 else principal.posture == resource.owner }};\n"
    ));
    let decider = Decider::new(&folder, View::Today);
    let paths = [(TCP, 554), (TCP, 443), (model::observation::Transport::Udp, 53)];
    let matrix = decider.matrix(Action::Connect, &paths, Moment::default());
    let mut allowed = 0;
    for device in 0..folder.estate.devices.len() {
        for service in 0..folder.estate.services.len() {
            for (path, (transport, port)) in paths.iter().enumerate() {
                let (transport, port, moment) = (*transport, *port, Moment::default());
                let ask = Ask { device, service, action: Action::Connect, transport, port, moment };
                let decided = decider.decide(&ask).allowed;
                assert_eq!(matrix.allows(device, service, path), decided, "{ask:?}");
                allowed += u64::from(decided);
            }
        }
    }
    assert_eq!(matrix.allowed(), allowed);
    assert_eq!(matrix.cells(), 21 * 21 * 3);
    assert!(!matrix.allows(0, 99, 0) && !matrix.allows(99, 0, 0) && !matrix.allows(0, 0, 3));
}

#[test]
fn a_moment_is_part_of_what_is_lowered() {
    let folder = folder(
        "@id(\"night\")\npermit (principal, action, resource) when { context has hour && context.hour < 6 };\n",
    );
    let night = lower_at(&folder, Moment::at(Weekday::Monday, 3));
    let day = lower_at(&folder, Moment::at(Weekday::Monday, 9));
    assert!(!night.same(&day) && day.same(&lower(&folder)) && night.same(&night));
}
