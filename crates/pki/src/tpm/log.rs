//! The event log of a boot: what the firmware and the boot loader say that they measured (TCG PC Client Platform Firmware
//! Profile, Event Logging; the crypto-agile form, "Spec ID Event03").
//!
//! A log is only a story until the registers of a quote confirm it ([`super::measured`]). Then its digests are true; what else
//! stands in an event is not looked at, because nothing but the digest went into a register.

use std::fmt;

use super::pcr::REGISTERS;
use super::wire::{Cursor, digest, digest_id};
use crate::{Digest, Malformed, Verifier};

/// Bytes of the longest log that is read.
pub const LOG_BYTES_MAX: usize = 1 << 20;
/// Events of one log that are read.
pub const EVENTS_MAX: usize = 8_192;
/// Banks that one log may have.
const BANKS_MAX: u32 = 8;
/// The first event names the form of all others (Specification ID Version Event).
const SPEC_ID: [u8; 16] = *b"Spec ID Event03\0";
/// An event that says how the registers began (Startup Locality Event).
const STARTUP_LOCALITY: &[u8] = b"StartupLocality\0";
/// Registers that a dynamic launch resets; they begin with ones.
const DYNAMIC: std::ops::RangeInclusive<u8> = 17..=22;

/// A log. It borrows the bytes that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log<'a> {
    /// Its banks, also those that do not count, with the bytes of a digest.
    banks: Vec<(u16, usize)>,
    /// From which locality the TPM was started: register 0 began with it.
    locality: u8,
    events: Vec<Event<'a>>,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its place in the log; the event that names the form is number 0.
    pub number: usize,
    /// The register that it went into.
    pub pcr: u8,
    /// What kind of event it says it is.
    pub kind: EventKind,
    /// What it says about itself; nobody vouches for that.
    pub data: &'a [u8],
    /// SHA-256, SHA-384, SHA-512.
    digests: [Option<&'a [u8]>; 3],
}

/// Kinds of events (Event Types).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKind(pub u32);

impl EventKind {
    /// EV_NO_ACTION: nothing was measured.
    pub const NO_ACTION: Self = Self(0x03);
    /// EV_SEPARATOR: from here on others measure.
    pub const SEPARATOR: Self = Self(0x04);

    /// Its name in the specification.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x00 => "EV_PREBOOT_CERT",
            0x01 => "EV_POST_CODE",
            0x03 => "EV_NO_ACTION",
            0x04 => "EV_SEPARATOR",
            0x05 => "EV_ACTION",
            0x06 => "EV_EVENT_TAG",
            0x07 => "EV_S_CRTM_CONTENTS",
            0x08 => "EV_S_CRTM_VERSION",
            0x09 => "EV_CPU_MICROCODE",
            0x0a => "EV_PLATFORM_CONFIG_FLAGS",
            0x0b => "EV_TABLE_OF_DEVICES",
            0x0c => "EV_COMPACT_HASH",
            0x0d => "EV_IPL",
            0x0e => "EV_IPL_PARTITION_DATA",
            0x0f => "EV_NONHOST_CODE",
            0x10 => "EV_NONHOST_CONFIG",
            0x11 => "EV_NONHOST_INFO",
            0x12 => "EV_OMIT_BOOT_DEVICE_EVENTS",
            0x13 => "EV_POST_CODE2",
            0x8000_0001 => "EV_EFI_VARIABLE_DRIVER_CONFIG",
            0x8000_0002 => "EV_EFI_VARIABLE_BOOT",
            0x8000_0003 => "EV_EFI_BOOT_SERVICES_APPLICATION",
            0x8000_0004 => "EV_EFI_BOOT_SERVICES_DRIVER",
            0x8000_0005 => "EV_EFI_RUNTIME_SERVICES_DRIVER",
            0x8000_0006 => "EV_EFI_GPT_EVENT",
            0x8000_0007 => "EV_EFI_ACTION",
            0x8000_0008 => "EV_EFI_PLATFORM_FIRMWARE_BLOB",
            0x8000_0009 => "EV_EFI_HANDOFF_TABLES",
            0x8000_000a => "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
            0x8000_000b => "EV_EFI_HANDOFF_TABLES2",
            0x8000_000c => "EV_EFI_VARIABLE_BOOT2",
            0x8000_000d => "EV_EFI_GPT_EVENT2",
            0x8000_0010 => "EV_EFI_HCRTM_EVENT",
            0x8000_00e0 => "EV_EFI_VARIABLE_AUTHORITY",
            0x8000_00e1 => "EV_EFI_SPDM_FIRMWARE_BLOB",
            0x8000_00e2 => "EV_EFI_SPDM_FIRMWARE_CONFIG",
            _ => return None,
        })
    }
}

