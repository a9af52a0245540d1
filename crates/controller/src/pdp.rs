//! PDP.
