//! Which dissectors a packet is shown to: the registry, indexed once.

use dissect::registry::{self, Datagram, LinkKey, Stream};
use dissect::{Probe, registry::Frame};
use rustc_hash::FxHashMap;

/// Number of a protocol name in [`Dispatch::names`]; 0 stands for "not known".
pub(crate) type NameId = u16;

/// The registry, indexed by port and link key.
#[derive(Debug)]
pub(crate) struct Dispatch {
    frames: FxHashMap<LinkKey, (NameId, &'static Frame)>,
    /// Datagram dissectors; `udp_ports` holds indexes into it.
    pub(crate) datagrams: Vec<(NameId, &'static Datagram)>,
    udp_ports: Ports,
    udp_probes: Vec<u16>,
    /// Stream dissectors.
    pub(crate) streams: Vec<(NameId, &'static Stream)>,
    tcp_ports: Ports,
    names: Vec<&'static str>,
}

/// Dissectors by port. Whether a port has any is asked with every packet, so that is a bit in a table that stays near.
#[derive(Debug)]
struct Ports {
    known: Box<[u64; 1024]>,
    lists: FxHashMap<u16, Vec<u16>>,
}

impl Ports {
    fn new(ports: impl Iterator<Item = &'static [u16]>) -> Self {
        let mut all = Self { known: Box::new([0; 1024]), lists: FxHashMap::default() };
        for (i, ports) in (0u16..).zip(ports) {
            for port in ports {
                all.lists.entry(*port).or_default().push(i);
                if let Some(word) = all.known.get_mut(usize::from(port >> 6)) {
                    *word |= 1 << (port & 63);
                }
            }
        }
        all
    }

    #[inline]
    fn knows(&self, port: u16) -> bool {
        self.known.get(usize::from(port >> 6)).is_some_and(|word| word >> (port & 63) & 1 == 1)
    }

    #[inline]
    fn of(&self, port: u16) -> &[u16] {
        if !self.knows(port) {
            return &[];
        }
        self.lists.get(&port).map_or(&[], Vec::as_slice)
    }
}

impl Dispatch {
    pub(crate) fn new() -> Self {
        let mut names = vec![""];
        let mut name_of = |name: &'static str| -> NameId {
            let at = names.iter().position(|n| *n == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
            NameId::try_from(at).unwrap_or(0)
        };
        let mut frames = FxHashMap::default();
        for frame in registry::frames() {
            let id = name_of(frame.name);
            for key in frame.key {
                frames.entry(*key).or_insert((id, frame));
            }
        }
        let datagrams: Vec<_> = registry::datagrams().map(|d| (name_of(d.name), d)).collect();
        let streams: Vec<_> = registry::streams().map(|s| (name_of(s.name), s)).collect();
        let udp_ports = Ports::new(datagrams.iter().map(|(_, d)| d.ports));
        let tcp_ports = Ports::new(streams.iter().map(|(_, s)| s.ports));
        let udp_probes = (0u16..)
            .zip(&datagrams)
            .filter(|(_, (_, d))| d.probe.is_some())
            .map(|(i, _)| i)
            .collect();
        Self { frames, datagrams, udp_ports, udp_probes, streams, tcp_ports, names }
    }

    pub(crate) fn name(&self, id: NameId) -> &'static str {
        self.names.get(usize::from(id)).copied().unwrap_or_default()
    }

    pub(crate) fn frame(&self, key: LinkKey) -> Option<(NameId, &'static Frame)> {
        self.frames.get(&key).copied()
    }

    /// Dissectors registered for a UDP port.
    #[inline]
    pub(crate) fn udp_port(&self, port: u16) -> &[u16] {
        self.udp_ports.of(port)
    }

    /// Whether some protocol has this UDP port by registration.
    #[inline]
    pub(crate) fn udp_port_known(&self, port: u16) -> bool {
        self.udp_ports.knows(port)
    }

    /// Whether some protocol listens on this TCP port by registration.
    #[inline]
    pub(crate) fn tcp_port_known(&self, port: u16) -> bool {
        self.tcp_ports.knows(port)
    }

    /// The datagram protocol that recognises these bytes on any port.
    pub(crate) fn probe_datagram(&self, payload: &[u8]) -> Option<u16> {
        self.udp_probes.iter().copied().find(|i| {
            self.datagrams
                .get(usize::from(*i))
                .and_then(|(_, d)| d.probe)
                .is_some_and(|probe| probe(payload))
        })
    }

    /// The stream protocol of these first bytes: a signature on its own port, then a signature
    /// anywhere, then what is merely possible on its registered port.
    pub(crate) fn probe_stream(&self, port: u16, bytes: &[u8]) -> Option<u16> {
        let here = self.tcp_ports.of(port);
        let probe =
            |i: u16| self.streams.get(usize::from(i)).map_or(Probe::No, |(_, s)| (s.probe)(bytes));
        here.iter().copied().find(|i| probe(*i) == Probe::Yes).or_else(|| {
            (0u16..)
                .take(self.streams.len())
                .find(|i| probe(*i) == Probe::Yes)
                .or_else(|| here.iter().copied().find(|i| probe(*i) == Probe::Maybe))
        })
    }
}
