//! Opened pairs as policies in shadow: no wider than the pairs, as few as that allows.

use std::collections::{BTreeMap, BTreeSet};

use super::matching::World;
use super::{Line, Subject, Way};
use crate::folder::Folder;
use crate::language::{Actions, Binary, Condition, Effect, Entity, Expr, Policy, Scope, Var};
use crate::text::{line, slug};

/// File that the policies are meant for.
pub(super) fn file(subject: &Subject) -> String {
    format!("policies/mud-{}.cedar", slug(subject.name()))
}

/// Policies for one line's pairs (device index, service index).
pub(super) fn of_line(
    folder: &Folder,
    world: &World<'_>,
    subject: &Subject,
    of_subject: &BTreeSet<usize>,
    url: &str,
    at: &Line<'_>,
    pairs: &BTreeSet<(usize, usize)>,
) -> Vec<Policy> {
    let maker = Maker { folder, world, subject, of_subject, url, at };
    match at.way {
        Way::Out => maker.outgoing(pairs),
        Way::In => maker.incoming(pairs),
        Way::Answer => Vec::new(),
    }
}

struct Maker<'a> {
    folder: &'a Folder,
    world: &'a World<'a>,
    subject: &'a Subject,
    of_subject: &'a BTreeSet<usize>,
    url: &'a str,
    at: &'a Line<'a>,
}

impl Maker<'_> {
    /// One policy for the whole subject when all its devices get the same, else one per device.
    fn outgoing(&self, pairs: &BTreeSet<(usize, usize)>) -> Vec<Policy> {
        let mut of_device: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (device, service) in pairs {
            of_device.entry(*device).or_default().insert(*service);
        }
        let all: BTreeSet<usize> = pairs.iter().map(|(_, service)| *service).collect();
        let same = self.of_subject.iter().all(|device| {
            let own = of_device.get(device);
            all.iter().all(|service| {
                own.is_some_and(|own| own.contains(service)) || self.is_host(*device, *service)
            })
        });
        if same {
            return vec![self.policy("", self.principal(), Self::resource(self.services(&all)))];
        }
        let one = |(n, (device, services)): (usize, (&usize, &BTreeSet<usize>))| {
            let device = self.device(*device)?;
            let resource = Self::resource(self.services(services));
            Some(self.policy(&format!("-{n}"), (Scope::Eq(device), None), resource))
        };
        of_device.iter().enumerate().filter_map(one).collect()
    }

    /// One policy per set of peers.
    fn incoming(&self, pairs: &BTreeSet<(usize, usize)>) -> Vec<Policy> {
        let mut of_service: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (device, service) in pairs {
            of_service.entry(*service).or_default().insert(*device);
        }
        let mut of_peers: BTreeMap<BTreeSet<usize>, BTreeSet<usize>> = BTreeMap::new();
        for (service, peers) in of_service {
            of_peers.entry(peers).or_default().insert(service);
        }
        let one = |(n, (peers, services)): (usize, (&BTreeSet<usize>, &BTreeSet<usize>))| {
            let principal = self.peers(peers, services);
            let resource = Self::resource(self.services(services));
            self.policy(&format!("-{n}"), principal, resource)
        };
        of_peers.iter().enumerate().map(one).collect()
    }

    /// All devices of a site are called so; others one by one.
    fn peers(&self, peers: &BTreeSet<usize>, services: &BTreeSet<usize>) -> (Scope, Option<Expr>) {
        let devices = &self.folder.estate.devices;
        let sites: BTreeSet<&str> =
            peers.iter().filter_map(|p| devices.get(*p)).map(|d| self.world.site(d)).collect();
        if let (1, Some(site)) = (sites.len(), sites.first())
            && !site.is_empty()
        {
            let at_site = |(_, d): &(usize, &crate::folder::Device)| self.world.site(d) == *site;
            let whole =
                devices.iter().enumerate().filter(at_site).all(|(i, _)| {
                    peers.contains(&i) || services.iter().all(|s| self.is_host(i, *s))
                });
            if whole {
                return (Scope::In(entity("Site", site)), None);
            }
        }
        let named: Vec<Entity> = peers.iter().filter_map(|p| self.device(*p)).collect();
        match <[Entity; 1]>::try_from(named) {
            Ok([one]) => (Scope::Eq(one), None),
            Err(several) => {
                (Scope::Is("Device".to_owned()), Some(contains(several, Var::Principal)))
            }
        }
    }

    fn principal(&self) -> (Scope, Option<Expr>) {
        match self.subject {
            Subject::Kind(kind) => (Scope::In(entity("DeviceType", kind)), None),
            Subject::Device(id) => (Scope::Eq(entity("Device", id.as_str())), None),
        }
    }

    fn resource(services: Vec<Entity>) -> (Scope, Option<Expr>) {
        match <[Entity; 1]>::try_from(services) {
            Ok([one]) => (Scope::Eq(one), None),
            Err(several) => {
                (Scope::Is("Service".to_owned()), Some(contains(several, Var::Resource)))
            }
        }
    }

    fn policy(
        &self,
        suffix: &str,
        principal: (Scope, Option<Expr>),
        resource: (Scope, Option<Expr>),
    ) -> Policy {
        let conditions = [principal.1, resource.1];
        let place = format!("{} {}", self.at.list, self.at.ace.name);
        let annotations = [
            ("mode", "shadow".to_owned()),
            (
                "evidence",
                line(&format!("{} list {}, entry {}", self.url, self.at.list, self.at.ace.name)),
            ),
            ("reason", "the manufacturer describes it; nobody here has approved it yet".to_owned()),
        ];
        let name = format!("mud-{}-{}{suffix}", slug(self.subject.name()), slug(&place));
        Policy {
            id: name,
            effect: Effect::Permit,
            annotations: annotations.map(|(k, v)| (k.to_owned(), v)).into_iter().collect(),
            principal: principal.0,
            action: Actions::These(vec!["connect".to_owned()]),
            resource: resource.0,
            conditions: conditions
                .into_iter()
                .flatten()
                .map(|body| Condition { unless: false, body })
                .collect(),
            on_cedar: None,
            file: file(self.subject),
            line: 0,
        }
    }

    fn is_host(&self, device: usize, service: usize) -> bool {
        let estate = &self.folder.estate;
        let host = estate.services.get(service).and_then(|s| s.device.as_ref());
        host.is_some() && host == estate.devices.get(device).map(|d| &d.id)
    }

    fn device(&self, device: usize) -> Option<Entity> {
        Some(entity("Device", self.folder.estate.devices.get(device)?.id.as_str()))
    }

    fn services(&self, these: &BTreeSet<usize>) -> Vec<Entity> {
        let services = &self.folder.estate.services;
        let named = these.iter().filter_map(|s| services.get(*s));
        named.map(|s| entity("Service", s.id.as_str())).collect()
    }
}

fn entity(kind: &str, id: &str) -> Entity {
    Entity { kind: kind.to_owned(), id: id.to_owned() }
}

fn contains(these: Vec<Entity>, var: Var) -> Expr {
    let set = Expr::Set(these.into_iter().map(Expr::Entity).collect());
    Expr::Binary(Binary::Contains, Box::new(set), Box::new(Expr::Var(var)))
}