/// The name, or the number where it has none.
impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}

impl fmt::Debug for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Event<'_> {
    /// What went into the register of a bank, where that is told.
    pub const fn digest(&self, bank: Digest) -> Option<&[u8]> {
        match bank {
            Digest::Sha256 => self.digests[0],
            Digest::Sha384 => self.digests[1],
            Digest::Sha512 => self.digests[2],
        }
    }
}

impl<'a> Log<'a> {
    /// From what a kernel hands out (`/sys/kernel/security/tpm0/binary_bios_measurements`).
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let bounded = match bytes.len() {
            0..=LOG_BYTES_MAX => read(bytes),
            _ => Err(format!("it is longer than {LOG_BYTES_MAX} bytes")),
        };
        bounded.map_err(|why| Malformed::new("an event log", why))
    }

    /// Events that went into a register, in their order.
    pub fn events(&self) -> &[Event<'a>] {
        &self.events
    }

    /// What the registers of a bank are after all events, from 0 on. `None` where the log has not
    /// this bank, or one event lacks it.
    pub fn replay(&self, bank: Digest, verifier: &dyn Verifier) -> Option<Vec<Vec<u8>>> {
        let size = usize::from(bank.size_bytes());
        self.banks.iter().find(|(id, _)| *id == digest_id(bank))?;
        let begin = |pcr| vec![if DYNAMIC.contains(&pcr) { 0xff } else { 0 }; size];
        let mut registers: Vec<Vec<u8>> = (0..REGISTERS).map(begin).collect();
        if let Some(last) = registers.first_mut().and_then(|r| r.last_mut()) {
            *last = self.locality;
        }
        let mut input = Vec::with_capacity(128);
        for event in &self.events {
            let register = registers.get_mut(usize::from(event.pcr))?;
            input.clear();
            input.extend_from_slice(register);
            input.extend_from_slice(event.digest(bank)?);
            *register = verifier.digest(bank, &input);
        }
        Some(registers)
    }
}

fn read(bytes: &[u8]) -> Result<Log<'_>, String> {
    let mut cursor = Cursor::new(bytes);
    let banks = header(&mut cursor)?;
    let mut log = Log { banks, locality: 0, events: Vec::new() };
    let (mut number, mut told) = (0, false);
    while !cursor.is_empty() {
        number += 1;
        if number > EVENTS_MAX {
            return Err(format!("more than {EVENTS_MAX} events"));
        }
        let at = |why: String| format!("event {number}: {why}");
        let (pcr, kind, event) = event(&mut cursor, &log.banks).map_err(at)?;
        if kind != EventKind::NO_ACTION {
            let pcr = u8::try_from(pcr).ok().filter(|pcr| *pcr < REGISTERS);
            let pcr = pcr.ok_or_else(|| at("there is no such PCR".to_owned()))?;
            if DYNAMIC.contains(&pcr) {
                return Err(at(format!(
                    "PCR {pcr} is for dynamic launches, which are not supported"
                )));
            }
            log.events.push(Event { number, pcr, kind, ..event });
        } else if let Some(locality) = event.data.strip_prefix(STARTUP_LOCALITY) {
            let first = !told && !log.events.iter().any(|e| e.pcr == 0);
            log.locality = match locality {
                [locality @ (0 | 3 | 4)] if first && pcr == 0 => *locality,
                _ => return Err(at("a startup locality that cannot be".to_owned())),
            };
            told = true;
        }
    }
    Ok(log)
}

/// The first event (TCG_PCR_EVENT with TCG_EfiSpecIDEvent): which banks there are.
fn header(cursor: &mut Cursor<'_>) -> Result<Vec<(u16, usize)>, String> {
    let odd = |what: &str| Err(format!("its first event {what}"));
    let (pcr, kind) = (cursor.u32_le()?, EventKind(cursor.u32_le()?));
    if pcr != 0 || kind != EventKind::NO_ACTION || cursor.array()? != [0; 20] {
        return odd("does not name its form");
    }
    let size = usize::try_from(cursor.u32_le()?).unwrap_or(usize::MAX);
    Cursor::whole(cursor.take(size)?, |c| {
        if c.array()? != SPEC_ID {
            return odd("names a form other than Spec ID Event03");
        }
        let _platform_class = c.u32_le()?;
        let [_minor, major, _errata, _size_of_integers] = c.array()?;
        if major != 2 {
            return odd("is of another version than 2");
        }
        let count = c.u32_le()?;
        if !(1..=BANKS_MAX).contains(&count) {
            return odd("has no banks, or too many");
        }
        let mut banks: Vec<(u16, usize)> = Vec::new();
        for _ in 0..count {
            let (id, size) = (c.u16_le()?, usize::from(c.u16_le()?));
            let known = digest(id).is_none_or(|digest| usize::from(digest.size_bytes()) == size);
            if !known || !(1..=64).contains(&size) || banks.iter().any(|(other, _)| *other == id) {
                return odd("has an odd bank");
            }
            banks.push((id, size));
        }
        let vendor = usize::from(c.u8()?);
        c.take(vendor)?;
        Ok(banks)
    })
}

