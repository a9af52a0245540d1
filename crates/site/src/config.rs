//! `site.toml`: what a site decides for itself. It stands in the policy folder or beside it.

use std::collections::BTreeSet;

use policy::folder::Zone;
use serde::{Deserialize, Serialize};

use crate::gate::Thresholds;
use crate::life::Limits;

/// The file's name in the policy folder.
pub const FILE: &str = "site.toml";

/// What the file may say; all of it has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Promotion gate and step back.
    pub gate: Thresholds,
    /// Emergency grants.
    pub break_glass: BreakGlass,
    /// The site's resolver.
    pub resolver: Resolver,
    /// The site's time, which hours and maintenance windows in policies are in: minutes east of UTC.
    pub utc_offset_min: i32,
}

/// The site's resolver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resolver {
    /// Zones whose questions for names outside policy are refused; others get an answer, and still no
    /// path.
    pub refuse: BTreeSet<String>,
}

/// Emergency grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakGlass {
    /// Longest, in seconds.
    pub max_s: u64,
}

impl Default for BreakGlass {
    /// Four hours: half a shift. Longer needs a second decision.
    fn default() -> Self {
        Self { max_s: 4 * 3_600 }
    }
}

/// A `site.toml` that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{FILE}:{line}: {why}")]
pub struct SettingsError {
    /// Line from 1; 0 where the whole file is meant.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

/// Reads the text of `site.toml`.
pub fn parse(text: &str) -> Result<Settings, SettingsError> {
    let settings: Settings = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count().saturating_add(1);
        SettingsError { line, why: error.message().to_owned() }
    })?;
    let wrong = |why: String| SettingsError { line: 0, why };
    settings.gate.check().map_err(wrong)?;
    if !(1..=7 * 86_400).contains(&settings.break_glass.max_s) {
        return Err(wrong("break_glass.max_s: use 1 to 604800 seconds".to_owned()));
    }
    if !(-840..=840).contains(&settings.utc_offset_min) {
        return Err(wrong("utc_offset_min: use -840 to 840 minutes".to_owned()));
    }
    Ok(settings)
}

impl Settings {
    /// That the zones it names are there.
    pub fn fit(&self, zones: &[Zone]) -> Result<(), SettingsError> {
        let known = |id: &&String| zones.iter().any(|zone| zone.id == **id);
        let Some(unknown) = self.resolver.refuse.iter().find(|id| !known(id)) else {
            return Ok(());
        };
        let zones: Vec<&str> = zones.iter().map(|zone| zone.id.as_str()).collect();
        let zones = zones.join(", ");
        let why = format!("resolver.refuse: there is no zone `{unknown}`; the zones are: {zones}");
        Err(SettingsError { line: 0, why })
    }

    /// As the state machine wants them.
    pub fn limits(&self) -> Limits {
        Limits { break_glass_max_s: self.break_glass.max_s, thresholds: self.gate.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_and_where() {
        assert_eq!(parse("").unwrap(), Settings::default());
        let settings = parse("[gate]\ndays_min = 14\n[break_glass]\nmax_s = 600\n").unwrap();
        assert_eq!((settings.gate.days_min, settings.break_glass.max_s), (14.0, 600));
        let error = parse("[resolver]\nrefuse = [\"plcs\"]\n").unwrap().fit(&[]).unwrap_err();
        assert!(error.to_string().contains("resolver.refuse: there is no zone `plcs`"), "{error}");
        assert_eq!(settings.fit(&[]), Ok(()));
        for (text, expect) in [
            ("[gate]\ndays = 3\n", "site.toml:2: unknown field `days`"),
            ("[gate]\nexplained_min = 99.0\n", "explained_min = 99: use 0 to 1"),
            ("[break_glass]\nmax_s = 0\n", "break_glass.max_s"),
            ("utc_offset_min = 900\n", "utc_offset_min"),
            ("gate = \n", "site.toml:1: "),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
    }
}
