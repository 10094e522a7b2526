//! A record as a Kafka message: CloudEvents' Kafka binding in binary mode. Header values are UTF-8 as they are; that
//! binding, unlike HTTP's, knows no percent-encoding.

use rdkafka::message::{Header, OwnedHeaders};

use crate::{
    deliver::attributes::{SPEC_VERSION, content_type, with_milliseconds},
    event::Record,
};

/// Headers that a plugin's own may not stand in for.
const TAKEN: [&str; 15] = [
    "content-type",
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "ce_subject",
    "ce_appversion",
    "ce_datacontenttype",
    "hw_partner",
    "hw_schema",
    "hw_plugin",
    "hw_received",
    "hw_route",
    "traceparent",
];

/// What the broker adds to key, value and headers at most, and to each header.
const MESSAGE_OVERHEAD_BYTES: usize = 36;
const HEADER_OVERHEAD_BYTES: usize = 10;
const TOPIC_BYTES_MAX: usize = 249;

/// Each header's name and value, in order.
fn each_header(record: &Record, mut header: impl FnMut(&str, &str)) {
    let about = &*record.about;
    let attributes = &about.attributes;
    header("content-type", content_type(record));
    header("ce_specversion", SPEC_VERSION);
    header("ce_id", &attributes.id);
    header("ce_source", &attributes.source);
    header("ce_type", attributes.event_type.as_str());
    header("ce_time", &attributes.time);
    if let Some(subject) = &attributes.subject {
        header("ce_subject", subject);
    }
    if let Some(app_version) = &attributes.app_version {
        header("ce_appversion", app_version);
    }
    header("hw_partner", about.partner.as_str());
    header("hw_schema", &about.schema);
    if let Some(plugin) = &about.plugin {
        header("hw_plugin", plugin);
    }
    with_milliseconds(about.received, |received| header("hw_received", received));
    if let Some(traceparent) = &about.traceparent {
        header("traceparent", traceparent);
    }
    for (name, value) in &*record.headers {
        if !TAKEN.contains(&name.as_str()) {
            header(name, value);
        }
    }
}

pub(super) fn headers(record: &Record) -> OwnedHeaders {
    let mut headers = Some(OwnedHeaders::new_with_capacity(13 + record.headers.len()));
    each_header(record, |key, value| {
        headers = headers.take().map(|headers| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        });
    });
    headers.unwrap_or_default()
}

/// What no broker would ever take, said before it is sent or spooled.
pub(super) fn check(record: &Record, message_bytes_max: usize) -> Result<(), String> {
    let topic = &*record.topic;
    let legal = (1..=TOPIC_BYTES_MAX).contains(&topic.len())
        && topic != "."
        && topic != ".."
        && topic
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !legal {
        return Err(format!(
            "{:?} is no topic of Kafka: 1 to {TOPIC_BYTES_MAX} characters of A-Z a-z 0-9 . _ -",
            topic.chars().take(80).collect::<String>()
        ));
    }
    let mut bytes =
        MESSAGE_OVERHEAD_BYTES + record.value.len() + record.key.as_ref().map_or(0, |key| key.len());
    each_header(record, |name, value| {
        bytes += name.len() + value.len() + HEADER_OVERHEAD_BYTES
    });
    if bytes > message_bytes_max {
        return Err(format!(
            "a message of {bytes} bytes is larger than message.max.bytes ({message_bytes_max})"
        ));
    }
    Ok(())
}
