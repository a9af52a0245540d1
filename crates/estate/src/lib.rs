//! The estate: everything known, as a value.
//!
//! ```text
//!  command ─▶ decide(&Estate, who, now) ─▶ events ─▶ journal entry ─▶ apply ─▶ Estate
//!                     │
//!                     └─▶ Refusal: what, why, what to do
//! ```
//!
//! The crate is pure: same estate, same command, same time, same events, byte for byte. Nothing changes an estate but
//! [`Estate::apply`], and everything that is applied stands in the journal, so that a replay gives the same estate.
//!
//! Each area has its own commands, events and state, and knows nothing of the others; what concerns two of them is
//! decided here.
//!
//! * [`access`]: operators, their roles and tokens, what needs two people.
//! * [`sites`]: places, how they enrol, what they enforce.
//! * [`teams`]: who is answerable.
//! * [`devices`]: what there is, who says so, and what people decided about it.
//! * [`identities`]: which keys speak for each device, and how high that puts it.
//! * [`policies`]: which policy folder is meant to be in force.
//! * [`exceptions`]: paths that are open for a while, and who said so.
//! * [`releases`]: firmware that somebody answers for, and what a device that runs it may measure.
//! * [`views`]: ways to look at devices, under a name.
//! * [`leases`]: what each device is granted, until when, on which evidence.
//! * [`commitments`]: which key signs for which device, and how far each has committed to what it sent.
//!
//! [`side`] has the words for personal data, which is never here.
//!
//! It must never know a clock, a database, a socket, or how an id is made.

pub mod access;
pub mod commitments;
pub mod devices;
pub mod exceptions;
pub mod identities;
pub mod leases;
pub mod policies;
pub mod record;
mod refusal;
pub mod releases;
pub mod side;
pub mod sites;
mod snapshot;
pub mod teams;
pub mod views;

use journal::entry::Actor;
use model::{SiteId, Timestamp};
use serde::{Deserialize, Serialize};

pub use refusal::{Refusal, Sort};
pub use snapshot::SnapshotError;

use devices::Field;

/// What can be commanded, area by area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Operators.
    Access(access::Command),
    /// Sites.
    Site(sites::Command),
    /// Teams.
    Team(teams::Command),
    /// Devices.
    Device(devices::Command),
    /// Policy folders.
    Policy(policies::Command),
    /// Leases.
    Lease(leases::Command),
    /// Signature keys and commitments.
    Commitment(commitments::Command),
    /// Views.
    View(views::Command),
    /// Exceptions.
    Exception(exceptions::Command),
    /// Identities of devices.
    Identity(identities::Command),
    /// Releases.
    Release(releases::Command),
}

/// What came of it, area by area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Operators.
    Access(access::Event),
    /// Sites.
    Site(sites::Event),
    /// Teams.
    Team(teams::Event),
    /// Devices.
    Device(devices::Event),
    /// Policy folders.
    Policy(policies::Event),
    /// Leases.
    Lease(leases::Event),
    /// Signature keys and commitments.
    Commitment(commitments::Event),
    /// Views.
    View(views::Event),
    /// Exceptions.
    Exception(exceptions::Event),
    /// Identities of devices.
    Identity(identities::Event),
    /// Releases.
    Release(releases::Event),
}

/// Where in the journal events stand.
#[derive(Clone, Copy, Debug)]
pub struct At<'w> {
    /// Number of the entry.
    pub entry: u64,
    /// Its time.
    pub time: Timestamp,
    /// Who commanded it.
    pub who: &'w Actor,
}

/// Everything known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estate {
    /// Entries that were folded.
    size: u64,
    access: access::Access,
    sites: sites::Sites,
    teams: teams::Teams,
    devices: devices::Devices,
    policies: policies::Policies,
    leases: leases::Leases,
    /// Since version 3 of a snapshot; it stays behind what was there before.
    commitments: commitments::Commitments,
    views: views::Views,
    /// Since version 5 of a snapshot.
    #[serde(skip)]
    exceptions: exceptions::Exceptions,
    /// Since version 6 of a snapshot.
    #[serde(skip)]
    identities: identities::Identities,
    /// Since version 8 of a snapshot.
    #[serde(skip)]
    releases: releases::Releases,
}

