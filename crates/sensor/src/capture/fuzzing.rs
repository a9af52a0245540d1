//! Entry point for fuzzing capture files; also replays the committed corpus.

use std::io::Cursor;
use std::path::Path;

use super::{merge, read};

/// Reads any bytes as a capture, and cut in two as two captures of one estate.
pub fn capture(input: &[u8]) {
    let source = |bytes: &[u8]| {
        let reader = Box::new(Cursor::new(bytes.to_vec()));
        read(Path::new("fuzz"), reader, Some(bytes.len() as u64)).ok()
    };
    let (front, back) = input.split_at(input.len() / 2);
    let mut merged = merge(vec![input, front, back].into_iter().filter_map(source).collect());
    let (mut packets, mut bytes) = (0_u64, 0_u64);
    while let Some((_, packet)) = merged.next_packet() {
        packets += 1;
        bytes += packet.data.len() as u64;
        // A few bytes can decompress to a thousand times as many.
        if bytes > 1 << 24 || packets > 1 << 20 {
            return;
        }
    }
    let status = merged.status();
    assert_eq!(packets, status.iter().map(|s| s.packets).sum());
    assert_eq!(bytes, status.iter().map(|s| s.bytes).sum());
    for status in status {
        assert!(status.errors.len() <= super::ERRORS_MAX + 1);
        assert!(!status.truncated || !status.errors.is_empty());
    }
}
