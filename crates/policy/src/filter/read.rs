//! From text to an expression that Cedar has checked, in words that Cedar knows.
//!
//! Two steps of its own lead there: `device` and `now` are written as the variables of a request, and what is total here but not in
//! Cedar (labels, `has`) or spelt twice (`DeviceType::"plc"`) is written as what it means.

use std::sync::LazyLock;

use cedar_policy::{Expression, Policy, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;
use serde_json::{Value as Json, json};

use super::{BYTES_MAX, DEPTH_MAX, Filter, FilterError, SCHEMA, SIGNS_MAX, Text, compile};

/// In front of the expression, where Cedar wants a policy.
const HEAD: &str = "permit (principal, action, resource) when {\n";
const TAIL: &str = "\n};";

static VALIDATOR: LazyLock<Result<Validator, String>> = LazyLock::new(|| {
    let (schema, _warnings) =
        Schema::from_cedarschema_str(SCHEMA).map_err(|error| error.to_string())?;
    Ok(Validator::new(schema))
});

pub(super) fn parse(text: &str) -> Result<Filter, FilterError> {
    let whole = |what: String, help: &str| FilterError::at(text, None, what, help);
    if text.trim().is_empty() {
        let help = "for example: device.type == \"plc\" && device.owner == \"\"";
        return Err(whole("there is no expression".to_owned(), help));
    }
    if text.len() > BYTES_MAX {
        return Err(whole(format!("it is longer than {BYTES_MAX} bytes"), ""));
    }
    let written = written(text)?;
    let place = |at: usize| written.back(at);
    if let Err(errors) = written.text.parse::<Expression>() {
        let first = errors.iter().next();
        let at = first.and_then(offset).map(place);
        let what = first.map_or_else(|| errors.to_string(), ToString::to_string);
        let help = first.and_then(Diagnostic::help).map(|h| h.to_string()).unwrap_or_default();
        return Err(FilterError::at(text, at, in_our_words(&what), &in_our_words(&help)));
    }
    let cannot = |error: &dyn std::fmt::Display| whole(in_our_words(&error.to_string()), "");
    let asked = Policy::parse(None, format!("{HEAD}{}{TAIL}", written.text));
    let asked = asked.map_err(|error| cannot(&error))?;
    let mut json = asked.to_json().map_err(|error| cannot(&error))?;
    if let Some(body) = json.pointer_mut("/conditions/0/body") {
        meant(body).map_err(|(what, help)| whole(what, &help))?;
    }
    let policy = Policy::from_json(None, json.clone()).map_err(|error| cannot(&error))?;
    if let Some((what, help, _)) = faults(&policy)?.into_iter().next() {
        // Only what was read as text knows where it stands.
        let at = faults(&asked)?.into_iter().find(|(same, ..)| *same == what);
        let at = at.and_then(|(_, _, at)| at?.checked_sub(HEAD.len()));
        return Err(FilterError::at(text, at.map(place), what, &help));
    }
    let body = json.pointer("/conditions/0/body").unwrap_or(&Json::Null);
    let node = compile::compile(body).map_err(|(what, help)| whole(what, &help))?;
    Ok(Filter { node, policy: Box::new(policy) })
}

/// What is wrong, what to do, and where, as the validator has it.
type Fault = (String, String, Option<usize>);

fn faults(policy: &Policy) -> Result<Vec<Fault>, FilterError> {
    let unusable = |why: &str| FilterError::at("", None, format!("the schema: {why}"), "");
    let validator = VALIDATOR.as_ref().map_err(|why| unusable(why))?;
    let mut set = PolicySet::new();
    set.add(policy.clone()).map_err(|error| unusable(&error.to_string()))?;
    let result = validator.validate(&set, ValidationMode::Strict);
    let fault = |error: &cedar_policy::ValidationError| {
        let help = error.help().map(|help| help.to_string()).unwrap_or_default();
        (unnumbered(&error.to_string()), unnumbered(&help), offset(error))
    };
    Ok(result.validation_errors().map(fault).collect())
}

fn offset(of: &(impl Diagnostic + ?Sized)) -> Option<usize> {
    of.labels().and_then(|mut labels| labels.next()).map(|label| label.offset())
}

/// Without the name of the policy around the expression.
fn unnumbered(text: &str) -> String {
    let rest = text.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, "));
    in_our_words(rest.map_or(text, |(_, rest)| rest))
}

fn in_our_words(text: &str) -> String {
    text.replace("context.now", "now").replace("principal", "device")
}

/// The text with the variables of a request, and where each part of it was.
struct Written {
    text: String,
    /// So far into the new text, and so far into the old one.
    marks: Vec<(usize, usize)>,
}

impl Written {
    fn back(&self, at: usize) -> usize {
        let before = self.marks.iter().rev().find(|(new, _)| *new <= at);
        before.map_or(at, |(new, old)| old.saturating_add(at.saturating_sub(*new)))
    }
}

fn written(text: &str) -> Result<Written, FilterError> {
    let mut written = Written { text: String::with_capacity(text.len()), marks: vec![(0, 0)] };
    let (mut last, mut signs, mut copied, mut nesting) = ("", 0_usize, 0, Nesting::default());
    for (at, token) in tokens(text) {
        if !token.starts_with('"') && token != "," {
            signs = signs.saturating_add(1);
        }
        if signs > SIGNS_MAX {
            let what = format!("more than {SIGNS_MAX} words and signs");
            return Err(FilterError::at(text, Some(at), what, "ask in several parts"));
        }
        if nesting.with(token) > DEPTH_MAX {
            let what = format!("it nests more than {DEPTH_MAX} deep");
            let help = "one of a list is [\"a\", \"b\"].contains(device.type); `-l` chooses too";
            return Err(FilterError::at(text, Some(at), what, help));
        }
        let end = at.saturating_add(token.len());
        let next = text.get(end..).unwrap_or_default().trim_start();
        let free = !matches!(last, "." | "::" | "has") && !next.starts_with(':');
        last = token;
        let new = match token {
            "device" if free => "principal",
            "now" if free => "context.now",
            "resource" | "action" | "context" if free => {
                let what = format!("`{token}` is not here: a filter is about `device` and `now`");
                return Err(FilterError::at(text, Some(at), what, ""));
            }
            _ => continue,
        };
        written.text.push_str(text.get(copied..at).unwrap_or_default());
        written.marks.push((written.text.len(), at));
        written.text.push_str(new);
        written.marks.push((written.text.len(), end));
        copied = end;
    }
    written.text.push_str(text.get(copied..).unwrap_or_default());
    Ok(written)
}

/// How deep what is read so far nests at most, as Cedar has it: `a && b && c` is one inside the other.
#[derive(Default)]
struct Nesting {
    /// Of the brackets around.
    around: Vec<(usize, usize)>,
    /// Parts that are chained here, and steps in the latest of them.
    here: (usize, usize),
}

impl Nesting {
    fn with(&mut self, token: &str) -> usize {
        let (chain, steps) = &mut self.here;
        match token {
            "(" | "[" | "{" => self.around.push(std::mem::take(&mut self.here)),
            ")" | "]" | "}" => self.here = self.around.pop().unwrap_or_default(),
            "," => self.here = (0, 0),
            "&&" | "||" | "+" | "-" | "*" | "!" | "if" | "then" | "else" => {
                (*chain, *steps) = (chain.saturating_add(1), 0);
            }
            "." | "==" | "<" | ">" | "has" | "like" | "in" | "is" => {
                *steps = steps.saturating_add(1);
            }
            _ => {}
        }
        let of = |(chain, steps): &(usize, usize)| chain.saturating_add(*steps);
        let around: usize = self.around.iter().map(|level| of(level).saturating_add(1)).sum();
        around.saturating_add(of(&self.here))
    }
}

/// Words, texts and signs, with where they begin. Comments are left out.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(at..)?;
            let blank = rest.len().saturating_sub(rest.trim_start().len());
            at = at.saturating_add(blank);
            let rest = rest.get(blank..)?;
            if rest.starts_with("//") {
                at = at.saturating_add(rest.find('\n').unwrap_or(rest.len()));
                continue;
            }
            let length = length(rest)?;
            let token = (at, rest.get(..length)?);
            at = at.saturating_add(length);
            return Some(token);
        }
    })
}

