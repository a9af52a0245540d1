//! Keys that live in a token of PKCS #11: an HSM, a smart card. A file of the state folder names one by a URI (RFC 7512); the key never leaves it.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crypto::Provider;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use pki::{Algorithm, Digest, Signer, Verifier as _};

/// Bytes of a URI.
const URI_BYTES_MAX: usize = 4_096;

/// Why a token's key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It does not say where the key is.
    #[error(
        "it is no URI of a key in a token (RFC 7512): {0}; pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=FILE is expected"
    )]
    Uri(String),
    /// There is no PIN.
    #[error("the token's PIN cannot be read from {}: {why}", path.display())]
    Pin {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The token, or what speaks to it.
    #[error("cannot {doing}: {why}")]
    Token {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        why: String,
    },
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    token: String,
    object: String,
    module: PathBuf,
    pin: PathBuf,
}

/// A key in a token.
pub struct TokenKey {
    place: Place,
    public: Vec<u8>,
    /// A token that was taken out and put in again forgets who logged in.
    open: Mutex<Option<Open>>,
}

struct Open {
    session: Session,
    key: ObjectHandle,
}

impl TokenKey {
    /// The key that a URI names.
    pub fn open(uri: &str) -> Result<Self, TokenError> {
        let place = place(uri)?;
        let open = place.open()?;
        let public = place.public(&open.session)?;
        Ok(Self { place, public, open: Mutex::new(Some(open)) })
    }

    fn digest(&self) -> Digest {
        // A point of P-384 has 97 bytes, one of P-256 has 65.
        if self.public.len() == 97 { Digest::Sha384 } else { Digest::Sha256 }
    }
}

impl Signer for TokenKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Ecdsa(self.digest())
    }

    fn public_key(&self) -> Vec<u8> {
        self.public.clone()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let digest = Provider.digest(self.digest(), message);
        let mut kept = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let sign = |open: &Open| open.session.sign(&Mechanism::Ecdsa, open.key, &digest);
        if let Some(Ok(signature)) = kept.as_ref().map(sign) {
            return der(&signature);
        }
        *kept = None;
        let open = self.place.open().map_err(|error| error.to_string())?;
        let signature = sign(&open).map_err(|error| format!("the token: {error}"))?;
        *kept = Some(open);
        der(&signature)
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Place {
    fn open(&self) -> Result<Open, TokenError> {
        let pin = fs::read_to_string(&self.pin);
        let pin = pin
            .map_err(|error| TokenError::Pin { path: self.pin.clone(), why: error.to_string() })?;
        let pin = AuthPin::new(pin.lines().next().unwrap_or_default().into());
        let module = Pkcs11::new(&self.module).map_err(failed("load the token's module"))?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(failed("start the token's module")(error)),
        }
        let slots = module.get_slots_with_initialized_token().map_err(failed("list tokens"))?;
        let mut found = None;
        for slot in slots {
            let about = module.get_token_info(slot).map_err(failed("look at a token"))?;
            if about.label() == self.token {
                found = Some(slot);
            }
        }
        let slot = found.ok_or_else(|| self.missing("find the token", &self.token))?;
        let session = module.open_ro_session(slot).map_err(failed("open the token"))?;
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(error) => return Err(failed("log in at the token")(error)),
        }
        let key = self.object(&session, ObjectClass::PRIVATE_KEY)?;
        Ok(Open { session, key })
    }

    fn object(&self, session: &Session, class: ObjectClass) -> Result<ObjectHandle, TokenError> {
        let label = Attribute::Label(self.object.clone().into_bytes());
        let found = session.find_objects(&[Attribute::Class(class), label]);
        match found.map_err(failed("look for the key"))?.as_slice() {
            [one] => Ok(*one),
            [] => Err(self.missing("find the key", &self.object)),
            _ => Err(TokenError::Token {
                doing: "find the key",
                why: format!("the token has several with the label {}", self.object),
            }),
        }
    }

    /// The point of its public half.
    fn public(&self, session: &Session) -> Result<Vec<u8>, TokenError> {
        let half = self.object(session, ObjectClass::PUBLIC_KEY)?;
        let read = session.get_attributes(half, &[AttributeType::EcPoint]);
        let point =
            read.map_err(failed("read the public key"))?.into_iter().find_map(|a| match a {
                Attribute::EcPoint(point) => Some(point),
                _ => None,
            });
        // An OCTET STRING around the point; some leave it away.
        let point = point.and_then(|point| match point.as_slice() {
            [4, 65, rest @ ..] if rest.len() == 65 => Some(rest.to_vec()),
            [4, 97, rest @ ..] if rest.len() == 97 => Some(rest.to_vec()),
            [4, ..] if matches!(point.len(), 65 | 97) => Some(point),
            _ => None,
        });
        point.ok_or_else(|| TokenError::Token {
            doing: "use the key",
            why: "it is none of P-256 or P-384".to_owned(),
        })
    }

    fn missing(&self, doing: &'static str, label: &str) -> TokenError {
        let why = format!("{} has none with the label {label}", self.module.display());
        TokenError::Token { doing, why }
    }
}

