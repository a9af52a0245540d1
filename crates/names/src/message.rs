//! DNS messages: questions in, answers out. Reading and writing of the wire is hickory's; what may be
//! asked, what is kept of an answer and how it is cut is decided here.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::svcb::{SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// Largest UDP payload asked of others and given to devices (DNS flag day 2020: no fragments).
pub(crate) const PAYLOAD: u16 = 1_232;
/// What a device without EDNS takes (RFC 1035 §4.2.1).
const PAYLOAD_MIN: u16 = 512;
/// Aliases followed for one question.
pub(crate) const ALIASES_MAX: usize = model::limits::DEPTH_MAX;
/// A header is this long (RFC 1035 §4.1.1).
const HEADER: usize = 12;

/// A question that may be answered.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) id: u16,
    /// As the device spelled it.
    pub(crate) query: Query,
    pub(crate) recursion_desired: bool,
    pub(crate) checking_disabled: bool,
    /// What the device takes over UDP, where it speaks EDNS.
    pub(crate) payload: Option<u16>,
    pub(crate) dnssec_ok: bool,
}

/// A message that is not answered with data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    /// No question at all: too short, or itself an answer. Answering it could start a loop.
    Silence,
    /// Answered with an error.
    Reply(Vec<u8>),
}

/// What makes two questions the same for a cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Lower case.
    pub(crate) name: Name,
    pub(crate) kind: u16,
    pub(crate) dnssec_ok: bool,
    pub(crate) checking_disabled: bool,
}

impl Question {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Odd> {
        let &[id1, id2, flags, ..] = bytes else {
            return Err(Odd::Silence);
        };
        if bytes.len() < HEADER || flags & 0x80 != 0 {
            return Err(Odd::Silence);
        }
        let id = u16::from_be_bytes([id1, id2]);
        let code = OpCode::from_u8((flags >> 3) & 0x0f);
        let refuse = |why| Err(Odd::Reply(bare(id, code, why)));
        if code != OpCode::Query {
            return refuse(ResponseCode::NotImp);
        }
        let Ok(message) = Message::from_vec(bytes) else {
            return refuse(ResponseCode::FormErr);
        };
        let [query] = message.queries.as_slice() else {
            return refuse(ResponseCode::FormErr);
        };
        let edns = message.edns.as_ref();
        let question = Self {
            id,
            query: query.clone(),
            recursion_desired: message.metadata.recursion_desired,
            checking_disabled: message.metadata.checking_disabled,
            payload: edns.map(|edns| edns.max_payload().clamp(PAYLOAD_MIN, PAYLOAD)),
            dnssec_ok: edns.is_some_and(|edns| edns.flags().dnssec_ok),
        };
        if edns.is_some_and(|edns| edns.version() != 0) {
            return Err(Odd::Reply(question.fail(ResponseCode::BADVERS)));
        }
        if query.query_class() != DNSClass::IN {
            return Err(Odd::Reply(question.fail(ResponseCode::Refused)));
        }
        match query.query_type() {
            // Zone transfers and meta types are no business of a device. ANY asks for whatever there
            // is and amplifies (RFC 8482 §4.1).
            RecordType::AXFR
            | RecordType::IXFR
            | RecordType::OPT
            | RecordType::TSIG
            | RecordType::ZERO
            | RecordType::ANY => Err(Odd::Reply(question.fail(ResponseCode::Refused))),
            _ => Ok(question),
        }
    }

    pub(crate) fn key(&self) -> Key {
        let mut name = self.query.name().to_lowercase();
        name.set_fqdn(true);
        Key {
            name,
            kind: self.query.query_type().into(),
            dnssec_ok: self.dnssec_ok,
            checking_disabled: self.checking_disabled,
        }
    }

    /// An answer without data.
    pub(crate) fn fail(&self, code: ResponseCode) -> Vec<u8> {
        self.reply(code, Vec::new(), Vec::new(), true)
    }

    /// The answer as bytes. What does not fit into the device's datagram is left out whole, and the
    /// device told to ask over TCP (RFC 2181 §9).
    pub(crate) fn reply(
        &self,
        code: ResponseCode,
        answers: Vec<Record>,
        authorities: Vec<Record>,
        tcp: bool,
    ) -> Vec<u8> {
        let mut message = Message::response(self.id, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.recursion_available = true;
        message.metadata.response_code = code;
        message.add_query(self.query.clone());
        message.insert_answers(answers);
        message.insert_authorities(authorities);
        if self.payload.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(PAYLOAD).set_dnssec_ok(self.dnssec_ok);
            message.set_edns(edns);
        }
        let room = if tcp { u16::MAX } else { self.payload.unwrap_or(PAYLOAD_MIN) };
        match message.to_vec() {
            Ok(bytes) if bytes.len() <= usize::from(room) => bytes,
            _ if tcp => bare(self.id, OpCode::Query, ResponseCode::ServFail),
            _ => {
                let empty = message.truncate().to_vec();
                empty.unwrap_or_else(|_| bare(self.id, OpCode::Query, ResponseCode::ServFail))
            }
        }
    }
}

/// A header alone.
fn bare(id: u16, code: OpCode, why: ResponseCode) -> Vec<u8> {
    Message::error_msg(id, code, why).to_vec().unwrap_or_default()
}

/// A name as policy writes it.
pub(crate) fn text_of(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    text.strip_suffix('.').map(str::to_owned).unwrap_or(text)
}

