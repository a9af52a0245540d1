//! What the fuzz targets call: any bytes as a signature, as certificates, as a request for one, as text armour, as what is sent
//! and answered in enrolment and about revocation, as what a TPM says, and as an event log.

use model::Timestamp;

use crate::cms::{Demand, Signed};
use crate::path::Purpose;
use crate::sealed::Sealed;
use crate::tpm::{self, AttestationKey, EndorsementKey, Name, Pcrs, Public, Reference, Selection};
use crate::{Algorithm, Certificate, Digest, Key, Verifier, crl, est, identity, ocsp, request};

/// Everything that is read from foreign bytes, up to the judgement of a path. The provider says yes to
/// every signature, so that the search behind it is reached.
pub fn signatures(bytes: &[u8]) {
    let certificates = Certificate::read_all(bytes).unwrap_or_default();
    for certificate in &certificates {
        let _ = (certificate.mud_url(), certificate.mud_signer(), certificate.subject_text());
        let _ = (identity::identity_of(certificate), identity::estate_of(certificate));
        let _ = tpm::named(certificate);
    }
    if let Ok(request) = request::read(bytes, &Yes) {
        let _ = request.identity();
    }
    let _ = Sealed::read(bytes);
    let Ok(signed) = Signed::read(bytes) else {
        return;
    };
    let demand = Demand {
        anchors: &certificates,
        at: Timestamp::from_secs(1_540_000_000, 0),
        purpose: Purpose::MudFile,
        signer: None,
    };
    let _ = signed.verify(b"content", &demand, &Yes);
}

/// A body of EST, and the same bytes without their base64; and who says so in a header.
pub fn est(bytes: &[u8]) {
    for header in [bytes, format!("Basic {}", est::body(bytes)).as_bytes()] {
        if let Some((user, password)) = std::str::from_utf8(header).ok().and_then(est::basic) {
            assert!(!user.contains(':'));
            let again = format!("Basic {}", est::body(format!("{user}:{password}").as_bytes()));
            assert_eq!(est::basic(&again), Some((user, password)));
        }
    }
    for body in [bytes, est::body(bytes).as_bytes()] {
        if let Ok(der) = est::read_request(body)
            && let Ok(request) = request::read_der(&der, &Yes)
        {
            let _ = (est::takes_key(request.key.kind), est::binding(&request, b"channel"));
        }
        if let Ok(certificates) = est::read_certs_only(body) {
            let again = est::body(&est::certs_only(&certificates));
            assert!(
                est::read_certs_only(again.as_bytes()).is_ok_and(|c| c.len() == certificates.len())
            );
        }
        if let Ok(wishes) = est::read_csrattrs(body) {
            let again = est::read_csrattrs(est::body(&est::csrattrs(&wishes)).as_bytes());
            // Names may be more than one extension holds.
            assert!(again.is_err() || again == Ok(wishes));
        }
    }
}

/// A revocation list, whoever signed it, as a list and as a delta to itself.
pub fn crl(bytes: &[u8]) {
    let Ok(list) = crl::unjudged(bytes) else {
        return;
    };
    for entry in list.entries() {
        assert_eq!(list.find(&entry.serial), Some(entry));
    }
    let _ = (list.apply(&list), list.check(list.this_update()), format!("{list:?}"));
    assert!(crl::difference(list.entries(), list.entries()).is_empty());
}

/// A request about single certificates.
pub fn ocsp(bytes: &[u8]) {
    if let Ok(request) = ocsp::read(bytes) {
        assert!((1..=ocsp::ASKED_MAX).contains(&request.asked.len()));
        request.asked.iter().for_each(|id| assert!(id.serial().bytes().len() == 20));
    }
}

/// Everything that a TPM writes. What is read is written again, and has to be the same bytes: else two texts would have one
/// name. Nothing is signed, so that what stands behind a signature is reached.
pub fn tpm(bytes: &[u8]) {
    let same = |written: Vec<u8>| assert_eq!(written, bytes, "it is written in one way only");
    if let Ok(public) = Public::read(bytes) {
        same(public.write());
        let _ = AttestationKey::new(&public, &Yes);
        let _ = EndorsementKey::new(public, &Yes);
    }
    let _ = Public::read_sized(bytes);
    if let Ok(attest) = tpm::Attest::read(bytes) {
        same(attest.write());
    }
    if let Ok(signature) = tpm::Signature::read(bytes) {
        same(signature.write());
    }
    if let Ok(selection) = Selection::read(bytes) {
        same(selection.write());
    }
    if let Ok(pcrs) = Pcrs::read(bytes) {
        same(pcrs.write());
    }
    if let Ok(name) = Name::read(bytes) {
        same(name.as_bytes().to_vec());
    }
}

/// An event log, with the registers that come out of it and a reference that knows its first event.
pub fn event_log(bytes: &[u8]) {
    let bank = Digest::Sha256;
    let Ok(log) = tpm::Log::read(bytes) else {
        return;
    };
    let registers = log.replay(bank, &Yes).unwrap_or_default().concat();
    let all = Selection::of(bank, 0..tpm::REGISTERS);
    let Ok(pcrs) = Pcrs::new(all, &registers) else {
        return;
    };
    let mut reference = Reference::new(bank);
    if let Some(event) = log.events().first() {
        reference.allow(event.pcr, event.digest(bank).unwrap_or_default());
    }
    let _ = tpm::measured(&log, &tpm::Confirmed::untested(pcrs), &reference, &Yes);
}

struct Yes;

impl Verifier for Yes {
    fn digest(&self, digest: Digest, _: &[u8]) -> Vec<u8> {
        vec![0; usize::from(digest.size_bytes())]
    }

    fn verify(&self, _: Algorithm, _: &Key, _: &[u8], _: &[u8]) -> bool {
        true
    }
}
