//! `ringfence mud`: manufacturer usage descriptions, read, verified, weighed and written.

pub(crate) mod args;
mod files;
mod print;

use crypto::{PrivateKey, Provider};
use miette::{Diagnostic, Result};
use model::Timestamp;
use model::inspect::Report;
use pki::cms::{Demand, Invalid, Signed, Verified};
use pki::path::Purpose;
use policy::mud::propose::{Refused, Subject, propose};
use policy::mud::{Choice, Mud, select};

use self::args::{Check, Export, Mud as Command, Output, ProposalOutput, Propose, Show};
use crate::folder::{self, now};
use crate::{exit, out};

#[derive(Debug, thiserror::Error, Diagnostic)]
enum Fault {
    #[error("{file} is {why}")]
    #[diagnostic(
        code(ringfence::mud::signature_unreadable),
        help(
            "a detached signature in DER or PEM is expected, as `openssl cms -sign -binary -outform DER` writes it"
        )
    )]
    Unreadable { file: String, why: pki::Malformed },
    #[error("the signature does not count: {0}")]
    #[diagnostic(
        code(ringfence::mud::signature),
        help(
            "do not use the file until its maker or an administrator has explained this (RFC 8520 §13.2)"
        )
    )]
    Invalid(Invalid),
    #[error("the device's certificate names {device}, and the file {file}")]
    #[diagnostic(
        code(ringfence::mud::url),
        help("the file describes another device; get the one that the certificate names")
    )]
    OtherUrl { device: String, file: String },
    #[error("none of the files is the one for {subject}")]
    #[diagnostic(
        code(ringfence::mud::choice),
        help(
            "name the firmware with --firmware, or give the one file that fits; `ringfence mud show` tells their versions"
        )
    )]
    Choice { subject: String },
    #[error("{0}")]
    #[diagnostic(code(ringfence::mud::too_much))]
    TooMuch(Refused),
    #[error("{0}")]
    #[diagnostic(
        code(ringfence::mud::not_found),
        help("`type` and `id` of devices stand in estate.toml of the policy folder")
    )]
    Subject(Refused),
    #[error("the folder has no type `{kind}` that is granted anything; it has {known}")]
    #[diagnostic(code(ringfence::mud::not_found))]
    Kind { kind: String, known: String },
    #[error("{file}: {why}")]
    #[diagnostic(code(ringfence::mud::key))]
    Key { file: String, why: crypto::KeyError },
    #[error("the file cannot be signed: {0}")]
    #[diagnostic(code(ringfence::mud::sign))]
    Sign(String),
}

/// Runs a command.
pub(crate) fn run(command: &Command) -> Result<u8> {
    match command {
        Command::Check(args) => check(args),
        Command::Show(args) => show(args),
        Command::Propose(args) => weigh(args),
        Command::Export(args) => export(args),
    }
}

fn check(args: &Check) -> Result<u8> {
    let bytes = folder::bytes(&args.file)?;
    // Who signed comes first: what is not authentic need not be understood (RFC 8520 §13.2).
    let verified = verify(args, &bytes)?;
    let mud = files::mud(&args.file, &bytes)?;
    if let Some(path) = &args.device_cert {
        let device = files::certificates(path)?.into_iter().next().and_then(|c| c.mud_url());
        if device.as_ref().is_some_and(|url| *url != mud.url) {
            let device = device.unwrap_or_default();
            return Err(Fault::OtherUrl { device, file: mud.url.clone() }.into());
        }
    }
    match args.output {
        Output::Table => out::print(|out| print::check(out, &mud, verified.as_ref()))?,
        Output::Json => {
            let signature = verified.as_ref().map(print::signature);
            let mut document = print::document(&mud);
            if let (Some(object), Some(signature)) = (document.as_object_mut(), signature) {
                object.insert("signature".to_owned(), signature);
            }
            out::document(&document)?;
        }
    }
    let remarks = !mud.remarks().is_empty() || !mud.unsupported().is_empty();
    Ok(if args.detailed_exitcode && remarks { exit::FINDINGS } else { exit::FINE })
}

fn verify(args: &Check, file: &[u8]) -> Result<Option<Verified>> {
    let Some(path) = &args.signature else {
        return Ok(None);
    };
    let mut anchors = Vec::new();
    for anchor in &args.anchors {
        anchors.extend(files::certificates(anchor)?);
    }
    let device = match &args.device_cert {
        Some(path) => files::certificates(path)?.into_iter().next(),
        None => None,
    };
    let signed = Signed::read(&folder::bytes(path)?)
        .map_err(|why| Fault::Unreadable { file: path.display().to_string(), why })?;
    let demand = Demand {
        anchors: &anchors,
        at: args.at.unwrap_or_else(now),
        purpose: Purpose::MudFile,
        signer: device.as_ref().and_then(|device| device.mud_signer()),
    };
    Ok(Some(signed.verify(file, &demand, &Provider).map_err(Fault::Invalid)?))
}

fn show(args: &Show) -> Result<u8> {
    let mut muds = Vec::new();
    for path in &args.files {
        muds.push((path.display().to_string(), files::mud(path, &folder::bytes(path)?)?));
    }
    match args.output {
        Output::Table => out::print(|out| {
            let mut all = muds.iter();
            all.try_for_each(|(name, mud)| print::show(out, name, mud, args.fetched, now()))
        }),
        Output::Json => {
            let documents: Vec<_> = muds.iter().map(|(_, mud)| print::document(mud)).collect();
            out::document(&documents)
        }
    }
    .map(|()| exit::FINE)
}

