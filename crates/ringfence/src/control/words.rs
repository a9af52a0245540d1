//! Parts of documents as words for people. All of it is foreign text, so none of it reaches a terminal as it is.

use serde_json::Value;

/// Foreign text as one line that no terminal obeys.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A document as JSON in one line, without a sign that a terminal obeys.
pub(super) fn json(value: &Value) -> String {
    obeyed_by_none(&value.to_string())
}

/// The same over several lines.
pub(super) fn pretty(value: &Value) -> String {
    obeyed_by_none(&format!("{value:#}"))
}

/// JSON leaves signs above U+007E as they are; in a text they may be written as numbers.
fn obeyed_by_none(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            c if c.is_control() && c != '\n' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

/// A text, number or truth value somewhere in a document; nothing where it is absent.
pub(super) fn at(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).map(word).unwrap_or_default()
}

/// One value as a word.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => plain(text),
        Value::Array(items) => items.iter().map(word).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let pair =
                |(name, value): (&String, &Value)| format!("{}={}", plain(name), word(value));
            map.iter().map(pair).collect::<Vec<_>>().join(", ")
        }
    }
}

/// An instant without fractions: `2031-03-14 18:00:00`, in UTC.
pub(super) fn instant(value: &Value, pointer: &str) -> String {
    let text = at(value, pointer);
    let whole = text.split('.').next().unwrap_or_default();
    whole.trim_end_matches('Z').replace('T', " ")
}

/// The beginning of a digest.
pub(super) fn short(value: &Value, pointer: &str) -> String {
    at(value, pointer).chars().take(12).collect()
}

/// The texts of a list.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// Microseconds as people say them.
pub(super) fn micros(value: &Value, pointer: &str) -> String {
    let Some(micros) = value.pointer(pointer).and_then(Value::as_u64) else {
        return String::new();
    };
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// Seconds as people say them: the largest unit alone, rounded down, so that nothing looks longer than it is.
pub(super) fn time(value: &Value, pointer: &str) -> String {
    let Some(seconds) = value.pointer(pointer).and_then(Value::as_u64) else {
        return String::new();
    };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// What an event of a device says.
pub(super) fn event(event: &Value) -> String {
    let word = at(event, "/event");
    let rest = match word.as_str() {
        "edited" => {
            let parts = [("/edit/set", ""), ("/edit/labels", "label.")].map(|(pointer, prefix)| {
                let map = event.pointer(pointer).and_then(Value::as_object);
                let pair = |(name, value): (&String, &Value)| match value {
                    Value::Null => format!("{prefix}{} taken back", plain(name)),
                    value => format!("{prefix}{}={}", plain(name), self::word(value)),
                };
                map.into_iter().flatten().map(pair).collect::<Vec<_>>().join(", ")
            });
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
        }
        "found" | "told" => format!("by {}", at(event, "/source")),
        "moved" => format!("from {} to {}", at(event, "/from"), at(event, "/to")),
        "confused" => format!("with {}", at(event, "/others")),
        "merged" => format!("{} into {}", at(event, "/other"), at(event, "/keep")),
        "kept-apart" => at(event, "/ids"),
        "decided" => at(event, "/verdict/verdict"),
        "added" if event.pointer("/release").is_some() => {
            let parts = ["vendor", "model", "version"];
            parts.map(|part| at(event, &format!("/release/{part}"))).join(" ")
        }
        "withdrawn" => at(event, "/reason"),
        "added" => {
            let said = |pointer| at(event, pointer);
            format!(
                "{} to {} until {}",
                said("/exception/from"),
                said("/exception/to"),
                instant(event, "/exception/expires_at")
            )
        }
        "ended" | "closed" => at(event, "/id"),
        _ => String::new(),
    };
    if rest.is_empty() { word } else { format!("{word}: {rest}") }
}

/// Ids that an event names.
pub(super) fn ids(event: &Value) -> Vec<String> {
    let one = [
        "/id",
        "/facts/id",
        "/keep",
        "/other",
        "/subject/device",
        "/exception/id",
        "/release/id",
        "/team/id",
        "/operator",
        "/token",
        "/approval",
    ];
    let mut ids: Vec<String> = match event.pointer("/subject/device").and_then(Value::as_str) {
        // The id of a decision is not the one that people look for.
        Some(device) => vec![device.to_owned()],
        None => one.iter().filter_map(|p| event.pointer(p)?.as_str().map(str::to_owned)).collect(),
    };
    ids.extend(list(event, "/ids").filter_map(|id| id.as_str().map(str::to_owned)));
    ids
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_as_words() {
        let value = json!({ "a": { "b": ["x\u{1b}[1m", 2, true, null] }, "t": "2031-03-14T18:00:00.5Z", "us": 1_234 });
        assert_eq!(at(&value, "/a/b"), "x [1m, 2, yes, ");
        assert_eq!(at(&value, "/a/c"), "");
        assert_eq!(instant(&value, "/t"), "2031-03-14 18:00:00");
        assert_eq!(micros(&value, "/us"), "1.2 ms");
        for (seconds, said) in
            [(0, "0 s"), (119, "119 s"), (3_599, "59 min"), (90_000, "25 h"), (200_000, "2 d")]
        {
            assert_eq!(time(&json!({ "t": seconds }), "/t"), said);
        }
        assert_eq!(time(&json!({ "t": -1 }), "/t"), "");
    }

    #[test]
    fn documents_are_json_and_obeyed_by_none() {
        let value = json!({ "a": "x\u{1b}\u{9b}31m\u{7f}ü", "b": [] });
        for text in [json(&value), pretty(&value)] {
            assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "{text:?}");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn events_as_words() {
        let edited = json!({ "event": "edited", "ids": ["d-1"], "edit": { "set": { "name": "Gate 3", "zone": null }, "labels": { "rack": "B" } } });
        assert_eq!(event(&edited), "edited: name=Gate 3, zone taken back, label.rack=B");
        assert_eq!(ids(&edited), ["d-1"]);
        let decided = json!({ "event": "decided", "id": "dec-1", "subject": { "device": "d-2" }, "verdict": { "verdict": "refused" } });
        assert_eq!(
            (event(&decided), ids(&decided)),
            ("decided: refused".to_owned(), vec!["d-2".to_owned()])
        );
        let found =
            json!({ "event": "found", "site": "w1", "source": "sensor", "facts": { "id": "d-3" } });
        assert_eq!(
            (event(&found), ids(&found)),
            ("found: by sensor".to_owned(), vec!["d-3".to_owned()])
        );
    }
}
