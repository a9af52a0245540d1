//! The lab and the fence with real packets. Needs root (or user namespaces) and the programs of
//! `lab::privilege::PROGRAMS`; where they are not there each test says so and is skipped.

#[cfg(test)]
mod begin;
#[cfg(test)]
mod cut;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod estate;
#[cfg(test)]
mod fence;
#[cfg(test)]
mod kernel;
#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod netlink;
#[cfg(test)]
mod proof;
#[cfg(test)]
mod verdicts;
#[cfg(test)]
mod wires;