impl Estate {
    /// Entries of the journal that this is the fold of.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Operators, roles, tokens.
    pub const fn access(&self) -> &access::Access {
        &self.access
    }

    /// Places.
    pub const fn sites(&self) -> &sites::Sites {
        &self.sites
    }

    /// Who is answerable.
    pub const fn teams(&self) -> &teams::Teams {
        &self.teams
    }

    /// What there is.
    pub const fn devices(&self) -> &devices::Devices {
        &self.devices
    }

    /// Policy folders.
    pub const fn policies(&self) -> &policies::Policies {
        &self.policies
    }

    /// What is granted.
    pub const fn leases(&self) -> &leases::Leases {
        &self.leases
    }

    /// Signature keys and commitments.
    pub const fn commitments(&self) -> &commitments::Commitments {
        &self.commitments
    }

    /// What comes of commitments whose signatures hold, and what became of each.
    pub fn commit(
        &self,
        batch: &[journal::commitment::Verified],
        now: Timestamp,
    ) -> Result<(Vec<Event>, Vec<commitments::Outcome>), Refusal> {
        let (events, outcomes) = self.commitments.commit(batch, &self.devices, now)?;
        Ok((events.into_iter().map(Event::Commitment).collect(), outcomes))
    }

    /// Ways to look at devices.
    pub const fn views(&self) -> &views::Views {
        &self.views
    }

    /// Paths that are open for a while.
    pub const fn exceptions(&self) -> &exceptions::Exceptions {
        &self.exceptions
    }

    /// Which keys speak for each device.
    pub const fn identities(&self) -> &identities::Identities {
        &self.identities
    }

    /// Firmware that somebody answers for.
    pub const fn releases(&self) -> &releases::Releases {
        &self.releases
    }

    /// Who speaks with a key at a time: nobody who is retired.
    pub fn speaks(&self, key: &side::Digest, now: Timestamp) -> Option<&devices::Device> {
        let device = self.devices.get(self.identities.speaks(key, now)?)?;
        (device.state != devices::State::Retired).then_some(device)
    }

    /// What comes of enrolments, and what became of each.
    pub fn enrol(
        &self,
        batch: &[identities::Enrolment],
        who: &Actor,
        now: Timestamp,
    ) -> Result<(Vec<Event>, Vec<identities::Outcome>), Refusal> {
        let (events, outcomes) = self.identities.enrol(batch, &self.devices, now)?;
        Ok((self.with_levels(events, who, now), outcomes))
    }

    /// What comes of a command, given by `who` at `now`. Nothing: all of it is so already.
    pub fn decide(
        &self,
        command: &Command,
        who: &Actor,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        fn all<T>(events: Vec<T>, of: fn(T) -> Event) -> Vec<Event> {
            events.into_iter().map(of).collect()
        }
        match command {
            Command::Access(command) => {
                self.access.decide(command, who, now).map(|e| all(e, Event::Access))
            }
            Command::Site(command) => self.sites.decide(command, now).map(|e| all(e, Event::Site)),
            Command::Team(command) => {
                self.team_is_free(command, now)?;
                self.teams.decide(command).map(|e| all(e, Event::Team))
            }
            Command::Device(command) => {
                self.names_exist(command)?;
                let mut events = self.devices.decide(command, now)?;
                let merged = events.iter().filter_map(|event| self.level_merged(event, now));
                let merged: Vec<_> = merged.collect();
                events.extend(merged);
                Ok(all(events, Event::Device))
            }
            Command::Policy(command) => {
                self.policies.decide(command).map(|e| all(e, Event::Policy))
            }
            Command::View(command) => self.views.decide(command).map(|e| all(e, Event::View)),
            Command::Exception(command) => {
                self.is_owned(command)?;
                self.exceptions.decide(command, now).map(|e| all(e, Event::Exception))
            }
            Command::Lease(command) => {
                self.leases.decide(command, &self.devices, now).map(|e| all(e, Event::Lease))
            }
            Command::Commitment(command) => self
                .commitments
                .decide(command, &self.devices, now)
                .map(|e| all(e, Event::Commitment)),
            Command::Identity(command) => {
                self.rests_on_what_counts(command)?;
                let events = self.identities.decide(command, &self.devices, now)?;
                Ok(self.with_levels(events, who, now))
            }
            Command::Release(command) => {
                let events = self.releases.decide(command)?;
                let levels = events.iter().flat_map(|event| self.levels_without(event, now));
                let levels: Vec<_> = levels.map(Event::Device).collect();
                Ok(events.into_iter().map(Event::Release).chain(levels).collect())
            }
        }
    }

