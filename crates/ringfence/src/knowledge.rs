//! What the inventory believes with: the shipped rules and address blocks, and a site's own.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use inventory::Knowledge;
use inventory::import::{home_assistant, recog};
use inventory::oui::Oui;
use inventory::resolvers::Resolvers;
use inventory::rules::{RulePack, Rules};
use miette::{Diagnostic, IntoDiagnostic, Result, WrapErr};

/// Largest table read after decompression, in bytes.
const BLOCKS_BYTES_MAX: u64 = 64 << 20;

/// A file of rules or address blocks that cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{}: {why}", path.display())]
#[diagnostic(code(ringfence::knowledge), help("rules/README.md describes the format"))]
struct Unusable {
    path: PathBuf,
    why: String,
}

/// Loads the shipped knowledge, then the site's own on top.
pub(crate) fn load(rules: Option<&Path>, oui: Option<&Path>) -> Result<Knowledge> {
    let exists = |name: &str| dissect::fields::exists(name);
    let packs = RulePack::shipped(&exists).into_diagnostic();
    let mut packs =
        packs.wrap_err("a shipped rule pack is broken; this is a defect of Ringfence")?;
    for path in rules.map(rule_files).transpose()?.into_iter().flatten() {
        packs.push(pack(&path, &exists)?);
    }
    let rules = Rules::new(packs).into_diagnostic()?;
    let oui = match oui {
        None => Oui::shipped(),
        Some(path) => {
            let wrong = |why: String| Unusable { path: path.to_owned(), why };
            let table = fs::read(path).and_then(|t| plain(&t)).map_err(|e| wrong(e.to_string()))?;
            Oui::parse(&table).map_err(|e| wrong(e.to_string()))?
        }
    };
    let resolvers = Resolvers::shipped().into_diagnostic();
    let resolvers = resolvers.wrap_err(
        "the shipped list of public resolvers is broken; this is a defect of Ringfence",
    )?;
    Ok(Knowledge { rules, oui, resolvers })
}

/// The table's text: as it is, or out of gzip.
fn plain(table: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if table.starts_with(&[0x1f, 0x8b]) {
        GzDecoder::new(table).take(BLOCKS_BYTES_MAX).read_to_end(&mut text)?;
    } else {
        text.extend_from_slice(table);
    }
    Ok(text)
}

/// One file of rules: Ringfence's own format, Recog fingerprints (`*.xml`) or Home Assistant's
/// generated matchers (`*.py`, `*.json`). What an import cannot use is counted, not hidden.
fn pack(path: &Path, exists: &dyn Fn(&str) -> bool) -> Result<RulePack> {
    let wrong = |why: String| Unusable { path: path.to_owned(), why };
    let text = fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let name = path.display().to_string();
    let imported = match path.extension().and_then(|e| e.to_str()) {
        Some("xml") => recog::parse(&text).map_err(|e| wrong(e.to_string()))?,
        Some("py" | "json") => home_assistant::parse(&text).map_err(|e| wrong(e.to_string()))?,
        _ => return Ok(RulePack::parse(&name, &text, exists).map_err(|e| wrong(e.to_string()))?),
    };
    eprintln!(
        "ringfence: {name}: {} rules, {} skipped",
        imported.rules.len(),
        imported.skipped.len()
    );
    Ok(RulePack::from_rules(&name, &imported.rules, exists).map_err(|e| wrong(e.to_string()))?)
}

fn rule_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let wrong = |why: String| Unusable { path: folder.to_owned(), why };
    let entries = fs::read_dir(folder).map_err(|e| wrong(e.to_string()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| {
            let extension = path.extension().and_then(|e| e.to_str());
            extension.is_some_and(|e| matches!(e, "toml" | "xml" | "py" | "json"))
        })
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(wrong("there is no *.toml, *.xml, *.py or *.json file in it".to_owned()).into());
    }
    Ok(files)
}
