//! The command line: words in, texts and an exit code out.

use std::fs;
use std::path::{Path, PathBuf};

use model::Timestamp;
use pki::tpm::{Challenge, Selection};
use pki::{Certificate, Digest};

use crate::agent::{Agent, AgentError, EVENT_LOG, Place, Trust, Wanted};
use crate::home::Home;
use crate::release::{self, Typed};
use crate::{Keys, KeysError, http};

const USAGE: &str = "\
usage: device-agent [--state FOLDER] [--tpm PLACE] COMMAND

  enrol --server HOST:PORT [--root FILE | --root-sha256 HEX] [--token SECRET | --token-file FILE] [--ek-chain FILE]
                         get a certificate, for a key in the TPM where there is one
  renew [--now]          get the next one when two thirds of its life are over
  report [--version TEXT] [--vendor TEXT] [--model TEXT] [--image FILE] [--firmware FILE]
                         say which firmware runs here, as it is called; --image is the one whose SHA-256 is said
                         beside it, --firmware is read in the place of /etc/os-release
  attest [--event-log FILE]
                         say what the TPM measured

  make                   make keys in the TPM, and print what a verifier asks for
  show                   print the same of keys that were made before
  activate BLOB SEED     print the secret in a challenge
  certify NONCE          the TPM says that the device's key is in it
  quote NONCE PCRS       the TPM says what was measured; PCRS as in sha256:0,1,7+sha384:0

  --state FOLDER   /var/lib/device-agent (the default): keys, certificate, root
  --tpm PLACE      /dev/tpmrm0 where it is there (the default), unix:PATH or tcp:HOST:PORT of a swtpm, or none

Values of the last five are hexadecimal, and their answers lines of a name and a value.
Exit codes: 0 fine, 1 failed, 2 refused or not yet, 64 usage.
";

/// Bytes of a file that is named on the command line.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    /// Exit code.
    pub code: u8,
}

enum Stop {
    Usage(String),
    Failed(String),
    Refused(String),
}

