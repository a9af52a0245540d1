//! Contexts, and who somebody is at a controller.

use std::path::{Path, PathBuf};

use hyper::{Method, Uri};
use pki::Certificate;
use serde_json::{Value, json};

use super::args::{
    ContextCommand, ContextList, ContextShow, Known, Login, Logout, Output, Password, Setup, Whoami,
};
use super::client::Client;
use super::context::{self, Chosen, Context, Contexts};
use super::describe::pairs;
use super::fault::{Fault, Stop};
use super::secret;
use super::words::{at, plain};
use crate::terminal::table;
use crate::{exit, out};

/// Where a controller on this machine is asked.
const HERE: &str = "https://localhost:8443";
/// Begins what `login` of a person gives; a session ends with a logout.
const SESSION: &str = "rfs_";

/// `ringfence context …`.
pub(super) fn context(command: &ContextCommand) -> Result<u8, Stop> {
    match command {
        ContextCommand::List(args) => list(args),
        ContextCommand::Show(args) => show(args),
        ContextCommand::Use(args) => {
            let mut contexts = Contexts::read()?;
            let server = contexts.get(&args.name)?.server.clone();
            contexts.current = Some(args.name.clone());
            contexts.write()?;
            eprintln!("{} ({server}) is asked from now on", args.name);
            Ok(exit::FINE)
        }
        ContextCommand::Remove(args) => {
            let mut contexts = Contexts::read()?;
            contexts.get(&args.name)?;
            contexts.contexts.remove(&args.name);
            contexts.current = contexts.current.filter(|name| *name != args.name);
            contexts.write()?;
            eprintln!("{} is forgotten", args.name);
            Ok(exit::FINE)
        }
    }
}

fn list(args: &ContextList) -> Result<u8, Stop> {
    let contexts = Contexts::read()?;
    let current = contexts.current.as_deref();
    match args.output {
        Output::Json => {
            let all = contexts.contexts.iter();
            let all: Vec<Value> =
                all.map(|(name, context)| shown(name, context, current)).collect();
            out::document(&all)?;
        }
        Output::Table if contexts.contexts.is_empty() => {
            eprintln!("none: `ringfence login` makes one");
        }
        Output::Table => out::print(|out| {
            let mut rows = table(&["", "NAME", "SERVER", "AS", "UNTIL"]);
            for (name, context) in &contexts.contexts {
                let used = if current == Some(name) { "*" } else { "" };
                let until = context.expires_at.as_deref().unwrap_or_default();
                let until = until.split('.').next().unwrap_or_default().replace('T', " ");
                rows.add_row([used, name, &context.server, &whom(context), &until]);
            }
            writeln!(out, "{rows}")
        })?,
    }
    Ok(exit::FINE)
}

fn show(args: &ContextShow) -> Result<u8, Stop> {
    let contexts = Contexts::read()?;
    let current = contexts.current.clone();
    let name = args.name.clone().or_else(|| current.clone());
    let name = name.ok_or_else(|| {
        let help = "`ringfence context use NAME`";
        Fault::new("no_context", "which context", "none is in use", help).exit(exit::NOT_FOUND)
    })?;
    let context = contexts.get(&name)?;
    let document = shown(&name, context, current.as_deref());
    match args.output {
        Output::Json => out::document(&document)?,
        Output::Table => out::print(|out| {
            writeln!(out, "Context {name}")?;
            pairs(
                out,
                &[
                    ("server", context.server.clone()),
                    ("root (SHA-256)", at(&document, "/root_sha256")),
                    ("root until", at(&document, "/root_until")),
                    ("as", whom(context)),
                    ("until", context.expires_at.clone().unwrap_or_default()),
                ],
            )
        })?,
    }
    Ok(exit::FINE)
}

/// A context without its secret.
fn shown(name: &str, context: &Context, current: Option<&str>) -> Value {
    let root = Certificate::read_all(context.root.as_bytes()).ok();
    let root = root.and_then(|all| all.into_iter().next());
    json!({
        "name": name,
        "current": current == Some(name),
        "server": context.server,
        "root_sha256": root.as_ref().map(|root| hex(&crypto::sha256(root.der()))),
        "root_until": root.as_ref().map(|root| root.not_after().to_string()),
        "login": (!context.login.is_empty()).then_some(&context.login),
        "logged_in": context.credential.is_some(),
        "expires_at": context.expires_at,
    })
}

/// Somebody in a word.
fn whom(context: &Context) -> String {
    match (&context.credential, context.login.as_str()) {
        (None, _) => "logged out".to_owned(),
        (Some(_), "") => "a token".to_owned(),
        (Some(_), login) => login.to_owned(),
    }
}

