//! The line to the controller, from the site's side: what comes over it, what the site does while it is cut, and what it tells.
//!
//! ```text
//!              ┌──────────────── thread of the line ────────────────┐
//!  controller ─┤ shell (TLS, HTTP/2) ─▶ state ─▶ Said ──────────────┼─▶ engine ─▶ life ─▶ kernel
//!              │        ▲               (reckon: which leases hold) │      │
//!              └────────┴── outbox ◀── Told ◀───────────────────────┼──────┘ journal, findings, devices
//! ```
//!
//! * [`state`], [`reckon`], [`redial`], [`renew`], [`outbox`], [`traffic`]: every decision, without clocks, sockets and files.
//! * [`keep`]: what survives, in `uplink/` of the state directory.
//! * [`lists`]: who is revoked, for programs beside the site.
//! * [`client`], [`shell`]: the connection.
//! * [`join`]: the first contact, with a one-time token.

pub mod client;
pub mod join;
pub mod keep;
pub mod lists;
pub mod outbox;
pub mod reckon;
pub mod redial;
pub mod renew;
pub mod shell;
pub mod state;
pub mod traffic;
mod words;

pub use words::{Line, Said, Standing, Told};
