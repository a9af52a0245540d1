//! Access: who may do what, and the laws that no sequence of commands breaks.

use std::fmt::Write as _;

use estate::access::rbac::{self, Action, Place};
use estate::access::{
    Access, ApprovalId, ApprovalState, Command, Event, Grant, OperatorId, Principal, Role, Sites,
    TokenId, Via,
};
use estate::side::{Commitment, Digest, RecordId};
use journal::entry::Actor;
use model::{SiteId, Timestamp};
use proptest::prelude::*;

const HOUR: i64 = 3_600;

fn at(s: i64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + s, 0)
}

fn op(n: u8) -> OperatorId {
    OperatorId::new(&format!("op-{n}")).unwrap()
}

fn tok(n: u8) -> TokenId {
    TokenId::new(&format!("tok-{n}")).unwrap()
}

fn app(n: u8) -> ApprovalId {
    ApprovalId::new(&format!("app-{n}")).unwrap()
}

fn record(n: u32) -> Commitment {
    let record = RecordId::new(&format!("rec-{n}")).unwrap();
    Commitment { record, digest: Digest::of(&n.to_be_bytes()) }
}

fn only(site: &str) -> Sites {
    Sites::Only([SiteId::new(site).unwrap()].into())
}

fn grant(role: Role, sites: Sites) -> Grant {
    Grant { roles: [role].into(), sites }
}

fn run(
    access: &mut Access,
    command: &Command,
    who: &Actor,
    now: Timestamp,
) -> Result<usize, String> {
    let events = access.decide(command, who, now).map_err(|refusal| refusal.code.to_owned())?;
    events.iter().for_each(|event| access.apply(event, now));
    Ok(events.len())
}

fn person(n: u8) -> Actor {
    Principal::person(&op(n))
}

/// An estate with the admin `op-0`.
fn set_up() -> Access {
    let mut access = Access::default();
    let secret = Digest::of(b"once");
    let offer = Command::OfferSetup { secret, expires_at: at(HOUR) };
    assert_eq!(run(&mut access, &offer, &person(0), at(0)), Err("access.nobody".to_owned()));
    assert_eq!(run(&mut access, &offer, &Principal::host("setup"), at(0)), Ok(1));
    let with = |secret| Command::SetUp {
        secret,
        operator: op(0),
        profile: record(0),
        password: record(1),
    };
    let nobody = Principal::host("setup");
    let wrong = with(Digest::of(b"twice"));
    assert_eq!(run(&mut access, &wrong, &nobody, at(1)), Err("setup.token".to_owned()));
    assert_eq!(run(&mut access, &with(secret), &nobody, at(HOUR)), Err("setup.token".to_owned()));
    assert_eq!(run(&mut access, &with(secret), &nobody, at(1)), Ok(1));
    assert_eq!(run(&mut access, &with(secret), &nobody, at(2)), Err("setup.done".to_owned()));
    assert_eq!(run(&mut access, &offer, &nobody, at(2)), Err("setup.done".to_owned()));
    access
}

fn add(access: &mut Access, n: u8, grant: Grant, now: i64) {
    let command = Command::AddOperator {
        operator: op(n),
        profile: record(u32::from(n) * 10),
        password: None,
        grant,
    };
    assert_eq!(run(access, &command, &person(0), at(now)), Ok(1));
}

#[test]
fn the_rules_are_valid_and_name_every_action() {
    assert_eq!(rbac::check(), Ok(()));
    for action in Action::ALL {
        assert!(action.least().is_some(), "nobody may {}", action.word());
    }
}

fn principal(via: Via, roles: &[Role], sites: Sites) -> Principal {
    let grant = Grant { roles: roles.iter().copied().collect(), sites };
    let actor = match via {
        Via::Session => person(1),
        Via::Token => Principal::token(&tok(1)),
        Via::Host => Principal::host("x"),
    };
    Principal { actor, operator: Some(op(1)), grant, via, password_temporary: false }
}

