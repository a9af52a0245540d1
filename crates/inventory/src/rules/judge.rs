//! Evaluates rules over what devices said.
//!
//! A fleet says few different things: the same makers, models, ports and banners come again with
//! every device. So what the rules make of one fact is worked out once and remembered; per device
//! only the conditions that look at its other facts are put together.

use rustc_hash::FxHashMap;

use super::condition::Probe;
use super::engine::{Hit, Rules};
use super::{Claim, FactView};

/// Different facts remembered; then it starts afresh. Some hundred bytes each.
const FACTS_MAX: usize = 1 << 15;

/// Evaluates rules for one device after the other.
#[derive(Debug)]
pub struct Judge<'r> {
    rules: &'r Rules,
    /// Number of every fact, by field and value.
    numbers: FxHashMap<Box<str>, FxHashMap<Box<str>, usize>>,
    /// What the rules make of each fact, conditions on other facts aside.
    hits: Vec<Vec<Hit>>,
    tested: Vec<Tested>,
}

impl<'r> Judge<'r> {
    /// A judge that knows no facts yet.
    pub fn of(rules: &'r Rules) -> Self {
        Self { rules, numbers: FxHashMap::default(), hits: Vec::new(), tested: Vec::new() }
    }

    /// Adds what the rules conclude from all that one device said. The order of `facts` does not
    /// change what is claimed, only the order of the claims.
    pub fn evaluate(&mut self, facts: &[FactView<'_>], out: &mut Vec<Claim>) {
        if self.hits.len() >= FACTS_MAX {
            *self = Self::of(self.rules);
        }
        let numbers: Vec<usize> = facts.iter().map(|fact| self.number(*fact)).collect();
        let mut verdicts = Verdicts {
            conditions: &self.rules.conditions,
            facts,
            numbers: &numbers,
            tested: &mut self.tested,
            known: Vec::new(),
        };
        for (index, hits) in numbers.iter().map(|n| self.hits.get(*n)).enumerate() {
            for hit in hits.into_iter().flatten() {
                let Some(ready) = self.rules.rules.get(hit.rule) else { continue };
                if !ready.when.iter().all(|c| verdicts.holds(*c))
                    || ready.unless.iter().any(|c| verdicts.holds(*c))
                {
                    continue;
                }
                out.extend(hit.tells.iter().map(|(attribute, value, strength)| Claim {
                    attribute: *attribute,
                    value: value.clone(),
                    strength: *strength,
                    rule: ready.rule.at.id.clone(),
                    fact: index,
                }));
            }
        }
    }

    fn number(&mut self, fact: FactView<'_>) -> usize {
        if let Some(known) = self.numbers.get(fact.field).and_then(|v| v.get(fact.value)) {
            return *known;
        }
        let number = self.hits.len();
        self.hits.push(self.rules.hits(fact));
        self.tested.push(Tested::default());
        self.numbers.entry(fact.field.into()).or_default().insert(fact.value.into(), number);
        number
    }
}

/// Which conditions one fact meets, as far as anybody asked: two bits each, asked and met.
#[derive(Debug, Default)]
struct Tested(Vec<u64>);

impl Tested {
    fn get(&mut self, condition: usize, test: impl FnOnce() -> bool) -> bool {
        let (word, shift) = (condition / 32, condition % 32 * 2);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let Some(bits) = self.0.get_mut(word) else { return test() };
        if *bits >> shift & 1 == 0 {
            *bits |= (1 | u64::from(test()) << 1) << shift;
        }
        *bits >> shift & 2 != 0
    }
}

/// Conditions of one device, each put together once.
struct Verdicts<'a> {
    conditions: &'a [Vec<Probe>],
    facts: &'a [FactView<'a>],
    numbers: &'a [usize],
    tested: &'a mut [Tested],
    known: Vec<(usize, bool)>,
}

impl Verdicts<'_> {
    fn holds(&mut self, condition: usize) -> bool {
        if let Some((_, known)) = self.known.iter().find(|(c, _)| *c == condition) {
            return *known;
        }
        let probes = self.conditions.get(condition).map_or(&[][..], Vec::as_slice);
        let holds = self.facts.iter().zip(self.numbers).any(|(fact, number)| {
            let test = || probes.iter().any(|probe| probe.accepts_fact(*fact));
            self.tested.get_mut(*number).is_some_and(|tested| tested.get(condition, test))
        });
        self.known.push((condition, holds));
        holds
    }
}
