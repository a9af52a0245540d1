//! Files are written here byte by byte, from the specifications, in both byte orders.

use std::io::Cursor;
use std::path::Path;

use model::Timestamp;
use proptest::prelude::*;

use super::{Merge, OpenError, PACKET_BYTES_MAX, Source, Status, merge, open, read};

/// A packet as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    data: Vec<u8>,
    wire_len: u32,
    nanos: i64,
    link: u32,
}

fn seen(data: &[u8], nanos: i64) -> Seen {
    Seen { data: data.to_vec(), wire_len: data.len() as u32, nanos, link: 1 }
}

fn source_of(bytes: &[u8]) -> Result<Box<dyn Source>, OpenError> {
    let size = bytes.len() as u64;
    let reader = Box::new(Cursor::new(bytes.to_vec()));
    read(Path::new("test.pcap"), reader, Some(size))
}

fn drain(source: &mut dyn Source) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Some(packet) = source.next() {
        assert_eq!(packet.number, all.len() as u64 + 1);
        all.push(Seen {
            data: packet.data.to_vec(),
            wire_len: packet.wire_len,
            nanos: packet.at.as_nanos(),
            link: packet.link,
        });
    }
    assert!(source.next().is_none(), "the end is the end");
    all
}

fn read_all(bytes: &[u8]) -> (Vec<Seen>, Status) {
    let mut source = source_of(bytes).unwrap();
    let packets = drain(&mut *source);
    (packets, source.status())
}

fn check(bytes: &[u8], expect: &[Seen]) {
    let (packets, status) = read_all(bytes);
    assert_eq!(packets, expect);
    assert_eq!(status.errors, Vec::<String>::new());
    assert_eq!(status.packets, expect.len() as u64);
    assert_eq!(status.position, bytes.len() as u64);
    assert!(!status.truncated);
}

/// Writes numbers in one byte order.
#[derive(Clone, Copy, Debug)]
struct Writer {
    big: bool,
}

const BOTH: [Writer; 2] = [Writer { big: false }, Writer { big: true }];

impl Writer {
    fn u16(self, n: u16) -> Vec<u8> {
        if self.big { n.to_be_bytes() } else { n.to_le_bytes() }.to_vec()
    }

    fn u32(self, n: u32) -> Vec<u8> {
        if self.big { n.to_be_bytes() } else { n.to_le_bytes() }.to_vec()
    }

    fn u64(self, n: u64) -> Vec<u8> {
        if self.big { n.to_be_bytes() } else { n.to_le_bytes() }.to_vec()
    }

    fn words(self, words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|n| self.u32(*n)).collect()
    }

    fn pcap(self, magic: u32, link: u32) -> Vec<u8> {
        let version = [self.u16(2), self.u16(4)].concat();
        [self.u32(magic), version, self.words(&[0, 0, 65_535, link])].concat()
    }

    fn record(self, secs: u32, ticks: u32, data: &[u8]) -> Vec<u8> {
        let len = data.len() as u32;
        [self.words(&[secs, ticks, len, len]), data.to_vec()].concat()
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let len = self.u32(padded as u32 + 12);
        let padding = vec![0; padded - body.len()];
        [self.u32(kind), len.clone(), body.to_vec(), padding, len].concat()
    }

    fn section(self) -> Vec<u8> {
        let version = [self.u16(1), self.u16(0)].concat();
        let body = [self.u32(0x1a2b_3c4d), version, self.u64(u64::MAX)].concat();
        self.block(0x0a0d_0d0a, &body)
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut all = [self.u16(code), self.u16(value.len() as u16), value.to_vec()].concat();
        all.resize(all.len().next_multiple_of(4), 0);
        all
    }

    fn interface(self, link: u16, snap_len: u32, options: &[u8]) -> Vec<u8> {
        let fixed = [self.u16(link), self.u16(0), self.u32(snap_len)].concat();
        self.block(1, &[fixed, options.to_vec()].concat())
    }

    fn enhanced(self, interface: u32, ticks: u64, data: &[u8]) -> Vec<u8> {
        let len = data.len() as u32;
        let (high, low) = ((ticks >> 32) as u32, ticks as u32);
        let mut body = self.words(&[interface, high, low, len, len]);
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(self.option(1, b"a comment"));
        self.block(6, &body)
    }
}

const SECOND: i64 = 1_000_000_000;

