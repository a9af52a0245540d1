//! Link-local multicast name resolution (RFC 4795). An answer names its sender; so does the query
//! of type ANY, with which Windows checks that its own name is unique (§4.1). Other queries name
//! whom the sender looks for.

use super::dns_message::{Message, Section, kind};
use crate::identity;
use crate::{About, Ctx, Fact, Malformed, Outcome, Sink, text};

const PORT: u16 = 5355;

/// Reads one datagram.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let message = Message::read(payload)?;
    if message.opcode() != 0 {
        return Err(Malformed::NotMine);
    }
    if message.is_response() {
        if ctx.src.port == PORT && message.rcode() == 0 {
            answer(&message, ctx, sink);
        }
    } else if ctx.dst.port == PORT {
        let own = message.questions.iter().filter(|q| q.kind == kind::ANY);
        for question in own.filter(|q| !q.name.is_reverse()).take(1) {
            let name = question.name.text();
            if text::is_name(&name) {
                sink.says("llmnr.claim", name);
            }
        }
    }
    Ok(())
}

fn answer(message: &Message<'_>, ctx: &Ctx, sink: &mut dyn Sink) {
    let answers = message.records.iter().filter(|r| r.section == Section::Answer);
    let mut named = false;
    for record in answers {
        let name = record.name.text();
        match record.address() {
            Some(ip) if text::is_name(&name) && identity::is_host(ip) => {
                let resolved = Fact::Resolved { name: name.to_lowercase().into(), ip };
                sink.fact(About::Sender, resolved);
                if !named {
                    sink.says("llmnr.name", name);
                    named = true;
                }
            }
            // Reverse look-up of the sender's own address.
            None if record.kind == kind::PTR && ctx.src.ip.is_some() => {
                let own = message.name_in(record, 0).map(|n| n.text());
                sink.says("llmnr.name", own.unwrap_or_default());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dns_message::build::{message, name, question, record};
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of};

    fn check(bytes: &[u8], ports: (u16, u16), expect: &str) {
        let ctx = ctx(ports.0, ports.1, Role::Unknown);
        assert_eq!(facts_of(run, bytes, &ctx).as_deref(), Ok(expect));
    }

    #[test]
    fn answers_and_claims_name_the_sender_queries_do_not() {
        let a = [record("KW-VLIPC", kind::A, &[192, 0, 2, 1])];
        let q = [question("KW-VLIPC", kind::A)];
        check(
            &message(0x8000, &q, [&a, &[], &[]]),
            (5355, 50000),
            "sender resolves kw-vlipc = 192.0.2.1\nsender says llmnr.name = KW-VLIPC",
        );
        check(&message(0x8000, &q, [&a, &[], &[]]), (50000, 5355), "");
        check(&message(0, &q, [&[], &[], &[]]), (50000, 5355), "");
        let claim = [question("kw-VLIPC", kind::ANY)];
        check(
            &message(0, &claim, [&[], &[], &[]]),
            (50000, 5355),
            "sender says llmnr.claim = kw-VLIPC",
        );
        let ptr = [record("1.2.0.192.in-addr.arpa", kind::PTR, &name("pc7"))];
        check(
            &message(0x8000, &q, [&ptr, &[], &[]]),
            (5355, 50000),
            "sender says llmnr.name = pc7",
        );
    }
}
