//! Deciding about what changed is the same as deciding about everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use estate::Command;
use estate::devices::{self, Edit, Field};
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

#[test]
fn what_changes_one_by_one_ends_where_a_full_sweep_ends() {
    let folder = Folder::new();
    let running = start(&folder);
    let me = controller::hub::itself().unwrap();
    running.pdp.set(&me, "drill", sample(), None, "sample".to_owned()).unwrap();
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
}
