//! Tables that are told to the controller: read and judged whole, here and there, and only then sent, in parts. Nothing of a table is sent while a row of it is
//! wrong; what was told before is there already, so the same table may be sent again.

use std::path::Path;

use controller::import::{Table, TableRow};
use serde_json::{Value, json};

use super::client::{Client, with_query};
use super::fault::{Fault, Stop, text};
use super::progress;
use super::words::{at, list};

/// A table in a file.
pub(super) struct Sheet {
    /// Which file.
    shown: String,
    table: Table,
}

/// What a row comes to: what is told of it, or what is wrong and what to do.
pub(super) type Judged = Result<Value, String>;

/// Where rows are told, and as what.
pub(super) struct Way<'a> {
    /// The path.
    pub(super) path: &'a str,
    /// The field of the rows.
    pub(super) field: &'a str,
    /// Rows of one request.
    pub(super) most: usize,
    /// Why, for the journal.
    pub(super) why: Option<&'a str>,
}

impl Sheet {
    /// Of a file, or of standard input (`-`).
    pub(super) fn read(file: &Path) -> Result<Self, Fault> {
        let shown = file.display().to_string();
        let bytes = super::import::read(file)?;
        let table = Table::read(&bytes);
        let table = table.map_err(|error| Fault::usage(shown.as_str(), error))?;
        Ok(Self { shown, table })
    }

    /// The columns, as they are written.
    pub(super) fn names(&self) -> &[String] {
        &self.table.names
    }

    /// Where a column is; `None`: there is none.
    pub(super) fn optional(&self, name: &str) -> Option<usize> {
        self.table.column(name)
    }

    /// Where a column is that has to be there.
    pub(super) fn column(&self, name: &str) -> Result<usize, Fault> {
        self.optional(name).ok_or_else(|| self.fault(format!("it has no column `{name}`")))
    }

    /// It is wrong as a whole.
    pub(super) fn fault(&self, why: impl std::fmt::Display) -> Fault {
        let names: Vec<String> = self.names().iter().map(|name| text(name)).collect();
        let help = format!("its first line names the columns; it says: {}", names.join(", "));
        Fault::usage(self.shown.as_str(), why).help(help)
    }

    /// Judges each row, says which are wrong, and tells all of them or none. How many were told, and the controller's answers.
    pub(super) fn tell(
        &self,
        client: impl FnOnce() -> Result<Client, Fault>,
        way: &Way<'_>,
        mut judge: impl FnMut(&TableRow) -> Judged,
        mut answered: impl FnMut(&Value),
    ) -> Result<usize, Stop> {
        let (mut rows, mut wrong) = (Vec::new(), Vec::new());
        for row in &self.table.rows {
            let judged = match row.misfit(&self.table) {
                Some(why) => {
                    let separator = self.table.separator.escape_default();
                    Err(format!("{why}; put values with `{separator}` in them in quotes"))
                }
                None => judge(row),
            };
            match judged {
                Ok(told) => rows.push((row.line, told)),
                Err(why) => wrong.push((row.line, why)),
            }
        }
        self.sound(wrong)?;
        if rows.is_empty() {
            return Err(self.fault("it has no rows").into());
        }
        let mut client = client()?;
        let bar = progress::parts(rows.len(), "judged");
        let mut wrong = Vec::new();
        for part in rows.chunks(way.most) {
            let path = with_query(way.path, &[("dry_run", true.to_string())]);
            let done = client.post(&path, &way.body(part))?;
            wrong.extend(list(&done, "/wrong").map(|one| {
                let place = one.pointer("/at").and_then(Value::as_u64).unwrap_or(u64::MAX);
                let place = usize::try_from(place).unwrap_or(usize::MAX);
                let line = part.get(place).map_or(0, |(line, _)| *line);
                let said = [at(one, "/detail"), at(one, "/help")].map(|part| text(&part));
                let said: Vec<String> = said.into_iter().filter(|part| !part.is_empty()).collect();
                (line, said.join("; "))
            }));
            bar.inc(part.len().try_into().unwrap_or(u64::MAX));
        }
        bar.finish_and_clear();
        self.sound(wrong)?;
        let bar = progress::parts(rows.len(), "told");
        for part in rows.chunks(way.most) {
            let done = client.post(way.path, &way.body(part)).map_err(|fault| {
                let line = part.first().map_or(0, |(line, _)| *line);
                match bar.position() {
                    0 => fault,
                    _ => fault.help(format!(
                        "rows before line {line} were taken; the same file may be sent again"
                    )),
                }
            })?;
            bar.suspend(|| answered(&done));
            bar.inc(part.len().try_into().unwrap_or(u64::MAX));
        }
        bar.finish_and_clear();
        Ok(rows.len())
    }

    /// Nothing is wrong; or says each that is.
    fn sound(&self, wrong: Vec<(u64, String)>) -> Result<(), Fault> {
        let count = match wrong.len() {
            0 => return Ok(()),
            1 => "a row is wrong".to_owned(),
            many => format!("{many} rows are wrong"),
        };
        for (line, why) in wrong {
            eprintln!("{}, line {line}: {why}", self.shown);
        }
        let why = format!("{count}, so nothing of it was sent");
        let help = "put them right, and send the whole file again";
        Err(Fault::usage(self.shown.as_str(), why).help(help))
    }
}

impl Way<'_> {
    fn body(&self, part: &[(u64, Value)]) -> Value {
        let rows: Vec<&Value> = part.iter().map(|(_, told)| told).collect();
        json!({ self.field: rows, "why": self.why })
    }
}