#[test]
fn classic_files_of_every_variant() {
    for w in BOTH {
        for (magic, unit) in [(0xa1b2_c3d4, 1_000), (0xa1b2_3c4d, 1)] {
            let file = [
                w.pcap(magic, 1),
                w.record(7, 5, b"first"),
                w.record(8, 999_999, b"second packet"),
            ];
            let expect = [
                seen(b"first", 7 * SECOND + 5 * unit),
                seen(b"second packet", 8 * SECOND + 999_999 * unit),
            ];
            check(&file.concat(), &expect);
        }
        let long_record = [w.words(&[7, 5, 4, 4, 9]), vec![0; 4], b"data".to_vec()].concat();
        let kuznetzov = [w.pcap(0xa1b2_cd34, 1), long_record.clone(), long_record].concat();
        check(&kuznetzov, &[seen(b"data", 7 * SECOND + 5_000), seen(b"data", 7 * SECOND + 5_000)]);
        let ixia = [w.pcap(0x1c00_01ac, 1), w.u32(99), w.record(1, 2, b"hardware")].concat();
        check(&ixia, &[seen(b"hardware", SECOND + 2)]);
        // The upper half of the link word tells the frame check sequence, not the link.
        let with_fcs = [w.pcap(0xa1b2_c3d4, 0x2400_0071), w.record(1, 0, b"x")].concat();
        check(&with_fcs, &[Seen { link: 113, ..seen(b"x", SECOND) }]);
        check(&w.pcap(0xa1b2_c3d4, 1), &[]);
    }
}

#[test]
fn pcapng_with_sections_interfaces_clocks_and_every_packet_block() {
    let mut file = Vec::new();
    let mut expect = Vec::new();
    for w in BOTH {
        let nanos = w.option(9, &[9]);
        let binary = [w.option(9, &[0x80 | 10]), w.option(14, &w.u64(100))].concat();
        let tiny = [w.option(9, &[12]), w.option(0, &[]), w.option(9, &[0])].concat();
        let body_old = [w.u16(1), w.u16(3), w.words(&[0, 2_000_000_000, 5, 5]), b"old..".to_vec()];
        file.extend(
            [
                w.section(),
                w.interface(1, 6, &[]),
                w.interface(113, 0, &nanos),
                w.interface(101, 0, &binary),
                w.interface(1, 0, &tiny),
                w.enhanced(0, 3_000_001, b"micro"),
                w.block(0x8000_0bad, b"of a vendor"),
                w.enhanced(1, u64::from(u32::MAX) + 10, b"nanosecond"),
                w.enhanced(2, 512, b"half"),
                w.enhanced(3, 5_000, b"pico"),
                w.block(4, b"names are not read"),
                w.block(3, &[w.u32(9), b"simple".to_vec()].concat()),
                w.block(2, &body_old.concat()),
                w.block(
                    5,
                    &[w.words(&[0, 0, 0]), w.option(5, &w.u64(4)), w.option(7, &w.u64(2))].concat(),
                ),
                w.block(5, &[w.words(&[0, 0, 0]), w.option(5, &w.u64(5))].concat()),
            ]
            .concat(),
        );
        expect.extend([
            seen(b"micro", 3 * SECOND + 1_000),
            Seen { link: 113, ..seen(b"nanosecond", i64::from(u32::MAX) + 10) },
            Seen { link: 101, ..seen(b"half", 100 * SECOND + SECOND / 2) },
            seen(b"pico", 5),
            Seen { wire_len: 9, ..seen(b"simple", 5) },
            Seen { link: 113, ..seen(b"old..", 2 * SECOND) },
        ]);
    }
    check(&file, &expect);
    assert_eq!(read_all(&file).1.dropped, 10, "totals of both sections");
}

fn small_pcap() -> (Vec<u8>, Vec<(usize, Seen)>) {
    let w = Writer { big: false };
    let mut file = w.pcap(0xa1b2_c3d4, 1);
    let mut packets = Vec::new();
    for n in 0..6_u8 {
        let data = vec![n; usize::from(n) * 7 + 1];
        file.extend(w.record(100 + u32::from(n), 0, &data));
        packets.push((file.len(), seen(&data, (100 + i64::from(n)) * SECOND)));
    }
    (file, packets)
}

