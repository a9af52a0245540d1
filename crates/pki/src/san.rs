//! Subject alternative names (RFC 5280 §4.2.1.6): DNS names, URIs and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::der::{Element, element, tag};

/// Names that one certificate or request may have, of every kind together.
pub(crate) const NAMES_MAX: usize = 100;

const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const ADDRESS: u8 = 0x87;

/// Those kinds of names that are compared with anything here.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Names {
    pub(crate) dns: Vec<String>,
    pub(crate) uris: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
}

impl Names {
    /// From GeneralNames. Names of other kinds are left alone; a damaged one refuses them all.
    pub(crate) fn read(value: &[u8]) -> Result<Self, String> {
        let mut names = Self::default();
        for (n, part) in Element::whole(value, tag::SEQUENCE)?.parts()?.enumerate() {
            if n == NAMES_MAX {
                return Err(format!("more than {NAMES_MAX} names"));
            }
            // IA5String, and nothing in it that a reader could take for its end.
            let text = || match part.body.iter().all(u8::is_ascii_graphic) && !part.body.is_empty()
            {
                true => Ok(String::from_utf8_lossy(part.body).into_owned()),
                false => Err("a name is empty or not printable ASCII".to_owned()),
            };
            match part.tag {
                DNS => names.dns.push(text()?),
                URI => names.uris.push(text()?),
                ADDRESS => names.addresses.push(address(part.body)?),
                _ => {}
            }
        }
        Ok(names)
    }

    /// As GeneralNames.
    pub(crate) fn write(&self) -> Vec<u8> {
        let dns = self.dns.iter().map(|name| element(DNS, &[name.as_bytes()]));
        let uris = self.uris.iter().map(|uri| element(URI, &[uri.as_bytes()]));
        let addresses = self.addresses.iter().map(|address| match address {
            IpAddr::V4(address) => element(ADDRESS, &[&address.octets()]),
            IpAddr::V6(address) => element(ADDRESS, &[&address.octets()]),
        });
        let all: Vec<Vec<u8>> = dns.chain(uris).chain(addresses).collect();
        element(tag::SEQUENCE, &all.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
}

fn address(bytes: &[u8]) -> Result<IpAddr, String> {
    let four = <[u8; 4]>::try_from(bytes).map(|b| IpAddr::V4(Ipv4Addr::from(b)));
    let sixteen = || <[u8; 16]>::try_from(bytes).map(|b| IpAddr::V6(Ipv6Addr::from(b)));
    four.or_else(|_| sixteen()).map_err(|_| "an address has neither 4 nor 16 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_both_ways() {
        let names = Names {
            dns: vec!["a.example".to_owned(), "b.example".to_owned()],
            uris: vec!["spiffe://acme".to_owned()],
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        };
        assert_eq!(Names::read(&names.write()), Ok(names.clone()));
        let bytes = names.write();
        for cut in 0..bytes.len() {
            assert!(Names::read(&bytes[..cut]).is_err(), "{cut}");
        }
        for wrong in [
            &[DNS, 3, b'a', 0, b'b'][..],
            &[DNS, 0],
            &[URI, 1, 0xff],
            &[URI, 3, b'a', b' ', b'b'],
            &[ADDRESS, 3, 1, 2, 3],
        ] {
            assert!(Names::read(&element(tag::SEQUENCE, &[wrong])).is_err(), "{wrong:x?}");
        }
        // A directory name is somebody else's business.
        let other = element(tag::SEQUENCE, &[&[0xa4, 2, 0x30, 0], &[DNS, 1, b'a']]);
        assert_eq!(Names::read(&other).unwrap().dns, ["a"]);
    }

    #[test]
    fn there_is_a_bound() {
        let many = |n| {
            let all = vec![[DNS, 1, b'a']; n];
            element(tag::SEQUENCE, &all.iter().map(|d| &d[..]).collect::<Vec<_>>())
        };
        assert_eq!(Names::read(&many(NAMES_MAX)).unwrap().dns.len(), NAMES_MAX);
        assert!(Names::read(&many(NAMES_MAX + 1)).is_err());
    }
}
