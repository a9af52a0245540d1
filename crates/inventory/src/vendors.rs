//! One spelling per vendor: "TP-LINK TECHNOLOGIES CO.,LTD." and "TP-Link Systems Inc" are TP-Link.
//!
//! Names keep the words people know a company by, its second name in parentheses where both are
//! in use: "Philips (Signify)".

use std::sync::OnceLock;

use rustc_hash::FxHashMap;

mod aliases;

/// The usual name of a vendor. Idempotent.
pub fn normalise(name: &str) -> String {
    let mut name = name.to_owned();
    // What is taken off one layer may show another; each round shortens or ends.
    loop {
        let trimmed = name.trim_matches(|c: char| c.is_whitespace() || "\"',&，".contains(c));
        let usual = match alias(&words_of(trimmed)) {
            Some(known) => return known.to_owned(),
            None => without_legal_form(trimmed),
        };
        if usual.len() >= name.len() {
            return usual;
        }
        name = usual;
    }
}

/// Whether two names mean one vendor: their usual names share a distinguishing word.
pub fn agree(a: &str, b: &str) -> bool {
    let (a, b) = (words(a), words(b));
    a.distinguishing.iter().any(|word| b.distinguishing.contains(word))
}

/// Vendors that a text names, by their usual names: host names and subjects of certificates have them among other words.
pub fn named(text: &str) -> Vec<&'static str> {
    let text = text.to_lowercase();
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_owned).collect();
    let mut vendors = Vec::new();
    for from in 0..words.len() {
        let found = words.get(from..).and_then(alias);
        vendors.extend(found.filter(|vendor| !vendors.contains(vendor)));
    }
    vendors
}

/// The words of a vendor's usual name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    all: Vec<String>,
    distinguishing: Vec<String>,
}

/// Splits a name.
pub fn words(name: &str) -> Words {
    let all = words_of(&normalise(name));
    let plain = |word: &&String| {
        !GENERIC.contains(&word.as_str())
            && !LEGAL.contains(&word.as_str())
            && !word.chars().all(|c| c.is_ascii_digit())
    };
    let some: Vec<String> = all.iter().filter(plain).cloned().collect();
    // "General Electric" has nothing else.
    let distinguishing = if some.is_empty() { all.clone() } else { some };
    Words { all, distinguishing }
}

/// A vendor that names are compared with.
#[derive(Clone, Debug)]
pub struct Wanted(Vec<String>);

/// Prepares a name for many comparisons. A second name in parentheses is not asked for.
pub fn wanted(name: &str) -> Wanted {
    let name = normalise(name);
    let first = name.split_once(" (").map_or(name.as_str(), |(first, _)| first);
    Wanted(words_of(first))
}

impl Wanted {
    /// Whether a name is this vendor's: it has all of the words.
    pub fn is(&self, name: &Words) -> bool {
        self.0.iter().all(|word| name.all.contains(word))
    }
}

/// Text that people and firmware write where they have nothing to say.
pub fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    if text.len() > 48 {
        return false;
    }
    let mut chars = text.chars();
    let Some(first) = chars.next() else {
        return true;
    };
    let all_same = chars.all(|c| c == first);
    let long_enough = match first {
        '0' => 1,
        c if c.is_ascii_digit() => 4,
        c if c.is_alphanumeric() && !matches!(c, 'x' | 'X') => 3,
        _ => 1,
    };
    PLACEHOLDERS.contains(&text.to_lowercase().as_str())
        || all_same && text.len() >= long_enough
        || text.len() > 2 && text.chars().all(|c| "0-.: /_xX?*#".contains(c))
        || text.len() > 3 && "1234567890123456789".starts_with(text)
}

const PLACEHOLDERS: &[&str] = &[
    "(none)",
    "(null)",
    "0123456789",
    "1234",
    "12345678",
    "any",
    "base board",
    "base board serial number",
    "board",
    "chassis serial number",
    "default",
    "default string",
    "device",
    "empty",
    "embedded",
    "generic",
    "internet gateway device",
    "invalid",
    "localhost",
    "manufacturer",
    "model",
    "model name",
    "modelname",
    "my device",
    "n/a",
    "na",
    "name",
    "nil",
    "no serial",
    "none",
    "not applicable",
    "not available",
    "not set",
    "not specified",
    "null",
    "o.e.m.",
    "oem",
    "other",
    "private",
    "product",
    "sample",
    "serial",
    "serial number",
    "standard",
    "string",
    "system manufacturer",
    "system product name",
    "system serial number",
    "system version",
    "tbd",
    "test",
    "to be filled by o.e.m.",
    "to be filled by oem",
    "todo",
    "undefined",
    "unknown",
    "unnamed",
    "unset",
    "unspecified",
    "upnp device",
    "vendor",
    "version",
    "xxxxxxxx",
];

