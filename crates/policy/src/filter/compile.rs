//! A checked expression as a tree that runs without Cedar.

use std::net::IpAddr;

use cedar_policy::{Context, Entities, EvalResult, Expression, Request, eval_expression};
use serde_json::Value as Json;

use super::Text;
use crate::text::cedar_string;

/// One step; its parts are steps before it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Bool(bool),
    Long(i64),
    Literal(Box<str>),
    /// Milliseconds since the epoch.
    Time(i64),
    /// Milliseconds.
    Span(i64),
    Net(Net),
    Now,
    Text(Text),
    Flag(Flag),
    Assurance,
    FirstSeen,
    LastSeen,
    Many(Many),
    Label(Box<Self>),
    HasLabel(Box<Self>),
    /// The device is in one of these.
    In(Vec<(Text, Box<str>)>),
    Set(Vec<Self>),
    Not(Box<Self>),
    Negative(Box<Self>),
    If(Box<Self>, Box<Self>, Box<Self>),
    Like(Box<Self>, Vec<String>),
    IsEmpty(Box<Self>),
    Two(Two, Box<Self>, Box<Self>),
    ToDate(Box<Self>),
    ToTime(Box<Self>),
    /// A span in units of so many milliseconds.
    InUnits(Box<Self>, i64),
}

/// What is true of a device or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    Resurfaced,
    Confused,
}

/// What a device has several of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Many {
    Addresses,
    Networks,
    Macs,
    Keys,
}

/// Steps of two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Two {
    And,
    Or,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Plus,
    Minus,
    Times,
    Contains,
    ContainsAll,
    ContainsAny,
    Offset,
    Since,
}

/// An address, or a network as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Net {
    pub(super) address: IpAddr,
    pub(super) bits: u8,
}

impl Net {
    pub(super) fn one(address: IpAddr) -> Self {
        Self { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Nothing is set behind the network's part.
    pub(super) fn is_network(self) -> bool {
        self.address == self.first()
    }

    /// The first address of the network.
    pub(super) fn first(self) -> IpAddr {
        let bits = u32::from(self.bits);
        match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
                IpAddr::V6((v6.to_bits() & mask).into())
            }
        }
    }

    /// An address is in the network.
    pub(super) fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && Self { address, bits: self.bits }.first() == self.first()
    }
}

/// What is wrong, and what to do.
type Wrong = (String, String);

