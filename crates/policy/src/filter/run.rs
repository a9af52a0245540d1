//! What a compiled expression says about a device. It allocates for sets that are compared whole, and for nothing else.

use std::borrow::Cow;
use std::net::IpAddr;

use super::compile::{Flag, Many, Net, Node, Two};
use super::{Subject, millis};

const DAY_MS: i64 = 86_400_000;

/// A value; sets of a device are looked up where they are asked about.
#[derive(Clone, Debug, PartialEq)]
enum Value<'v> {
    Bool(bool),
    Long(i64),
    Text(&'v str),
    Time(i64),
    Span(i64),
    Net(Net),
    Many(Many),
    Set(Vec<Self>),
}

impl Node {
    /// It is true; what errs is not.
    pub(super) fn holds(&self, device: &impl Subject, now: i64) -> bool {
        self.value(device, now) == Some(Value::Bool(true))
    }

    fn truth(&self, device: &impl Subject, now: i64) -> Option<bool> {
        match self.value(device, now)? {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    fn text<'v>(&'v self, device: &'v impl Subject, now: i64) -> Option<&'v str> {
        match self.value(device, now)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// `None`: it errs.
    fn value<'v>(&'v self, device: &'v impl Subject, now: i64) -> Option<Value<'v>> {
        Some(match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Long(number) => Value::Long(*number),
            Self::Literal(text) => Value::Text(text),
            Self::Time(at) => Value::Time(*at),
            Self::Span(span) => Value::Span(*span),
            Self::Net(net) => Value::Net(*net),
            Self::Now => Value::Time(now),
            Self::Text(of) => Value::Text(device.text(*of)),
            Self::Flag(Flag::Resurfaced) => Value::Bool(device.resurfaced()),
            Self::Flag(Flag::Confused) => Value::Bool(device.confused()),
            Self::Assurance => Value::Long(device.assurance()),
            Self::FirstSeen => Value::Time(millis(device.first_seen())),
            Self::LastSeen => Value::Time(millis(device.last_seen())),
            Self::Many(many) => Value::Many(*many),
            Self::Label(name) => Value::Text(device.label(name.text(device, now)?)?),
            Self::HasLabel(name) => Value::Bool(device.label(name.text(device, now)?).is_some()),
            Self::In(groups) => {
                Value::Bool(groups.iter().any(|(of, id)| device.text(*of) == &**id))
            }
            Self::Set(parts) => {
                let parts = parts.iter().map(|part| part.value(device, now));
                Value::Set(parts.collect::<Option<_>>()?)
            }
            Self::Not(part) => Value::Bool(!part.truth(device, now)?),
            Self::Negative(part) => match part.value(device, now)? {
                Value::Long(number) => Value::Long(number.checked_neg()?),
                _ => return None,
            },
            Self::If(test, then, otherwise) => {
                let part = if test.truth(device, now)? { then } else { otherwise };
                return part.value(device, now);
            }
            Self::Like(text, pattern) => {
                Value::Bool(crate::text::like(text.text(device, now)?, pattern))
            }
            Self::IsEmpty(set) => Value::Bool(set.value(device, now)?.items(device)?.is_empty()),
            Self::Two(two, a, b) => return two_of(*two, a, b, device, now),
            Self::ToDate(at) => match at.value(device, now)? {
                Value::Time(at) => Value::Time(at.checked_sub(at.rem_euclid(DAY_MS))?),
                _ => return None,
            },
            Self::ToTime(at) => match at.value(device, now)? {
                Value::Time(at) => Value::Span(at.rem_euclid(DAY_MS)),
                _ => return None,
            },
            Self::InUnits(span, unit) => match span.value(device, now)? {
                Value::Span(span) => Value::Long(span.checked_div(*unit)?),
                _ => return None,
            },
        })
    }
}

fn two_of<'v>(
    two: Two,
    a: &'v Node,
    b: &'v Node,
    device: &'v impl Subject,
    now: i64,
) -> Option<Value<'v>> {
    match two {
        Two::And if !a.truth(device, now)? => return Some(Value::Bool(false)),
        Two::Or if a.truth(device, now)? => return Some(Value::Bool(true)),
        Two::And | Two::Or => return b.truth(device, now).map(Value::Bool),
        _ => {}
    }
    let (a, b) = (a.value(device, now)?, b.value(device, now)?);
    Some(match two {
        Two::Eq => Value::Bool(a.is(&b, device)),
        Two::Ne => Value::Bool(!a.is(&b, device)),
        Two::Lt => Value::Bool(a.number()? < b.number()?),
        Two::Le => Value::Bool(a.number()? <= b.number()?),
        Two::Gt => Value::Bool(a.number()? > b.number()?),
        Two::Ge => Value::Bool(a.number()? >= b.number()?),
        Two::Plus => Value::Long(a.number()?.checked_add(b.number()?)?),
        Two::Minus => Value::Long(a.number()?.checked_sub(b.number()?)?),
        Two::Times => Value::Long(a.number()?.checked_mul(b.number()?)?),
        Two::Contains => Value::Bool(a.has(&b, device)?),
        Two::ContainsAll => {
            let mut all = true;
            for item in b.items(device)?.iter() {
                all &= a.has(item, device)?;
            }
            Value::Bool(all)
        }
        Two::ContainsAny => {
            // The smaller side is walked: networks are many.
            let (walked, other) = if matches!(a, Value::Set(_)) { (a, b) } else { (b, a) };
            let mut any = false;
            for item in walked.items(device)?.iter() {
                any |= other.has(item, device)?;
            }
            Value::Bool(any)
        }
        Two::Offset => Value::Time(a.number()?.checked_add(b.number()?)?),
        Two::Since => Value::Span(a.number()?.checked_sub(b.number()?)?),
        Two::And | Two::Or => return None,
    })
}

