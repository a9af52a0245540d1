//! Kea's memfile (`kea-leases4.csv`, `kea-leases6.csv`): columns by the names in the first line, in any order. Records are appended; the last one of an
//! address counts, and one with the lifetime 0 takes it away. Kea writes a comma in a value as `&#x2c`, so none of them is quoted.

use std::net::IpAddr;

use super::{Lease, Leases, Until, WORD_BYTES_MAX, hex, lines, mac, name};

/// `valid_lifetime` of a lease without end.
const WITHOUT_END: i64 = 0xffff_ffff;

/// Where the columns are.
struct Columns {
    address: usize,
    hwaddr: Option<usize>,
    duid: Option<usize>,
    lifetime: usize,
    expire: usize,
    hostname: Option<usize>,
    state: Option<usize>,
    lease_type: Option<usize>,
}

pub(super) fn read(bytes: &[u8], leases: &mut Leases) {
    let mut lines = lines(bytes).filter(|(_, line)| !line.is_empty());
    let Some((number, head)) = lines.next() else { return };
    let columns = match columns(&head) {
        Ok(columns) => columns,
        Err(missing) => {
            return leases.refuse(number, format!("its first line names no column `{missing}`"));
        }
    };
    for (number, line) in lines {
        match lease(number, &line, &columns) {
            Ok(Some(lease)) => leases.take(lease),
            Ok(None) => {}
            Err(why) => leases.refuse(number, why),
        }
    }
}

fn columns(head: &str) -> Result<Columns, &'static str> {
    let at = |name: &str| head.split(',').position(|column| column == name);
    let needed = |name: &'static str| at(name).ok_or(name);
    Ok(Columns {
        address: needed("address")?,
        hwaddr: at("hwaddr"),
        duid: at("duid"),
        lifetime: needed("valid_lifetime")?,
        expire: needed("expire")?,
        hostname: at("hostname"),
        state: at("state"),
        lease_type: at("lease_type"),
    })
}

fn lease(line: u64, text: &str, columns: &Columns) -> Result<Option<Lease>, &'static str> {
    if text.len() > WORD_BYTES_MAX {
        return Err("it is too long for a lease");
    }
    let values: Vec<&str> = text.split(',').collect();
    let value = |at: Option<usize>| at.and_then(|at| values.get(at)).copied().unwrap_or_default();
    let number = |at: usize| value(Some(at)).parse::<i64>().ok().filter(|n| *n >= 0);
    let address: IpAddr =
        value(Some(columns.address)).parse().map_err(|_| "its address is none")?;
    // Type 2 is a prefix that a router got (RFC 8415): nobody's address.
    if value(columns.lease_type) == "2" {
        return Ok(None);
    }
    let lifetime = number(columns.lifetime).ok_or("its valid_lifetime is no number of seconds")?;
    let expire = number(columns.expire).ok_or("its expire is no number of seconds")?;
    // 0 assigned, 1 declined, 2 expired and reclaimed, 3 released, 4 registered by its client.
    let given = matches!(value(columns.state), "" | "0" | "4");
    let until = match lifetime {
        0 => Until::Ended,
        _ if !given => Until::Ended,
        WITHOUT_END => Until::Never,
        _ => Until::At(expire),
    };
    let called = value(columns.hostname).replace("&#x2c", ",");
    Ok(Some(Lease {
        line,
        mac: mac(value(columns.hwaddr)),
        duid: hex(value(columns.duid)),
        address,
        hostname: name(&called),
        until,
        heard_s: Some(expire.saturating_sub(lifetime)).filter(|s| lifetime > 0 && *s >= 0),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::{Format, Leases, Until};

    #[test]
    fn the_last_record_of_an_address_counts() {
        let text = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id\n\
            10.0.0.5,24:0a:c4:01:02:03,,3600,1714644000,1,0,0,cam-3.,0,,0\n\
            10.0.0.6,24:0a:c4:01:02:04,01:24,3600,1714644000,1,0,0,,2,,0\n\
            10.0.0.5,24:0a:c4:01:02:03,,3600,1714647600,1,0,0,cam-3a&#x2cb,0,{ \"x\": 1 },0\n\
            10.0.0.7,24:0a:c4:01:02:05,,0,1714647600,1,0,0,,0,,0\n\
            10.0.0.8,24:0a:c4:01:02:06,,4294967295,0,1,0,0,,0,,0\n\
            10.0.0.9,,01:02,3600,1714647600,1,0,0,,0,,0\n\
            nowhere,24:0a:c4:01:02:06,,3600,1,1,0,0,,0,,0\n\
            10.0.0.10,24:0a:c4:01:02:06,,-1,1,1,0,0,,0,,0\n";
        let read = Leases::read(Format::Kea, text.as_bytes());
        let shown: Vec<_> = read
            .leases
            .iter()
            .map(|l| (l.line, l.hostname.as_deref(), l.until, l.heard_s))
            .collect();
        assert_eq!(
            shown,
            [
                (3, None, Until::Ended, Some(1_714_640_400)),
                (4, Some("cam-3a,b"), Until::At(1_714_647_600), Some(1_714_644_000)),
                (5, None, Until::Ended, None),
                (6, None, Until::Never, None),
            ]
        );
        let refused: Vec<_> = read.refused.iter().map(|r| r.line).collect();
        assert_eq!(refused, [7, 8, 9]);
    }

    #[test]
    fn ipv6_is_read_by_its_own_columns() {
        let text = "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state\n\
            fd00::5,00:03:00:01:24:0a:c4:01:02:03,7200,1714647600,1,3600,0,7,128,0,0,cam-3,,0\n\
            fd00:1::,00:03:00:01:24:0a:c4:01:02:03,7200,1714647600,1,3600,2,7,56,0,0,,,0\n";
        let read = Leases::read(Format::Kea, text.as_bytes());
        assert_eq!(read.leases.len(), 1);
        assert_eq!(read.leases[0].duid.as_deref(), Some("00030001240ac4010203"));
        let other = Leases::read(Format::Kea, b"a,b\n1,2\n");
        assert!(other.refused[0].why.contains("`address`"), "{:?}", other.refused);
    }
}