    /// What comes of identities, and where devices stand because of it.
    fn with_levels(
        &self,
        events: Vec<identities::Event>,
        who: &Actor,
        now: Timestamp,
    ) -> Vec<Event> {
        let at = At { entry: self.size, time: now, who };
        let levels = self.identities.changed(&events, now, at).into_iter();
        let levels = levels.filter_map(|(id, standing)| {
            let device = self.devices.get(&id)?;
            let other = device.shown() != (standing.level, standing.limit);
            other.then(|| Event::Device(assured(&device.id, standing)))
        });
        let levels: Vec<Event> = levels.collect();
        events.into_iter().map(Event::Identity).chain(levels).collect()
    }

    /// Where a device stands that has another one's evidence too from now on.
    fn level_merged(&self, event: &devices::Event, now: Timestamp) -> Option<devices::Event> {
        let devices::Event::Merged { keep, other } = event else { return None };
        let identities = &self.identities;
        identities.get(keep).or_else(|| identities.get(other))?;
        Some(assured(keep, identities.standing_merged(keep, other, now)))
    }

    /// Where devices stand without a release that attested them. Of very many the first; the others are noticed like all that ends.
    fn levels_without(&self, event: &releases::Event, now: Timestamp) -> Vec<devices::Event> {
        let releases::Event::Withdrawn { id, carried: false, .. } = event else {
            return Vec::new();
        };
        let Some(known) = self.releases.get(id) else { return Vec::new() };
        let resting = self.identities.resting(known.entry, now);
        let levels = resting.take(identities::BATCH_MAX).filter_map(|id| {
            let standing = self.identities.standing_unattested(id, now);
            let device = self.devices.get(id)?;
            let other = device.shown() != (standing.level, standing.limit);
            other.then(|| assured(&device.id, standing))
        });
        levels.collect()
    }

    /// A device is attested by a release that is in the catalogue.
    fn rests_on_what_counts(&self, command: &identities::Command) -> Result<(), Refusal> {
        let identities::Command::Attest { device, release, .. } = command else {
            return Ok(());
        };
        let known = self.releases.get(release);
        match known.is_some_and(|known| known.withdrawn.is_none()) {
            true => Ok(()),
            false => {
                let (what, why) = (
                    format!("the attestation of {device}"),
                    "the release that it was compared with is not in the catalogue any more",
                );
                Err(Refusal::new(Sort::Conflict, "identity.attestation-release", what, why))
            }
        }
    }