#[test]
fn roles_and_actions() {
    let mut table = String::new();
    for action in Action::ALL {
        write!(table, "{:<20}", action.word()).unwrap();
        for role in Role::ALL {
            let yes = |via| {
                rbac::may(&principal(via, &[role], Sites::All), *action, Place::Estate).is_ok()
            };
            let word = match (yes(Via::Session), yes(Via::Token)) {
                (true, true) => "yes",
                (true, false) => "person",
                (false, false) => "-",
                (false, true) => "token",
            };
            write!(table, " {}={word}", role.word()).unwrap();
        }
        table.push('\n');
    }
    insta::assert_snapshot!(table);
}

#[test]
fn whoever_is_for_a_site_stays_there() {
    let (a, b) = (SiteId::new("a").unwrap(), SiteId::new("b").unwrap());
    let who = principal(Via::Session, &[Role::Operator], only("a"));
    let code = |place| rbac::may(&who, Action::DevicesEdit, place).map_err(|r| r.code);
    assert_eq!(code(Place::At(&a)), Ok(()));
    assert_eq!(code(Place::Somewhere), Ok(()));
    assert_eq!(code(Place::At(&b)), Err("access.site"));
    assert_eq!(code(Place::Estate), Err("access.site"));
    let nowhere = principal(Via::Token, &[Role::Admin], Sites::Only([].into()));
    assert!(rbac::may(&nowhere, Action::DevicesRead, Place::Somewhere).is_err());
    let temporary = Principal { password_temporary: true, ..who };
    let refused = rbac::may(&temporary, Action::DevicesRead, Place::At(&a)).unwrap_err();
    assert_eq!(refused.code, "access.password-temporary");
}

#[test]
fn a_second_person_is_another_one_with_the_role() {
    let mut access = set_up();
    add(&mut access, 1, grant(Role::Operator, Sites::All), 10);
    add(&mut access, 2, grant(Role::SecurityAdmin, Sites::All), 10);
    add(&mut access, 3, grant(Role::PolicyAdmin, Sites::All), 10);
    add(&mut access, 4, grant(Role::SecurityAdmin, only("a")), 10);
    let command = r#"{"do":"retire"}"#.to_owned();
    let digest = Digest::of(command.as_bytes());
    let ask = |n| Command::Ask {
        approval: app(n),
        command: command.clone(),
        why: "the line is renewed".to_owned(),
        needs: Role::SecurityAdmin,
        sites: Sites::All,
        expires_at: at(HOUR),
    };
    assert_eq!(run(&mut access, &ask(1), &person(1), at(20)), Ok(1));
    add(&mut access, 5, grant(Role::SecurityAdmin, Sites::All), 30);
    let approve = Command::Approve { approval: app(1) };
    for (who, code) in
        [(1, "approval.role"), (3, "approval.role"), (4, "approval.sites"), (5, "approval.too-new")]
    {
        assert_eq!(
            run(&mut access, &approve, &person(who), at(40)),
            Err(code.to_owned()),
            "op-{who}"
        );
    }
    assert_eq!(access.approval_of(&person(1), &digest, at(40)), None);
    assert_eq!(
        run(&mut access, &approve, &person(2), at(HOUR)),
        Err("approval.not-pending".to_owned())
    );
    assert_eq!(run(&mut access, &approve, &person(2), at(40)), Ok(1));
    assert_eq!(access.approval_of(&person(1), &digest, at(41)), Some(&app(1)));
    assert_eq!(access.approval_of(&person(2), &digest, at(41)), None);
    assert_eq!(access.approval_of(&person(1), &digest, at(HOUR)), None);
    let conclude = Command::Conclude { approval: app(1) };
    assert_eq!(run(&mut access, &conclude, &person(2), at(42)), Err("approval.not-own".to_owned()));
    assert_eq!(run(&mut access, &conclude, &person(1), at(42)), Ok(1));
    assert_eq!(
        run(&mut access, &conclude, &person(1), at(43)),
        Err("approval.not-approved".to_owned())
    );
    assert_eq!(access.approval_of(&person(1), &digest, at(43)), None, "it is used up");
    // Who has every role does not approve what it asked; it can take it back.
    assert_eq!(run(&mut access, &ask(2), &person(0), at(50)), Ok(1));
    let approve = Command::Approve { approval: app(2) };
    assert_eq!(
        run(&mut access, &approve, &person(0), at(51)),
        Err("approval.same-person".to_owned())
    );
    assert_eq!(run(&mut access, &Command::Reject { approval: app(2) }, &person(0), at(52)), Ok(1));
    assert_eq!(access.approvals()[&app(2)].state(at(53)), ApprovalState::Rejected);
}

