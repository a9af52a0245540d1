//! What is listed, where it lies in the API, and which columns people see of it.

use serde_json::Value;

use super::args::Kind;
use super::words::{at, instant, list, micros, plain, short, time, word};

/// A column of a table.
pub(super) struct Column {
    pub(super) head: &'static str,
    /// Only with `-o wide`.
    pub(super) wide: bool,
    pub(super) cell: fn(&Value) -> String,
}

/// A sort of thing.
pub(super) struct Listing {
    pub(super) path: &'static str,
    /// Where its id is.
    pub(super) id: &'static str,
    pub(super) columns: &'static [Column],
    /// Columns of a view, which are shown instead.
    pub(super) chosen: Vec<String>,
}

const fn of(head: &'static str, cell: fn(&Value) -> String) -> Column {
    Column { head, wide: false, cell }
}

const fn wide(head: &'static str, cell: fn(&Value) -> String) -> Column {
    Column { head, wide: true, cell }
}

const DEVICES: &[Column] = &[
    of("ID", |v| at(v, "/id")),
    of("NAME", |v| at(v, "/name/value")),
    of("TYPE", |v| at(v, "/type/value")),
    wide("VENDOR", |v| at(v, "/vendor/value")),
    of("MODEL", |v| at(v, "/model/value")),
    wide("FIRMWARE", |v| at(v, "/firmware/value")),
    of("SITE", |v| at(v, "/site")),
    wide("ZONE", |v| at(v, "/zone/value")),
    of("ADDRESS", address),
    of("OWNER", |v| at(v, "/owner/value")),
    wide("CRITICALITY", |v| at(v, "/criticality/value")),
    wide("ASSURANCE", |v| at(v, "/assurance/value")),
    wide("SUPPORT", |v| at(v, "/support/value")),
    wide("EXPOSURE", |v| at(v, "/exposure/value")),
    of("POSTURE", |v| at(v, "/posture/value")),
    of("STATE", |v| at(v, "/state")),
    of("LAST SEEN", |v| instant(v, "/last_seen")),
    wide("KEYS", |v| at(v, "/keys")),
    wide("LABELS", |v| at(v, "/labels")),
];

const SITES: &[Column] = &[
    of("ID", |v| at(v, "/id")),
    of("NAME", |v| at(v, "/name")),
    of("STATE", |v| at(v, "/state")),
    of("DEVICES", |v| at(v, "/devices")),
    of("INTENDED", |v| at(v, "/intended/generation")),
    of("APPLIED", |v| at(v, "/applied")),
    of("VERIFIED", |v| at(v, "/verified")),
    wide("TOKEN UNTIL", |v| instant(v, "/token_until")),
    wide("CERTIFICATE UNTIL", |v| instant(v, "/identity/not_after")),
    of("SAYS", says),
];

const TEAMS: &[Column] = &[
    of("ID", |v| at(v, "/id")),
    of("NAME", |v| at(v, "/name")),
    of("CONTACT", |v| at(v, "/contact")),
    of("ESCALATES AFTER", |v| format!("{} min", at(v, "/escalate_after_min"))),
    of("TO", |v| at(v, "/escalate_to")),
];

const LEASES: &[Column] = &[
    of("DEVICE", |v| at(v, "/device")),
    of("SITE", |v| at(v, "/site")),
    of("LEASE", lease),
    of("DECISION", |v| at(v, "/decision")),
    wide("ENTRY", |v| at(v, "/entry")),
];

const FLOWS: &[Column] = &[
    wide("DEVICE", |v| at(v, "/device")),
    of("HOUR", |v| instant(v, "/hour")),
    of("ROLE", |v| at(v, "/role")),
    of("PEER", |v| {
        let known = [at(v, "/name"), at(v, "/peer"), at(v, "/address")];
        known.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
    }),
    wide("PEER'S ID", |v| at(v, "/peer")),
    wide("ADDRESS", |v| at(v, "/address")),
    of("SERVICE", |v| format!("{} {}", at(v, "/transport"), at(v, "/port")).trim().to_owned()),
    of("PROTOCOL", |v| at(v, "/protocol")),
    of("FLOWS", |v| at(v, "/flows")),
    wide("PACKETS OUT", |v| at(v, "/packets_out")),
    wide("PACKETS IN", |v| at(v, "/packets_in")),
    of("BYTES OUT", |v| at(v, "/bytes_out")),
    of("BYTES IN", |v| at(v, "/bytes_in")),
    of("LAST SEEN", |v| instant(v, "/last_seen")),
];

