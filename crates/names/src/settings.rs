//! Bounds and times of the resolver.

use std::net::{IpAddr, SocketAddr};

/// How the resolver works. The defaults suit a site of a thousand devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Resolvers that are asked, the preferred first.
    pub upstreams: Vec<SocketAddr>,
    /// Networks of the site besides its devices' addresses: an outside name that answers with one of
    /// them points inwards.
    pub site: Vec<(IpAddr, u8)>,
    /// A path stays open at least this long after an answer, in seconds.
    pub floor_s: u32,
    /// And this much longer than the answer lives: devices use answers a little too long.
    pub grace_s: u32,
    /// Longest an answer is kept in the cache, and the longest life it gives a path, in seconds.
    pub ttl_max_s: u32,
    /// Longest a negative answer is kept, in seconds (RFC 2308 §5 allows hours).
    pub negative_max_s: u32,
    /// Addresses of one name that may be alive at once.
    pub addresses_max: usize,
    /// Names that may be alive at once.
    pub names_max: usize,
    /// Paths (class, address, transport, ports) that may be alive at once.
    pub paths_max: usize,
    /// Answers in the cache.
    pub cache_max: usize,
    /// Their size together, in bytes.
    pub cache_bytes_max: usize,
    /// Questions that wait for an upstream or for the enforcement point.
    pub open_max: usize,
    /// The same of one device.
    pub open_per_device_max: usize,
    /// Questions a device may ask per second in the long run.
    pub rate_per_s: u32,
    /// Questions it may ask at once.
    pub burst: u32,
    /// One try at an upstream, in milliseconds.
    pub try_ms: u64,
    /// All tries of a question, in milliseconds. Clients ask again after five seconds.
    pub give_up_ms: u64,
    /// How long the enforcement point may take, in milliseconds.
    pub enforce_ms: u64,
}

impl Settings {
    /// Asking these upstreams.
    pub fn new(upstreams: Vec<SocketAddr>) -> Self {
        Self {
            upstreams,
            site: Vec::new(),
            floor_s: 60,
            grace_s: 60,
            ttl_max_s: 86_400,
            negative_max_s: 300,
            addresses_max: 256,
            names_max: 65_536,
            paths_max: 262_144,
            cache_max: 50_000,
            cache_bytes_max: 32 << 20,
            open_max: 4_096,
            open_per_device_max: 256,
            rate_per_s: 100,
            burst: 500,
            try_ms: 1_500,
            give_up_ms: 4_500,
            enforce_ms: 3_000,
        }
    }
}
