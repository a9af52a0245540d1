//! TLS profiles of an entry (RFC 9761): how a device's TLS looks. They are read and shown; an
//! enforcement point cannot check them, so they narrow nothing and open nothing by themselves.

use serde_json::{Map, Value as Json, json};

/// Members of a profile that hold numbers, by their names in the module; the examples of the RFC
/// write some with an `s` at the end.
const NUMBERS: &[&str] = &[
    "cipher-suite",
    "extension-type",
    "supported-group",
    "signature-algorithm",
    "signature-algorithm-cert",
    "psk-key-exchange-mode",
    "certificate-compression-algorithm",
];

/// Members that hold words.
const WORDS: &[&str] = &[
    "supported-tls-version",
    "supported-dtls-version",
    "application-protocol",
    "certificate-authority",
    "accept-list-ta-cert",
];

/// A profile: what a ClientHello may contain.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TlsProfile {
    /// Its name.
    pub name: String,
    /// Values by member: numbers as IANA assigns them, or words (`tls13`).
    pub members: Vec<(&'static str, Vec<Value>)>,
}

/// A value of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An assigned number.
    Number(u16),
    /// A word.
    Word(String),
}

impl TlsProfile {
    /// Reads the list of a `client-profiles`; `Err` names what is not understood.
    pub(super) fn list(json: &Json) -> Result<Vec<Self>, String> {
        let list = json.get("tls-dtls-profile").or_else(|| json.get("tls-dtls-profiles"));
        let list = list.and_then(Json::as_array).ok_or("has no tls-dtls-profile")?;
        if json.as_object().is_none_or(|object| object.len() != 1) {
            return Err("has members beside tls-dtls-profile".to_owned());
        }
        list.iter().map(Self::one).collect()
    }

    fn one(json: &Json) -> Result<Self, String> {
        let object = json.as_object().ok_or("a profile is not an object")?;
        let mut profile = Self::default();
        for (key, value) in object {
            if key == "name" {
                profile.name = value.as_str().ok_or("a profile's name is not a string")?.to_owned();
                continue;
            }
            let member = member(key).ok_or_else(|| format!("`{key}` is not known"))?;
            // A single value counts as a list of one.
            let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            let read = |item: &Json| match item {
                Json::Number(n) => {
                    n.as_u64().and_then(|n| u16::try_from(n).ok()).map(Value::Number)
                }
                Json::String(word) => Some(Value::Word(word.clone())),
                _ => None,
            };
            let values: Option<Vec<Value>> = items.iter().map(read).collect();
            let values =
                values.ok_or_else(|| format!("`{key}` holds neither words nor numbers"))?;
            profile.members.push((member, values));
        }
        profile.members.sort_by_key(|(member, _)| *member);
        Ok(profile)
    }

    /// As in the module.
    pub(super) fn json(profiles: &[Self]) -> Json {
        let one = |profile: &Self| {
            let mut object = Map::new();
            object.insert("name".to_owned(), json!(profile.name));
            for (member, values) in &profile.members {
                let values = values.iter().map(|value| match value {
                    Value::Number(n) => json!(n),
                    Value::Word(word) => json!(word),
                });
                object.insert((*member).to_owned(), values.collect());
            }
            Json::Object(object)
        };
        json!({"tls-dtls-profile": profiles.iter().map(one).collect::<Vec<_>>()})
    }
}

/// The module's name of a member that may be written with an `s`.
fn member(key: &str) -> Option<&'static str> {
    let plural = |name: &&&str| key == **name || key.strip_suffix('s') == Some(**name);
    let irregular = match key {
        "certificate-authorities" => Some(&"certificate-authority"),
        _ => None,
    };
    NUMBERS.iter().chain(WORDS).find(plural).or(irregular).copied()
}
