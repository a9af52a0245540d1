//! Signatures of MUD files from end to end: own and foreign ones, good and spoilt.

mod maker;
mod openssl;
mod tampering;
