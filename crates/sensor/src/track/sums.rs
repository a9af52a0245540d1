//! What is only known in sum: conversations that are over, paths, the traffic of links.

use std::net::IpAddr;

use model::observation::{self, EventKind, Observation, Subject};
use model::{Mac, Timestamp};

use super::Sensor;
use crate::dispatch::NameId;
use crate::flows::{Course, End, FlowId, Part, Path, Summed, Volume};
use crate::links::{LinkId, Station};
use crate::report::Moment;

/// Distinct conversations summed between two reports.
const PATHS_MAX: usize = 1_000_000;
/// Link addresses that sent a single packet, beyond which their number is a finding.
const LONERS_MIN: usize = 1_000;

impl Sensor {
    #[cold]
    pub(super) fn sweep(&mut self, now: Timestamp) {
        for id in self.flows.over(now) {
            self.end(id);
        }
        self.flows.swept();
    }

    /// Ends a conversation and takes it into the sums.
    pub(super) fn end(&mut self, id: FlowId) {
        if let Some((part, course)) = self.flows.end(id) {
            self.conclude(part, course);
        }
    }

    /// Takes what is left to tell of a conversation that is over into the sums.
    pub(super) fn conclude(&mut self, part: Part, course: Course) {
        if course == Course::Established {
            return self.settle(part);
        }
        let [out, back] = part.volume;
        self.stations([(part.client, out), (part.server, back)], part.first, part.last);
        if course == Course::Attempted && part.client.link != 0 {
            let m = Moment { input: part.input, packet: part.packet, at: part.first };
            let target = (part.server.ip, part.server.port);
            let said = self.suspicion.unanswered(part.client.link, target, part.first, "attempts");
            self.scan(&m, part.client.mac, said);
        }
    }

    /// Takes what an established conversation carried into the sums.
    pub(super) fn settle(&mut self, part: Part) {
        let [out, back] = part.volume;
        self.stations([(part.client, out), (part.server, back)], part.first, part.last);
        if part.client.link == 0 {
            return;
        }
        let path = Path {
            client: (part.client.link, Some(part.client.ip)),
            server: (part.server.mac.as_u64(), Some(part.server.ip)),
            transport: part.transport,
            port: part.server.port,
            established: true,
        };
        let server_name =
            part.server_name.or_else(|| self.report.name_of(part.client.link, part.server.ip));
        let sum = observation::Flow {
            server_mac: part.server.mac,
            client_ip: Some(part.client.ip),
            server_ip: Some(part.server.ip),
            transport: part.transport,
            port: part.server.port,
            application: None,
            server_name,
            first: part.first,
            last: part.last,
            flows: part.flows,
            packets_out: out.packets,
            packets_in: back.packets,
            bytes_out: out.bytes,
            bytes_in: back.bytes,
            established: true,
            roles_certain: part.roles_certain,
        };
        self.sum(path, sum, part.application, part.input, part.packet);
    }

    /// Counts what both ends sent for their network addresses.
    fn stations(&mut self, ends: [(End, Volume); 2], first: Timestamp, last: Timestamp) {
        for (end, volume) in ends {
            if end.link != 0 && volume.packets > 0 {
                let seen = Station {
                    first,
                    last,
                    packets: volume.packets,
                    bytes: volume.bytes,
                    hop_limit: volume.hop_limit,
                    is_reported: false,
                };
                self.links.station(end.link, end.ip, seen);
            }
        }
    }

    pub(super) fn sum(
        &mut self,
        path: Path,
        flow: observation::Flow,
        name: NameId,
        input: u16,
        packet: u64,
    ) {
        let application = match name {
            0 => None,
            id => Some(self.report.intern(self.dispatch.name(id))),
        };
        if let Some(sum) = self.paths.get_mut(&path) {
            let total = &mut sum.flow;
            if flow.first < total.first {
                total.first = flow.first;
                (sum.input, sum.packet) = (input, packet);
            }
            total.last = total.last.max(flow.last);
            total.flows += flow.flows;
            total.packets_out += flow.packets_out;
            total.packets_in += flow.packets_in;
            total.bytes_out += flow.bytes_out;
            total.bytes_in += flow.bytes_in;
            total.roles_certain |= flow.roles_certain;
            if total.application.is_none() {
                total.application = application;
            }
            if total.server_name.is_none() {
                total.server_name = flow.server_name;
            }
            return;
        }
        if self.paths.len() >= PATHS_MAX {
            self.flows.refused += 1;
            return;
        }
        self.paths.insert(
            path,
            Summed { flow: observation::Flow { application, ..flow }, input, packet },
        );
    }

