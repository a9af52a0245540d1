//! The elements of a set, packed: a million of them are a few tens of megabytes.

use std::cmp::Ordering;

/// What a key maps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value<'a> {
    /// Nothing: a set.
    None,
    /// A packet or connection mark.
    Mark(u32),
    /// Judging goes on in a chain, and ends with it.
    Goto(&'a str),
}

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its key, or the first of a range.
    pub key: &'a [u8],
    /// Last key of a range.
    pub end: Option<&'a [u8]>,
    /// What the key maps to.
    pub value: Value<'a>,
    /// Seconds until the kernel removes it.
    pub timeout_s: Option<u32>,
    /// Device, rule or exception it came from.
    pub comment: &'a str,
}

/// Elements in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elements {
    stride: usize,
    ranges: bool,
    keys: Vec<u8>,
    ends: Vec<u8>,
    rest: Vec<Rest>,
    targets: Vec<String>,
    comments: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rest {
    /// A mark, or a number in `targets`.
    value: u32,
    kind: Kind,
    /// 0: stays.
    timeout_s: u32,
    comment_at: u32,
    comment_length: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    None,
    Mark,
    Goto,
}

impl Elements {
    /// No elements, with keys of `stride` bytes; `ranges` where keys have ends.
    pub(crate) fn new(stride: usize, ranges: bool) -> Self {
        Self { stride, ranges, ..Self::default() }
    }

    /// None, of the same keys.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(self.stride, self.ranges)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Element number `index` in the order of keys.
    pub fn nth(&self, index: usize) -> Option<Element<'_>> {
        let rest = self.rest.get(index)?;
        let at = index * self.stride;
        let value = match rest.kind {
            Kind::None => Value::None,
            Kind::Mark => Value::Mark(rest.value),
            Kind::Goto => Value::Goto(self.targets.get(usize::try_from(rest.value).ok()?)?),
        };
        let begin = usize::try_from(rest.comment_at).ok()?;
        Some(Element {
            key: self.keys.get(at..at + self.stride)?,
            end: if self.ranges { self.ends.get(at..at + self.stride) } else { None },
            value,
            timeout_s: (rest.timeout_s > 0).then_some(rest.timeout_s),
            comment: self.comments.get(begin..begin + usize::from(rest.comment_length))?,
        })
    }

    /// All, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = Element<'_>> {
        (0..self.len()).filter_map(|index| self.nth(index))
    }

    /// The element of `key`.
    pub fn get(&self, key: &[u8]) -> Option<Element<'_>> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let element = self.nth(middle)?;
            match element.key.cmp(key) {
                Ordering::Equal => return Some(element),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Appends one; [`Elements::sort`] when all are in. A comment longer than 255 bytes is cut.
    pub(crate) fn push(&mut self, element: Element<'_>) {
        debug_assert_eq!(element.key.len(), self.stride, "a key of this set's type");
        self.keys.extend_from_slice(element.key);
        if self.ranges {
            self.ends.extend_from_slice(element.end.unwrap_or(element.key));
        }
        let (kind, value) = match element.value {
            Value::None => (Kind::None, 0),
            Value::Mark(mark) => (Kind::Mark, mark),
            Value::Goto(chain) => (Kind::Goto, self.target(chain)),
        };
        let comment_at = u32::try_from(self.comments.len()).unwrap_or(u32::MAX);
        let length = element.comment.floor_char_boundary(255);
        let comment = element.comment.get(..length).unwrap_or_default();
        self.comments.push_str(comment);
        self.rest.push(Rest {
            value,
            kind,
            timeout_s: element.timeout_s.unwrap_or(0),
            comment_at,
            comment_length: u8::try_from(comment.len()).unwrap_or(0),
        });
    }

    /// Sorts by key. Equal keys become one element: the first one's, with all comments.
    pub(crate) fn sort(&mut self, comment_text: impl Fn(&str) -> String) {
        let key = |index: &u32| {
            let at = usize::try_from(*index).unwrap_or(0) * self.stride;
            self.keys.get(at..at + self.stride).unwrap_or_default()
        };
        let count = u32::try_from(self.len()).unwrap_or(u32::MAX);
        let mut order: Vec<u32> = (0..count).collect();
        if order.is_sorted_by(|a, b| key(a) < key(b)) {
            return;
        }
        order.sort_by(|a, b| key(a).cmp(key(b)));
        let mut out = Self::new(self.stride, self.ranges);
        out.keys.reserve_exact(self.keys.len());
        out.ends.reserve_exact(self.ends.len());
        out.rest.reserve_exact(self.rest.len());
        out.comments.reserve_exact(self.comments.len());
        let mut order =
            order.into_iter().filter_map(|i| self.nth(usize::try_from(i).ok()?)).peekable();
        while let Some(element) = order.next() {
            let mut comments = Vec::new();
            while let Some(same) = order.next_if(|next| next.key == element.key) {
                if same.comment != element.comment && !comments.contains(&same.comment) {
                    comments.push(same.comment);
                }
            }
            if comments.is_empty() {
                out.push(element);
            } else {
                comments.insert(0, element.comment);
                let comment = comment_text(&comments.join(", "));
                out.push(Element { comment: &comment, ..element });
            }
        }
        *self = out;
    }

    /// What turns `self` into `other`: elements to take away and to add, by merging both orders.
    pub(crate) fn difference<'a>(&'a self, other: &'a Self, each: &mut dyn FnMut(Change<'a>)) {
        let (mut old, mut new) = (self.iter().peekable(), other.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => one.key.cmp(other.key),
            };
            match order {
                Ordering::Less => old.next().into_iter().for_each(|e| each(Change::Gone(e))),
                Ordering::Greater => new.next().into_iter().for_each(|e| each(Change::New(e))),
                Ordering::Equal => {
                    if let Some((one, other)) = old.next().zip(new.next())
                        && one != other
                    {
                        each(Change::Other(one, other));
                    }
                }
            }
        }
    }

    fn target(&mut self, chain: &str) -> u32 {
        let known = self.targets.iter().rposition(|known| known == chain);
        let number = known.unwrap_or_else(|| {
            self.targets.push(chain.to_owned());
            self.targets.len() - 1
        });
        u32::try_from(number).unwrap_or(u32::MAX)
    }
}