#[test]
fn a_token_is_worth_no_more_than_its_operator() {
    let mut access = set_up();
    add(&mut access, 1, grant(Role::Operator, Sites::All), 10);
    let secret = Digest::of(b"token");
    let make = |grant| Command::MakeToken {
        token: tok(1),
        secret,
        label: "ci".to_owned(),
        grant,
        expires_at: at(HOUR),
    };
    let above = make(grant(Role::PolicyAdmin, Sites::All));
    assert_eq!(run(&mut access, &above, &person(1), at(11)), Err("token.above-maker".to_owned()));
    assert_eq!(
        run(&mut access, &make(grant(Role::Operator, Sites::All)), &person(1), at(11)),
        Ok(1)
    );
    assert!(access.bearer(&secret, at(12)).unwrap().grant.covers(Role::Operator));
    let less = Command::ChangeGrant { operator: op(1), grant: grant(Role::Viewer, only("a")) };
    assert_eq!(run(&mut access, &less, &person(0), at(13)), Ok(1));
    assert_eq!(access.bearer(&secret, at(14)).unwrap().grant, grant(Role::Viewer, only("a")));
    let by_token = make(grant(Role::Viewer, only("a")));
    let code = run(&mut access, &by_token, &Principal::token(&tok(1)), at(14));
    assert_eq!(code, Err("access.person".to_owned()));
    assert!(access.bearer(&secret, at(HOUR)).is_err(), "expired");
    assert_eq!(
        run(&mut access, &Command::DisableOperator { operator: op(1) }, &person(0), at(15)),
        Ok(1)
    );
    assert!(access.bearer(&secret, at(16)).is_err(), "its operator is disabled");
    assert_eq!(
        run(&mut access, &Command::EraseOperator { operator: op(1) }, &person(0), at(17)),
        Ok(1)
    );
    assert!(access.records().all(|r| r.as_str() != "rec-10"));
    let back = Command::EnableOperator { operator: op(1) };
    assert_eq!(run(&mut access, &back, &person(0), at(18)), Err("operator.erased".to_owned()));
}

fn command() -> impl Strategy<Value = Command> {
    let o = || (0..4_u8).prop_map(op);
    let t = || (0..3_u8).prop_map(tok);
    let a = || (0..3_u8).prop_map(app);
    let r = || (0..60_u32).prop_map(record);
    let g = || {
        let sites = prop_oneof![3 => Just(Sites::All), 1 => Just(only("a"))];
        (0..Role::ALL.len(), sites).prop_map(|(role, sites)| grant(Role::ALL[role], sites))
    };
    prop_oneof![
        (o(), r(), proptest::option::of(r()), g()).prop_map(
            |(operator, profile, password, grant)| {
                Command::AddOperator { operator, profile, password, grant }
            }
        ),
        (o(), g()).prop_map(|(operator, grant)| Command::ChangeGrant { operator, grant }),
        (o(), r()).prop_map(|(operator, profile)| Command::ChangeProfile { operator, profile }),
        (o(), r()).prop_map(|(operator, password)| Command::ChangePassword { operator, password }),
        o().prop_map(|operator| Command::DisableOperator { operator }),
        o().prop_map(|operator| Command::EnableOperator { operator }),
        o().prop_map(|operator| Command::EraseOperator { operator }),
        (t(), g(), 0..4_i64, any::<u8>()).prop_map(|(token, grant, h, s)| Command::MakeToken {
            token,
            secret: Digest::of(&[s]),
            label: "x".to_owned(),
            grant,
            expires_at: Timestamp::from_nanos(at(h * HOUR).as_nanos() + 1_234),
        }),
        t().prop_map(|token| Command::RevokeToken { token }),
        t().prop_map(|token| Command::NoteUse { token }),
        (a(), 0..4_i64).prop_map(|(approval, h)| Command::Ask {
            approval,
            command: "{}".to_owned(),
            why: "why".to_owned(),
            needs: Role::Operator,
            sites: only("a"),
            expires_at: at(h * HOUR),
        }),
        a().prop_map(|approval| Command::Approve { approval }),
        a().prop_map(|approval| Command::Reject { approval }),
        a().prop_map(|approval| Command::Conclude { approval }),
    ]
}

