//! What a condition reads of a device: devices with equal values get equal answers from it.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::columns::{Columns, Kind, Name, Val};
use crate::language::{Expr, Var};

/// Attributes of a device, and attributes of the entities they lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reads {
    paths: BTreeSet<Vec<Name>>,
    /// It looks at the device itself.
    whole: bool,
}

impl Reads {
    /// Nothing less than the device.
    pub(crate) fn everything() -> Self {
        Self { whole: true, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.whole
    }

    /// Adds the site.
    pub(crate) fn site(&mut self) {
        self.paths.insert(vec![Name::Site]);
    }

    /// Adds what an expression reads.
    pub(crate) fn add(&mut self, expr: &Expr) {
        match expr {
            Expr::Var(Var::Principal) => self.whole = true,
            Expr::Bool(_) | Expr::Long(_) | Expr::Text(_) | Expr::Entity(_) | Expr::Var(_) => {}
            Expr::Get(of, _) | Expr::Has(of, _) => match path(expr) {
                Some(path) => drop(self.paths.insert(path)),
                None => self.add(of),
            },
            Expr::Set(all) => all.iter().for_each(|e| self.add(e)),
            Expr::Not(e) | Expr::Is(e, _) | Expr::Like(e, _) => self.add(e),
            Expr::Binary(_, a, b) => [a, b].into_iter().for_each(|e| self.add(e)),
            Expr::If(a, b, c) => [a, b, c].into_iter().for_each(|e| self.add(e)),
        }
    }
}

/// The attributes from the device on, where an expression is nothing else.
fn path(expr: &Expr) -> Option<Vec<Name>> {
    match expr {
        Expr::Get(of, name) | Expr::Has(of, name) if **of == Expr::Var(Var::Principal) => {
            Some(vec![Name::of(name)])
        }
        Expr::Get(of, name) | Expr::Has(of, name) => {
            let mut path = path(of)?;
            path.push(Name::of(name));
            Some(path)
        }
        _ => None,
    }
}

/// Number of each list of values.
type Numbers = FxHashMap<Vec<Option<Val>>, u32>;

/// Numbers for what is read, and for the values met.
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    numbers: FxHashMap<Reads, usize>,
    all: Vec<(Reads, Numbers)>,
}

impl Signatures {
    /// The number of a signature.
    pub(crate) fn number(&mut self, reads: Reads) -> usize {
        let all = &mut self.all;
        *self.numbers.entry(reads).or_insert_with_key(|reads| {
            all.push((reads.clone(), FxHashMap::default()));
            all.len().saturating_sub(1)
        })
    }

    /// For each signature the number of a device's values.
    pub(crate) fn values(&mut self, columns: &Columns, device: u32, group: u32) -> Vec<u32> {
        let value = |(reads, known): &mut (Reads, Numbers)| {
            let mut values: Vec<Option<Val>> =
                reads.paths.iter().map(|path| read(columns, device, path)).collect();
            if reads.whole {
                values.push(Some(Val::Long(i64::from(group))));
            }
            let next = crate::lower::small(known.len());
            *known.entry(values).or_insert(next)
        };
        self.all.iter_mut().map(value).collect()
    }
}

fn read(columns: &Columns, device: u32, path: &[Name]) -> Option<Val> {
    let mut value = Val::Entity(Kind::Device, device);
    for name in path {
        let Val::Entity(kind, number) = value else {
            return None;
        };
        value = columns.attribute((kind, number), *name)?;
    }
    Some(value)
}
