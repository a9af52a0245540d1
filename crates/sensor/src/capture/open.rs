//! Opening a capture: which format it is, by its first bytes and never by its name.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::pcap::Pcap;
use super::pcapng::PcapNg;
use super::window::{Progress, Window};
use super::{Reading, Source};

/// Opens a capture file, `-` for standard input: pcap or pcapng, plain or in gzip or zstd.
pub fn open(path: &Path) -> Result<Box<dyn Source>, OpenError> {
    let fail = |what: String, help, source| OpenError {
        path: path.to_owned(),
        offset: 0,
        what,
        help,
        source,
    };
    if path == Path::new("-") {
        return read(path, Box::new(io::stdin()), None);
    }
    let unreadable = |error: io::Error| {
        let help = match error.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => "make it readable for this user, or run as another",
            _ => "check the disk or the share it is on",
        };
        fail("cannot be read".to_owned(), help, Some(error))
    };
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if meta.is_dir() {
        let help = "name the capture files in it, such as `FOLDER/*.pcap`";
        return Err(fail("is a folder, not a capture".to_owned(), help, None));
    }
    let size = meta.is_file().then_some(meta.len());
    read(path, Box::new(file), size)
}

/// Reads a capture from anything; `path` only names it, `size` is for progress.
pub fn read(
    path: &Path,
    reader: Box<dyn Read + Send>,
    size: Option<u64>,
) -> Result<Box<dyn Source>, OpenError> {
    let progress = Progress::of(size);
    let mut window = Window::new(progress.counting(reader));
    let mut unit = "byte";
    let unpacked: Option<io::Result<Box<dyn Read + Send>>> = match window.peek::<4>() {
        Some([0x1f, 0x8b, 8, _]) => {
            let packed = std::mem::replace(&mut window, Window::new(Box::new(io::empty())));
            let gzip = flate2::bufread::MultiGzDecoder::new(io::BufReader::new(packed));
            Some(Ok(Box::new(gzip)))
        }
        // A zstd frame, or a skippable frame as parallel compressors put first (RFC 8878 §3.1).
        Some([0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]) => {
            let packed = std::mem::replace(&mut window, Window::new(Box::new(io::empty())));
            Some(zstd_of(packed))
        }
        _ => None,
    };
    let fail = |offset, what: &str, help, source| OpenError {
        path: path.to_owned(),
        offset,
        what: what.to_owned(),
        help,
        source,
    };
    if let Some(unpacked) = unpacked {
        let help = "the compressed file is damaged; fetch it again";
        let reader = unpacked.map_err(|e| fail(0, "cannot be decompressed", help, Some(e)))?;
        window = Window::new(reader);
        unit = "decompressed byte";
    }
    let first: Vec<u8> = {
        window.ensure(SNIFF_BYTES);
        window.rest().iter().take(SNIFF_BYTES).copied().collect()
    };
    if let Some(error) = window.take_error() {
        let what = "reading failed before the first packet";
        return Err(fail(first.len() as u64, what, "fetch the file again", Some(error)));
    }
    let name = path.display().to_string();
    let reading = Reading::new(name, window, unit, progress);
    if first.starts_with(&super::pcapng::SECTION) {
        return match PcapNg::new(reading) {
            Ok(source) => Ok(Box::new(source)),
            Err(what) => {
                Err(fail(0, &what, "the file is damaged; capture or fetch it again", None))
            }
        };
    }
    match Pcap::new(reading) {
        Ok(source) => Ok(Box::new(source)),
        Err(_) => {
            let (what, help) = describe(&first);
            Err(fail(0, what, help, None))
        }
    }
}

/// Why an input is not a capture at all. What goes wrong later is in [`super::Status::errors`].
#[derive(Debug, thiserror::Error)]
#[error("{}: {what} (at byte {offset}){}; {help}", path.display(), cause(source.as_ref()))]
pub struct OpenError {
    /// The input.
    pub path: PathBuf,
    /// Where in the (decompressed) input.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: &'static str,
    /// The system's error, where there is one.
    #[source]
    pub source: Option<io::Error>,
}

fn cause(source: Option<&io::Error>) -> String {
    source.map(|e| format!(": {e}")).unwrap_or_default()
}

/// Enough of an input to tell what it is.
const SNIFF_BYTES: usize = 24;

/// Largest zstd window accepted, as a power of two: what `zstd` itself accepts without `--long`.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

fn zstd_of(packed: Window) -> io::Result<Box<dyn Read + Send>> {
    let mut decoder = zstd::stream::read::Decoder::new(packed)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(Box::new(decoder))
}

/// What a file that is no capture seems to be, and what helps.
fn describe(first: &[u8]) -> (&'static str, &'static str) {
    const KINDS: &[(&[u8], &str, &str)] = &[
        (b"PK\x03\x04", "is a ZIP archive", "unpack it and name the captures in it"),
        (b"BZh", "is compressed with bzip2", "unpack it first: `bunzip2 FILE`"),
        (b"\xfd7zXZ\0", "is compressed with xz", "unpack it first: `unxz FILE`"),
        (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive", "unpack it and name the captures in it"),
        (b"snoop\0\0\0", "is a snoop capture", "convert it first: `editcap -F pcapng IN OUT`"),
        (b"XCP\0", "is a NetXRay capture", "convert it first: `editcap -F pcapng IN OUT`"),
        (b"\x1f\x8b", "is gzip inside a compressed file", "unpack it first: `gunzip FILE`"),
        (b"\x28\xb5\x2f\xfd", "is zstd inside a compressed file", "unpack it first: `unzstd FILE`"),
        (b"\x7fELF", "is a program", "name a pcap or pcapng file"),
        (b"<?xml", "is an XML document", "name a pcap or pcapng file, not its export"),
    ];
    if first.is_empty() {
        return ("is empty", "capture again; nothing was written");
    }
    if let Some((_, what, help)) = KINDS.iter().find(|(magic, _, _)| first.starts_with(magic)) {
        return (what, help);
    }
    if super::pcap::is_magic(first) {
        return ("ends inside the file header", "capture again; nothing else was written");
    }
    if first.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) {
        return ("is text, not a capture", "name a pcap or pcapng file, not its export");
    }
    (
        "is not a pcap or pcapng capture",
        "name a pcap or pcapng file, or convert it with `editcap -F pcapng IN OUT`",
    )
}
