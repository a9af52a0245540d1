//! Service location protocol version 2 (RFC 2608, UDP 427): printers and servers answer with
//! service URLs and attributes.

use crate::{About, Ctx, Fact, Malformed, Outcome, Reader, Sink, text};

const ENTRIES_MAX: usize = 32;

/// Answers only (RFC 2608 §8.2, §10.4); a request says what somebody looks for.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if payload.len() < 14 {
        return Err(Malformed::NotMine);
    }
    let mut r = Reader::new(payload);
    let [version, function] = r.array()?;
    let length = usize::try_from(r.u24_be()?).map_err(|_| Malformed::Invalid)?;
    if version != 2 || !(1..=11).contains(&function) || length < 14 || length > payload.len() {
        return Err(Malformed::NotMine);
    }
    r.skip(7)?; // flags, extension, transaction
    let language = r.u16_be()?;
    r.skip(usize::from(language))?;
    match function {
        2 => urls(r, sink),
        7 => attributes(r, sink),
        _ => Ok(()),
    }
}

fn urls(mut r: Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    if r.u16_be()? != 0 {
        return Ok(()); // an error code
    }
    let count = usize::from(r.u16_be()?);
    for _ in 0..count.min(ENTRIES_MAX) {
        r.skip(3)?; // reserved, lifetime
        let length = r.u16_be()?;
        sink.says("slp.url", text::clean(r.take(usize::from(length))?));
        if r.u8()? != 0 {
            return Ok(()); // authentication blocks follow; nobody sends them
        }
    }
    Ok(())
}

/// `(tag=value,value),(tag=value),keyword` (RFC 2608 §5).
fn attributes(mut r: Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    if r.u16_be()? != 0 {
        return Ok(());
    }
    let length = r.u16_be()?;
    let list = std::str::from_utf8(r.take(usize::from(length))?).map_err(|_| Malformed::Invalid)?;
    for entry in list.split('(').skip(1).take(ENTRIES_MAX) {
        let Some((tag, value)) = entry.split_once(')').and_then(|(pair, _)| pair.split_once('='))
        else {
            continue;
        };
        let (tag, value) = (tag.trim().to_ascii_lowercase(), text::clean_str(value));
        let shaped = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if (1..=64).contains(&tag.len()) && tag.bytes().all(shaped) && !value.is_empty() {
            let key = tag.into();
            sink.fact(About::Sender, Fact::SaysKeyed { field: "slp.attr", key, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::tests::check;

    fn message(function: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(16 + body.len()).unwrap();
        [&[2, function, 0, 0, length, 0, 0, 0, 0, 0, 0, 1, 0, 2, b'e', b'n'][..], body].concat()
    }

    #[test]
    fn answers_name_services_and_attributes() {
        let url = b"service:printer:lpr://192.0.2.5";
        let body = [&[0, 0, 0, 1, 0, 0, 60, 0, 31][..], url, &[0]].concat();
        let expect = ["sender says slp.url = service:printer:lpr://192.0.2.5"];
        check(run, (427, 40000), &message(2, &body), Ok(&expect));
        let list = b"(x-hp-num_port=01),(x-hp-p1=MFG:Hewlett-Packard;MDL:LaserJet 1;)";
        let length = u8::try_from(list.len()).unwrap();
        let body = [&[0, 0, 0, length][..], list, &[0]].concat();
        let expect = [
            "sender says slp.attr.x-hp-num_port = 01",
            "sender says slp.attr.x-hp-p1 = MFG:Hewlett-Packard;MDL:LaserJet 1;",
        ];
        check(run, (427, 40000), &message(7, &body), Ok(&expect));
    }

    #[test]
    fn requests_and_errors_say_nothing() {
        check(run, (40000, 427), &message(1, b"\0\0"), Ok(&[]));
        check(run, (427, 40000), &message(2, &[0, 3]), Ok(&[]));
        check(run, (427, 40000), b"\x01\x01", Err(Malformed::NotMine));
        check(run, (427, 40000), b"hello world, hello", Err(Malformed::NotMine));
    }
}
