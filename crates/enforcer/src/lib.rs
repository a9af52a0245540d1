//! Applies a ruleset to the kernel and verifies what is in force.
//!
//! The way of a plan, in the three states every control has:
//!
//! ```text
//! model::ruleset::Ruleset ──▶ Plan (intended) ──▶ netlink transactions (applied)
//!                               └───────────▶ read back, element by element (verified)
//! ```
//!
//! * [`plan`]: checks a ruleset and lays it out as nf_tables objects. Pure.
//! * [`render()`]: the same as text for review, and for machines that are not ours (`nft -f`).
//! * [`Fence`]: one enforcement point: apply, read back, verify, remove.
//! * [`judge()`]: what a ruleset says about one flow; probes of the kernel are compared with it.
//! * [`contain`]: makes neighbours on one subnet pass the fence too.
//! * [`cut`]: ends the open flows of a device or of a closed path.
//! * [`drift`]: keeps the fence what it was made, and names who changes it.
//! * [`verdict`]: what the fence did, packet by packet, and why.
//! * [`netlink`]: how the kernel is talked to.
//! * [`runner`]: how the programs that containment needs are called, here or in another network
//!   namespace. No rule passes through a program.
//!
//! The rules an enforcement point keeps, whatever it is asked: default deny for what its
//! interfaces carry, never an older generation, and nothing is called verified that was not read
//! back. It touches only the tables that carry its own name.
//!
//! Limits, stated: the packet mark and the connection mark of judged traffic are ours; IPv6
//! neighbour advertisements are passed between devices unchecked where a ruleset has IPv6 members
//! (IPv4 ARP senders are checked); elements get a new time by being added again, which kernels
//! before 6.12 ignore.

mod clock;
pub mod contain;
pub mod cut;
pub mod drift;
mod error;
mod fence;
pub mod fuzzing;
mod judge;
pub mod netlink;
mod nft;
pub mod plan;
mod render;
pub mod runner;
pub mod verdict;
pub mod verify;

pub use error::{EnforceError, Invalid};
pub use fence::{Applied, Change, Denial, Fence, InForce, NameGrant};
pub use judge::{Denied, Flow, Judgement, judge, judge_named};
pub use plan::{Options, Ownership, Plan};
pub use render::render;
pub use runner::{Host, Runner};
pub use verify::{Difference, Verified};