impl<'v> Value<'v> {
    /// What is ordered. The validator has seen to it that both sides are of one sort.
    fn number(&self) -> Option<i64> {
        match self {
            Self::Long(number) | Self::Time(number) | Self::Span(number) => Some(*number),
            _ => None,
        }
    }

    fn is(&self, other: &Self, device: &'v impl Subject) -> bool {
        match (self.items(device), other.items(device)) {
            // Sets: neither order nor repetition counts.
            (Some(a), Some(b)) => {
                a.iter().all(|item| b.contains(item)) && b.iter().all(|item| a.contains(item))
            }
            _ => self == other,
        }
    }

    /// A set has something; `None`: it is no set.
    fn has(&self, item: &Self, device: &'v impl Subject) -> Option<bool> {
        Some(match (self, item) {
            (Self::Set(items), _) => items.iter().any(|one| one.is(item, device)),
            (Self::Many(Many::Addresses), Self::Net(net)) => {
                device.addresses().iter().any(|address| Net::one(*address) == *net)
            }
            (Self::Many(Many::Networks), Self::Net(net)) => {
                net.is_network() && device.addresses().iter().any(|address| net.has(*address))
            }
            (Self::Many(Many::Macs), Self::Text(text)) => macs(device).any(|mac| mac == *text),
            (Self::Many(Many::Keys), Self::Text(text)) => device.keys().any(|key| key == *text),
            (Self::Many(_), _) => false,
            _ => return None,
        })
    }

    /// What is in a set; `None`: it is no set.
    fn items(&self, device: &'v impl Subject) -> Option<Cow<'_, [Self]>> {
        let addresses = || device.addresses().iter().copied();
        Some(match self {
            Self::Set(items) => Cow::Borrowed(items.as_slice()),
            Self::Many(Many::Addresses) => {
                Cow::Owned(addresses().map(|a| Self::Net(Net::one(a))).collect())
            }
            Self::Many(Many::Networks) => {
                Cow::Owned(addresses().flat_map(networks).map(Self::Net).collect())
            }
            Self::Many(Many::Macs) => Cow::Owned(macs(device).map(Self::Text).collect()),
            Self::Many(Many::Keys) => Cow::Owned(device.keys().map(Self::Text).collect()),
            _ => return None,
        })
    }
}

pub(super) fn macs(device: &impl Subject) -> impl Iterator<Item = &str> {
    device.keys().filter_map(|key| key.strip_prefix("mac/"))
}

/// All networks that an address is in, itself included.
pub(super) fn networks(address: IpAddr) -> impl Iterator<Item = Net> {
    let own = Net::one(address);
    (0..=own.bits).map(move |bits| Net { address: Net { address, bits }.first(), bits })
}
