//! The agent on a Linux device: it gets a certificate over EST (RFC 7030), renews it in time, and says what
//! runs on the device and what its TPM measured.
//!
//! Its way to a TPM 2.0 is its own: commands are written and answers read here, over the kernel's resource manager or a socket of swtpm,
//! without any library.
//!
//! * [`transport`]: bytes to a TPM and back.
//! * [`Tpm`]: the commands that are used.
//! * [`Keys`]: the keys of a device in its TPM: endorsement, attestation, and its own.
//! * [`identity`]: the key that speaks TLS, in the TPM or in a file.
//! * [`home`]: the folder that all of it is kept in.
//! * [`http`]: one connection to the server.
//! * [`release`]: what runs here.
//! * [`agent`]: enrol, renew, report, attest.
//! * [`cli`]: the command line.
//!
//! It must never know what a good measurement is, or who judges it.

pub mod agent;
pub mod cli;
mod command;
pub mod fuzzing;
pub mod home;
pub mod http;
pub mod identity;
mod keys;
pub mod release;
mod tpm;
pub mod transport;

pub use command::TpmError;
pub use keys::{Answer, Endorsement, Keys, KeysError, Stored};
pub use tpm::{Auth, Created, Handle, Signed, Tpm};