fn weigh(args: &Propose) -> Result<u8> {
    let folder = folder::read(&args.policy)?.folder;
    let mut muds = Vec::new();
    for path in &args.files {
        muds.push(files::mud(path, &folder::bytes(path)?)?);
    }
    let observed = args.observed.as_deref().map(files::report).transpose()?;
    let subject = match (&args.kind, &args.device) {
        (_, Some(id)) => Subject::Device(id.clone()),
        (kind, None) => Subject::Kind(kind.clone().unwrap_or_default()),
    };
    let mud = choose(args, &folder, &muds, observed.as_ref())?;
    let proposal = propose(&folder, mud, &subject, observed.as_ref()).map_err(|why| match why {
        Refused::Unknown(_) => Fault::Subject(why),
        Refused::TooMuch { .. } => Fault::TooMuch(why),
    })?;
    match args.output {
        ProposalOutput::Table => out::print(|out| print::proposal(out, &proposal, args.all))?,
        ProposalOutput::Cedar => out::print(|out| print::cedar(out, &proposal))?,
        ProposalOutput::Json => out::document(&proposal)?,
    }
    let against = !proposal.conflicts.is_empty() || !proposal.undescribed.is_empty();
    Ok(if args.detailed_exitcode && against { exit::FINDINGS } else { exit::FINE })
}

/// The one file, or of several the one for the firmware.
fn choose<'m>(
    args: &Propose,
    folder: &policy::folder::Folder,
    muds: &'m [Mud],
    observed: Option<&Report>,
) -> Result<&'m Mud> {
    if let [one] = muds {
        return Ok(one);
    }
    let device = folder.estate.devices.iter().find(|d| match &args.device {
        Some(id) => d.id == *id,
        None => Some(&d.kind) == args.kind.as_ref(),
    });
    let seen = observed
        .zip(device)
        .and_then(|(report, device)| report.devices.iter().find(|d| d.id == device.id));
    let firmware = seen.and_then(|d| d.firmware.as_ref()).map(|f| f.value.as_str());
    let version = args.firmware.as_deref().or(firmware);
    let announced = device.and_then(|d| d.mud_url.as_deref());
    let chosen = match select(muds, announced, version) {
        Choice::Version(one) | Choice::General(one) => muds.get(one),
        Choice::Unclear => None,
    };
    let name = device.map_or("this subject", |d| d.id.as_str());
    let subject = format!(
        "{name} with {}",
        version.map_or("unknown firmware".to_owned(), |v| format!("firmware {v}"))
    );
    Ok(chosen.ok_or(Fault::Choice { subject })?)
}

fn export(args: &Export) -> Result<u8> {
    let folder = folder::read(&args.policy)?.folder;
    let observed = args.observed.as_deref().map(files::report).transpose()?;
    let at = args.at.unwrap_or_else(now);
    let updated = folder.estate.observed.as_ref().map_or(at, |o| o.last);
    let mut all = policy::mud::export(&folder, observed.as_ref(), updated, &args.base);
    let Some(mut mud) = all.remove(&args.kind) else {
        let known = all.into_keys().collect::<Vec<_>>().join(", ");
        return Err(Fault::Kind { kind: args.kind.clone(), known }.into());
    };
    if args.sign.is_some() {
        mud.signature_url = Some(format!("{}{}.p7s", args.base, args.kind));
    }
    let text = mud.to_json();
    let Some(out) = &args.out else {
        return out::print(|out| out.write_all(text.as_bytes())).map(|()| exit::FINE);
    };
    let signature = match (&args.sign, &args.cert) {
        (Some(key), Some(cert)) => {
            let (signature, signer) = sign(args, key, cert, text.as_bytes(), at)?;
            Some((out.with_extension("p7s"), signature, signer))
        }
        _ => None,
    };
    files::write(out, text.as_bytes())?;
    eprintln!("ringfence: wrote {}", out.display());
    if let Some((path, signature, signer)) = signature {
        files::write(&path, &signature)?;
        eprintln!("ringfence: wrote {}, signed by {signer}", path.display());
    }
    Ok(exit::FINE)
}

fn sign(
    args: &Export,
    key: &std::path::Path,
    cert: &std::path::Path,
    text: &[u8],
    at: Timestamp,
) -> Result<(Vec<u8>, String)> {
    let wrong = |why| Fault::Key { file: key.display().to_string(), why };
    let key = PrivateKey::from_pem(&folder::bytes(key)?).map_err(wrong)?;
    let mut certificates = files::certificates(cert)?;
    if let Some(chain) = &args.chain {
        certificates.extend(files::certificates(chain)?);
    }
    let none = || Fault::Sign("there is no certificate".to_owned());
    let (signer, others) = certificates.split_first().ok_or_else(none)?;
    let signature =
        pki::cms::sign(text, signer, others, at, &key, &Provider).map_err(Fault::Sign)?;
    // A signature that nobody would accept is not written: purpose, validity and key are checked.
    let anchors = certificates.last().map(std::slice::from_ref).unwrap_or_default();
    let demand = Demand { anchors, at, purpose: Purpose::MudFile, signer: None };
    let read = Signed::read(&signature).map_err(|why| Fault::Sign(why.to_string()))?;
    let verified =
        read.verify(text, &demand, &Provider).map_err(|why| Fault::Sign(why.to_string()))?;
    Ok((signature, verified.signer))
}
