//! Headquarters: one estate behind an API, and the line to every site.
//!
//! ```text
//!  people, programs ─▶ api ─▶ auth ─┐                          ┌─▶ watchers (SSE, sites)
//!                                   ├─▶ hub: decide ─▶ journal ─▶ apply
//!  sites ─▶ line ───────────────────┘     │                    └─▶ pdp: decisions, bundles
//!                                         └─ refused: what, why, what to do
//! ```
//!
//! * [`hub`]: the one place where the estate changes, and where its journal is written first.
//! * [`state`]: the folder that all of it lives in.
//! * [`keys`]: the passphrase that private keys in it are under.
//! * [`blobs`]: files that entries of the journal name by their digest.
//! * [`pdp`]: the policy folder in force, asked about every change: decisions, and what each site gets.
//! * [`auth`]: who is who.
//! * [`api`]: HTTP for people and programs.
//! * [`line`]: the sites' connections.
//! * [`est`]: where devices get certificates.
//! * [`commitments`]: what devices signed, on its way into the journal.
//! * [`authority`]: the certificates of both.
//! * [`published`]: what others may know of these.
//! * [`releases`]: reference values from before there was a catalogue of them.
//! * [`secrets`]: digests of what devices share with others.
//! * [`shell`]: the process.
//! * [`token`]: keys in tokens of PKCS #11.
//! * [`import`]: lists of devices from elsewhere.
//! * [`backup`]: all of the state in one file, and back.
//!
//! What is true is decided in `estate` and `policy`; here are sockets, files, threads and the clock.

pub mod api;
pub mod auth;
pub mod authority;
pub mod backup;
pub mod blobs;
pub mod commitments;
mod desk;
pub mod est;
mod front;
mod gate;
pub mod hub;
mod id;
pub mod import;
pub mod keys;
pub mod line;
pub mod pdp;
pub mod published;
pub mod releases;
pub mod secrets;
mod sessions;
pub mod shell;
pub mod state;
pub mod token;
mod turns;
mod unread;

pub use hub::{Hub, HubError};
