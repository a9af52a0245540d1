//! Who may do what: Cedar policies of our own (`policies/rbac`), asked once for each question and remembered.
//!
//! A question has few parts: the kind of principal, its roles, the action, and how the place lies to the principal's sites. Whatever
//! Cedar answers is kept in a table, so that asking costs nanoseconds; [`ask_cedar`] is the same without the table.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{LazyLock, OnceLock};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, Request, RestrictedExpression, Schema,
};
use model::SiteId;

use super::{Principal, Role, Sites, Via};
use crate::{Refusal, Sort};

/// Words of the rules.
pub const SCHEMA: &str = include_str!("../../../../policies/rbac/rbac.cedarschema");
/// The rules.
pub const POLICIES: &str = include_str!("../../../../policies/rbac/rbac.cedar");

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $word:literal),+ $(,)?) => {
        /// What can be done to the controller. Its least role is in `policies/rbac/rbac.cedar`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action { $($(#[$doc])* $name),+ }

        impl Action {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word for it: what it is done to, a dot, what is done.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }
        }
    };
}

actions!(
    /// Devices, their history, filters.
    DevicesRead = "devices.read",
    /// What people decide about devices.
    DevicesEdit = "devices.edit",
    /// Ways to look at devices that are kept under a name.
    ViewsRead = "views.read",
    /// Keeping such ways.
    ViewsEdit = "views.edit",
    /// Devices from a file.
    DevicesImport = "devices.import",
    /// Devices that are gone, or back.
    DevicesRetire = "devices.retire",
    /// Cutting a device off, and taking it back.
    DevicesQuarantine = "devices.quarantine",
    /// Keys with which devices sign what they send.
    KeysEdit = "keys.edit",
    /// Credentials of devices, and what they show.
    IdentitiesRead = "identities.read",
    /// Enrolment tokens, revocation, requests that wait, vouching.
    IdentitiesEdit = "identities.edit",
    /// Releases of firmware.
    ReleasesRead = "releases.read",
    /// Adding and withdrawing them.
    ReleasesEdit = "releases.edit",
    /// Bringing what devices signed.
    CommitmentsSend = "commitments.send",
    /// Sites and how they are.
    SitesRead = "sites.read",
    /// Sites: adding, enrolling, revoking.
    SitesEdit = "sites.edit",
    /// Teams.
    TeamsRead = "teams.read",
    /// Teams and what they answer for.
    TeamsEdit = "teams.edit",
    /// The policy folder.
    PoliciesRead = "policies.read",
    /// What a policy folder would change.
    PoliciesPlan = "policies.plan",
    /// Putting a policy folder in force.
    PoliciesApply = "policies.apply",
    /// Exceptions.
    ExceptionsRead = "exceptions.read",
    /// Making and ending exceptions.
    ExceptionsEdit = "exceptions.edit",
    /// Leases.
    LeasesRead = "leases.read",
    /// Ending a lease before its time.
    LeasesEdit = "leases.edit",
    /// Findings, decisions, and their replay.
    DecisionsRead = "decisions.read",
    /// Deciding.
    DecisionsMake = "decisions.make",
    /// Service levels.
    LevelsRead = "levels.read",
    /// Limits and timeouts of the estate.
    LimitsEdit = "limits.edit",
    /// Changes as they happen.
    EventsRead = "events.read",
    /// Entries of the journal, with all they say.
    JournalRead = "journal.read",
    /// What waits for a second person.
    ApprovalsRead = "approvals.read",
    /// Asking for a second person.
    ApprovalsAsk = "approvals.ask",
    /// Being the second person.
    ApprovalsDecide = "approvals.decide",
    /// A token for oneself.
    TokensMake = "tokens.make",
    /// Tokens of everybody.
    TokensRead = "tokens.read",
    /// Revoking tokens of others.
    TokensRevoke = "tokens.revoke",
    /// Operators, with their personal data.
    OperatorsRead = "operators.read",
    /// Operators: adding, granting, disabling, erasing.
    OperatorsEdit = "operators.edit",
    /// Setting a password of somebody else.
    PasswordsReset = "passwords.reset",
    /// A copy of everything.
    EstateBackup = "estate.backup",
);

