//! The PLC: Modbus/TCP (MODBUS Messaging on TCP/IP 1.0b, Application Protocol 1.1b3).

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::{Handler, Session};

/// Holding registers of the PLC; what a forged write changes.
#[derive(Debug)]
pub(crate) struct Registers([AtomicU16; 16]);

impl Registers {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(std::array::from_fn(|i| AtomicU16::new(u16::try_from(i * 100).unwrap_or(0)))))
    }

    pub(crate) fn get(&self, address: u16) -> Option<u16> {
        self.0.get(usize::from(address)).map(|cell| cell.load(Ordering::SeqCst))
    }

    fn set(&self, address: u16, value: u16) -> Option<()> {
        self.0.get(usize::from(address)).map(|cell| cell.store(value, Ordering::SeqCst))
    }
}

/// Objects of read device identification (function 43, MEI type 14), basic category.
const IDENTITY: [(u8, &str); 3] = [(0, "Schneider Electric"), (1, "BMX P34 2020"), (2, "v2.70")];

pub(crate) fn handler(registers: Arc<Registers>) -> Handler {
    Arc::new(move |session| serve(session, &registers))
}

fn serve(session: &mut Session<'_>, registers: &Registers) -> io::Result<()> {
    while let Some(message) = session.message(length)? {
        let (header, pdu) = message.split_at(message.len().min(7));
        let [t1, t2, _, _, _, _, unit] = header else {
            return Ok(());
        };
        let function = pdu.first().copied().unwrap_or(0);
        session.log.note("plc", session.client, format!("function {function}"));
        let answer = respond(pdu, registers);
        let size = u16::try_from(answer.len() + 1).unwrap_or(u16::MAX).to_be_bytes();
        let mut out = vec![*t1, *t2, 0, 0];
        out.extend(size);
        out.push(*unit);
        out.extend(answer);
        session.stream.write_all(&out)?;
    }
    Ok(())
}

/// Whole ADU length once it is there (MBAP length counts from the unit id).
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let size: [u8; 2] = bytes.get(4..6)?.try_into().ok()?;
    let total = 6 + usize::from(u16::from_be_bytes(size));
    (bytes.len() >= total).then_some(total)
}

fn respond(pdu: &[u8], registers: &Registers) -> Vec<u8> {
    match pdu {
        [3, a1, a2, 0, count @ 1..=16] => {
            let first = u16::from_be_bytes([*a1, *a2]);
            let mut out = vec![3, count * 2];
            for address in first..first.saturating_add(u16::from(*count)) {
                match registers.get(address) {
                    Some(value) => out.extend(value.to_be_bytes()),
                    None => return vec![0x83, 2], // Illegal data address.
                }
            }
            out
        }
        [6, a1, a2, v1, v2] => {
            let address = u16::from_be_bytes([*a1, *a2]);
            match registers.set(address, u16::from_be_bytes([*v1, *v2])) {
                Some(()) => pdu.to_vec(),
                None => vec![0x86, 2],
            }
        }
        [43, 14, code, _] => {
            // Conformity level: basic, stream and individual access; no more follows.
            let mut out = vec![43, 14, *code, 0x81, 0, 0, 3];
            for (id, text) in IDENTITY {
                out.extend([id, u8::try_from(text.len()).unwrap_or(0)]);
                out.extend(text.bytes());
            }
            out
        }
        [function, ..] => vec![function | 0x80, 1], // Illegal function.
        [] => vec![0x80, 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_by_the_book() {
        let registers = Registers::new();
        let check = |pdu: &[u8], expect: &[u8]| assert_eq!(respond(pdu, &registers), expect);
        check(&[3, 0, 1, 0, 2], &[3, 4, 0, 100, 0, 200]);
        check(&[3, 0, 15, 0, 2], &[0x83, 2]);
        check(&[6, 0, 1, 0x12, 0x34], &[6, 0, 1, 0x12, 0x34]);
        check(&[3, 0, 1, 0, 1], &[3, 2, 0x12, 0x34]);
        check(&[6, 0, 99, 0, 0], &[0x86, 2]);
        check(&[90], &[0xda, 1]);
        check(&[], &[0x80, 1]);
        let identity = respond(&[43, 14, 1, 0], &registers);
        assert!(identity.windows(12).any(|w| w == b"BMX P34 2020"), "{identity:?}");
        assert_eq!(length(&[0, 1, 0, 0, 0, 2, 1]), None);
        assert_eq!(length(&[0, 1, 0, 0, 0, 2, 1, 43, 9]), Some(8));
    }
}
