//! Replays every committed fuzz corpus through the function its fuzz target calls.

use std::fs;
use std::path::Path;

#[test]
fn every_corpus_replays() {
    let mut targets = dissect::fuzzing::TARGETS.to_vec();
    assert!(targets.len() <= 8, "dissectors are grouped: a target for each would starve them all");
    targets.push(("capture", sensor::capture::fuzzing::capture));
    targets.push(("leases", inventory::leases::fuzzing::leases));
    targets.push(("kernel", enforcer::fuzzing::kernel));
    targets.push(("journal", journal::fuzzing::journal));
    targets.push(("commitments", journal::fuzzing::commitments));
    targets.push(("messages", names::fuzzing::messages));
    targets.push(("pipeline", sensor::fuzzing::pipeline));
    targets.push(("mud", policy::mud::fuzzing::mud));
    targets.push(("signatures", pki::fuzzing::signatures));
    targets.push(("est", pki::fuzzing::est));
    targets.push(("crl", pki::fuzzing::crl));
    targets.push(("ocsp", pki::fuzzing::ocsp));
    targets.push(("tpm", pki::fuzzing::tpm));
    targets.push(("agent", device_agent::fuzzing::agent));
    targets.push(("event_log", pki::fuzzing::event_log));
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");

    let listed = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(fuzz.join(folder)).expect("the folder exists");
        let name = |e: fs::DirEntry| e.path().file_stem().map(|s| s.to_string_lossy().into_owned());
        let mut names: Vec<_> = entries.filter_map(|e| name(e.ok()?)).collect();
        names.sort();
        names
    };
    let mut names: Vec<_> = targets.iter().map(|t| t.0.to_owned()).collect();
    names.sort();
    assert_eq!(listed("targets"), names, "fuzz/targets and the entry functions agree");
    assert_eq!(listed("corpus"), names, "every target has a corpus");

    for (name, run) in targets {
        let mut replayed = 0;
        for entry in fs::read_dir(fuzz.join("corpus").join(name)).expect("the corpus is a folder") {
            let path = entry.expect("the corpus is readable").path();
            let input = fs::read(&path).expect("an input is a file");
            // Printed before it runs: the last line names the input that failed.
            println!("{}", path.display());
            run(&input);
            replayed += 1;
        }
        assert!(replayed > 0, "the corpus of {name} is empty");
        println!("{name}: {replayed} inputs");
    }
}
