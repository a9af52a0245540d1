//! CIP paths (Volume 1, Appendix C): which object a request is for, and which way it takes.

use crate::{Malformed, Reader};

/// The way from the encapsulation's server to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The server itself.
    Direct,
    /// A module in the server's chassis: out of port 1 (the backplane), to this slot.
    Slot(u8),
    /// Further away, or by an unknown way.
    Far,
}

impl Route {
    /// As a number for the conversation's memory.
    pub(super) fn pack(self) -> u16 {
        match self {
            Self::Direct => 0,
            Self::Slot(slot) => 1 + u16::from(slot),
            Self::Far => u16::MAX,
        }
    }

    /// Back from [`Route::pack`].
    pub(super) fn unpack(n: u16) -> Self {
        match n {
            0 => Self::Direct,
            n => u8::try_from(n - 1).map_or(Self::Far, Self::Slot),
        }
    }
}

/// What a path says, as far as it could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) class: Option<u16>,
    pub(super) instance: Option<u32>,
    pub(super) attribute: Option<u16>,
    pub(super) route: Route,
}

impl Path {
    /// Reads padded segments; stops at the first that cannot be one.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut path = Self { class: None, instance: None, attribute: None, route: Route::Direct };
        let mut r = Reader::new(bytes);
        // Every segment takes at least one byte; a path has at most 255 words.
        while !r.is_empty() {
            if path.segment(&mut r).is_err() {
                break;
            }
        }
        path
    }

    fn segment(&mut self, r: &mut Reader<'_>) -> Result<(), Malformed> {
        let kind = r.u8()?;
        match kind >> 5 {
            0 => self.port(kind, r),
            1 => self.logical(kind, r),
            // Data segments: simple data counts words, a symbol counts bytes.
            4 if kind == 0x80 => {
                let words = r.u8()?;
                r.skip(usize::from(words) * 2)
            }
            4 if kind == 0x91 => {
                let length = usize::from(r.u8()?);
                r.skip(length + length % 2)
            }
            // Network segments: one byte of data, or a counted array (§C-1.4.3).
            2 if kind & 0x10 == 0 => r.skip(1),
            2 => {
                let words = r.u8()?;
                r.skip(usize::from(words) * 2)
            }
            _ => Err(Malformed::Invalid),
        }
    }

    fn port(&mut self, kind: u8, r: &mut Reader<'_>) -> Result<(), Malformed> {
        let long = kind & 0x10 != 0;
        let length = if long { usize::from(r.u8()?) } else { 1 };
        let port = match kind & 0x0f {
            15 => r.u16_le()?,
            port => u16::from(port),
        };
        let link = r.take(length)?;
        if long {
            r.skip(length % 2)?;
        }
        self.route = match (self.route, port, link) {
            (Route::Direct, 1, [slot]) => Route::Slot(*slot),
            _ => Route::Far,
        };
        Ok(())
    }

    fn logical(&mut self, kind: u8, r: &mut Reader<'_>) -> Result<(), Malformed> {
        if kind == 0x34 {
            // Electronic key: format, then vendor, type, code, revision.
            return match r.u8()? {
                4 => r.skip(8),
                _ => Err(Malformed::Invalid),
            };
        }
        let value = match kind & 3 {
            0 => u32::from(r.u8()?),
            1 => {
                r.skip(1)?;
                u32::from(r.u16_le()?)
            }
            2 => {
                r.skip(1)?;
                r.u32_le()?
            }
            _ => return Err(Malformed::Invalid),
        };
        let short = u16::try_from(value).ok();
        match kind & 0x1c {
            0x00 => self.class = short,
            0x04 => self.instance = Some(value),
            0x10 => self.attribute = short,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;

    #[test]
    fn segments() {
        let path = |hex| {
            let p = Path::parse(&unhex(hex));
            (p.class, p.instance, p.attribute, p.route)
        };
        assert_eq!(path("2001 2401"), (Some(1), Some(1), None, Route::Direct));
        assert_eq!(path("21008e00 25000100 3005"), (Some(0x8e), Some(1), Some(5), Route::Direct));
        assert_eq!(path("0103 2001"), (Some(1), None, None, Route::Slot(3)));
        assert_eq!(path("0103 0202"), (None, None, None, Route::Far));
        // Port 2 with the link address "10.0.0.1".
        assert_eq!(path("120831302e302e302e31 0100").3, Route::Far);
        assert_eq!(path("3404 0100 0e00 3600 1001 2001").0, Some(1));
        assert_eq!(path("9104 54616731 2001").0, Some(1));
        assert_eq!(path("ff"), (None, None, None, Route::Direct));
        for route in [Route::Direct, Route::Slot(0), Route::Slot(255), Route::Far] {
            assert_eq!(Route::unpack(route.pack()), route);
        }
    }
}
