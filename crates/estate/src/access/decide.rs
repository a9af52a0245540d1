//! Which commands about access are carried out, and which are refused and why.

use journal::entry::Actor;
use model::Timestamp;

use super::rbac::{self, Action, Place};
use super::{
    Access, Approval, ApprovalId, ApprovalState, By, COMMAND_BYTES_MAX, Command, Event, Grant,
    LABEL_CHARS_MAX, OPERATORS_MAX, Operator, OperatorId, PENDING_MAX, PENDING_OF_OPERATOR_MAX,
    Principal, Role, SITES_MAX, Sites, TOKEN_LIFE_S_MAX, TOKENS_MAX, TOKENS_OF_OPERATOR_MAX,
    TokenId, USED_EVERY_S, Via, WEEK_S, WHY_CHARS_MAX, later, micros, over,
};
use crate::side::{Commitment, Digest};
use crate::{Refusal, Sort};

type Decided = Result<Vec<Event>, Refusal>;

impl Access {
    /// What comes of a command; nothing changes before [`Access::apply`]. A command that changes nothing has no events.
    pub fn decide(&self, command: &Command, who: &Actor, now: Timestamp) -> Decided {
        let now = micros(now);
        match command {
            Command::OfferSetup { secret, expires_at } => {
                self.offer_setup(secret, *expires_at, who, now)
            }
            Command::SetUp { secret, operator, profile, password } => {
                self.set_up(secret, operator, profile, password, now)
            }
            Command::AddOperator { operator, profile, password, grant } => {
                self.may(who, Action::OperatorsEdit, now)?;
                self.add_operator(operator, profile, password.as_ref(), grant)
            }
            Command::ChangeGrant { operator, grant } => {
                self.may(who, Action::OperatorsEdit, now)?;
                self.change_grant(operator, grant)
            }
            Command::ChangeProfile { operator, profile } => {
                self.change_profile(operator, profile, who, now)
            }
            Command::ChangePassword { operator, password } => {
                self.change_password(operator, password, who, now)
            }
            Command::DisableOperator { operator } => {
                self.may(who, Action::OperatorsEdit, now)?;
                self.disable(operator)
            }
            Command::EnableOperator { operator } => {
                self.may(who, Action::OperatorsEdit, now)?;
                let found = self.living(operator)?;
                let event = Event::OperatorEnabled { operator: operator.clone() };
                Ok(if found.enabled { Vec::new() } else { vec![event] })
            }
            Command::EraseOperator { operator } => {
                self.may(who, Action::OperatorsEdit, now)?;
                self.erase(operator)
            }
            Command::MakeToken { token, secret, label, grant, expires_at } => {
                self.make_token(token, secret, label, grant, *expires_at, who, now)
            }
            Command::RevokeToken { token } => self.revoke_token(token, who, now),
            Command::NoteUse { token } => self.note_use(token, who, now),
            Command::Ask { approval, command, why, needs, sites, expires_at } => {
                let principal = self.principal(who, now)?;
                rbac::may(&principal, Action::ApprovalsAsk, Place::Somewhere)?;
                let asked = Asked { command, why, needs: *needs, sites, expires_at: *expires_at };
                self.ask(approval, &asked, &principal, now)
            }
            Command::Approve { approval } => self.approve(approval, who, now),
            Command::Reject { approval } => self.reject(approval, who, now),
            Command::Conclude { approval } => self.conclude(approval, who, now),
        }
    }

    /// Whether an actor may do something to the whole estate.
    fn may(&self, who: &Actor, action: Action, now: Timestamp) -> Result<Principal, Refusal> {
        let principal = self.principal(who, now)?;
        rbac::may(&principal, action, Place::Estate)?;
        Ok(principal)
    }

    fn offer_setup(
        &self,
        secret: &Digest,
        expires_at: Timestamp,
        who: &Actor,
        now: Timestamp,
    ) -> Decided {
        let what = "the offer to make the first operator";
        if self.principal(who, now)?.via != Via::Host {
            let why = "only the controller's own machine makes it";
            return Err(Refusal::new(Sort::Forbidden, "setup.not-host", what, why));
        }
        if !self.operators.is_empty() {
            return Err(set_up_before(what));
        }
        let expires_at = until(what, "setup.expiry", expires_at, now, WEEK_S)?;
        Ok(vec![Event::SetupOffered { secret: *secret, expires_at }])
    }

