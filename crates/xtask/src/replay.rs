//! Files for benches: one network made of many captures, repeated with other addresses.
//!
//! Every repeat has its own link addresses (the vendor block stays), its own private subnets and its
//! own time, so that the tables of whoever reads it grow as they would in a larger network. Checksums
//! are left as they were.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use sensor::capture;

use crate::Stop;

/// Writes captures of `dir`, repeated, until the file has `size_bytes`.
pub(crate) fn write_replay(dir: &Path, out: &Path, size_bytes: u64) -> Result<(), Stop> {
    let mut packets = load(dir)?;
    if packets.is_empty() {
        let help = "name a folder of Ethernet captures";
        return Err(Stop(format!("{} has no Ethernet packets; {help}", dir.display())));
    }
    packets.sort_by_key(|p| p.nanos);
    let span = packets.last().map_or(0, |p| p.nanos).saturating_add(1_000_000_000);
    let plan = Plan::of(&packets);
    let places: Vec<_> = packets.iter().map(|p| plan.places(&p.data)).collect();
    let mut writer = Writer::new(out)?;
    let mut repeat = 0;
    while writer.bytes < size_bytes {
        for (packet, places) in packets.iter().zip(&places) {
            let mut data = packet.data.clone();
            plan.rewrite(&mut data, places, repeat);
            let nanos = packet.nanos + i64::from(repeat) * span;
            writer.packet(nanos, &data, packet.wire_len)?;
        }
        repeat += 1;
    }
    writer.finish()
}

/// Writes `devices` devices that say who has which address, and then ask for the time once.
pub(crate) fn write_idle(out: &Path, devices: u32) -> Result<(), Stop> {
    let mut writer = Writer::new(out)?;
    for n in 0..devices {
        let [_, a, b, c] = n.to_be_bytes();
        let mac = [0x00, 0x1b, 0x1b, a, b, c];
        let ip = [10, a, b, c];
        let arp = [
            &[0xff; 6][..],
            &mac,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &mac,
            &ip,
            &[0; 6],
            &ip,
            &[0; 18],
        ];
        let ask = [
            &[0x02, 0, 0, 0, 0, 1][..],
            &mac,
            // IPv4, 76 bytes, UDP, to port 123; then an NTP client's request (RFC 5905 §7.3).
            &[8, 0, 0x45, 0, 0, 76, 0, 0, 0, 0, 64, 17, 0, 0],
            &ip,
            &[10, 255, 255, 1, 0xc0, 0, 0, 123, 0, 56, 0, 0, 0x23],
            &[0; 47],
        ];
        let nanos = i64::from(n) * 1_000_000;
        writer.packet(nanos, &arp.concat(), 60)?;
        writer.packet(nanos + 500_000, &ask.concat(), 90)?;
    }
    writer.finish()
}

struct Loaded {
    /// Since the first packet of its file, without long silences.
    nanos: i64,
    data: Vec<u8>,
    wire_len: u32,
}

fn load(dir: &Path) -> Result<Vec<Loaded>, Stop> {
    let entries = std::fs::read_dir(dir).map_err(|e| {
        let help = "name a folder of captures, or set RINGFENCE_CAPTURES";
        Stop(format!("{} cannot be read: {e}; {help}", dir.display()))
    })?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    let mut packets = Vec::new();
    for path in paths {
        // What is no capture (a README, the truth) is passed over.
        let Ok(mut source) = capture::open(&path) else {
            continue;
        };
        let (mut nanos, mut last) = (0, None);
        while let Some(packet) = source.next() {
            let at = packet.at.as_nanos();
            let gap = at.saturating_sub(last.replace(at).unwrap_or(at));
            nanos += gap.clamp(0, GAP_NANOS_MAX);
            if packet.link == 1 && packet.data.len() >= 14 {
                packets.push(Loaded {
                    nanos,
                    data: packet.data.to_vec(),
                    wire_len: packet.wire_len,
                });
            }
        }
    }
    Ok(packets)
}

/// Longer silences are shortened: some captures span months, some have absurd clocks.
const GAP_NANOS_MAX: i64 = 10_000_000_000;

/// Which bytes of packets are addresses.
struct Plan {
    macs: BTreeSet<[u8; 6]>,
    /// Every private /24 with its number.
    subnets: BTreeMap<[u8; 3], u32>,
}

impl Plan {
    fn of(packets: &[Loaded]) -> Self {
        let mut plan = Self { macs: BTreeSet::new(), subnets: BTreeMap::new() };
        for packet in packets {
            for at in [0, 6] {
                if let Some(mac) = array::<6>(&packet.data, at)
                    && mac[0] & 1 == 0
                    && mac != [0; 6]
                {
                    plan.macs.insert(mac);
                }
            }
            for at in ipv4_fields(&packet.data) {
                if let Some(ip) = array::<4>(&packet.data, at)
                    && is_private(ip)
                {
                    let next = u32::try_from(plan.subnets.len()).unwrap_or(u32::MAX);
                    plan.subnets.entry([ip[0], ip[1], ip[2]]).or_insert(next);
                }
            }
        }
        plan
    }

    /// Where link addresses are: in the header and wherever else they are carried (ARP, DHCP).
    fn places(&self, data: &[u8]) -> Vec<usize> {
        let known = |w: &[u8]| w.first_chunk().is_some_and(|w| self.macs.contains(w));
        let windows = data.windows(6).take(400).enumerate();
        windows.filter(|(_, w)| known(w)).map(|(at, _)| at).collect()
    }

