//! Makes of the files in `rules/` what a run of the program needs: the table of address blocks in the form in which it is searched, packs of rules
//! without their examples.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::Path;
use std::{env, fs};

use flate2::read::GzDecoder;

#[path = "src/oui/pack.rs"]
#[expect(unreachable_pub, reason = "public in the crate, which has more use for it")]
mod pack;

fn main() -> io::Result<()> {
    // Asked for when it runs: where it was compiled may be another checkout that shares the target folder.
    let here = var("CARGO_MANIFEST_DIR")?;
    let (rules, out) = (Path::new(&here).join("../../rules"), var("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", rules.display());
    println!("cargo:rerun-if-changed=src/oui/pack.rs");
    for file in fs::read_dir(&rules)? {
        let path = file?.path();
        if let (Some("toml"), Some(name)) = (extension(&path), path.file_name()) {
            fs::write(Path::new(&out).join(name), without_examples(&fs::read_to_string(&path)?))?;
        }
    }
    let mut text = Vec::new();
    GzDecoder::new(fs::File::open(rules.join("oui.tsv.gz"))?).read_to_end(&mut text)?;
    let packed = pack::pack(&text).map_err(io::Error::other)?;
    fs::write(Path::new(&out).join("oui.bin"), packed)
}

/// A pack without the values of `yes`, `no` and `note` as shipped packs write them: on one line, or as a list that ends with a bracket on a line of
/// its own. Every other line stays in its place.
fn without_examples(pack: &str) -> String {
    let mut lean = String::with_capacity(pack.len());
    let mut in_list = false;
    for line in pack.lines() {
        if in_list || ["yes =", "no =", "note ="].iter().any(|key| line.starts_with(key)) {
            in_list = if in_list { line != "]" } else { line.ends_with("= [") };
        } else {
            lean.push_str(line);
        }
        lean.push('\n');
    }
    lean
}

fn extension(path: &Path) -> Option<&str> {
    path.extension()?.to_str()
}

fn var(name: &str) -> io::Result<OsString> {
    env::var_os(name).ok_or_else(|| io::Error::other(format!("no {name}")))
}
