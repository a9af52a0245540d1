//! Puts the built console (`console/dist/site`, made by `./x console`) into the program. Without one the table is empty, and the
//! controller serves a page that says how to build it: `cargo build` needs no node.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    // Asked for when it runs: where it was compiled may be another checkout that shares the target folder.
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = here.ok_or_else(|| io::Error::other("no CARGO_MANIFEST_DIR"))?;
    let dist = Path::new(&here).join("../../console/dist");
    println!("cargo:rerun-if-changed={}", dist.display());
    let root = dist.join("site");
    let mut files = Vec::new();
    if root.is_dir() {
        walk(&root, &mut files)?;
    }
    // The same console makes the same program.
    files.sort();
    let mut table = String::from("&[\n");
    for file in &files {
        let Ok(name) = file.strip_prefix(&root) else { continue };
        let name = name.to_string_lossy().replace('\\', "/");
        if Path::new(&name).extension().is_some_and(|e| e == "br" || e == "gz") {
            continue;
        }
        let packed = |end: &str| {
            let beside = PathBuf::from(format!("{}.{end}", file.display()));
            let include = format!("Some(include_bytes!({:?}))", beside.display().to_string());
            if files.contains(&beside) { include } else { "None".to_owned() }
        };
        let (brotli, gzip) = (packed("br"), packed("gz"));
        let body = format!("include_bytes!({:?})", file.display().to_string());
        let line =
            format!("File {{ name: {name:?}, body: {body}, brotli: {brotli}, gzip: {gzip} }},\n");
        table.write_str(&line).map_err(io::Error::other)?;
    }
    table.push_str("]\n");
    let out = std::env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("no OUT_DIR"))?;
    fs::write(Path::new(&out).join("console.rs"), table)
}

fn walk(at: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(at)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