const REACH: &[Column] = &[
    of("DEVICE", |v| at(v, "/device")),
    of("GRANTED", |v| match v.pointer("/granted").and_then(Value::as_array) {
        Some(granted) => granted.len().to_string(),
        None => at(v, "/direct_services"),
    }),
    of("SERVICES BY HOPPING", |v| either(v, "/taken_over_services", "/transitive_services")),
    of("DEVICES BY HOPPING", |v| either(v, "/taken_over_devices", "/transitive_devices")),
];

const POLICY: &[Column] = &[
    of("NUMBER", |v| at(v, "/number")),
    of("CONTENT", |v| short(v, "/content")),
    of("ORIGIN", |v| at(v, "/origin")),
    of("SINCE", |v| instant(v, "/at")),
    of("FILES", |v| {
        let files = v.pointer("/files").and_then(Value::as_object);
        files.map_or(0, serde_json::Map::len).to_string()
    }),
];

const SLO: &[Column] = &[
    of("LEVEL", |v| at(v, "/name")),
    of("MEASURED", |v| at(v, "/count")),
    of("HALF WITHIN", |v| micros(v, "/p50_us")),
    of("99 OF 100 WITHIN", |v| micros(v, "/p99_us")),
    of("WORST", |v| micros(v, "/max_us")),
    of("PROMISED", |v| micros(v, "/promised_us")),
    of("KEPT", |v| at(v, "/kept")),
];

const OPERATORS: &[Column] = &[
    of("ID", |v| at(v, "/id")),
    of("LOGIN", |v| at(v, "/login")),
    of("NAME", |v| at(v, "/name")),
    wide("CONTACT", |v| at(v, "/contact")),
    of("ROLES", |v| at(v, "/roles")),
    of("SITES", sites),
    of("STATE", |v| switched(v, "/enabled", "active", "disabled")),
    of("PASSWORD", |v| at(v, "/password")),
];

const TOKENS: &[Column] = &[
    of("ID", |v| at(v, "/id")),
    of("FOR", |v| at(v, "/label")),
    of("OPERATOR", |v| at(v, "/operator")),
    of("ROLES", |v| at(v, "/roles")),
    of("SITES", sites),
    of("STATE", |v| switched(v, "/live", "good", "ended")),
    of("UNTIL", |v| instant(v, "/expires_at")),
    wide("USED", |v| instant(v, "/used_at")),
];

const APPROVALS: &[Column] = &[
    of("ID", |v| at(v, "/id")),
    of("STATE", |v| at(v, "/state")),
    of("BY", |v| at(v, "/by")),
    of("NEEDS", |v| at(v, "/needs")),
    of("WHAT", |v| at(v, "/command/change")),
    of("DEVICES", |v| at(v, "/command/devices")),
    of("WHY", |v| at(v, "/why")),
    of("UNTIL", |v| instant(v, "/expires_at")),
];

pub(super) const SIGNATURE_KEYS: &[Column] = &[
    of("KEY", |v| short(v, "/id")),
    of("CLASS", |v| at(v, "/class")),
    of("GATEWAY", |v| at(v, "/gateway")),
    of("EPOCH", |v| at(v, "/epoch")),
    of("STATE", |v| at(v, "/state")),
    of("SINCE", |v| instant(v, "/since")),
    wide("DEVICE", |v| at(v, "/device")),
    wide("PUBLIC KEY", |v| at(v, "/key")),
    wide("ENTRY", |v| at(v, "/entry")),
];

pub(super) const CHAINS: &[Column] = &[
    of("CLASS", |v| at(v, "/class")),
    of("GATEWAY", |v| at(v, "/gateway")),
    of("EPOCH", |v| at(v, "/epoch")),
    of("UP TO", |v| at(v, "/last/last")),
    of("AT", |v| instant(v, "/last/at")),
    of("COMMITMENTS", |v| at(v, "/commitments")),
    of("MESSAGES", |v| at(v, "/messages")),
    of("FOUND", |v| at(v, "/found")),
    of("LATEST FINDING", |v| at(v, "/findings/0/what")),
    wide("DEVICE", |v| at(v, "/device")),
    wide("KEY", |v| short(v, "/key")),
    wide("ENTRY", |v| at(v, "/last/entry")),
];

