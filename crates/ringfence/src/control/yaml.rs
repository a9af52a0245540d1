//! Documents as YAML 1.2: block style, and every text that might be read as something else in quotes.

use std::io::{self, Write};

use serde_json::Value;

/// Writes one document.
pub(super) fn write(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    match value {
        Value::Object(map) if !map.is_empty() => block(out, value, 0, false),
        Value::Array(items) if !items.is_empty() => block(out, value, 0, false),
        scalar => writeln!(out, "{}", self::scalar(scalar)),
    }
}

/// The lines of a map or list; the first goes on where the line stands when `inline`.
fn block(out: &mut dyn Write, value: &Value, indent: usize, inline: bool) -> io::Result<()> {
    let pad = |out: &mut dyn Write, first: bool| match first && inline {
        true => Ok(()),
        false => write!(out, "{:indent$}", ""),
    };
    match value {
        Value::Object(map) => {
            for (number, (name, value)) in map.iter().enumerate() {
                pad(out, number == 0)?;
                write!(out, "{}:", text(name))?;
                if is_block(value) {
                    writeln!(out)?;
                    block(out, value, indent.saturating_add(2), false)?;
                } else {
                    writeln!(out, " {}", scalar(value))?;
                }
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                pad(out, number == 0)?;
                write!(out, "- ")?;
                if is_block(item) {
                    block(out, item, indent.saturating_add(2), true)?;
                } else {
                    writeln!(out, "{}", scalar(item))?;
                }
            }
        }
        scalar => writeln!(out, "{}", self::scalar(scalar))?,
    }
    Ok(())
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => self::text(text),
        // Empty lists and maps, numbers and truth values are the same in JSON.
        other => other.to_string(),
    }
}

fn text(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:".contains(c))
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    match plain {
        true => text.to_owned(),
        // JSON's texts are YAML's, in quotes; the controls that JSON leaves as they are get numbers.
        false => {
            let quoted = Value::from(text).to_string();
            let one = |c: char| match c {
                c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
                c => c.to_string(),
            };
            quoted.chars().map(one).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents() {
        let value = json!({
            "id": "camera-7", "none": null, "port": 554, "open": true, "word": "no", "date": "2031-03-14",
            "files": { "estate.toml": "format = 1\n" }, "empty": [], "nothing": {}, "mac": "mac/00:80:f4:01:02:03",
            "list": [ "a b", { "x": 1, "y": [2, ["deep"]] }, [], "#", "\u{9b}" ],
        });
        let mut out = Vec::new();
        write(&mut out, &value).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
        let mut out = Vec::new();
        write(&mut out, &json!([])).unwrap();
        assert_eq!(out, b"[]\n");
    }
}