/// Of the first token.
fn length(rest: &str) -> Option<usize> {
    let first = rest.chars().next()?;
    let word = |c: char| c.is_alphanumeric() || c == '_';
    Some(match first {
        '"' => {
            let mut quoted = false;
            let mut inside = rest.char_indices().skip(1);
            let end = inside.find(|(_, c)| {
                let ends = *c == '"' && !quoted;
                quoted = *c == '\\' && !quoted;
                ends
            });
            end.map_or(rest.len(), |(at, _)| at.saturating_add(1))
        }
        c if word(c) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
        ':' | '&' | '|' | '=' if rest.chars().nth(1) == Some(first) => 2,
        c => c.len_utf8(),
    })
}

type Wrong = (String, String);

/// Writes what is said as what is meant, from the inside out.
fn meant(json: &mut Json) -> Result<(), Wrong> {
    match json {
        Json::Object(object) => object.values_mut().try_for_each(meant)?,
        Json::Array(items) => items.iter_mut().try_for_each(meant)?,
        _ => return Ok(()),
    }
    if let Some(new) = one_meant(json)? {
        *json = new;
    }
    Ok(())
}

fn one_meant(json: &Json) -> Result<Option<Json>, Wrong> {
    let Some((op, arg)) = json.as_object().and_then(|object| object.iter().next()) else {
        return Ok(None);
    };
    let attr = arg.get("attr").and_then(Json::as_str);
    let left = arg.get("left").unwrap_or(&Json::Null);
    Ok(match (op.as_str(), attr) {
        (".", Some(name)) if is_labels(left) => Some(label(name)),
        ("has", Some(name)) if is_labels(left) => Some(has_label(&text(name))),
        ("has", Some("labels")) if is_device(left) => {
            let help = "write `device.labels has rack`, or `device.labels.rack != \"\"`";
            return Err((
                "`device has labels` asks for no label in particular".into(),
                help.into(),
            ));
        }
        ("has", Some(name)) if is_device(left) => match Text::of(name) {
            Some(known) if known.otherwise().is_empty() => {
                Some(json!({ "!=": { "left": field(name), "right": text("") } }))
            }
            // Unknown words are Cedar's to tell.
            None if !always_there(name) => Some(field(name)),
            _ => {
                let otherwise = Text::of(name).map_or("", Text::otherwise);
                let help = match otherwise {
                    "" => "compare it".to_owned(),
                    word => format!("where nobody says anything it is \"{word}\""),
                };
                return Err((format!("`device.{name}` is always there"), help));
            }
        },
        ("getTag", None) if is_device(left) => {
            let key = arg.get("right").unwrap_or(&Json::Null);
            key.get("Value").and_then(Json::as_str).map(label)
        }
        // As policies write it: `principal.type in [DeviceType::"plc", DeviceType::"hmi"]`.
        ("in", None) if attribute(left).is_some() => {
            let right = arg.get("right").unwrap_or(&Json::Null);
            let items = right.get("Set").or_else(|| right.get("Value")).and_then(Json::as_array);
            let items = items.map_or(std::slice::from_ref(right), Vec::as_slice);
            let names = items.iter().map(|item| Some(text(named_like(left, item)?)));
            names
                .collect::<Option<Vec<Json>>>()
                .map(|names| json!({ "contains": { "left": { "Set": names }, "right": left } }))
        }
        ("==" | "!=", None) => {
            let right = arg.get("right").unwrap_or(&Json::Null);
            let plain = |a: &Json, b: &Json| Some(text(named_like(a, b)?));
            match (plain(left, right), plain(right, left)) {
                (Some(right), _) => Some(json!({ op: { "left": left, "right": right } })),
                (_, Some(left)) => Some(json!({ op: { "left": left, "right": right } })),
                _ => None,
            }
        }
        _ => None,
    })
}

