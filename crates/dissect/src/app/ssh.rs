//! SSH (RFC 4253): software on both sides, and the server's host key.

use model::observation::IdentifierKind;
use sha2::{Digest as _, Sha256};

use crate::text::{base64, clean};
use crate::{About, Ctx, Malformed, Probe, Reader, Sink, Step};

use super::lines;

/// Identification line (RFC 4253 §4.2).
pub(super) fn probe(bytes: &[u8]) -> Probe {
    if bytes.starts_with(b"SSH-2.0-") || bytes.starts_with(b"SSH-1.") {
        Probe::Yes
    } else if !bytes.is_empty() && b"SSH-".starts_with(bytes) {
        Probe::Maybe
    } else {
        Probe::No
    }
}

const PACKET_BYTES_MAX: usize = 35_000;

/// Reads the identification line and the plain packets of the key exchange.
pub(super) fn run(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if bytes.starts_with(b"SSH-") {
        return match lines::line(bytes) {
            Some((line, length)) => {
                let text = clean(line);
                let software = text.splitn(3, '-').nth(2).unwrap_or_default();
                sink.says("ssh.software", software);
                Step::Consumed(length)
            }
            None if bytes.len() < 256 => Step::NeedMore,
            None => Step::Resync,
        };
    }
    let mut r = Reader::new(bytes);
    match packet(&mut r) {
        Ok(payload) => {
            let consumed = bytes.len() - r.len();
            match payload.first() {
                // SSH_MSG_NEWKEYS: the rest is encrypted.
                Some(21) => Step::Done,
                Some(31 | 33) => {
                    if host_key(payload.get(1..).unwrap_or_default(), sink) {
                        Step::Done
                    } else {
                        Step::Consumed(consumed)
                    }
                }
                _ => Step::Consumed(consumed),
            }
        }
        Err(Malformed::Truncated) => Step::NeedMore,
        // Encrypted, or joined in the middle.
        Err(_) => Step::Done,
    }
}

/// One unencrypted packet (RFC 4253 §6).
fn packet<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(r.u32_be()?).map_err(|_| Malformed::Limit)?;
    if !(8..=PACKET_BYTES_MAX).contains(&length) || (length + 4) % 8 != 0 {
        return Err(Malformed::NotMine);
    }
    let body = r.take(length)?;
    let padding = usize::from(*body.first().ok_or(Malformed::Truncated)?);
    let end = length.checked_sub(padding).filter(|end| *end > 1).ok_or(Malformed::NotMine)?;
    let payload = body.get(1..end).ok_or(Malformed::NotMine)?;
    // Transport, key exchange (§12); user authentication is always encrypted.
    match payload.first() {
        Some(1..=4 | 7 | 20 | 21 | 30..=34) => Ok(payload),
        _ => Err(Malformed::NotMine),
    }
}

/// The key at the front of a key exchange reply (RFC 4253 §8, RFC 4419 §3, RFC 5656 §4).
fn host_key(reply: &[u8], sink: &mut dyn Sink) -> bool {
    let mut r = Reader::new(reply);
    let Some(key) = string(&mut r) else {
        return false;
    };
    let Some(kind) = string(&mut Reader::new(key)) else {
        return false;
    };
    if !["ssh-", "ecdsa-", "rsa-", "sk-"].iter().any(|name| kind.starts_with(name.as_bytes())) {
        return false;
    }
    sink.says("ssh.host_key_type", clean(kind));
    let fingerprint = format!("SHA256:{}", base64(&Sha256::digest(key)));
    sink.identifier(About::Sender, "ssh.host_key", IdentifierKind::HostKey, fingerprint);
    true
}

fn string<'a>(r: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = usize::try_from(r.u32_be().ok()?).ok()?;
    r.take(length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx, run_stream};

    fn packet_of(payload: &[u8]) -> Vec<u8> {
        let padding = 8 - (payload.len() + 5) % 8 + 8;
        let length = u32::try_from(payload.len() + padding + 1).unwrap();
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.push(padding.try_into().unwrap());
        bytes.extend(payload);
        bytes.extend(vec![0; padding]);
        bytes
    }

    fn strings(parts: &[&[u8]]) -> Vec<u8> {
        let one = |p: &&[u8]| [&u32::try_from(p.len()).unwrap().to_be_bytes()[..], p].concat();
        parts.iter().flat_map(one).collect()
    }

    fn check(bytes: &[u8], expect: (&str, Step)) {
        let mut facts = Recorder::default();
        let step = run_stream(run, bytes, &ctx(22, 40000, Role::Server), &mut facts);
        assert_eq!((facts.text().as_str(), step), expect);
    }

    #[test]
    fn banner_and_host_key() {
        let key = strings(&[b"ssh-ed25519", &[7; 32]]);
        let reply = [&[31][..], &strings(&[&key, &[1; 32], b"sig"])].concat();
        let stream = [
            b"SSH-2.0-OpenSSH_6.7p1 Raspbian-5\r\n".to_vec(),
            packet_of(&[20, 0, 0]),
            packet_of(&reply),
        ]
        .concat();
        let digest = base64(&Sha256::digest(&key));
        let expect = format!(
            "sender says ssh.software = OpenSSH_6.7p1 Raspbian-5\n\
             sender says ssh.host_key_type = ssh-ed25519\n\
             sender is HostKey SHA256:{digest} (ssh.host_key)"
        );
        check(&stream, (&expect, Step::Done));
        assert_eq!(digest.len(), 43);
    }

    #[test]
    fn cut_and_encrypted_streams() {
        check(b"SSH-2.0-dropbear_2015", ("", Step::NeedMore));
        check(&[b'S'; 300], ("", Step::Done));
        check(&packet_of(&[20, 0, 0])[..10], ("", Step::NeedMore));
        check(&packet_of(&[94, 0, 0]), ("", Step::Done));
        check(&packet_of(&[31, 0, 0, 0, 9]), ("", Step::Consumed(24)));
        assert_eq!(probe(b"SSH"), Probe::Maybe);
        assert_eq!(probe(b""), Probe::No);
        assert_eq!(base64(b"foob"), "Zm9vYg");
    }
}