fn small_pcapng() -> (Vec<u8>, Vec<(usize, Seen)>) {
    let w = Writer { big: true };
    let mut file = [w.section(), w.interface(1, 0, &[])].concat();
    let mut packets = Vec::new();
    for n in 0..6_u8 {
        let data = vec![n; usize::from(n) * 7 + 1];
        file.extend(w.enhanced(0, u64::from(n), &data));
        packets.push((file.len(), seen(&data, i64::from(n) * 1_000)));
    }
    (file, packets)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_cut_anywhere_gives_exactly_the_packets_before_it() {
    for (file, packets) in [small_pcap(), small_pcapng()] {
        for cut in 0..file.len() {
            let Ok(mut source) = source_of(&file[..cut]) else {
                assert!(cut < 24, "a whole file header is enough to open");
                continue;
            };
            let whole: Vec<_> =
                packets.iter().filter(|p| p.0 <= cut).map(|p| p.1.clone()).collect();
            assert_eq!(drain(&mut *source), whole, "cut at {cut}");
            let status = source.status();
            let clean = cut == 24 && file[0] == 0xd4
                || [28, 48].contains(&cut) && file[0] == 0x0a
                || packets.iter().any(|p| p.0 == cut);
            assert_eq!(status.truncated, !clean, "cut at {cut}: {:?}", status.errors);
            assert_eq!(status.errors.len(), usize::from(!clean), "cut at {cut}");
        }
    }
}

#[test]
fn compressed_files_in_one_or_several_pieces() {
    for (file, packets) in [small_pcap(), small_pcapng()] {
        let expect: Vec<_> = packets.into_iter().map(|p| p.1).collect();
        let (front, back) = file.split_at(100);
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
        let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd".to_vec();
        for packed in [
            gzip(&file),
            [gzip(front), gzip(back)].concat(),
            zstd(&file),
            [zstd(front), zstd(back)].concat(),
            [skippable, zstd(&file)].concat(),
        ] {
            check(&packed, &expect);
        }
    }
}

#[test]
fn a_cut_compressed_file_gives_what_came_out() {
    let (file, packets) = small_pcap();
    for packed in [gzip(&file), zstd::encode_all(&*file, 3).unwrap()] {
        for cut in 0..packed.len() {
            let Ok(mut source) = source_of(&packed[..cut]) else {
                continue;
            };
            let got = drain(&mut *source);
            assert!(packets.iter().map(|p| &p.1).take(got.len()).eq(&got));
            assert!(source.status().truncated || got.len() == packets.len(), "cut at {cut}");
        }
        // The checksum at the end does not fit: everything came out, and it is said.
        let mut wrong = packed.clone();
        wrong[packed.len() / 2] ^= 1;
        if let Ok(mut source) = source_of(&wrong) {
            drain(&mut *source);
            assert!(!source.status().errors.is_empty());
        }
    }
}

/// Errors of a file that can be read in part.
fn faults(bytes: &[u8], packets: usize) -> String {
    let (got, status) = read_all(bytes);
    assert_eq!(got.len(), packets, "{:?}", status.errors);
    status.errors.join("\n")
}

#[test]
fn lying_lengths_are_named_and_passed_over() {
    let (file, packets) = small_pcap();
    let begin = packets[0].0;
    let with = |at: usize, value: u32| {
        let mut bad = file.clone();
        bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
        bad
    };
    // The second record's captured length: too large for any packet, too large for the file.
    let text = faults(&with(begin + 8, u32::MAX), 5);
    assert_eq!(
        text,
        "at byte 41: the record claims 4294967295 captured bytes, more than 262144\n\
         at byte 65: reading goes on here, 24 bytes behind the fault"
    );
    let text = faults(&with(begin + 8, 5_000), 5);
    assert!(
        text.starts_with("at byte 41: the record claims 5016 bytes and only 190 are left"),
        "{text}"
    );
    // The last one's: nothing can follow, so the input counts as cut.
    let last = packets[4].0;
    let text = faults(&with(last + 8, 5_000), 5);
    assert!(text.contains("the input ends inside a record of 5016 bytes"), "{text}");
    // A tail of zeros, as a crash leaves it.
    let text = faults(&[file.clone(), vec![0; 5_000]].concat(), 6);
    assert!(text.contains("zeros where a record should begin"), "{text}");

    let (file, packets) = small_pcapng();
    let begin = packets[0].0;
    let with = |at: usize, value: u32| {
        let mut bad = file.clone();
        bad[at..at + 4].copy_from_slice(&value.to_be_bytes());
        bad
    };
    for (value, what) in [
        (u32::MAX, "claims a length of 4294967295"),
        (0xffff_fffc, "claims 4294967292 bytes"),
        (3, "claims a length of 3 bytes"),
        (100_000, "the block claims 100000 bytes and only"),
        (16, "its two lengths differ"),
    ] {
        let text = faults(&with(begin + 4, value), 5);
        assert!(text.contains(what), "{text}");
        assert!(text.contains("at byte") && text.contains("reading goes on here"), "{text}");
    }
    // Inside a sound block nothing has to be searched for.
    assert_eq!(
        faults(&with(begin + 20, 90), 5),
        format!("at byte {begin}: a packet claims more bytes than its block has")
    );
    assert_eq!(
        faults(&with(begin + 8, 7), 5),
        format!("at byte {begin}: a packet names an interface that was not described")
    );
    // A foreign block of half a gigabyte that is not there.
    let mut huge = file.clone();
    huge.extend([0x8000_0001_u32, 1 << 29].iter().flat_map(|n| n.to_be_bytes()));
    huge.extend([0; 40]);
    assert!(faults(&huge, 6).contains("claims 536870912 bytes"));
}

#[test]
fn noise_ends_in_bounded_work_and_a_bounded_report() {
    let w = Writer { big: false };
    let mut file = w.pcap(0xa1b2_c3d4, 1);
    for n in 0..3_000 {
        for _ in 0..3 {
            file.extend(w.record(n, 0, b"a good packet"));
        }
        file.extend([0xff; 32]);
    }
    let (packets, status) = read_all(&file);
    assert!(packets.len() >= 64 && packets.len() < 9_000, "{}", packets.len());
    assert_eq!(status.errors.len(), super::ERRORS_MAX + 1);
    assert!(status.errors.last().unwrap().ends_with("more faults like these"));
}

#[test]
fn what_is_no_capture_is_refused_with_path_offset_and_help() {
    for (bytes, expect) in [
        (&b""[..], "test.pcap: is empty (at byte 0); capture again; nothing was written"),
        (b"PK\x03\x04....", "is a ZIP archive"),
        (b"{\"not\": \"a capture\"}", "is text, not a capture"),
        (b"\xd4\xc3\xb2\xa1\x02\0", "ends inside the file header"),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x11\x11\x11\x11", "without a valid byte-order magic"),
        (b"\x0a\x0d\x0d\x0a\x1c\0", "ends inside the first section header"),
        (b"\x1f\x8b\x08\0", "reading failed before the first packet"),
        (b"\x28\xb5\x2f\xfd\0", "reading failed before the first packet"),
        (&[0; 64], "is not a pcap or pcapng capture"),
        (&gzip(&gzip(b"two layers")), "is gzip inside a compressed file"),
    ] {
        let error = source_of(bytes).err().unwrap().to_string();
        assert!(error.contains(expect), "{error}");
    }
    let folder = std::env::temp_dir();
    let error = open(&folder).err().unwrap();
    assert!(error.to_string().contains("is a folder"), "{error}");
    let error = open(&folder.join("no-such-capture.pcap")).err().unwrap();
    assert!(error.to_string().contains("cannot be read (at byte 0): No such file"), "{error}");
}

#[test]
fn a_failing_disk_is_said_with_what_came_before() {
    struct Failing(Cursor<Vec<u8>>);
    impl std::io::Read for Failing {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(std::io::Error::other("medium error")),
                n => Ok(n),
            }
        }
    }
    let (file, packets) = small_pcap();
    for (cut, whole) in [(packets[2].0, 3), (packets[2].0 + 20, 3)] {
        let reader = Failing(Cursor::new(file[..cut].to_vec()));
        let mut source = read(Path::new("disk"), Box::new(reader), None).unwrap();
        assert_eq!(drain(&mut *source).len(), whole);
        let status = source.status();
        assert!(status.truncated && status.errors[0].contains("medium error"), "{status:?}");
    }
}

