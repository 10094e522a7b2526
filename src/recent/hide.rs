//! Hides in a record what its event's type hides: plugins move and rename, so what is hidden is found by its value too;
//! and texts that look like credentials, whoever put them there.

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{hidden_texts, masked};
use crate::{event::Attributes, json::Document, limits::DEPTH_CEILING};

const HIDDEN: &str = "***";
/// Beginnings of keys, tokens and signing secrets.
const CREDENTIALS: [&str; 4] = ["hw_", "hwt_", "whsec_", "Bearer "];
/// Values as short as this stand in many places by chance; they are hidden only where the pointer leads.
const SHORT_CHARACTERS: usize = 3;

/// What an event's type hides, and the values that it hides in this event.
pub struct Hiding<'a> {
    pointers: &'a [String],
    /// Absent: not known, so that anything may be one of them.
    values: Option<HashSet<String>>,
}

impl<'a> Hiding<'a> {
    pub fn new(pointers: &'a [String], data: &Bytes) -> Hiding<'a> {
        let values = hidden_texts(data, pointers)
            .into_iter()
            .filter(|text| text.chars().count() > SHORT_CHARACTERS)
            .collect();
        Hiding {
            pointers,
            values: Some(values),
        }
    }

    /// Of an event whose data is not at hand: all of it is hidden where its type hides anything.
    pub fn without_data(pointers: &'a [String]) -> Hiding<'a> {
        Hiding {
            pointers,
            values: pointers.is_empty().then(HashSet::new),
        }
    }

    /// The event's data as it may be shown.
    pub fn data(&self, data: &Bytes) -> Value {
        self.shown(&masked(data, self.pointers))
    }

    /// A record's value as it may be shown.
    pub fn record(&self, value: &Bytes) -> Value {
        self.shown(&masked(value, self.pointers))
    }

    /// An event's attributes as they may be shown; its type and its time always are.
    pub fn attributes(&self, attributes: &Attributes) -> Attributes {
        let text = |text: &str| self.text(text);
        Attributes {
            id: text(&attributes.id).into(),
            source: text(&attributes.source),
            event_type: attributes.event_type.clone(),
            time: attributes.time.clone(),
            subject: attributes.subject.as_deref().map(text),
            app_version: attributes.app_version.as_deref().map(text),
            client_ip: attributes.client_ip.as_deref().map(|ip| text(ip).into()),
            user_agent: attributes.user_agent.as_deref().map(|agent| text(agent).into()),
        }
    }

    /// A record's key, or any other single text, as it may be shown.
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
            Value::Object(members) => {
                members.values_mut().for_each(|member| self.hide(member));
                if members.keys().any(|name| self.is_hidden(name)) {
                    *members = self.without_names(std::mem::take(members));
                }
            }
            Value::String(text) => {
                if self.is_hidden(text) {
                    HIDDEN.clone_into(text);
                }
            }
            Value::Number(number) => {
                let text = number.to_string();
                if self.values.as_ref().is_none_or(|values| values.contains(&text)) {
                    *value = HIDDEN.into();
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// No member is lost: hidden names are numbered from the second on.
    fn without_names(&self, members: Map<String, Value>) -> Map<String, Value> {
        let mut hidden = 0;
        let renamed = members.into_iter().map(|(name, member)| {
            if !self.is_hidden(&name) {
                return (name, member);
            }
            hidden += 1;
            let name = match hidden {
                1 => HIDDEN.to_owned(),
                number => format!("{HIDDEN}{number}"),
            };
            (name, member)
        });
        renamed.collect()
    }

    fn is_hidden(&self, text: &str) -> bool {
        let Some(values) = &self.values else {
            return true;
        };
        holds_credential(text) || values.iter().any(|hidden| text.contains(hidden.as_str()))
    }
}

/// At the beginning of the text, or behind what no word goes on over.
fn holds_credential(text: &str) -> bool {
    CREDENTIALS.iter().any(|beginning| {
        text.match_indices(beginning).any(|(at, _)| {
            !text
                .get(..at)
                .unwrap_or_default()
                .ends_with(char::is_alphanumeric)
        })
    })
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
    fn names_of_members_are_hidden_likewise() {
        let data = Bytes::from_static(br#"{"email":"ada@example.com"}"#);
        let pointers = ["/email".to_owned()];
        let record = Bytes::from_static(
            br#"{"by":{"ada@example.com":1,"to ada@example.com":"ada@example.com","hw_1_secret":{"hwt_z":2},"plain":3}}"#,
        );
        let shown = Hiding::new(&pointers, &data).record(&record);
        let by = shown["by"].as_object().unwrap();
        assert_eq!((by.len(), &by["plain"]), (4, &json!(3)));
        let text = shown.to_string();
        for secret in ["ada", "hw_", "hwt_"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert_eq!(
            Hiding::new(&[], &Bytes::new()).record(&Bytes::from_static(br#"{"hw_1_secret":1}"#)),
            json!({"***": 1})
        );
        assert_eq!(
            Hiding::without_data(&pointers).record(&Bytes::from_static(br#"{"from":true,"to":null}"#)),
            json!({"***": true, "***2": null})
        );
    }

    #[test]
    fn credentials_are_hidden_without_being_named() {
        let hiding = Hiding::new(&[], &Bytes::new());
        let value = Bytes::from_static(
            br#"{"a":"hw_1_secret","b":["whsec_x","Bearer y","/?key=hwt_z"],"c":"hello, ahw_"}"#,
        );
        assert_eq!(
            hiding.record(&value),
            json!({"a": "***", "b": ["***", "***", "***"], "c": "hello, ahw_"})
        );
        assert_eq!(hiding.record(&Bytes::from_static(b"no json")), json!("***"));
    }

    #[test]
    fn attributes_are_hidden_likewise() {
        let attributes = |id: &str, subject: &str| Attributes {
            id: id.into(),
            source: "/shop?user=ada@example.com".to_owned(),
            event_type: "user.signup".parse().unwrap(),
            time: "2026-01-02T03:04:05Z".to_owned(),
            subject: Some(subject.to_owned()),
            app_version: Some("5.2".to_owned()),
            client_ip: Some("203.0.113.9".into()),
            user_agent: Some("app hw_1_secret".into()),
        };
        let pointers = ["/email".to_owned()];
        let data = Bytes::from_static(br#"{"email":"ada@example.com"}"#);
        let shown = |hiding: &Hiding<'_>| {
            serde_json::to_value(hiding.attributes(&attributes("e-1", "user ada@example.com"))).unwrap()
        };
        assert_eq!(
            shown(&Hiding::new(&pointers, &data)),
            json!({"id": "e-1", "source": "***", "type": "user.signup", "time": "2026-01-02T03:04:05Z", "subject": "***",
                   "appversion": "5.2", "hwclientip": "203.0.113.9", "hwuseragent": "***"})
        );
        let unknown = shown(&Hiding::without_data(&pointers));
        assert_eq!(
            (&unknown["id"], &unknown["type"]),
            (&json!("***"), &json!("user.signup"))
        );
        assert_eq!(shown(&Hiding::without_data(&[]))["id"], "e-1");
    }
}
