//! Hi-Flying Wi-Fi modules (UDP 48899, 49999), which are inside plugs, gateways and LED
//! controllers of many brands: the module speaks, not the product.

use model::Mac;

use super::own_ip;
use crate::identity::own_mac;
use crate::{Ctx, Malformed, Outcome, Sink, text};

/// An answer is `address,MAC,module`; a module that waits for set-up says `smart_config MAC`.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let message = std::str::from_utf8(payload).map_err(|_| Malformed::NotMine)?;
    let message = message.trim_end_matches(['\0', '\r', '\n']);
    if let Some(mac) = message.strip_prefix("smart_config ") {
        own_mac(sink, "hf.mac", plain_mac(mac)?);
        return Ok(());
    }
    if message.ends_with("ASSISTHREAD") {
        return Ok(()); // the question
    }
    let mut parts = message.split(',');
    let (Some(ip), Some(mac), name, None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Malformed::NotMine);
    };
    let ip: std::net::Ipv4Addr = ip.parse().map_err(|_| Malformed::NotMine)?;
    own_mac(sink, "hf.mac", plain_mac(mac)?);
    own_ip(sink, ip.into());
    let name = text::clean_str(name.unwrap_or_default());
    if text::is_name(&name) {
        sink.says("hf.module", name);
    }
    Ok(())
}

/// Twelve hex digits.
fn plain_mac(text: &str) -> Result<Mac, Malformed> {
    let whole = text.len() == 12 && text.bytes().all(|b| b.is_ascii_hexdigit());
    text.parse().ok().filter(|_| whole).ok_or(Malformed::NotMine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::tests::check;

    #[test]
    fn a_module_answers_and_asks_for_set_up() {
        let mac =
            ["sender says hf.mac = 00:00:5e:00:53:01", "sender is Mac 00:00:5e:00:53:01 (hf.mac)"];
        let more = ["sender uses 192.0.2.9 (Stated)", "sender says hf.module = HF-LPB100"];
        let expect = [&mac[..], &more].concat();
        check(run, (48899, 40000), b"192.0.2.9,00005E005301,HF-LPB100", Ok(&expect));
        check(run, (48899, 49999), b"smart_config 00005E005301", Ok(&mac));
        check(run, (40000, 48899), b"HF-A11ASSISTHREAD", Ok(&[]));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["hello", "a,b,c", "192.0.2.9,xyz,HF", "1,2,3,4", "smart_config xyz"] {
            check(run, (48899, 40000), text.as_bytes(), Err(Malformed::NotMine));
        }
    }
}
