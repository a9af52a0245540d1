//! How a site stands, put together from everything it knows.

use model::ruleset::Mode;

use super::Engine;
use crate::life::Control;
use crate::point::Point;
use crate::prepare;
use crate::resolve::Resolver;
use crate::sense;
use crate::shell::now;
use crate::status::{ControlState, Devices, SCHEMA, Status, ZoneState};

impl Engine {
    /// How things stand.
    pub(crate) fn status(&self, point: &dyn Point) -> Status {
        let at = now();
        let order = self.life.order();
        let (rules, why) = self.life.rules();
        let why_not = |why: Option<&str>| why.unwrap_or_default().to_owned();
        let contained = prepare::method(&self.contained());
        let mut controls = vec![
            ControlState {
                control: "containment".to_owned(),
                state: if contained.is_some() { Control::Verified } else { Control::Intended },
                why: match contained {
                    Some(_) => String::new(),
                    None => {
                        "neighbours reach each other past the fence; run `ringfence site prepare`"
                            .to_owned()
                    }
                },
            },
            ControlState { control: "rules".to_owned(), state: rules, why: why_not(why) },
            ControlState {
                control: "sensor".to_owned(),
                state: match (self.seen.over, self.seen.packets) {
                    (true, _) => Control::Intended,
                    (false, 0) => Control::Applied,
                    _ => Control::Verified,
                },
                why: self.seen.faults.last().cloned().unwrap_or_default(),
            },
        ];
        controls.extend(self.resolver.as_ref().map(|resolver| {
            let (state, why) = resolver.standing();
            ControlState { control: "resolver".to_owned(), state, why }
        }));
        let mut zones = Vec::new();
        let all = self.compiled.iter().flat_map(|compiled| &compiled.zones);
        for (zone, _) in all {
            let mode = self.life.mode(zone);
            let populated = |z: &&String| **z == *zone;
            let devices = self.accepted.iter().flat_map(|a| &a.folder.estate.devices);
            let devices = devices.map(|d| &d.zone).filter(populated).count();
            if mode == Mode::Shadow && devices > 0 {
                let (state, why) = self.life.shadow(zone);
                controls.push(ControlState {
                    control: format!("shadow {zone}"),
                    state,
                    why: why_not(why),
                });
            }
            let watched = self.life.durable().watched.get(zone);
            let decided = match self.life.durable().modes.get(zone) {
                _ if order.is_some_and(|o| o.all_shadow) => {
                    if self.all_shadow {
                        "--shadow".to_owned()
                    } else {
                        "rolled back".to_owned()
                    }
                }
                Some(o) => o.why.clone(),
                None => "folder".to_owned(),
            };
            zones.push(ZoneState {
                zone: zone.clone(),
                mode,
                decided,
                devices,
                explained: watched.map_or(0, |w| w.explained),
                would_deny: watched.map_or(0, |w| w.denied),
                gate: (mode == Mode::Shadow).then(|| self.life.gate(zone, at)),
            });
        }
        let paths = prepare::paths(&self.contained()).into_iter().filter(|path| !path.enforced);
        let paths = paths.map(|path| format!("{}: {}", path.path, path.how));
        let limits = self.compiled.iter().flat_map(|compiled| compiled.limits.clone());
        let known = self.known();
        let seen = &self.seen;
        let is_known = |d: &&model::inspect::Device| d.macs.iter().any(|mac| known.contains(mac));
        Status {
            schema: SCHEMA.to_owned(),
            site: self.site.to_string(),
            interface: self.survey.interface.clone(),
            at,
            started: self.started,
            generation: order.map_or(0, |order| order.generation),
            in_kernel: point.read().ok().and_then(|read| read.generation),
            content: order.map(|order| order.content.clone()),
            why: order.map_or(String::new(), |order| order.why.clone()),
            controls,
            zones,
            pending: self.life.durable().pending.clone(),
            break_glass: self.life.durable().grants.clone(),
            faults: self.faults.clone(),
            not_enforceable: paths.chain(limits).chain(self.unsupported.clone()).collect(),
            devices: Devices {
                seen: seen.devices.len(),
                known: seen.devices.iter().filter(is_known).count(),
                unknown: sense::unknown(seen, &known, &crate::shell::own(&self.survey)),
                packets: seen.packets,
                dropped: seen.dropped,
            },
            questions: self.resolver.as_ref().map(Resolver::questions),
            line: self.link.as_ref().map(super::Link::line),
            findings: self.notes.newest(),
        }
    }
}
