//! Deciding about what changed is the same as deciding about everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use controller::blobs::Files;
use estate::Command;
use estate::devices::{self, Edit, Field};
use estate::leases::{self, Decision};
use journal::entry::Entry;
use model::DeviceId;

use crate::{Folder, Running, sample, start};

fn edit(running: &Running, device: &DeviceId, field: Field, value: Option<&str>) {
    let set = BTreeMap::from([(field, value.map(str::to_owned))]);
    let edit = Edit { set, labels: BTreeMap::new() };
    let command = devices::Command::Edit { devices: vec![device.clone()], edit };
    let me = controller::hub::itself().unwrap();
    running.hub.command(&me, "drill", Command::Device(command), BTreeSet::new()).unwrap();
}

/// Until decisions and bundles rest on everything that is in the journal.
fn settled(running: &Running) {
    for _ in 0..2_000 {
        let size = running.hub.read(estate::Estate::size);
        if running.pdp.rests_on() >= size {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    panic!("the decision point does not come to rest");
}

/// Closed to all while the device behind it is cut off.
const SEES_HOSTS: &str = "@id(\"t.hosts\")\n@reason(\"nobody talks to what is cut off\")\nforbid (principal, action, resource)\n\
    when { resource has device && resource.device.posture == \"quarantined\" };\n";

#[test]
fn what_changes_one_by_one_ends_where_a_full_sweep_ends() {
    one_by_one(&sample());
}

#[test]
fn the_same_where_policies_look_at_the_device_behind_a_service() {
    let mut files = sample();
    files.insert("policies/hosts.cedar".to_owned(), SEES_HOSTS.to_owned());
    let decisions = one_by_one(&files);
    assert!(decisions.iter().all(|decision| decision.beside.is_some()));
    let said: BTreeSet<_> =
        decisions.iter().map(|d| (&d.subject, &d.verdict)).map(serial).collect();
    let subjects: BTreeSet<_> = decisions.iter().map(|d| serial(&d.subject)).collect();
    assert!(said.len() > subjects.len(), "nobody's answer changed because of another device");
}

fn serial<T: serde::Serialize>(value: T) -> String {
    serde_json::to_string(&value).unwrap()
}

/// Changes every device; all decisions of the journal, each of which was made again.
fn one_by_one(files: &Files) -> Vec<Decision> {
    let folder = Folder::new();
    let running = start(&folder);
    let me = controller::hub::itself().unwrap();
    running.pdp.set(&me, "drill", files.clone(), None, "sample".to_owned()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let thread = std::thread::spawn({
        let (pdp, stop) = (Arc::clone(&running.pdp), Arc::clone(&stop));
        move || pdp.run(&stop, &|line| panic!("{line}"))
    });
    settled(&running);
    // Whoever was told so finds what was decided, and what follows from it for each site.
    assert!(running.hub.read(|estate| estate.sites().iter().all(|s| s.intended.is_some())));
    let (ids, zones, sites) = running.hub.read(|estate| {
        let ids: Vec<_> = estate.devices().iter().map(|d| d.id.clone()).collect();
        let zones: BTreeSet<_> = estate
            .devices()
            .iter()
            .filter_map(|d| d.value(Field::Zone).map(str::to_owned))
            .collect();
        let sites: Vec<_> = estate.sites().iter().map(|s| s.id.clone()).collect();
        (ids, zones.into_iter().collect::<Vec<_>>(), sites)
    });
    // Every device in turn: cut off, moved to another zone and site, given back.
    for (n, id) in ids.iter().enumerate() {
        match n % 4 {
            0 => edit(&running, id, Field::Posture, Some("quarantined")),
            1 => edit(&running, id, Field::Zone, Some(&zones[n % zones.len()])),
            2 => edit(&running, id, Field::Site, Some(sites[n % sites.len()].as_str())),
            _ => edit(&running, id, Field::Zone, None),
        }
        // Some come together, some alone.
        if n % 3 == 0 {
            settled(&running);
        }
    }
    settled(&running);
    let before = running.hub.read(estate::Estate::size);
    assert_eq!(running.pdp.settle("sweep", running.hub.now()).unwrap(), 0);
    assert_eq!(running.hub.read(estate::Estate::size), before, "no other bundle is offered either");
    stop.store(true, Ordering::SeqCst);
    thread.join().unwrap();
    let mut decisions = Vec::new();
    for bytes in running.hub.entries(0..running.hub.read(estate::Estate::size)).unwrap() {
        let events = estate::record::events(&Entry::decode(&bytes).unwrap()).unwrap();
        decisions.extend(events.into_iter().filter_map(|event| match event {
            estate::Event::Lease(leases::Event::Decided(decision)) => Some(decision),
            _ => None,
        }));
    }
    for decision in &decisions {
        let again = running.pdp.replay(decision).unwrap().unwrap();
        assert_eq!(serial(&again), serial(&decision.verdict), "{}", decision.id);
    }
    decisions
}
