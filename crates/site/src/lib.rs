//! One site: sensor and enforcer stand-alone from a policy folder, and the life of what they enforce.
//!
//! ```text
//!  policy folder ─▶ folder ─▶ compile ─▶ Point (kernel) ─▶ read-back
//!                     │          ▲            │ counts
//!                     ▼          │ Order      ▼
//!  control socket ─▶ engine ─▶ life ◀── used, gate (what was denied, and whether it matters)
//!                     │          │
//!                     ▼          ▼
//!                  status     store: state, contents, journal
//! ```
//!
//! * [`life`]: every decision, without clock and kernel: generations, roll back, break-glass, promotion.
//! * [`gate`]: when a zone in shadow may be enforced, and when it goes back.
//! * [`compile`]: from an order and a folder to the ruleset of the moment.
//! * [`used`]: which denials concern paths that were used before.
//! * [`resolve`]: names of the policy, answered after their paths are open; [`asked`]: for what else devices ask.
//! * [`canary`]: the proof that a shadow counts.
//! * [`prepare`]: neighbours of one subnet under the fence; what cannot be enforced here.
//! * [`journal`], [`store`]: what survives.
//! * [`control`], [`status`]: what a person asks and sees.
//! * [`privileges`]: what the process may still do once it is up.
//! * [`shell`]: the process.

pub mod asked;
pub mod canary;
pub mod compile;
pub mod config;
pub mod control;
mod engine;
pub mod folder;
pub mod gate;
pub mod journal;
pub mod life;
pub mod point;
pub mod prepare;
pub mod privileges;
mod record;
pub mod resolve;
pub mod sense;
pub mod shell;
pub mod status;
pub mod store;
pub mod uplink;
pub mod used;
mod wait;
