//! What the fuzz target calls: any bytes as the answer of a server, and as what a TPM answers, one response after the other.

use std::io;

use pki::Digest;
use pki::tpm::{Challenge, Selection};

use crate::tpm::{ENDORSEMENT, OWNER};
use crate::transport::Transport;
use crate::{Auth, Created, Handle, Keys, Stored, Tpm, http};

/// A TPM that answers whatever it is asked with the next of these.
struct Tape(Vec<u8>);

impl Transport for Tape {
    fn exchange(&mut self, _command: &[u8]) -> io::Result<Vec<u8>> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // A response says behind its tag how long it is.
        let said = self.0.get(2..6).and_then(|size| size.try_into().ok()).map(u32::from_be_bytes);
        let said = said.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        let rest = self.0.split_off(said.clamp(1, self.0.len()));
        Ok(std::mem::replace(&mut self.0, rest))
    }
}

/// Everything that the agent reads from elsewhere.
pub fn agent(bytes: &[u8]) {
    if let Some(answer) = http::answer(bytes) {
        assert!(answer.body.len() <= http::BODY_BYTES_MAX && answer.body.len() <= bytes.len());
        assert!(!answer.line().contains(char::is_control));
    }
    let tape = || Tpm::new(Box::new(Tape(bytes.to_vec())));
    let (key, session) = (Handle(1), Auth::Session(2));
    let created = Created { public: vec![1], private: vec![2] };
    let challenge = Challenge { blob: vec![3], seed: vec![4] };
    let registers = Selection::of(Digest::Sha256, 0..=23);
    let _ = tape().create_primary(OWNER, b"template");
    let _ = tape().create_primary(ENDORSEMENT, b"template");
    for auth in [Auth::Empty, session] {
        let _ = tape().create(key, auth, b"template");
        let _ = tape().load(key, auth, &created);
        let _ = tape().activate(key, key, auth, &challenge);
    }
    let _ = tape().read_public(key);
    let _ = tape().quote(key, b"nonce", &registers);
    let _ = tape().certify(key, key, b"nonce");
    let _ = tape().sign(key, &[5; 32]);
    let _ = tape().endorsement_session();
    if let Ok(pcrs) = tape().read_pcrs(&registers) {
        assert_eq!(*pcrs.selection(), registers);
    }
    let _ = tape().read_nv(6);
    let _ = tape().extend(7, &[(Digest::Sha256, &[8; 32])]);
    let _ = Keys::make(tape());
    if let Ok(stored) = Stored::read(bytes) {
        assert_eq!(Stored::read(&stored.write()).ok(), Some(stored));
    }
}
