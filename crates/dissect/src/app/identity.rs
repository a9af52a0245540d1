//! What interfaces call the parts of an identity: the many spellings of model, firmware, serial.

use model::Mac;
use model::observation::IdentifierKind;

use crate::{About, Ctx, Sink, identity};

/// Canonical word and the spellings of it, compared in lower case without `_`, `-` and spaces.
const SPELLINGS: &[(&str, &[&str])] = &[
    (
        "model",
        &["model", "modelname", "modelnumber", "modelid", "devicemodel", "productmodel", "prodnbr"],
    ),
    ("product", &["product", "productname", "prodfullname", "devicetype", "friendlymodelname"]),
    (
        "firmware",
        &[
            "firmware",
            "fw",
            "fwver",
            "fwversion",
            "firmwareversion",
            "firmwarever",
            "swversion",
            "softwareversion",
            "swver",
            "systemversion",
            "firmwarerevision",
            "osversion",
        ],
    ),
    ("hardware", &["hardware", "hwver", "hwversion", "hardwareversion", "hardwareid", "hwrev"]),
    ("serial", &["serial", "serialnumber", "serialno", "sn", "serialnum", "deviceserial"]),
    ("mac", &["mac", "macaddress", "macaddr", "hwaddr", "wifimac", "ethernetmac"]),
    ("vendor", &["vendor", "vendorname", "manufacturer", "manufacturername", "brand", "make"]),
    ("name", &["devicename", "friendlyname", "userdevicename", "hostname", "friendlydevicename"]),
];

/// The canonical word for a key of an interface.
pub(super) fn canonical(key: &str) -> Option<&'static str> {
    if key.len() > 40 {
        return None;
    }
    let plain: String =
        key.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    let known = SPELLINGS.iter().find(|(_, spellings)| spellings.contains(&plain.as_str()));
    known.map(|(word, _)| *word)
}

/// A description collected from one message: the first value of every canonical word.
#[derive(Debug, Default)]
pub(super) struct Description(Vec<(&'static str, String)>);

impl Description {
    /// Adds a pair if its key is a known spelling and its value could be one.
    pub(super) fn add(&mut self, key: &str, value: &str) {
        let value = value.trim();
        let plausible = (1..=128).contains(&value.len())
            && value.chars().any(char::is_alphanumeric)
            && !matches!(value, "null" | "true" | "false" | "none" | "unknown" | "N/A");
        if let (true, Some(word)) = (plausible, canonical(key))
            && self.get(word).is_none()
        {
            self.0.push((word, value.to_owned()));
        }
    }

    fn get(&self, word: &str) -> Option<&str> {
        self.0.iter().find(|(w, _)| *w == word).map(|(_, value)| value.as_str())
    }

    /// Reports, when the sender is a host of the estate and said enough for a description of
    /// itself: a model with firmware, serial, MAC or vendor beside it. Recorders and controllers
    /// describe the devices they manage in the same words: a foreign MAC gives them away, and
    /// a serial number is no identifier here.
    pub(super) fn report(&self, ctx: &Ctx, sink: &mut dyn Sink) {
        let beside = ["firmware", "serial", "mac", "vendor", "hardware"];
        let whole = (self.get("model").is_some() || self.get("product").is_some())
            && beside.iter().any(|word| self.get(word).is_some());
        let mac = self.get("mac").and_then(|text| text.parse::<Mac>().ok());
        let foreign = mac.is_some_and(|mac| !is_sibling(mac, ctx.src.mac));
        if !whole || foreign || !super::is_local(ctx) {
            return;
        }
        for (word, value) in &self.0 {
            super::keyed(sink, About::Sender, "http.api", word, value);
        }
        if let Some(mac) = self.get("mac") {
            own_mac("http.api.mac", mac, sink);
        }
    }
}

/// Addresses that makers give to the interfaces of one device: near each other, or the same but
/// for their block.
pub(super) fn is_sibling(a: Mac, b: Mac) -> bool {
    a.as_u64().abs_diff(b.as_u64()) <= 8 || (a.as_u64() ^ b.as_u64()) & 0xff_ffff == 0
}

/// A MAC address the sender says is its own.
pub(super) fn own_mac(field: &'static str, text: &str, sink: &mut dyn Sink) {
    mac_of(About::Sender, field, text, sink);
}

/// A MAC address that is said to belong to `about`.
pub(super) fn mac_of(about: About<'_>, field: &'static str, text: &str, sink: &mut dyn Sink) {
    if let Some(mac) = identity::mac(text) {
        sink.identifier(about, field, IdentifierKind::Mac, mac.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx};

    #[test]
    fn spellings_meet() {
        for key in ["modelName", "model_name", "Model-Number", "deviceModel"] {
            assert_eq!(canonical(key), Some("model"), "{key}");
        }
        assert_eq!(canonical("remodel"), None);
        assert_eq!(canonical(&"m".repeat(100)), None);
    }

    #[test]
    fn half_a_description_is_none() {
        let check = |pairs: &[(&str, &str)], count| {
            let mut description = Description::default();
            pairs.iter().for_each(|(key, value)| description.add(key, value));
            let mut facts = Recorder::default();
            let mut here = ctx(80, 4000, Role::Server);
            here.src.ip = Some("192.168.0.7".parse().unwrap());
            description.report(&here, &mut facts);
            assert_eq!(facts.lines.len(), count, "{}", facts.text());
        };
        check(&[("model", "X1")], 0);
        check(&[("serial", "12345"), ("firmware", "1.0")], 0);
        check(&[("model", "X1"), ("fw_ver", "1.0"), ("model", "X2"), ("brand", "null")], 2);
        check(&[("model", "X1"), ("mac", "02:00:00:00:00:02")], 3);
        check(&[("model", "X1"), ("mac", "00:1b:1b:35:84:10")], 0);
        check(&[("model", "X1"), ("mac", "ff:ff:ff:ff:ff:ff")], 0);
    }
}
