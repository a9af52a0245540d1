//! Rapid7 Recog fingerprint files (`<fingerprints matches="snmp.sys_description">…`).
//!
//! Each file matches one kind of text, which is one of our fields. Parameters become attributes:
//! `hw.vendor`, `hw.product` or `hw.model`, `hw.device`, `hw.version`, `hw.serial_number`,
//! `os.product` with `os.version`, and `host.name`. Examples become our examples.

use std::collections::BTreeMap;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::{BYTES_MAX, ImportError, Imported};
use crate::rules::format::{Common, Example, Rule, Text};
use crate::rules::{Attribute, Attributes, check_pattern};

/// What a foreign fingerprint proves: less than a rule of our own.
const STRENGTH: f64 = 0.5;

/// Recog's name of a text and our field for it.
const FIELDS: &[(&str, &str)] = &[
    ("dhcp_vendor_class", "dhcp.vendor_class"),
    ("ftp.banner", "ftp.banner"),
    ("hp_pjl.id", "pjl.id"),
    ("hp_pjl_id", "pjl.id"),
    ("html_title", "http.title"),
    ("http_header.server", "http.server"),
    ("imap4.banner", "imap.banner"),
    ("mdns.device-info.txt", "mdns.txt.model"),
    ("mysql.banners", "mysql.version"),
    ("pop3.banner", "pop.banner"),
    ("rtsp_header.server", "rtsp.server"),
    ("sip_header.server", "sip.server"),
    ("sip_header.user_agent", "sip.user_agent"),
    ("smb.native_lm", "smb.lanman"),
    ("smb.native_os", "smb.native_os"),
    ("smtp.banner", "smtp.banner"),
    ("snmp.sys_description", "snmp.sys_descr"),
    ("snmp.sys_object_id", "snmp.sys_object_id"),
    ("ssh.banner", "ssh.software"),
    ("telnet.banner", "telnet.banner"),
    ("upnp_server", "ssdp.server"),
    ("x509.issuer", "tls.cert.issuer"),
    ("x509.subject", "tls.cert.subject"),
];

/// Recog's device kinds in our words; others are written in lower case with dashes.
const KINDS: &[(&str, &str)] = &[
    ("Broadband Router", "router"),
    ("Device Server", "serial-server"),
    ("DVR", "video-recorder"),
    ("Hub", "switch"),
    ("IP Camera", "ip-camera"),
    ("Lights Out Management", "server-management"),
    ("Multifunction Device", "printer"),
    ("Network Appliance", "network-device"),
    ("Power device", "pdu"),
    ("Print Server", "printer"),
    ("SCADA", "plc"),
    ("Storage", "nas"),
    ("VoIP", "ip-phone"),
    ("WAP", "wifi-ap"),
    ("Web cam", "ip-camera"),
    ("Wireless Controller", "wlc"),
];

