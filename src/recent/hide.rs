//! Hides in a record what its event's type hides: plugins move and rename, so what is hidden is found by its value too;
//! and texts that look like credentials, whoever put them there.

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::Value;

use super::{hidden_texts, masked};
use crate::{json::Document, limits::DEPTH_CEILING};

const HIDDEN: &str = "***";
/// Beginnings of keys, tokens and signing secrets.
const CREDENTIALS: [&str; 4] = ["hw_", "hwt_", "whsec_", "Bearer "];
/// Values as short as this stand in many places by chance; they are hidden only where the pointer leads.
const SHORT_CHARACTERS: usize = 3;

/// What an event's type hides, and the values that it hides in this event.
pub struct Hiding<'a> {
    pointers: &'a [String],
    values: HashSet<String>,
}

impl<'a> Hiding<'a> {
    pub fn new(pointers: &'a [String], data: &Bytes) -> Hiding<'a> {
        let values = hidden_texts(data, pointers)
            .into_iter()
            .filter(|text| text.chars().count() > SHORT_CHARACTERS)
            .collect();
        Hiding { pointers, values }
    }

    /// The event's data as it may be shown.
    pub fn data(&self, data: &Bytes) -> Value {
        self.shown(&masked(data, self.pointers))
    }

    /// A record's value as it may be shown.
    pub fn record(&self, value: &Bytes) -> Value {
        self.shown(&masked(value, self.pointers))
    }

    /// A record's key as it may be shown.
    pub fn text(&self, text: &str) -> String {
        let mut value = Value::String(text.to_owned());
        self.hide(&mut value);
        value.as_str().unwrap_or(HIDDEN).to_owned()
    }

    fn shown(&self, text: &Bytes) -> Value {
        // What the gateway's own parser does not take is no JSON to be shown.
        if Document::parse(text.clone(), DEPTH_CEILING).is_err() {
            return HIDDEN.into();
        }
        let mut value = serde_json::from_slice(text).unwrap_or_else(|_| HIDDEN.into());
        self.hide(&mut value);
        value
    }

    fn hide(&self, value: &mut Value) {
        match value {
            Value::Array(elements) => elements.iter_mut().for_each(|element| self.hide(element)),
            Value::Object(members) => members.values_mut().for_each(|member| self.hide(member)),
            Value::String(text) => {
                let is_credential = CREDENTIALS.iter().any(|beginning| text.starts_with(beginning));
                let is_hidden = self.values.iter().any(|hidden| text.contains(hidden.as_str()));
                if is_credential || is_hidden {
                    *text = HIDDEN.to_owned();
                }
            }
            Value::Number(number) => {
                if self.values.contains(&number.to_string()) {
                    *value = HIDDEN.into();
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_plugin_moved_is_hidden_as_well() {
        let data = Bytes::from_static(
            br#"{"email":"ada@example.com","card":{"number":4111111111},"tags":["blue","red"],"n":1}"#,
        );
        let pointers = ["/email".to_owned(), "/card".to_owned(), "/tags/*".to_owned()];
        let hiding = Hiding::new(&pointers, &data);
        assert_eq!(
            hiding.data(&data),
            json!({"email": "***", "card": "***", "tags": ["***", "***"], "n": 1})
        );
        let record = Bytes::from_static(
            br#"{"user":{"mail":"ada@example.com"},"text":"from ada@example.com","pan":4111111111,"colour":"blue","n":1,"x":"red"}"#,
        );
        assert_eq!(
            hiding.record(&record),
            json!({"user": {"mail": "***"}, "text": "***", "pan": "***", "colour": "***", "n": 1, "x": "red"})
        );
    }

    #[test]
    fn credentials_are_hidden_without_being_named() {
        let hiding = Hiding::new(&[], &Bytes::new());
        let value =
            Bytes::from_static(br#"{"a":"hw_1_secret","b":["whsec_x","Bearer y","hwt_z"],"c":"hello"}"#);
        assert_eq!(
            hiding.record(&value),
            json!({"a": "***", "b": ["***", "***", "***"], "c": "hello"})
        );
        assert_eq!(hiding.record(&Bytes::from_static(b"no json")), json!("***"));
    }
}
