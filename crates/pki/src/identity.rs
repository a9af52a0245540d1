//! Who a certificate speaks for: one member of one estate, by a SPIFFE ID in its subject alternative name.
//!
//! `spiffe://ESTATE/KIND/ID` is read strictly: a text that could be read in two ways names nobody. The same
//! identity has a DNS form, `ID.KIND.ESTATE`, because verifiers constrain and compare DNS names and know nothing of URIs.

use std::fmt;
use std::str::FromStr;

use crate::san::Names;
use crate::{Certificate, Malformed};

/// The name of an estate: labels of `a-z 0-9 -` with dots between, 63 characters at most, so that it fits an X.520
/// organisation, and a last label that is no number, so that no address looks like one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Estate(String);

/// The id of a member: one DNS label of `a-z 0-9 -`, 63 characters at most.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(String);

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One box of a warehouse or shop.
    Site,
    /// A server of the controller.
    Server,
    /// A person, or what acts for one.
    Operator,
    /// A device, with the identity that the estate gave it (LDevID, IEEE 802.1AR).
    Device,
    /// A device that others speak to as to the estate, or that speaks for others.
    Gateway,
}

/// One member of an estate.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Which estate.
    pub estate: Estate,
    /// What it is.
    pub kind: Kind,
    /// Which one.
    pub id: MemberId,
}

/// Whom a certificate speaks for. `None` unless it is no authority and its one URI is a SPIFFE ID of a known kind; two
/// URIs are none (SPIFFE X.509-SVID §2). Whether the certificate is true is for [`crate::path`] and TLS to say.
pub fn identity_of(certificate: &Certificate) -> Option<Identity> {
    let authority = certificate.basic_constraints().ok()?.is_some_and(|c| c.ca);
    (!authority).then(|| one_uri(certificate)?.parse().ok()).flatten()
}

/// The estate that an authority is for: `spiffe://ESTATE`, without a path (SPIFFE X.509-SVID §3.2).
pub fn estate_of(certificate: &Certificate) -> Option<Estate> {
    let authority = certificate.basic_constraints().ok()?.is_some_and(|c| c.ca);
    let uri = authority.then(|| one_uri(certificate)).flatten()?;
    Estate::new(uri.strip_prefix(SCHEME)?).ok()
}

const SCHEME: &str = "spiffe://";

fn one_uri(certificate: &Certificate) -> Option<String> {
    let names = Names::read(certificate.alternative_names()?).ok()?;
    match names.uris.as_slice() {
        [uri] => Some(uri.clone()),
        _ => None,
    }
}

impl Estate {
    /// Checks and takes the text.
    pub fn new(text: &str) -> Result<Self, Malformed> {
        let wrong = |why: &str| Err(Malformed::new("the name of an estate", why));
        if text.len() > 63 {
            return wrong("it is longer than 63 characters");
        }
        match check_host(text) {
            Ok(()) => Ok(Self(text.to_owned())),
            Err(why) => wrong(why),
        }
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `spiffe://ESTATE`.
    pub fn uri(&self) -> String {
        format!("{SCHEME}{}", self.0)
    }
}

impl MemberId {
    /// Checks and takes the text.
    pub fn new(text: &str) -> Result<Self, Malformed> {
        check_label(text).map_err(|why| Malformed::new("the id of a member", why))?;
        Ok(Self(text.to_owned()))
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Site, Self::Server, Self::Operator, Self::Device, Self::Gateway];

    /// As it stands in names: `site`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Server => "server",
            Self::Operator => "operator",
            Self::Device => "device",
            Self::Gateway => "gateway",
        }
    }
}

impl Identity {
    /// `ID.KIND.ESTATE`.
    pub fn dns(&self) -> String {
        format!("{}.{}.{}", self.id.0, self.kind.as_str(), self.estate.0)
    }
}

/// `spiffe://ESTATE/KIND/ID`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.estate.0, self.kind.as_str(), self.id.0)
    }
}

impl FromStr for Identity {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = |why: &str| Malformed::new("an identity", why);
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| wrong("it begins with spiffe://"))?;
        let mut parts = rest.split('/');
        let (Some(estate), Some(kind), Some(id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong("spiffe://ESTATE/KIND/ID is expected"));
        };
        let kind = Kind::ALL.into_iter().find(|k| k.as_str() == kind);
        let kind =
            kind.ok_or_else(|| wrong("its kind is site, server, operator, device or gateway"))?;
        Ok(Self { estate: Estate::new(estate)?, kind, id: MemberId::new(id)? })
    }
}

impl fmt::Display for Estate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Estate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A host name in lower case, without a dot at its end and without wildcards (RFC 1123 §2.1).
pub(crate) fn check_host(text: &str) -> Result<(), &'static str> {
    if text.len() > 253 {
        return Err("it is longer than 253 characters");
    }
    for label in text.split('.') {
        check_label(label)?;
    }
    match text.rsplit('.').next() {
        Some(last) if last.bytes().all(|b| b.is_ascii_digit()) => Err("its last label is a number"),
        _ => Ok(()),
    }
}

fn check_label(text: &str) -> Result<(), &'static str> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    match () {
        () if text.is_empty() => Err("a label is empty"),
        () if text.len() > 63 => Err("a label is longer than 63 characters"),
        () if !text.bytes().all(allowed) => Err("only a-z 0-9 - can stand in a label"),
        () if text.starts_with('-') || text.ends_with('-') => {
            Err("a label begins or ends with a hyphen")
        }
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_for_one_member() {
        let text = "spiffe://acme.example/site/shop-12";
        let identity: Identity = text.parse().unwrap();
        assert_eq!(identity.to_string(), text);
        assert_eq!(identity.dns(), "shop-12.site.acme.example");
        for wrong in [
            "",
            "spiffe:",
            "spiffe://",
            "spiffe://acme",
            "spiffe://acme/",
            "spiffe://acme/site",
            "spiffe://acme/site/",
            "spiffe://acme//shop",
            "spiffe:///site/shop",
            "spiffe://acme/site/shop/",
            "spiffe://acme/site/shop/more",
            "spiffe://acme/SITE/shop",
            "spiffe://acme/gadget/shop",
            "spiffe://acme/site/Shop",
            "spiffe://acme/site/shop?x=1",
            "spiffe://acme/site/shop#x",
            "spiffe://acme/site/sh%6fp",
            "spiffe://acme/site/..",
            "spiffe://acme/site/shop_1",
            "spiffe://acme/site/-shop",
            "spiffe://acme/site/shop-",
            "spiffe://acme/site/shop\0",
            "spiffe://acme/site/shöp",
            "spiffe://acme:443/site/shop",
            "spiffe://x@acme/site/shop",
            "spiffe://ACME/site/shop",
            "spiffe://acme./site/shop",
            "spiffe://.acme/site/shop",
            "spiffe://10.0.0.1/site/shop",
            "SPIFFE://acme/site/shop",
            "https://acme/site/shop",
            " spiffe://acme/site/shop",
            "spiffe://acme/site/shop ",
        ] {
            assert!(wrong.parse::<Identity>().is_err(), "{wrong}");
        }
        let long = "x".repeat(63);
        assert!(MemberId::new(&long).is_ok() && Estate::new(&long).is_ok());
        assert!(MemberId::new(&format!("{long}x")).is_err());
        assert!(Estate::new(&format!("{}.example.org", "x".repeat(52))).is_err());
    }
}
