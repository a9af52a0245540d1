//! Cedar, the policy language: reading, strict validation, and the oracle.
//!
//! Cedar itself never decides about a packet. [`read_all`] turns policies into [`Policy`] values that
//! [`crate::decide`] compiles; what that form cannot say runs on Cedar's authorizer, and is listed. [`Oracle`]
//! asks that authorizer the same questions, for tests and for re-checking.

mod oracle;

use cedar_policy::{PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;
use serde_json::Value as Json;

use crate::Fault;
use crate::fault::position;
use crate::folder::SCHEMA_FILE;
use crate::language::{
    Actions, Binary, Condition, Effect, Entity, Expr, OnCedar, Policy, Scope, Var,
};
use crate::terms;

pub(crate) use oracle::Aside;
pub use oracle::Oracle;

/// Validates policies (file name and text) against a schema in strict mode. Warnings are faults:
/// a policy that can never apply is a mistake somebody relies on.
pub fn validate(schema_text: &str, policies: &[(&str, &str)]) -> Result<(), Vec<Fault>> {
    let mut faults = Vec::new();
    let schema = schema(schema_text).map_err(|fault| faults.push(fault)).ok();
    let mut set = PolicySet::new();
    let mut pieces = Vec::new();
    for (file, text) in policies {
        for (offset, piece) in split(text) {
            let id = PolicyId::new(pieces.len().to_string());
            pieces.push((*file, *text, offset));
            let parsed = cedar_policy::Policy::parse(Some(id), piece)
                .map_err(|e| syntax(file, text, offset, &e))
                .and_then(|policy| {
                    set.add(policy)
                        .map_err(|e| vec![Fault::of_file(file, "not accepted", e.to_string())])
                });
            faults.extend(parsed.err().into_iter().flatten());
        }
    }
    if let Some(schema) = schema {
        let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
        let place = |id: &PolicyId, diagnostic: &dyn Diagnostic, what: &str, why: String| {
            let id: &str = id.as_ref();
            let found = id.parse::<usize>().ok().and_then(|i| pieces.get(i));
            let (file, text, offset) = found.copied().unwrap_or(("policies", "", 0));
            let inside =
                diagnostic.labels().and_then(|mut labels| labels.next()).map_or(0, |l| l.offset());
            let fault = Fault::at(file, text, offset.saturating_add(inside), what, why);
            let help = diagnostic.help().map(|h| h.to_string()).unwrap_or_default();
            fault.help(&help)
        };
        for error in result.validation_errors() {
            faults.push(place(error.policy_id(), error, "not valid", unnumbered(error)));
        }
        if faults.is_empty() {
            for warning in result.validation_warnings() {
                faults.push(place(warning.policy_id(), warning, "suspicious", unnumbered(warning)));
            }
        }
    }
    faults.sort();
    faults.dedup();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Cedar's message without its number for the policy, which means nothing to a reader.
fn unnumbered(message: &dyn std::fmt::Display) -> String {
    let text = message.to_string();
    let rest = text.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, "));
    rest.map_or(text.clone(), |(_, rest)| rest.to_owned())
}

/// Reads policy files (name and text), in order. Every policy needs an `@id`.
pub fn read_all(files: &[(&str, &str)]) -> Result<Vec<Policy>, Vec<Fault>> {
    let (mut policies, mut faults) = (Vec::new(), Vec::new());
    for (file, text) in files {
        for (offset, piece) in split(text) {
            match read(file, text, offset, piece) {
                Ok(policy) => policies.push(policy),
                Err(found) => faults.extend(found),
            }
        }
    }
    if faults.is_empty() { Ok(policies) } else { Err(faults) }
}

fn schema(text: &str) -> Result<Schema, Fault> {
    let (schema, _warnings) = Schema::from_cedarschema_str(text).map_err(|error| {
        let at = error.labels().and_then(|mut labels| labels.next()).map_or(0, |l| l.offset());
        Fault::at(SCHEMA_FILE, text, at, "schema not understood", error.to_string())
    })?;
    Ok(schema)
}

/// The policies of a text: each piece ends with its `;` and starts after the one before. Comments and
/// strings may contain anything.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let mut start = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '/' if chars.peek().is_some_and(|(_, next)| *next == '/') => {
                for (_, c) in chars.by_ref() {
                    if c == '\n' {
                        break;
                    }
                }
            }
            '"' => {
                start.get_or_insert(at);
                while let Some((_, c)) = chars.next() {
                    match c {
                        '\\' => drop(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            c if c.is_whitespace() => {}
            _ => {
                let from = *start.get_or_insert(at);
                if c == ';' {
                    pieces.extend(text.get(from..=at).map(|piece| (from, piece)));
                    start = None;
                }
            }
        }
    }
    // What is left has no `;`: Cedar says so.
    pieces.extend(start.and_then(|from| text.get(from..).map(|piece| (from, piece))));
    pieces
}

fn syntax(file: &str, text: &str, offset: usize, errors: &cedar_policy::ParseErrors) -> Vec<Fault> {
    errors
        .iter()
        .map(|error| {
            let at = error.labels().and_then(|mut labels| labels.next()).map_or(0, |l| l.offset());
            let why = error.to_string();
            Fault::at(file, text, offset.saturating_add(at), "not understood", why)
        })
        .collect()
}

fn read(file: &str, text: &str, offset: usize, piece: &str) -> Result<Policy, Vec<Fault>> {
    let one = |what: &str, why: String| vec![Fault::at(file, text, offset, what, why)];
    let parsed =
        cedar_policy::Policy::parse(None, piece).map_err(|e| syntax(file, text, offset, &e))?;
    let json = parsed.to_json().map_err(|e| one("not understood", e.to_string()))?;
    let mut annotations: std::collections::BTreeMap<String, String> =
        parsed.annotations().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let Some(id) = annotations.remove("id").filter(|id| !id.trim().is_empty()) else {
        let why = "verdicts name the policy that decided; start it with @id(\"…\")".to_owned();
        return Err(one("policy without a name", why));
    };
    if let Err((what, why)) = terms::check(&annotations) {
        return Err(one(&what, why));
    }
    let part = |name: &str| json.get(name).unwrap_or(&Json::Null);
    let effect = match parsed.effect() {
        cedar_policy::Effect::Permit => Effect::Permit,
        cedar_policy::Effect::Forbid => Effect::Forbid,
    };
    let conditions = part("conditions").as_array().into_iter().flatten().map(condition);
    let (conditions, on_cedar) = match conditions.collect::<Result<Vec<_>, _>>() {
        Ok(conditions) => (conditions, None),
        Err(why) => {
            let mut names = Vec::new();
            named(part("conditions"), &mut names);
            (Vec::new(), Some(OnCedar { why, text: piece.trim().to_owned(), names }))
        }
    };
    let cannot = |what: String| one("scope not understood", what);
    Ok(Policy {
        id,
        effect,
        annotations,
        principal: scope(part("principal")).map_err(cannot)?,
        action: actions(part("action")).map_err(cannot)?,
        resource: scope(part("resource")).map_err(cannot)?,
        conditions,
        on_cedar,
        file: file.to_owned(),
        line: position(text, offset).0,
    })
}

/// Entities anywhere in a JSON expression.
fn named(json: &Json, names: &mut Vec<Entity>) {
    match json {
        Json::Object(object) => {
            names.extend(object.get("__entity").and_then(|e| entity(e).ok()));
            object.values().for_each(|value| named(value, names));
        }
        Json::Array(items) => items.iter().for_each(|item| named(item, names)),
        _ => {}
    }
}

fn text_of<'j>(json: &'j Json, key: &str) -> Result<&'j str, String> {
    json.get(key).and_then(Json::as_str).ok_or_else(|| format!("`{key}` is missing in {json}"))
}