/// Reads one file.
///
/// # Errors
/// When it is no Recog file; single fingerprints that cannot be expressed are listed instead.
pub fn parse(xml: &str) -> Result<Imported, ImportError> {
    if xml.len() > BYTES_MAX {
        return Err(ImportError::TooLarge);
    }
    let wrong = |why: String| ImportError::Format { format: "a Recog fingerprint file", why };
    let mut reader = Reader::from_str(xml);
    let mut document = Document::default();
    loop {
        match reader.read_event().map_err(|e| wrong(e.to_string()))? {
            Event::Start(e) => document.start(&e),
            Event::Empty(e) => {
                document.start(&e);
                document.end(e.name().as_ref());
            }
            Event::End(e) => document.end(e.name().as_ref()),
            Event::Text(t) => document.text(&t.xml10_content()),
            Event::CData(t) => document.text(&t.xml10_content()),
            Event::GeneralRef(r) => {
                match (resolve_predefined_entity(&r.xml10_content()), r.resolve_char_ref()) {
                    (Some(known), _) => document.text(known),
                    (None, Ok(Some(c))) => document.text(c.encode_utf8(&mut [0; 4])),
                    _ => {}
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    match document.file {
        Some(_) => Ok(document.out),
        None => Err(wrong("it has no <fingerprints> element".to_owned())),
    }
}

/// What was read so far.
#[derive(Default)]
struct Document {
    out: Imported,
    /// What the file's texts are: Recog's name, and our field where there is one.
    file: Option<(String, Option<&'static str>)>,
    current: Option<Fingerprint>,
    text: Option<String>,
}

impl Document {
    fn start(&mut self, e: &BytesStart<'_>) {
        match (e.name().as_ref(), &mut self.current) {
            ("fingerprints", _) => {
                let matches = attribute(e, "matches").unwrap_or_default();
                let field = FIELDS.iter().find(|(name, _)| *name == matches);
                if field.is_none() {
                    self.out.skip(&matches, "no dissector reports this text");
                }
                self.file = Some((matches, field.map(|(_, field)| *field)));
            }
            ("fingerprint", current) => *current = Some(Fingerprint::new(e)),
            ("description", _) => self.text = Some(String::new()),
            ("example", Some(fingerprint)) => {
                self.text = Some(String::new());
                fingerprint.start_example(e);
            }
            ("param", Some(fingerprint)) => fingerprint.param(e),
            _ => {}
        }
    }

    fn text(&mut self, more: &str) {
        if let Some(text) = &mut self.text {
            text.push_str(more);
        }
    }

    fn end(&mut self, name: &str) {
        match (name, &mut self.current, self.text.take()) {
            ("description", Some(fingerprint), Some(text)) => {
                fingerprint.description = text.trim().to_owned();
            }
            ("example", Some(fingerprint), Some(text)) => fingerprint.end_example(text),
            ("fingerprint", current, _) => {
                let fingerprint = current.take();
                finish(&mut self.out, self.file.as_ref(), fingerprint);
            }
            // An element inside a text does not end it.
            (_, _, text) => self.text = text,
        }
    }
}

fn finish(
    out: &mut Imported,
    file: Option<&(String, Option<&'static str>)>,
    fingerprint: Option<Fingerprint>,
) {
    let (Some((matches, Some(field))), Some(fingerprint)) = (file, fingerprint) else {
        return;
    };
    let number = out.rules.len() + out.skipped.len() + 1;
    let id = format!("recog/{matches}/{number}");
    let what = format!("{id} ({})", fingerprint.description);
    match fingerprint.rule(id, field) {
        Ok(rule) => out.rules.push(rule),
        Err(why) => out.skip(what, why),
    }
}

#[derive(Default)]
struct Fingerprint {
    pattern: String,
    flags: String,
    description: String,
    /// Name to position (0 for a constant) and constant.
    params: BTreeMap<String, (usize, String)>,
    examples: Vec<Example>,
    /// The example that is open is in a form that is not text.
    encoded: bool,
}

impl Fingerprint {
    fn new(e: &BytesStart<'_>) -> Self {
        Self {
            pattern: attribute(e, "pattern").unwrap_or_default(),
            flags: attribute(e, "flags").unwrap_or_default(),
            ..Self::default()
        }
    }

    fn param(&mut self, e: &BytesStart<'_>) {
        if let (Some(pos), Some(name)) = (attribute(e, "pos"), attribute(e, "name")) {
            let value = attribute(e, "value").unwrap_or_default();
            self.params.insert(name, (pos.parse().unwrap_or(0), value));
        }
    }

    fn start_example(&mut self, e: &BytesStart<'_>) {
        self.encoded = attribute(e, "_encoding").is_some() || attribute(e, "_filename").is_some();
    }

    fn end_example(&mut self, value: String) {
        if !self.encoded && !value.trim().is_empty() {
            self.examples.push(Example { value, ..Example::default() });
        }
    }

    /// The template for a parameter: `{2}`, a constant, or a constant with other parameters in it.
    fn template(&self, name: &str, depth: usize) -> Option<String> {
        let (pos, value) = self.params.get(name)?;
        if *pos > 0 {
            return Some(format!("{{{pos}}}"));
        }
        let mut text = String::new();
        let mut rest = value.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (inner, tail) = after.split_once('}')?;
            text.push_str(before);
            if depth > 0 {
                text.push_str(&self.template(inner, depth - 1)?);
            }
            rest = tail;
        }
        text.push_str(rest);
        (!text.is_empty()).then_some(text)
    }

    fn tells(&self) -> Attributes {
        let get = |name: &str| self.template(name, 3);
        let mut tells = Attributes::new();
        let mut tell = |attribute: Attribute, value: Option<String>| {
            if let Some(value) = value {
                tells.entry(attribute).or_insert(value);
            }
        };
        tell(Attribute::Vendor, get("hw.vendor"));
        tell(Attribute::Model, get("hw.product").or_else(|| get("hw.model")));
        tell(Attribute::Type, get("hw.device").or_else(|| get("os.device")).map(|k| kind(&k)));
        tell(Attribute::Hardware, get("hw.version"));
        tell(Attribute::Serial, get("hw.serial_number"));
        tell(Attribute::Hostname, get("host.name"));
        let version = get("os.version");
        match get("os.product").or_else(|| get("os.family")) {
            // A product's own firmware is no operating system.
            Some(product) if product.ends_with("Firmware") => tell(Attribute::Firmware, version),
            Some(product) => {
                let os = version.map_or(product.clone(), |v| format!("{product} {v}"));
                tell(Attribute::Os, Some(os));
            }
            None => tell(Attribute::Firmware, version),
        }
        tells
    }

    fn rule(self, id: String, field: &str) -> Result<Rule, String> {
        let tells = self.tells();
        if tells.is_empty() {
            return Err("it tells nothing about the device".to_owned());
        }
        let mut pattern = self.pattern.clone();
        if field == "mdns.txt.model" {
            // Recog sees the whole record, the field only the value.
            pattern = pattern.replacen("model=", "", 1);
        }
        if self.flags.contains("REG_ICASE") {
            pattern.insert_str(0, "(?i)");
        }
        if self.flags.contains("REG_DOT_NEWLINE") || self.flags.contains("REG_MULTILINE") {
            pattern.insert_str(0, "(?s)");
        }
        check_pattern(&pattern)?;
        let examples = self.examples.into_iter().map(|mut example| {
            if field == "mdns.txt.model" {
                example.value = example.value.replacen("model=", "", 1);
            }
            example
        });
        let note = Some(self.description);
        let yes = examples.collect();
        let common = Common { strength: Some(STRENGTH), tells, yes, note, ..Common::default() };
        Ok(Rule { id, field: Text::from(field), pattern: Some(pattern), common })
    }
}

fn kind(device: &str) -> String {
    match KINDS.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(device)) {
        Some((_, ours)) => (*ours).to_owned(),
        None => device.to_lowercase().replace(' ', "-"),
    }
}

fn attribute(e: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = e.try_get_attribute(name).ok()??;
    Some(attribute.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{FactView, RulePack, Rules};

    const XML: &str = r#"<?xml version='1.0'?>
<!-- our own -->
<fingerprints matches="dhcp_vendor_class" protocol="dhcp">
  <fingerprint pattern="^Acme&lt;1&gt; (Cam \d+)(?: v([\d.]+))?;Ser=(\w+)$" flags="REG_ICASE">
    <description>Acme camera</description>
    <example hw.product="Cam 7">Acme&lt;1&gt; Cam 7 v1.2;Ser=AB12&#52;</example>
    <example _encoding="base64">QUJD</example>
    <param pos="0" name="hw.vendor" value="Acme"/>
    <param pos="0" name="hw.device" value="IP Camera"/>
    <param pos="1" name="hw.family"/>
    <param pos="0" name="hw.product" value="{hw.family} Pro"/>
    <param pos="2" name="os.version"/>
    <param pos="0" name="os.product" value="{hw.family} Firmware"/>
    <param pos="3" name="hw.serial_number"/>
  </fingerprint>
  <fingerprint pattern="^(?!x)y"><description>Look-ahead</description>
    <param pos="0" name="hw.vendor" value="Y"/></fingerprint>
  <fingerprint pattern="^z"><description>Service only</description>
    <param pos="0" name="service.vendor" value="Z"/></fingerprint>
</fingerprints>"#;

    #[test]
    fn fingerprints_become_rules() {
        let imported = parse(XML).unwrap();
        assert_eq!(imported.rules.len(), 1);
        let whys: Vec<&str> = imported.skipped.iter().map(|s| s.why.as_str()).collect();
        assert!(whys[0].contains("look"), "{whys:?}");
        assert!(whys[1].contains("tells nothing"), "{whys:?}");
        let pack = RulePack::from_rules("recog", &imported.rules, &|_| true).unwrap();
        let rules = Rules::new(vec![pack]).unwrap();
        assert_eq!(rules.failing_examples(), []);
        assert_eq!(rules.count_examples(), 1);
        let mut claims = Vec::new();
        let fact = FactView { field: "dhcp.vendor_class", value: "acme<1> cam 9 v2.0;ser=77XY" };
        rules.evaluate(&[fact], &mut claims);
        let told: Vec<String> =
            claims.iter().map(|c| format!("{}={}", c.attribute, c.value)).collect();
        let expect =
            ["vendor=Acme", "model=cam 9 Pro", "type=ip-camera", "firmware=2.0", "serial=77XY"];
        assert_eq!(told, expect);
    }

    #[test]
    fn other_files_are_refused() {
        for xml in ["", "<html/>", "<fingerprints", "{}"] {
            assert!(parse(xml).is_err(), "{xml}");
        }
        let other = parse("<fingerprints matches=\"dns.versionbind\"></fingerprints>").unwrap();
        assert_eq!(other.skipped.len(), 1);
    }
}
