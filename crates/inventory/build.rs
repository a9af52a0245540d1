//! Packs the shipped table of address blocks into the form in which it is searched.

use std::io::{self, Read as _};
use std::path::Path;
use std::{env, fs};

use flate2::read::GzDecoder;

#[path = "src/oui/pack.rs"]
#[expect(unreachable_pub, reason = "public in the crate, which has more use for it")]
mod pack;

fn main() -> io::Result<()> {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules/oui.tsv.gz");
    println!("cargo:rerun-if-changed={}", table.display());
    println!("cargo:rerun-if-changed=src/oui/pack.rs");
    let mut text = Vec::new();
    GzDecoder::new(fs::File::open(table)?).read_to_end(&mut text)?;
    let packed = pack::pack(&text).map_err(io::Error::other)?;
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("no OUT_DIR"))?;
    fs::write(Path::new(&out).join("oui.bin"), packed)
}
