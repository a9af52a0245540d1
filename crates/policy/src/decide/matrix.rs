//! Every device against every service on every path, at once.

use std::collections::{BTreeSet, HashMap};

use model::observation::Transport;

use super::columns::{Kind, Name, Val};
use super::{Action, Ask, Decider};
use crate::language::{Expr, Var};
use crate::lower::{index, small};
use crate::moment::Moment;

/// Who may do something to what, and how. Devices with equal answers share a row.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    row_of: Vec<u32>,
    /// Words of a row.
    width: usize,
    rows: Vec<u64>,
    paths: usize,
    services: usize,
}

impl Matrix {
    /// The answer for a device, a service and a path, by their indexes.
    pub fn allows(&self, device: usize, service: usize, path: usize) -> bool {
        let inside = service < self.services && path < self.paths;
        let row = self.row_of.get(device).copied().filter(|_| inside).map(index);
        let bit = service.saturating_mul(self.paths).saturating_add(path);
        let word = row.and_then(|row| {
            let at = row.checked_mul(self.width)?.checked_add(bit / 64)?;
            self.rows.get(at)
        });
        word.is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Cells that are allowed.
    pub fn allowed(&self) -> u64 {
        let width = self.width.max(1);
        let of_row: Vec<u64> = self
            .rows
            .chunks(width)
            .map(|row| row.iter().map(|word| u64::from(word.count_ones())).sum())
            .collect();
        self.row_of.iter().filter_map(|row| of_row.get(index(*row))).sum()
    }

    /// Cells in all.
    pub fn cells(&self) -> u64 {
        let cells = self.row_of.len().saturating_mul(self.services).saturating_mul(self.paths);
        u64::try_from(cells).unwrap_or(u64::MAX)
    }
}

/// What must be equal for two devices to get equal answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    row: u32,
    /// What conditions about both sides read of the device.
    read: Vec<Option<(u8, u64)>>,
}

impl Decider<'_> {
    /// Answers for all devices, all services and these paths.
    pub fn matrix(&self, action: Action, paths: &[(Transport, u16)], moment: Moment) -> Matrix {
        let services = self.folder.estate.services.len();
        let width = services.saturating_mul(paths.len()).div_ceil(64);
        let mut matrix = Matrix { width, paths: paths.len(), services, ..Matrix::default() };
        let (names, whole) = self.read_of_devices();
        let mut known: HashMap<Key, u32> = HashMap::new();
        let mut row_of_group: Vec<u32> = Vec::new();
        for (group, row) in self.principal_rows.iter().enumerate() {
            let group = small(group);
            let Some(device) = self.devices.first(group) else {
                continue;
            };
            let entity = (Kind::Device, small(device));
            let mut read: Vec<Option<(u8, u64)>> =
                names.iter().map(|name| self.columns.attribute(entity, *name).map(bits)).collect();
            if whole {
                read.push(Some((0, u64::from(group))));
            }
            let next = small(known.len());
            let row = *known.entry(Key { row: *row, read }).or_insert_with(|| {
                matrix.rows.resize(matrix.rows.len().saturating_add(width), 0);
                let start = matrix.rows.len().saturating_sub(width);
                if let Some(row) = matrix.rows.get_mut(start..) {
                    self.fill(row, device, action, paths, moment);
                }
                next
            });
            row_of_group.push(row);
        }
        let row = |group: &u32| row_of_group.get(index(*group)).copied().unwrap_or_default();
        matrix.row_of = self.devices.of.iter().map(row).collect();
        matrix
    }

    fn fill(
        &self,
        row: &mut [u64],
        device: usize,
        action: Action,
        paths: &[(Transport, u16)],
        moment: Moment,
    ) {
        for group in 0..small(self.services.len()) {
            let Some(service) = self.services.first(group) else {
                continue;
            };
            for (path, (transport, port)) in paths.iter().enumerate() {
                let (transport, port) = (*transport, *port);
                let ask = Ask { device, service, action, transport, port, moment };
                if !self.decide(&ask).allowed {
                    continue;
                }
                for member in self.services.members(group) {
                    let bit = index(*member).saturating_mul(paths.len()).saturating_add(path);
                    if let Some(word) = row.get_mut(bit / 64) {
                        *word |= 1 << (bit % 64);
                    }
                }
            }
        }
    }

    /// Attributes of the device that conditions about both sides or the moment read, and whether they look
    /// at the device in any other way.
    fn read_of_devices(&self) -> (Vec<Name>, bool) {
        let mut names = BTreeSet::new();
        let mut whole = !self.folder.estate.maintenance.is_empty();
        for compiled in self.policies.iter().filter(|p| !p.left.is_empty() || p.on_cedar.is_some())
        {
            whole |= compiled.on_cedar.is_some();
            let Some(policy) = self.folder.policies.get(compiled.policy) else {
                continue;
            };
            for condition in &policy.conditions {
                // A principal is visited for itself and, where it is one, for the attribute read of it.
                let (mut seen, mut read) = (0usize, 0usize);
                condition.body.visit(&mut |e| match e {
                    Expr::Var(Var::Principal) => seen = seen.saturating_add(1),
                    Expr::Get(of, name) if **of == Expr::Var(Var::Principal) => {
                        read = read.saturating_add(1);
                        names.insert(name.as_str());
                    }
                    _ => {}
                });
                whole |= seen != read;
            }
        }
        (names.into_iter().map(Name::of).collect(), whole)
    }
}

/// A value as plain bits.
fn bits(value: Val) -> (u8, u64) {
    match value {
        Val::Bool(value) => (1, u64::from(value)),
        Val::Long(value) => (2, value.cast_unsigned()),
        Val::Text(number) => (3, u64::from(number)),
        Val::Entity(_, number) => (4, u64::from(number)),
    }
}