fn join(merged: &mut Merge) -> Vec<(usize, i64, u64)> {
    let mut all = Vec::new();
    while let Some((source, packet)) = merged.next_packet() {
        all.push((source, packet.at.as_nanos() / SECOND, packet.number));
    }
    assert!(merged.next_packet().is_none());
    all
}

fn times(secs: &[u32]) -> Box<dyn Source> {
    let w = Writer { big: false };
    let records: Vec<u8> = secs.iter().flat_map(|s| w.record(*s, 0, b"x")).collect();
    source_of(&[w.pcap(0xa1b2_c3d4, 1), records].concat()).unwrap()
}

#[test]
fn several_files_come_in_time_order() {
    let mut merged = merge(vec![times(&[1, 4, 4]), times(&[]), times(&[2, 4, 9])]);
    let expect = [(0, 1, 1), (2, 2, 1), (0, 4, 2), (0, 4, 3), (2, 4, 2), (2, 9, 3)];
    assert_eq!(join(&mut merged), expect);
    let status = merged.status();
    assert_eq!(status.iter().map(|s| s.packets).collect::<Vec<_>>(), [3, 0, 3]);
    assert_eq!(join(&mut merge(vec![times(&[3, 1])])), [(0, 3, 1), (0, 1, 2)]);
    assert_eq!(join(&mut merge(Vec::new())), []);
}

