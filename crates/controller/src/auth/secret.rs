//! Secrets as text: made of random bits, compared and kept by their digest, never printed.

use std::fmt;

use crypto::NoRandom;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::blobs::hex;

/// Bytes of a secret; as many as nobody tries out.
const BYTES: usize = 32;

/// What secrets are for; each begins differently, so that whoever finds one knows what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// A session.
    Session,
    /// A program.
    Token,
    /// A program on this machine.
    Host,
    /// Making the first operator.
    Setup,
}

impl For {
    /// What it begins with.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Session => "rfs_",
            Self::Token => "rft_",
            Self::Host => "rfh_",
            Self::Setup => "rfu_",
        }
    }

    /// Makes one.
    pub(super) fn make(self) -> Result<Secret, NoRandom> {
        let mut random = [0; BYTES];
        crypto::random(&mut random)?;
        Ok(Secret(format!("{}{}", self.prefix(), hex(&random))))
    }

    /// Whether a text looks like one.
    pub(super) fn fits(self, text: &str) -> bool {
        text.strip_prefix(self.prefix()).is_some_and(|rest| {
            rest.len() == 2 * BYTES && rest.bytes().all(|b| b.is_ascii_hexdigit())
        })
    }
}

/// A password or a secret: text that no log gets to see.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = "password")]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// SHA-256 of it. Only of what is random: a password can be guessed.
    pub(super) fn digest(&self) -> [u8; 32] {
        digest(&self.0)
    }
}

/// SHA-256 of a text.
pub(super) fn digest(text: &str) -> [u8; 32] {
    crypto::sha256(text.as_bytes())
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_tell_what_they_are_and_nothing_else() {
        let secret = For::Session.make().unwrap();
        assert!(For::Session.fits(secret.expose()), "{}", secret.expose());
        assert!(!For::Token.fits(secret.expose()));
        assert!(!For::Session.fits("rfs_00"));
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_ne!(secret.digest(), For::Session.make().unwrap().digest());
    }
}
