//! What can be commanded about identities, and what comes of it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use model::{Assurance, DeviceId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Attestation, NewSecret, Proof, SecretName, Tpm, Voucher};
use crate::side::Digest;

/// A serial number of ours: 128 bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub [u8; 16]);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Serial {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 32
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        let number = number.ok_or("a serial number is 32 hexadecimal digits, 0-9 and a-f")?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a certificate is revoked (RFC 5280 §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No reason is given.
    Unspecified,
    /// Somebody else may have its key.
    KeyCompromise,
    /// Another one is in its place.
    Superseded,
    /// The device is gone.
    CessationOfOperation,
    /// It may no longer do what it is for.
    PrivilegeWithdrawn,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// Its word in documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        }
    }

    /// The reason of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

/// A certificate that was signed and has not left the authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCredential {
    /// SHA-256 of its public key.
    pub key: Digest,
    /// Serial number.
    pub serial: Serial,
    /// SHA-256 of the certificate of who signed it.
    pub issuer: Digest,
    /// First moment of its validity.
    pub since: Timestamp,
    /// It is over then.
    pub until: Timestamp,
}

/// How a device shows that it should have a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum How {
    /// It knows a token.
    Token {
        /// SHA-256 of the secret.
        secret: Digest,
    },
    /// It has one already, which it showed.
    Renewal {
        /// SHA-256 of the key of that one.
        key: Digest,
        /// Its serial number; `None`: it was not written down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<Serial>,
    },
    /// It had one, which is over, and has still its key.
    Grace,
    /// A person has recognised its request.
    Approved {
        /// SHA-256 of the request.
        request: Digest,
    },
    /// It has the identity that its maker gave it (IDevID, IEEE 802.1AR), and that is expected.
    Idevid {
        /// Who made it: the name under which the maker's root is trusted.
        maker: String,
        /// Its serial number, as the maker's certificate has it.
        number: String,
        /// SHA-256 of the key of the maker's certificate.
        key: Digest,
        /// SHA-256 of a token's secret; needed for another key while a certificate of the device is good.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Digest>,
    },
    /// Its TPM has shown that it holds the key.
    Tpm {
        /// The TPM.
        tpm: Box<Tpm>,
        /// SHA-256 of a token's secret; needed the first time, and for another TPM.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Digest>,
    },
    /// It knows a pre-shared key of its own.
    Psk {
        /// The identity of that.
        name: String,
        /// Its keyed digest.
        secret: Digest,
    },
}

impl How {
    pub(super) const fn proof(&self) -> Proof {
        match self {
            Self::Token { .. } => Proof::Token,
            Self::Renewal { .. } => Proof::Renewed,
            Self::Grace => Proof::Grace,
            Self::Approved { .. } => Proof::Approved,
            Self::Idevid { .. } => Proof::Idevid,
            Self::Tpm { .. } => Proof::Tpm,
            Self::Psk { .. } => Proof::Psk,
        }
    }

    /// The token that it uses.
    pub(super) const fn token(&self) -> Option<&Digest> {
        match self {
            Self::Token { secret }
            | Self::Idevid { token: Some(secret), .. }
            | Self::Tpm { token: Some(secret), .. } => Some(secret),
            _ => None,
        }
    }
}

/// A certificate for a device, and why it should have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// For whom.
    pub device: DeviceId,
    /// The certificate.
    pub credential: NewCredential,
    /// Why.
    pub how: How,
}

/// A certificate that was shown, with its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Showing {
    /// Whose it is.
    pub device: DeviceId,
    /// Which it is.
    pub serial: Serial,
    /// From where.
    pub from: IpAddr,
}

/// A request that a person has to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// SHA-256 of the request, whole.
    pub request: Digest,
    /// SHA-256 of its public key.
    pub key: Digest,
    /// What it calls itself: its subject and names.
    pub names: Vec<String>,
    /// Network address that it came from.
    pub from: IpAddr,
    /// Which device of the estate has that address.
    pub seen_as: Option<DeviceId>,
}

/// A device that was bought, and will show its maker's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Who made it.
    pub maker: String,
    /// Its serial number there.
    pub number: String,
    /// Which device it is.
    pub device: DeviceId,
}

/// What a person says about a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is this device.
    Approved {
        /// Which.
        device: DeviceId,
    },
    /// It gets no certificate.
    Rejected,
}

