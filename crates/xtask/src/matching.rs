//! When an answer agrees with the truth. The rules are the captures' own (their README):
//! a vendor agrees when the normalised names share their distinguishing word, a model when one
//! model-number token of the truth is in the answer. Nothing here knows a product.

/// Words that distinguish no maker.
const VENDOR_NOISE: &[&str] = &[
    "ab",
    "ag",
    "and",
    "as",
    "at",
    "automation",
    "board",
    "bv",
    "china",
    "co",
    "communication",
    "communications",
    "company",
    "computer",
    "computers",
    "corp",
    "corporate",
    "corporation",
    "device",
    "devices",
    "electric",
    "electronic",
    "electronics",
    "foundation",
    "gateway",
    "gmbh",
    "group",
    "hangzhou",
    "home",
    "id",
    "inc",
    "incorporated",
    "industrial",
    "industrie",
    "industries",
    "industrielle",
    "intelligent",
    "international",
    "kg",
    "lab",
    "laboratories",
    "labs",
    "limited",
    "llc",
    "ltd",
    "mobile",
    "network",
    "networks",
    "nv",
    "oem",
    "of",
    "oy",
    "platforms",
    "products",
    "pte",
    "pty",
    "sa",
    "semiconductor",
    "shenzhen",
    "solutions",
    "stack",
    "system",
    "systems",
    "taiwan",
    "tech",
    "technologies",
    "technology",
    "test",
    "the",
    "tool",
    "trading",
    "vendor",
    "wireless",
];

/// Words of a model name that are no model: what a thing is, not which.
const MODEL_NOISE: &[&str] = &[
    "and",
    "camera",
    "class",
    "controller",
    "device",
    "ethernet",
    "family",
    "for",
    "gateway",
    "home",
    "indoor",
    "lan",
    "module",
    "outdoor",
    "phone",
    "plug",
    "router",
    "series",
    "smart",
    "starter",
    "switch",
    "the",
    "unit",
    "wifi",
    "wireless",
    "with",
];

/// Whether two names are the same maker's.
pub(crate) fn same_vendor(truth: &str, answer: &str) -> bool {
    let answer = vendor_words(answer);
    vendor_words(truth).iter().any(|word| answer.contains(word))
}

/// Distinguishing words of a maker's name.
pub(crate) fn vendor_words(name: &str) -> Vec<String> {
    // `Hewlett Packard` and `HP` are one name; hyphens join (`TP-Link`, `D-Link`, `eQ-3`).
    let name = name
        .to_lowercase()
        .replace("hewlett packard", "hp")
        .replace("hewlett-packard", "hp")
        .replace(['-', '&', '\''], "");
    let words = |all: bool| -> Vec<String> {
        name.split(|c: char| !c.is_alphanumeric())
            .filter(|w| w.len() > 1 && !w.chars().all(|c| c.is_ascii_digit()))
            .filter(|w| all || !VENDOR_NOISE.contains(w))
            .map(str::to_owned)
            .collect()
    };
    match words(false) {
        none if none.is_empty() => words(true),
        some => some,
    }
}

/// Tokens of a model, any of which proves it: those with a digit in them; where there is none, the
/// words that neither name the maker nor the kind of thing. Empty for a mere description.
pub(crate) fn model_tokens(model: &str, vendor: Option<&str>) -> Vec<String> {
    let vendor = vendor.map(vendor_words).unwrap_or_default();
    let words: Vec<String> = words(model)
        .into_iter()
        .filter(|w| w.len() > 1 && !vendor.contains(w) && !MODEL_NOISE.contains(&w.as_str()))
        .collect();
    let numbers: Vec<String> = words
        .iter()
        .filter(|w| w.len() > 2 && w.chars().any(|c| c.is_ascii_digit()))
        .cloned()
        .collect();
    if numbers.is_empty() { words } else { numbers }
}

/// Whether an answer names the model.
pub(crate) fn same_model(tokens: &[String], answer: &str) -> bool {
    let answer_words = words(answer);
    let squashed = squash(answer);
    tokens.iter().any(|token| {
        let bare = squash(token);
        answer_words.contains(token)
            || answer_words.iter().any(|w| squash(w) == bare)
            || bare.len() >= 5 && squashed.contains(&bare)
    })
}

/// Whether one version is the other, perhaps with words around it.
pub(crate) fn same_version(truth: &str, answer: &str) -> bool {
    let versions = |text: &str| -> Vec<String> {
        text.to_lowercase()
            .split_whitespace()
            .map(|w| w.trim_matches(|c: char| !c.is_alphanumeric() && c != ')'))
            .map(|w| w.strip_prefix('v').unwrap_or(w).to_owned())
            .filter(|w| w.chars().any(|c| c.is_ascii_digit()))
            .collect()
    };
    let answer = versions(answer);
    versions(truth).iter().any(|version| answer.contains(version))
}

