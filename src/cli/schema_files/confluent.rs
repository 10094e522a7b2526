//! Confluent's Schema Registry: the topic `_schemas` as consumers print it, or what the REST API answers.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::import::{Found, Reading, file_text, parsed, type_name};
use crate::{
    cli::failure::Failure,
    json::{EditedDocument, NewValue, pointer_escaped},
    registry::model::Compatibility,
    validate::SCHEME,
};

/// What a schema without `$schema` is there.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// What is known of a subject's version: the last record of it counts, as in a compacted topic.
type Records = BTreeMap<(String, u64), Result<Value, String>>;

pub(super) fn read(file: &Path) -> Result<Reading, Failure> {
    let mut reading = Reading::default();
    let mut records = Records::new();
    let text = file_text(file)?;
    match serde_json::from_str::<Value>(&text) {
        Ok(Value::Array(answers)) => {
            for (index, answer) in answers.into_iter().enumerate() {
                take(answer, &format!("[{index}]"), &mut records, &mut reading);
            }
        }
        Ok(answer) => take(answer, "the file", &mut records, &mut reading),
        Err(_) => {
            for (index, line) in text.lines().enumerate() {
                if !line.trim().is_empty() {
                    read_line(line, index + 1, &mut records, &mut reading);
                }
            }
        }
    }
    // A subject without a level of its own has its context's, or else the registry's.
    let levels = std::mem::take(&mut reading.compatibility);
    let level = |subject: &str| {
        let names = [subject, context(subject), ""];
        names.into_iter().find_map(|name| levels.get(name).copied())
    };
    for (subject, _) in records.keys() {
        if let Some(level) = level(subject) {
            reading
                .compatibility
                .insert(event_name(subject).to_owned(), level);
        }
    }
    for ((subject, version), record) in records {
        let from = format!("{subject} version {version}");
        match record.and_then(|value| one(&subject, version, &value)) {
            Ok(found) => reading.found.push(found),
            Err(reason) => reading.refuse(from, reason),
        }
    }
    Ok(reading)
}

/// `KEY<tab>VALUE`, as `kafka-console-consumer --property print.key=true` prints it, or the value alone.
fn read_line(line: &str, number: usize, records: &mut Records, reading: &mut Reading) {
    let from = format!("line {number}");
    let (key, value) = match line.split_once('\t') {
        Some((key, value)) => (serde_json::from_str::<Value>(key).ok(), value),
        None => (None, line),
    };
    let text = |value: &Value, member: &str| value[member].as_str().map(str::to_owned);
    if let Some(key) = &key {
        let subject = text(key, "subject");
        match (text(key, "keytype").as_deref(), subject) {
            (Some("SCHEMA"), Some(subject)) => {
                // A tombstone: the version was deleted for good.
                if matches!(value.trim(), "null" | "") {
                    records.remove(&(subject, key["version"].as_u64().unwrap_or(0)));
                    return;
                }
            }
            (Some("DELETE_SUBJECT"), Some(subject)) => {
                let up_to = serde_json::from_str::<Value>(value)
                    .ok()
                    .and_then(|value| value["version"].as_u64());
                for ((known, version), record) in records.iter_mut() {
                    if *known == subject && up_to.is_none_or(|up_to| *version <= up_to) {
                        *record = Err("its subject was deleted".to_owned());
                    }
                }
                return;
            }
            // Without a subject it is the level of all of them.
            (Some("CONFIG"), subject) => {
                let subject = subject.unwrap_or_default();
                let level = serde_json::from_str::<Value>(value)
                    .ok()
                    .and_then(|value| text(&value, "compatibilityLevel"));
                match level.as_deref().map(compatibility) {
                    Some(Some(level)) => {
                        reading.compatibility.insert(subject, level);
                    }
                    Some(None) => {
                        reading.refuse(from, format!("{subject:?} has an unknown compatibilityLevel"))
                    }
                    None => {
                        reading.compatibility.remove(&subject);
                    }
                }
                return;
            }
            // Modes, contexts and the registry's own marks say nothing of schemas.
            (Some(_), _) => return,
            (None, _) => {}
        }
    }
    match serde_json::from_str(value) {
        Ok(value) => take(value, &from, records, reading),
        Err(error) => reading.refuse(from, format!("is no JSON: {error}")),
    }
}