pub(super) const EXCEPTIONS: &[Column] = &[
    of("ID", |v| at(v, "/id")),
    of("FROM", |v| at(v, "/from")),
    wide("SITE", |v| at(v, "/site")),
    of("TO", |v| at(v, "/to")),
    wide("PORT", |v| at(v, "/port")),
    wide("HOST", |v| at(v, "/host")),
    of("OWNER", |v| at(v, "/owner")),
    of("STATE", |v| at(v, "/state")),
    of("AGE", |v| time(v, "/age_s")),
    of("ENDS", |v| instant(v, "/expires_at")),
    of("LEFT", |v| time(v, "/left_s")),
    wide("SOURCE", |v| at(v, "/source")),
    wide("MADE BY", |v| at(v, "/made_by")),
    wide("ENDED BY", |v| at(v, "/ended_by")),
    wide("NOT IN FORCE BECAUSE", |v| at(v, "/why_not")),
    of("REASON", |v| at(v, "/reason")),
];

pub(super) const RELEASES: &[Column] = &[
    of("ID", |v| at(v, "/id")),
    of("VENDOR", |v| at(v, "/vendor")),
    of("MODEL", |v| at(v, "/model")),
    of("VERSION", |v| at(v, "/version")),
    of("STATE", |v| at(v, "/state")),
    of("COMPARED", |v| at(v, "/form")),
    of("VALUES", |v| at(v, "/values")),
    of("DOCUMENT", |v| short(v, "/document_sha256")),
    of("ADDED", |v| instant(v, "/added_at")),
    wide("BY", |v| at(v, "/added_by")),
    wide("WITHDRAWN", |v| instant(v, "/withdrawn_at")),
    wide("BY", |v| at(v, "/withdrawn_by")),
    wide("BECAUSE", |v| at(v, "/withdrawn_because")),
    wide("REPLACED BY", |v| at(v, "/replaced_by")),
    of("REASON", |v| at(v, "/reason")),
];

pub(super) const STANDINGS: &[Column] = &[
    of("DEVICE", |v| at(v, "/device")),
    wide("SITE", |v| at(v, "/site")),
    of("LEVEL", |v| at(v, "/level")),
    of("LIMIT", |v| at(v, "/limit")),
    of("UNTIL", |v| instant(v, "/until")),
    of("BY", |v| at(v, "/proof")),
    of("CERTIFICATES", |v| at(v, "/certificates")),
    wide("WHY NO HIGHER", |v| at(v, "/because")),
];

pub(super) const REQUESTS: &[Column] = &[
    of("REQUEST", |v| short(v, "/id")),
    wide("STATE", |v| at(v, "/state")),
    of("CALLS ITSELF", |v| at(v, "/names")),
    of("FROM", |v| at(v, "/from")),
    of("SEEN THERE", |v| at(v, "/seen_as/device")),
    of("VENDOR", |v| at(v, "/seen_as/vendor")),
    wide("MODEL", |v| at(v, "/seen_as/model")),
    wide("TYPE", |v| at(v, "/seen_as/type")),
    of("SINCE", |v| instant(v, "/at")),
    of("DOES NOT FIT", |v| at(v, "/contradictions")),
    wide("KEY", |v| short(v, "/key_sha256")),
    wide("IS", |v| at(v, "/device")),
];

pub(super) const EXPECTED: &[Column] = &[
    of("MAKER", |v| at(v, "/maker")),
    of("NUMBER", |v| at(v, "/number")),
    of("DEVICE", |v| at(v, "/device")),
    of("CAME", |v| at(v, "/came")),
];

pub(super) const KEYRING: &[Column] = &[
    of("KIND", |v| at(v, "/kind")),
    of("NAME", |v| at(v, "/name")),
    of("DEVICE", |v| at(v, "/device")),
    wide("SITE", |v| at(v, "/site")),
    of("OWNER", |v| at(v, "/owner")),
    wide("CONTACT", |v| at(v, "/contact")),
    of("AGE", |v| format!("{} d", at(v, "/age_days"))),
    of("ROTATE BY", |v| {
        let late = if at(v, "/overdue") == "yes" { " (overdue)" } else { "" };
        format!("{}{late}", instant(v, "/rotate_by"))
    }),
    of("UNTIL", |v| instant(v, "/until")),
    of("STATE", |v| at(v, "/state")),
    wide("PROVED UNTIL", |v| instant(v, "/proved_until")),
    wide("ENTRY", |v| at(v, "/entry")),
];

pub(super) const FINDINGS: &[Column] = &[
    of("WHEN", |v| instant(v, "/at")),
    of("DEVICE", |v| match v.pointer("/device") {
        Some(Value::Null) | None => format!("(door) {}", at(v, "/from")).trim_end().to_owned(),
        Some(device) => word(device),
    }),
    of("CODE", |v| at(v, "/code")),
    of("TIMES", |v| at(v, "/times")),
    wide("SINCE", |v| instant(v, "/since")),
    of("WHAT", |v| at(v, "/what")),
    of("ENTRY", |v| at(v, "/entry")),
];

