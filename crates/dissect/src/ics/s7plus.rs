//! S7comm-plus of SIMATIC S7-1200/1500: presence, and what session set-up says in clear text.

use super::wire::{key, once, runs};
use crate::{Role, Sink, text};

const MEMORY: u8 = b'+';

/// Looks for `1;6ES7 212-1BE40-0XB0;V4.2` in what a server says; clients write other text.
pub(super) fn run(pdu: &[u8], role: Role, sink: &mut dyn Sink) {
    let [0x72, 0x01..=0x04 | 0xfe, _, _, rest @ ..] = pdu else {
        return;
    };
    if role != Role::Server {
        return;
    }
    if once(sink, key(MEMORY, b'p', 0)) {
        sink.says("s7.plus", "yes");
    }
    for run in runs(rest, 12).take(64) {
        let mut parts = run.split(';');
        let (Some(first), Some(order), Some(version)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        // The length before the string may be printable as well: only the end of the first part
        // counts.
        if first.ends_with(|c: char| c.is_ascii_digit())
            && order.starts_with("6")
            && order.len() >= 12
            && let Some(version) = firmware(version)
        {
            sink.says("s7.order_number", text::clean_str(order));
            sink.says("s7.firmware", version);
            return;
        }
    }
}

/// `V4.2`, without what is printable behind the string by chance.
fn firmware(text: &str) -> Option<&str> {
    let digits = text.strip_prefix('V')?;
    let length = digits.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let version = text.get(..=length)?.trim_end_matches('.');
    (version.len() > 1).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    #[test]
    fn only_a_server_names_its_firmware() {
        let said = |role| {
            let mut pdu =
                b"\x72\x01\x00\x40\x32\x00\x15\x1a1;6ES7 212-1BE40-0XB0;V4.2\xa2\0".to_vec();
            pdu.extend(b"\x72\x01\0\0");
            let mut facts = Recorder::default();
            run(&pdu, role, &mut facts);
            facts.lines
        };
        assert_eq!(said(Role::Client), [""; 0]);
        assert_eq!(
            said(Role::Server),
            [
                "sender says s7.plus = yes",
                "sender says s7.order_number = 6ES7 212-1BE40-0XB0",
                "sender says s7.firmware = V4.2",
            ]
        );
        assert_eq!(firmware("V2.9.4r"), Some("V2.9.4"));
        assert_eq!(firmware("Vx"), None);
    }
}