    fn set_up(
        &self,
        secret: &Digest,
        operator: &OperatorId,
        profile: &Commitment,
        password: &Commitment,
        now: Timestamp,
    ) -> Decided {
        let what = "the first operator";
        if !self.operators.is_empty() {
            return Err(set_up_before(what));
        }
        // Both are digests of random bits: how long a comparison takes tells nothing that helps.
        if self.setup(now).is_none_or(|setup| setup.secret != *secret) {
            let why = "the set-up token is wrong or expired";
            return Err(Refusal::new(Sort::Forbidden, "setup.token", what, why)
                .help("make another one on the controller's machine"));
        }
        self.new_record(profile)?;
        self.new_record(password)?;
        different(profile, Some(password))?;
        Ok(vec![Event::SetupUsed {
            operator: operator.clone(),
            profile: profile.clone(),
            password: password.clone(),
        }])
    }

    fn add_operator(
        &self,
        operator: &OperatorId,
        profile: &Commitment,
        password: Option<&Commitment>,
        grant: &Grant,
    ) -> Decided {
        if self.operators.contains_key(operator) {
            let what = format!("operator {operator}");
            return Err(Refusal::new(Sort::Conflict, "operator.exists", what, "it is there"));
        }
        if self.operators.len() >= OPERATORS_MAX {
            let why = format!("there are {OPERATORS_MAX}");
            return Err(Refusal::new(Sort::Full, "operator.full", "one more operator", why));
        }
        check_grant(grant)?;
        self.new_record(profile)?;
        if let Some(password) = password {
            self.new_record(password)?;
        }
        different(profile, password)?;
        Ok(vec![Event::OperatorAdded {
            operator: operator.clone(),
            profile: profile.clone(),
            password: password.cloned(),
            grant: grant.clone(),
        }])
    }

    fn change_grant(&self, id: &OperatorId, grant: &Grant) -> Decided {
        let operator = self.living(id)?;
        check_grant(grant)?;
        if operator.grant == *grant {
            return Ok(Vec::new());
        }
        if !grant.is_admin() {
            self.not_last(id, operator)?;
        }
        Ok(vec![Event::GrantChanged { operator: id.clone(), grant: grant.clone() }])
    }

    fn change_profile(
        &self,
        id: &OperatorId,
        profile: &Commitment,
        who: &Actor,
        now: Timestamp,
    ) -> Decided {
        let principal = self.principal(who, now)?;
        if !is_self(&principal, id) || principal.password_temporary {
            rbac::may(&principal, Action::OperatorsEdit, Place::Estate)?;
        }
        if self.living(id)?.profile == *profile {
            return Ok(Vec::new());
        }
        self.new_record(profile)?;
        Ok(vec![Event::ProfileChanged { operator: id.clone(), profile: profile.clone() }])
    }

    fn change_password(
        &self,
        id: &OperatorId,
        password: &Commitment,
        who: &Actor,
        now: Timestamp,
    ) -> Decided {
        let principal = self.principal(who, now)?;
        let own = is_self(&principal, id);
        if !own {
            rbac::may(&principal, Action::PasswordsReset, Place::Estate)?;
        }
        self.living(id)?;
        self.new_record(password)?;
        Ok(vec![Event::PasswordChanged {
            operator: id.clone(),
            password: password.clone(),
            temporary: !own,
        }])
    }

    fn disable(&self, id: &OperatorId) -> Decided {
        let operator = self.known(id)?;
        if !operator.enabled {
            return Ok(Vec::new());
        }
        self.not_last(id, operator)?;
        Ok(vec![Event::OperatorDisabled { operator: id.clone() }])
    }

