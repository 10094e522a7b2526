//! A partner's envelope: how requests made for another service read as events. Plain data; the ready ones are files of
//! the same form.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

const PATHS_MAX: usize = 20;
const TEXT_BYTES_MAX: usize = 300;
const ANSWER_BYTES_MAX: usize = 4096;
/// Paths with these beginnings are the gateway's own.
const RESERVED: [&str; 2] = ["/v1/events", "/k/"];

const READY: [(&str, &str); 9] = [
    ("segment", include_str!("envelopes/segment.json")),
    ("rudderstack", include_str!("envelopes/rudderstack.json")),
    ("posthog", include_str!("envelopes/posthog.json")),
    ("mixpanel", include_str!("envelopes/mixpanel.json")),
    ("snowplow", include_str!("envelopes/snowplow.json")),
    ("amplitude", include_str!("envelopes/amplitude.json")),
    ("github", include_str!("envelopes/github.json")),
    ("stripe", include_str!("envelopes/stripe.json")),
    ("slack", include_str!("envelopes/slack.json")),
];

/// How requests of one form read as events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Exact paths that it is served at, beside `/v1/events`.
    pub paths: Vec<String>,
    /// Where the key stands; absent: in one of the usual places.
    #[serde(default)]
    pub key: Option<KeyPlace>,
    /// The field of a form or query that holds the JSON; absent: the body is the JSON.
    #[serde(default)]
    pub form_field: Option<String>,
    #[serde(default)]
    pub encoding: Encoding,
    /// JSON Pointer to the array of events; absent, or where there is no array: the body is one event.
    #[serde(default)]
    pub events: Option<String>,
    #[serde(default)]
    pub id: Option<Origin>,
    #[serde(default, rename = "type")]
    pub event_type: Option<Origin>,
    #[serde(default)]
    pub source: Option<Origin>,
    #[serde(default)]
    pub time: Option<Origin>,
    #[serde(default)]
    pub subject: Option<Origin>,
    #[serde(default, rename = "appversion")]
    pub app_version: Option<Origin>,
    /// JSON Pointer into the event; absent: the whole event.
    #[serde(default)]
    pub data: Option<String>,
    #[serde(default)]
    pub time_format: TimeFormat,
    #[serde(default)]
    pub signature: Option<Signature>,
    /// JSON Pointer to a text that a sender wants to read back before it delivers; such a request holds no event.
    #[serde(default)]
    pub challenge: Option<String>,
    /// In the place of 202, for requests wholly taken.
    #[serde(default)]
    pub answer: Option<AnswerForm>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyIn {
    Bearer,
    BasicUser,
    BasicPassword,
    Header,
    Query,
    Body,
}

/// Where a request holds its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPlace {
    #[serde(rename = "in")]
    pub place: KeyIn,
    /// Of the header or query parameter; in a body a JSON Pointer, into the body or into each event.
    #[serde(default)]
    pub name: Option<String>,
}

/// How JSON travels in a form or query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    #[default]
    Json,
    /// JSON as it is is taken too: it begins with what base64 never holds.
    Base64,
    Base64Url,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    #[default]
    Rfc3339,
    EpochS,
    EpochMs,
}

/// What an attribute is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// JSON Pointer into the event.
    Pointer(String),
    Const(String),
    /// A header of the request, in lower case.
    Header(String),
}

/// How the bytes of a request are signed. The gateway knows the schemes; the header may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// `v1,BASE64` over `ID.TIMESTAMP.BODY`.
    StandardWebhooks,
    /// `sha256=HEX` over the body.
    Github,
    /// `t=TIMESTAMP,v1=HEX` over `TIMESTAMP.BODY`.
    Stripe,
    /// `v0=HEX` over `v0:TIMESTAMP:BODY`.
    Slack,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    pub header: String,
    pub scheme: Scheme,
}

