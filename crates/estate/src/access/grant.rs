//! What somebody may do, and where.

use std::collections::BTreeSet;

use journal::entry::{Actor, Name};
use model::SiteId;
use serde::{Deserialize, Serialize};

use super::{OperatorId, TokenId};

/// What an operator may do. Roles build on each other: see [`Role::below`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Devices, teams, decisions.
    Operator,
    /// Policy and exceptions.
    PolicyAdmin,
    /// Leases, quarantine, sites, limits.
    SecurityAdmin,
    /// Operators, tokens, backups.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Viewer, Self::Operator, Self::PolicyAdmin, Self::SecurityAdmin, Self::Admin];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::PolicyAdmin => "policy-admin",
            Self::SecurityAdmin => "security-admin",
            Self::Admin => "admin",
        }
    }

    /// The roles it directly builds on. Neither of policy and security administration contains the other.
    pub const fn below(self) -> &'static [Self] {
        match self {
            Self::Viewer => &[],
            Self::Operator => &[Self::Viewer],
            Self::PolicyAdmin | Self::SecurityAdmin => &[Self::Operator],
            Self::Admin => &[Self::PolicyAdmin, Self::SecurityAdmin],
        }
    }

    /// Whether who has this role may do all that the other may.
    pub fn covers(self, other: Self) -> bool {
        self == other || self.below().iter().any(|role| role.covers(other))
    }
}

/// Where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sites {
    /// Everywhere, and what belongs to no site.
    All,
    /// At these sites only.
    Only(BTreeSet<SiteId>),
}

impl Sites {
    /// Whether a site is among them.
    pub fn admits(&self, site: &SiteId) -> bool {
        match self {
            Self::All => true,
            Self::Only(sites) => sites.contains(site),
        }
    }

    /// Whether all of the others are among them.
    pub fn include(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(sites), Self::Only(others)) => others.is_subset(sites),
        }
    }

    /// Those that are in both.
    #[must_use]
    pub fn both(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, sites) | (sites, Self::All) => sites.clone(),
            (Self::Only(a), Self::Only(b)) => Self::Only(a.intersection(b).cloned().collect()),
        }
    }
}

/// Roles, and where they hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What.
    pub roles: BTreeSet<Role>,
    /// Where.
    pub sites: Sites,
}

impl Grant {
    /// Everything, everywhere.
    pub fn admin() -> Self {
        Self { roles: BTreeSet::from([Role::Admin]), sites: Sites::All }
    }

    /// Whether it is no less than [`Grant::admin`].
    pub fn is_admin(&self) -> bool {
        self.covers(Role::Admin) && self.sites == Sites::All
    }

    /// Whether one of the roles covers this one.
    pub fn covers(&self, role: Role) -> bool {
        self.roles.iter().any(|own| own.covers(role))
    }

    /// What is left of it for somebody who has `bound`.
    #[must_use]
    pub fn within(&self, bound: &Self) -> Self {
        let mut roles = BTreeSet::new();
        for role in Role::ALL {
            if self.covers(role) && bound.covers(role) {
                roles.insert(role);
            }
        }
        Self { roles, sites: self.sites.both(&bound.sites) }
    }
}

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// A person, with a session.
    Session,
    /// An API token.
    Token,
    /// A program that may read the controller's own files.
    Host,
}

/// Somebody who may act now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// As entries name it.
    pub actor: Actor,
    /// The operator who is answerable; `None` for the host.
    pub operator: Option<OperatorId>,
    /// What, and where: of a token no more than what its operator has now.
    pub grant: Grant,
    /// How it is known.
    pub via: Via,
    /// Somebody else has set the password: nothing is allowed but to change it.
    pub password_temporary: bool,
}

impl Principal {
    /// The kind of [`Actor`] of an operator.
    pub const PERSON: &'static str = "person";
    /// The kind of [`Actor`] of an API token.
    pub const TOKEN: &'static str = "token";
    /// The kind of [`Actor`] of a program that may read the controller's own files.
    pub const HOST: &'static str = "host";

    /// An operator as an actor.
    pub fn person(operator: &OperatorId) -> Actor {
        actor(Self::PERSON, operator.as_str())
    }

    /// A token as an actor.
    pub fn token(token: &TokenId) -> Actor {
        actor(Self::TOKEN, token.as_str())
    }

    /// The controller's machine as an actor; `id` says which program: `setup`, `backup`.
    pub fn host(id: &str) -> Actor {
        actor(Self::HOST, id)
    }
}

#[expect(clippy::expect_used, reason = "the three kinds above are names")]
fn actor(kind: &str, id: &str) -> Actor {
    Actor { kind: Name::new(kind).expect("a name"), id: id.to_owned() }
}
