//! NTP (RFC 5905 §7.3): who is a clock for whom; the answer to a control query (RFC 9327) names
//! program and system.

use crate::{Ctx, Malformed, Outcome, Reader, Sink, text};

const PORT: u16 = 123;
const CONTROL: u8 = 6;

/// Reads one datagram.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    let first = r.u8()?;
    let (version, mode) = ((first >> 3) & 7, first & 7);
    if !(1..=4).contains(&version) {
        return Err(Malformed::NotMine);
    }
    if mode == CONTROL {
        return control(&mut r, ctx, sink);
    }
    let stratum = r.u8()?;
    r.take(46)?;
    let role = match mode {
        1 | 2 => "peer",
        3 => "client",
        4 | 5 if ctx.src.port == PORT => "server",
        _ => return Ok(()),
    };
    sink.says("ntp.role", role);
    // 0 means unspecified, 16 unsynchronised; more is not allowed (§7.3).
    if role == "server" && (1..=15).contains(&stratum) {
        sink.says("ntp.stratum", stratum.to_string());
    }
    Ok(())
}

/// Answer to a read of the system variables: `version="ntpd 4.2.6p5", system="Linux/3.10"`.
fn control(r: &mut Reader<'_>, ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let operation = r.u8()?;
    r.skip(8)?;
    let length = usize::from(r.u16_be()?);
    let is_answer = operation & 0xc0 == 0x80; // response, without error
    if !is_answer || operation & 0x1f != 2 || ctx.src.port != PORT {
        return Ok(());
    }
    let variables = text::clean(r.take_up_to(length));
    for (key, field) in [
        ("version=\"", "ntp.version"),
        ("system=\"", "ntp.system"),
        ("processor=\"", "ntp.processor"),
    ] {
        let value = variables.split_once(key).and_then(|(_, v)| v.split_once('"'));
        sink.says(field, value.map(|(v, _)| v).unwrap_or_default());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of};

    fn check(bytes: &[u8], ports: (u16, u16), expect: Result<&str, Malformed>) {
        assert_eq!(
            facts_of(run, bytes, &ctx(ports.0, ports.1, Role::Unknown)),
            expect.map(str::to_owned)
        );
    }

    #[test]
    fn roles() {
        let packet = |first: u8, stratum: u8| [vec![first, stratum], vec![0; 46]].concat();
        check(&packet(0x23, 0), (40000, 123), Ok("sender says ntp.role = client"));
        check(
            &packet(0x24, 2),
            (123, 40000),
            Ok("sender says ntp.role = server\nsender says ntp.stratum = 2"),
        );
        check(&packet(0x24, 2), (40000, 123), Ok(""));
        check(&packet(0x24, 16), (123, 123), Ok("sender says ntp.role = server"));
        check(&packet(0x21, 2), (123, 123), Ok("sender says ntp.role = peer"));
        check(&packet(0x3b, 0), (40000, 123), Err(Malformed::NotMine));
        check(&[0x23, 0, 0], (40000, 123), Err(Malformed::Truncated));
    }

    #[test]
    fn control_answers_name_the_program() {
        let text = br#"version="ntpd 4.2.6p5", processor="mips", system="Linux/2.6.36", leap=0"#;
        let mut bytes =
            vec![0x16, 0x82, 0, 1, 0, 0, 0, 0, 0, 0, 0, u8::try_from(text.len()).unwrap()];
        bytes.extend(text);
        check(
            &bytes,
            (123, 40000),
            Ok("sender says ntp.version = ntpd 4.2.6p5\n\
                sender says ntp.system = Linux/2.6.36\n\
                sender says ntp.processor = mips"),
        );
        bytes[1] = 0x02;
        check(&bytes, (40000, 123), Ok(""));
    }
}
