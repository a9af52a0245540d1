//! The allocator of the programs (docs/adr/0032): jemalloc, on huge pages, giving back soon what is freed.
//!
//! A program that says `use memory as _;` beside its `main` has it.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Read by jemalloc when it starts; `_RJEM_MALLOC_CONF` in the environment has the last word
/// ([what can be said](https://jemalloc.net/jemalloc.3.html#tuning)).
///
/// * Tables that are met at random places for every packet miss in the processor's translation of addresses far less on huge pages. They are
///   asked for, since most systems give them to nobody else.
/// * A table that doubles leaves its old half behind. For ten seconds, as jemalloc has it by itself, is half as much memory again; a fifth of a second
///   costs no measurable time.
#[expect(
    unsafe_code,
    reason = "jemalloc finds its options by the name of this symbol, which no other may have"
)]
// SAFETY: nothing else defines it but jemalloc itself, weakly; a pointer to bytes that end with 0 is what it is declared as.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static OPTIONS: &[u8; 47] = b"thp:always,dirty_decay_ms:200,muzzy_decay_ms:0\0";