impl From<AgentError> for Stop {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Refused { .. } | AgentError::NotYet { .. } => {
                Self::Refused(error.to_string())
            }
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<KeysError> for Stop {
    fn from(error: KeysError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs one command.
pub fn run(words: &[String], now: Timestamp) -> Done {
    let (text, code) = match command(words, now) {
        Ok(out) => return Done { out, err: String::new(), code: 0 },
        Err(Stop::Usage(why)) => (format!("device-agent: {why}\n\n{USAGE}"), 64),
        Err(Stop::Failed(why)) => (format!("device-agent: {why}\n"), 1),
        Err(Stop::Refused(why)) => (format!("device-agent: {why}\n"), 2),
    };
    Done { out: String::new(), err: text, code }
}

fn command(words: &[String], now: Timestamp) -> Result<String, Stop> {
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (mut state, mut place) = ("/var/lib/device-agent", Place::Usual);
    while let [option @ ("--tpm" | "--state"), rest @ ..] = words.as_slice() {
        let missing = || Stop::Usage(format!("{option} has no value"));
        let (value, rest) = rest.split_first().ok_or_else(missing)?;
        match (*option, *value) {
            ("--state", folder) => state = folder,
            (_, "none") => place = Place::None,
            (_, at) => place = Place::At(at.to_owned()),
        }
        words = rest.to_vec();
    }
    let agent = Agent { home: Home::new(Path::new(state)), place };
    match words.as_slice() {
        ["--help" | "-h"] => Ok(USAGE.to_owned()),
        ["enrol", options @ ..] => Ok(line(&agent.enrol(&wanted(options)?)?)),
        ["renew"] => Ok(line(&agent.renew(now, false)?)),
        ["renew", "--now"] => Ok(line(&agent.renew(now, true)?)),
        ["report", options @ ..] => report(&agent, options),
        ["attest"] => attest(&agent, Path::new(EVENT_LOG)),
        ["attest", "--event-log", file] => attest(&agent, Path::new(file)),
        ["make"] => Ok(show(&agent.keys(true)?)),
        ["show"] => Ok(show(&agent.keys(false)?)),
        ["activate", blob, seed] => {
            let challenge = Challenge { blob: bytes(blob)?, seed: bytes(seed)? };
            let secret = agent.keys(false)?.activate(&challenge)?;
            Ok(lines(&[("secret", &secret)]))
        }
        ["certify", nonce] => {
            let nonce = bytes(nonce)?;
            let said = agent.keys(false)?.certify(&nonce)?;
            Ok(lines(&[("attest", &said.attest), ("signature", &said.signature)]))
        }
        ["quote", nonce, pcrs] => {
            let (nonce, selection) = (bytes(nonce)?, selection(pcrs)?);
            let answer = agent.keys(false)?.quote(&nonce, &selection)?;
            let (said, pcrs) = (answer.quote, answer.pcrs.write());
            let all = [("attest", &said.attest), ("signature", &said.signature), ("pcrs", &pcrs)];
            Ok(lines(&all))
        }
        [] => Err(Stop::Usage("a command is missing".to_owned())),
        [command, ..] => Err(Stop::Usage(format!("`{command}` cannot be done like this"))),
    }
}

fn wanted(options: &[&str]) -> Result<Wanted, Stop> {
    let (mut server, mut trust, mut token, mut chain) = (None, None, None, Vec::new());
    let mut rest = options;
    while let [option, value, more @ ..] = rest {
        let twice = || Stop::Usage(format!("{option} stands twice, or against another one"));
        match *option {
            "--server" if server.is_none() => {
                server = Some(http::server(value).map_err(|e| Stop::Usage(e.to_string()))?);
            }
            "--root" if trust.is_none() => {
                let root = certificates(value)?.into_iter().next();
                let root = root.ok_or_else(|| Stop::Failed(format!("{value}: no certificate")))?;
                trust = Some(Trust::Root(Some(Box::new(root))));
            }
            "--root-sha256" if trust.is_none() => {
                let digest = bytes(value)?.try_into();
                let digest = digest
                    .map_err(|_| Stop::Usage(format!("`{value}` is no SHA-256 in hexadecimal")))?;
                trust = Some(Trust::Sha256(digest));
            }
            "--token" if token.is_none() => token = Some((*value).to_owned()),
            "--token-file" if token.is_none() => {
                let text = String::from_utf8(file(value)?);
                let text = text.map_err(|_| Stop::Failed(format!("{value}: it is no text")))?;
                token = Some(text.trim().to_owned());
            }
            "--ek-chain" if chain.is_empty() => chain = certificates(value)?,
            "--server" | "--root" | "--root-sha256" | "--token" | "--token-file" | "--ek-chain" => {
                return Err(twice());
            }
            _ => return Err(Stop::Usage(format!("`{option}` is no option of enrol"))),
        }
        rest = more;
    }
    if let [option, ..] = rest {
        return Err(Stop::Usage(format!("{option} has no value")));
    }
    let server = server.ok_or_else(|| Stop::Usage("enrol needs --server".to_owned()))?;
    Ok(Wanted { server, trust: trust.unwrap_or(Trust::Root(None)), token, ek_chain: chain })
}

fn report(agent: &Agent, options: &[&str]) -> Result<String, Stop> {
    let (mut typed, mut file, mut image) = (Typed::default(), None, None);
    let mut rest = options;
    while let [option, value, more @ ..] = rest {
        let (value, once) = (Some((*value).to_owned()), |is: &Option<String>| is.is_none());
        match *option {
            "--version" if once(&typed.version) => typed.version = value,
            "--vendor" if once(&typed.vendor) => typed.vendor = value,
            "--model" if once(&typed.model) => typed.model = value,
            "--image" if once(&image) => image = value,
            "--firmware" if once(&file) => file = value,
            "--version" | "--vendor" | "--model" | "--image" | "--firmware" => {
                return Err(Stop::Usage(format!("{option} stands twice")));
            }
            _ => return Err(Stop::Usage(format!("`{option}` is no option of report"))),
        }
        rest = more;
    }
    if let [option, ..] = rest {
        return Err(Stop::Usage(format!("{option} has no value")));
    }
    let failed =
        |name: &str, error: &dyn std::fmt::Display| Stop::Failed(format!("{name}: {error}"));
    if let Some(image) = &image {
        typed.hash = Some(sha256(Path::new(image)).map_err(|error| failed(image, &error))?);
    }
    let path = file.as_deref().unwrap_or(release::OS_RELEASE);
    let bytes = match release::file(Path::new(path)) {
        // Not every system has one; a file that was named has to be there.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => Vec::new(),
        read => read.map_err(|error| failed(path, &error))?,
    };
    let said = release::report(&bytes, typed).ok_or_else(|| {
        let why = "no IMAGE_VERSION, BUILD_ID or VERSION_ID is in it; --version says which it is";
        Stop::Failed(format!("{path}: {why}"))
    })?;
    let news = if agent.report(&said)? { "noted" } else { "known already" };
    Ok(format!("version {}: {news}\n", clean(&said.version)))
}

/// SHA-256 of a file, which may be a whole partition.
fn sha256(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut file = fs::File::open(path)?;
    let (mut hash, mut part) = (crypto::Sha256::default(), vec![0; 65_536]);
    loop {
        match file.read(&mut part)? {
            0 => break,
            count => hash.update(part.get(..count).unwrap_or_default()),
        }
    }
    Ok(hash.finish().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn attest(agent: &Agent, log: &Path) -> Result<String, Stop> {
    let Some(verdict) = agent.attest(log)? else {
        return Ok("the key is in no TPM, so there is nothing to attest\n".to_owned());
    };
    let rebooted = if verdict.rebooted { "; it was booted since the last time" } else { "" };
    match (verdict.attested, verdict.until) {
        (true, Some(until)) => Ok(format!("attested until {until}{rebooted}\n")),
        _ => {
            let code = verdict.code.unwrap_or_default();
            Err(Stop::Refused(format!("not attested ({code}): {}", clean(&verdict.why))))
        }
    }
}

fn file(name: &str) -> Result<Vec<u8>, Stop> {
    let path = PathBuf::from(name);
    let failed = |why: String| Stop::Failed(format!("{name}: {why}"));
    let size = fs::metadata(&path).map_err(|e| failed(e.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(failed(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    fs::read(&path).map_err(|e| failed(e.to_string()))
}

fn certificates(name: &str) -> Result<Vec<Certificate>, Stop> {
    Certificate::read_all(&file(name)?).map_err(|error| Stop::Failed(format!("{name}: {error}")))
}

/// What a server says is text, and nothing else.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

fn line(text: &str) -> String {
    format!("{text}\n")
}

fn show(keys: &Keys) -> String {
    let (endorsement, stored) = (keys.endorsement(), keys.stored());
    let none = Vec::new();
    lines(&[
        ("endorsement-certificate", endorsement.certificate.as_ref().unwrap_or(&none)),
        ("endorsement", &endorsement.public),
        ("attestation", &stored.attestation.public),
        ("device", &stored.device.public),
    ])
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
        let run = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            super::run(&words, Timestamp::from_secs(1_900_000_000, 0)).code
        };
        for wrong in [
            &[][..],
            &["--tpm"],
            &["quote"],
            &["quote", "00"],
            &["what"],
            &["enrol"],
            &["enrol", "--server"],
            &["enrol", "--server", "hq"],
            &["enrol", "--server", "hq:1", "--root-sha256", "00"],
            &["enrol", "--server", "hq:1", "--token", "a", "--token", "b"],
            &["enrol", "--server", "hq:1", "--what", "a"],
            &["renew", "--later"],
            &["report", "--version"],
            &["report", "--version", "1", "--version", "2"],
            &["report", "--what", "1"],
        ] {
            assert_eq!(run(wrong), 64, "{wrong:?}");
        }
        assert_eq!(run(&["--help"]), 0);
        assert_eq!(run(&["--state", "/nowhere", "--tpm", "none", "renew"]), 1);
    }
}