/// Compiles an expression that the validator has accepted.
pub(super) fn compile(json: &Json) -> Result<Node, Wrong> {
    let Some((op, arg)) = json.as_object().and_then(|object| object.iter().next()) else {
        return Err(not_here("this expression"));
    };
    let part = |key: &str| boxed(arg.get(key));
    let two = |two| Ok(Node::Two(two, part("left")?, part("right")?));
    let of = |number: usize| boxed(arg.as_array().and_then(|parts| parts.get(number)));
    match op.as_str() {
        "Value" => value(arg),
        "." => get(arg),
        "Set" => {
            let parts = arg.as_array().into_iter().flatten().map(compile);
            Ok(Node::Set(parts.collect::<Result<_, _>>()?))
        }
        "!" => Ok(Node::Not(part("arg")?)),
        "neg" => Ok(Node::Negative(part("arg")?)),
        "isEmpty" => Ok(Node::IsEmpty(part("arg")?)),
        "&&" => two(Two::And),
        "||" => two(Two::Or),
        "==" | "!=" => match same_device(arg) {
            Some(id) => {
                let op = if op == "==" { Two::Eq } else { Two::Ne };
                let id = Box::new(Node::Literal(id.into()));
                Ok(Node::Two(op, Box::new(Node::Text(Text::Id)), id))
            }
            None => two(if op == "==" { Two::Eq } else { Two::Ne }),
        },
        "<" => two(Two::Lt),
        "<=" => two(Two::Le),
        ">" => two(Two::Gt),
        ">=" => two(Two::Ge),
        "+" => two(Two::Plus),
        "-" => two(Two::Minus),
        "*" => two(Two::Times),
        "contains" => contains(arg),
        "containsAll" => two(Two::ContainsAll),
        "containsAny" => two(Two::ContainsAny),
        "hasTag" => Ok(Node::HasLabel(part("right")?)),
        "getTag" => Ok(Node::Label(part("right")?)),
        "like" => {
            Ok(Node::Like(part("left")?, crate::cedar::pattern(arg.get("pattern").unwrap_or(arg))))
        }
        "if-then-else" => Ok(Node::If(part("if")?, part("then")?, part("else")?)),
        "is" if is_device(arg.get("left")) => {
            let is = arg.get("entity_type").and_then(Json::as_str) == Some("Device");
            Ok(match arg.get("in") {
                Some(of) if is => Node::In(groups(of)?),
                _ => Node::Bool(is),
            })
        }
        "in" if is_device(arg.get("left")) => {
            Ok(Node::In(groups(arg.get("right").unwrap_or(&Json::Null))?))
        }
        "in" | "is" => Err((
            format!("`{op}` is for the device here"),
            "`device in Zone::\"cameras\"`, `device in [Site::\"w1\", Site::\"w2\"]`".to_owned(),
        )),
        "ip" => Ok(Node::Net(net(literal(arg)?)?)),
        "datetime" => Ok(Node::Time(asked(&format!(
            "datetime({}).durationSince(datetime(\"1970-01-01\")).toMilliseconds()",
            cedar_string(literal(arg)?)
        ))?)),
        "duration" => Ok(Node::Span(asked(&format!(
            "duration({}).toMilliseconds()",
            cedar_string(literal(arg)?)
        ))?)),
        "offset" => Ok(Node::Two(Two::Offset, of(0)?, of(1)?)),
        "durationSince" => Ok(Node::Two(Two::Since, of(0)?, of(1)?)),
        "toDate" => Ok(Node::ToDate(of(0)?)),
        "toTime" => Ok(Node::ToTime(of(0)?)),
        "toMilliseconds" => Ok(Node::InUnits(of(0)?, 1)),
        "toSeconds" => Ok(Node::InUnits(of(0)?, 1_000)),
        "toMinutes" => Ok(Node::InUnits(of(0)?, 60_000)),
        "toHours" => Ok(Node::InUnits(of(0)?, 3_600_000)),
        "toDays" => Ok(Node::InUnits(of(0)?, 86_400_000)),
        "isInRange" => Err((
            "a device has no single address".to_owned(),
            "device.networks.contains(ip(\"10.0.0.0/24\"))".to_owned(),
        )),
        other => Err(not_here(&format!("`{other}`"))),
    }
}

/// Whether a device has a word besides texts.
pub(super) fn is_word(name: &str) -> bool {
    word(name).is_some()
}

fn word(name: &str) -> Option<Node> {
    Some(match name {
        "assurance" => Node::Assurance,
        "addresses" => Node::Many(Many::Addresses),
        "networks" => Node::Many(Many::Networks),
        "macs" => Node::Many(Many::Macs),
        "keys" => Node::Many(Many::Keys),
        "resurfaced" => Node::Flag(Flag::Resurfaced),
        "confused" => Node::Flag(Flag::Confused),
        "first_seen" => Node::FirstSeen,
        "last_seen" => Node::LastSeen,
        _ => return None,
    })
}

fn not_here(what: &str) -> Wrong {
    (format!("{what} is not for filters"), String::new())
}

fn boxed(json: Option<&Json>) -> Result<Box<Node>, Wrong> {
    json.ok_or_else(|| not_here("this expression")).and_then(compile).map(Box::new)
}

fn value(json: &Json) -> Result<Node, Wrong> {
    match json {
        Json::Bool(value) => Ok(Node::Bool(*value)),
        Json::Number(number) => {
            number.as_i64().map(Node::Long).ok_or_else(|| not_here("this number"))
        }
        Json::String(text) => Ok(Node::Literal(text.as_str().into())),
        Json::Array(items) => Ok(Node::Set(items.iter().map(value).collect::<Result<_, _>>()?)),
        Json::Object(object) => match object.get("__extn") {
            // A call that Cedar has folded.
            Some(call) => {
                let function = call.get("fn").and_then(Json::as_str).unwrap_or_default();
                let argument = call.get("arg").cloned().unwrap_or_default();
                compile(&serde_json::json!({ function: [{ "Value": argument }] }))
            }
            None => Err((
                "an entity stands alone".to_owned(),
                "`device.zone == Zone::\"cameras\"`, or `device in Zone::\"cameras\"`".to_owned(),
            )),
        },
        Json::Null => Err(not_here("nothing")),
    }
}