/// Words that many companies have in their names.
const GENERIC: &[&str] = &[
    "and",
    "automation",
    "co",
    "com",
    "communication",
    "communications",
    "company",
    "computer",
    "computers",
    "control",
    "controls",
    "corporate",
    "corporation",
    "data",
    "device",
    "devices",
    "digital",
    "electric",
    "electronic",
    "electronics",
    "engineering",
    "enterprise",
    "enterprises",
    "entwicklung",
    "equipment",
    "europe",
    "for",
    "general",
    "global",
    "group",
    "headquarters",
    "holding",
    "home",
    "industrial",
    "industries",
    "industry",
    "information",
    "infocomm",
    "innovation",
    "instruments",
    "intelligent",
    "international",
    "lab",
    "labs",
    "lighting",
    "limited",
    "manufacturing",
    "micro",
    "mobile",
    "mobility",
    "network",
    "networking",
    "networks",
    "of",
    "platforms",
    "power",
    "precision",
    "products",
    "research",
    "science",
    "security",
    "semiconductor",
    "semiconductors",
    "services",
    "smart",
    "software",
    "solution",
    "solutions",
    "sourceforge",
    "systems",
    "system",
    "tech",
    "technologies",
    "technology",
    "telecom",
    "telecommunication",
    "telecommunications",
    "the",
    "usa",
    "wireless",
    "works",
    "wuhan",
    "shenzhen",
    "hangzhou",
    "beijing",
    "shanghai",
    "guangdong",
    "guangzhou",
    "zhejiang",
    "taiwan",
    "china",
    "hong",
    "kong",
    "vendor",
    "id",
    "oem",
    "board",
    "at",
    "tool",
];

/// Legal forms, as [`words_of`] writes them.
const LEGAL: &[&str] = &[
    "ab",
    "ag",
    "aktiengesellschaft",
    "aps",
    "as",
    "asa",
    "bhd",
    "bv",
    "bvba",
    "cjsc",
    "co",
    "company",
    "corp",
    "corporate",
    "corporation",
    "doo",
    "eireli",
    "ev",
    "gmbh",
    "inc",
    "incorporated",
    "kft",
    "kg",
    "kk",
    "kgaa",
    "lda",
    "limited",
    "llc",
    "llp",
    "lp",
    "ltd",
    "ltda",
    "nv",
    "ooo",
    "oy",
    "oyj",
    "plc",
    "private",
    "pte",
    "pty",
    "pvt",
    "sa",
    "sarl",
    "sas",
    "sasu",
    "sdn",
    "se",
    "sl",
    "slu",
    "sp",
    "spa",
    "spzoo",
    "sro",
    "srl",
    "ulc",
    "ug",
    "zoo",
    "lt",
    "und",
    "u",
];

fn alias(words: &[String]) -> Option<&'static str> {
    static TABLE: OnceLock<FxHashMap<&str, &str>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let rows = aliases::ALIASES.iter();
        rows.flat_map(|(usual, keys)| keys.iter().map(move |key| (*key, *usual))).collect()
    });
    (1..=words.len().min(5)).rev().find_map(|count| {
        let key = words.get(..count)?.join(" ");
        table.get(key.as_str()).copied()
    })
}

