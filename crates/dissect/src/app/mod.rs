//! Sessions of information technology: web, TLS, messaging, banners.
//!
//! Ports are hints: everything with a signature is recognised on any port.

mod coap;
mod database;
mod desktop;
mod dtls;
mod fields;
mod ftp;
mod hello;
mod http;
mod identity;
mod ipp;
mod lines;
mod mail;
mod messaging;
mod mqtt;
mod ntlm;
mod presence;
mod printing;
mod quic;
mod rtsp;
mod sip;
mod skinny;
mod smb;
mod ssh;
mod stun;
mod tds;
mod telnet;
mod tls;
mod x509;

use model::Mac;

use crate::fields::Field;
use crate::registry::{Datagram, Stream};
use crate::{About, Ctx, Fact, Probe, Sink, Step};

/// Field names of this group.
pub(crate) const FIELDS: &[Field] = fields::FIELDS;

/// Datagram protocols of this group.
pub(crate) const DATAGRAMS: &[Datagram] = &[
    Datagram { name: "quic", ports: &[443], probe: Some(quic::probe), run: quic::run },
    Datagram { name: "dtls", ports: &[5684, 4433], probe: Some(dtls::probe), run: dtls::run },
    Datagram { name: "coap", ports: &[5683], probe: Some(coap::probe), run: coap::run },
    Datagram { name: "sip", ports: &[5060], probe: Some(sip::probe), run: sip::run },
    Datagram { name: "stun", ports: &[3478, 19302], probe: Some(stun::probe), run: stun::run },
    Datagram { name: "sql-browser", ports: &[1434], probe: None, run: tds::browser },
];

type StreamProbe = fn(&[u8]) -> Probe;
type StreamRun = fn(&[u8], &Ctx, &mut dyn Sink) -> Step;

const fn stream(
    name: &'static str,
    ports: &'static [u16],
    probe: StreamProbe,
    run: StreamRun,
) -> Stream {
    Stream { name, ports, probe, run }
}

/// Ports where plain web servers of devices are usual.
const HTTP_PORTS: &[u16] = &[
    80, 81, 88, 591, 631, 1400, 5000, 5357, 7547, 8000, 8008, 8060, 8080, 8081, 8088, 8123, 8888,
    8899, 9080, 49152, 49153, 49154, 55443,
];
const TLS_PORTS: &[u16] = &[
    443, 465, 636, 853, 989, 990, 993, 995, 1443, 5061, 5223, 5228, 6697, 8009, 8443, 8883, 8886,
    9443, 50443,
];

/// Stream protocols of this group. Order decides between those that share a port.
pub(crate) const STREAMS: &[Stream] = &[
    stream("tls", TLS_PORTS, tls::probe, tls::run),
    stream("http", HTTP_PORTS, http::probe, http::run),
    stream("rtsp", &[554, 8554, 10554], rtsp::probe, rtsp::run),
    stream("sip", &[5060], sip::probe_stream, sip::run_stream),
    stream("ssh", &[22, 2222], ssh::probe, ssh::run),
    stream("smb", &[445, 139], smb::probe, smb::run),
    stream("tds", &[1433], tds::probe, tds::run),
    stream("mqtt", &[1883], mqtt::probe, mqtt::run),
    stream("skinny", &[2000], skinny::probe, skinny::run),
    stream("ftp", &[21], ftp::probe, ftp::run),
    stream("smtp", &[25, 587, 2525], mail::probe_smtp, mail::smtp),
    stream("imap", &[143], mail::probe_imap, mail::imap),
    stream("pop3", &[110], mail::probe_pop, mail::pop),
    stream("rdp", &[3389], desktop::probe_rdp, desktop::rdp),
    stream("rfb", &[5900, 5901], desktop::probe_rfb, desktop::rfb),
    stream("adb", &[5555], desktop::probe_adb, desktop::adb),
    stream("mysql", &[3306], database::probe_mysql, database::mysql),
    stream("postgresql", &[5432], database::probe_postgres, database::postgres),
    stream("redis", &[6379], database::probe_redis, database::redis),
    stream("amqp", &[5672], messaging::probe_amqp, messaging::amqp),
    stream("xmpp", &[5222, 5269], messaging::probe_xmpp, messaging::xmpp),
    stream("stomp", &[61613], messaging::probe_stomp, messaging::stomp),
    stream("pjl", &[9100, 9101, 9102], printing::probe_pjl, printing::pjl),
    stream("lpd", &[515], printing::probe_lpd, printing::lpd),
    stream("dcerpc", &[135], presence::probe_dcerpc, presence::dcerpc),
    stream("weave", &[11_095], presence::probe_weave, presence::nothing),
    stream("rtmp", &[1935], presence::probe_rtmp, presence::nothing),
    stream("telnet", &[23, 2323], telnet::probe, telnet::run),
];

/// Which way a message goes: 0 or 1, the same for all messages of one direction of a conversation.
fn direction(ctx: &Ctx) -> u64 {
    let end = |e: &crate::Endpoint| (e.ip, e.port, e.mac);
    u64::from(end(&ctx.src) > end(&ctx.dst))
}

/// Key of a number remembered for a conversation, told apart by `part` (a direction, a token).
const fn key(tag: u64, part: u64) -> u64 {
    tag << 32 | part
}

/// Passes over bytes whose count is remembered under `memory`; `None` when none are left.
fn pass_over(bytes: &[u8], memory: u64, sink: &mut dyn Sink) -> Option<Step> {
    let left = sink.recall(memory).filter(|left| *left > 0)?;
    let passed = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    sink.remember(memory, left - u64::try_from(passed).unwrap_or(left));
    Some(Step::Consumed(passed))
}

/// The sender is a host of the estate, as far as its address tells.
fn is_local(ctx: &Ctx) -> bool {
    ctx.src.ip.is_none_or(model::is_private)
}

/// A value of an open-ended field. Empty values are not facts.
fn keyed(sink: &mut dyn Sink, about: About<'_>, field: &'static str, key: &str, value: &str) {
    if !value.is_empty() {
        sink.fact(about, Fact::SaysKeyed { field, key: key.into(), value: value.into() });
    }
}

/// Twelve hex digits, with or without separators, that are not just a number.
fn text_is_mac(text: &str) -> bool {
    (12..=17).contains(&text.len())
        && (text.contains([':', '-', '.']) || text.bytes().any(|b| b.is_ascii_alphabetic()))
        && text.parse::<Mac>().is_ok()
}

#[cfg(test)]
mod tests;
