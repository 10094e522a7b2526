use crate::{Document, Error, Text};

/// One event, checked by the gateway against the schema of its type and app version. The attributes are CloudEvents
/// 1.0's.
#[derive(Debug)]
pub struct Event {
    pub id: Text,
    pub source: Text,
    /// CloudEvents' `type`.
    pub event_type: Text,
    pub subject: Option<Text>,
    /// RFC 3339, as sent, or the time of receipt where the sender gave none. A plugin's only clock.
    pub time: Text,
    /// The version of the app that sent the event, as sent.
    pub app_version: Option<Text>,
    /// Who sent it.
    pub partner: Text,
    /// `TYPE@SINCE` of the schema that the data was checked against.
    pub schema: Text,
    pub data: Document,
}

/// One record to deliver. What is absent is taken from the route.
#[derive(Debug)]
pub struct Output {
    /// The name of one of the route's destinations; absent: all of them.
    pub destination: Option<String>,
    /// A Kafka topic or a Kinesis stream.
    pub topic: Option<String>,
    /// Records with the same key keep their order.
    pub key: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// What a record's value is made of.
#[derive(Debug)]
pub enum Body {
    Document(Document),
    /// Need be no JSON.
    Bytes(Vec<u8>),
}

impl Output {
    /// A record of a document or of bytes; all else is the route's.
    pub fn new(body: impl Into<Body>) -> Output {
        Output {
            destination: None,
            topic: None,
            key: None,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// Sends the record to one of the route's destinations only.
    #[must_use]
    pub fn destination(mut self, destination: impl Into<String>) -> Output {
        self.destination = Some(destination.into());
        self
    }

    /// Sets the Kafka topic or Kinesis stream.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Output {
        self.topic = Some(topic.into());
        self
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Output {
        self.key = Some(key.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Output {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl From<Document> for Body {
    fn from(document: Document) -> Body {
        Body::Document(document)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::Bytes(bytes)
    }
}

impl<B: Into<Body>> From<B> for Output {
    fn from(body: B) -> Output {
        Output::new(body)
    }
}

/// Why an event gave no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The event cannot be transformed: it goes to quarantine with this text.
    Rejected(String),
    /// The plugin itself is at fault: the event goes to quarantine, and the failure counts against the plugin's
    /// health.
    Broken(String),
}

/// A [`Failure::Rejected`], as in `return Err(rejected("ended before it started"))`.
pub fn rejected(reason: impl Into<String>) -> Failure {
    Failure::Rejected(reason.into())
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Data { .. } => Failure::Rejected(error.to_string()),
            Error::Edit(_) | Error::Json(_) => Failure::Broken(error.to_string()),
        }
    }
}
