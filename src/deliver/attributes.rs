//! What stands beside a record's value, in the words of CloudEvents 1.0.

use std::{cell::RefCell, fmt::Write as _};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;

use crate::{event::Record, json::newline_free};

pub(super) const SPEC_VERSION: &str = "1.0";

pub(super) fn content_type(record: &Record) -> &'static str {
    if record.value_is_json {
        "application/json"
    } else {
        "application/octet-stream"
    }
}

/// Hands on `time` in RFC 3339, in UTC with milliseconds. All events of a request have one time of receipt, so each
/// thread keeps the last text that it wrote.
pub(super) fn with_milliseconds<T>(time: Timestamp, take: impl FnOnce(&str) -> T) -> T {
    thread_local! {
        static LAST: RefCell<(Timestamp, String)> = const { RefCell::new((Timestamp::UNIX_EPOCH, String::new())) };
    }
    LAST.with_borrow_mut(|(last, text)| {
        if text.is_empty() || *last != time {
            *last = time;
            text.clear();
            write!(text, "{time:.3}").expect("a string takes text");
        }
        take(text)
    })
}

/// Attributes that a plugin's header may not stand in for.
const TAKEN: [&str; 14] = [
    "appversion",
    "data",
    "datacontenttype",
    "dataschema",
    "hwpartner",
    "hwplugin",
    "hwreceived",
    "hwschema",
    "id",
    "source",
    "specversion",
    "subject",
    "time",
    "traceparent",
];

/// A name that CloudEvents allows for an extension and that is free.
fn is_extension(name: &str) -> bool {
    (1..=20).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && name != "type"
        && !TAKEN.contains(&name)
}

/// Appends the record as CloudEvents JSON on one line, its line end included.
pub(super) fn write_json_line(line: &mut Vec<u8>, record: &Record) {
    let about = &*record.about;
    let attributes = &about.attributes;
    line.extend_from_slice(b"{\"specversion\":\"1.0\"");
    let mut member = |name: &str, value: &str| {
        line.push(b',');
        write_text(line, name);
        line.push(b':');
        write_text(line, value);
    };
    member("id", &attributes.id);
    member("source", &attributes.source);
    member("type", attributes.event_type.as_str());
    member("time", &attributes.time);
    if let Some(subject) = &attributes.subject {
        member("subject", subject);
    }
    if let Some(app_version) = &attributes.app_version {
        member("appversion", app_version);
    }
    member("hwpartner", about.partner.as_str());
    member("hwschema", &about.schema);
    if let Some(plugin) = &about.plugin {
        member("hwplugin", plugin);
    }
    with_milliseconds(about.received, |received| member("hwreceived", received));
    if let Some(traceparent) = &about.traceparent {
        member("traceparent", traceparent);
    }
    for (index, (name, value)) in record.headers.iter().enumerate() {
        let first = !record.headers[..index].iter().any(|(earlier, _)| earlier == name);
        let name = match name.as_str() {
            "hw_client_ip" => "hwclientip",
            "hw_user_agent" => "hwuseragent",
            "hw_tables" => "hwtables",
            name => name,
        };
        if first && is_extension(name) {
            member(name, value);
        }
    }
    member("datacontenttype", content_type(record));
    if record.value_is_json {
        line.extend_from_slice(b",\"data\":");
        line.extend_from_slice(&newline_free(&record.value));
    } else {
        line.extend_from_slice(b",\"data_base64\":\"");
        line.extend_from_slice(STANDARD.encode(&record.value).as_bytes());
        line.push(b'"');
    }
    line.extend_from_slice(b"}\n");
}

fn write_text(line: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(line, text).expect("a text is always written to memory");
}
