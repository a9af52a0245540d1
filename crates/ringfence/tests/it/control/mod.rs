//! The command line on a controller's API: over TLS, as people and programs use it.

mod backup;
mod devices;
mod exceptions;
mod hq;
mod identity;
mod import;
mod keys;
mod people;
mod policy;
mod process;
mod releases;
mod session;
mod sheets;
mod strangers;
mod token;
