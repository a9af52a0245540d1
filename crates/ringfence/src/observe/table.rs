//! Verdicts for people: what happened how often, or one line each as they come.

use std::collections::BTreeMap;
use std::io::{self, Write};

use model::Timestamp;
use model::observation::Transport;
use model::verdict::{End, Entry, Kind, Lost, VerdictRecord, Why};

use super::filter::Names;
use super::read::plain;
use crate::terminal::{grouped, table};

/// Rows shown before `--all` is needed.
const ROWS_SHOWN: usize = 40;
/// Different rows that are counted one by one.
const ROWS_MAX: usize = 100_000;

/// What happened how often.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: BTreeMap<Row, Count>,
    by_kind: BTreeMap<Kind, u64>,
    lost: u64,
    gaps: u64,
    /// Verdicts of rows beyond the bound.
    uncounted: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    kind: Kind,
    from: String,
    to: String,
    service: String,
    why: String,
}

#[derive(Debug, Default)]
struct Count {
    times: u64,
    last: Option<Timestamp>,
}

impl Tally {
    /// Counts a line.
    pub(crate) fn add(&mut self, entry: &Entry, names: &Names) {
        let at = entry.at();
        self.first = self.first.into_iter().chain([at]).min();
        self.last = self.last.into_iter().chain([at]).max();
        match entry {
            Entry::Lost(lost) => {
                self.gaps += 1;
                self.lost += lost.records;
            }
            Entry::Verdict(record) => {
                *self.by_kind.entry(record.verdict).or_default() += 1;
                let row = row(record, names);
                if self.rows.len() >= ROWS_MAX && !self.rows.contains_key(&row) {
                    self.uncounted += 1;
                    return;
                }
                let count = self.rows.entry(row).or_default();
                count.times += 1;
                count.last = count.last.into_iter().chain([at]).max();
            }
        }
    }

    /// Verdicts were lost.
    pub(crate) fn has_gaps(&self) -> bool {
        self.gaps > 0
    }

    /// Nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Prints it, most frequent first.
    pub(crate) fn print(&self, out: &mut dyn Write, all: bool) -> io::Result<()> {
        let total: u64 = self.by_kind.values().sum();
        let kinds: Vec<_> =
            self.by_kind.iter().map(|(kind, n)| format!("{} {kind}", grouped(*n))).collect();
        write!(out, "VERDICTS  {}", grouped(total))?;
        if !kinds.is_empty() {
            write!(out, ": {}", kinds.join(", "))?;
        }
        writeln!(out)?;
        if let (Some(first), Some(last)) = (self.first, self.last) {
            writeln!(out, "{} to {}", instant(first), instant(last))?;
        }
        if self.gaps > 0 {
            writeln!(
                out,
                "! {} gaps in the log: at least {} verdicts were not seen by anybody",
                grouped(self.gaps),
                grouped(self.lost)
            )?;
        }
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(row, count)| (std::cmp::Reverse(count.times), *row));
        let mut table = table(&["VERDICT", "FROM", "TO", "SERVICE", "WHY", "TIMES", "LAST"]);
        let shown = if all { rows.len() } else { ROWS_SHOWN };
        for (row, count) in rows.iter().take(shown) {
            table.add_row([
                row.kind.word().to_owned(),
                row.from.clone(),
                row.to.clone(),
                row.service.clone(),
                row.why.clone(),
                grouped(count.times),
                count.last.map(instant).unwrap_or_default(),
            ]);
        }
        if !rows.is_empty() {
            writeln!(out, "{table}")?;
        }
        if rows.len() > shown {
            writeln!(out, "… and {} more rows (--all shows them)", rows.len() - shown)?;
        }
        if self.uncounted > 0 {
            let rest = grouped(self.uncounted);
            writeln!(out, "… and {rest} verdicts in rows beyond the first {ROWS_MAX}: filter")?;
        }
        Ok(())
    }
}

/// One line for one entry.
pub(crate) fn line(entry: &Entry, names: &Names) -> String {
    match entry {
        Entry::Verdict(record) => {
            let Row { kind, from, to, service, why } = row(record, names);
            let by = record.interface_in.as_deref().map(plain);
            let by = by.map_or(String::new(), |name| format!(" in by {name}"));
            format!("{} {kind} {from} to {to} {service}{by}: {why}", instant(record.at))
        }
        Entry::Lost(Lost { at, records, why, .. }) => {
            let at = instant(*at);
            format!("{at} LOST at least {} verdicts: {}", grouped(*records), plain(why))
        }
    }
}

fn row(record: &VerdictRecord, names: &Names) -> Row {
    Row {
        kind: record.verdict,
        from: end(&record.from, names),
        to: end(&record.to, names),
        service: service(record),
        why: why(record),
    }
}

/// Who it is, as well as it is known.
fn end(end: &End, names: &Names) -> String {
    let address = end.ip.map(|ip| ip.to_string()).or_else(|| end.mac.map(|mac| mac.to_string()));
    let address = address.unwrap_or_else(|| "unknown".to_owned());
    let name = end.device.as_ref().map(|id| match names.devices.get(id.as_str()) {
        Some(name) if name != id.as_str() => format!("{id} {}", plain(name)),
        _ => id.to_string(),
    });
    match name.or_else(|| end.service.as_deref().map(plain)) {
        Some(name) => format!("{name} ({address})"),
        None => address,
    }
}

fn service(record: &VerdictRecord) -> String {
    let word = record.transport.word();
    match (record.port, record.transport) {
        (Some(port), Transport::Link) => format!("{word}/0x{port:04x}"),
        (Some(port), _) => format!("{word}/{port}"),
        (None, _) => word.to_owned(),
    }
}

fn why(record: &VerdictRecord) -> String {
    let Why { rule, exception, nearest, differs, check } = &record.why;
    let name = |name: &Option<String>| name.as_deref().map(plain).unwrap_or_default();
    let verb = match record.verdict {
        Kind::WouldDeny => "would be denied by",
        Kind::WouldAllow => "would be allowed by",
        Kind::Denied => "denied by",
        Kind::Logged | Kind::AllowedByException => "allowed by",
    };
    if exception.is_some() {
        return format!("{verb} exception {}", name(exception));
    }
    match (rule, check.as_deref()) {
        (Some(_), Some("rate")) => return format!("more often than {} allows", name(rule)),
        (Some(_), _) => return format!("{verb} {}", name(rule)),
        (None, _) => {}
    }
    let mut out = match differs {
        Some(differs) => format!("no rule: {differs}"),
        None if check.as_deref() == Some("stranger") => "the source is unknown".to_owned(),
        None => "no rule".to_owned(),
    };
    if nearest.is_some() {
        out.push_str(&format!("; nearest is {}", name(nearest)));
    }
    out
}

fn instant(at: Timestamp) -> String {
    let text = at.to_string();
    text.split('.').next().unwrap_or_default().replace('T', " ")
}
