//! The site's DNS resolver: how a name in policy becomes a path.
//!
//! ```text
//! device ──question──▶ Core ──▶ upstream
//!                       │  ◀──answer──┘
//!                       ├──▶ Sink: addresses in force, for as long as the answer lives
//!                       │  ◀──acknowledged
//! device ◀──answer──────┘
//! ```
//!
//! A device connects as soon as it has an answer. So an answer is released only after the enforcement
//! point acknowledged that its addresses are open for this device's class; there is no first
//! connection to lose. Paths close by themselves in the kernel when the answer is over.
//!
//! * [`Core`]: everything that is decided, without sockets and clocks; the same input gives the same
//!   output, so that every order of events can be tested.
//! * [`Policy`], [`Settings`]: what it decides by. [`Event`]: what it tells.
//! * [`Sink`]: the enforcement point, as the resolver sees it.
//! * [`bind`], [`start`]: sockets, clock and the file of live names around the core, on a thread of its own.
//!
//! A CNAME chain counts as the name that was asked for; policy does not have to know a provider's
//! names. An outside name that answers with an inside address is not opened ([`points_inwards`]).

mod cache;
mod core;
mod event;
pub mod fuzzing;
mod ledger;
mod message;
mod policy;
mod settings;
mod shell;
mod state;
mod upstream;

pub use crate::core::{Action, Core, Counts, Return};
pub use event::{Asked, Event, Finding, Outcome};
pub use ledger::{Grant, Live, Opening};
pub use policy::{Policy, points_inwards};
pub use settings::Settings;
pub use shell::{Config, Running, Sink, Sockets, StartError, bind, start};
