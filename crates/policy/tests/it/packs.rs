//! Shipped packs: valid, tested by their samples, and every mistake in them is caught.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use policy::cedar::{self, Oracle};
use policy::decide::{Decider, View};
use policy::folder::{self, Folder, SCHEMA};
use policy::language::{Effect, Policy};
use policy::lower::lower;
use policy::mutate::{mutants, survivors};
use policy::{check, packs, probes};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies")
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A pack's sample estate as a folder.
fn sample(pack: &str) -> Folder {
    let at = root().join(pack).join("sample");
    let mut files = BTreeMap::from([("schema.cedarschema".to_owned(), SCHEMA.to_owned())]);
    for file in
        ["estate.toml", "tests.toml", "claims.toml", "exceptions.toml", "policies/local.cedar"]
    {
        files.insert(file.to_owned(), std::fs::read_to_string(at.join(file)).unwrap());
    }
    folder::parse(&files).unwrap_or_else(|faults| panic!("{pack}: {faults:#?}"))
}

fn policies(pack: &packs::Pack) -> Vec<Policy> {
    cedar::read_all(pack.files).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

#[test]
fn what_ships_is_what_the_repository_holds() {
    let beside = ["README.md", "cards", "rbac"];
    let packs = names(&root()).into_iter().filter(|name| !beside.contains(&name.as_str()));
    assert!(packs.eq(packs::ALL.iter().map(|pack| pack.name)));
    for pack in packs::ALL {
        let files = names(&root().join(pack.name));
        let cedar = files.iter().filter(|file| file.ends_with(".cedar"));
        let cedar: Vec<String> = cedar.map(|file| format!("pack:{}/{file}", pack.name)).collect();
        assert_eq!(cedar, pack.files.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        let readme = std::fs::read_to_string(root().join(pack.name).join("README.md")).unwrap();
        for policy in policies(pack) {
            assert!(policy.id.starts_with(&format!("{}.", pack.name)), "{}", policy.id);
            assert!(policy.annotations.contains_key("reason"), "{}", policy.id);
            assert!(readme.contains(&format!("| `{}` |", policy.id)), "{}", policy.id);
            assert_eq!((policy.on_cedar, policy.effect), (None, Effect::Forbid), "{}", policy.id);
        }
    }
}

#[test]
fn samples_hold_and_miss_no_mistake() {
    for pack in packs::ALL {
        let folder = sample(pack.name);
        assert_eq!(check::run(&folder, &lower(&folder)), [], "{}", pack.name);
        assert!(!folder.tests.deny.is_empty() && !folder.claims.is_empty());
        assert_eq!(survivors(&folder), [], "{}", pack.name);
    }
}

#[test]
fn a_survivor_is_named() {
    let mut folder = sample("base");
    folder.tests.deny.retain(|test| test.from.as_str() != "stray");
    let survivors: Vec<String> = survivors(&folder)
        .iter()
        .map(|s| format!("{} {}:{} {} {}", s.policy, s.file, s.line, s.mutation, s.changes_grants))
        .collect();
    assert_eq!(survivors[0], "base.no-owner pack:base/identity.cedar:8 deleted true");
}

/// A permit of everything, before which forbids show.
fn backdrop() -> Policy {
    let permit = "@id(\"probe.backdrop\") permit (principal, action, resource);";
    cedar::read_all(&[("policies/backdrop.cedar", permit)]).unwrap().remove(0)
}

/// Asks everything of both; the compiled form must agree with Cedar, and each mutant differ from it somewhere.
fn catches_every_mutant(what: &str, policies: &[Policy]) {
    let probes = probes::of(SCHEMA, policies);
    let mut caught = vec![false; mutants(policies).len()];
    for backdrop in [None, Some(backdrop())] {
        let with = |policies: Vec<Policy>| Folder {
            policies: policies.into_iter().chain(backdrop.clone()).collect(),
            ..probes.folder.clone()
        };
        let folder = with(policies.to_vec());
        let (decider, oracle) = (Decider::new(&folder, View::Today), Oracle::new(&folder).unwrap());
        assert_eq!(decider.on_cedar(), [], "{what}");
        let answers: Vec<Vec<bool>> = probes
            .asks
            .iter()
            .zip(policies)
            .map(|(asks, policy)| {
                let answer = |ask| {
                    let cedar = oracle.decide(ask).unwrap();
                    assert_eq!(
                        decider.decide(ask).allowed,
                        cedar,
                        "{what}: {}: {ask:?}",
                        policy.id
                    );
                    cedar
                };
                asks.iter().map(answer).collect()
            })
            .collect();
        for (mutant, caught) in mutants(policies).iter().zip(&mut caught) {
            let mutated = with(mutant.apply(policies));
            let decider = Decider::new(&mutated, View::Today);
            let mut asks = probes.asks[mutant.policy].iter().zip(&answers[mutant.policy]);
            *caught |= asks.any(|(ask, cedar)| decider.decide(ask).allowed != *cedar);
        }
    }
    let missed: Vec<String> = mutants(policies)
        .iter()
        .zip(&caught)
        .filter(|(_, caught)| !**caught)
        .map(|(m, _)| format!("{}: {}", policies[m.policy].id, m.mutation))
        .collect();
    assert_eq!(missed, Vec::<String>::new(), "{what}: not caught");
}

#[test]
fn generated_tests_catch_every_mutant_of_base() {
    catches_every_mutant("base", &policies(packs::pack("base").unwrap()));
}

#[test]
fn generated_tests_catch_every_mutant_of_iec62443() {
    catches_every_mutant("iec62443", &policies(packs::pack("iec62443").unwrap()));
}

#[test]
fn generated_tests_catch_every_mutant_of_retail() {
    catches_every_mutant("retail", &policies(packs::pack("retail").unwrap()));
}

#[test]
fn generated_tests_catch_every_mutant_of_warehouse() {
    catches_every_mutant("warehouse", &policies(packs::pack("warehouse").unwrap()));
}

/// The same for policies as people write them, with scopes of every kind.
#[test]
fn generated_tests_catch_mutants_of_scopes() {
    let text = r#"
        @id("a") permit (principal in Zone::"z1", action == Action::"connect", resource in ServiceGroup::"g1");
        @id("b") permit (principal in DeviceType::"plc", action in [Action::"read", Action::"command"], resource in Zone::"z2")
          when { context has hour && context.hour >= 6 && context.hour < 18 };
        @id("c") permit (principal == Device::"d1", action, resource == Service::"s1")
          unless { context has weekday && ["sat", "sun"].contains(context.weekday) };
        @id("d") permit (principal in Site::"here", action == Action::"update", resource is Service in Zone::"z3")
          when { resource has device && resource.device.assurance > 2 };
        @id("e") forbid (principal is Device in Zone::"z1", action, resource) when { resource.application like "mod*" };
        @id("f") forbid (principal, action, resource)
          when { resource has device && resource.device == principal && context.port == 99 };
    "#;
    let policies = cedar::read_all(&[("policies/x.cedar", text)]).unwrap();
    cedar::validate(SCHEMA, &[("policies/x.cedar", text)]).unwrap();
    catches_every_mutant("scopes", &policies);
}

#[test]
fn packs_are_taken_in_by_name() {
    let folder = sample("base");
    let files = folder.files();
    assert!(files["estate.toml"].contains("packs = [\"base\"]"));
    assert!(
        files.keys().all(|file| !file.contains("pack:") && !files[file].contains("base.no-owner"))
    );
    assert_eq!(folder::parse(&files).unwrap().policies.len(), folder.policies.len());
    let mut without = files.clone();
    let estate = files["estate.toml"].replace("packs = [\"base\"]", "packs = [\"bsae\"]");
    without.insert("estate.toml".to_owned(), estate);
    let faults = folder::parse(&without).unwrap_err();
    assert_eq!(
        faults[0].to_string(),
        "estate.toml:3:10: unknown pack: no pack `bsae` ships with this version; there are base, iec62443, retail, warehouse"
    );
    // A schema that lacks what a pack looks at: the fault points into the pack.
    let mut files = sample("iec62443").files();
    let schema = SCHEMA.replace("  security_level?: Long,\n", "");
    files.insert("schema.cedarschema".to_owned(), schema);
    let faults = folder::parse(&files).unwrap_err();
    assert!(faults.iter().any(|f| f.file == "pack:iec62443/levels.cedar" && f.line > 0));
    let fault = faults.iter().find(|f| f.file.starts_with("pack:")).unwrap();
    assert!(packs::text(&fault.file).unwrap().lines().count() >= fault.line as usize);
}