impl Action {
    /// The least role that may do it everywhere.
    pub fn least(self) -> Option<Role> {
        Role::ALL.into_iter().find(|role| {
            let roles = mask(std::iter::once(*role));
            [Via::Session, Via::Host].into_iter().any(|via| remembered(via, roles, self, Lie::Free))
        })
    }
}

/// Where something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// To the estate as a whole, or to what belongs to no site.
    Estate,
    /// At this site.
    At(&'a SiteId),
    /// Wherever the principal may: the caller leaves out what is not of its sites ([`Sites::admits`]).
    Somewhere,
}

/// How a place lies to the sites of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// The principal is for all sites, or the caller filters.
    Free,
    /// At one of its sites.
    Inside,
    /// Anywhere else.
    Outside,
}

/// Whether somebody may do something somewhere.
pub fn may(principal: &Principal, action: Action, place: Place<'_>) -> Result<(), Refusal> {
    let what = || format!("{} for {} {}", action.word(), principal.actor.kind, principal.actor.id);
    if principal.password_temporary {
        let why = "somebody else has set your password";
        return Err(Refusal::new(Sort::Forbidden, "access.password-temporary", what(), why)
            .help("change it, and log in again"));
    }
    let lie = match (&principal.grant.sites, place) {
        (Sites::All, _) => Lie::Free,
        // Who is for no site at all does nothing, whatever is filtered.
        (Sites::Only(only), _) if only.is_empty() => Lie::Outside,
        (Sites::Only(_), Place::Somewhere) => Lie::Free,
        (sites, Place::At(site)) if sites.admits(site) => Lie::Inside,
        (Sites::Only(_), Place::At(_) | Place::Estate) => Lie::Outside,
    };
    let roles = mask(principal.grant.roles.iter().copied());
    if remembered(principal.via, roles, action, lie) {
        return Ok(());
    }
    if lie == Lie::Outside && remembered(principal.via, roles, action, Lie::Free) {
        let why = match place {
            Place::At(site) => format!("you are not for site {site}"),
            Place::Estate | Place::Somewhere => {
                "you are for some sites, and this is about all".to_owned()
            }
        };
        return Err(Refusal::new(Sort::Forbidden, "access.site", what(), why));
    }
    let least = action.least().map_or("none", Role::word);
    let has_role = Role::ALL
        .into_iter()
        .any(|role| principal.grant.covers(role) && Some(role) == action.least());
    if has_role {
        let why = "it takes a person who is logged in";
        return Err(Refusal::new(Sort::Forbidden, "access.person", what(), why));
    }
    let why = format!("it needs the role {least}");
    Err(Refusal::new(Sort::Forbidden, "access.role", what(), why).help("ask an admin for the role"))
}

/// What Cedar says to a question, without the table.
pub fn ask_cedar(principal: &Principal, action: Action, place: Place<'_>) -> bool {
    let grant = &principal.grant;
    let own = match &grant.sites {
        Sites::All => Vec::new(),
        Sites::Only(sites) => sites.iter().map(SiteId::as_str).collect(),
    };
    let ask = Ask {
        via: principal.via,
        roles: mask(grant.roles.iter().copied()),
        everywhere: grant.sites == Sites::All,
        sites: &own,
        action,
        at: match place {
            Place::At(site) => Some(site.as_str()),
            Place::Estate | Place::Somewhere => None,
        },
        filtered: place == Place::Somewhere && !own.is_empty(),
    };
    ENGINE.as_ref().is_ok_and(|engine| engine.ask(&ask).unwrap_or(false))
}

/// Whether the rules can be read and are valid; the tests look at the reason.
pub fn check() -> Result<(), String> {
    policy::cedar::validate(SCHEMA, &[("policies/rbac/rbac.cedar", POLICIES)])
        .map_err(|faults| faults.first().map_or_else(String::new, ToString::to_string))?;
    ENGINE.as_ref().map(drop).map_err(Clone::clone)
}

const ROLES: usize = 1 << Role::ALL.len();
const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;

/// The bits of roles.
fn mask(roles: impl Iterator<Item = Role>) -> usize {
    roles.fold(0, |mask, role| mask | 1 << role as usize)
}

