//! Netlink messages as bytes: an encoder into a growing buffer, and bounds-checked readers.
//!
//! Layout: `struct nlmsghdr` (16 bytes), for netfilter a `struct nfgenmsg` (4 bytes), then
//! attributes (`struct nlattr`, 4 bytes and a payload), each padded to 4 bytes. Header fields are
//! in host order; netfilter's own numbers are big-endian (linux/netlink.h,
//! linux/netfilter/nfnetlink.h).

/// Bytes of `struct nlmsghdr`.
pub const HEADER: usize = 16;
/// Bytes of `struct nfgenmsg`.
pub const NETFILTER_HEADER: usize = 4;
/// Longest attribute, header included: its length field has 16 bits.
pub const ATTRIBUTE_MAX: usize = u16::MAX as usize;

/// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`: flags in the upper bits of an attribute's kind.
const KIND_MASK: u16 = 0x3fff;

/// Writes messages and attributes. What does not fit is remembered, and [`Encoder::fits`] tells:
/// a message is checked once, when it is complete.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Encoder {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Every attribute was short enough for its length field.
    pub fn fits(&self) -> bool {
        !self.too_long
    }

    /// Empties the buffer and keeps its room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.too_long = false;
    }

    /// One whole message: header, then what `body` writes.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        body(self);
        match u32::try_from(self.bytes.len() - start) {
            Ok(length) => self.patch(start, &length.to_ne_bytes()),
            Err(_) => self.too_long = true,
        }
        self.pad();
    }

    /// `struct nfgenmsg`: address family and resource (a group, a subsystem, or 0).
    pub fn netfilter(&mut self, family: u8, resource: u16) {
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
    }

    /// Bytes that are no attribute: a header of another netlink family.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    /// An attribute of bytes.
    pub fn put(&mut self, kind: u16, payload: &[u8]) {
        match u16::try_from(payload.len() + 4) {
            Ok(length) => {
                self.bytes.extend_from_slice(&length.to_ne_bytes());
                self.bytes.extend_from_slice(&kind.to_ne_bytes());
                self.bytes.extend_from_slice(payload);
                self.pad();
            }
            Err(_) => self.too_long = true,
        }
    }

    /// An attribute of one byte.
    pub fn put_u8(&mut self, kind: u16, value: u8) {
        self.put(kind, &[value]);
    }

    /// An attribute of two bytes, big-endian.
    pub fn put_be16(&mut self, kind: u16, value: u16) {
        self.put(kind, &value.to_be_bytes());
    }

    /// An attribute of four bytes, big-endian.
    pub fn put_be32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// An attribute of eight bytes, big-endian.
    pub fn put_be64(&mut self, kind: u16, value: u64) {
        self.put(kind, &value.to_be_bytes());
    }

    /// An attribute of four bytes in host order.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// A string with the zero byte that netfilter wants behind it.
    pub fn put_str(&mut self, kind: u16, text: &str) {
        self.nested(kind, |e| {
            e.bytes.extend_from_slice(text.as_bytes());
            e.bytes.push(0);
        });
    }

    /// An attribute that holds what `body` writes.
    pub fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        body(self);
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.patch(start, &length.to_ne_bytes()),
            Err(_) => self.too_long = true,
        }
        self.pad();
    }

    /// Overwrites bytes written earlier.
    pub(crate) fn patch(&mut self, at: usize, with: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + with.len()) {
            place.copy_from_slice(with);
        }
    }

    fn pad(&mut self) {
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }
}

/// One netlink message, borrowed from what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Type: for netfilter, subsystem in the upper byte and message in the lower.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// Number of the request it answers, 0 for events.
    pub sequence: u32,
    /// Port (socket) it belongs to; for events, of the process that caused it.
    pub port: u32,
    /// Behind the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Address family and resource of the netfilter header, and the attributes behind it.
    pub fn netfilter(&self) -> Option<(u8, u16, Attributes<'a>)> {
        let (header, rest) = self.payload.split_at_checked(NETFILTER_HEADER)?;
        let [family, _, high, low] = header.first_chunk::<NETFILTER_HEADER>()?;
        Some((*family, u16::from_be_bytes([*high, *low]), Attributes::new(rest)))
    }

    /// Subsystem: upper byte of a netfilter message's kind.
    pub fn subsystem(&self) -> u8 {
        self.kind.to_be_bytes()[0]
    }

    /// Lower byte of a netfilter message's kind.
    pub fn code(&self) -> u8 {
        self.kind.to_be_bytes()[1]
    }
}

