//! Text armour (RFC 7468). Files may hold several objects and words around them.

use crate::Malformed;

/// One object of a PEM file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pem {
    /// Its label: `CERTIFICATE`.
    pub label: String,
    /// What is inside.
    pub der: Vec<u8>,
}

/// Objects in one file.
const OBJECTS_MAX: usize = 1_000;

impl Pem {
    /// The bytes are armoured; other files are taken as DER.
    pub fn looks_like(bytes: &[u8]) -> bool {
        std::str::from_utf8(bytes).is_ok_and(|text| text.contains("-----BEGIN "))
    }

    /// Every object of a file.
    pub fn read_all(bytes: &[u8]) -> Result<Vec<Self>, Malformed> {
        let wrong = |why: String| Malformed::new("a PEM file", why);
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not text".to_owned()))?;
        let mut objects = Vec::new();
        let mut rest = text;
        while let Some(begin) = rest.find("-----BEGIN ") {
            let object = rest.get(begin..).unwrap_or_default();
            let end = object
                .find("-----END ")
                .and_then(|end| {
                    Some(end + object.get(end..)?.find('\n').unwrap_or(object.len() - end))
                })
                .ok_or_else(|| wrong("an object has no END line".to_owned()))?;
            let (object, after) = object.split_at(end);
            if objects.len() == OBJECTS_MAX {
                return Err(wrong(format!("more than {OBJECTS_MAX} objects")));
            }
            let mut der = Vec::new();
            let label = ::der::pem::Decoder::new_detect_wrap(object.trim_end().as_bytes())
                .and_then(|mut decoder| {
                    let label = decoder.type_label().to_owned();
                    decoder.decode_to_end(&mut der).map(|_| label)
                })
                .map_err(|error| wrong(error.to_string()))?;
            objects.push(Self { label, der });
            rest = after;
        }
        Ok(objects)
    }

    /// As text, with a final line break.
    pub fn write(label: &'static str, bytes: &[u8]) -> Result<String, Malformed> {
        ::der::pem::encode_string(label, ::der::pem::LineEnding::LF, bytes)
            .map_err(|error| Malformed::new("a PEM object", error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_with_words_around() {
        let one = Pem::write("CERTIFICATE", &[1; 100]).unwrap();
        let two = Pem::write("CMS", &[2]).unwrap();
        let text = format!("subject=x\n{one}\nissuer=y\r\n{}", two.trim_end());
        let all = Pem::read_all(text.as_bytes()).unwrap();
        assert!(Pem::looks_like(text.as_bytes()));
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].label.as_str(), all[0].der.len()), ("CERTIFICATE", 100));
        assert_eq!((all[1].label.as_str(), all[1].der.as_slice()), ("CMS", &[2][..]));
        assert_eq!(Pem::read_all(b"").unwrap(), []);
    }

    #[test]
    fn cuts_are_refused() {
        let one = Pem::write("CERTIFICATE", &[1; 100]).unwrap();
        for cut in 11..one.len() - 2 {
            assert!(Pem::read_all(&one.as_bytes()[..cut]).is_err(), "{cut}");
        }
        assert!(Pem::read_all(&[0xff, 0xfe]).is_err());
        assert!(!Pem::looks_like(&[0x30, 0x80, 0xff]));
    }
}
