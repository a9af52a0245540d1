//! People and programs that may ask, and what takes two of them.

use hyper::Method;
use serde_json::{Value, json};

use super::args::{Grant, Judge, Operators, Tokens};
use super::change::{away, printed};
use super::client::{Client, segment};
use super::fault::{Fault, Stop};
use super::secret;
use super::words::{at, plain};
use crate::exit;

/// `ringfence tokens …`.
pub(super) fn tokens(command: &Tokens) -> Result<u8, Stop> {
    match command {
        Tokens::Create(args) => {
            let body = json!({
                "label": args.label,
                "roles": args.grant.roles,
                "sites": sites(&args.grant),
                "hours": args.lasts.as_secs().div_ceil(3_600),
                "why": args.reason.reason,
            });
            printed(&super::open(&args.at)?.post("/v1/tokens", &body)?, args.output)?;
        }
        Tokens::Revoke(args) => {
            let path = format!("/v1/tokens/{}", segment(&args.id));
            let path = away(&path, args.reason.as_deref());
            super::open(&args.at)?.ask(&Method::DELETE, &path, None, &[])?;
            eprintln!("token {} is worth nothing any more", args.id);
        }
    }
    Ok(exit::FINE)
}

/// `ringfence operators …`.
pub(super) fn operators(command: &Operators) -> Result<u8, Stop> {
    match command {
        Operators::Create(args) => {
            let mut client = super::open(&args.at)?;
            let prompt = format!("first password of {}", args.login);
            let password = secret::new(args.password_file.as_deref(), &prompt)?;
            let made = client.post(
                "/v1/operators",
                &json!({
                    "login": args.login,
                    "name": args.name.as_ref().unwrap_or(&args.login),
                    "contact": args.contact,
                    "password": password,
                    "roles": args.grant.roles,
                    "sites": sites(&args.grant),
                    "why": args.reason.reason,
                }),
            )?;
            eprintln!("{} is operator {}", args.login, at(&made, "/id"));
        }
        Operators::Roles(args) => {
            let change = json!({
                "roles": args.grant.roles, "sites": sites(&args.grant), "why": args.reason.reason,
            });
            let changed = change_one(&mut super::open(&args.at)?, &args.id, &change)?;
            eprintln!("{} may now do: {}", plain(&args.id), at(&changed, "/roles"));
        }
        Operators::Password(args) => {
            let mut client = super::open(&args.at)?;
            let id = id_of(&mut client, &args.id)?;
            let prompt = format!("new password of {}", args.id);
            let password = secret::new(args.password_file.as_deref(), &prompt)?;
            let body = json!({ "password": password, "why": args.reason.reason });
            client.post(&format!("/v1/operators/{}/password", segment(&id)), &body)?;
            eprintln!("{} has to change it at the next login", plain(&args.id));
        }
        Operators::Disable(args) => {
            let change = json!({ "enabled": false, "why": args.reason.reason });
            change_one(&mut super::open(&args.at)?, &args.id, &change)?;
            eprintln!("{} can do nothing any more", plain(&args.id));
        }
        Operators::Enable(args) => {
            let change = json!({ "enabled": true, "why": args.reason.reason });
            change_one(&mut super::open(&args.at)?, &args.id, &change)?;
            eprintln!("{} can act again", plain(&args.id));
        }
    }
    Ok(exit::FINE)
}

/// `ringfence approve` and `ringfence reject`.
pub(super) fn judge(args: &Judge, approve: bool) -> Result<u8, Stop> {
    let body = json!({ "approve": approve, "why": args.reason.reason });
    let path = format!("/v1/approvals/{}", segment(&args.id));
    let judged = super::open(&args.at)?.post(&path, &body)?;
    eprintln!("{} is {}", plain(&args.id), at(&judged, "/state"));
    if approve {
        eprintln!("{} carries it out now, with --approval {}", at(&judged, "/by"), plain(&args.id));
    }
    Ok(exit::FINE)
}

/// Sites of a grant; none named: all.
fn sites(grant: &Grant) -> Option<&[String]> {
    (!grant.sites.is_empty()).then_some(grant.sites.as_slice())
}

fn change_one(client: &mut Client, operator: &str, change: &Value) -> Result<Value, Fault> {
    let id = id_of(client, operator)?;
    let path = format!("/v1/operators/{}", segment(&id));
    client.ask(&Method::PATCH, &path, Some(change), &[])?.json()
}

/// An operator by id or login name.
fn id_of(client: &mut Client, operator: &str) -> Result<String, Fault> {
    let unknown = match client.get(&format!("/v1/operators/{}", segment(operator))) {
        Ok(found) => return Ok(at(&found, "/id")),
        Err(fault) if fault.code_of_exit() == exit::NOT_FOUND => fault,
        Err(fault) => return Err(fault),
    };
    let mut found = None;
    client.list("/v1/operators", &[], &mut |item| {
        if at(&item, "/login").eq_ignore_ascii_case(operator) {
            found = Some(at(&item, "/id"));
        }
        Ok(found.is_none())
    })?;
    found.ok_or(unknown)
}
