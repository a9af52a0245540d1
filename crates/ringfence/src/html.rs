//! The report as one page that needs nothing else: no server, no network, no second file.

use std::collections::BTreeMap;

use model::inspect::Report;
use policy::draft::Draft;
use serde_json::json;

use crate::demo::Proof;

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// The page. Data is embedded as JSON that cannot end its element; the script only ever sets text.
pub(crate) fn page(
    report: &Report,
    draft: &Draft,
    proof: Option<&Proof>,
) -> Result<String, serde_json::Error> {
    let zones: BTreeMap<&str, &str> =
        draft.folder.estate.devices.iter().map(|d| (d.id.as_str(), d.zone.as_str())).collect();
    let data = serde_json::to_string(&json!({ "report": report, "zones": zones, "proof": proof }))?;
    let data = data.replace('<', "\\u003c").replace("\u{2028}", "\\u2028");
    Ok(PAGE.replace("/*CSS*/", STYLE).replace("/*JS*/", SCRIPT).replace("/*DATA*/", &data))
}