/// What can be commanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// Whoever knows a secret may enrol as this device, once.
    IssueToken {
        /// Which.
        device: DeviceId,
        /// SHA-256 of the secret.
        secret: Digest,
        /// Until when.
        expires_at: Timestamp,
    },
    /// Devices get certificates.
    Enrol {
        /// Each of them.
        batch: Vec<Enrolment>,
    },
    /// Somebody gets none.
    Refuse {
        /// Stable word: `identity.token-unknown`.
        code: String,
        /// One line.
        why: String,
        /// Whom it concerns, if that is known.
        device: Option<DeviceId>,
        /// SHA-256 of the key that was to be certified.
        key: Option<Digest>,
        /// Network that it came from, if it was one.
        from: Option<IpAddr>,
        /// How often.
        times: u64,
    },
    /// Devices have shown certificates of theirs.
    Show {
        /// Each of them.
        batch: Vec<Showing>,
    },
    /// A person should look at something.
    Find {
        /// Stable word: `identity.key-at-two-places`.
        code: String,
        /// Whom it concerns.
        device: DeviceId,
        /// One line.
        what: String,
    },
    /// Certificates of a device are not good any more.
    Revoke {
        /// Whose.
        device: DeviceId,
        /// Which; empty: all.
        serials: Vec<Serial>,
        /// Why.
        reason: Reason,
    },
    /// Somebody speaks for a device.
    Vouch {
        /// For which.
        device: DeviceId,
        /// Who, and until when.
        voucher: Voucher,
    },
    /// Nobody speaks for it any more.
    EndVoucher {
        /// For which.
        device: DeviceId,
    },
    /// A device measured itself, and is what it should be.
    Attest {
        /// Which.
        device: DeviceId,
        /// What it measured.
        attestation: Attestation,
        /// The release that says that this is good.
        release: String,
    },
    /// A device is not what it should be, or cannot show it.
    FailAttestation {
        /// Which.
        device: DeviceId,
        /// Stable word: `pcr`, `replayed`.
        code: String,
        /// One line.
        why: String,
    },
    /// A request has to be looked at.
    Ask {
        /// All of it.
        wanted: Wanted,
    },
    /// A person says what it is.
    Answer {
        /// SHA-256 of the request.
        request: Digest,
        /// What was said.
        answer: Answer,
    },
    /// Devices that were bought: which of their makers' numbers is which device.
    Expect {
        /// Each of them.
        expected: Vec<Expected>,
    },
    /// Time has passed: whose evidence has ended.
    Lapse,
    /// Devices have secrets.
    AddSecrets {
        /// Each of them.
        secrets: Vec<NewSecret>,
    },
    /// Another secret is in the place of one.
    RotateSecret {
        /// The new one.
        secret: NewSecret,
    },
    /// A secret is not good any more.
    EndSecret {
        /// Which.
        of: SecretName,
    },
    /// A device has proved a pre-shared key.
    ProveSecret {
        /// The identity of that.
        name: String,
        /// Its keyed digest.
        secret: Digest,
        /// Until when that counts.
        until: Timestamp,
    },
    /// Somebody said a wrong one.
    FailSecret {
        /// For which identity.
        name: String,
        /// From where.
        from: IpAddr,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// There is a token.
    TokenIssued {
        /// For whom.
        device: DeviceId,
        /// SHA-256 of the secret.
        secret: Digest,
        /// Until when.
        expires_at: Timestamp,
    },
    /// It has a certificate.
    Issued {
        /// Whose.
        device: DeviceId,
        /// The certificate.
        credential: NewCredential,
        /// What it shows by itself.
        level: Assurance,
        /// Why it has it.
        #[serde(flatten)]
        how: How,
    },
    /// Somebody got none.
    Refused {
        /// Stable word.
        code: String,
        /// One line.
        why: String,
        /// Whom it concerns.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<DeviceId>,
        /// SHA-256 of the key that was to be certified.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Digest>,
        /// Network that it came from; `None`: several, or it was not written down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<IpAddr>,
        /// How often.
        #[serde(default = "once", skip_serializing_if = "is_once")]
        times: u64,
    },
    /// It has shown a certificate that is newer than those it showed before.
    Shown {
        /// Which device.
        device: DeviceId,
        /// Which certificate.
        serial: Serial,
    },
    /// They are not good any more.
    Revoked {
        /// Whose.
        device: DeviceId,
        /// Which.
        serials: Vec<Serial>,
        /// Why.
        reason: Reason,
    },
    /// Somebody speaks for it.
    Vouched {
        /// For which.
        device: DeviceId,
        /// Who, and until when.
        voucher: Voucher,
    },
    /// Nobody does any more.
    VoucherEnded {
        /// For which.
        device: DeviceId,
    },
    /// It is what it should be.
    Attested {
        /// Which.
        device: DeviceId,
        /// What it measured.
        attestation: Attestation,
        /// The release that says that this is good; `None`: it was compared with a file, before there were releases.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<String>,
    },
    /// It is not, or cannot show it.
    AttestationFailed {
        /// Which.
        device: DeviceId,
        /// Stable word.
        code: String,
        /// One line.
        why: String,
    },
    /// A request waits for a person.
    Asked {
        /// All of it.
        wanted: Wanted,
    },
    /// A person has said what it is.
    Answered {
        /// SHA-256 of the request.
        request: Digest,
        /// What was said.
        answer: Answer,
    },
    /// They are expected.
    Expected {
        /// Each of them.
        expected: Vec<Expected>,
    },
    /// Evidence has ended.
    Lapsed {
        /// Whose.
        devices: Vec<DeviceId>,
        /// All that ended until then was looked at.
        to: Timestamp,
    },
    /// A person should look at this.
    Found {
        /// Stable word.
        code: String,
        /// Whom it concerns.
        device: DeviceId,
        /// One line.
        what: String,
    },
    /// Devices have secrets.
    SecretsAdded {
        /// Each of them.
        secrets: Vec<NewSecret>,
    },
    /// Another secret is in the place of one.
    SecretRotated {
        /// The new one.
        secret: NewSecret,
    },
    /// A secret is not good any more.
    SecretEnded {
        /// Which.
        of: SecretName,
    },
    /// A device has proved a pre-shared key.
    SecretProved {
        /// Which device.
        device: DeviceId,
        /// The identity of the key.
        name: String,
        /// Until when that counts.
        until: Timestamp,
    },
    /// What it proved counts no more.
    SecretUnproved {
        /// Which device.
        device: DeviceId,
        /// The identity of the key.
        name: String,
    },
}

