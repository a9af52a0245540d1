//! The manufacturer usage description that a device announces (RFC 8520): by DHCP, by LLDP or in its
//! certificate. Any device can announce any URL, so it stays a claim, the stronger the harder it is
//! to make.

use std::sync::Arc;

use model::inspect::{Attribute, Claim, Evidence};

use crate::belief;
use crate::graph::Said;

/// Channels with what a URL from there is worth alone (0 to 1): a certificate binds it to a key, LLDP
/// and DHCP are words of the sender.
const CHANNELS: &[(&str, f64)] = &[
    ("tls.cert.mud_url", 0.9),
    ("lldp.mud_url", 0.7),
    ("dhcp.mud_url", 0.6),
    ("dhcpv6.mud_url", 0.6),
];
/// What another URL takes away.
const CONTRADICTED: f64 = 0.5;
/// Evidence kept of each URL.
const EVIDENCE_MAX: usize = 4;

/// The URL believed, with others as contradictions.
pub(crate) fn announced(facts: &[&Said]) -> Option<Attribute> {
    let mut urls: Vec<(&str, f64, Vec<Evidence>)> = Vec::new();
    for (field, worth) in CHANNELS {
        for fact in facts.iter().filter(|f| &*f.field == *field) {
            let evidence = belief::cite(fact, &Arc::from("rfc8520"));
            match urls.iter_mut().find(|(url, ..)| **url == *fact.value) {
                Some((.., all)) if all.len() < EVIDENCE_MAX => all.push(evidence),
                Some(_) => {}
                None => urls.push((&*fact.value, *worth, vec![evidence])),
            }
        }
    }
    let mut urls = urls.into_iter();
    let (value, worth, evidence) = urls.next()?;
    let contradicted_by: Vec<Claim> =
        urls.map(|(value, _, evidence)| Claim { value: value.to_owned(), evidence }).collect();
    let confidence = if contradicted_by.is_empty() { worth } else { worth * CONTRADICTED };
    Some(Attribute { value: value.to_owned(), confidence, evidence, contradicted_by })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Source;
    use model::Timestamp;

    fn said(field: &str, value: &str, packet: u64) -> Said {
        let source = Source { input: "a.pcap".into(), packet, at: Timestamp::EPOCH, nth: packet };
        Said { field: field.into(), value: value.into(), ip: None, source }
    }

    #[test]
    fn the_certificate_counts_most_and_contradictions_stay() {
        let (a, b) = ("https://x.example/a", "https://x.example/b");
        let facts = [
            said("dhcp.mud_url", b, 1),
            said("tls.cert.mud_url", a, 2),
            said("lldp.mud_url", a, 3),
            said("dhcp.hostname", "x", 4),
        ];
        let all: Vec<&Said> = facts.iter().collect();
        let url = announced(&all).unwrap();
        assert_eq!((url.value.as_str(), url.evidence.len()), (a, 2));
        assert_eq!((url.evidence[0].packet, &*url.evidence[0].protocol), (2, "tls"));
        assert_eq!(url.contradicted_by[0].value, b);
        let alone = announced(&all[..1]).unwrap();
        assert!(alone.confidence > url.confidence && alone.contradicted_by.is_empty());
        assert_eq!(announced(&all[3..]), None);
        let many: Vec<Said> = (0..9).map(|n| said("lldp.mud_url", a, n)).collect();
        let many: Vec<&Said> = many.iter().collect();
        assert_eq!(announced(&many).unwrap().evidence.len(), EVIDENCE_MAX);
    }
}