fn get(arg: &Json) -> Result<Node, Wrong> {
    let name = arg.get("attr").and_then(Json::as_str).unwrap_or_default();
    let left = arg.get("left");
    let var = left.and_then(|left| left.get("Var")).and_then(Json::as_str);
    match (var, Text::of(name)) {
        (Some("context"), _) if name == "now" => Ok(Node::Now),
        (Some("principal"), Some(text)) => Ok(Node::Text(text)),
        (Some("principal"), None) => word(name).ok_or_else(|| not_here(&format!("`{name}`"))),
        _ => Err(not_here(&format!("`.{name}` of something else than a device"))),
    }
}

fn is_device(json: Option<&Json>) -> bool {
    json.and_then(|json| json.get("Var")).and_then(Json::as_str) == Some("principal")
}

/// `device == Device::"camera-7"`, either way round.
fn same_device(arg: &Json) -> Option<&str> {
    let (left, right) = (arg.get("left"), arg.get("right"));
    let entity = match (is_device(left), is_device(right)) {
        (true, false) => right,
        (false, true) => left,
        _ => return None,
    }?;
    entity.pointer("/Value/__entity/id").and_then(Json::as_str)
}

/// A network that no device can be in is a slip of whoever wrote it.
fn contains(arg: &Json) -> Result<Node, Wrong> {
    let (set, one) = (boxed(arg.get("left"))?, boxed(arg.get("right"))?);
    if let (Node::Many(Many::Networks), Node::Net(net)) = (&*set, &*one)
        && !net.is_network()
    {
        let what = format!("{}/{} is an address in a network, no network", net.address, net.bits);
        return Err((what, format!("write {}/{}", net.first(), net.bits)));
    }
    Ok(Node::Two(Two::Contains, set, one))
}

/// What a device can be in: one, or a list.
fn groups(json: &Json) -> Result<Vec<(Text, Box<str>)>, Wrong> {
    let help = "`device in Zone::\"cameras\"`, `device in [Site::\"w1\", Site::\"w2\"]`";
    let wrong = || ("a device is in what is named".to_owned(), help.to_owned());
    let list = json.get("Set").or_else(|| json.get("Value").filter(|value| value.is_array()));
    if let Some(items) = list.and_then(Json::as_array) {
        let mut all = Vec::new();
        for item in items {
            all.extend(groups(item)?);
        }
        return Ok(all);
    }
    let entity = json.pointer("/Value/__entity").or_else(|| json.get("__entity"));
    let entity = entity.ok_or_else(wrong)?;
    let text = |key: &str| entity.get(key).and_then(Json::as_str).ok_or_else(wrong);
    let of = match text("type")? {
        "Device" => Text::Id,
        "DeviceType" => Text::Type,
        "Zone" => Text::Zone,
        "Site" => Text::Site,
        _ => return Err(wrong()),
    };
    Ok(vec![(of, text("id")?.into())])
}

/// The text that `ip("…")` and its like have; the validator wants a literal there.
fn literal(arg: &Json) -> Result<&str, Wrong> {
    let first = arg.as_array().and_then(|parts| parts.first());
    let text = first.and_then(|part| part.get("Value")).and_then(Json::as_str);
    text.ok_or_else(|| not_here("a text that is made"))
}

fn net(text: &str) -> Result<Net, Wrong> {
    let wrong = || (format!("`{text}` is no address"), "ip(\"10.0.0.0/24\")".to_owned());
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse().map_err(|_| wrong())?)),
        None => (text, None),
    };
    let one = Net::one(address.parse().map_err(|_| wrong())?);
    Ok(Net { bits: bits.unwrap_or(one.bits), ..one })
}

/// What Cedar makes of a text that it alone reads.
fn asked(text: &str) -> Result<i64, Wrong> {
    let wrong = |why: &dyn std::fmt::Display| (why.to_string(), String::new());
    let expression: Expression = text.parse().map_err(|e: cedar_policy::ParseErrors| wrong(&e))?;
    let request = Request::new(
        super::oracle::uid("Device", "").map_err(|e| wrong(&e))?,
        super::oracle::uid("Action", "select").map_err(|e| wrong(&e))?,
        super::oracle::uid("Estate", "").map_err(|e| wrong(&e))?,
        Context::empty(),
        None,
    );
    let request = request.map_err(|e| wrong(&e))?;
    match eval_expression(&request, &Entities::empty(), &expression) {
        Ok(EvalResult::Long(number)) => Ok(number),
        Ok(_) => Err(not_here("this text")),
        Err(error) => Err(wrong(&error)),
    }
}