/// The messages of one datagram. Ends early at one that is cut off; [`Messages::rest`] is then
/// not empty.
#[derive(Clone, Debug)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// Reads `datagram`.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self(datagram)
    }

    /// What could not be read.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.first_chunk::<HEADER>()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let payload = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            port: u32::from_ne_bytes([p0, p1, p2, p3]),
            payload,
        })
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its kind without the flags.
    pub kind: u16,
    /// Its payload without padding.
    pub payload: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// One byte.
    pub fn u8(&self) -> Option<u8> {
        self.payload.first().copied()
    }

    /// Two bytes, big-endian.
    pub fn be16(&self) -> Option<u16> {
        self.payload.first_chunk().copied().map(u16::from_be_bytes)
    }

    /// Four bytes, big-endian.
    pub fn be32(&self) -> Option<u32> {
        self.payload.first_chunk().copied().map(u32::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    pub fn be64(&self) -> Option<u64> {
        self.payload.first_chunk().copied().map(u64::from_be_bytes)
    }

    /// Four bytes in host order.
    pub fn u32(&self) -> Option<u32> {
        self.payload.first_chunk().copied().map(u32::from_ne_bytes)
    }

    /// Text up to its zero byte; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        let text = self.payload.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// The attributes inside.
    pub fn nested(&self) -> Attributes<'a> {
        Attributes::new(self.payload)
    }
}

/// A run of attributes. Ends early at one that is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Reads `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The first of `kind`.
    pub fn get(self, kind: u16) -> Option<Attribute<'a>> {
        let mut all = self;
        all.find(|attribute| attribute.kind == kind)
    }

    /// The attributes inside the first of `kind`; none where it is absent.
    pub fn nested(self, kind: u16) -> Self {
        self.get(kind).map_or(Self(&[]), |attribute| attribute.nested())
    }

    /// The text of the first of `kind`.
    pub fn text(self, kind: u16) -> Option<String> {
        self.get(kind).map(|attribute| attribute.text())
    }

    /// Everything could be read, to the last byte.
    pub fn is_whole(self) -> bool {
        let mut all = self;
        while all.next().is_some() {}
        all.0.is_empty()
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let [l0, l1, k0, k1] = *self.0.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let payload = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind: u16::from_ne_bytes([k0, k1]) & KIND_MASK, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut e = Encoder::new();
        e.message(0x0a09, 0x405, 7, |e| {
            e.netfilter(1, 0x1234);
            e.put_str(1, "ringfence");
            e.put_be32(2, 6);
            e.nested(3 | 0x8000, |e| {
                e.put_be64(1, u64::MAX - 1);
                e.put(2, &[1, 2, 3]);
                e.put_be16(3, 443);
                e.put_u8(4, 9);
                e.put_u32(5, 77);
            });
        });
        e.message(2, 0, 8, |e| e.raw(&[0xff, 1]));
        assert!(e.fits() && e.len().is_multiple_of(4));

        let mut messages = Messages::new(e.bytes());
        let message = messages.next().unwrap();
        assert_eq!((message.kind, message.flags, message.sequence), (0x0a09, 0x405, 7));
        assert_eq!((message.subsystem(), message.code()), (10, 9));
        let (family, resource, attributes) = message.netfilter().unwrap();
        assert_eq!((family, resource), (1, 0x1234));
        assert!(attributes.is_whole());
        assert_eq!(attributes.text(1).unwrap(), "ringfence");
        assert_eq!(attributes.get(2).unwrap().be32(), Some(6));
        let inner = attributes.nested(3);
        assert_eq!(inner.get(1).unwrap().be64(), Some(u64::MAX - 1));
        assert_eq!(inner.get(2).unwrap().payload, [1, 2, 3]);
        assert_eq!(inner.get(3).unwrap().be16(), Some(443));
        assert_eq!(inner.get(4).unwrap().u8(), Some(9));
        assert_eq!(inner.get(5).unwrap().u32(), Some(77));
        assert!(attributes.get(9).is_none() && attributes.nested(9).next().is_none());
        let message = messages.next().unwrap();
        assert_eq!((message.kind, message.payload), (2, &[0xff, 1, 0, 0][..]));
        assert!(messages.next().is_none() && messages.rest().is_empty());
    }

    #[test]
    fn what_is_too_long_is_told() {
        let mut e = Encoder::new();
        e.put(1, &vec![0; ATTRIBUTE_MAX - 4]);
        assert!(e.fits());
        e.put(1, &vec![0; ATTRIBUTE_MAX - 3]);
        assert!(!e.fits());
        e.clear();
        assert!(e.fits() && e.is_empty());
        e.nested(1, |e| (0..2).for_each(|kind| e.put(kind, &[0; 40_000])));
        assert!(!e.fits());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_are_read_to_an_end(bytes in proptest::collection::vec(0u8.., 0..200)) {
            for message in Messages::new(&bytes) {
                let _ = message.netfilter();
            }
            let mut left = vec![Attributes::new(&bytes)];
            while let Some(attributes) = left.pop() {
                let _ = attributes.is_whole();
                for attribute in attributes {
                    let _ = (attribute.u8(), attribute.be16(), attribute.be32(), attribute.be64());
                    let _ = (attribute.u32(), attribute.text());
                    left.push(attribute.nested());
                }
            }
        }

        #[test]
        fn a_cut_message_ends_the_reading(cut in 0usize..60) {
            let mut e = Encoder::new();
            e.message(1, 2, 3, |e| e.nested(1, |e| e.put(2, &[7; 33])));
            let whole = e.bytes();
            proptest::prop_assert_eq!(whole.len(), 60);
            let cut = &whole[..cut];
            let mut messages = Messages::new(cut);
            proptest::prop_assert!(messages.next().is_none());
            proptest::prop_assert_eq!(messages.rest(), cut);
        }
    }
}