const VIEWS: &[Column] = &[
    of("NAME", |v| at(v, "/name")),
    of("SELECTOR", |v| at(v, "/l")),
    of("WHERE", |v| at(v, "/where")),
    of("SEARCH", |v| at(v, "/q")),
    of("COLUMNS", |v| at(v, "/columns")),
    of("SORT", |v| at(v, "/sort")),
];

const QUESTIONS: &[Column] = &[
    of("ID", |v| at(v, "/id")),
    of("KIND", |v| at(v, "/kind")),
    of("WHAT", |v| at(v, "/what")),
    of("SINCE", |v| instant(v, "/since")),
    of("ANSWERABLE", |v| at(v, "/answerable")),
    of("CHOICES", |v| {
        list(v, "/choices").map(|choice| at(choice, "/choice")).collect::<Vec<_>>().join(", ")
    }),
];

/// What a device has in a column of a view.
pub(super) fn of_view(device: &Value, column: &str) -> String {
    match (column, column.strip_prefix("label.")) {
        ("id" | "site" | "state" | "labels", _) => at(device, &format!("/{column}")),
        ("first_seen" | "last_seen", _) => instant(device, &format!("/{column}")),
        ("address", _) => address(device),
        ("mac", _) => {
            let keys = list(device, "/keys").filter_map(Value::as_str);
            let macs = keys.filter_map(|key| key.strip_prefix("mac/")).map(plain);
            macs.collect::<Vec<_>>().join(", ")
        }
        (_, Some(label)) => {
            let label = device.get("labels").and_then(|labels| labels.get(label));
            label.map(word).unwrap_or_default()
        }
        (field, None) => {
            let value = device.get(field).and_then(|field| field.get("value"));
            value.map(word).unwrap_or_default()
        }
    }
}

/// What is known about a kind.
pub(super) const fn listing(kind: Kind) -> Listing {
    let (path, id, columns) = match kind {
        Kind::Devices => ("/v1/devices", "/id", DEVICES),
        Kind::Sites => ("/v1/sites", "/id", SITES),
        Kind::Teams => ("/v1/teams", "/id", TEAMS),
        Kind::Leases => ("/v1/leases", "/device", LEASES),
        // Of one device each: its id stands before the last part.
        Kind::Flows => ("/v1/devices", "/address", FLOWS),
        Kind::Reach => ("/v1/reach/devices", "/device", REACH),
        Kind::Policy => ("/v1/policy", "/content", POLICY),
        Kind::Slo => ("/v1/slo", "/name", SLO),
        Kind::Operators => ("/v1/operators", "/id", OPERATORS),
        Kind::Tokens => ("/v1/tokens", "/id", TOKENS),
        Kind::Approvals => ("/v1/approvals", "/id", APPROVALS),
        Kind::Questions => ("/v1/questions", "/id", QUESTIONS),
        Kind::Views => ("/v1/views", "/name", VIEWS),
    };
    Listing { path, id, columns, chosen: Vec::new() }
}

/// What is at one place, or at the other.
fn either(value: &Value, one: &str, other: &str) -> String {
    at(value, if value.pointer(one).is_some() { one } else { other })
}

/// The first address, and how many more there are.
fn address(device: &Value) -> String {
    let all: Vec<&str> = list(device, "/addresses").filter_map(Value::as_str).collect();
    match all.as_slice() {
        [] => String::new(),
        [one] => plain(one),
        [one, rest @ ..] => format!("{} +{}", plain(one), rest.len()),
    }
}

/// How far a site says it is, and why it is no further.
pub(super) fn says(site: &Value) -> String {
    let why = at(site, "/ack/why");
    let progress = match site.pointer("/ack/progress") {
        Some(_) => format!("{} {}", at(site, "/ack/generation"), at(site, "/ack/progress")),
        None => return String::new(),
    };
    if why.is_empty() { progress } else { format!("{progress}: {why}") }
}

fn switched(value: &Value, pointer: &str, on: &str, off: &str) -> String {
    let is_on = value.pointer(pointer) == Some(&Value::Bool(true));
    if is_on { on } else { off }.to_owned()
}

fn lease(lease: &Value) -> String {
    match lease.pointer("/granted").and_then(Value::as_bool) {
        Some(true) => "granted".to_owned(),
        Some(false) => "refused".to_owned(),
        None => String::new(),
    }
}

fn sites(grant: &Value) -> String {
    match grant.pointer("/sites") {
        None | Some(Value::Null) => "all".to_owned(),
        Some(_) => at(grant, "/sites"),
    }
}
