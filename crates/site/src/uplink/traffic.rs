//! What crossed the wire and waits to be told to the controller: summed by path and hour, so that it waits in little space. It is telemetry:
//! none of it is durable here. Pure: the caller sends.

use std::collections::{BTreeMap, BTreeSet};

use model::Timestamp;
use model::line::{End, FLOWS_MAX, Flow, Traffic};
use model::observation::Transport;

/// Paths that wait. What would be more is counted, and left out.
pub const WAITING_MAX: usize = 20_000;
/// Paths of one client in one hour. A device that talks to more has the rest of them in one sum, without a server.
pub const PATHS_MAX: usize = 64;
/// Clients whose paths of this hour are remembered.
const CLIENTS_MAX: usize = 100_000;
/// Characters of a name.
const NAME_CHARS_MAX: usize = 256;
const HOUR_NANOS: i64 = 3_600_000_000_000;

/// What makes two flows one.
type Path = (i64, End, End, Transport, u16);

/// What waits.
#[derive(Debug)]
pub struct Waiting {
    run: Timestamp,
    /// The last report that was put together.
    number: u64,
    flows: BTreeMap<Path, Flow>,
    /// Paths of this hour by client.
    told: BTreeMap<End, BTreeSet<(End, Transport, u16)>>,
    hour: i64,
    sending: Option<Traffic>,
    left_out: u64,
}

impl Waiting {
    /// Nothing waits in a run that begins now.
    pub const fn new(run: Timestamp) -> Self {
        Self {
            run,
            number: 0,
            flows: BTreeMap::new(),
            told: BTreeMap::new(),
            hour: 0,
            sending: None,
            left_out: 0,
        }
    }

    /// This crossed the wire.
    pub fn add(&mut self, mut flow: Flow) {
        let hour = flow.last.as_nanos().div_euclid(HOUR_NANOS);
        let begin = Timestamp::from_nanos(hour.saturating_mul(HOUR_NANOS));
        flow.first = flow.first.max(begin);
        flow.name = flow.name.map(|name| name.chars().take(NAME_CHARS_MAX).collect());
        if hour != self.hour {
            (self.hour, self.told) = (hour, BTreeMap::new());
        }
        if !self.is_told_apart(&flow) {
            flow.server = End { mac: model::Mac::ZERO, ip: None };
            (flow.transport, flow.port) = (Transport::Ip, 0);
            (flow.protocol, flow.name) = (None, None);
        }
        let path = (hour, flow.client, flow.server, flow.transport, flow.port);
        if let Some(sum) = self.flows.get_mut(&path) {
            add(sum, flow);
        } else if self.flows.len() < WAITING_MAX {
            self.flows.insert(path, flow);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Whether a flow has a row of its own.
    fn is_told_apart(&mut self, flow: &Flow) -> bool {
        if self.told.len() >= CLIENTS_MAX && !self.told.contains_key(&flow.client) {
            return false;
        }
        let paths = self.told.entry(flow.client).or_default();
        let path = (flow.server, flow.transport, flow.port);
        paths.contains(&path) || (paths.len() < PATHS_MAX && paths.insert(path))
    }

    /// Flows that there was no room for.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Whether a whole report waits.
    pub fn is_full(&self) -> bool {
        self.flows.len() >= FLOWS_MAX
    }

    /// The report to send: the one that was not taken yet, or the next.
    pub fn report(&mut self) -> Option<&Traffic> {
        if self.sending.is_none() {
            let mut flows = Vec::new();
            while flows.len() < FLOWS_MAX
                && let Some((_, flow)) = self.flows.pop_first()
            {
                flows.push(flow);
            }
            if flows.is_empty() {
                return None;
            }
            self.number = self.number.saturating_add(1);
            self.sending = Some(Traffic { run: self.run, number: self.number, flows });
        }
        self.sending.as_ref()
    }

    /// The controller has it, or will never take it.
    pub fn taken(&mut self) {
        self.sending = None;
    }
}

fn add(sum: &mut Flow, more: Flow) {
    sum.first = sum.first.min(more.first);
    sum.last = sum.last.max(more.last);
    sum.certain |= more.certain;
    sum.flows = sum.flows.saturating_add(more.flows);
    for (sum, more) in sum.packets.iter_mut().zip(more.packets) {
        *sum = sum.saturating_add(more);
    }
    for (sum, more) in sum.bytes.iter_mut().zip(more.bytes) {
        *sum = sum.saturating_add(more);
    }
    sum.protocol = sum.protocol.take().or(more.protocol);
    sum.name = sum.name.take().or(more.name);
}

#[cfg(test)]
mod tests {
    use model::Mac;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_900_000_800 + seconds, 0)
    }

    fn flow(port: u16, last: Timestamp) -> Flow {
        let end = |n: u8| End { mac: Mac([2, 0, 0, 0, 0, n]), ip: Some([10, 0, 0, n].into()) };
        Flow {
            client: end(1),
            server: end(2),
            transport: Transport::Tcp,
            port,
            protocol: None,
            name: None,
            certain: true,
            first: last.plus_nanos(-10 * HOUR_NANOS),
            last,
            flows: 1,
            packets: [2, 1],
            bytes: [200, 100],
        }
    }

    #[test]
    fn a_path_is_one_flow_of_its_hour() {
        let mut waiting = Waiting::new(at(0));
        // An hour begins with second 0.
        waiting.add(flow(554, at(1)));
        waiting.add(Flow { flows: 0, name: Some("nvr".to_owned()), ..flow(554, at(100)) });
        waiting.add(flow(554, at(3_599)));
        waiting.add(flow(554, at(3_600)));
        let told = waiting.report().unwrap().clone();
        assert_eq!((told.number, told.flows.len()), (1, 2));
        assert_eq!((told.flows[0].flows, told.flows[0].packets), (2, [6, 3]));
        assert_eq!((told.flows[0].first, told.flows[0].last), (at(0), at(3_599)));
        assert_eq!(told.flows[0].name.as_deref(), Some("nvr"));
        assert_eq!((told.flows[1].first, told.flows[1].flows), (at(3_600), 1));
    }

    #[test]
    fn what_was_not_taken_is_sent_again_as_it_was() {
        let mut waiting = Waiting::new(at(0));
        assert_eq!(waiting.report(), None);
        waiting.add(flow(554, at(1)));
        let first = waiting.report().unwrap().clone();
        waiting.add(flow(554, at(2)));
        assert_eq!(waiting.report(), Some(&first));
        waiting.taken();
        assert_eq!(waiting.report().map(|told| (told.number, told.flows.len())), Some((2, 1)));
        waiting.taken();
        assert_eq!(waiting.report(), None);
    }

    #[test]
    fn a_device_that_talks_to_everybody_and_a_line_that_stays_cut_take_so_much_and_no_more() {
        let mut waiting = Waiting::new(at(0));
        for port in 0..1_000 {
            waiting.add(flow(port, at(1)));
        }
        let told = waiting.report().unwrap();
        assert_eq!(told.flows.len(), PATHS_MAX + 1);
        assert_eq!(told.flows.iter().map(|flow| flow.flows).sum::<u64>(), 1_000);
        let rest = told.flows.iter().find(|flow| flow.server.mac == Mac::ZERO).unwrap();
        assert_eq!((rest.flows, rest.port), (936, 0));
        for hour in 0..1_000 {
            for port in 0..PATHS_MAX as u16 {
                waiting.add(flow(port, at(hour * 3_600)));
            }
        }
        assert_eq!(waiting.flows.len(), WAITING_MAX);
        assert_eq!(waiting.left_out(), 64_000 - WAITING_MAX as u64);
    }
}