fn take(value: Value, from: &str, records: &mut Records, reading: &mut Reading) {
    match (value["subject"].as_str(), value["version"].as_u64()) {
        (Some(subject), Some(version)) if value["schema"].is_string() => {
            records.insert((subject.to_owned(), version), Ok(value));
        }
        _ => reading.refuse(
            from,
            "has not the members \"subject\", \"version\" and \"schema\" that a registered schema has",
        ),
    }
}

fn one(subject: &str, version: u64, value: &Value) -> Result<Found, String> {
    if value["deleted"] == true {
        return Err("it was deleted".to_owned());
    }
    match value["schemaType"].as_str().unwrap_or("AVRO") {
        "JSON" => {}
        other => return Err(format!("it is {other}, not JSON Schema")),
    }
    if subject.ends_with("-key") {
        return Err("it is of records' keys, and events have none".to_owned());
    }
    let mut schema = parsed(value["schema"].as_str().unwrap_or_default())?;
    let mut notes = lead_to_types(&mut schema, value)?;
    if schema.is_object() && schema.get("/$schema").is_none() {
        schema
            .set("/$schema", NewValue::Text(DRAFT.to_owned()))
            .map_err(|error| error.to_string())?;
        notes.push("it named no draft, which is draft 7 there".to_owned());
    }
    Ok(Found {
        from: format!("{subject} version {version}"),
        name: event_name(subject).to_owned(),
        since: version.to_string(),
        schema,
        notes,
    })
}

/// There a schema names what it refers to as it pleases, and says beside it which subject and version that is.
fn lead_to_types(schema: &mut EditedDocument, record: &Value) -> Result<Vec<String>, String> {
    let mut notes = Vec::new();
    let text: Value = serde_json::from_slice(&schema.to_bytes()).map_err(|error| error.to_string())?;
    for reference in record["references"].as_array().into_iter().flatten() {
        let (Some(name), Some(subject), Some(version)) = (
            reference["name"].as_str(),
            reference["subject"].as_str(),
            reference["version"].as_u64(),
        ) else {
            return Err("its references are not as the registry writes them".to_owned());
        };
        let (event_type, _) = type_name(event_name(subject));
        let uri = format!("{SCHEME}{event_type}@{version}");
        for (pointer, fragment) in places(&text, name) {
            schema
                .set(&pointer, NewValue::Text(format!("{uri}{fragment}")))
                .map_err(|error| error.to_string())?;
        }
        notes.push(format!("{name} became {uri}"));
    }
    Ok(notes)
}

/// Where `$ref` says `name`, and what follows it there.
fn places(schema: &Value, name: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left = vec![(String::new(), schema)];
    while let Some((pointer, value)) = left.pop() {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    let pointer = format!("{pointer}/{}", pointer_escaped(key));
                    match value.as_str() {
                        Some(reference) if key == "$ref" => {
                            let rest = reference.strip_prefix(name);
                            found.extend(
                                rest.filter(|rest| rest.is_empty() || rest.starts_with('#'))
                                    .map(|rest| (pointer, rest.to_owned())),
                            );
                        }
                        _ => left.push((pointer, value)),
                    }
                }
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                left.extend(items.map(|(index, item)| (format!("{pointer}/{index}"), item)));
            }
            _ => {}
        }
    }
    found
}

/// The topic of a subject named after one; without the context that it may stand in.
fn event_name(subject: &str) -> &str {
    let subject = match subject.strip_prefix(":.") {
        Some(rest) => rest.split_once(':').map_or(subject, |(_, name)| name),
        None => subject,
    };
    subject.strip_suffix("-value").unwrap_or(subject)
}

/// `:.CONTEXT:` of a subject that stands in one.
fn context(subject: &str) -> &str {
    let name = subject.strip_prefix(":.").and_then(|rest| rest.split_once(':'));
    let length = name.map_or(0, |(name, _)| name.len() + 3);
    subject.get(..length).unwrap_or_default()
}

/// None for a level that is not known.
fn compatibility(level: &str) -> Option<Compatibility> {
    Some(match level.trim_end_matches("_TRANSITIVE") {
        "NONE" => Compatibility::None,
        "BACKWARD" => Compatibility::Backward,
        "FORWARD" => Compatibility::Forward,
        "FULL" => Compatibility::Full,
        _ => return None,
    })
}