fn entity(json: &Json) -> Result<Entity, String> {
    let inner = json.get("__entity").unwrap_or(json);
    Ok(Entity { kind: text_of(inner, "type")?.to_owned(), id: text_of(inner, "id")?.to_owned() })
}

fn scope(json: &Json) -> Result<Scope, String> {
    let named = || entity(json.get("entity").unwrap_or(&Json::Null));
    match text_of(json, "op")? {
        "All" => Ok(Scope::All),
        "==" => Ok(Scope::Eq(named()?)),
        "in" => Ok(Scope::In(named()?)),
        "is" => {
            let kind = text_of(json, "entity_type")?.to_owned();
            match json.get("in") {
                None => Ok(Scope::Is(kind)),
                Some(of) => Ok(Scope::IsIn(kind, entity(of.get("entity").unwrap_or(&Json::Null))?)),
            }
        }
        op => Err(format!("scope `{op}`")),
    }
}

fn actions(json: &Json) -> Result<Actions, String> {
    let named = |json: &Json| entity(json).map(|e| e.id);
    if text_of(json, "op")? == "All" {
        return Ok(Actions::All);
    }
    match (json.get("entity"), json.get("entities").and_then(Json::as_array)) {
        (Some(one), _) => Ok(Actions::These(vec![named(one)?])),
        (None, Some(many)) => Ok(Actions::These(many.iter().map(named).collect::<Result<_, _>>()?)),
        (None, None) => Err("the action".to_owned()),
    }
}