#[test]
fn packets_up_to_the_bound_are_read() {
    let w = Writer { big: false };
    let large = vec![7; PACKET_BYTES_MAX];
    let file = [w.pcap(0xa1b2_c3d4, 1), w.record(1, 0, &large), w.record(2, 0, b"next")].concat();
    check(&file, &[seen(&large, SECOND), seen(b"next", 2 * SECOND)]);
    let ng = [w.section(), w.interface(1, 0, &[]), w.enhanced(0, 1, &large)].concat();
    check(&ng, &[seen(&large, 1_000)]);
}

#[test]
fn a_status_becomes_an_input_of_the_report() {
    let (file, _) = small_pcap();
    let input = model::inspect::Input::from(read_all(&file[..file.len() - 1]).1);
    assert_eq!((input.name.as_str(), input.packets, input.truncated), ("test.pcap", 5, true));
}

/// Time-ordered packets: times in nanoseconds and data.
fn traffic() -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
    let packet = (0..4_000_000_000_000_000_000_u64, prop::collection::vec(any::<u8>(), 0..300));
    prop::collection::vec(packet, 0..40).prop_map(|mut all| {
        all.sort();
        all
    })
}

fn as_pcap(w: Writer, packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = w.pcap(0xa1b2_3c4d, 1);
    for (at, data) in packets {
        let (secs, nanos) = (at / 1_000_000_000, at % 1_000_000_000);
        file.extend(w.record(secs as u32, nanos as u32, data));
    }
    file
}

fn as_pcapng(w: Writer, packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = [w.section(), w.interface(1, 0, &w.option(9, &[9]))].concat();
    for (at, data) in packets {
        file.extend(w.enhanced(0, *at, data));
    }
    file
}

proptest! {
    #[test]
    fn what_was_written_is_read(packets in traffic(), big: bool) {
        let w = Writer { big };
        let expect: Vec<_> = packets.iter().map(|(at, data)| seen(data, *at as i64)).collect();
        for file in [as_pcap(w, &packets), as_pcapng(w, &packets)] {
            prop_assert_eq!(&read_all(&file).0, &expect);
            prop_assert_eq!(&read_all(&gzip(&file)).0, &expect);
        }
    }

    /// In order, nothing lost, nothing invented, each source in its own order.
    #[test]
    fn a_merge_is_the_sorted_whole(parts in prop::collection::vec(traffic(), 0..5)) {
        let sources = parts.iter().map(|p| source_of(&as_pcap(BOTH[0], p)).unwrap()).collect();
        let mut merged = merge(sources);
        let mut got = Vec::new();
        let mut last = (Timestamp::MIN, 0);
        while let Some((source, packet)) = merged.next_packet() {
            prop_assert!((packet.at, source) >= last);
            last = (packet.at, source);
            got.push((source, packet.number));
        }
        prop_assert_eq!(got.len(), parts.iter().map(Vec::len).sum::<usize>());
        got.sort_by_key(|g| g.0);
        for (source, packets) in parts.iter().enumerate() {
            let numbers: Vec<_> = got.iter().filter(|g| g.0 == source).map(|g| g.1).collect();
            prop_assert_eq!(numbers, (1..=packets.len() as u64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn damage_never_panics_and_stays_in_bounds(
        packets in traffic(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        ng: bool,
    ) {
        let mut file = if ng { as_pcapng(BOTH[0], &packets) } else { as_pcap(BOTH[1], &packets) };
        for (at, value) in damage {
            let at = at.index(file.len());
            file[at] = value;
        }
        if let Ok(mut source) = source_of(&file) {
            let got = drain(&mut *source);
            prop_assert!(got.iter().map(|p| p.data.len()).sum::<usize>() <= file.len());
        }
    }

    #[test]
    fn arbitrary_bytes_behind_a_magic_number(kind in 0..6_usize, tail in prop::collection::vec(any::<u8>(), 0..600)) {
        let magic: &[u8] = [
            &b"\xa1\xb2\xc3\xd4"[..], b"\x34\xcd\xb2\xa1", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd",
            b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a", b"",
        ][kind];
        if let Ok(mut source) = source_of(&[magic, &tail].concat()) {
            drain(&mut *source);
        }
    }
}