const fn once() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_once(times: &u64) -> bool {
    *times == 1
}

impl Event {
    /// Its word in the journal.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::TokenIssued { .. } => "token-issued",
            Self::Issued { .. } => "issued",
            Self::Refused { .. } => "refused",
            Self::Shown { .. } => "shown",
            Self::Revoked { .. } => "revoked",
            Self::Vouched { .. } => "vouched",
            Self::VoucherEnded { .. } => "voucher-ended",
            Self::Attested { .. } => "attested",
            Self::AttestationFailed { .. } => "attestation-failed",
            Self::Asked { .. } => "asked",
            Self::Answered { .. } => "answered",
            Self::Expected { .. } => "expected",
            Self::Lapsed { .. } => "lapsed",
            Self::Found { .. } => "found",
            Self::SecretsAdded { .. } => "secrets-added",
            Self::SecretRotated { .. } => "secret-rotated",
            Self::SecretEnded { .. } => "secret-ended",
            Self::SecretProved { .. } => "secret-proved",
            Self::SecretUnproved { .. } => "secret-unproved",
        }
    }

    /// Whose evidence it changes.
    pub fn devices(&self) -> &[DeviceId] {
        match self {
            Self::Issued { device, .. }
            | Self::Revoked { device, .. }
            | Self::Vouched { device, .. }
            | Self::VoucherEnded { device }
            | Self::Attested { device, .. }
            | Self::AttestationFailed { device, .. }
            | Self::SecretProved { device, .. }
            | Self::SecretUnproved { device, .. } => std::slice::from_ref(device),
            Self::SecretRotated { secret } => std::slice::from_ref(&secret.of.device),
            Self::SecretEnded { of } => std::slice::from_ref(&of.device),
            Self::Lapsed { devices, .. } => devices,
            Self::TokenIssued { .. }
            | Self::Refused { .. }
            | Self::Shown { .. }
            | Self::Asked { .. }
            | Self::Answered { .. }
            | Self::Expected { .. }
            | Self::Found { .. }
            | Self::SecretsAdded { .. } => &[],
        }
    }
}
