//! Who notices a mutant: the folder's own tests and claims, or requests generated from its policies.

use std::collections::BTreeSet;

use model::ruleset::Mode;
use model::{DeviceId, ServiceId};

use super::{Mutant, Mutation};
use crate::decide::{Ask, Decider, View};
use crate::folder::Folder;
use crate::language::{Effect, Expr, Policy, Var};
use crate::lower::{Grant, Lowered, index, lower};
use crate::probes::{Prober, Probes};
use crate::text::toml_string;
use crate::{Fault, check};

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is noticed: by this test, claim or reach budget, or (without one) by a generated request.
    Caught(Option<Fault>),
    /// Devices are granted other services than today, and no test, claim or reach budget breaks.
    Survived(Changed),
    /// No answer changes: for any pair of today's estate but a device and itself, or for any generated request.
    NoEffect,
    /// It cannot be judged this way.
    NotJudged(Unjudged),
}

/// The first pair whose answer a mutant changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changed {
    /// The device.
    pub from: DeviceId,
    /// The service.
    pub to: ServiceId,
    /// It may open it today, and with the mistake it may not; else the other way round.
    pub allowed: bool,
}

/// Why a mutant is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unjudged {
    /// The policy is in shadow: it decides nothing yet.
    Shadow,
    /// The folder's tests ask about `connect` only.
    OtherAction,
    /// The folder's tests ask at no particular moment.
    Moment,
    /// Requests cannot be generated from conditions that only Cedar can evaluate.
    OnCedar,
}

impl Unjudged {
    /// In a sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Shadow => "the policy is in shadow and decides nothing yet",
            Self::OtherAction => "tests ask about the action `connect` only",
            Self::Moment => "it matters at some hours only, and tests ask at no particular moment",
            Self::OnCedar => {
                "no requests can be generated from conditions that only Cedar can evaluate"
            }
        }
    }
}

impl Changed {
    /// The test that says what is so today, for `tests.toml`.
    pub fn test(&self) -> String {
        let table = if self.allowed { "allow" } else { "deny" };
        let [from, to] = [self.from.as_str(), self.to.as_str()].map(toml_string);
        format!("[[{table}]]\nfrom = {from}\nto = {to}\nbecause = \"\"\n")
    }
}

/// Judges by the folder's own tests, claims and reach budgets. Only meaningful for a folder whose tests hold.
///
/// They ask who may `connect`, at no particular moment. One compilation of the folder and one run of the tests
/// for each mutant.
#[derive(Debug)]
pub struct Own {
    folder: Folder,
    policies: Vec<Policy>,
    today: Lowered,
}

impl Own {
    /// For a folder.
    pub fn of(folder: &Folder) -> Self {
        let today = lower(folder);
        Self { policies: folder.policies.clone(), folder: folder.clone(), today }
    }

    /// What becomes of a mutant of the folder's policies.
    pub fn judge(&mut self, mutant: &Mutant) -> Fate {
        let Some(policy) = self.policies.get(mutant.policy) else {
            return Fate::NoEffect;
        };
        if policy.mode() == Mode::Shadow {
            return Fate::NotJudged(Unjudged::Shadow);
        }
        if !policy.names_action("connect") || mutant.mutation == Mutation::AnyAction {
            return Fate::NotJudged(Unjudged::OtherAction);
        }
        self.folder.policies = mutant.apply(&self.policies);
        let lowered = lower(&self.folder);
        let changed = changed(&self.folder, &self.today, &lowered);
        let broken = check::run(&self.folder, &lowered).into_iter().next();
        match (broken, changed) {
            (Some(broken), _) => Fate::Caught(Some(broken)),
            (None, Some(changed)) => Fate::Survived(changed),
            (None, None) if reads_the_moment(policy) => Fate::NotJudged(Unjudged::Moment),
            (None, None) => Fate::NoEffect,
        }
    }
}

/// The first device that is granted another set of services of others, by whichever policies, and the first
/// service in which they differ. What a device opens on itself passes no fence.
fn changed(folder: &Folder, today: &Lowered, then: &Lowered) -> Option<Changed> {
    let grants = |lowered: &Lowered, profile: u32| -> BTreeSet<u32> {
        let grants: Option<&Vec<Grant>> = lowered.profiles.get(index(profile));
        grants.into_iter().flatten().map(|grant| grant.service).collect()
    };
    let mut same = BTreeSet::new();
    for (device, pair) in today.profile_of.iter().zip(&then.profile_of).enumerate() {
        if same.contains(&pair) {
            continue;
        }
        let (now, then) = (grants(today, *pair.0), grants(then, *pair.1));
        if now == then {
            same.insert(pair);
            continue;
        }
        let from = &folder.estate.devices.get(device)?.id;
        let others = now.symmetric_difference(&then).find_map(|service| {
            let other = folder.estate.services.get(index(*service))?;
            (other.device.as_ref() != Some(from)).then(|| Changed {
                from: from.clone(),
                to: other.id.clone(),
                allowed: now.contains(service),
            })
        });
        if others.is_some() {
            return others;
        }
    }
    None
}

