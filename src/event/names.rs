//! Names that come from outside, checked once where they enter.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a name is refused; the text says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no {what}: {rule}")]
pub struct NameError {
    what: &'static str,
    name: String,
    rule: &'static str,
}

fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

macro_rules! name {
    ($(#[$documentation:meta])* $type:ident, $what:literal, $check:path, $rule:path) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub fn as_shared(&self) -> &Arc<str> {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                if $check(name) {
                    Ok(Self(name.into()))
                } else {
                    Err(NameError { what: $what, name: shown(name), rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, NameError> {
                name.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

const TYPE_RULE: &str = "1 to 200 characters of A-Z a-z 0-9 . _ ~ -, and neither \".\" nor \"..\"";
const NAME_RULE: &str = "1 to 63 characters of a-z 0-9 -, beginning with a letter or digit";

fn is_type(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte))
}

fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

name!(
    /// The `type` attribute of an event.
    EventType, "event type", is_type, TYPE_RULE
);
name!(
    /// A partner's name.
    PartnerName, "partner name", is_name, NAME_RULE
);
name!(
    /// A plugin's name.
    PluginName, "plugin name", is_name, NAME_RULE
);
name!(
    /// A route's name.
    RouteName, "route name", is_name, NAME_RULE
);
name!(
    /// A lookup table's name.
    TableName, "table name", is_name, NAME_RULE
);
name!(
    /// A destination's name.
    DestinationName, "destination name", is_name, NAME_RULE
);