/// One more event (TCG_PCR_EVENT2), not yet with number, register and kind.
fn event<'a>(
    cursor: &mut Cursor<'a>,
    banks: &[(u16, usize)],
) -> Result<(u32, EventKind, Event<'a>), String> {
    let (pcr, kind) = (cursor.u32_le()?, EventKind(cursor.u32_le()?));
    let count = usize::try_from(cursor.u32_le()?).unwrap_or(usize::MAX);
    // Some firmware names banks that it does not measure into.
    if count > banks.len() {
        return Err(format!("{count} digests, and there are {} banks", banks.len()));
    }
    let mut digests = [None; 3];
    let mut seen = 0u32;
    for _ in 0..count {
        let id = cursor.u16_le()?;
        let (place, (_, size)) = (0u32..)
            .zip(banks)
            .find(|(_, (bank, _))| *bank == id)
            .ok_or_else(|| format!("a digest {id:#06x}, which is no bank of this log"))?;
        if seen >> place & 1 == 1 {
            return Err("two digests of one bank".to_owned());
        }
        seen |= 1 << place;
        let value = cursor.take(*size)?;
        match digest(id) {
            Some(Digest::Sha256) => digests[0] = Some(value),
            Some(Digest::Sha384) => digests[1] = Some(value),
            Some(Digest::Sha512) => digests[2] = Some(value),
            None => {}
        }
    }
    let size = usize::try_from(cursor.u32_le()?).unwrap_or(usize::MAX);
    let data = cursor.take(size)?;
    Ok((pcr, kind, Event { number: 0, pcr: 0, kind, data, digests }))
}

