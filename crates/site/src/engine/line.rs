//! The line to a controller, as the loop sees it: what is offered over it is judged and enforced, and how that stands is told.

use std::collections::BTreeMap;

use enforcer::runner::Runner;
use model::inspect::Device;
use model::line::{Happened, Sighting};

use super::Engine;
use crate::compile::compile;
use crate::folder::{self, Accepted, FolderError};
use crate::journal::JournalError;
use crate::life::{Entry, Order};
use crate::point::Point;
use crate::sense::{Carried, Seen};
use crate::shell::{now, settings_of};
use crate::uplink::reckon::Variant;
use crate::uplink::shell::{Handle, happened};
use crate::uplink::state::Offer;
use crate::uplink::{Line, Said, Standing, Told};

/// The line, and what was told over it last.
#[derive(Debug)]
pub(crate) struct Link {
    handle: Handle,
    stood: Option<Standing>,
    /// The line did not take everything.
    behind: bool,
}

impl Link {
    const fn new(handle: Handle) -> Self {
        Self { handle, stood: None, behind: false }
    }

    pub(super) fn line(&self) -> Line {
        self.handle.line()
    }
}

impl Engine {
    /// There is a line. It reads the journal by itself, and is told of findings from before it was there.
    pub(crate) fn link(&mut self, handle: Handle) {
        self.link = Some(Link::new(handle));
        for noted in self.notes.newest().into_iter().rev() {
            self.tell_finding(&noted.kind, &noted.subject, &noted.what);
        }
    }

    /// Takes what the line says.
    pub(crate) fn said(
        &mut self,
        said: Said,
        runner: &dyn Runner,
        point: &dyn Point,
        told: &mut dyn FnMut(&str),
    ) {
        match said {
            Said::Offer(offer) => {
                let generation = offer.generation;
                let refused = self.offered_by_line(offer, runner, point, told);
                self.tell(Told::Judged { generation, refused });
            }
            Said::Turned { to } => {
                let entry = turned(to);
                told(&entry.reason);
                // What has to be closed is closed all the same.
                if let Err(error) = self.write_down(&entry) {
                    self.note("journal-not-written", "line", &error.to_string(), told);
                }
            }
            Said::Find { kind, subject, what } => self.note(kind, &subject, &what, told),
            Said::Over { kind } => {
                self.notes.over(kind);
                told(&format!("over: {kind}"));
            }
            Said::Tell(line) => told(&line),
        }
    }

    /// Judges an offer whole, and enforces it; gives back why not.
    fn offered_by_line(
        &mut self,
        offer: Offer,
        runner: &dyn Runner,
        point: &dyn Point,
        told: &mut dyn FnMut(&str),
    ) -> Option<String> {
        let all = [offer.files].into_iter().chain(offer.others);
        let mut first = None;
        for files in all {
            let judged = folder::accept_bounded(files).and_then(|accepted| {
                self.fit(&accepted).map_err(FolderError::Compile)?;
                Ok(accepted)
            });
            match judged {
                Ok(accepted) => first = first.or(Some(accepted)),
                Err(error) => {
                    let what = format!("generation {} of the controller: ", offer.generation);
                    self.refused(&error, told);
                    return Some(what + &self.faults.join("; "));
                }
            }
        }
        let accepted = first?;
        if let Ok(settings) = settings_of(&accepted.files) {
            // A site on a line may never have read any before.
            self.utc_offset_min = settings.utc_offset_min;
            self.life.set_limits(settings.limits());
        }
        // The controller's word is a person's: what was rolled back here before comes again when it says so.
        let faults = self.offer(accepted, true, None, runner, point, told);
        (!faults.is_empty()).then(|| faults.join("; "))
    }

    /// Whether a folder could be enforced here.
    pub(super) fn fit(&self, accepted: &Accepted) -> Result<(), String> {
        let trial = Order {
            generation: 1,
            parent: None,
            content: accepted.content.clone(),
            all_shadow: false,
            modes: BTreeMap::new(),
            grants: Vec::new(),
            why: String::new(),
        };
        let compiled = compile(&accepted.folder, &trial, now(), self.utc_offset_min)?;
        let plan = enforcer::Plan::new(&compiled.ruleset, &self.options(now(), accepted));
        plan.map_err(|error| error.to_string())?;
        let settings = settings_of(&accepted.files).map_err(|error| error.to_string())?;
        settings.fit(&accepted.folder.estate.zones).map_err(|error| error.to_string())
    }