fn condition(json: &Json) -> Result<Condition, String> {
    let unless = text_of(json, "kind")? == "unless";
    Ok(Condition { unless, body: expr(json.get("body").unwrap_or(&Json::Null))? })
}

/// Cedar bounds the nesting of what it parses, so this recursion is bounded too.
fn expr(json: &Json) -> Result<Expr, String> {
    let (op, arg) = json
        .as_object()
        .and_then(|object| object.iter().next())
        .ok_or_else(|| format!("expression {json}"))?;
    let side = |key: &str| arg.get(key).ok_or_else(|| format!("`{op}` without `{key}`"));
    let boxed = |key: &str| side(key).and_then(expr).map(Box::new);
    let two = |op: Binary| Ok(Expr::Binary(op, boxed("left")?, boxed("right")?));
    match op.as_str() {
        "Value" => value(arg),
        "Var" => match arg.as_str() {
            Some("principal") => Ok(Expr::Var(Var::Principal)),
            Some("resource") => Ok(Expr::Var(Var::Resource)),
            Some("context") => Ok(Expr::Var(Var::Context)),
            _ => Err("conditions about the action".to_owned()),
        },
        "Set" => {
            let items = arg.as_array().into_iter().flatten().map(expr);
            Ok(Expr::Set(items.collect::<Result<_, _>>()?))
        }
        "!" => Ok(Expr::Not(boxed("arg")?)),
        "&&" => two(Binary::And),
        "||" => two(Binary::Or),
        "==" => two(Binary::Eq),
        "!=" => two(Binary::Ne),
        "<" => two(Binary::Lt),
        "<=" => two(Binary::Le),
        ">" => two(Binary::Gt),
        ">=" => two(Binary::Ge),
        "in" => two(Binary::In),
        "contains" => two(Binary::Contains),
        "containsAll" => two(Binary::ContainsAll),
        "containsAny" => two(Binary::ContainsAny),
        "." | "has" => {
            let (left, attr) = (boxed("left")?, text_of(arg, "attr")?.to_owned());
            Ok(if op == "." { Expr::Get(left, attr) } else { Expr::Has(left, attr) })
        }
        "is" if arg.get("in").is_none() => {
            Ok(Expr::Is(boxed("left")?, text_of(arg, "entity_type")?.to_owned()))
        }
        "is" => {
            let is = Expr::Is(boxed("left")?, text_of(arg, "entity_type")?.to_owned());
            Ok(Expr::binary(
                Binary::And,
                is,
                Expr::Binary(Binary::In, boxed("left")?, boxed("in")?),
            ))
        }
        "like" => Ok(Expr::Like(boxed("left")?, pattern(side("pattern")?))),
        "if-then-else" => Ok(Expr::If(boxed("if")?, boxed("then")?, boxed("else")?)),
        other => Err(format!("`{other}`")),
    }
}

fn value(json: &Json) -> Result<Expr, String> {
    match json {
        Json::Bool(b) => Ok(Expr::Bool(*b)),
        Json::Number(n) => n.as_i64().map(Expr::Long).ok_or_else(|| format!("number {n}")),
        Json::String(text) => Ok(Expr::Text(text.clone())),
        Json::Array(items) => Ok(Expr::Set(items.iter().map(value).collect::<Result<_, _>>()?)),
        Json::Object(object) if object.contains_key("__entity") => entity(json).map(Expr::Entity),
        _ => Err(format!("value {json}")),
    }
}

