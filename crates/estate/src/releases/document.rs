//! A document with reference values: `ringfence.reference/v1`, as a maker or whoever measured them writes it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Bank, Form, Register};
use crate::identities::Octets;

/// What a document says that it is.
pub const SCHEMA: &str = "ringfence.reference/v1";
/// Bytes of a document.
pub const BYTES_MAX: usize = 4 << 20;

/// What a document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who makes the devices.
    pub vendor: String,
    /// Which of theirs.
    pub model: String,
    /// Version of the firmware.
    pub version: String,
    /// Of which registers.
    pub bank: Bank,
    /// What is compared.
    pub form: Form,
    /// What may be in them.
    pub registers: Vec<Register>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: String,
    vendor: String,
    model: String,
    firmware: String,
    #[serde(default)]
    bank: Option<String>,
    #[serde(default)]
    values: BTreeMap<u8, Vec<String>>,
    #[serde(default)]
    events: BTreeMap<u8, Events>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Events {
    #[serde(default)]
    allowed: Vec<String>,
    #[serde(default)]
    required: Vec<String>,
}

/// Reads one; a line for what is wrong with it. Whether it may be a release is the catalogue's to say.
pub fn read(bytes: &[u8]) -> Result<Said, String> {
    if bytes.len() > BYTES_MAX {
        return Err(format!("it is longer than {BYTES_MAX} bytes"));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let Document { schema, vendor, model, firmware: version, bank, values, events } = document;
    if schema != SCHEMA {
        return Err(format!("its schema is {schema:.64}, and {SCHEMA} is expected"));
    }
    let bank = bank.as_deref().unwrap_or("sha256");
    let bank = Bank::of(bank)
        .ok_or_else(|| format!("the bank {bank:.64} is none of sha256, sha384 and sha512"))?;
    let (form, registers) = match (values.is_empty(), events.is_empty()) {
        (false, true) => {
            let all = values.into_iter().map(|(pcr, allowed)| (pcr, allowed, Vec::new()));
            (Form::Values, registers(bank, all)?)
        }
        (true, false) => {
            let all = events.into_iter().map(|(pcr, of)| (pcr, of.allowed, of.required));
            (Form::Events, registers(bank, all)?)
        }
        _ => return Err("it has either values or events, and one of them".to_owned()),
    };
    Ok(Said { vendor, model, version, bank, form, registers })
}

fn registers(
    bank: Bank,
    all: impl Iterator<Item = (u8, Vec<String>, Vec<String>)>,
) -> Result<Vec<Register>, String> {
    let digests = |texts: Vec<String>| {
        texts.into_iter().map(|text| digest(bank, &text)).collect::<Result<Vec<_>, _>>()
    };
    all.map(|(pcr, allowed, required)| {
        Ok(Register { pcr, allowed: digests(allowed)?, required: digests(required)? })
    })
    .collect()
}

/// Capitals are the same; how long it has to be says the bank.
fn digest(bank: Bank, text: &str) -> Result<Octets, String> {
    let octets = text.to_lowercase().parse::<Octets>().ok();
    octets
        .filter(|octets| octets.0.len() == bank.size_bytes())
        .ok_or_else(|| format!("{text:.140} is no {} in hexadecimal", bank.word()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn document(rest: &str) -> Result<Said, String> {
        let head =
            r#""schema":"ringfence.reference/v1","vendor":"Acme","model":"X1","firmware":"2.4""#;
        read(format!("{{{head},{rest}}}").as_bytes())
    }

    #[test]
    fn a_document_has_values_or_events() {
        let said = document(&format!(r#""values":{{"0":["{A}"],"7":["{A}"]}}"#)).unwrap();
        let named = (said.vendor.as_str(), said.model.as_str(), said.version.as_str());
        assert_eq!(named, ("Acme", "X1", "2.4"));
        assert_eq!((said.bank, said.form, said.registers.len()), (Bank::Sha256, Form::Values, 2));
        let capitals = A.to_uppercase();
        let events = format!(r#""events":{{"4":{{"required":["{capitals}"]}}}}"#);
        let said = document(&events).unwrap();
        assert_eq!((said.form, said.registers[0].pcr), (Form::Events, 4));
        assert_eq!(said.registers[0].required, [A.parse().unwrap()]);
        for wrong in [
            r#""bank":"sha256""#.to_owned(),
            r#""values":{"0":["aa"]}"#.to_owned(),
            r#""values":{"256":["aa"]}"#.to_owned(),
            format!(r#""bank":"sha1","values":{{"0":["{A}"]}}"#),
            format!(r#""bank":"sha384","values":{{"0":["{A}"]}}"#),
            format!(r#""values":{{"0":["{A}"]}},"events":{{"4":{{"allowed":["{A}"]}}}}"#),
            format!(r#""values":{{"0":["{A}"]}},"value":1"#),
            format!(r#""schema":"ringfence.reference/v1","values":{{"0":["{A}"]}}"#),
        ] {
            assert!(document(&wrong).is_err(), "{wrong}");
        }
        assert!(read(b"{}").is_err());
        assert!(read(&vec![b' '; BYTES_MAX + 1]).unwrap_err().contains("longer"));
    }
}
