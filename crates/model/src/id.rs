//! Names of things. Ids are handed in, never made here.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Text that cannot be an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` cannot be {what}: {why}")]
pub struct IdError {
    what: &'static str,
    text: String,
    why: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes the text: 1 to 128 characters of `a-z A-Z 0-9 . : / _ - @ + #`.
            pub fn new(text: &str) -> Result<Self, IdError> {
                let wrong = |why| IdError { what: $what, text: text.chars().take(130).collect(), why };
                if text.is_empty() {
                    return Err(wrong("it is empty"));
                }
                if text.len() > 128 {
                    return Err(wrong("it is longer than 128 characters"));
                }
                let mark = |b| matches!(b, b'.' | b':' | b'/' | b'_' | b'-' | b'@' | b'+' | b'#');
                if !text.bytes().all(|b| b.is_ascii_alphanumeric() || mark(b)) {
                    return Err(wrong("allowed are a-z A-Z 0-9 . : / _ - @ + #"));
                }
                Ok(Self(Arc::from(text)))
            }

            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(&text)
            }
        }
    };
}

id!(
    /// A device. Stable across merges: the survivor keeps its id, the other becomes an alias.
    DeviceId,
    "a device id"
);
id!(
    /// A service: a named destination with endpoints.
    ServiceId,
    "a service id"
);
id!(
    /// A site: one warehouse, shop or plant.
    SiteId,
    "a site id"
);
id!(
    /// A sensor at a site.
    SensorId,
    "a sensor id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_could_break_a_file_name_or_a_policy() {
        for text in ["", "a b", "a\"b", "ü", &"x".repeat(129)] {
            assert!(DeviceId::new(text).is_err(), "{text}");
        }
        assert_eq!(DeviceId::new(&"x".repeat(128)).unwrap().as_str().len(), 128);
        assert!(ServiceId::new("svc:plc-1/tcp/502").is_ok());
    }
}
