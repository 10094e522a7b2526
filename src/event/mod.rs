//! The nouns of the pipeline: what an event is at each step of its way, and what became of it.

mod names;
mod version;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

pub use names::{DestinationName, EventType, NameError, PartnerName, PluginName, RouteName, TableName};
pub use version::AppVersion;

use crate::{
    json::{Document, EditedDocument},
    problem::Code,
};

/// The CloudEvents 1.0 attributes of an event, plus `appversion`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Shared with the result that the sender is told.
    pub id: Arc<str>,
    pub source: String,
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// RFC 3339, as sent, or the time of receipt.
    pub time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// As sent.
    #[serde(rename = "appversion", skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    /// Whose request it came in, where the partner's setting adds it. In a record it stands among the headers.
    #[serde(rename = "hwclientip", default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<Arc<str>>,
    /// Likewise.
    #[serde(rename = "hwuseragent", default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Arc<str>>,
}

/// An event that was read from a request, with all its attributes; its data is not yet checked.
#[derive(Clone, Debug)]
pub struct Decoded {
    pub partner: PartnerName,
    pub attributes: Arc<Attributes>,
    pub data: Document,
    pub received: Timestamp,
    /// The gateway made the id: it can be no duplicate.
    pub id_generated: bool,
    /// W3C trace context, as sent.
    pub traceparent: Option<String>,
}

/// An event that was checked against its schema. Only `validate` makes one (a test holds this): what takes a
/// `Validated` needs no check of its own.
#[derive(Clone, Debug)]
pub struct Validated {
    decoded: Decoded,
    schema: Arc<str>,
    version_is_unreadable: bool,
}

impl Validated {
    /// Only for `validate`. `schema` is `TYPE@SINCE`.
    pub fn attest(decoded: Decoded, schema: Arc<str>) -> Validated {
        Validated {
            decoded,
            schema,
            version_is_unreadable: false,
        }
    }

    /// Only for `validate`.
    #[must_use]
    pub fn with_unreadable_version(self, version_is_unreadable: bool) -> Validated {
        Validated {
            version_is_unreadable,
            ..self
        }
    }

    /// The event brought an app version that cannot be read, and was checked by the latest schema.
    pub fn version_is_unreadable(&self) -> bool {
        self.version_is_unreadable
    }

    pub fn event(&self) -> &Decoded {
        &self.decoded
    }

    /// `TYPE@SINCE` of the schema that the data was checked against.
    pub fn schema(&self) -> &Arc<str> {
        &self.schema
    }

    pub fn into_event(self) -> Decoded {
        self.decoded
    }

    /// The same event with a copy of its data, which holds nothing else of its request in memory. None never is: what
    /// was parsed once is parsed again.
    pub fn detached(&self) -> Option<Validated> {
        let text = Bytes::copy_from_slice(&self.decoded.data.bytes());
        Some(Validated {
            decoded: Decoded {
                data: Document::parse(text, u32::MAX).ok()?,
                ..self.decoded.clone()
            },
            schema: Arc::clone(&self.schema),
            version_is_unreadable: self.version_is_unreadable,
        })
    }
}

/// What a plugin (or, without one, the route) makes of an event.
#[derive(Clone, Debug)]
pub struct Output {
    /// One of the route's destinations; absent: all of them.
    pub destination: Option<String>,
    /// A Kafka topic or a Kinesis stream; absent: the route's.
    pub topic: Option<String>,
    /// Absent: the route's.
    pub key: Option<String>,
    pub headers: Vec<(String, String)>,
    /// `NAME@VERSION` of the lookup tables that it was made with, parted by commas.
    pub tables: Option<Arc<str>>,
    pub body: Body,
}

/// What a record's value is made of.
#[derive(Clone, Debug)]
pub enum Body {
    /// JSON: the event's data, or what a plugin made of it.
    Document(EditedDocument),
    /// A plugin's own bytes, which need be no JSON.
    Bytes(Bytes),
}

/// One record, ready for one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub about: Arc<RecordAttributes>,
    /// Topic, stream or folder.
    pub topic: Arc<str>,
    pub key: Option<Arc<str>>,
    /// Headers that the plugin added.
    pub headers: Arc<[(String, String)]>,
    pub value: Bytes,
    pub value_is_json: bool,
    /// The only one that its event became: where this one is durable, all of the event is.
    pub is_alone: bool,
    /// The quarantine's item that it waited as, where a replay sends it from there.
    pub item: Option<Uuid>,
}

impl Record {
    /// SHA-256 of topic, key and value.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update((self.topic.len() as u64).to_le_bytes());
        hash.update(self.topic.as_bytes());
        let key_bytes = self.key.as_ref().map_or(u64::MAX, |key| key.len() as u64);
        hash.update(key_bytes.to_le_bytes());
        hash.update(self.key.as_deref().unwrap_or_default().as_bytes());
        hash.update(&self.value);
        hash.finalize().into()
    }
}

/// The attributes that stand beside a record's value, the same for all records of one event and route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordAttributes {
    pub attributes: Arc<Attributes>,
    pub partner: PartnerName,
    /// `TYPE@SINCE`.
    pub schema: Arc<str>,
    /// `NAME@VERSION`, where a plugin ran.
    pub plugin: Option<Arc<str>>,
    pub route: RouteName,
    pub received: Timestamp,
    pub traceparent: Option<String>,
}

/// One place where an event breaks its schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Violation {
    /// JSON Pointer into the data.
    pub pointer: String,
    pub keyword: String,
    pub message: String,
}

/// Why an event was not plainly accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub code: Code,
    /// For the sender: what is wrong and what to do.
    pub detail: String,
    pub errors: Vec<Violation>,
}

impl Reason {
    pub fn new(code: Code, detail: impl Into<String>) -> Reason {
        Reason {
            code,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    Duplicate,
    Quarantined(Reason),
    Rejected(Reason),
}

/// The outcome of one event of a request, with the id the sender or the gateway gave it (absent where the event was
/// so malformed that it has none).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventResult {
    pub id: Option<Arc<str>>,
    pub outcome: Outcome,
}

impl EventResult {
    pub fn is_rejected(&self) -> bool {
        matches!(self.outcome, Outcome::Rejected(_))
    }
}

/// The events of one request, each decoded or rejected in its place.
#[derive(Debug)]
pub struct Batch {
    /// The request's form holds exactly one event: its answer is the event's own.
    pub single: bool,
    pub events: Vec<Result<Decoded, Undecoded>>,
}

/// An event that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecoded {
    pub id: Option<Arc<str>>,
    pub reason: Reason,
}

/// What the pipeline answers to one request.
#[derive(Debug)]
pub struct Answer {
    pub single: bool,
    /// `Prefer: return=representation`: list accepted events too.
    pub every_result: bool,
    /// The results only say what would happen: nothing was kept.
    pub dry_run: bool,
    /// Where no event was rejected, this is answered in the place of the outcomes.
    pub instead: Option<Instead>,
    pub results: Vec<EventResult>,
}

impl Answer {
    /// A text that the sender wants to read back; nothing was sent with it.
    pub fn echo(text: String) -> Answer {
        Answer {
            single: true,
            every_result: false,
            dry_run: false,
            instead: Some(Instead {
                status: 200,
                content_type: "text/plain".into(),
                body: text.into(),
            }),
            results: Vec::new(),
        }
    }
}

/// An answer that the sender's program understands better than the outcomes of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instead {
    pub status: u16,
    pub content_type: Arc<str>,
    pub body: Bytes,
}