impl Signature {
    /// Standard Webhooks' own header.
    pub fn standard() -> Signature {
        Signature {
            header: "webhook-signature".to_owned(),
            scheme: Scheme::StandardWebhooks,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerForm {
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Origin, D::Error> {
        let fault = || {
            serde::de::Error::custom(
                "an attribute is a JSON Pointer, {\"const\": TEXT} or {\"header\": NAME}",
            )
        };
        match Value::deserialize(deserializer)? {
            Value::String(pointer) => Ok(Origin::Pointer(pointer)),
            Value::Object(members) => {
                let mut members = members.into_iter();
                let (Some((name, Value::String(text))), None) = (members.next(), members.next()) else {
                    return Err(fault());
                };
                match name.as_str() {
                    "const" => Ok(Origin::Const(text)),
                    "header" => Ok(Origin::Header(text.to_ascii_lowercase())),
                    _ => Err(fault()),
                }
            }
            _ => Err(fault()),
        }
    }
}

/// Why a value is no envelope: one sentence each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeFaults(pub Vec<String>);

impl fmt::Display for EnvelopeFaults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("; "))
    }
}

impl Envelope {
    /// The names of the ready envelopes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        READY.iter().map(|(name, _)| *name)
    }

    /// What a partner's `envelope` says: the name of a ready one, or an object of the same form.
    ///
    /// # Errors
    ///
    /// Every fault at once.
    pub fn read(value: &Value) -> Result<Arc<Envelope>, EnvelopeFaults> {
        let one = |fault: String| EnvelopeFaults(vec![fault]);
        let envelope: Envelope = match value {
            Value::String(name) => {
                let ready = READY.iter().find(|(known, _)| known == name);
                let (_, text) = ready.ok_or_else(|| {
                    let names: Vec<&str> = Envelope::names().collect();
                    one(format!(
                        "there is no ready envelope of this name; known are {}",
                        names.join(", ")
                    ))
                })?;
                serde_json::from_str(text).map_err(|error| one(error.to_string()))?
            }
            Value::Object(_) => Envelope::deserialize(value).map_err(|error| one(error.to_string()))?,
            _ => {
                return Err(one(
                    "must be the name of a ready envelope, or an object".to_owned()
                ));
            }
        };
        let faults = envelope.faults();
        if faults.is_empty() {
            Ok(Arc::new(envelope))
        } else {
            Err(EnvelopeFaults(faults))
        }
    }

    /// Whether it is served at `path`.
    pub fn serves(&self, path: &str) -> bool {
        self.paths.iter().any(|known| known == path)
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.paths.is_empty() || self.paths.len() > PATHS_MAX {
            faults.push(format!("paths holds 1 to {PATHS_MAX} paths"));
        }
        for path in &self.paths {
            let is_plain = path.starts_with('/')
                && path.len() <= TEXT_BYTES_MAX
                && path
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
            if !is_plain {
                faults.push(format!("the path {path:?} must begin with / and hold no query"));
            } else if RESERVED.iter().any(|reserved| path.starts_with(reserved)) {
                faults.push(format!("the path {path:?} is the gateway's own"));
            }
        }
        for (name, pointer) in self.pointers() {
            if !is_pointer(pointer) {
                faults.push(format!("{name} must be a JSON Pointer such as \"/a/b\""));
            }
        }
        for (name, header) in self.headers() {
            if !is_header(header) {
                faults.push(format!("{name} names a header, and {header:?} is none"));
            }
        }
        self.key_faults(&mut faults);
        if let Some(field) = &self.form_field
            && (field.is_empty() || field.len() > TEXT_BYTES_MAX)
        {
            faults.push("form_field must not be empty or longer than 300 bytes".to_owned());
        }
        if let Some(answer) = &self.answer {
            if !(200..300).contains(&answer.status) || matches!(answer.status, 204 | 205) {
                faults.push(
                    "answer.status must say success and allow a body: 200 to 299, not 204 or 205".to_owned(),
                );
            }
            let is_text = answer
                .content_type
                .bytes()
                .all(|byte| (b' '..0x7f).contains(&byte));
            if !is_text || answer.content_type.is_empty() || answer.content_type.len() > TEXT_BYTES_MAX {
                faults.push("answer.content_type must be a media type".to_owned());
            }
            if answer.body.len() > ANSWER_BYTES_MAX {
                faults.push(format!("answer.body holds at most {ANSWER_BYTES_MAX} bytes"));
            }
        }
        faults
    }

    fn key_faults(&self, faults: &mut Vec<String>) {
        let Some(key) = &self.key else { return };
        let name = key.name.as_deref().filter(|name| name.len() <= TEXT_BYTES_MAX);
        let fault = match key.place {
            KeyIn::Bearer | KeyIn::BasicUser | KeyIn::BasicPassword => key
                .name
                .is_some()
                .then_some("key.name is only for header, query and body"),
            KeyIn::Header => (!name.is_some_and(is_header)).then_some("key.name must name the header"),
            KeyIn::Query => name
                .is_none_or(str::is_empty)
                .then_some("key.name must name the query parameter"),
            KeyIn::Body => (!name.is_some_and(is_pointer))
                .then_some("key.name must be a JSON Pointer, such as \"/api_key\""),
        };
        faults.extend(fault.map(str::to_owned));
    }

    /// The attributes with what they are taken from, by the names of CloudEvents.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, &Origin)> {
        [
            ("id", &self.id),
            ("type", &self.event_type),
            ("source", &self.source),
            ("time", &self.time),
            ("subject", &self.subject),
            ("appversion", &self.app_version),
        ]
        .into_iter()
        .filter_map(|(name, origin)| Some((name, origin.as_ref()?)))
    }

    fn pointers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let own = [
            ("events", self.events.as_deref()),
            ("data", self.data.as_deref()),
            ("challenge", self.challenge.as_deref()),
        ];
        let attributes = self.attributes().map(|(name, origin)| match origin {
            Origin::Pointer(pointer) => (name, Some(pointer.as_str())),
            Origin::Const(_) | Origin::Header(_) => (name, None),
        });
        own.into_iter()
            .chain(attributes)
            .filter_map(|(name, pointer)| Some((name, pointer?)))
    }

    fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let signature = self
            .signature
            .as_ref()
            .map(|signature| ("signature.header", signature.header.as_str()));
        let attributes = self.attributes().filter_map(|(name, origin)| match origin {
            Origin::Header(header) => Some((name, header.as_str())),
            Origin::Pointer(_) | Origin::Const(_) => None,
        });
        signature.into_iter().chain(attributes)
    }
}

