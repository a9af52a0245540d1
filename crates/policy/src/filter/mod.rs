//! Which devices: a Cedar expression about one device, checked against a schema and compiled.
//!
//! ```text
//! device.type == "ip-camera" && device.zone != "cameras" && device.last_seen < now.offset(duration("-1d"))
//! ```
//!
//! The words are those of policies, with `device` for `principal`, and more of them (`policies/filter.cedarschema`). Nothing is optional: what
//! nobody says is `""`, so that no comparison fails, and `device has owner` means that somebody says something. Labels are
//! `device.labels.rack` or `device.labels["rack"]`, `""` too where there is none.
//!
//! Cedar parses and type-checks, and [`Filter::ask_cedar`] evaluates for tests; [`Filter::holds`] runs what was compiled, in well under
//! a microsecond. They agree (`tests/it/filters.rs`).

mod compile;
mod oracle;
mod read;
mod run;

use std::net::IpAddr;

use model::Timestamp;

use compile::Node;

/// The words.
pub const SCHEMA: &str = include_str!("../../policies/filter.cedarschema");
/// Bytes of one expression.
pub const BYTES_MAX: usize = 8 << 10;
/// Words and signs of one expression, without texts and commas.
pub const SIGNS_MAX: usize = 512;
/// How deep it nests; what is chained nests too. Cedar reads with calls inside calls.
pub const DEPTH_MAX: usize = 64;

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $word:literal $(or $otherwise:literal)?),+ $(,)?) => {
        /// What is said about a device as text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Text { $($(#[$doc])* $name),+ }

        impl Text {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its word behind `device.`.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }

            /// What it is where nobody says anything.
            pub const fn otherwise(self) -> &'static str {
                match self { $(Self::$name => concat!($($otherwise)?)),+ }
            }

            fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|text| text.word() == word)
            }
        }
    };
}

texts!(
    /// Its id.
    Id = "id",
    /// What people call it.
    Name = "name",
    /// Team that is answerable.
    Owner = "owner",
    /// Zone of the policy.
    Zone = "zone",
    /// Where it is.
    Site = "site",
    /// What it is.
    Type = "type" or "unknown",
    /// Who makes it.
    Vendor = "vendor",
    /// Product designation.
    Model = "model",
    /// Version of what runs on it.
    Firmware = "firmware",
    /// Hardware revision.
    Hardware = "hardware",
    /// Serial number.
    Serial = "serial",
    /// Operating system.
    Os = "os",
    /// Name it gives itself.
    Hostname = "hostname",
    /// What hangs on it.
    Criticality = "criticality",
    /// `normal`, `watched`, `quarantined`.
    Posture = "posture" or "normal",
    /// `supported`, `ending`, `ended`, `unknown`.
    Support = "support" or "unknown",
    /// `none`, `vulnerable`, `known-exploited`, `unknown`.
    Exposure = "exposure" or "unknown",
    /// Manufacturer usage description that it announces.
    MudUrl = "mud_url",
    /// `active`, `stale`, `retired`.
    State = "state",
);

/// A device as a filter looks at it.
pub trait Subject {
    /// What is said; [`Text::otherwise`] where nobody says anything.
    fn text(&self, of: Text) -> &str;
    /// Rung of the identity ladder, from 0.
    fn assurance(&self) -> i64;
    /// Its addresses.
    fn addresses(&self) -> &[IpAddr];
    /// Its identifiers, `KIND/VALUE`; those of the kind `mac` are its link addresses.
    fn keys(&self) -> impl Iterator<Item = &str>;
    /// Value of a label.
    fn label(&self, name: &str) -> Option<&str>;
    /// It was seen after it was retired.
    fn resurfaced(&self) -> bool;
    /// Another one has an identifier of it too.
    fn confused(&self) -> bool;
    /// First sign of life.
    fn first_seen(&self) -> Timestamp;
    /// Last one.
    fn last_seen(&self) -> Timestamp;
}

/// An expression that is understood.
#[derive(Clone, Debug)]
pub struct Filter {
    node: Node,
    policy: Box<cedar_policy::Policy>,
}

impl Filter {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        read::parse(text)
    }

    /// Whether it holds for a device at a time. Arithmetic that overflows makes it not hold, as in Cedar.
    pub fn holds(&self, device: &impl Subject, now: Timestamp) -> bool {
        self.node.holds(device, millis(now))
    }

    /// What Cedar says to the same question; slow. `Err`: the question cannot be asked.
    pub fn ask_cedar(&self, device: &impl Subject, now: Timestamp) -> Result<bool, String> {
        oracle::ask(&self.policy, device, millis(now))
    }
}

/// Cedar's instants are in milliseconds.
fn millis(at: Timestamp) -> i64 {
    at.as_nanos().div_euclid(1_000_000)
}

/// An expression that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", self.place())]
pub struct FilterError {
    /// What is wrong.
    pub what: String,
    /// What to do; may be empty.
    pub help: String,
    /// Line from 1; 0: it is about the whole expression.
    pub line: u32,
    /// Column from 1, in characters.
    pub column: u32,
    /// The line it is in.
    text: Box<str>,
}

impl FilterError {
    fn at(text: &str, offset: Option<usize>, what: impl Into<String>, help: &str) -> Self {
        let (line, column) = offset.map_or((0, 0), |at| crate::fault::position(text, at));
        let number = usize::try_from(line.saturating_sub(1)).unwrap_or(0);
        let text = text.lines().nth(number).unwrap_or_default().into();
        Self { what: what.into(), help: help.to_owned(), line, column, text }
    }

    fn place(&self) -> String {
        match (self.line, self.column) {
            (0, _) => String::new(),
            (1, column) => format!("column {column}: "),
            (line, column) => format!("line {line}, column {column}: "),
        }
    }

    /// What is wrong, and below it the line with a mark under the place.
    pub fn shown(&self) -> String {
        /// Characters shown before and behind the place.
        const AROUND: usize = 60;
        let Some(before) = usize::try_from(self.column).ok().and_then(|c| c.checked_sub(1)) else {
            return self.to_string();
        };
        let skipped = before.saturating_sub(AROUND);
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let part: String =
            self.text.chars().skip(skipped).take(AROUND.saturating_mul(2)).map(plain).collect();
        let indent = " ".repeat(before.saturating_sub(skipped));
        format!("{self}\n  {part}\n  {indent}^")
    }
}
