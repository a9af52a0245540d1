//! Annotations: which there are, and what they say.
//!
//! | annotation | meaning |
//! |---|---|
//! | `@id("…")` | name; verdicts and hits carry it |
//! | `@mode("shadow")`, `@mode("enforce")` | whether it decides; in shadow it is only counted |
//! | `@share("10%")` | enforced for that share of devices, in shadow for the others |
//! | `@evidence("…")`, `@reason("…")` | for people |
//! | `@rate("100/s")` | new flows per second (also `/m` and `/h`, where that is a whole number a second) |
//! | `@log("…")` | every new flow is logged; the text is for people |
//! | `@modbus("read-only")` … | what a protocol gateway has to keep; see [`PROTOCOLS`] |

use std::collections::BTreeMap;

use model::ruleset::Terms;

/// Protocols whose use an annotation can narrow.
pub(crate) const PROTOCOLS: [&str; 9] =
    ["bacnet", "cip", "coap", "dnp3", "http", "iec104", "modbus", "mqtt", "opcua"];

const KNOWN: [&str; 7] = ["evidence", "id", "log", "mode", "rate", "reason", "share"];

/// What is wrong with a policy's annotations (without `@id`): what, and why.
pub(crate) fn check(annotations: &BTreeMap<String, String>) -> Result<(), (String, String)> {
    for (name, value) in annotations {
        let wrong = |why: &str| Err((format!("unusable @{name}"), format!("`{value}` {why}")));
        match name.as_str() {
            "mode" if !matches!(value.as_str(), "shadow" | "enforce") => {
                return wrong("is neither \"shadow\" nor \"enforce\"");
            }
            "share" if crate::share::percent(value).is_none() => {
                return wrong("is no share; write a percentage from \"0%\" to \"100%\"");
            }
            "rate" if rate(value).is_none() => {
                return wrong(
                    "is no rate of new flows; write \"100/s\", or \"600/m\" and \"7200/h\" where that is a whole number a second",
                );
            }
            known if KNOWN.contains(&known) => {}
            protocol if PROTOCOLS.contains(&protocol) => {
                if value.trim().is_empty() {
                    return wrong("says nothing; write what is allowed, as in \"read-only\"");
                }
            }
            _ => {
                let all: Vec<String> =
                    KNOWN.iter().chain(&PROTOCOLS).map(|known| format!("@{known}")).collect();
                let why = format!("it would be ignored; known are {}", all.join(", "));
                return Err((format!("unknown annotation @{name}"), why));
            }
        }
    }
    Ok(())
}

/// What comes with what a policy permits.
pub(crate) fn of(annotations: &BTreeMap<String, String>) -> Terms {
    let of_protocol = |protocol: &&str| {
        annotations.get(*protocol).map(|value| ((*protocol).to_owned(), value.trim().to_owned()))
    };
    Terms {
        closing: None,
        rate_per_second: annotations.get("rate").and_then(|text| rate(text)),
        log: annotations.contains_key("log"),
        application: PROTOCOLS.iter().filter_map(of_protocol).collect(),
    }
}

/// New flows per second; none for a rate that is no whole number of them, since none may be rounded up.
fn rate(text: &str) -> Option<u32> {
    let (number, unit) = text.split_once('/')?;
    let number: u32 = number.trim().parse().ok().filter(|n| *n > 0)?;
    let seconds = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    number.is_multiple_of(seconds).then_some(number / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, expect) in [
            ("100/s", Some(100)),
            ("600/m", Some(10)),
            ("7200/h", Some(2)),
            ("1/h", None),
            ("90/m", None),
            (" 7 / s", Some(7)),
            ("0/s", None),
            ("5", None),
            ("5/d", None),
            ("-1/s", None),
            ("99999999999/s", None),
        ] {
            assert_eq!(rate(text), expect, "{text}");
        }
    }

    #[test]
    fn annotations_become_terms() {
        let annotations = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let all = annotations(&[("rate", "5/s"), ("log", ""), ("modbus", "read-only")]);
        assert_eq!(check(&all), Ok(()));
        let terms = of(&all);
        assert_eq!((terms.rate_per_second, terms.log), (Some(5), true));
        assert_eq!(terms.application["modbus"], "read-only");
        for (name, value) in
            [("mode", "off"), ("share", "2"), ("rate", "x"), ("modbus", " "), ("raet", "5/s")]
        {
            let (what, _) = check(&annotations(&[(name, value)])).unwrap_err();
            assert!(what.contains(name), "{what}");
        }
    }
}