    fn erase(&self, id: &OperatorId) -> Decided {
        let operator = self.known(id)?;
        if operator.erased_at.is_some() {
            return Ok(Vec::new());
        }
        if operator.enabled {
            let what = format!("erasing operator {id}");
            let why = "it is enabled, and could not log in any more";
            return Err(Refusal::new(Sort::Conflict, "operator.enabled", what, why)
                .help("disable it first"));
        }
        Ok(vec![Event::OperatorErased { operator: id.clone() }])
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one command")]
    fn make_token(
        &self,
        id: &TokenId,
        secret: &Digest,
        label: &str,
        grant: &Grant,
        expires_at: Timestamp,
        who: &Actor,
        now: Timestamp,
    ) -> Decided {
        let principal = self.principal(who, now)?;
        rbac::may(&principal, Action::TokensMake, Place::Somewhere)?;
        let what = format!("token {id}");
        let operator = answerable(&principal, &what)?;
        if self.tokens.contains_key(id) || self.secrets.contains_key(secret) {
            return Err(Refusal::new(Sort::Conflict, "token.exists", what, "it is there"));
        }
        check_text(&what, "the label", label, LABEL_CHARS_MAX, false)?;
        check_grant(grant)?;
        let missing = grant.roles.iter().find(|role| !principal.grant.covers(**role));
        if let Some(role) = missing {
            let why = format!("it would have the role {}, and you have not", role.word());
            return Err(Refusal::new(Sort::Forbidden, "token.above-maker", what, why));
        }
        if !principal.grant.sites.include(&grant.sites) {
            let why = "it would be for sites that you are not for";
            return Err(Refusal::new(Sort::Forbidden, "token.above-maker", what, why));
        }
        let expires_at = until(&what, "token.expiry", expires_at, now, TOKEN_LIFE_S_MAX)?;
        let own = self.tokens.values().filter(|t| t.operator == operator && t.is_live(now));
        let shown = self.tokens.values().filter(|t| !over(t.over_at(), now));
        if own.count() >= TOKENS_OF_OPERATOR_MAX || shown.count() >= TOKENS_MAX {
            let why = format!(
                "there are {TOKENS_OF_OPERATOR_MAX} of one operator, or {TOKENS_MAX} of all"
            );
            return Err(Refusal::new(Sort::Full, "token.full", what, why).help("revoke some"));
        }
        Ok(vec![Event::TokenMade {
            token: id.clone(),
            operator,
            secret: *secret,
            label: label.to_owned(),
            grant: grant.clone(),
            expires_at,
        }])
    }

    fn revoke_token(&self, id: &TokenId, who: &Actor, now: Timestamp) -> Decided {
        let principal = self.principal(who, now)?;
        // Somebody who may not see a token is not told whether it is there.
        let own = |t: &&super::Token| principal.operator.as_ref() == Some(&t.operator);
        let token = match self.tokens.get(id).filter(own) {
            Some(token) => token,
            None => {
                rbac::may(&principal, Action::TokensRevoke, Place::Estate)?;
                self.token(id)?
            }
        };
        let event = Event::TokenRevoked { token: id.clone() };
        Ok(if token.is_live(now) { vec![event] } else { Vec::new() })
    }

    fn note_use(&self, id: &TokenId, who: &Actor, now: Timestamp) -> Decided {
        let what = || format!("noting a use of token {id}");
        if *who != Principal::token(id) {
            let why = "only the token itself is used";
            return Err(Refusal::new(Sort::Forbidden, "token.not-own", what(), why));
        }
        self.principal(who, now)?;
        let due = |used: Timestamp| now >= later(used, USED_EVERY_S);
        let event = Event::TokenUsed { token: id.clone() };
        Ok(if self.token(id)?.used_at.is_none_or(due) { vec![event] } else { Vec::new() })
    }

    fn ask(
        &self,
        id: &ApprovalId,
        asked: &Asked<'_>,
        principal: &Principal,
        now: Timestamp,
    ) -> Decided {
        let what = format!("approval {id}");
        let operator = answerable(principal, &what)?;
        if self.approvals.contains_key(id) {
            return Err(Refusal::new(Sort::Conflict, "approval.exists", what, "it is there"));
        }
        check_text(&what, "the reason", asked.why, WHY_CHARS_MAX, true)?;
        check_sites(asked.sites)?;
        let json = serde_json::from_str::<serde::de::IgnoredAny>(asked.command);
        if asked.command.len() > COMMAND_BYTES_MAX || json.is_err() {
            let why = format!("its command is no JSON of up to {COMMAND_BYTES_MAX} bytes");
            return Err(Refusal::new(Sort::Invalid, "approval.command", what, why));
        }
        let expires_at = until(&what, "approval.expiry", asked.expires_at, now, WEEK_S)?;
        let pending = || {
            let pending = |a: &&Approval| a.state(now) == ApprovalState::Pending;
            self.approvals.values().filter(pending)
        };
        let own = pending().filter(|a| a.operator == operator).count();
        if own >= PENDING_OF_OPERATOR_MAX || pending().count() >= PENDING_MAX {
            let why = format!(
                "{PENDING_OF_OPERATOR_MAX} of one operator wait for a second person, or {PENDING_MAX} of all"
            );
            return Err(Refusal::new(Sort::Full, "approval.full", what, why)
                .help("have some answered, or take some back"));
        }
        Ok(vec![Event::Asked {
            approval: id.clone(),
            command: asked.command.to_owned(),
            digest: Digest::of(asked.command.as_bytes()),
            by: By::from(&principal.actor),
            operator,
            why: asked.why.to_owned(),
            needs: asked.needs,
            sites: asked.sites.clone(),
            expires_at,
        }])
    }

    fn approve(&self, id: &ApprovalId, who: &Actor, now: Timestamp) -> Decided {
        let (by, approval) = self.answerer(id, who, now)?;
        let refuse = |code, why: &str| {
            let what = format!("approving {id}");
            Err(Refusal::new(Sort::Forbidden, code, what, why))
        };
        if by == approval.operator {
            return refuse("approval.same-person", "who asked never approves");
        }
        // Otherwise who asked could make the second person.
        let operator = self.known(&by)?;
        if operator.granted_at >= approval.asked_at {
            let why = "your roles were given after it was asked; it has to be asked again";
            return refuse("approval.too-new", why);
        }
        if self.known(&approval.operator).is_ok_and(|asker| !asker.enabled) {
            return refuse("approval.asker-disabled", "who asked is disabled");
        }
        Ok(vec![Event::Approved { approval: id.clone(), by }])
    }

    fn reject(&self, id: &ApprovalId, who: &Actor, now: Timestamp) -> Decided {
        let principal = self.principal(who, now)?;
        let asked_it = |a: &&Approval| principal.operator.as_ref() == Some(&a.operator);
        let by = match (self.approvals.get(id).filter(asked_it), principal.operator.clone()) {
            (Some(approval), Some(own)) => {
                self.pending(id, approval, now)?;
                own
            }
            _ => self.answerer(id, who, now)?.0,
        };
        Ok(vec![Event::Rejected { approval: id.clone(), by }])
    }

    fn conclude(&self, id: &ApprovalId, who: &Actor, now: Timestamp) -> Decided {
        let principal = self.principal(who, now)?;
        let what = || format!("concluding {id}");
        let approval = self.approval(id)?;
        if approval.by != By::from(who) && principal.via != Via::Host {
            let why = "somebody else asked for it";
            return Err(Refusal::new(Sort::Forbidden, "approval.not-own", what(), why));
        }
        match approval.state(now) {
            ApprovalState::Approved => Ok(vec![Event::Concluded { approval: id.clone() }]),
            state => {
                let why = format!("it is {}", state_word(state));
                Err(Refusal::new(Sort::Conflict, "approval.not-approved", what(), why))
            }
        }
    }

    /// The person who may answer, and what is pending.
    fn answerer(
        &self,
        id: &ApprovalId,
        who: &Actor,
        now: Timestamp,
    ) -> Result<(OperatorId, &Approval), Refusal> {
        let principal = self.principal(who, now)?;
        rbac::may(&principal, Action::ApprovalsDecide, Place::Somewhere)?;
        let what = format!("answering {id}");
        let by = answerable(&principal, &what)?;
        let approval = self.approval(id)?;
        if !principal.grant.covers(approval.needs) {
            let why = format!("it needs the role {}", approval.needs.word());
            return Err(Refusal::new(Sort::Forbidden, "approval.role", what, why));
        }
        if !principal.grant.sites.include(&approval.sites) {
            let why = "it is about sites that you are not for";
            return Err(Refusal::new(Sort::Forbidden, "approval.sites", what, why));
        }
        self.pending(id, approval, now)?;
        Ok((by, approval))
    }

    fn pending(&self, id: &ApprovalId, approval: &Approval, now: Timestamp) -> Result<(), Refusal> {
        match approval.state(now) {
            ApprovalState::Pending => Ok(()),
            state => {
                let what = format!("answering {id}");
                let why = format!("it is {}", state_word(state));
                Err(Refusal::new(Sort::Conflict, "approval.not-pending", what, why))
            }
        }
    }

    fn known(&self, id: &OperatorId) -> Result<&Operator, Refusal> {
        let what = || format!("operator {id}");
        let unknown =
            || Refusal::new(Sort::Unknown, "operator.unknown", what(), "there is no such operator");
        self.operators.get(id).ok_or_else(unknown)
    }

    fn living(&self, id: &OperatorId) -> Result<&Operator, Refusal> {
        let operator = self.known(id)?;
        match operator.erased_at {
            None => Ok(operator),
            Some(_) => {
                let what = format!("operator {id}");
                let why = "its personal data is erased; only its id is left";
                Err(Refusal::new(Sort::Conflict, "operator.erased", what, why))
            }
        }
    }

    fn token(&self, id: &TokenId) -> Result<&super::Token, Refusal> {
        let what = || format!("token {id}");
        let unknown =
            || Refusal::new(Sort::Unknown, "token.unknown", what(), "there is no such token");
        self.tokens.get(id).ok_or_else(unknown)
    }

    fn approval(&self, id: &ApprovalId) -> Result<&Approval, Refusal> {
        let what = || format!("approval {id}");
        let why = "nobody has asked for it, or long ago";
        let unknown = || Refusal::new(Sort::Unknown, "approval.unknown", what(), why);
        self.approvals.get(id).ok_or_else(unknown)
    }

    /// Refuses when nobody else could do everything.
    fn not_last(&self, id: &OperatorId, operator: &Operator) -> Result<(), Refusal> {
        let admin = |o: &Operator| o.enabled && o.grant.is_admin();
        let other = self.operators.iter().any(|(other, o)| other != id && admin(o));
        if other || !admin(operator) {
            return Ok(());
        }
        let why = "it is the last one that can do everything everywhere";
        Err(Refusal::new(Sort::Conflict, "operator.last-admin", format!("operator {id}"), why)
            .help("make another operator an admin for all sites first"))
    }

    /// A record has one use, so that erasing it has one meaning.
    fn new_record(&self, commitment: &Commitment) -> Result<(), Refusal> {
        let record = &commitment.record;
        let used = |o: &Operator| {
            o.profile.record == *record
                || o.password.as_ref().is_some_and(|p| p.record.record == *record)
        };
        match self.operators.values().any(used) {
            true => Err(record_used(commitment)),
            false => Ok(()),
        }
    }
}

/// What is asked of a second person.
struct Asked<'a> {
    command: &'a str,
    why: &'a str,
    needs: Role,
    sites: &'a Sites,
    expires_at: Timestamp,
}

