//! The agent's program: one command, one answer of the TPM, then it ends. What carries answers to a verifier calls it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use device_agent::{Keys, KeysError, Stored, Tpm, TpmError, transport};
use pki::Digest;
use pki::tpm::{Challenge, Selection};

const USAGE: &str = "\
usage: device-agent [--tpm PLACE] [--keys FILE] COMMAND

  enrol                  make keys in the TPM, keep them in FILE, and print what a verifier asks for
  show                   print the same of keys that were made before
  activate BLOB SEED     print the secret in a challenge
  certify NONCE          the TPM says that the device's key is in it
  quote NONCE PCRS       the TPM says what was measured; PCRS as in sha256:0,1,7+sha384:0

  --tpm PLACE   /dev/tpmrm0 (the default), unix:PATH or tcp:HOST:PORT of a swtpm
  --keys FILE   /var/lib/device-agent/keys (the default); of no use without this TPM

Values are hexadecimal. Answers are lines of a name and a value.
Exit codes: 0 fine, 1 failed, 64 usage.
";

/// Bytes of the longest file of keys that is read.
const FILE_BYTES_MAX: u64 = 16_384;

enum Stop {
    Usage(String),
    Failed(String),
}

impl From<KeysError> for Stop {
    fn from(error: KeysError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<TpmError> for Stop {
    fn from(error: TpmError) -> Self {
        Self::Failed(error.to_string())
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let stop = match run(&arguments) {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => Stop::Failed(format!("the answer cannot be written: {error}")),
        },
        Err(stop) => stop,
    };
    let (text, code) = match stop {
        Stop::Usage(why) => (format!("device-agent: {why}\n\n{USAGE}"), 64),
        Stop::Failed(why) => (format!("device-agent: {why}\n"), 1),
    };
    let _ = io::stderr().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn run(arguments: &[String]) -> Result<String, Stop> {
    let (mut place, mut file) = ("/dev/tpmrm0", "/var/lib/device-agent/keys");
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    while let [option @ ("--tpm" | "--keys"), rest @ ..] = words.as_slice() {
        let missing = || Stop::Usage(format!("{option} has no value"));
        let (value, rest) = rest.split_first().ok_or_else(missing)?;
        *(if *option == "--tpm" { &mut place } else { &mut file }) = value;
        words = rest.to_vec();
    }
    let file = PathBuf::from(file);
    match words.as_slice() {
        ["--help" | "-h"] => Ok(USAGE.to_owned()),
        ["enrol"] => enrol(place, &file),
        ["show"] => Ok(show(&open(place, &file)?)),
        ["activate", blob, seed] => {
            let challenge = Challenge { blob: bytes(blob)?, seed: bytes(seed)? };
            let secret = open(place, &file)?.activate(&challenge)?;
            Ok(lines(&[("secret", &secret)]))
        }
        ["certify", nonce] => {
            let nonce = bytes(nonce)?;
            let said = open(place, &file)?.certify(&nonce)?;
            Ok(lines(&[("attest", &said.attest), ("signature", &said.signature)]))
        }
        ["quote", nonce, pcrs] => {
            let (nonce, selection) = (bytes(nonce)?, selection(pcrs)?);
            let answer = open(place, &file)?.quote(&nonce, &selection)?;
            let (said, pcrs) = (answer.quote, answer.pcrs.write());
            let all = [("attest", &said.attest), ("signature", &said.signature), ("pcrs", &pcrs)];
            Ok(lines(&all))
        }
        [] => Err(Stop::Usage("a command is missing".to_owned())),
        [command, ..] => Err(Stop::Usage(format!("`{command}` cannot be done like this"))),
    }
}

/// Keys are never replaced: whoever wants new ones takes the file away.
fn enrol(place: &str, file: &Path) -> Result<String, Stop> {
    if file.exists() {
        let why = format!("there are keys in {}; take it away to enrol again", file.display());
        return Err(Stop::Failed(why));
    }
    let keys = Keys::make(tpm(place)?)?;
    let kept = keep(file, &keys.stored().write());
    kept.map_err(|e| Stop::Failed(format!("{} cannot be written: {e}", file.display())))?;
    Ok(show(&keys))
}

fn show(keys: &Keys) -> String {
    let (endorsement, stored) = (keys.endorsement(), keys.stored());
    lines(&[
        ("endorsement-certificate", &endorsement.certificate),
        ("endorsement", &endorsement.public),
        ("attestation", &stored.attestation.public),
        ("device", &stored.device.public),
    ])
}

fn tpm(place: &str) -> Result<Tpm, Stop> {
    let opened = transport::open(place);
    Ok(Tpm::new(opened.map_err(|e| Stop::Failed(format!("{place} cannot be opened: {e}")))?))
}

fn open(place: &str, file: &Path) -> Result<Keys, Stop> {
    let failed = |why: String| Stop::Failed(format!("{}: {why}", file.display()));
    let size = fs::metadata(file).map_err(|e| failed(e.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(failed("it is too long for a file of keys".to_owned()));
    }
    let stored = Stored::read(&fs::read(file).map_err(|e| failed(e.to_string()))?)?;
    Ok(Keys::open(tpm(place)?, stored)?)
}

/// Whole or not at all, and only for its owner.
fn keep(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut options = OpenOptions::new();
    let mut written = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    fs::rename(&new, file)
}

fn lines(all: &[(&str, &Vec<u8>)]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    all.iter().map(|(name, value)| format!("{name} {}\n", hex(value))).collect()
}

fn bytes(text: &str) -> Result<Vec<u8>, Stop> {
    let digit = |c: char| c.to_digit(16).and_then(|d| u8::try_from(d).ok());
    let digits: Option<Vec<u8>> = text.chars().map(digit).collect();
    let digits = digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0);
    let digits = digits.ok_or_else(|| Stop::Usage(format!("`{text}` is not hexadecimal")))?;
    Ok(digits.chunks(2).map(|two| two.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

/// `sha256:0,1,7+sha384:0`.
fn selection(text: &str) -> Result<Selection, Stop> {
    let wrong = || Stop::Usage(format!("`{text}` names no PCRs; sha256:0,1,7 does"));
    let mut selection = Selection::default();
    for bank in text.split('+') {
        let (name, pcrs) = bank.split_once(':').ok_or_else(wrong)?;
        let bank = match name {
            "sha256" => Digest::Sha256,
            "sha384" => Digest::Sha384,
            "sha512" => Digest::Sha512,
            _ => return Err(wrong()),
        };
        for pcr in pcrs.split(',') {
            let pcr = pcr.parse().ok().filter(|pcr| *pcr < pki::tpm::REGISTERS);
            selection = selection.and(bank, [pcr.ok_or_else(wrong)?]);
        }
    }
    Ok(selection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_command_line() {
        assert_eq!(bytes("00fF").ok(), Some(vec![0, 0xff]));
        for wrong in ["", "0", "0g", "0x00", "é0"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        let expected = Selection::of(Digest::Sha256, [0, 7]).and(Digest::Sha384, [23]);
        assert_eq!(selection("sha256:7,0+sha384:23").ok(), Some(expected));
        for wrong in ["", "sha256", "sha256:", "sha256:24", "sha1:0", "sha256:0+", "sha256:0,"] {
            assert!(selection(wrong).is_err(), "{wrong}");
        }
        let run = |words: &[&str]| run(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        for wrong in [&[][..], &["--tpm"], &["quote"], &["quote", "00"], &["what"]] {
            assert!(matches!(run(wrong), Err(Stop::Usage(_))), "{wrong:?}");
        }
        assert!(run(&["--help"]).is_ok());
    }
}
