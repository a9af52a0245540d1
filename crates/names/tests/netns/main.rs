//! The resolver with real packets, real programs and a real kernel: what it opens is judged by
//! connections. Where the machine cannot make network namespaces each test says so and is skipped.

#[cfg(test)]
mod begin;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod first;
#[cfg(test)]
mod trouble;
