//! Canaries on their way. Nothing waits here: the loop looks at them again and again while it does all
//! the rest.

use std::collections::BTreeMap;

use enforcer::runner::Runner;
use model::{Mac, Timestamp};

use super::Engine;
use crate::canary::{self, Canary};
use crate::life::{Event, Flown};
use crate::point::Point;
use crate::shell::now;

/// Canaries of one generation that are not all counted yet.
#[derive(Debug)]
pub(super) struct Flight {
    generation: u64,
    zones: Vec<String>,
    /// Zones of which the end is known.
    flown: BTreeMap<String, Flown>,
    /// Canaries that are not counted yet, with what was counted of their like before.
    out: Vec<(Canary, u64)>,
    /// The bridge takes packets from our port.
    forwards: bool,
    sent: u32,
    /// What may be the reason that nothing is counted.
    trouble: String,
    /// When to send again, and when to look again.
    send: Timestamp,
    look: Timestamp,
    /// When it is over.
    until: Timestamp,
}

/// How long a bridge may take until it forwards from a new port: a spanning tree listens and learns,
/// 15 seconds each (IEEE 802.1D-2004 table 17-1).
const PORT_NANOS: i64 = 40_000_000_000;
/// Times that a canary is sent: a busy machine loses one.
const SENDS_MAX: u32 = 5;
/// Nanoseconds between two of them.
const APART_NANOS: i64 = 1_000_000_000;
/// How long they have to be counted, from the first one on.
const COUNT_NANOS: i64 = 8_000_000_000;
/// Nanoseconds between two looks.
const LOOK_NANOS: i64 = 200_000_000;

impl Engine {
    /// Begins to send a canary through every class of every zone; what is known at once comes back.
    pub(super) fn launch(
        &mut self,
        generation: u64,
        zones: Vec<String>,
        runner: &dyn Runner,
        point: &dyn Point,
    ) -> Vec<Event> {
        let (mut flown, mut canaries) = (BTreeMap::new(), Vec::new());
        for zone in &zones {
            match self.hatch(zone) {
                Ok(hatched) => canaries.extend(hatched),
                Err(end) => drop(flown.insert(zone.clone(), end)),
            }
        }
        if let (false, Err(why)) = (canaries.is_empty(), self.perch(runner)) {
            for canary in canaries.drain(..) {
                flown.insert(canary.zone, Flown::Missed(why.clone()));
            }
        }
        let at = now();
        let before = point.read().map(|read| read.denials).unwrap_or_default();
        let flight = Flight {
            generation,
            zones,
            flown,
            out: canaries.iter().map(|c| (c.clone(), c.counted(&before))).collect(),
            forwards: false,
            sent: 0,
            trouble: String::new(),
            send: at,
            look: at,
            until: at.plus_nanos(PORT_NANOS),
        };
        self.canaries = canaries;
        self.flight = None;
        if flight.out.is_empty() {
            return flight.events();
        }
        self.flight = Some(flight);
        Vec::new()
    }

    /// Looks after the canaries that are on their way.
    pub(crate) fn fly(
        &mut self,
        runner: &dyn Runner,
        point: &dyn Point,
        told: &mut dyn FnMut(&str),
    ) {
        let Some(mut flight) = self.flight.take() else {
            return;
        };
        if flight.step(now(), runner, point) {
            for event in flight.events() {
                self.handle(event, runner, point, told);
            }
        } else {
            self.flight = Some(flight);
        }
    }

    /// The canaries of a zone, or its end without one.
    fn hatch(&self, zone: &str) -> Result<Vec<Canary>, Flown> {
        let missed = |why: &str| Flown::Missed(why.to_owned());
        let compiled = self.compiled.as_ref().ok_or_else(|| missed("nothing was applied"))?;
        let in_zone = |ip| compiled.zone_of.get(&ip).is_some_and(|its| its == zone);
        if !compiled.ruleset.members.iter().any(|member| in_zone(member.ip)) {
            // Nobody to stand for: nothing of it can be denied either.
            return Err(Flown::Counted);
        }
        let mac: Result<Mac, _> = self.survey.mac.parse();
        let mac = mac.map_err(|_| missed("the interface has no link address"))?;
        let here = (mac, self.survey.addresses.as_slice());
        canary::hatch(zone, &compiled.ruleset, &self.applied, &in_zone, here)
    }

    /// Our port of the bridge.
    fn perch(&mut self, runner: &dyn Runner) -> Result<(), String> {
        let interface = &self.survey.interface;
        if !self.survey.bridge {
            return Err(format!("a canary needs a bridge to come in at, and {interface} is none"));
        }
        if !self.perched {
            canary::perch(runner, interface)
                .map_err(|error| format!("a canary needs a port of the bridge: {error}"))?;
            self.perched = true;
        }
        Ok(())
    }
}

impl Flight {
    /// Sends what is due and looks what was counted; whether it is over.
    fn step(&mut self, at: Timestamp, runner: &dyn Runner, point: &dyn Point) -> bool {
        if at < self.look {
            return false;
        }
        self.look = at.plus_nanos(LOOK_NANOS);
        if !self.forwards {
            self.forwards = canary::forwards(runner);
            if !self.forwards {
                let why = "the bridge does not forward from a new port (does its spanning tree block it?)";
                why.clone_into(&mut self.trouble);
                return at >= self.until && self.missed();
            }
            self.trouble.clear();
            self.until = at.plus_nanos(COUNT_NANOS);
        }
        if self.sent < SENDS_MAX && at >= self.send {
            (self.sent, self.send) = (self.sent.saturating_add(1), at.plus_nanos(APART_NANOS));
            for (canary, _) in &self.out {
                if let Err(error) = sensor::capture::ring::send(canary::PERCH, &canary.frame) {
                    self.trouble = error.to_string();
                }
            }
        }
        let denials = point.read().map(|read| read.denials).unwrap_or_default();
        self.out.retain(|(canary, before)| canary.counted(&denials) <= *before);
        self.out.is_empty() || (at >= self.until && self.missed())
    }

    /// What is out still does not come back. Always `true`: the flight is over.
    fn missed(&mut self) -> bool {
        let trouble = match self.trouble.as_str() {
            "" => String::new(),
            trouble => format!(": {trouble}"),
        };
        for (canary, _) in self.out.drain(..) {
            let why = format!(
                "a packet from {} to {} tcp/{}, sent {} times, was not counted as denied{trouble}",
                canary.from, canary.to, canary.port, self.sent
            );
            self.flown.entry(canary.zone).or_insert(Flown::Missed(why));
        }
        true
    }

    fn events(mut self) -> Vec<Event> {
        let generation = self.generation;
        let event = |zone: String| {
            let flown = self.flown.remove(&zone).unwrap_or(Flown::Counted);
            Event::Canary { generation, zone, flown }
        };
        self.zones.into_iter().map(event).collect()
    }
}