    /// Folds the events of the next entry.
    pub fn apply(&mut self, events: &[Event], at: At<'_>) {
        self.size = at.entry.saturating_add(1);
        for event in events {
            match event {
                Event::Access(event) => self.access.apply(event, at.time),
                Event::Site(event) => self.sites.apply(event, at),
                Event::Team(event) => self.teams.apply(event, at.entry),
                Event::Device(event) => {
                    self.devices.apply(event, at);
                    if let devices::Event::Merged { keep, other } = event {
                        self.leases.forget(other);
                        self.identities.merge(keep, other, at);
                    }
                }
                Event::Policy(event) => self.policies.apply(event, at.entry, at.time),
                Event::Lease(event) => self.leases.apply(event, at.entry),
                Event::Commitment(event) => self.commitments.apply(event, at),
                Event::View(event) => self.views.apply(event, at.entry),
                Event::Exception(event) => self.exceptions.apply(event, at),
                Event::Identity(event) => {
                    self.identities.apply(event, at);
                    if let identities::Event::Attested { device, release: Some(id), .. } = event {
                        let entry = self.releases.get(id).map(|known| known.entry);
                        self.identities.rest_on(device, entry);
                    }
                }
                Event::Release(event) => {
                    self.releases.apply(event, at);
                    if let releases::Event::Withdrawn { id, replaced_by, carried, .. } = event
                        && let Some(known) = self.releases.get(id)
                    {
                        let next = replaced_by.as_ref().filter(|_| *carried);
                        let next = next.and_then(|id| self.releases.get(id));
                        self.identities.fall_with(known.entry, next.map(|next| next.entry), at);
                    }
                }
            }
        }
    }

    /// Whether the sites and teams that a command about devices names are there.
    fn names_exist(&self, command: &devices::Command) -> Result<(), Refusal> {
        match command {
            devices::Command::Report { site, .. } => self.sites.one(site).map(drop),
            devices::Command::Edit { edit, .. } => self.names_of(edit),
            devices::Command::EditEach { edits } => {
                edits.iter().try_for_each(|(_, edit)| self.names_of(edit))
            }
            _ => Ok(()),
        }
    }

    /// Whether this can be decided about a device of this estate.
    pub fn check(&self, edit: &devices::Edit) -> Result<(), Refusal> {
        edit.check()?;
        self.names_of(edit)
    }

    fn names_of(&self, edit: &devices::Edit) -> Result<(), Refusal> {
        if let Some(Some(owner)) = edit.set.get(&Field::Owner)
            && self.teams.get(owner).is_none()
        {
            return Err(teams::unknown(owner));
        }
        if let Some(Some(site)) = edit.set.get(&Field::Site)
            && let Ok(site) = SiteId::new(site)
        {
            self.sites.one(&site)?;
        }
        Ok(())
    }

    /// An exception has a team that is there, and a device that is.
    fn is_owned(&self, command: &exceptions::Command) -> Result<(), Refusal> {
        let exceptions::Command::Add { exception } = command else {
            return Ok(());
        };
        let exceptions::Exception { from, owner, .. } = exception;
        let unknown = || {
            let (what, why) = (format!("device {from}"), "there is none with this id");
            Refusal::new(Sort::Unknown, "device.unknown", what, why)
        };
        let device = self.devices.get(from).ok_or_else(unknown)?;
        if device.state == devices::State::Retired {
            let why = "it is retired, and opens nothing";
            let what = format!("device {from}");
            return Err(Refusal::new(Sort::Conflict, "device.retired", what, why));
        }
        match self.teams.get(owner) {
            Some(_) => Ok(()),
            None => Err(teams::unknown(owner)),
        }
    }

    /// A team that owns something stays.
    fn team_is_free(&self, command: &teams::Command, now: Timestamp) -> Result<(), Refusal> {
        let teams::Command::Remove { id } = command else {
            return Ok(());
        };
        if let Some(exception) = self.exceptions.open(now).find(|e| e.owner == *id) {
            let why = format!("it answers for exception {} until it ends", exception.id);
            return Err(Refusal::new(Sort::Conflict, "team.owns", format!("team {id}"), why)
                .help(format!("`ringfence exception end {}`", exception.id)));
        }
        let owned = self.devices.iter().filter(|d| d.value(Field::Owner) == Some(id)).count();
        match owned {
            0 => Ok(()),
            _ => {
                let why = format!("it owns {owned} devices");
                Err(Refusal::new(Sort::Conflict, "team.owns", format!("team {id}"), why).help(
                    format!("give them to another team first: `ringfence owner NEW -l owner={id}`"),
                ))
            }
        }
    }
}

fn assured(device: &model::DeviceId, standing: identities::Standing) -> devices::Event {
    let limit = standing.limit.word().to_owned();
    devices::Event::Assured { id: device.clone(), level: standing.level, limit }
}