fn is_self(principal: &Principal, id: &OperatorId) -> bool {
    principal.via == Via::Session && principal.operator.as_ref() == Some(id)
}

fn answerable(principal: &Principal, what: &str) -> Result<OperatorId, Refusal> {
    let why = "no operator is answerable for it";
    let nobody = || Refusal::new(Sort::Forbidden, "access.no-operator", what, why);
    principal.operator.clone().ok_or_else(nobody)
}

fn set_up_before(what: &str) -> Refusal {
    let why = "the first operator was made before";
    Refusal::new(Sort::Conflict, "setup.done", what, why).help("log in, or ask an admin")
}

fn record_used(commitment: &Commitment) -> Refusal {
    let what = format!("record {}", commitment.record);
    Refusal::new(Sort::Conflict, "record.used", what, "it is used for something else")
}

fn different(profile: &Commitment, password: Option<&Commitment>) -> Result<(), Refusal> {
    match password.is_some_and(|password| password.record == profile.record) {
        true => Err(record_used(profile)),
        false => Ok(()),
    }
}

fn check_grant(grant: &Grant) -> Result<(), Refusal> {
    if grant.roles.is_empty() {
        let why = "it has no role";
        return Err(Refusal::new(Sort::Invalid, "grant.empty", "the grant", why)
            .help("disable an operator who may do nothing, revoke a token"));
    }
    check_sites(&grant.sites)
}