/// Cedar's answer, asked for once.
fn remembered(via: Via, roles: usize, action: Action, lie: Lie) -> bool {
    static TABLE: OnceLock<Vec<AtomicU8>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let size = 3 * ROLES * Action::ALL.len() * 3;
        std::iter::repeat_with(|| AtomicU8::new(UNKNOWN)).take(size).collect()
    });
    let index = ((via as usize * ROLES + roles) * Action::ALL.len() + action as usize) * 3;
    let Some(cell) = table.get(index + lie as usize) else { return false };
    match cell.load(Ordering::Relaxed) {
        UNKNOWN => {
            let ask = Ask {
                via,
                roles,
                everywhere: lie == Lie::Free,
                sites: &["here"],
                action,
                at: match lie {
                    Lie::Free => None,
                    Lie::Inside => Some("here"),
                    Lie::Outside => Some("elsewhere"),
                },
                filtered: false,
            };
            // What cannot be asked is not allowed.
            let yes = ENGINE.as_ref().is_ok_and(|engine| engine.ask(&ask).unwrap_or(false));
            cell.store(if yes { YES } else { NO }, Ordering::Relaxed);
            yes
        }
        answer => answer == YES,
    }
}

/// A question, in the words of the schema.
struct Ask<'a> {
    via: Via,
    roles: usize,
    everywhere: bool,
    sites: &'a [&'a str],
    action: Action,
    at: Option<&'a str>,
    filtered: bool,
}

struct Engine {
    schema: Schema,
    policies: PolicySet,
    roles: Vec<Entity>,
}

static ENGINE: LazyLock<Result<Engine, String>> = LazyLock::new(Engine::new);

impl Engine {
    fn new() -> Result<Self, String> {
        let (schema, _warnings) =
            Schema::from_cedarschema_str(SCHEMA).map_err(|e| e.to_string())?;
        let policies = POLICIES.parse().map_err(|e: cedar_policy::ParseErrors| e.to_string())?;
        let mut roles = Vec::new();
        for role in Role::ALL {
            let below = role.below().iter().map(|role| uid("Role", role.word()));
            let below = below.collect::<Result<HashSet<_>, _>>()?;
            roles.push(Entity::new_no_attrs(uid("Role", role.word())?, below));
        }
        Ok(Self { schema, policies, roles })
    }

    fn ask(&self, ask: &Ask<'_>) -> Result<bool, String> {
        let principal = match ask.via {
            Via::Session => uid("Person", "asks")?,
            Via::Token => uid("Token", "asks")?,
            Via::Host => uid("Host", "asks")?,
        };
        let has = |role: &Role| ask.roles & mask(std::iter::once(*role)) != 0;
        let roles = Role::ALL.iter().filter(|role| has(role)).map(|role| uid("Role", role.word()));
        let site = |id: &str| uid("Site", id).map(RestrictedExpression::new_entity_uid);
        let sites = ask.sites.iter().map(|id| site(id)).collect::<Result<Vec<_>, _>>()?;
        let attributes = HashMap::from([
            ("everywhere".to_owned(), RestrictedExpression::new_bool(ask.everywhere)),
            ("sites".to_owned(), RestrictedExpression::new_set(sites)),
        ]);
        let thing = uid("Thing", "it")?;
        let at = ask.at.map(site).transpose()?.map(|site| ("site".to_owned(), site));
        let wrong = |e: &dyn std::fmt::Display| e.to_string();
        let mut entities = self.roles.clone();
        let roles = roles.collect::<Result<HashSet<_>, _>>()?;
        entities.push(Entity::new(principal.clone(), attributes, roles).map_err(|e| wrong(&e))?);
        let at = at.into_iter().collect();
        entities.push(Entity::new(thing.clone(), at, HashSet::new()).map_err(|e| wrong(&e))?);
        let entities =
            Entities::from_entities(entities, Some(&self.schema)).map_err(|e| wrong(&e))?;
        let filtered = RestrictedExpression::new_bool(ask.filtered);
        let context = Context::from_pairs([("filtered".to_owned(), filtered)]);
        let context = context.map_err(|e| wrong(&e))?;
        let action = uid("Action", ask.action.word())?;
        let request = Request::new(principal, action, thing, context, Some(&self.schema))
            .map_err(|e| wrong(&e))?;
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        // A rule that fails to evaluate is left out by Cedar; if it was a forbid, that would open something.
        let failed = response.diagnostics().errors().next().map(ToString::to_string);
        failed.map_or(Ok(response.decision() == Decision::Allow), Err)
    }
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind: EntityTypeName =
        kind.parse().map_err(|e: cedar_policy::ParseErrors| e.to_string())?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}
