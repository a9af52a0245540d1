//! `score journal`: every Merkle proof vector of a folder is accepted or refused as it says.
//!
//! A vector is a file `*.json` of the Merkle library of transparency-dev, in a folder named after what it proves: `inclusion`,
//! `consistency`, `subtreeinclusion` or `subtreeconsistency`. A hash that is not 32 bytes long cannot be said here, which
//! refuses it; but where a vector says that it does not matter which hash is meant ("don't care 1"), that text stands for a hash.

use std::path::{Path, PathBuf};

use journal::{Hash, proof};
use serde::Deserialize;

use crate::figures::{self, Bar, Figure};
use crate::{Options, Stop};

/// Scores every vector below a folder.
pub(crate) fn run(dir: &Path, options: &Options) -> Result<bool, Stop> {
    let mut tallies = KINDS.map(|(kind, _)| Tally { kind, ..Tally::default() });
    let mut said = Vec::new();
    for path in files(dir)? {
        let kind = path
            .components()
            .rev()
            .find_map(|part| KINDS.iter().position(|(kind, _)| part.as_os_str() == *kind));
        let Some((tally, (_, judge))) =
            kind.and_then(|n| Some((tallies.get_mut(n)?, KINDS.get(n)?)))
        else {
            continue;
        };
        let wrong = |e: &dyn std::fmt::Display| Stop(format!("{}: {e}", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|e| wrong(&e))?;
        let vector: Vector = serde_json::from_str(&text).map_err(|e| wrong(&e))?;
        let judged = judge(&vector).map_err(|field| wrong(&format!("{field} is missing")))?;
        tally.vectors += 1.0;
        if judged.is_ok() == vector.want_err {
            said.push(format!("MISSED {}: {}: {judged:?}", path.display(), vector.desc));
        } else if vector.want_err {
            tally.refused += 1.0;
        } else {
            tally.accepted += 1.0;
        }
    }
    let vectors: f64 = tallies.iter().map(|t| t.vectors).sum();
    if vectors == 0.0 {
        let hint = "name a folder of Merkle proof vectors: ./x score journal DIR";
        return Err(Stop(format!("{} holds none; {hint}", dir.display())));
    }
    let met = figures::print("score journal", &figures(&tallies, vectors), options)?;
    if options.verbose {
        said.iter().for_each(|line| eprintln!("{line}"));
    }
    Ok(met)
}

fn figures(tallies: &[Tally], vectors: f64) -> Vec<Figure> {
    let count = |name: String, n: f64| Figure::new(name, n, "count");
    let mut figures = Vec::new();
    for tally in tallies.iter().filter(|t| t.vectors > 0.0) {
        let right = tally.accepted + tally.refused;
        figures.push(
            count(format!("{} judged right", tally.kind), right)
                .beside(Some(tally.vectors))
                .bar(Bar::AtLeast(tally.vectors)),
        );
        figures.push(count(format!("{} accepted", tally.kind), tally.accepted));
    }
    let right = tallies.iter().map(|t| t.accepted + t.refused).sum();
    let all = count("all judged right".to_owned(), right);
    figures.push(all.beside(Some(vectors)).bar(Bar::AtLeast(vectors)));
    figures
}

#[derive(Debug, Default)]
struct Tally {
    kind: &'static str,
    vectors: f64,
    accepted: f64,
    refused: f64,
}

/// A vector; which fields it has depends on its kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    desc: String,
    want_err: bool,
    proof: Option<Vec<String>>,
    leaf_idx: Option<u64>,
    leaf_hash: Option<String>,
    tree_size: Option<u64>,
    size: Option<u64>,
    size1: Option<u64>,
    size2: Option<u64>,
    start: Option<u64>,
    end: Option<u64>,
    root: Option<String>,
    root1: Option<String>,
    root2: Option<String>,
}

/// What the library says, or which field is missing.
type Judge = fn(&Vector) -> Result<Result<(), String>, &'static str>;

const KINDS: [(&str, Judge); 4] = [
    ("inclusion", |v| match v.tree_size {
        Some(size) => {
            let (index, leaf, root) = (v.leaf_idx.ok_or("leafIdx")?, &v.leaf_hash, &v.root);
            judge([leaf, root], v, |[leaf, root], proof| {
                proof::verify_inclusion(&leaf, index, size, proof, &root)
            })
        }
        // Some of these are of subtrees.
        None => subtree_inclusion(v),
    }),
    ("consistency", |v| {
        let (old, new) = (v.size1.ok_or("size1")?, v.size2.ok_or("size2")?);
        judge([&v.root1, &v.root2], v, |[old_root, new_root], proof| {
            proof::verify_consistency(old, &old_root, new, &new_root, proof)
        })
    }),
    ("subtreeinclusion", subtree_inclusion),
    ("subtreeconsistency", |v| {
        let entries = (v.start.ok_or("start")?, v.end.ok_or("end")?);
        let size = v.size.ok_or("size")?;
        judge([&v.root1, &v.root2], v, |[subtree, root], proof| {
            proof::verify_subtree_consistency(entries, &subtree, size, &root, proof)
        })
    }),
];

fn subtree_inclusion(v: &Vector) -> Result<Result<(), String>, &'static str> {
    let index = v.leaf_idx.ok_or("leafIdx")?;
    let (start, end) = (v.start.ok_or("start")?, v.end.ok_or("end")?);
    judge([&v.leaf_hash, &v.root], v, |[leaf, root], proof| {
        proof::verify_subtree_inclusion(&leaf, index, start, end, proof, &root)
    })
}

/// Reads the hashes and verifies; a hash that cannot be read is refused.
fn judge(
    hashes: [&Option<String>; 2],
    vector: &Vector,
    verify: impl Fn([Hash; 2], &[Hash]) -> Result<(), proof::Invalid>,
) -> Result<Result<(), String>, &'static str> {
    let [Some(a), Some(b)] = hashes else { return Err("a hash") };
    let read = || -> Result<_, journal::Malformed> {
        let proof = vector.proof.iter().flatten().map(|h| Hash::from_base64(h));
        Ok(([hash(a)?, hash(b)?], proof.collect::<Result<Vec<_>, _>>()?))
    };
    Ok(read()
        .map_err(|e| e.to_string())
        .and_then(|(hashes, proof)| verify(hashes, &proof).map_err(|e| e.to_string())))
}

fn hash(text: &str) -> Result<Hash, journal::Malformed> {
    /// "don't care ", which a digit follows.
    const ANY: &str = "ZG9uJ3QgY2FyZS";
    if text.starts_with(ANY) {
        return Ok(Hash::of(text.as_bytes()));
    }
    Hash::from_base64(text)
}

/// JSON files below a folder, in order.
fn files(dir: &Path) -> Result<Vec<PathBuf>, Stop> {
    let wrong = |e| Stop(format!("{} cannot be read: {e}", dir.display()));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.is_dir() {
            paths.extend(files(&path)?);
        } else if path.extension().is_some_and(|e| e == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