/// Lower-case words; hyphens, apostrophes and the dots of abbreviations join (`D-Link` is `dlink`,
/// `S.p.A.` is `spa`), all other marks separate.
fn words_of(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in name.chars() {
        let joins = matches!(c, '-' | '\'' | '’')
            || c == '.' && word.chars().count() < 2
            || c == '.' && (word == "sp" || word == "sr");
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        } else if !joins && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// For companies that are not in the table.
fn without_legal_form(name: &str) -> String {
    let mut tokens: Vec<&str> = name.split_whitespace().collect();
    while tokens.len() > 1 {
        let last = tokens.last().map(|token| words_of(token)).unwrap_or_default();
        // A lone "&" or comma holds nothing and goes too.
        if !last.iter().all(|word| LEGAL.contains(&word.as_str())) {
            break;
        }
        tokens.pop();
    }
    let mut kept = tokens.join(" ");
    // "BUFFALO.INC", "Foo,Ltd": the form sticks to the name.
    while let Some((head, tail)) = kept.rsplit_once(['.', ',', '，']) {
        let tail = words_of(tail);
        if head.is_empty() || !tail.iter().all(|word| LEGAL.contains(&word.as_str())) {
            break;
        }
        kept.truncate(head.len());
    }
    let kept = kept.trim_matches(|c: char| c == ',' || c == '&' || c.is_whitespace());
    if kept.chars().any(char::is_lowercase) { kept.to_owned() } else { calm(kept) }
}

/// "SUMITOMO ELECTRIC" as "Sumitomo Electric"; short words are abbreviations.
fn calm(name: &str) -> String {
    let word = |word: &str| {
        let letters = word.chars().filter(|c| c.is_alphabetic()).count();
        if letters < 5 || word.chars().any(|c| c.is_ascii_digit()) {
            return word.to_owned();
        }
        let mut first = true;
        let mut lower = |c: char| {
            let upper = std::mem::replace(&mut first, !c.is_alphanumeric());
            if upper { c.to_string() } else { c.to_lowercase().collect() }
        };
        word.chars().map(&mut lower).collect::<String>()
    };
    name.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vendors_in_a_text() {
        assert_eq!(named("CN=axis-q6135.yard.example"), ["Axis"]);
        assert_eq!(named("TP-Link Tapo, axis"), ["TP-Link", "Axis"]);
        assert_eq!(named("taxis"), [""; 0]);
        assert_eq!(named("\u{1b}"), [""; 0]);
    }

    #[test]
    fn usual_names() {
        let check = |name: &str, expect: &str| assert_eq!(normalise(name), expect, "{name}");
        check("TP-LINK TECHNOLOGIES CO.,LTD.", "TP-Link");
        check("Tp-Link Technologies Co.,Ltd.", "TP-Link");
        check("TP-Link Systems Inc", "TP-Link");
        check("Hewlett Packard", "HP (Hewlett Packard)");
        check("HP Inc.", "HP (Hewlett Packard)");
        check("HP", "HP (Hewlett Packard)");
        check("Hewlett-Packard Company", "HP (Hewlett Packard)");
        check("Hewlett Packard Enterprise", "Hewlett Packard Enterprise");
        check("Philips Lighting BV", "Philips (Signify)");
        check("Signify Netherlands B.V.", "Philips (Signify)");
        check("Royal Philips Electronics", "Philips (Signify)");
        check("Siemens AG,", "Siemens");
        check("Siemens Numerical Control Ltd., Nanjing", "Siemens");
        check("PHOENIX CONTACT Electronics GmbH", "Phoenix Contact");
        check("Rockwell Automation/Allen-Bradley", "Rockwell Automation");
        check("Allen-Bradley", "Rockwell Automation");
        check("ELAU AG", "Schneider Electric");
        check("Intelligent Platforms, LLC.", "GE Intelligent Platforms");
        check("Enertex Bayern GmbH", "Enertex Bayern");
        check("SUMITOMO ELECTRIC INDUSTRIES, LTD", "Sumitomo Electric Industries");
        check("BUFFALO.INC", "Buffalo");
        check("Tattile SRL", "Tattile");
        check("Festo AG & Co. KG", "Festo");
        check("ABC S.p.A.", "ABC");
        check("WEIDMÜLLER GMBH & CO. KG", "Weidmüller");
        check("Cisco Systems, Inc", "Cisco");
        check("Cisco Meraki", "Cisco Meraki");
        check("Cisco-Linksys, LLC", "Linksys");
        check("  \"Sonos, Inc.\" ", "Sonos");
        check("", "");
        check("Inc.", "Inc");
    }

    #[test]
    fn agreement_is_by_distinguishing_words() {
        for (a, b) in [
            ("Rockwell / Allen-Bradley", "Rockwell Automation"),
            ("Schneider Electric (ELAU)", "Schneider Electric"),
            ("Blink (Immedia/Amazon)", "Blink by Amazon"),
            ("Hewlett Packard", "HP Inc."),
            ("Ednet (ASSMANN)", "ASSMANN Electronic GmbH"),
            ("Host Engineering / Koyo", "Host Engineering"),
            ("Emerson / Rosemount", "Rosemount Inc."),
            ("D-Link", "D-Link International"),
            ("GE Multilin", "General Electric"),
            ("Yi Technology", "Yi"),
        ] {
            assert!(agree(a, b), "{a} / {b}");
        }
        for (a, b) in [
            ("TP-Link Technologies", "Edimax Technology"),
            ("D-Link", "TP-Link"),
            ("Schneider Electric", "Mitsubishi Electric"),
            ("Texas Instruments", "National Instruments"),
        ] {
            assert!(!agree(a, b), "{a} / {b}");
        }
        assert!(wanted("Belkin").is(&words("Belkin International Inc.")));
        assert!(!wanted("Delta Networks").is(&words("Delta Electronics, Inc.")));
        assert!(!wanted("Samsung Electro-Mechanics").is(&words("Samsung Electronics Co.,Ltd")));
        assert!(!wanted("Phoenix Contact").is(&words("Phoenix Technologies")));
    }

    #[test]
    fn nothing_said_is_seen() {
        for text in [
            "",
            " ",
            "Unknown",
            "N/A",
            "To be filled by O.E.M.",
            "0",
            "00000000",
            "00:00:00:00:00:00",
            "xxxxxxxx",
            "-",
            "None",
            "1234",
            "12345",
            "????",
            "Default string",
        ] {
            assert!(is_placeholder(text), "`{text}`");
        }
        for text in ["7", "V4.02", "BSB002", "1", "12", "A", "11", "1.0.0", "2018"] {
            assert!(!is_placeholder(text), "`{text}`");
        }
    }

    #[test]
    fn aliases_are_unique_and_usable() {
        let mut seen = std::collections::BTreeMap::new();
        for (usual, keys) in aliases::ALIASES {
            for key in *keys {
                assert_eq!(words_of(key).join(" "), **key, "key of {usual} is not in simple form");
                assert_eq!(seen.insert(*key, *usual), None, "{key} is listed twice");
            }
            assert_eq!(normalise(usual), *usual, "the usual name is not its own");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(name in "[A-Za-z.,&() -]{0,40}|\\PC{0,20}") {
            let once = normalise(&name);
            prop_assert_eq!(normalise(&once), once);
        }
    }
}
