//! Scanners for notations that many protocols share. None builds a tree: each shows what it finds
//! in order, with bounds on depth and count, and what stands before damage or a cut counts.
//!
//! * [`ber`]: ASN.1 in its basic and distinguished encoding (SNMP, MMS, GOOSE, X.509).
//! * [`json`]: scalars by path.
//! * [`xml`]: elements and text.

pub(crate) mod ber;
pub(crate) mod json;
pub(crate) mod xml;