    pub(super) fn report_paths(&mut self, take: &mut dyn FnMut(Observation)) {
        let mut paths: Vec<Option<(Path, Summed)>> =
            std::mem::take(&mut self.paths).into_iter().map(Some).collect();
        // Sums are large: their order is found first, and none is moved more than once.
        let mut order: Vec<_> = paths
            .iter()
            .enumerate()
            .filter_map(|(at, path)| {
                let (path, sum) = path.as_ref()?;
                Some((sum.flow.first, sum.input, sum.packet, path.client, path.port, at))
            })
            .collect();
        order.sort_unstable();
        for (.., at) in order {
            let Some((path, sum)) = paths.get_mut(at).and_then(Option::take) else { continue };
            let Some(link) = self.links.get(path.client.0) else { continue };
            let subject = if link.mac.is_unicast() {
                Subject::Link { mac: link.mac, ip: path.client.1 }
            } else {
                continue;
            };
            let m = Moment { input: sum.input, packet: sum.packet, at: sum.flow.last };
            self.report.push(m, 0, subject, observation::Fact::Flow(sum.flow));
            self.report.out.drain(..).for_each(&mut *take);
        }
    }

    pub(super) fn report_stations(&mut self, take: &mut dyn FnMut(Observation)) {
        let mut fresh: Vec<(LinkId, IpAddr, Station)> = Vec::new();
        for ((link, ip), station) in &mut self.links.stations {
            if station.packets > 0 && !station.is_reported {
                fresh.push((*link, *ip, *station));
                station.is_reported = true;
            }
        }
        let mut stations: Vec<(Mac, IpAddr, Station)> = fresh
            .into_iter()
            .filter_map(|(link, ip, seen)| Some((self.links.get(link)?.mac, ip, seen)))
            .collect();
        stations.sort_by_key(|(mac, ip, _)| (*mac, *ip));
        for (mac, ip, station) in stations {
            let m = Moment { input: 0, packet: 0, at: station.last };
            let fact = observation::Fact::Sighted {
                first: station.first,
                packets: station.packets,
                bytes: station.bytes,
                vlan: None,
                hop_limit: Some(station.hop_limit),
                protocols: Vec::new(),
            };
            self.report.push(m, 0, Subject::Link { mac, ip: Some(ip) }, fact);
            self.report.out.drain(..).for_each(&mut *take);
        }
    }

    pub(super) fn report_links(&mut self, take: &mut dyn FnMut(Observation)) {
        let mut loners = 0usize;
        let count = self.links.len();
        for (_, link) in self.links.iter_mut() {
            loners += usize::from(link.packets == 1);
            let (packets, bytes) = (link.packets - link.reported.0, link.bytes - link.reported.1);
            if packets == 0 {
                continue;
            }
            link.reported = (link.packets, link.bytes);
            let protocols = link
                .protocols
                .iter()
                .map(|id| self.report.intern(self.dispatch.name(id)))
                .collect();
            let fact = observation::Fact::Sighted {
                first: link.first,
                packets,
                bytes,
                vlan: link.vlan,
                hop_limit: None,
                protocols,
            };
            let m = Moment { input: 0, packet: 0, at: link.last };
            self.report.push(m, link.packets, Subject::Link { mac: link.mac, ip: None }, fact);
            self.report.out.drain(..).for_each(&mut *take);
        }
        if loners >= LONERS_MIN && loners * 2 > count {
            let detail = format!("{loners} of {count} link addresses sent a single packet");
            let fact = observation::Fact::Event { kind: EventKind::Flood, detail: detail.into() };
            let m = Moment { input: 0, packet: 0, at: self.totals.last };
            self.report.push(m, 0, Subject::Link { mac: Mac::ZERO, ip: None }, fact);
        }
    }
}
