//! Packs the shipped table of address blocks into the form in which it is searched.

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
    let table = Path::new(&here).join("../../rules/oui.tsv.gz");
    println!("cargo:rerun-if-changed={}", table.display());
    println!("cargo:rerun-if-changed=src/oui/pack.rs");
    let mut text = Vec::new();
    GzDecoder::new(fs::File::open(table)?).read_to_end(&mut text)?;
    let packed = pack::pack(&text).map_err(io::Error::other)?;
    fs::write(Path::new(&var("OUT_DIR")?).join("oui.bin"), packed)
}

fn var(name: &str) -> io::Result<OsString> {
    env::var_os(name).ok_or_else(|| io::Error::other(format!("no {name}")))
}
