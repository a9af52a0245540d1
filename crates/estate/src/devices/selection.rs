//! Which devices: a selector, an expression and words, all of which have to hold.

use std::net::IpAddr;

use model::{Assurance, Timestamp};
use policy::filter::{Filter, FilterError, Subject, Text};

use super::device::Device;
use super::query::{Query, QueryError};
use super::{Field, VALUE_CHARS_MAX};

/// Devices that are chosen by what they are.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    query: Query,
    filter: Option<Filter>,
    /// In small letters.
    words: String,
    now: Timestamp,
}

/// A selection that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// The selector.
    #[error(transparent)]
    Selector(#[from] QueryError),
    /// The expression.
    #[error(transparent)]
    Where(#[from] FilterError),
    /// The words.
    #[error("words to look for are at most {VALUE_CHARS_MAX} characters")]
    Words,
}

/// What people look for words in.
const LOOKED_AT: [Field; 5] =
    [Field::Name, Field::Hostname, Field::Vendor, Field::Model, Field::Owner];

impl Selection {
    /// Reads a selector, an expression, and words that occur in a name, an address or the like; nothing selects everything. Time
    /// in the expression is measured from `now`.
    pub fn parse(
        selector: Option<&str>,
        expression: Option<&str>,
        words: Option<&str>,
        now: Timestamp,
    ) -> Result<Self, SelectionError> {
        let query = Query::parse(selector.unwrap_or_default())?;
        let expression = expression.filter(|text| !text.trim().is_empty());
        let filter = expression.map(Filter::parse).transpose()?;
        let words = words.unwrap_or_default().trim().to_lowercase();
        if words.chars().count() > VALUE_CHARS_MAX {
            return Err(SelectionError::Words);
        }
        Ok(Self { query, filter, words, now })
    }

    /// All of it holds for a device.
    pub fn selects(&self, device: &Device) -> bool {
        self.query.selects(device)
            && self.filter.as_ref().is_none_or(|filter| filter.holds(device, self.now))
            && (self.words.is_empty() || self.names(device))
    }

    /// It selects everything.
    pub fn is_all(&self) -> bool {
        self.query.is_all() && self.filter.is_none() && self.words.is_empty()
    }

    /// What people would call the device has the words in it.
    fn names(&self, device: &Device) -> bool {
        let has = |text: &str| has_ignoring_case(text, &self.words);
        has(device.id.as_str())
            || LOOKED_AT.iter().any(|field| device.value(*field).is_some_and(has))
            || Subject::keys(device).filter_map(|key| key.strip_prefix("mac/")).any(has)
            || self.words.bytes().all(|b| b.is_ascii_hexdigit() || b == b'.' || b == b':')
                && device.addresses.iter().any(|address| has(&address.to_string()))
    }
}

/// `words` are in small letters.
fn has_ignoring_case(text: &str, words: &str) -> bool {
    match text.is_ascii() {
        true => {
            text.as_bytes().windows(words.len()).any(|w| w.eq_ignore_ascii_case(words.as_bytes()))
        }
        false => text.to_lowercase().contains(words),
    }
}

impl Subject for Device {
    fn text(&self, of: Text) -> &str {
        let said = |field| self.value(field);
        let said = match of {
            Text::Id => Some(self.id.as_str()),
            Text::Site => Some(self.site.as_str()),
            Text::State => Some(self.state.word()),
            Text::Name => said(Field::Name),
            Text::Owner => said(Field::Owner),
            Text::Zone => said(Field::Zone),
            Text::Type => said(Field::Type),
            Text::Vendor => said(Field::Vendor),
            Text::Model => said(Field::Model),
            Text::Firmware => said(Field::Firmware),
            Text::Hardware => said(Field::Hardware),
            Text::Serial => said(Field::Serial),
            Text::Os => said(Field::Os),
            Text::Hostname => said(Field::Hostname),
            Text::Criticality => said(Field::Criticality),
            Text::Posture => said(Field::Posture),
            Text::Support => said(Field::Support),
            Text::Exposure => said(Field::Exposure),
            Text::MudUrl => said(Field::MudUrl),
        };
        said.unwrap_or(of.otherwise())
    }

    fn assurance(&self) -> i64 {
        let word = self.value(Field::Assurance);
        let level = Assurance::ALL.into_iter().find(|level| Some(level.word()) == word);
        i64::from(level.unwrap_or_default().rank())
    }

    fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &**key)
    }

    fn label(&self, name: &str) -> Option<&str> {
        Self::label(self, name)
    }

    fn resurfaced(&self) -> bool {
        self.resurfaced
    }

    fn confused(&self) -> bool {
        !self.confused_with.is_empty()
    }

    fn first_seen(&self) -> Timestamp {
        Self::first_seen(self)
    }

    fn last_seen(&self) -> Timestamp {
        Self::last_seen(self)
    }
}