    fn rewrite(&self, data: &mut [u8], places: &[usize], repeat: u32) {
        for at in ipv4_fields(data) {
            if let Some([a, b, c, _]) = array::<4>(data, at)
                && let Some(subnet) = self.subnets.get(&[a, b, c])
            {
                let count = u32::try_from(self.subnets.len()).unwrap_or(1);
                let number = repeat.wrapping_mul(count).wrapping_add(*subnet);
                let [_, _, high, low] = number.to_be_bytes();
                put(data, at, &[10, high, low]);
            }
        }
        // An odd multiplier: every repeat gives other addresses, repeat 0 the true ones.
        let [_, x, y, z] = repeat.wrapping_mul(0x9e_3779).to_be_bytes();
        let turn = |data: &mut [u8], at: usize| {
            if let Some([a, b, c]) = array::<3>(data, at) {
                put(data, at, &[a ^ x, b ^ y, c ^ z]);
            }
        };
        if ether_type(data).is_some_and(|(t, _)| t == 0x86dd)
            && let Some((_, at)) = ether_type(data)
        {
            for address in [at + 8, at + 24] {
                if data.get(address) != Some(&0xff) {
                    turn(data, address + 13);
                }
            }
        }
        for at in places {
            turn(data, at + 3);
        }
    }
}

/// Where IPv4 addresses are: headers, ARP, and the fixed part of DHCP.
fn ipv4_fields(data: &[u8]) -> Vec<usize> {
    let Some((kind, at)) = ether_type(data) else {
        return Vec::new();
    };
    match kind {
        0x0806 => vec![at + 14, at + 24],
        0x0800 => {
            let mut fields = vec![at + 12, at + 16];
            let header = data.get(at).map_or(20, |b| usize::from(b & 0x0f) * 4);
            let udp = at + header;
            let ports = [array::<2>(data, udp), array::<2>(data, udp + 2)];
            let dhcp = |p: &Option<[u8; 2]>| matches!(p, Some([0, 67 | 68]));
            if data.get(at + 9) == Some(&17) && ports.iter().all(dhcp) {
                fields.extend([12, 16, 20, 24].map(|field| udp + 8 + field));
            }
            fields
        }
        _ => Vec::new(),
    }
}

/// The EtherType behind VLAN tags, and where its payload begins.
fn ether_type(data: &[u8]) -> Option<(u16, usize)> {
    let mut at = 12;
    for _ in 0..3 {
        let kind = u16::from_be_bytes(array(data, at)?);
        if !matches!(kind, 0x8100 | 0x88a8) {
            return Some((kind, at + 2));
        }
        at += 4;
    }
    None
}

fn is_private(ip: [u8; 4]) -> bool {
    std::net::Ipv4Addr::from(ip).is_private()
}

fn array<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk().copied()
}

fn put(data: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = data.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

/// Writes a classic capture file.
struct Writer {
    out: BufWriter<File>,
    path: PathBuf,
    bytes: u64,
}

impl Writer {
    fn new(path: &Path) -> Result<Self, Stop> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| fail(folder, &e))?;
        }
        let file = File::create(path).map_err(|e| fail(path, &e))?;
        let mut writer =
            Self { out: BufWriter::with_capacity(1 << 20, file), path: path.to_owned(), bytes: 0 };
        let header = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1_u32];
        writer.write(&header.map(u32::to_le_bytes).concat())?;
        Ok(writer)
    }

    fn packet(&mut self, nanos: i64, data: &[u8], wire_len: u32) -> Result<(), Stop> {
        // The first repeat begins on 2026-01-01.
        let micros = nanos / 1_000 + 1_767_225_600_000_000;
        let part = |n: i64| u32::try_from(n).unwrap_or(0).to_le_bytes();
        let len = u32::try_from(data.len()).unwrap_or(0);
        let header = [
            part(micros / 1_000_000),
            part(micros % 1_000_000),
            len.to_le_bytes(),
            wire_len.max(len).to_le_bytes(),
        ];
        self.write(&header.concat())?;
        self.write(data)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|e| fail(&self.path, &e))
    }

    fn finish(mut self) -> Result<(), Stop> {
        self.out.flush().map_err(|e| fail(&self.path, &e))
    }
}

fn fail(path: &Path, error: &std::io::Error) -> Stop {
    Stop(format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_other_devices_of_the_same_makers() {
        let folder = std::env::temp_dir().join(format!("replay-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        write_idle(&folder.join("a.pcap"), 50).unwrap();
        let out = folder.join("out/replay.pcap");
        write_replay(&folder, &out, 20_000).unwrap();
        let mut source = capture::open(&out).unwrap();
        let (mut macs, mut ips, mut last) = (BTreeSet::new(), BTreeSet::new(), 0);
        while let Some(packet) = source.next() {
            let mac = array::<6>(packet.data, 6).unwrap();
            assert_eq!(mac[..3], [0x00, 0x1b, 0x1b], "the vendor block stays");
            if ether_type(packet.data).unwrap().0 == 0x0806 {
                assert_eq!(array::<6>(packet.data, 22), Some(mac), "ARP says the same address");
                ips.insert(array::<4>(packet.data, 28).unwrap());
            }
            macs.insert(mac);
            assert!(packet.at.as_nanos() >= last, "time goes on");
            last = packet.at.as_nanos();
        }
        assert_eq!(source.status().errors, Vec::<String>::new());
        assert!(macs.len() >= 100 && macs.len().is_multiple_of(50), "{}", macs.len());
        assert_eq!(ips.len(), macs.len());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
