//! What makes one value of another.

mod agent;
mod cast;
mod times;
mod urls;

pub use cast::{CASTS, Cast};
pub use times::{TIME_FORMS, TimeCast, offset};

use std::{collections::BTreeMap, sync::Arc};

use headworks_plugin::Value;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::{bounds::PARSED_BYTES_MAX, place::text_of};

/// By a value's text.
pub type Table = BTreeMap<String, serde_json::Value>;

pub enum Function {
    Same,
    Cast(Cast),
    Text(TextChange),
    /// HMAC-SHA-256 under the salt, in hexadecimal.
    Hash(Arc<[u8]>),
    Map(Arc<Table>),
    ParseUrl,
    ParseUserAgent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextChange {
    Lowercase,
    Trim,
    Uppercase,
}

pub const TEXT_CHANGES: [(&str, TextChange); 3] = [
    ("lowercase", TextChange::Lowercase),
    ("trim", TextChange::Trim),
    ("uppercase", TextChange::Uppercase),
];

impl Function {
    /// What it makes of a value that is there and not `null`, or what the value is not: `no integer`.
    pub fn apply(&self, value: &Value) -> Result<Value, &'static str> {
        match self {
            Function::Same => Ok(value.clone()),
            Function::Cast(cast) => cast.apply(value),
            Function::Text(change) => {
                let Value::Text(text) = value else {
                    return Err("no text");
                };
                Ok(Value::Text(match change {
                    TextChange::Lowercase => text.to_lowercase(),
                    TextChange::Trim => text.trim().to_owned(),
                    TextChange::Uppercase => text.to_uppercase(),
                }))
            }
            Function::Hash(salt) => {
                let text = text_of(value).ok_or("nothing to hash")?;
                // A key of any length is taken.
                let mut mac = Hmac::<Sha256>::new_from_slice(salt).expect("HMAC takes keys of every length");
                mac.update(text.as_bytes());
                Ok(Value::Text(hex::encode(mac.finalize().into_bytes())))
            }
            Function::Map(table) => {
                let text = text_of(value).ok_or("not in the table")?;
                let mapped = table.get(&text).ok_or("not in the table")?;
                Ok(mapped.clone().into())
            }
            Function::ParseUrl => urls::parse(short_text(value).ok_or("no URL")?),
            Function::ParseUserAgent => agent::parse(short_text(value).ok_or("no known user agent")?),
        }
    }
}

/// Texts that are worth parsing.
fn short_text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) if text.len() <= PARSED_BYTES_MAX => Some(text),
        _ => None,
    }
}