fn failed(doing: &'static str) -> impl Fn(Error) -> TokenError {
    move |error| TokenError::Token { doing, why: error.to_string() }
}

/// Two numbers one after the other, as `ECDSA-Sig-Value` (RFC 3279 §2.2.3).
fn der(signature: &[u8]) -> Result<Vec<u8>, String> {
    let number = |half: &[u8]| -> Option<Vec<u8>> {
        let zeros = half.iter().take_while(|b| **b == 0).count().min(half.len().checked_sub(1)?);
        let digits = half.get(zeros..)?;
        let sign: &[u8] = if digits.first()? >= &0x80 { &[0] } else { &[] };
        let length = u8::try_from(sign.len().checked_add(digits.len())?).ok()?;
        Some([&[2, length][..], sign, digits].concat())
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let both = number(r).zip(number(s)).map(|(r, s)| [r, s].concat());
    let both = both.filter(|both| matches!(signature.len(), 64 | 96) && both.len() < 128);
    let both = both.ok_or("the token's signature is none of ECDSA")?;
    let length = u8::try_from(both.len()).map_err(|error| error.to_string())?;
    Ok([&[0x30, length][..], &both].concat())
}

fn place(uri: &str) -> Result<Place, TokenError> {
    let wrong = |why: String| TokenError::Uri(why);
    let rest = uri.trim().strip_prefix("pkcs11:");
    let rest = rest.filter(|_| uri.len() <= URI_BYTES_MAX);
    let rest = rest.ok_or_else(|| wrong("it does not begin with pkcs11:".to_owned()))?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut token, mut object, mut module, mut pin) = (None, None, None, None);
    for pair in path.split(';').chain(query.split('&')).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value).ok_or_else(|| wrong(format!("{name} is badly coded")))?;
        let place = match name {
            "token" => &mut token,
            "object" => &mut object,
            "module-path" => &mut module,
            "pin-source" => &mut pin,
            "type" if value == "private" => continue,
            other => return Err(wrong(format!("{other:.64} is not understood"))),
        };
        if value.is_empty() || place.replace(value).is_some() {
            return Err(wrong(format!("{name} is empty, or there twice")));
        }
    }
    let need = |value: Option<String>, name: &str| {
        value.ok_or_else(|| TokenError::Uri(format!("it has no {name}")))
    };
    let pin = need(pin, "pin-source")?;
    Ok(Place {
        token: need(token, "token")?,
        object: need(object, "object")?,
        module: need(module, "module-path")?.into(),
        pin: pin.strip_prefix("file:").unwrap_or(&pin).into(),
    })
}

/// `%20` as the byte that it means (RFC 3986 §2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (pair, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_a_key() {
        let uri = "pkcs11:token=Head%20Quarters;object=issuing;type=private?module-path=/usr/lib/x.so&pin-source=file:/run/pin\n";
        let read = place(uri).unwrap();
        assert_eq!((read.token.as_str(), read.object.as_str()), ("Head Quarters", "issuing"));
        assert_eq!(
            (read.module.to_str(), read.pin.to_str()),
            (Some("/usr/lib/x.so"), Some("/run/pin"))
        );
        for (wrong, why) in [
            ("", "begin"),
            ("token=a", "begin"),
            ("pkcs11:token=a;object=b?module-path=c", "pin-source"),
            ("pkcs11:token=a;object=b?pin-source=c", "module-path"),
            ("pkcs11:token=a;object=b?module-path=c&pin-value=1234", "pin-value"),
            ("pkcs11:token=a;token=b;object=b?module-path=c&pin-source=d", "twice"),
            ("pkcs11:token=%zz;object=b?module-path=c&pin-source=d", "coded"),
            ("pkcs11:token=%2;object=b?module-path=c&pin-source=d", "coded"),
        ] {
            let error = place(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_signature_is_two_positive_numbers() {
        let mut raw = [0; 64];
        (raw[31], raw[32]) = (5, 0x80);
        let mut expected = vec![0x30, 38, 2, 1, 5, 2, 33, 0, 0x80];
        expected.extend([0; 31]);
        assert_eq!(der(&raw), Ok(expected));
        assert_eq!(der(&[0xff; 96]).unwrap().len(), 2 + 2 * (2 + 49));
        for wrong in [&[][..], &[1], &[1; 63], &[1; 128]] {
            assert!(der(wrong).is_err());
        }
    }
}