/// What it says depends on the hour, the day, or a maintenance window.
fn reads_the_moment(policy: &Policy) -> bool {
    const WORDS: [&str; 3] = ["hour", "weekday", "maintenance"];
    let mut found = policy
        .on_cedar
        .as_ref()
        .is_some_and(|on_cedar| WORDS.iter().any(|word| on_cedar.text.contains(word)));
    for condition in &policy.conditions {
        condition.body.visit(&mut |expr| {
            if let Expr::Get(of, name) | Expr::Has(of, name) = expr {
                found |= **of == Expr::Var(Var::Context) && WORDS.contains(&name.as_str());
            }
        });
    }
    found
}

/// Judges by requests generated from the policies, on estates made up for them; as if nothing were in shadow.
///
/// A mutant that no request notices changes a part that another rule makes superfluous, or one that only a
/// request shows that was not thought of.
#[derive(Debug)]
pub struct Generated<'f> {
    policies: &'f [Policy],
    prober: Prober<'f>,
    ground: Option<Ground>,
}

/// The requests on which one policy alone decides.
#[derive(Debug)]
struct Ground {
    policy: usize,
    /// The made-up estate, without policies.
    folder: Folder,
    asks: Vec<Ask>,
    applies: Vec<bool>,
}

impl<'f> Generated<'f> {
    /// For a folder.
    pub fn of(folder: &'f Folder) -> Self {
        let prober = Prober::new(&folder.schema, &folder.policies);
        Self { policies: &folder.policies, prober, ground: None }
    }

    /// What becomes of a mutant of the folder's policies. Those of one policy are best judged one after another.
    pub fn judge(&mut self, mutant: &Mutant) -> Fate {
        if self.ground.as_ref().is_none_or(|ground| ground.policy != mutant.policy) {
            self.ground = self.prepare(mutant.policy);
        }
        let (Some(ground), Some(policy)) = (&mut self.ground, self.policies.get(mutant.policy))
        else {
            return Fate::NoEffect;
        };
        let alone = Mutant { policy: 0, mutation: mutant.mutation };
        let mutated = alone.apply(std::slice::from_ref(policy)).pop();
        let applies = match mutated {
            Some(mutated) => ground.applies(mutated),
            None => vec![false; ground.asks.len()],
        };
        match applies == ground.applies {
            false => Fate::Caught(None),
            true if policy.on_cedar.is_some() => Fate::NotJudged(Unjudged::OnCedar),
            true => Fate::NoEffect,
        }
    }

    fn prepare(&self, number: usize) -> Option<Ground> {
        let policy = self.policies.get(number)?;
        let Probes { mut folder, asks } = self.prober.of(number);
        folder.policies = self.policies.to_vec();
        folder.policies.remove(number);
        let decider = Decider::new(&folder, View::Candidate);
        let decides = |ask: &Ask| {
            let others = decider.decide(ask);
            match policy.effect {
                // What another rule permits or forbids, it cannot change.
                Effect::Permit => !others.allowed && others.policy.is_none(),
                // Without it, it may be permitted: no other forbid speaks.
                Effect::Forbid => others.allowed || others.policy.is_none(),
            }
        };
        let asks: Vec<Ask> = asks.into_iter().flatten().filter(decides).collect();
        drop(decider);
        let mut ground = Ground { policy: number, folder, asks, applies: Vec::new() };
        ground.applies = ground.applies(policy.clone());
        Some(ground)
    }
}