/// `ringfence login`.
pub(super) fn login(args: &Login) -> Result<u8, Stop> {
    let mut contexts = Contexts::read()?;
    let Found { name, mut context, mut client } = find(&args.known, &contexts)?;
    let mut must_change = false;
    let credential = if let Some(state) = &args.known.state {
        context::secret(&state.join("host-token"))?
    } else if let Some(path) = &args.token_file {
        secret::read(Some(path), "")?
    } else {
        let kept = Some(context.login.clone()).filter(|login| !login.is_empty());
        let login = match args.login.clone().or(kept) {
            Some(login) => login,
            None => secret::asked("login")?,
        };
        let prompt = format!("password of {login} at {}", context.server);
        let password = secret::read(args.password_file.as_deref(), &prompt)?;
        let body = json!({ "login": login, "password": password });
        let session = client.post("/v1/login", &body)?;
        must_change = session.get("must_change") == Some(&Value::Bool(true));
        context.expires_at = session.get("expires_at").and_then(Value::as_str).map(str::to_owned);
        context.login = login;
        token_of(&session)?
    };
    if args.known.state.is_some() || args.token_file.is_some() {
        (context.login, context.expires_at) = (String::new(), None);
    }
    client.speak_as(&credential);
    context.credential = Some(credential);
    if must_change {
        eprintln!("somebody else has set this password: change it with `ringfence password`");
    } else {
        let myself = client.get("/v1/whoami")?;
        eprintln!("logged in at {} as {}", context.server, at(&myself, "/actor"));
    }
    keep(&mut contexts, name, context)
}

/// `ringfence setup`.
pub(super) fn setup(args: &Setup) -> Result<u8, Stop> {
    let mut contexts = Contexts::read()?;
    let Found { name, mut context, mut client } = find(&args.known, &contexts)?;
    let token = match (&args.setup_token_file, &args.known.state) {
        (None, Some(state)) => context::secret(&state.join("setup-token"))?,
        (file, _) => secret::read(file.as_deref(), "setup token")?,
    };
    let login = match &args.login {
        Some(login) => login.clone(),
        None => secret::asked("login of the first operator")?,
    };
    let password = secret::new(args.password_file.as_deref(), &format!("new password of {login}"))?;
    let person = args.name.as_ref().unwrap_or(&login);
    let body = json!({ "secret": token, "login": login, "name": person, "password": password });
    let session = client.post("/v1/setup", &body)?;
    context.credential = Some(token_of(&session)?);
    context.expires_at = session.get("expires_at").and_then(Value::as_str).map(str::to_owned);
    eprintln!("{login} is the first operator ({})", at(&session, "/operator"));
    context.login = login;
    keep(&mut contexts, name, context)
}

/// `ringfence logout`.
pub(super) fn logout(args: &Logout) -> Result<u8, Stop> {
    let mut contexts = Contexts::read()?;
    let name = Chosen::find(args.at.context.as_deref())?.name.ok_or_else(|| {
        Fault::usage("logout", "all is from the environment: there is no context to leave")
    })?;
    let mut context = contexts.get(&name)?.clone();
    match context.credential.take() {
        None => eprintln!("nobody was logged in at {}", context.server),
        Some(credential) if credential.starts_with(SESSION) => {
            let mut client = Client::new(&context)?;
            client.speak_as(&credential);
            let ended = client.ask(&Method::POST, "/v1/logout", None, &[]);
            match ended {
                Ok(_) => eprintln!("logged out at {}", context.server),
                // It had ended already.
                Err(fault) if fault.is_unknown() => eprintln!("the session had ended already"),
                Err(fault) => return Err(fault.into()),
            }
        }
        Some(_) => eprintln!("the token is forgotten here; `ringfence tokens revoke` ends it"),
    }
    context.expires_at = None;
    contexts.contexts.insert(name, context);
    contexts.write()?;
    Ok(exit::FINE)
}

/// `ringfence whoami`.
pub(super) fn whoami(args: &Whoami) -> Result<u8, Stop> {
    let chosen = Chosen::find(args.at.context.as_deref())?;
    let mut myself = super::open(&args.at)?.get("/v1/whoami")?;
    let (name, context) = (chosen.name.unwrap_or_default(), chosen.context);
    match args.output {
        Output::Json => {
            if let Some(map) = myself.as_object_mut() {
                map.insert("server".to_owned(), context.server.into());
            }
            out::document(&myself)?;
        }
        Output::Table => out::print(|out| {
            writeln!(out, "{}", at(&myself, "/actor"))?;
            let sites = match at(&myself, "/sites") {
                all if all.is_empty() => "all".to_owned(),
                sites => sites,
            };
            pairs(
                out,
                &[
                    ("login", plain(&context.login)),
                    ("roles", at(&myself, "/roles")),
                    ("sites", sites),
                    ("server", context.server.clone()),
                    ("context", name.clone()),
                    ("until", context.expires_at.clone().unwrap_or_default()),
                ],
            )
        })?,
    }
    if myself.get("password_temporary") == Some(&Value::Bool(true)) {
        eprintln!("somebody else has set this password: change it with `ringfence password`");
    }
    Ok(exit::FINE)
}