/// RFC 6901: empty, or steps behind slashes, with `~` only in `~0` and `~1`.
fn is_pointer(text: &str) -> bool {
    let mut escapes = text.split('~').skip(1);
    text.len() <= TEXT_BYTES_MAX
        && (text.is_empty() || text.starts_with('/'))
        && escapes.all(|rest| rest.starts_with(['0', '1']))
}

fn is_header(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_ready_envelope_can_be_read() {
        for name in Envelope::names() {
            let envelope = Envelope::read(&json!(name)).unwrap_or_else(|faults| panic!("{name}: {faults}"));
            assert!(!envelope.paths.is_empty());
        }
        assert_eq!(Envelope::names().count(), 9);
    }

    #[test]
    fn every_fault_of_an_envelope_is_named_at_once() {
        let faults = Envelope::read(&json!({
            "paths": ["no-slash", "/v1/events/x", "/k/x"],
            "key": {"in": "header"},
            "events": "batch",
            "id": "/a~2",
            "type": {"header": "no header"},
            "answer": {"status": 404, "content_type": "", "body": ""},
        }))
        .unwrap_err();
        assert_eq!(faults.0.len(), 9, "{faults}");
        for (value, expected) in [
            (json!("segmnet"), "known are segment"),
            (json!(7), "must be the name"),
            (json!({"paths": ["/x"], "typ": "/type"}), "unknown field `typ`"),
            (
                json!({"paths": ["/x"], "type": {"konst": "a"}}),
                "an attribute is a JSON Pointer",
            ),
            (
                json!({"paths": ["/x"], "key": {"in": "cookie"}}),
                "unknown variant `cookie`",
            ),
        ] {
            let faults = Envelope::read(&value).unwrap_err().to_string();
            assert!(faults.contains(expected), "{faults}");
        }
    }
}