fn check_sites(sites: &Sites) -> Result<(), Refusal> {
    match sites {
        Sites::Only(only) if only.is_empty() || only.len() > SITES_MAX => {
            let why = format!("{} sites: 1 to {SITES_MAX} can be named", only.len());
            Err(Refusal::new(Sort::Invalid, "grant.sites", "the sites", why))
        }
        _ => Ok(()),
    }
}

fn check_text(
    what: &str,
    part: &str,
    text: &str,
    chars_max: usize,
    lines: bool,
) -> Result<(), Refusal> {
    let control = |c: char| c.is_control() && !(lines && c == '\n');
    let why = match text.chars().count() {
        _ if text.trim().is_empty() => format!("{part} is empty"),
        n if n > chars_max => format!("{part} has {n} characters, and {chars_max} is the most"),
        _ if text.contains(control) => format!("{part} has a control character"),
        _ => return Ok(()),
    };
    Err(Refusal::new(Sort::Invalid, "text.bounds", what, why))
}

/// A time of expiry, as events carry it.
fn until(
    what: &str,
    code: &'static str,
    expires_at: Timestamp,
    now: Timestamp,
    seconds_max: i64,
) -> Result<Timestamp, Refusal> {
    let expires_at = micros(expires_at);
    let latest = later(now, seconds_max);
    if now < expires_at && expires_at <= latest {
        return Ok(expires_at);
    }
    let why = format!("it would expire at {expires_at}; it has to be after {now}, by {latest}");
    Err(Refusal::new(Sort::Invalid, code, what, why))
}

const fn state_word(state: ApprovalState) -> &'static str {
    match state {
        ApprovalState::Pending => "not answered yet",
        ApprovalState::Approved => "approved and not carried out yet",
        ApprovalState::Concluded => "carried out",
        ApprovalState::Rejected => "rejected",
        ApprovalState::Expired => "expired",
    }
}
