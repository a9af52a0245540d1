//! What is known about a folder of captures: `truth.json`.

use std::collections::BTreeMap;
use std::path::Path;

use model::Mac;
use serde::Deserialize;

use crate::Stop;

/// One capture.
#[derive(Debug, Deserialize)]
pub(crate) struct Capture {
    pub(crate) file: String,
    pub(crate) assets: Vec<Asset>,
    #[serde(default)]
    pub(crate) not_from_mac: Vec<Hidden>,
    #[serde(default)]
    pub(crate) traps: Vec<String>,
}

/// One link address. An absent field is unknown, not wrong.
#[derive(Debug, Deserialize)]
pub(crate) struct Asset {
    pub(crate) mac: Mac,
    #[serde(default)]
    pub(crate) packets: u64,
    pub(crate) vendor: Option<String>,
    pub(crate) model: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) firmware: Option<String>,
    pub(crate) serial: Option<String>,
    same_asset_as: Option<String>,
    observable: Option<String>,
    pub(crate) trap: Option<String>,
}

/// A device without a link address of its own.
#[derive(Debug, Deserialize)]
pub(crate) struct Hidden {
    pub(crate) parent: Option<Mac>,
    pub(crate) vendor: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) hostname: Option<String>,
}

impl Asset {
    /// The product cannot be proven from the bytes; naming one is a guess.
    pub(crate) fn chip_only(&self) -> bool {
        self.observable.as_deref() == Some("chip only")
    }

    /// The address this one shares a device with, and whether saying so is required.
    pub(crate) fn same_as(&self) -> Option<(Mac, bool)> {
        let text = self.same_asset_as.as_deref()?;
        let mac = text.split_whitespace().next()?.parse().ok()?;
        Some((mac, !text.contains("likely")))
    }
}

impl Capture {
    /// Sets of rows that are one device: by required links only, and by all links.
    pub(crate) fn devices(&self, with_likely: bool) -> Vec<Vec<usize>> {
        let index: BTreeMap<Mac, usize> =
            self.assets.iter().enumerate().map(|(n, a)| (a.mac, n)).collect();
        let mut of: Vec<usize> = (0..self.assets.len()).collect();
        for (n, asset) in self.assets.iter().enumerate() {
            let Some((other, required)) = asset.same_as() else {
                continue;
            };
            let Some(&other) = index.get(&other) else {
                continue;
            };
            if required || with_likely {
                let (Some(&from), Some(&to)) = (of.get(n), of.get(other)) else {
                    continue;
                };
                for group in &mut of {
                    if *group == from {
                        *group = to;
                    }
                }
            }
        }
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (n, group) in of.into_iter().enumerate() {
            groups.entry(group).or_default().push(n);
        }
        groups.into_values().collect()
    }

    /// Rows that a trap tells to keep in quarantine: seen once, so either answer is fine.
    pub(crate) fn is_neutral(&self, asset: &Asset) -> bool {
        asset.packets <= 1 && self.traps.iter().any(|t| t.contains("quarantine"))
    }
}

/// Reads `DIR/truth.json`.
pub(crate) fn read(dir: &Path) -> Result<Vec<Capture>, Stop> {
    let path = dir.join("truth.json");
    let help = "name a folder of captures with a truth.json";
    let text = std::fs::read_to_string(&path)
        .map_err(|e| Stop(format!("{} cannot be read: {e}; {help}", path.display())))?;
    serde_json::from_str(&text).map_err(|e| Stop(format!("{}: {e}; {help}", path.display())))
}
