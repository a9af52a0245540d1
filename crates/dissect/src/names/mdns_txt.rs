//! TXT records of DNS service discovery (RFC 6763 §6) and the identifiers that are certain in
//! them.

use std::borrow::Cow;

use model::Mac;
use model::observation::IdentifierKind;

use crate::identity;
use crate::{About, Fact, Reader, Sink, text};

/// Keys of one record that are reported.
const KEYS_MAX: usize = 64;

/// Reports the keys and values of one instance's TXT record.
pub(super) fn report(service: &str, data: &[u8], about: &About<'_>, sink: &mut dyn Sink) {
    let items = items(data);
    let value = |key: &str| items.iter().find(|(k, _)| k == key).map(|(_, v)| *v);
    // A group of speakers is no device, and a queue shared by a print server (CUPS writes
    // `printer-type`, and `printers/…` as resource) describes the printer behind it.
    let group = value("md") == Some(b"Google Cast Group".as_slice());
    let shared_queue = value("printer-type").is_some()
        || value("rp").is_some_and(|rp| rp.starts_with(b"printers/"));
    if group || (shared_queue && is_printing(service)) {
        return;
    }
    for text in texts(data).take(4) {
        sink.about(about.clone(), "mdns.txt_text", text);
    }
    for (key, value) in &items {
        let value = text::clean(value);
        if let Some((kind, id)) = identifier(service, key, &value) {
            sink.identifier(about.clone(), field_of(key), kind, id);
        }
        // `md` of remote audio output lists metadata types; everywhere else it is a model.
        let is_noise = service == "_raop._tcp" && key == "md";
        if !value.is_empty() && !is_noise {
            sink.fact(
                about.clone(),
                Fact::SaysKeyed { field: "mdns.txt", key: key.as_str().into(), value },
            );
        }
    }
}

fn is_printing(service: &str) -> bool {
    let types =
        ["_ipp.", "_ipps.", "_printer.", "_pdl-datastream.", "_uscan.", "_uscans.", "_scanner."];
    types.iter().any(|t| service.starts_with(t))
}

/// Strings that are neither `key=value` nor a bare key: some makers write the product there.
fn texts(data: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    let mut r = Reader::new(data);
    let next = move || r.u8().and_then(|n| r.take(usize::from(n))).ok();
    let is_text = |item: &&[u8]| item.contains(&b' ') && !item.contains(&b'=');
    std::iter::from_fn(next).filter(is_text).map(text::clean)
}

/// Keys in lower case with their values; the first of equal keys counts (§6.4).
fn items(data: &[u8]) -> Vec<(String, &[u8])> {
    let mut r = Reader::new(data);
    let mut list: Vec<(String, &[u8])> = Vec::new();
    while let Ok(item) = r.u8().and_then(|n| r.take(usize::from(n))) {
        let mut parts = item.splitn(2, |b| *b == b'=');
        let key = parts.next().unwrap_or_default();
        let key = String::from_utf8_lossy(key).to_ascii_lowercase();
        let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let known = list.iter().any(|(k, _)| *k == key);
        if list.len() < KEYS_MAX && (1..=32).contains(&key.len()) && key.chars().all(word) && !known
        {
            list.push((key, parts.next().unwrap_or_default()));
        }
    }
    list
}

fn field_of(key: &str) -> &'static str {
    match key {
        "id" => "mdns.txt.id",
        "uuid" => "mdns.txt.uuid",
        "bridgeid" => "mdns.txt.bridgeid",
        "deviceid" => "mdns.txt.deviceid",
        _ => "mdns.txt.mac",
    }
}

/// An identifier, where the service's definition makes it one.
fn identifier(service: &str, key: &str, value: &str) -> Option<(IdentifierKind, String)> {
    let mac = || identity::mac(value).map(|mac| (IdentifierKind::Mac, mac.to_string()));
    match (service, key) {
        // HomeKit: random, in the form of a link address, stable until a factory reset.
        ("_hap._tcp" | "_hap._udp", "id") => {
            let id = identity::mac(value)?;
            Some((IdentifierKind::VendorId, format!("hap:{id}")))
        }
        ("_googlecast._tcp", "id") => {
            let id = value.to_ascii_lowercase();
            let is_hex = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
            is_hex.then_some((IdentifierKind::VendorId, id))
        }
        ("_hue._tcp", "bridgeid") => {
            let id = value.to_ascii_lowercase();
            let is_hex = id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
            is_hex.then_some((IdentifierKind::VendorId, id))
        }
        (printing, "uuid") if is_printing(printing) => {
            Some((IdentifierKind::Uuid, identity::uuid(value)?))
        }
        (_, "deviceid" | "mac" | "macaddress" | "macaddr" | "mac_address" | "hwaddr") => mac(),
        _ => None,
    }
}