/// `ringfence password`.
pub(super) fn password(args: &Password) -> Result<u8, Stop> {
    let chosen = Chosen::find(args.at.context.as_deref())?;
    let mut client = super::open(&args.at)?;
    let old = secret::read(args.old_file.as_deref(), "old password")?;
    let new = secret::new(args.new_file.as_deref(), "new password")?;
    client.post("/v1/password", &json!({ "old": old, "new": new }))?;
    eprintln!("the password is changed; all sessions have ended");
    let (Some(name), login) = (chosen.name, chosen.context.login) else {
        return Ok(exit::FINE);
    };
    let mut contexts = Contexts::read()?;
    let mut context = contexts.get(&name)?.clone();
    // This one ended too, and the password is at hand.
    let session = Client::new(&Context { credential: None, ..context.clone() })?
        .post("/v1/login", &json!({ "login": login, "password": new }))?;
    context.credential = Some(token_of(&session)?);
    context.expires_at = session.get("expires_at").and_then(Value::as_str).map(str::to_owned);
    contexts.contexts.insert(name, context);
    contexts.write()?;
    eprintln!("logged in again as {login}");
    Ok(exit::FINE)
}

/// A controller that was found, and is known.
struct Found {
    name: String,
    context: Context,
    client: Client,
}

/// From options, and from what is remembered.
fn find(known: &Known, contexts: &Contexts) -> Result<Found, Fault> {
    let server = known.server.as_deref().map(context::server).transpose()?;
    let server = server.or_else(|| known.state.as_ref().map(|_| HERE.to_owned()));
    let named = known.context.clone();
    let name = match (named, &server) {
        (Some(name), _) => name,
        (None, Some(server)) => name_for(server, contexts),
        (None, None) => contexts.current.clone().ok_or_else(|| {
            Fault::usage("which controller", "no context is in use: give --server")
        })?,
    };
    let kept = contexts.contexts.get(&name);
    let server = match (server, kept) {
        (Some(server), _) => server,
        (None, Some(kept)) => kept.server.clone(),
        (None, None) => contexts.get(&name)?.server.clone(),
    };
    // What is known of another server does not count.
    let kept = kept.filter(|kept| kept.server == server);
    let mut context = kept.cloned().unwrap_or_default();
    context.server.clone_from(&server);
    if let Some(root) = root(known, &server)? {
        context.root = root;
    }
    if context.root.is_empty() {
        let why = "nothing says who it is: give --ca FILE or --ca-sha256 HEX";
        return Err(Fault::usage(format!("the server {server}"), why));
    }
    let client = Client::new(&context)?;
    Ok(Found { name, context, client })
}

/// The root that options name, as PEM.
fn root(known: &Known, server: &str) -> Result<Option<String>, Fault> {
    let file: Option<PathBuf> =
        known.ca.clone().or_else(|| known.state.as_ref().map(|state| state.join("pki/root.pem")));
    if let Some(path) = file {
        return context::root_of(Path::new(&path)).map(Some);
    }
    let Some(text) = &known.ca_sha256 else {
        return Ok(None);
    };
    let digest = digest(text)
        .ok_or_else(|| Fault::usage("--ca-sha256", "write the 64 hexadecimal digits"))?;
    let (_, root) = Client::first_contact(server, digest)?;
    context::pem(&root).map(Some)
}

/// A name that no other server has: its host, with the port where that is taken.
fn name_for(server: &str, contexts: &Contexts) -> String {
    let uri: Option<Uri> = server.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or(server);
    let host = host.trim_matches(['[', ']']).to_owned();
    let other = contexts.contexts.get(&host).is_some_and(|context| context.server != server);
    let port = uri.as_ref().and_then(Uri::port_u16).unwrap_or(8443);
    if other { format!("{host}-{port}") } else { host }
}

/// Remembers it, and asks it from now on.
fn keep(contexts: &mut Contexts, name: String, context: Context) -> Result<u8, Stop> {
    eprintln!("context {name} is in use");
    contexts.contexts.insert(name.clone(), context);
    contexts.current = Some(name);
    contexts.write()?;
    Ok(exit::FINE)
}

fn token_of(session: &Value) -> Result<String, Fault> {
    let token = session.get("token").and_then(Value::as_str).map(str::to_owned);
    token.ok_or_else(|| Fault::new("answer", "the answer has no token", "a session", ""))
}

/// 64 hexadecimal digits; colons between them are allowed.
fn digest(text: &str) -> Option<[u8; 32]> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let mut digest = [0_u8; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_64_digits() {
        let text = "00".repeat(31) + "fF";
        assert_eq!(digest(&text).map(|digest| digest[31]), Some(0xff));
        let colons = vec!["ab"; 32].join(":");
        assert_eq!(digest(&colons), Some([0xab; 32]));
        for text in ["", "ab", &"g".repeat(64), &"ü".repeat(32), &"ab".repeat(33)] {
            assert_eq!(digest(text), None, "{text}");
        }
    }

    #[test]
    fn a_context_gets_a_name_of_its_own() {
        let mut contexts = Contexts::default();
        assert_eq!(name_for("https://hq:8443", &contexts), "hq");
        let server = "https://hq:8443".to_owned();
        contexts.contexts.insert("hq".to_owned(), Context { server, ..Context::default() });
        assert_eq!(name_for("https://hq:8443", &contexts), "hq");
        assert_eq!(name_for("https://hq:9", &contexts), "hq-9");
        assert_eq!(name_for("https://[::1]:9", &contexts), "::1");
    }
}
