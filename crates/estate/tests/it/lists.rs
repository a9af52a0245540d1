//! Lists of people: about devices by our ids, and something else decided about each.

use std::collections::BTreeMap;

use estate::Command;
use estate::devices::{self, Edit, Field};

use crate::world::{World, device, facts, report};

fn each(edits: Vec<(&str, Field, &str)>) -> Command {
    let edits = edits.into_iter().map(|(id, field, value)| {
        let set = BTreeMap::from([(field, Some(value.to_owned()))]);
        (device(id), Edit { set, ..Edit::default() })
    });
    Command::Device(devices::Command::EditEach { edits: edits.collect() })
}

#[test]
fn each_is_decided_about_or_none_is() {
    let mut world = World::new();
    let now = world.now;
    let two = vec![
        facts("d1", "s-d1", &["mac/00:80:f4:00:00:01"], now),
        facts("d2", "s-d2", &["mac/00:80:f4:00:00:02"], now),
    ];
    world.command(&report("north", "sensor", two)).unwrap();
    let size = world.estate.size();
    for (edits, code) in [
        (vec![("d1", Field::Name, "a"), ("d1", Field::Zone, "b")], "device.twice"),
        (vec![("d1", Field::Name, "a"), ("d9", Field::Name, "b")], "device.unknown"),
        (vec![("d1", Field::Name, "a"), ("d2", Field::Owner, "nobody")], "team.unknown"),
        (vec![("d1", Field::Name, "a"), ("d2", Field::Criticality, "x")], "device.value"),
        (vec![], "device.none"),
    ] {
        assert_eq!(world.command(&each(edits)).unwrap_err().code, code);
    }
    assert_eq!(world.estate.size(), size);
    world.command(&each(vec![("d1", Field::Name, "a"), ("d2", Field::Name, "b")])).unwrap();
    assert_eq!(world.device("d1").value(Field::Name), Some("a"));
    assert_eq!(world.device("d2").value(Field::Name), Some("b"));
    assert!(world.replayed() == world.estate, "the journal says the same");
    // What is so already is no event.
    let again = each(vec![("d1", Field::Name, "a"), ("d2", Field::Name, "c")]);
    assert_eq!(world.command(&again).unwrap().len(), 1);
}

#[test]
fn only_a_list_of_people_calls_a_device_by_our_id() {
    let mut world = World::new();
    let now = world.now;
    let first = facts("d1", "s-d1", &["mac/00:80:f4:00:00:01"], now);
    world.command(&report("north", "sensor", vec![first])).unwrap();
    let mut listed = facts("d1", "s-d1", &["serial/ACME/17"], now);
    listed.subject = "d1".to_owned();
    let sensor = world.command(&report("north", "leases/kea", vec![listed.clone()]));
    assert_eq!(sensor.unwrap_err().code, "device.id");
    world.command(&report("north", "import/list", vec![listed])).unwrap();
    assert_eq!(world.estate.devices().len(), 1);
    assert!(world.device("d1").keys.iter().any(|key| &**key == "serial/ACME/17"));
}
