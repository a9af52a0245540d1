//! What a device says of itself at the door where devices enrol: version 1.
//!
//! `POST /.well-known/ringfence/v1/report` with its certificate, and a [`Report`] as the body; the answer is a [`Noted`]. The connection shows that the
//! device's key says so, and nothing that it is true. Fields that a reader does not know are passed over.

use serde::{Deserialize, Serialize};

/// Where it is said.
pub const PATH: &str = "/.well-known/ringfence/v1/report";
/// Bytes of a body.
pub const BODY_BYTES_MAX: usize = 8_192;

/// What runs on a device, as it says itself. Texts are 1 to 256 characters without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Which of theirs it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Version of its firmware.
    pub version: String,
    /// Its operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// SHA-256 of its firmware's image, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// It is news; otherwise it said so before.
    pub news: bool,
}