/// Writes a log: events as register, kind and data, the digest of which is measured in every bank. For devices that are only
/// played, and for tests; firmware writes its own.
pub fn write_log(
    banks: &[Digest],
    locality: u8,
    events: &[(u8, EventKind, &[u8])],
    verifier: &dyn Verifier,
) -> Vec<u8> {
    let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let mut spec = [&SPEC_ID[..], &[0, 0, 0, 0, 0, 2, 106, 2], &word(banks.len())].concat();
    for bank in banks {
        spec.extend(digest_id(*bank).to_le_bytes());
        spec.extend([bank.size_bytes(), 0]);
    }
    spec.push(0);
    let no_action = EventKind::NO_ACTION.0.to_le_bytes();
    let mut log = [&[0; 4], &no_action[..], &[0; 20], &word(spec.len()), &spec].concat();
    let startup = [STARTUP_LOCALITY, &[locality]].concat();
    // Where nothing is said, it was locality 0.
    let first = (locality != 0).then_some((0, EventKind::NO_ACTION, startup.as_slice()));
    for (pcr, kind, data) in first.iter().chain(events) {
        log.extend(u32::from(*pcr).to_le_bytes());
        log.extend(kind.0.to_le_bytes());
        log.extend(word(banks.len()));
        for bank in banks {
            log.extend(digest_id(*bank).to_le_bytes());
            match *kind {
                EventKind::NO_ACTION => log.extend(vec![0; usize::from(bank.size_bytes())]),
                _ => log.extend(verifier.digest(*bank, data)),
            }
        }
        log.extend(word(data.len()));
        log.extend(*data);
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Key};

    /// A digest of nothing but lengths and first bytes.
    struct Sums;

    impl Verifier for Sums {
        fn digest(&self, digest: Digest, bytes: &[u8]) -> Vec<u8> {
            let sum = bytes.iter().fold(7u8, |sum, b| sum.wrapping_mul(31).wrapping_add(*b));
            vec![sum; usize::from(digest.size_bytes())]
        }

        fn verify(&self, _: Algorithm, _: &Key, _: &[u8], _: &[u8]) -> bool {
            false
        }
    }

    const BANKS: [Digest; 2] = [Digest::Sha256, Digest::Sha384];

    fn written() -> Vec<u8> {
        let events: [(u8, EventKind, &[u8]); 3] = [
            (0, EventKind(8), b"1.0"),
            (4, EventKind::SEPARATOR, &[0; 4]),
            (0, EventKind(1), b"x"),
        ];
        write_log(&BANKS, 3, &events, &Sums)
    }

    #[test]
    fn what_is_written_is_read_and_replayed() {
        let bytes = written();
        let log = Log::read(&bytes).unwrap();
        let listed: Vec<_> = log.events().iter().map(|e| (e.number, e.pcr, e.kind.0)).collect();
        assert_eq!(listed, [(2, 0, 8), (3, 4, 4), (4, 0, 1)]);
        assert_eq!(log.events()[0].data, b"1.0");
        assert_eq!(
            log.events()[0].digest(Digest::Sha384),
            Some(&Sums.digest(BANKS[1], b"1.0")[..])
        );
        assert_eq!(log.replay(Digest::Sha512, &Sums), None);
        for bank in BANKS {
            let registers = log.replay(bank, &Sums).unwrap();
            let mut zero = vec![0; usize::from(bank.size_bytes())];
            assert_eq!(registers[1], zero);
            let extend = |old: &[u8], data: &[u8]| {
                Sums.digest(bank, &[old, &Sums.digest(bank, data)].concat())
            };
            assert_eq!(registers[4], extend(&zero, &[0; 4]));
            *zero.last_mut().unwrap() = 3;
            assert_eq!(registers[0], extend(&extend(&zero, b"1.0"), b"x"));
            assert_eq!(registers[17], vec![0xff; usize::from(bank.size_bytes())]);
        }
    }

    #[test]
    fn a_log_is_cut_only_between_events() {
        let bytes = written();
        let whole = (0..=bytes.len()).filter(|cut| Log::read(&bytes[..*cut]).is_ok()).count();
        // After the first event, and after each of the four others. That the end is missing, the registers say.
        assert_eq!(whole, 5);
    }

    #[test]
    fn a_bank_that_one_event_lacks_is_no_bank() {
        let events: [(u8, EventKind, &[u8]); 1] = [(4, EventKind(5), b"x")];
        let mut bytes = write_log(&BANKS, 0, &events, &Sums);
        // Behind the first event, 32 + 37 bytes: register, kind, number of digests, SHA-256, SHA-384.
        bytes[69 + 8] = 1;
        bytes.drain(69 + 12 + 34..69 + 12 + 34 + 50);
        let log = Log::read(&bytes).unwrap();
        assert_eq!(log.events()[0].digest(Digest::Sha384), None);
        assert!(log.replay(Digest::Sha256, &Sums).is_some());
        assert_eq!(log.replay(Digest::Sha384, &Sums), None);
    }

    #[test]
    fn odd_logs_are_refused() {
        let whole = written();
        let refused = |at: usize, to: u8, why: &str| {
            let mut bytes = whole.clone();
            bytes[at] = to;
            let error = Log::read(&bytes).unwrap_err();
            assert!(error.why.contains(why), "{error} instead of {why}");
        };
        refused(0, 1, "does not name its form");
        refused(4, 8, "does not name its form");
        refused(46, b'2', "names a form other");
        refused(53, 1, "another version");
        refused(56, 0, "no banks");
        refused(56, 9, "no banks, or too many");
        refused(60, 0x0c, "an odd bank");
        refused(62, 20, "an odd bank");
        // The second event begins behind the first: 32 + 37 bytes.
        refused(69, 1, "a startup locality that cannot be");
        refused(69 + 8, 3, "event 1: 3 digests");
        refused(69 + 12, 0x0d, "no bank of this log");
        refused(69 + 12 + 34, 0x0b, "two digests of one bank");
        let third = 69 + 12 + 34 + 50 + 4 + 17;
        refused(third - 1, 2, "a startup locality that cannot be");
        refused(third, 24, "event 2: there is no such PCR");
        refused(third, 17, "dynamic launches");
    }

    #[test]
    fn there_are_bounds() {
        assert!(Log::read(&vec![0; LOG_BYTES_MAX + 1]).unwrap_err().why.contains("longer than"));
        let many = |n: usize| {
            let events = vec![(1, EventKind(5), &b""[..]); n];
            Log::read(&write_log(&BANKS[..1], 0, &events, &Sums)).map(|log| log.events().len())
        };
        assert_eq!(many(EVENTS_MAX), Ok(EVENTS_MAX));
        assert!(many(EVENTS_MAX + 1).is_err());
    }
}