fn who() -> impl Strategy<Value = Actor> {
    prop_oneof![
        8 => (0..4_u8).prop_map(person),
        3 => (0..3_u8).prop_map(|n| Principal::token(&tok(n))),
        1 => Just(Principal::host("x")),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_commands_breaks_a_law(
        steps in proptest::collection::vec((command(), who(), 1..900_i64), 1..60)
    ) {
        let mut access = set_up();
        let start = access.clone();
        let (mut log, mut s) = (Vec::new(), 10);
        for (command, who, wait) in steps {
            s += wait;
            let now = Timestamp::from_nanos(at(s).as_nanos() + 789);
            let Ok(events) = access.decide(&command, &who, now) else { continue };
            prop_assert_eq!(&events, &access.decide(&command, &who, now).unwrap());
            for event in &events {
                let before = access.clone();
                access.apply(event, now);
                prop_assert_ne!(&before, &access, "{:?} changed nothing", event);
                log.push((serde_json::to_string(event).unwrap(), now));
            }
            let admins = access.operators().values().filter(|o| o.enabled && o.grant.is_admin());
            prop_assert!(admins.count() > 0, "after {:?}", command);
            for approval in access.approvals().values() {
                let answer = approval.answer.as_ref();
                prop_assert!(answer.is_none_or(|a| !a.approved || a.by != approval.operator));
            }
            for token in access.tokens().values() {
                if let Ok(found) = access.bearer(&token.secret, now) {
                    let owner = &access.operators()[&token.operator];
                    prop_assert!(token.is_live(now) && owner.enabled);
                    prop_assert!(found.grant.roles.iter().all(|r| owner.grant.covers(*r)));
                    prop_assert!(owner.grant.sites.include(&found.grant.sites));
                }
            }
        }
        // The journal has times to the nanosecond, documents to the microsecond: both give one state.
        let mut again = start;
        for (event, at) in &log {
            let event: Event = serde_json::from_str(event).unwrap();
            again.apply(&event, *at);
        }
        prop_assert_eq!(&again, &access);
        let json = serde_json::to_string(&access).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Access>(&json).unwrap(), &access);
    }

    #[test]
    fn the_table_says_what_cedar_says(
        action in 0..Action::ALL.len(),
        roles in proptest::collection::btree_set(0..Role::ALL.len(), 0..3),
        via in 0..3_usize,
        own in proptest::option::of(proptest::collection::btree_set(0..3_u8, 0..3)),
        place in 0..5_u8,
    ) {
        let site = |n: u8| SiteId::new(&format!("s{n}")).unwrap();
        let sites = own.map_or(Sites::All, |own| Sites::Only(own.into_iter().map(site).collect()));
        let roles: Vec<_> = roles.into_iter().map(|n| Role::ALL[n]).collect();
        let who = principal([Via::Session, Via::Token, Via::Host][via], &roles, sites);
        let here = site(place);
        let place = match place { 3 => Place::Estate, 4 => Place::Somewhere, _ => Place::At(&here) };
        let action = Action::ALL[action];
        prop_assert_eq!(rbac::may(&who, action, place).is_ok(), rbac::ask_cedar(&who, action, place));
    }
}