impl Ground {
    /// To which of the requests a policy applies.
    fn applies(&mut self, policy: Policy) -> Vec<bool> {
        self.folder.policies = vec![Policy { effect: Effect::Permit, ..policy }];
        let decider = Decider::new(&self.folder, View::Candidate);
        self.asks.iter().map(|ask| decider.decide(ask).allowed).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::folder::{SCHEMA, parse};
    use crate::mutate::mutants;
    use crate::{cedar, packs};

    const ESTATE: &str = r#"format = "ringfence.policy/v1"
[[site]]
id = "main"
[[zone]]
id = "a"
site = "main"
class = "as"
[[device]]
id = "one"
type = "t"
zone = "a"
[[device]]
id = "two"
type = "u"
zone = "a"
[[device]]
id = "three"
type = "u"
zone = "a"
[[service]]
id = "s"
scope = "estate"
zone = "a"
device = "three"
protocol = "tcp"
port = 80
"#;

    fn folder(policies: &str, tests: &str) -> Folder {
        let files = [
            ("schema.cedarschema", SCHEMA),
            ("estate.toml", ESTATE),
            ("tests.toml", tests),
            ("claims.toml", ""),
            ("exceptions.toml", ""),
            ("policies/x.cedar", policies),
        ];
        let files: BTreeMap<_, _> =
            files.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
        parse(&files).unwrap_or_else(|faults| panic!("{faults:#?}"))
    }

    /// What was done, and what became of it.
    fn own(folder: &Folder) -> Vec<(String, Fate)> {
        let mut own = Own::of(folder);
        let all = mutants(&folder.policies);
        all.iter().map(|m| (m.says(&folder.policies), own.judge(m))).collect()
    }

    fn generated(folder: &Folder) -> Vec<(String, Fate)> {
        let mut generated = Generated::of(folder);
        let all = mutants(&folder.policies);
        all.iter().map(|m| (m.says(&folder.policies), generated.judge(m))).collect()
    }

    const CONNECT: &str = r#"@id("p") permit (principal in DeviceType::"t", action == Action::"connect", resource == Service::"s") when { context.port == 80 };"#;

    #[test]
    fn own_tests_notice_what_they_ask_about() {
        let allow = "[[allow]]\nfrom = \"one\"\nto = \"s\"\n";
        let fates = own(&folder(CONNECT, allow));
        let changed = |from: &str, allowed| {
            let (from, to) = (DeviceId::new(from).unwrap(), ServiceId::new("s").unwrap());
            Changed { from, to, allowed }
        };
        let broken = |fate: &Fate| match fate {
            Fate::Caught(Some(fault)) => fault.to_string(),
            other => format!("{other:?}"),
        };
        let why =
            "tests.toml:2:1: one to s must be allowed: no policy grants it, or one forbids it";
        assert_eq!(fates.len(), 5);
        for (at, says) in [(0, "deleted"), (1, "`when { context.port == 80 }` turned to `unless`")]
        {
            assert_eq!((fates[at].0.as_str(), broken(&fates[at].1)), (says, why.to_owned()));
        }
        let [principal, action, resource] = [&fates[2], &fates[3], &fates[4]];
        let says = "`principal in DeviceType::\"t\"` widened to every device";
        assert_eq!(principal, &(says.to_owned(), Fate::Survived(changed("two", false))));
        let says = "`connect` widened to every action".to_owned();
        assert_eq!(action, &(says, Fate::NotJudged(Unjudged::OtherAction)));
        // There is one service only.
        let says = "`resource == Service::\"s\"` widened to every service".to_owned();
        assert_eq!(resource, &(says, Fate::NoEffect));
        // With the test that is written out, nothing survives.
        let more = format!("{allow}{}", changed("two", false).test());
        let fates = own(&folder(CONNECT, &more));
        assert!(!fates.iter().any(|(_, fate)| matches!(fate, Fate::Survived(_))), "{fates:#?}");
    }

    #[test]
    fn what_holds_at_some_hours_is_not_judged_by_own_tests() {
        let hours = CONNECT.replace("context.port == 80", "context has hour && context.hour < 6");
        let folder = folder(&hours, "");
        for (says, fate) in own(&folder) {
            let moment = matches!(fate, Fate::NotJudged(Unjudged::Moment | Unjudged::OtherAction));
            assert!(moment || matches!(fate, Fate::Survived(_)), "{says}: {fate:?}");
        }
        let missed: Vec<_> =
            generated(&folder).into_iter().filter(|(_, f)| *f != Fate::Caught(None)).collect();
        assert_eq!(missed, []);
    }

    #[test]
    fn generated_requests_find_what_another_rule_says_already() {
        let twice = format!("{CONNECT}{}", CONNECT.replace("\"p\"", "\"q\""));
        let fates = generated(&folder(&twice, ""));
        let deleted: Vec<_> = fates.iter().filter(|(says, _)| says == "deleted").collect();
        assert!(deleted.iter().all(|(_, fate)| *fate == Fate::NoEffect), "{fates:#?}");
        // Of what only Cedar can evaluate the boundary is not known.
        let on_cedar = CONNECT.replace("context.port == 80", "context.port + 1 == 81");
        let fates = generated(&folder(&on_cedar, ""));
        assert_eq!(fates, [("deleted".to_owned(), Fate::NotJudged(Unjudged::OnCedar))]);
    }

    /// The same mistakes as `tests/it/packs.rs` finds by asking whole rulesets.
    #[test]
    fn generated_requests_notice_every_mutant_of_the_packs() {
        for pack in packs::ALL {
            let policies = cedar::read_all(pack.files).unwrap();
            let folder = Folder { policies, ..folder("", "") };
            let missed: Vec<_> =
                generated(&folder).into_iter().filter(|(_, f)| *f != Fate::Caught(None)).collect();
            assert_eq!(missed, [], "{}", pack.name);
        }
    }
}
