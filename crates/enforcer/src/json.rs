//! Reads `nft -j -n list table`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

/// A table as the kernel holds it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// Named counters: packets.
    pub counters: BTreeMap<String, u64>,
    /// Sets and maps by name.
    pub sets: BTreeMap<String, ListedSet>,
    /// Chains by name, with everything but handle and rules.
    pub chains: BTreeMap<String, Value>,
    /// Rules of each chain in order, with counts and handles taken out.
    pub rules: BTreeMap<String, Vec<Value>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ListedSet {
    /// Everything but handle and elements.
    pub definition: Value,
    pub elements: BTreeMap<String, ListedElement>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListedElement {
    pub value: String,
    pub comment: String,
    pub packets: u64,
    pub has_timeout: bool,
}

/// Every table that `text` lists, by family; `Err` says what is wrong with the answer.
pub(crate) fn listing(text: &str) -> Result<BTreeMap<String, Listing>, String> {
    let root: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let items = root.get("nftables").and_then(Value::as_array).ok_or("no `nftables` array")?;
    let mut out: BTreeMap<String, Listing> = BTreeMap::new();
    for item in items {
        let Some((kind, body)) = item.as_object().and_then(|object| object.iter().next()) else {
            continue;
        };
        let Some(family) = body.get("family").and_then(Value::as_str) else {
            continue;
        };
        out.entry(family.to_owned()).or_default().add(kind, body)?;
    }
    Ok(out)
}

impl Listing {
    fn add(&mut self, kind: &str, body: &Value) -> Result<(), String> {
        let field = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let name = field("name");
        match (kind, name) {
            ("counter", Some(name)) => {
                let packets = body.get("packets").and_then(Value::as_u64).unwrap_or(0);
                self.counters.insert(name, packets);
            }
            ("set" | "map", Some(name)) => {
                self.sets.insert(name, set(body)?);
            }
            ("chain", Some(name)) => {
                self.rules.entry(name.clone()).or_default();
                self.chains.insert(name, without(body, &["handle"]));
            }
            ("rule", _) => {
                let chain = field("chain").ok_or("a rule without a chain")?;
                self.rules.entry(chain).or_default().push(uncounted(without(body, &["handle"])));
            }
            _ => {}
        }
        Ok(())
    }
}

fn without(body: &Value, keys: &[&str]) -> Value {
    let mut body = body.clone();
    if let Some(object) = body.as_object_mut() {
        object.retain(|key, _| !keys.contains(&key.as_str()));
    }
    body
}

/// Takes running counts out of a rule: they change without anybody changing the rule.
fn uncounted(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(uncounted).collect()),
        Value::Object(object) => object
            .into_iter()
            .map(|(key, value)| match (key.as_str(), &value) {
                ("counter", Value::Object(_)) => (key, Value::Null),
                _ => (key, uncounted(value)),
            })
            .collect(),
        other => other,
    }
}

fn set(body: &Value) -> Result<ListedSet, String> {
    let mut elements = BTreeMap::new();
    for item in body.get("elem").and_then(Value::as_array).into_iter().flatten() {
        let (key, value) = match item.as_array().map(Vec::as_slice) {
            Some([key, value]) => (key, verdict(value)?),
            _ => (item, String::new()),
        };
        let inner = key.get("elem");
        let about = |name: &str| inner.and_then(|inner| inner.get(name));
        let element = ListedElement {
            value,
            comment: about("comment").and_then(Value::as_str).unwrap_or_default().to_owned(),
            packets: about("counter")
                .and_then(|counter| counter.get("packets"))
                .and_then(Value::as_u64)
                .unwrap_or(0),
            has_timeout: about("timeout").is_some(),
        };
        elements.insert(part(about("val").unwrap_or(key))?, element);
    }
    Ok(ListedSet { definition: without(body, &["handle", "elem"]), elements })
}

fn verdict(value: &Value) -> Result<String, String> {
    if let Some(number) = value.as_u64() {
        return Ok(number.to_string());
    }
    let object = value.as_object().and_then(|object| object.iter().next());
    let (word, target) = object.ok_or_else(|| format!("a map value `{value}`"))?;
    let target = target.get("target").and_then(Value::as_str).unwrap_or_default();
    Ok(format!("{word} {target}").trim_end().to_owned())
}

/// One key, or a part of it, as a plan writes it.
fn part(value: &Value) -> Result<String, String> {
    if let Some(text) = value.as_str() {
        return Ok(plain(text));
    }
    if let Some(number) = value.as_u64() {
        return Ok(number.to_string());
    }
    if let Some(parts) = value.get("concat").and_then(Value::as_array) {
        let parts: Result<Vec<_>, _> = parts.iter().map(part).collect();
        return Ok(parts?.join(" . "));
    }
    if let Some([first, last]) = value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        return Ok(format!("{}-{}", part(first)?, part(last)?));
    }
    if let Some(prefix) = value.get("prefix") {
        let ip = prefix.get("addr").and_then(Value::as_str).and_then(|ip| ip.parse().ok());
        let length = prefix.get("len").and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
        let (ip, length): (IpAddr, u8) =
            ip.zip(length).ok_or_else(|| format!("a prefix `{prefix}`"))?;
        let (first, last) = crate::plan::ends(ip, length);
        return Ok(format!("{first}-{last}"));
    }
    Err(format!("a key `{value}`"))
}

/// Addresses in the spelling of the standard library and numbers in decimal, whatever nft's is.
fn plain(text: &str) -> String {
    if let Some(number) = text.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok())
    {
        return number.to_string();
    }
    text.parse::<IpAddr>().map_or_else(|_| text.to_ascii_lowercase(), |ip| ip.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_a_plan_writes_them() {
        let check = |json: &str, expect: &str| {
            assert_eq!(part(&serde_json::from_str(json).unwrap()).unwrap(), expect);
        };
        check(r#""10.0.0.1""#, "10.0.0.1");
        check(r#""0x8892""#, "34962");
        check(r#"{"concat": ["AC:cc:8e:01:02:03", "10.77.0.5"]}"#, "ac:cc:8e:01:02:03 . 10.77.0.5");
        check(r#"{"concat": [2, 6, {"range": [8000, 8010]}]}"#, "2 . 6 . 8000-8010");
        check(r#"{"prefix": {"addr": "10.77.1.0", "len": 24}}"#, "10.77.1.0-10.77.1.255");
        check(
            r#"{"prefix": {"addr": "::", "len": 0}}"#,
            "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        );
    }

    #[test]
    fn foreign_answers_are_errors_not_panics() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"nftables": 3}"#,
            r#"{"nftables": [{"rule": {"family": "inet"}}]}"#,
            r#"{"nftables": [{"set": {"family": "inet", "name": "x", "elem": [{"what": 1}]}}]}"#,
        ] {
            assert!(listing(text).is_err(), "{text}");
        }
        assert!(listing(r#"{"nftables": [{"metainfo": {}}, 4, {}]}"#).unwrap().is_empty());
    }
}