/// A question to an upstream.
pub(crate) fn ask(id: u16, name: &Name, key: &Key, edns: bool) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = key.checking_disabled;
    message.add_query(Query::query(name.clone(), key.kind.into()));
    if edns {
        let mut options = Edns::new();
        options.set_max_payload(PAYLOAD).set_dnssec_ok(key.dnssec_ok);
        message.set_edns(options);
    }
    message.to_vec().ok()
}

/// What came back on an upstream's socket.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Fits no question of ours: a guess, or a late answer.
    Foreign,
    /// Ours, though its spelling of the name is not: an upstream that changes it, or a guess.
    Respelled,
    /// Ours, cut: ask over TCP.
    Truncated,
    /// Ours, and broken.
    Broken,
    /// Ours.
    Answer(Box<Message>),
}

/// Reads what came for a question with `id` and `name` (in the very spelling that was sent).
pub(crate) fn hear(bytes: &[u8], id: u16, name: &Name, kind: u16) -> Heard {
    let ours = match bytes {
        &[a, b, flags, ..] => u16::from_be_bytes([a, b]) == id && flags & 0x80 != 0,
        _ => false,
    };
    if !ours || bytes.len() < HEADER {
        return Heard::Foreign;
    }
    let Ok(message) = Message::from_vec(bytes) else {
        return Heard::Broken;
    };
    match message.queries.as_slice() {
        // A server that does not understand a question may leave it out (RFC 1035 §4.1.1).
        [] if message.metadata.response_code == ResponseCode::FormErr => {}
        [query]
            if u16::from(query.query_type()) == kind
                && query.query_class() == DNSClass::IN
                && query.name().eq_ignore_root(name) =>
        {
            if !query.name().eq_ignore_root_case(name) {
                return Heard::Respelled;
            }
        }
        _ => return Heard::Foreign,
    }
    if message.metadata.truncation { Heard::Truncated } else { Heard::Answer(Box::new(message)) }
}

/// What of an answer belongs to its question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// Aliases in order, then the records asked for.
    pub(crate) records: Vec<Record>,
    /// Where the aliases end.
    pub(crate) end: Option<Name>,
    /// There are records of the kind asked for at the end.
    pub(crate) complete: bool,
}

/// Aliases run in a circle or are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endless;

/// Follows the aliases from `name` and keeps what lies on the way; all else that a server adds is
/// dropped. Address hints are taken out (see [`without_hints`]).
pub(crate) fn keep(name: &Name, kind: u16, answers: &[Record]) -> Result<Kept, Endless> {
    let mut at = name.clone();
    let mut seen: BTreeSet<Name> = BTreeSet::new();
    let mut kept = Kept::default();
    let here = |record: &&Record, at: &Name| {
        record.dns_class == DNSClass::IN && record.name.eq_ignore_root(at)
    };
    let signature = u16::from(RecordType::RRSIG);
    while kind != u16::from(RecordType::CNAME) {
        let alias = answers.iter().filter(|r| here(r, &at)).find_map(|r| match &r.data {
            RData::CNAME(target) => Some((r, target.0.clone())),
            _ => None,
        });
        let Some((record, target)) = alias else { break };
        if seen.len() >= ALIASES_MAX || !seen.insert(at.to_lowercase()) {
            return Err(Endless);
        }
        kept.records.push(record.clone());
        at = target;
    }
    for record in answers.iter().filter(|r| here(r, &at)) {
        if u16::from(record.record_type()) == kind {
            kept.complete = true;
            kept.records.push(without_hints(record.clone()));
        }
    }
    let signed = answers.iter().filter(|r| u16::from(r.record_type()) == signature);
    let signed = signed
        .filter(|r| kind != signature && (here(r, &at) || seen.contains(&r.name.to_lowercase())));
    kept.records.extend(signed.cloned());
    kept.end = Some(at);
    Ok(kept)
}

/// An address of a record, where it carries one.
pub(crate) fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(a) => Some(IpAddr::V6(a.0)),
        _ => None,
    }
}

/// Where an SVCB or HTTPS record (RFC 9460) sends its reader, if not to its own name.
pub(crate) fn service_target(record: &Record) -> Option<&Name> {
    let target = match &record.data {
        RData::SVCB(svcb) => &svcb.target_name,
        RData::HTTPS(https) => &https.0.target_name,
        _ => return None,
    };
    (!target.is_root() && !target.eq_ignore_root(&record.name)).then_some(target)
}

/// Addresses in SVCB and HTTPS records are hints that clients may use at once (RFC 9460 §7.3): they
/// would be used before they are in force. Without them clients ask for A and AAAA.
fn without_hints(mut record: Record) -> Record {
    match &mut record.data {
        RData::SVCB(svcb) => strip(svcb),
        RData::HTTPS(https) => strip(&mut https.0),
        _ => {}
    }
    record
}

fn strip(svcb: &mut SVCB) {
    let hint = |key: &SvcParamKey| matches!(key, SvcParamKey::Ipv4Hint | SvcParamKey::Ipv6Hint);
    svcb.svc_params.retain(|(key, _)| !hint(key));
    for (_, value) in &mut svcb.svc_params {
        if let SvcParamValue::Mandatory(mandatory) = value {
            mandatory.0.retain(|key| !hint(key));
        }
    }
    // An empty list is no valid value (RFC 9460 §8).
    svcb.svc_params
        .retain(|(_, value)| !matches!(value, SvcParamValue::Mandatory(m) if m.0.is_empty()));
}
