//! SCCP ("Skinny", port 2000): Cisco phones say name, type and firmware when they register.

use model::observation::IdentifierKind;

use crate::text::{c_string, find, is_name};
use crate::{About, Ctx, Malformed, Probe, Reader, Sink, Step};

const MESSAGE_BYTES_MAX: u32 = 4096;

/// Length, header version and a known message, all little-endian.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    let mut r = Reader::new(bytes);
    match head(&mut r) {
        Ok((_, 0x0001)) if r.rest().iter().take(3).all(u8::is_ascii_uppercase) && r.len() > 16 => {
            Probe::Yes
        }
        Ok((_, 0x0020)) if find(r.rest(), b": Name=").is_some() => Probe::Yes,
        Ok(_) => Probe::Maybe,
        Err(_) => Probe::No,
    }
}

/// Reads messages.
pub(super) fn run(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let mut r = Reader::new(bytes);
    let (length, message) = match head(&mut r) {
        Ok(head) => head,
        Err(Malformed::Truncated) => return Step::NeedMore,
        Err(_) => return Step::Resync,
    };
    let Ok(body) = r.take(length) else {
        return Step::NeedMore;
    };
    match message {
        0x0001 => drop(register(body, sink)),
        0x0020 => alarm(body, sink),
        _ => {}
    }
    Step::Consumed(bytes.len() - r.len())
}

/// Body length and message id.
fn head(r: &mut Reader<'_>) -> Result<(usize, u32), Malformed> {
    let length = r.u32_le()?;
    let version = r.u32_le()?;
    let message = r.u32_le()?;
    let plain = (4..=MESSAGE_BYTES_MAX).contains(&length) && version <= 0x20 && message <= 0x0160;
    let body = usize::try_from(length.saturating_sub(4)).map_err(|_| Malformed::Limit)?;
    if plain { Ok((body, message)) } else { Err(Malformed::NotMine) }
}

/// RegisterMessage: name, user, instance, address, device type, and firmware in later versions.
fn register(body: &[u8], sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(body);
    device_name(&c_string(r.take(16)?), sink);
    r.skip(8 + 4)?;
    let device_type = r.u32_le()?;
    let name = device_type_name(device_type);
    sink.says("skinny.device_type", device_type.to_string());
    sink.says("skinny.device_model", name.unwrap_or_default());
    // Streams, conferences, protocol version, line count, then the load of newer phones.
    let tail = r.rest();
    let load = tail.split(|b| *b == 0).map(c_string).find(|text| is_load(text));
    sink.says("skinny.load", load.unwrap_or_default());
    Ok(())
}

/// AlarmMessage: severity, then `25: Name=SEP001E7A267475 Load=8.3(3) Last=…`.
fn alarm(body: &[u8], sink: &mut dyn Sink) {
    let text = c_string(body.get(4..).unwrap_or_default());
    let value =
        |name: &str| text.split(' ').find_map(|word| word.strip_prefix(name)).map(str::to_owned);
    if let Some(name) = value("Name=") {
        device_name(&name, sink);
    }
    sink.says("skinny.load", value("Load=").unwrap_or_default());
}

/// `SEP` and the phone's MAC address.
fn device_name(name: &str, sink: &mut dyn Sink) {
    if !is_name(name) {
        return;
    }
    sink.says("skinny.device", name);
    if let Some(mac) = name.strip_prefix("SEP").filter(|mac| mac.len() == 12) {
        super::identity::own_mac("skinny.device", mac, sink);
        sink.identifier(About::Sender, "skinny.device", IdentifierKind::VendorId, name);
    }
}

/// `SCCP41.8-3-3S`, `P00308000500`, `TERM45.8-4-1S`.
fn is_load(text: &str) -> bool {
    let known = ["SCCP", "SIP", "TERM", "P00", "CP", "APPS", "Jar"];
    (6..=32).contains(&text.len())
        && is_name(text)
        && known.iter().any(|prefix| text.starts_with(prefix))
        && text.bytes().any(|b| b.is_ascii_digit())
}

const fn device_type_name(number: u32) -> Option<&'static str> {
    Some(match number {
        1 => "30SP+",
        2 => "12SP+",
        3 => "12SP",
        5 => "30VIP",
        6 => "7910",
        7 => "7960",
        8 => "7940",
        9 => "7935",
        12 => "ATA 186",
        115 => "7941",
        119 => "7971",
        302 => "7985",
        307 => "7911",
        308 => "7961G-GE",
        309 => "7941G-GE",
        348 => "7931",
        365 => "7921",
        369 => "7906",
        404 => "7962",
        431 => "7937",
        434 => "7942",
        435 => "7945",
        436 => "7965",
        437 => "7975",
        20_000 => "7905",
        30_002 => "7920",
        30_006 => "7970",
        30_007 => "7912",
        30_008 => "7902",
        30_016 => "IP Communicator",
        30_018 => "7961",
        30_019 => "7936",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of_stream, unhex};

    const REGISTER: &str = "28000000 00000000 01000000
        5345503030314537413236373437350000 # too long on purpose, cut below
        ";

    fn message(id: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&length.to_le_bytes()[..], &[0; 4], &id.to_le_bytes(), body].concat()
    }

    fn check(bytes: &[u8], expect: &str) {
        assert_eq!(facts_of_stream(run, bytes, &ctx(4000, 2000, Role::Client)), expect);
    }

    #[test]
    fn a_phone_registers() {
        let mut body = b"SEP001E7A267475\0".to_vec();
        body.extend([0; 8]);
        body.extend([10, 0, 0, 7]);
        body.extend(434u32.to_le_bytes());
        body.extend([0; 24]);
        body.extend(b"SCCP42.8-3-3S\0\0\0");
        let alarm = message(0x20, b"\x02\0\0\x0025: Name=SEP001E7A267475 Load=8.3(3) Last=x\0");
        check(
            &[message(1, &body), alarm, message(0, &[])].concat(),
            "sender says skinny.device = SEP001E7A267475\n\
             sender is Mac 00:1e:7a:26:74:75 (skinny.device)\n\
             sender is VendorId SEP001E7A267475 (skinny.device)\n\
             sender says skinny.device_type = 434\n\
             sender says skinny.device_model = 7942\n\
             sender says skinny.load = SCCP42.8-3-3S\n\
             sender says skinny.device = SEP001E7A267475\n\
             sender is Mac 00:1e:7a:26:74:75 (skinny.device)\n\
             sender is VendorId SEP001E7A267475 (skinny.device)\n\
             sender says skinny.load = 8.3(3)",
        );
    }

    #[test]
    fn cuts_and_others() {
        check(&unhex(REGISTER), "");
        check(b"GET / HTTP/1.1\r\n\r\n", "");
        check(&message(1, b"SEP"), "");
        assert_eq!(probe(b"GET / HTTP/1.1"), Probe::No);
        assert_eq!(probe(&message(0x20, &[0; 8])), Probe::Maybe);
        assert_eq!(probe(&message(1, b"SEP001E7A267475\0")), Probe::Maybe);
        assert_eq!(probe(&message(1, b"SEP001E7A267475\0\0")), Probe::Yes);
    }
}
