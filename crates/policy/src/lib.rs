//! Policy: what may talk to what, and what follows from it.
//!
//! The crate is pure. It reads values ([`model::inspect::Report`], the texts of a policy folder)
//! and returns values (texts, [`model::ruleset::Ruleset`], [`model::inspect::Reach`]): no files, no
//! clock, no environment. The same input gives the same output, byte for byte.
//!
//! ```text
//! inspect::Report ──draft──▶ Draft { Folder, refused paths } ──files──▶ the policy folder (text)
//!                              │                                          │ folder::parse
//!                              ▼                                          ▼
//!                            Folder ───────────lower──────────▶ who is granted which service
//!                                                                │              │
//!                                                        compile │              │ reach, check
//!                                                                ▼              ▼
//!                                                            Ruleset     numbers, broken tests
//! ```
//!
//! * [`draft`]: least-privilege proposal from recorded paths, with what it refuses and why.
//! * [`folder`]: the policy folder as a value; text in, text out, faults with file and line.
//! * [`cedar`]: the language. Cedar validates and is the oracle; it never runs on the hot path.
//! * [`decide`]: policies compiled to bytecode over interned columns; one answer in well under a microsecond.
//! * [`lower`]: the same over today's whole estate: who is granted which service.
//! * [`compile`] and [`evaluate`]: the factorised ruleset, and the interpreter that predicts what an
//!   enforcement point does with a packet.
//! * [`check`]: the folder's own tests and standing claims.
//! * [`excepted`]: exceptions held against them too.
//! * [`treat`]: neighbourhood protocols, as zones declare them.
//! * [`reach`]: blast radius, exact, direct and by hopping.
//! * [`sketch`]: a map of zones that a person can read.
//! * [`impact`]: what one device reaches when it is taken over, and what stops when it is cut off.
//! * [`iec62443`]: zones and conduits judged as the standard asks.
//! * [`cards`]: what devices can do for their own security, and what stands in for what they lack.
//! * [`filter`]: which devices, as a Cedar expression about one.
//! * [`unused`]: rules that nothing has used.
//! * [`why`]: the rule and line behind a verdict, or the nearest rule and the fields that differ.
//! * [`prove`]: standing claims for every estate under the schema, as questions to a solver.
//! * [`plan`]: what changes between what is enforced and what a folder wants; what is applied.
//! * [`packs`]: policies that ship with the program and that a folder takes in by name.
//! * [`mud`]: manufacturer usage descriptions (RFC 8520), written and read.
//!
//! Default deny; `forbid` wins; what cannot be decided is refused with file, line, what and why.

pub mod cards;
pub mod cedar;
pub mod check;
pub mod class;
pub mod compile;
pub mod decide;
pub mod draft;
pub mod evaluate;
pub mod excepted;
mod fault;
pub mod filter;
pub mod folder;
pub mod iec62443;
pub mod impact;
pub mod language;
pub mod lower;
pub mod moment;
pub mod mud;
pub mod mutate;
pub mod packs;
pub mod plan;
pub mod probes;
pub mod prove;
pub mod reach;
pub mod share;
pub mod sketch;
mod terms;
mod text;
pub mod treat;
pub mod unused;
pub mod why;

pub use fault::Fault;
