//! STUN (RFC 8489): the software attribute of whoever looks for a way through NAT.

use crate::text::clean;
use crate::{Ctx, Malformed, Outcome, Reader, Sink};

const COOKIE: u32 = 0x2112_a442;

/// Magic cookie and an honest length.
pub(super) fn probe(bytes: &[u8]) -> bool {
    attributes(bytes).is_ok()
}

/// Reads one datagram.
pub(super) fn run(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = attributes(bytes)?;
    for _ in 0..32 {
        if r.is_empty() {
            break;
        }
        let kind = r.u16_be()?;
        let length = usize::from(r.u16_be()?);
        let value = r.take(length)?;
        r.take_up_to(length.next_multiple_of(4) - length);
        match kind {
            0x8022 => sink.says("stun.software", clean(value)),
            0x0014 => sink.says("stun.realm", clean(value)),
            _ => {}
        }
    }
    Ok(())
}

fn attributes(bytes: &[u8]) -> Result<Reader<'_>, Malformed> {
    let mut r = Reader::new(bytes);
    let kind = r.u16_be()?;
    let length = usize::from(r.u16_be()?);
    let cookie = r.u32_be()?;
    r.skip(12)?;
    if kind & 0xc000 != 0 || length % 4 != 0 || cookie != COOKIE || length != r.len() {
        return Err(Malformed::NotMine);
    }
    Ok(r)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx, unhex};

    #[test]
    fn software() {
        // RFC 5769 §2.1, shortened to its first attribute.
        let request = unhex(
            "0001 0014 2112a442 b7e7a701bc34d686fa87dfae
             8022 0010 5354554e207465737420636c69656e74",
        );
        assert!(probe(&request));
        let mut facts = Recorder::default();
        run(&request, &ctx(1, 3478, Role::Client), &mut facts).unwrap();
        assert_eq!(facts.text(), "sender says stun.software = STUN test client");
        for end in 0..request.len() {
            assert!(!probe(&request[..end]), "{end}");
        }
    }
}
