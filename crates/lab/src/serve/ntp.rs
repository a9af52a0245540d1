//! The gateway's clock: NTP server mode (RFC 5905 §7.3).

use std::time::{SystemTime, UNIX_EPOCH};

/// Answers a client's packet.
pub(crate) fn answer(request: &[u8]) -> Option<Vec<u8>> {
    let first = *request.first()?;
    let client_time = request.get(40..48)?;
    if first & 7 != 3 {
        return None; // Not client mode.
    }
    let now = now_ntp().to_be_bytes();
    // No leap, same version, mode 4; stratum 2, poll 6, precision 2^-20.
    let mut out = vec![(first & 0x38) | 4, 2, 6, 0xec];
    out.extend([0, 0, 1, 0, 0, 0, 1, 0]); // Root delay and dispersion.
    out.extend([203, 0, 113, 1]); // Reference: its upstream.
    for time in [&now[..], client_time, &now, &now] {
        out.extend(time);
    }
    Some(out)
}

/// Seconds since 1900 and a binary fraction.
pub(crate) fn now_ntp() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a time server reads the clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    ((since.as_secs() + 2_208_988_800) << 32) | fraction
}

#[cfg(test)]
mod tests {
    #[test]
    fn answers_clients_only() {
        let mut request = vec![0x23];
        request.resize(48, 7);
        let answer = super::answer(&request).unwrap();
        assert_eq!((answer.len(), answer[0], &answer[24..32]), (48, 0x24, &request[40..48]));
        request[0] = 0x24;
        assert_eq!(super::answer(&request), None);
        assert_eq!(super::answer(&request[..40]), None);
    }
}