    /// Tells the line how far things have come, where that changed.
    pub(crate) fn tell_standing(&mut self, told: &mut dyn FnMut(&str)) {
        let Some(order) = self.life.order() else {
            return;
        };
        let (control, why) = self.life.rules();
        let standing = Standing {
            content: order.content.clone(),
            generation: order.generation,
            control,
            why: why.map(str::to_owned),
        };
        if self.link.as_ref().is_some_and(|link| link.stood.as_ref() != Some(&standing))
            && self.tell(Told::Stands(standing.clone()))
            && let Some(link) = &mut self.link
        {
            link.stood = Some(standing);
        }
        if let Some(link) = &mut self.link
            && std::mem::take(&mut link.behind)
        {
            let what = "more happens than the line to the controller takes up: some of it is told late, or not";
            self.note("line-behind", "line", what, told);
        }
    }

    fn tell(&mut self, told: Told) -> bool {
        let Some(link) = &mut self.link else {
            return true;
        };
        let taken = link.handle.tell(told);
        link.behind |= !taken;
        taken
    }

    /// Writes an entry into the journal, durably, and tells it.
    pub(super) fn write_down(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let at = now();
        self.journal.append(at, entry)?;
        let (happened, journal) = (happened(at, entry), Some(self.journal.last()));
        self.tell(Told::Happened { happened, journal });
        Ok(())
    }

    /// Something deserves attention for the first time.
    pub(super) fn tell_finding(&mut self, kind: &str, subject: &str, what: &str) {
        let happened = Happened {
            at: now(),
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            what: what.to_owned(),
        };
        self.tell(Told::Happened { happened, journal: None });
    }

    /// Who talked to whom: only a controller wants to know.
    pub(crate) fn carried(&mut self, carried: Carried) {
        if self.link.is_some() {
            self.tell(Told::Carried(carried.0));
        }
    }

    /// Who is there.
    pub(super) fn tell_seen(&mut self, seen: &Seen) {
        if self.link.is_some() {
            let devices = seen.devices.iter().map(|d| (d.id.to_string(), sighting(d)));
            self.tell(Told::Seen(devices.collect()));
        }
    }
}

/// For the journal: what is enforced changes because of time.
fn turned(to: Variant) -> Entry {
    let (event, reason) = match to {
        Variant::Held => ("leases-hold", "the controller was heard: leases hold again"),
        Variant::Expired => (
            "leases-ended",
            "leases ended, and the controller is out of reach: only what is critical to availability goes on",
        ),
        Variant::Stale => (
            "leases-stale",
            "the controller was out of reach for the whole staleness budget: nothing is granted any more",
        ),
    };
    Entry { reason: reason.to_owned(), ..Entry::new(event, "") }
}

fn sighting(device: &Device) -> Sighting {
    let keys = device.identifiers.iter().filter_map(|identifier| {
        let kind = serde_json::to_value(identifier.kind).ok()?;
        Some(format!("{}:{}", kind.as_str()?, identifier.value))
    });
    let attributes = [
        ("vendor", &device.vendor),
        ("model", &device.model),
        ("type", &device.kind),
        ("firmware", &device.firmware),
        ("hardware", &device.hardware),
        ("serial", &device.serial),
        ("os", &device.os),
        ("mud-url", &device.mud_url),
    ];
    let known = attributes.into_iter().filter_map(|(name, attribute)| {
        let attribute = attribute.as_ref()?;
        #[expect(clippy::cast_possible_truncation, reason = "between 0 and 1, for people")]
        let confidence = attribute.confidence as f32;
        Some((name.to_owned(), (attribute.value.clone(), confidence)))
    });
    let name = device.hostnames.first().map(|name| ("hostname".to_owned(), (name.clone(), 1.0)));
    Sighting {
        macs: device.macs.iter().map(ToString::to_string).collect(),
        ips: device.ips.iter().map(ToString::to_string).collect(),
        keys: keys.collect(),
        attributes: known.chain(name).collect(),
        seen_at: device.last_seen,
    }
}