fn text(text: &str) -> Json {
    json!({ "Value": text })
}

fn is_device(json: &Json) -> bool {
    json.get("Var").and_then(Json::as_str) == Some("principal")
}

fn attribute(json: &Json) -> Option<&str> {
    let get = json.get(".")?;
    get.get("left").filter(|left| is_device(left))?;
    get.get("attr")?.as_str()
}

fn is_labels(json: &Json) -> bool {
    attribute(json) == Some("labels")
}

fn field(name: &str) -> Json {
    json!({ ".": { "left": { "Var": "principal" }, "attr": name } })
}

fn has_label(name: &Json) -> Json {
    json!({ "hasTag": { "left": { "Var": "principal" }, "right": name } })
}

/// A label, or "" where there is none: guarded, as Cedar wants it.
fn label(name: &str) -> Json {
    let get = json!({ "getTag": { "left": { "Var": "principal" }, "right": text(name) } });
    json!({ "if-then-else": { "if": has_label(&text(name)), "then": get, "else": text("") } })
}

/// `device.type` and `DeviceType::"plc"`: the id in the second.
fn named_like<'j>(field: &Json, entity: &'j Json) -> Option<&'j str> {
    let kind = match attribute(field)? {
        "type" => "DeviceType",
        "zone" => "Zone",
        "site" => "Site",
        _ => return None,
    };
    let entity = entity.pointer("/Value/__entity").or_else(|| entity.get("__entity"))?;
    let same = entity.get("type").and_then(Json::as_str) == Some(kind);
    same.then(|| entity.get("id").and_then(Json::as_str)).flatten()
}

fn always_there(name: &str) -> bool {
    compile::is_word(name)
}
