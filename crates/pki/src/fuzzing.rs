//! What the fuzz target calls: any bytes as a signature, as certificates, as a request for one and as text armour.

use model::Timestamp;

use crate::cms::{Demand, Signed};
use crate::path::Purpose;
use crate::{Algorithm, Certificate, Digest, Key, Verifier, identity, request};

/// Everything that is read from foreign bytes, up to the judgement of a path. The provider says yes to
/// every signature, so that the search behind it is reached.
pub fn signatures(bytes: &[u8]) {
    let certificates = Certificate::read_all(bytes).unwrap_or_default();
    for certificate in &certificates {
        let _ = (certificate.mud_url(), certificate.mud_signer(), certificate.subject_text());
        let _ = (identity::identity_of(certificate), identity::estate_of(certificate));
    }
    if let Ok(request) = request::read(bytes, &Yes) {
        let _ = request.identity();
    }
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

struct Yes;

impl Verifier for Yes {
    fn digest(&self, digest: Digest, _: &[u8]) -> Vec<u8> {
        vec![0; usize::from(digest.size_bytes())]
    }

    fn verify(&self, _: Algorithm, _: &Key, _: &[u8], _: &[u8]) -> bool {
        true
    }
}