/// Link address that some services put into the instance name.
pub(super) fn mac_in_instance(service: &str, instance: &str) -> Option<Mac> {
    let part = match service {
        // `5855CA1AE288@Living Room`
        "_raop._tcp" => instance.split_once('@')?.0,
        // `58:55:ca:1a:e2:88@fe80::5a55:caff:fe1a:e288`
        "_apple-mobdev2._tcp" => instance.split_once('@')?.0,
        // `black-pearl [b8:27:eb:c7:e9:c9]` (Avahi)
        "_workstation._tcp" => instance.rsplit_once('[')?.1.strip_suffix(']')?,
        _ => return None,
    };
    identity::mac(part)
}

#[cfg(test)]
mod tests {
    use super::super::dns_message::build::txt;
    use super::*;
    use crate::testing::Recorder;

    fn check(service: &str, data: &[u8], expect: &str) {
        let mut sink = Recorder::default();
        report(service, data, &About::Sender, &mut sink);
        assert_eq!(sink.text(), expect, "{service}");
    }

    #[test]
    fn keys_values_and_identifiers() {
        check(
            "_airplay._tcp",
            &txt(&[
                "deviceid=58:55:CA:1A:E2:88",
                "model=AppleTV3,2",
                "flag",
                "MODEL=second",
                "a b=1",
            ]),
            "sender is Mac 58:55:ca:1a:e2:88 (mdns.txt.deviceid)\n\
             sender says mdns.txt.deviceid = 58:55:CA:1A:E2:88\n\
             sender says mdns.txt.model = AppleTV3,2",
        );
        check(
            "_googlecast._tcp",
            &txt(&["id=00112233445566778899AABBCCDDEEFF", "md=Chromecast"]),
            "sender is VendorId 00112233445566778899aabbccddeeff (mdns.txt.id)\n\
             sender says mdns.txt.id = 00112233445566778899AABBCCDDEEFF\n\
             sender says mdns.txt.md = Chromecast",
        );
        check(
            "_ipp._tcp",
            &txt(&["rp=ipp/print", "UUID=1C852A4D-B800-1F08-ABCD-0200000000AA"]),
            "sender says mdns.txt.rp = ipp/print\n\
             sender is Uuid 1c852a4d-b800-1f08-abcd-0200000000aa (mdns.txt.uuid)\n\
             sender says mdns.txt.uuid = 1C852A4D-B800-1F08-ABCD-0200000000AA",
        );
        check(
            "_http._tcp",
            &txt(&["IC-3115W Network Camera"]),
            "sender says mdns.txt_text = IC-3115W Network Camera",
        );
        // Damaged: the length promises more.
        check("_x._tcp", &[3, b'a', b'=', b'1', 9, b'b'], "sender says mdns.txt.a = 1");
    }

    #[test]
    fn what_does_not_describe_the_responder_is_left_out() {
        check("_googlecast._tcp", &txt(&["md=Google Cast Group", "fn=All"]), "");
        check("_ipp._tcp", &txt(&["rp=printers/Office", "ty=HP LaserJet"]), "");
        check("_ipp._tcp", &txt(&["rp=ipp/print", "printer-type=0x1046", "ty=HP LaserJet"]), "");
        check(
            "_raop._tcp",
            &txt(&["md=0,1,2", "am=AppleTV3,2"]),
            "sender says mdns.txt.am = AppleTV3,2",
        );
    }

    #[test]
    fn addresses_in_instance_names() {
        let check = |service, instance, expect: Option<&str>| {
            let got = mac_in_instance(service, instance).map(|m| m.to_string());
            assert_eq!(got.as_deref(), expect);
        };
        let mac = Some("58:55:ca:1a:e2:88");
        check("_raop._tcp", "5855CA1AE288@Living Room", mac);
        check("_workstation._tcp", "pi [58:55:ca:1a:e2:88]", mac);
        check("_apple-mobdev2._tcp", "58:55:ca:1a:e2:88@fe80::1", mac);
        check("_http._tcp", "5855CA1AE288@Living Room", None);
        check("_raop._tcp", "Living Room", None);
    }
}
