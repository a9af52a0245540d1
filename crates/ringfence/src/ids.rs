//! Device ids of inspections: made from the identity itself, so that they are the same in every
//! run over the same devices.

use std::fmt::Write as _;

use inventory::Ids;
use model::DeviceId;
use model::observation::Subject;

/// `d-001b1b358410` for a link address, `d-10.0.3.7` for a routed host, `d-…/slot-3` for a child.
#[derive(Debug, Default)]
pub(crate) struct SubjectIds;

impl Ids for SubjectIds {
    fn id(&mut self, subject: &Subject) -> DeviceId {
        let mut text = String::with_capacity(64);
        text.push_str("d-");
        name(subject, &mut text);
        if text.len() > 128 {
            // Child names are foreign text of any length; their tail tells them apart.
            let tail = text.len() - 125;
            text = format!("d-+{}", text.get(tail..).unwrap_or_default());
        }
        DeviceId::new(&text).unwrap_or_else(|_| unreachable_id())
    }
}

#[expect(clippy::expect_used, reason = "a constant of allowed characters")]
fn unreachable_id() -> DeviceId {
    DeviceId::new("d-unnamed").expect("a valid constant")
}

fn name(subject: &Subject, text: &mut String) {
    // Writing to a text does not fail.
    let _ = match subject {
        Subject::Link { mac, .. } => write!(text, "{:012x}", mac.as_u64()),
        Subject::Host { ip } => write!(text, "{ip}"),
        Subject::Child { parent, via, key } => {
            name(parent, text);
            text.extend(["/", via, "/"]);
            let fits = |c: char| c.is_ascii_alphanumeric() || ".:_-@+#".contains(c);
            text.extend(key.chars().map(|c| if fits(c) { c } else { '-' }));
            Ok(())
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_and_bounded() {
        let link = Subject::Link { mac: model::Mac([0, 0x1b, 0x1b, 1, 2, 3]), ip: None };
        let child = |key: &str| Subject::Child {
            parent: Box::new(link.clone()),
            via: "cip-backplane".into(),
            key: key.into(),
        };
        let id = |s: &Subject| SubjectIds.id(s).to_string();
        assert_eq!(id(&link), "d-001b1b010203");
        assert_eq!(id(&child("slot 3")), "d-001b1b010203/cip-backplane/slot-3");
        assert_eq!(id(&child(&"ü".repeat(300))).len(), 128);
    }
}
