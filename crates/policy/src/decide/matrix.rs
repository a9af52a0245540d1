//! Every device against every service on every path, at once.
//!
//! A policy is a sheet of cells, a bit for each service and path. What a sheet depends on besides is the
//! little that its conditions read of a device ([`Reads`]): it is filled once for each value of that. A
//! device's row is then the sheets of its permits, laid upon each other, less those of its forbids.

use model::observation::Transport;

use rustc_hash::FxHashMap;

use super::code::Frame;
use super::reads::{Reads, Signatures};
use super::{Action, Ask, Compiled, Decider, TRANSPORTS};
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

/// Bits of the cells that a policy covers, without the empty ends.
#[derive(Clone, Debug, Default)]
struct Sheet {
    start: usize,
    words: Vec<u64>,
}

/// The sheets of one policy, by the number of the values that it reads of a device.
#[derive(Clone, Debug, Default)]
struct Sheets {
    /// Which values these are; none where it reads nothing.
    signature: Option<usize>,
    filled: Vec<Option<Sheet>>,
}

/// What is asked of every device.
struct Question<'q> {
    action: Action,
    paths: &'q [(Transport, u16)],
    moment: Moment,
    width: usize,
}

impl Decider<'_> {
    /// Answers for all devices, all services and these paths.
    pub fn matrix(&self, action: Action, paths: &[(Transport, u16)], moment: Moment) -> Matrix {
        let services = self.folder.estate.services.len();
        let width = services.saturating_mul(paths.len()).div_ceil(64);
        let question = Question { action, paths, moment, width };
        let mut matrix = Matrix { width, paths: paths.len(), services, ..Matrix::default() };
        let mut signatures = Signatures::default();
        let mut sheets: Vec<Sheets> = self
            .policies
            .iter()
            .map(|compiled| {
                let reads = self.reads(compiled);
                let signature = (!reads.is_empty()).then(|| signatures.number(reads));
                Sheets { signature, filled: Vec::new() }
            })
            .collect();
        // Devices whose policies and values are the same share a row.
        let mut known: FxHashMap<(u32, Vec<u32>), u32> = FxHashMap::default();
        let mut row_of_group: Vec<u32> = Vec::new();
        for (group, principal) in self.principal_rows.iter().enumerate() {
            let group = small(group);
            let Some(device) = self.devices.first(group) else {
                continue;
            };
            let values = signatures.values(&self.columns, small(device), group);
            let next = small(known.len());
            let row = *known.entry((*principal, values)).or_insert_with_key(|(_, values)| {
                let start = matrix.rows.len();
                matrix.rows.resize(start.saturating_add(width), 0);
                if let Some(row) = matrix.rows.get_mut(start..) {
                    self.lay(row, *principal, device, values, &mut sheets, &question);
                }
                next
            });
            row_of_group.push(row);
        }
        let row = |group: &u32| row_of_group.get(index(*group)).copied().unwrap_or_default();
        matrix.row_of = self.devices.of.iter().map(row).collect();
        matrix
    }

    /// The sheets of a device's policies upon each other.
    fn lay(
        &self,
        row: &mut [u64],
        principal: u32,
        device: usize,
        values: &[u32],
        sheets: &mut [Sheets],
        question: &Question<'_>,
    ) {
        let mut forbidden = vec![0u64; question.width];
        let actions = (&self.actions, question.action.number());
        super::Rows::first([(&self.principals, principal), actions, actions], |position| {
            let (Some(of), Some(compiled)) =
                (sheets.get_mut(index(position)), self.policies.get(index(position)))
            else {
                return false;
            };
            let value = of.signature.and_then(|s| values.get(s)).map_or(0, |value| index(*value));
            if of.filled.len() <= value {
                of.filled.resize(value.saturating_add(1), None);
            }
            let Some(slot) = of.filled.get_mut(value) else {
                return false;
            };
            let sheet = slot.get_or_insert_with(|| self.fill(compiled, device, question));
            let onto = if position < self.forbids { &mut forbidden[..] } else { &mut *row };
            let onto = onto.get_mut(sheet.start..).unwrap_or_default();
            for (word, more) in onto.iter_mut().zip(&sheet.words) {
                *word |= more;
            }
            false
        });
        for (word, not) in row.iter_mut().zip(forbidden) {
            *word &= !not;
        }
    }

    /// The cells that a policy covers, for a device that its device side lets through.
    fn fill(&self, compiled: &Compiled, device: usize, question: &Question<'_>) -> Sheet {
        let Question { action, paths, moment, width } = *question;
        let mut cells = vec![0u64; width];
        let ask =
            |service, (transport, port)| Ask { device, service, action, transport, port, moment };
        let Some(first) = paths.first().copied() else {
            return Sheet::default();
        };
        let frame = self.frame(&ask(0, first));
        let holds = |frame: &Frame<'_>, context: bool| {
            let mut parts = compiled.left.iter().filter(|left| left.context == context);
            parts.all(|left| self.code.run(&left.at, frame) == Some(left.want))
        };
        let is_plain = compiled.on_cedar.is_none() && compiled.left.iter().all(|l| !l.context);
        for group in &compiled.services {
            let Some(service) = self.services.first(*group) else {
                continue;
            };
            let frame = Frame { service: small(service), ..frame };
            if !holds(&frame, false) {
                continue;
            }
            for (path, (transport, port)) in paths.iter().copied().enumerate() {
                let word = TRANSPORTS.iter().position(|t| *t == transport).unwrap_or(0);
                let protocol = self.transports.get(word).copied().unwrap_or(0);
                let frame = Frame { protocol, port, ..frame };
                let covered = is_plain
                    || holds(&frame, true)
                        && (compiled.on_cedar.is_none()
                            || self.holds_on_cedar(
                                compiled,
                                &frame,
                                &ask(service, (transport, port)),
                            ));
                if !covered {
                    continue;
                }
                for member in self.services.members(*group) {
                    let bit = index(*member).saturating_mul(paths.len()).saturating_add(path);
                    if let Some(word) = cells.get_mut(bit / 64) {
                        *word |= 1 << (bit % 64);
                    }
                }
            }
        }
        let start = cells.iter().position(|word| *word != 0).unwrap_or(width);
        let end =
            cells.iter().rposition(|word| *word != 0).map_or(start, |at| at.saturating_add(1));
        Sheet { start, words: cells.get(start..end).unwrap_or_default().to_vec() }
    }

    /// What the parts of a policy that rows do not decide read of a device.
    fn reads(&self, compiled: &Compiled) -> Reads {
        if compiled.on_cedar.is_some() {
            return Reads::everything();
        }
        let mut reads = compiled.reads.clone();
        // Whether it is maintenance time depends on the device's site.
        if compiled.left.iter().any(|left| left.context)
            && !self.folder.estate.maintenance.is_empty()
        {
            reads.site();
        }
        reads
    }
}