/// Whether two serial numbers or identifiers are the same, written any way.
pub(crate) fn same_serial(truth: &str, answer: &str) -> bool {
    let bare =
        |text: &str| squash(text).trim_start_matches("0x").trim_start_matches('0').to_owned();
    !bare(truth).is_empty() && bare(truth) == bare(answer)
}

/// Whether a token can be read in a capture's bytes, in ASCII or UTF-16, in any case. Tokens without
/// a digit are words and must stand alone.
pub(crate) fn on_the_wire(token: &str, capture: &[u8]) -> bool {
    let token = token.as_bytes();
    let is_word = token.iter().all(u8::is_ascii_alphabetic);
    let Some((&first, rest)) = token.split_first() else {
        return false;
    };
    let standing = |start: usize, end: usize, step: usize| {
        let letter = |at: Option<usize>| {
            at.and_then(|at| capture.get(at)).is_some_and(u8::is_ascii_alphanumeric)
        };
        !is_word || !letter(start.checked_sub(step)) && !letter(Some(end))
    };
    capture.iter().enumerate().any(|(at, byte)| {
        if !byte.eq_ignore_ascii_case(&first) {
            return false;
        }
        [1, 2].into_iter().any(|step| {
            let same = |(n, wanted): (usize, &u8)| {
                let there = capture.get(at + (n + 1) * step);
                there.is_some_and(|b| b.eq_ignore_ascii_case(wanted))
            };
            rest.iter().enumerate().all(same) && standing(at, at + token.len() * step, step)
        })
    })
}

/// Words in lower case; the characters that model numbers are written with stay inside.
fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric() && !"-.,/_+".contains(c))
        .map(|w| w.trim_matches(|c: char| !c.is_alphanumeric()).to_owned())
        .filter(|w| !w.is_empty())
        .collect()
}

fn squash(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendors_share_their_distinguishing_word() {
        for (truth, answer, agree) in [
            ("TP-Link", "TP-LINK TECHNOLOGIES CO.,LTD.", true),
            ("D-Link", "D-Link International", true),
            ("Hewlett Packard", "HP Inc.", true),
            ("Rockwell / Allen-Bradley", "Rockwell Automation", true),
            ("GE Intelligent Platforms", "Honeywell Intelligent Systems", false),
            ("Schneider Electric (ELAU)", "Mitsubishi Electric", false),
            ("D-Link", "TP-Link", false),
            ("Philips (Signify)", "Signify Netherlands B.V.", true),
            ("Osram", "", false),
        ] {
            assert_eq!(same_vendor(truth, answer), agree, "{truth} and {answer}");
        }
    }

    #[test]
    fn models_agree_by_a_number_or_by_their_own_words() {
        for (truth, vendor, answer, agree) in [
            ("Acme bridge ABC002", "Acme", "ABC002", true),
            ("XY-S150", "Acme", "Acme XY-S150 rev A2", true),
            ("XY-S150", "Acme", "XY-S160", false),
            ("PS100(EU)", "Acme", "PS100(EU)", true),
            ("1756-ENBT/A", "Acme", "1756-ENBT", false),
            ("1756-ENBT/A", "Acme", "1756-enbt/a", true),
            ("Mate Insight", "Acme", "Mate Insight", true),
            ("computer11,3", "Acme", "computer11,3", true),
            ("140 CPU 311 10 (Old Quantum)", "Acme", "140 CPU 311 10", true),
            ("J8762A Switch 2600-8-PWR", "Acme", "ProX J8762A", true),
        ] {
            let tokens = model_tokens(truth, Some(vendor));
            assert_eq!(same_model(&tokens, answer), agree, "{truth} and {answer}: {tokens:?}");
        }
        assert!(model_tokens("wireless LAN controller", None).is_empty());
        assert!(model_tokens("Acme home camera", Some("Acme Technology")).is_empty());
    }

    #[test]
    fn versions_and_serials_agree_however_they_are_written() {
        assert!(same_version("V4.02", "4.02"));
        assert!(same_version("Runtime 2.11", "2.11"));
        assert!(same_version("15.2(4)JA1", "15.2(4)JA1"));
        assert!(!same_version("4.3", "4.30"));
        assert!(!same_version("4.3", "14.3"));
        assert!(same_serial("0051aec3", "0x0051AEC3"));
        assert!(same_serial("34-7E-5C", "347e5c"));
        assert!(!same_serial("0000", "00"));
    }

    #[test]
    fn tokens_are_found_in_either_encoding() {
        assert!(on_the_wire("abc002", b"....ABC002...."));
        assert!(on_the_wire("abc002", b".A\0B\0C\x000\x000\x002\0.."));
        assert!(!on_the_wire("encode", b"urlencoded"));
        assert!(on_the_wire("encode", b"the Encode lock"));
        assert!(!on_the_wire("abc002", b"ABC00"));
        assert!(!on_the_wire("", b"x"));
    }
}
