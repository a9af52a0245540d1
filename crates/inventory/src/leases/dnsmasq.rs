//! `dnsmasq.leases`: a line each, `END MAC ADDRESS NAME CLIENT-ID`, and behind a line `duid …` those of IPv6, with an IAID in place of the
//! MAC and a DUID as client-id (dnsmasq's `lease.c`, `lease_update_file`). `*` stands for what is not known, 0 for a lease without end.

use std::net::IpAddr;

use super::{Lease, Leases, Until, WORD_BYTES_MAX, hex, lines, mac, name};

pub(super) fn read(bytes: &[u8], leases: &mut Leases) {
    for (number, line) in lines(bytes) {
        if line.is_empty() || line.starts_with('#') || line.starts_with("duid ") {
            continue;
        }
        match lease(number, &line) {
            Ok(lease) => leases.take(lease),
            Err(why) => leases.refuse(number, why),
        }
    }
}

fn lease(line: u64, text: &str) -> Result<Lease, &'static str> {
    if text.len() > WORD_BYTES_MAX {
        return Err("it is too long for a lease");
    }
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let mut next = || words.next();
    let (Some(end), Some(who), Some(address), Some(called)) = (next(), next(), next(), next())
    else {
        return Err("a lease is END MAC ADDRESS NAME CLIENT-ID");
    };
    let client = next().filter(|word| *word != "*");
    let end: i64 = end.parse().map_err(|_| "its end is no number of seconds")?;
    let address: IpAddr = address.parse().map_err(|_| "its address is none")?;
    let is_v6 = address.is_ipv6();
    let mac = if is_v6 { None } else { mac(who) };
    if !is_v6 && mac.is_none() {
        return Err("its client has no Ethernet address of one device");
    }
    Ok(Lease {
        line,
        mac,
        duid: client.filter(|_| is_v6).and_then(hex),
        address,
        hostname: (called != "*").then(|| name(called)).flatten(),
        until: if end == 0 { Until::Never } else { Until::At(end) },
        // How long it is is not written.
        heard_s: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Format, Leases, Until};

    #[test]
    fn lines_of_both_families_are_read_and_others_are_named() {
        let text = "1714650000 24:0a:c4:01:02:03 10.0.0.5 cam-3 01:24:0a:c4:01:02:03\n\
                    0 24:0a:c4:01:02:04 10.0.0.6 * *\n\
                    1714650000 06-02:00:00 10.0.0.7 x *\n\
                    soon 24:0a:c4:01:02:05 10.0.0.8 x *\n\
                    duid 00:01:00:01:2d:0f:aa:bb:24:0a:c4:01:02:03\n\
                    1714650000 12345 fd00::5 cam-3 00:03:00:01:24:0A:c4:01:02:03\n\
                    1714650000 T12345 fd00::6 * *\n";
        let read = Leases::read(Format::Dnsmasq, text.as_bytes());
        let shown: Vec<_> = read
            .leases
            .iter()
            .map(|l| (l.line, l.address.to_string(), l.hostname.as_deref(), l.until))
            .collect();
        assert_eq!(
            shown,
            [
                (1, "10.0.0.5".to_owned(), Some("cam-3"), Until::At(1_714_650_000)),
                (2, "10.0.0.6".to_owned(), None, Until::Never),
                (6, "fd00::5".to_owned(), Some("cam-3"), Until::At(1_714_650_000)),
            ]
        );
        assert_eq!(read.leases[2].duid.as_deref(), Some("00030001240ac4010203"));
        assert_eq!(read.leases[0].mac.unwrap().to_string(), "24:0a:c4:01:02:03");
        let refused: Vec<_> = read.refused.iter().map(|r| r.line).collect();
        assert_eq!(refused, [3, 4, 7]);
        assert!(read.refused[2].why.contains("neither a link address nor a DUID"));
    }
}