/// Literal parts between wildcards; Cedar may give a literal in pieces.
pub(crate) fn pattern(json: &Json) -> Vec<String> {
    let mut parts = vec![String::new()];
    for element in json.as_array().into_iter().flatten() {
        match element.get("Literal").and_then(Json::as_str) {
            Some(literal) => parts.last_mut().into_iter().for_each(|part| part.push_str(literal)),
            None => parts.push(String::new()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::SCHEMA;

    #[test]
    fn splits_at_semicolons_outside_strings_and_comments() {
        let text = "// a; b\npermit(principal, action, resource) when { \"x;\\\"\" == \"//\" };\n\n @id(\"b\") forbid (p);  rest // x;";
        let pieces: Vec<(usize, &str)> = split(text);
        assert_eq!(pieces.len(), 3);
        assert!(pieces[0].1.starts_with("permit") && pieces[0].1.ends_with("};"));
        assert!(pieces[1].1.starts_with("@id"));
        assert_eq!(position(text, pieces[1].0), (4, 2));
        assert!(pieces[2].1.starts_with("rest"));
        assert!(split("// only a comment").is_empty());
    }

    /// The first fault as text.
    fn fault(policies: &str) -> String {
        let files = [("policies/x.cedar", policies)];
        let faults = validate(SCHEMA, &files).err().or_else(|| read_all(&files).err());
        faults.map(|f| f[0].to_string()).unwrap_or_default()
    }

    #[test]
    fn faults_name_the_line() {
        let check = |policies: &str, place: &str, expect: &str| {
            let text = fault(policies);
            assert!(text.starts_with(place) && text.contains(expect), "{policies}: {text}");
        };
        let p = "@id(\"a\")\npermit (principal, action, resource)";
        check(&format!("{p} when {{ principal.nose == 1 }};"), "policies/x.cedar:2:", "nose");
        check(
            &format!("{p} when {{ principal.assurance > \"x\" }};"),
            "policies/x.cedar:2:",
            "String",
        );
        check("\n\npermit (principal, action);", "policies/x.cedar:3:", "");
        check("permit (principal in Zoo::\"a\", action, resource);", "policies/x.cedar:1:", "Zoo");
        check("permit (principal, action, resource);", "policies/x.cedar:1:1", "without a name");
        check(&format!("@mode(\"maybe\")\n{p};"), "policies/x.cedar:1:1", "maybe");
        check(&format!("@speed(\"1\")\n{p};"), "policies/x.cedar:1:1", "speed");
        check(&format!("@share(\"lots\")\n{p};"), "policies/x.cedar:1:1", "lots");
        check(&format!("@rate(\"0/s\")\n{p};"), "policies/x.cedar:1:1", "0/s");
        assert_eq!(fault(&format!("{p};")), "");
        assert_eq!(validate("entity X", &[]).unwrap_err()[0].file, SCHEMA_FILE);
    }

    #[test]
    fn what_cannot_be_compiled_is_kept_for_cedar() {
        let text = "@id(\"sum\")\n@log(\"\")\npermit (principal, action, resource)\nwhen { context.port + 1 == 3 && principal != Device::\"d\" };";
        let policies = read_all(&[("policies/x.cedar", text)]).unwrap();
        let on_cedar = policies[0].on_cedar.as_ref().unwrap();
        assert_eq!((on_cedar.why.as_str(), on_cedar.names.len()), ("`+`", 1));
        assert_eq!(policies[0].to_string().trim(), text);
    }

    #[test]
    fn reads_what_it_prints() {
        let text = r#"@id("a \"b\"")
@mode("shadow")
permit (
  principal is Device in Zone::"main/x",
  action in [Action::"connect", Action::"read"],
  resource in ServiceGroup::"g"
) when { context.protocol == "tcp" && context.port >= 80 && [1, 2].contains(principal.assurance) } unless { !resource.sensitive || (if principal.owner like "a*b\*c" then true else false) } when { (resource has device) && resource.device == Device::"d" && (principal is Device) };
"#;
        let policies = read_all(&[("policies/x.cedar", text)]).unwrap();
        let printed = policies[0].to_string();
        let again = read_all(&[("policies/x.cedar", &printed)]).unwrap();
        assert_eq!(policies, again, "{printed}");
        validate(SCHEMA, &[("policies/x.cedar", &printed)]).unwrap();
    }
}
