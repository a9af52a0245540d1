//! Names of operators, tokens and approvals. Ids are handed in, never made here.

/// Text that cannot be an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` cannot be {what}: {why}")]
pub struct IdError {
    pub(crate) what: &'static str,
    pub(crate) text: String,
    pub(crate) why: &'static str,
}

/// Longest id, in characters.
pub(crate) const CHARS_MAX: usize = 64;

/// Checks the text of an id. There is no `@`: an address of a person is no id.
pub(crate) fn check(what: &'static str, text: &str) -> Result<(), IdError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let why = match text {
        "" => "it is empty",
        _ if text.len() > CHARS_MAX => "it is longer than 64 characters",
        _ if !text.chars().all(allowed) => "allowed are a-z A-Z 0-9 . _ -",
        _ => return Ok(()),
    };
    Err(IdError { what, text: text.chars().take(CHARS_MAX + 1).collect(), why })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks and takes the text: 1 to 64 characters of `a-z A-Z 0-9 . _ -`.
            pub fn new(text: &str) -> Result<Self, $crate::access::IdError> {
                $crate::access::id::check($what, text)?;
                Ok(Self(std::sync::Arc::from(text)))
            }

            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::access::IdError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(&text)
            }
        }
    };
}
pub(crate) use id;

id!(
    /// An operator. Says nothing about the person.
    OperatorId,
    "an operator id"
);
id!(
    /// An API token; not its secret.
    TokenId,
    "a token id"
);
id!(
    /// A command that waits for a second person.
    ApprovalId,
    "an approval id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_person_is_no_id() {
        for text in ["", "ada@example.com", "a b", "ü", &"x".repeat(65)] {
            assert!(OperatorId::new(text).is_err(), "{text}");
            let json = serde_json::to_string(text).unwrap();
            assert!(serde_json::from_str::<OperatorId>(&json).is_err(), "{text}");
        }
        assert!(TokenId::new("tok-0192aB.c_d").is_ok());
    }
}