/// One difference between two sets of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    Gone(Element<'a>),
    New(Element<'a>),
    Other(Element<'a>, Element<'a>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element<'a>(key: &'a [u8], value: Value<'a>, comment: &'a str) -> Element<'a> {
        Element { key, end: None, value, timeout_s: None, comment }
    }

    #[test]
    fn equal_keys_become_one_that_names_all() {
        let mut elements = Elements::new(2, false);
        elements.push(element(&[2, 0], Value::Goto("allowed"), "b"));
        elements.push(element(&[1, 0], Value::Mark(7), ""));
        elements.push(element(&[2, 0], Value::Goto("other"), "a"));
        elements.push(element(&[2, 0], Value::Goto("other"), "b"));
        elements.sort(str::to_owned);
        let all: Vec<_> = elements.iter().collect();
        assert_eq!(all[0], element(&[1, 0], Value::Mark(7), ""));
        assert_eq!(all[1], element(&[2, 0], Value::Goto("allowed"), "b, a"));
        assert_eq!((all.len(), elements.len()), (2, 2));
        assert_eq!(elements.get(&[2, 0]), Some(all[1]));
        assert_eq!(elements.get(&[3, 0]), None);
    }

    proptest::proptest! {
        #[test]
        fn differences_lead_from_one_to_the_other(
            one in proptest::collection::btree_map(0u8..20, 0u32..3, 0..20),
            other in proptest::collection::btree_map(0u8..20, 0u32..3, 0..20),
        ) {
            let build = |from: &std::collections::BTreeMap<u8, u32>| {
                let mut elements = Elements::new(1, false);
                for (key, value) in from.iter().rev() {
                    elements.push(element(&[*key], Value::Mark(*value), ""));
                }
                elements.sort(str::to_owned);
                elements
            };
            let (from, to) = (build(&one), build(&other));
            let mut state = one;
            from.difference(&to, &mut |change| match change {
                Change::Gone(e) => assert!(state.remove(&e.key[0]).is_some()),
                Change::New(e) | Change::Other(_, e) => {
                    let Value::Mark(mark) = e.value else { panic!() };
                    state.insert(e.key[0], mark);
                }
            });
            proptest::prop_assert_eq!(state, other);
        }
    }
}
