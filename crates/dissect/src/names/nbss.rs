//! NetBIOS session service (RFC 1002 §4.3): the client calls a name and says its own.

use super::nbns::NetbiosName;
use crate::{About, Ctx, Probe, Reader, Sink, Step};

const SESSION_REQUEST: u8 = 0x81;

/// A session request has two encoded names behind its header.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match bytes {
        [SESSION_REQUEST, 0, _, _, 32, ..] => Probe::Yes,
        _ => Probe::No,
    }
}

/// Reads the first message of a connection; the rest is SMB.
pub(super) fn stream(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let mut r = Reader::new(bytes);
    let (Ok(SESSION_REQUEST), Ok(_flags)) = (r.u8(), r.u8()) else {
        return Step::Done;
    };
    let Ok(length) = r.u16_be() else {
        return Step::NeedMore;
    };
    // Two names of 34 bytes without scopes; a little more with.
    if length > 512 {
        return Step::Done;
    }
    let Ok(body) = r.take(usize::from(length)) else {
        return Step::NeedMore;
    };
    let mut names = body.split(|b| *b == 0).filter(|part| part.len() == 33);
    let calling = names.nth(1).and_then(|part| NetbiosName::decode(part.get(1..)?));
    if let Some(name) = calling {
        sink.about(About::Sender, "nbss.name", name.name);
    }
    Step::Done
}

#[cfg(test)]
mod tests {
    use super::super::nbns::encode;
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx};

    #[test]
    fn the_caller_says_its_name() {
        let mut bytes = vec![SESSION_REQUEST, 0, 0, 68];
        bytes.extend(encode("*SMBSERVER", 0x20));
        bytes.extend(encode("LINE4-HMI", 0));
        let check = |bytes: &[u8], step: Step, expect: &str| {
            let mut sink = Recorder::default();
            let got = stream(bytes, &ctx(40000, 139, Role::Client), &mut sink);
            assert_eq!((got, sink.text().as_str()), (step, expect));
        };
        assert_eq!(probe(&bytes), Probe::Yes);
        check(&bytes, Step::Done, "sender says nbss.name = LINE4-HMI");
        check(&bytes[..40], Step::NeedMore, "");
        check(&[SESSION_REQUEST, 0, 0xff, 0xff], Step::Done, "");
        check(&[0x82, 0, 0, 0], Step::Done, "");
        assert_eq!(probe(&[0x82, 0, 0, 0]), Probe::No);
    }
}
