//! What two versions of a plugin made of one event, side by side.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    event::{Body, Output},
    json::pointer_escaped,
    transform::PluginFailure,
};

/// Differences that are listed of one event.
const LISTED: usize = 50;

/// All that one version made of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Records(Vec<MadeRecord>),
    Rejected(String),
    /// A table that it looks into is not there.
    Unavailable(String),
    Failed(String),
}

/// One output, its body written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MadeRecord {
    destination: Option<String>,
    topic: Option<String>,
    key: Option<String>,
    headers: Vec<(String, String)>,
    body: Bytes,
    is_json: bool,
}

/// One place where what a version made differs from what the active one made.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Difference {
    /// Which record, counted from 0; absent where it is about the event as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<usize>,
    /// `added` and `gone`: a record. `changed`: a value. `spelling`: the same data in other bytes. `outcome`: one of the
    /// two made no records, and says why.
    pub kind: &'static str,
    /// JSON Pointer into the record: `/data/…`, `/key`, `/topic`, `/destination`, `/headers`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    /// With the active version; absent where nothing was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}

impl Made {
    pub fn of(result: &Result<Vec<Output>, PluginFailure>) -> Made {
        match result {
            Ok(outputs) => Made::Records(outputs.iter().map(MadeRecord::of).collect()),
            Err(PluginFailure::Rejected(text)) => Made::Rejected(text.clone()),
            Err(PluginFailure::Unavailable(text)) => Made::Unavailable(text.clone()),
            Err(PluginFailure::Failed(text) | PluginFailure::Trapped(text) | PluginFailure::Held(text)) => {
                Made::Failed(text.clone())
            }
        }
    }

    /// In the form of a case's `records.json`.
    pub fn to_value(&self) -> Value {
        match self {
            Made::Records(records) => records.iter().map(MadeRecord::to_value).collect(),
            Made::Rejected(text) => json!({ "rejected": text }),
            Made::Unavailable(text) => json!({ "unavailable": text }),
            Made::Failed(text) => json!({ "broken": text }),
        }
    }

    /// How much it holds in memory, about.
    pub fn bytes(&self) -> usize {
        match self {
            Made::Records(records) => records.iter().map(|record| record.body.len()).sum(),
            Made::Rejected(text) | Made::Unavailable(text) | Made::Failed(text) => text.len(),
        }
    }

    pub fn differences_from(&self, before: &Made) -> Vec<Difference> {
        let mut found = Vec::new();
        match (before, self) {
            _ if before == self => {}
            (Made::Records(before), Made::Records(after)) => compare_records(before, after, &mut found),
            // Where a trap stood may differ between two versions; that it trapped is the same.
            (Made::Failed(_), Made::Failed(_)) => {}
            _ => found.push(Difference {
                record: None,
                kind: "outcome",
                pointer: String::new(),
                before: Some(before.outcome()),
                after: Some(self.outcome()),
            }),
        }
        found.truncate(LISTED);
        found
    }

    fn outcome(&self) -> Value {
        match self {
            Made::Records(records) => json!({ "records": records.len() }),
            other => other.to_value(),
        }
    }
}

impl MadeRecord {
    fn of(output: &Output) -> MadeRecord {
        let (body, is_json) = match &output.body {
            // A copy: what nobody edited is a part of its request's body.
            Body::Document(document) => (Bytes::copy_from_slice(&document.to_bytes()), true),
            Body::Bytes(bytes) => (bytes.clone(), false),
        };
        MadeRecord {
            destination: output.destination.clone(),
            topic: output.topic.clone(),
            key: output.key.clone(),
            headers: output.headers.clone(),
            body,
            is_json,
        }
    }

    fn to_value(&self) -> Value {
        let mut record = Map::new();
        for (name, text) in [
            ("destination", &self.destination),
            ("topic", &self.topic),
            ("key", &self.key),
        ] {
            if let Some(text) = text {
                record.insert(name.to_owned(), json!(text));
            }
        }
        if !self.headers.is_empty() {
            record.insert("headers".to_owned(), json!(self.headers));
        }
        let text = || String::from_utf8_lossy(&self.body).into_owned();
        let (name, value) = match serde_json::from_slice(&self.body) {
            Ok(value) if self.is_json => ("data", value),
            _ => ("text", Value::String(text())),
        };
        record.insert(name.to_owned(), value);
        Value::Object(record)
    }
}

/// Records keep their order: what is the same at the beginning and at the end is left out, the rest is compared in turn.
fn compare_records(before: &[MadeRecord], after: &[MadeRecord], found: &mut Vec<Difference>) {
    let first = before
        .iter()
        .zip(after)
        .take_while(|(one, two)| one == two)
        .count();
    let (before, after) = (&before[first..], &after[first..]);
    let last = before
        .iter()
        .rev()
        .zip(after.iter().rev())
        .take_while(|(one, two)| one == two)
        .count();
    let (before, after) = (&before[..before.len() - last], &after[..after.len() - last]);
    for place in 0..before.len().max(after.len()) {
        let record = Some(first + place);
        let whole =
            |kind, record_before: Option<&MadeRecord>, record_after: Option<&MadeRecord>| Difference {
                record,
                kind,
                pointer: String::new(),
                before: record_before.map(MadeRecord::to_value),
                after: record_after.map(MadeRecord::to_value),
            };
        match (before.get(place), after.get(place)) {
            (Some(one), Some(two)) => {
                let listed = found.len();
                compare(&one.to_value(), &two.to_value(), String::new(), record, found);
                if found.len() == listed && one != two {
                    found.push(Difference {
                        pointer: "/data".to_owned(),
                        ..whole("spelling", None, None)
                    });
                }
            }
            (Some(one), None) => found.push(whole("gone", Some(one), None)),
            (None, two) => found.push(whole("added", None, two)),
        }
        if found.len() >= LISTED {
            return;
        }
    }
}

fn compare(
    before: &Value,
    after: &Value,
    pointer: String,
    record: Option<usize>,
    found: &mut Vec<Difference>,
) {
    if before == after || found.len() >= LISTED {
        return;
    }
    let below = |token: &str| format!("{pointer}/{}", pointer_escaped(token));
    let mut member = |token: &str, one: Option<&Value>, two: Option<&Value>| match (one, two) {
        (Some(one), Some(two)) => compare(one, two, below(token), record, found),
        (one, two) => found.push(Difference {
            record,
            kind: "changed",
            pointer: below(token),
            before: one.cloned(),
            after: two.cloned(),
        }),
    };
    match (before, after) {
        (Value::Object(one), Value::Object(two)) => {
            for (name, value) in one {
                member(name, Some(value), two.get(name));
            }
            for (name, value) in two.iter().filter(|(name, _)| !one.contains_key(*name)) {
                member(name, None, Some(value));
            }
        }
        (Value::Array(one), Value::Array(two)) => {
            for place in 0..one.len().max(two.len()) {
                member(&place.to_string(), one.get(place), two.get(place));
            }
        }
        _ => found.push(Difference {
            record,
            kind: "changed",
            pointer,
            before: Some(before.clone()),
            after: Some(after.clone()),
        }),
    }
}

fn holds(text: &str, hidden: &[String]) -> bool {
    hidden.iter().any(|hidden| text.contains(hidden.as_str()))
}

/// A text, or `"***"` where it holds one of `hidden`.
pub(super) fn shown<'t>(text: &'t str, hidden: &[String]) -> &'t str {
    if holds(text, hidden) { "***" } else { text }
}

/// Puts `"***"` for every text that holds one of `hidden`, so that what an event's type masks is not read in what
/// plugins made of it.
pub(super) fn hide(value: &mut Value, hidden: &[String]) {
    match value {
        Value::String(text) => {
            if holds(text, hidden) {
                "***".clone_into(text);
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| hide(element, hidden)),
        Value::Object(members) => members.values_mut().for_each(|member| hide(member, hidden)),
        number @ Value::Number(_) => {
            if hidden.contains(&number.to_string()) {
                *number = json!("***");
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// The same in all that differs.
pub(super) fn hide_in(differences: &mut [Difference], hidden: &[String]) {
    for difference in differences {
        for value in [&mut difference.before, &mut difference.after]
            .into_iter()
            .flatten()
        {
            hide(value, hidden);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::{Difference, Made, MadeRecord, hide};

    fn made(bodies: &[&str]) -> Made {
        let record = |body: &&str| MadeRecord {
            destination: None,
            topic: None,
            key: Some("k".to_owned()),
            headers: Vec::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            is_json: true,
        };
        Made::Records(bodies.iter().map(record).collect())
    }

    fn found(before: &Made, after: &Made) -> Vec<Value> {
        let plain = |difference: &Difference| serde_json::to_value(difference).expect("it is JSON");
        after.differences_from(before).iter().map(plain).collect()
    }

    #[test]
    fn the_same_has_no_difference() {
        assert!(found(&made(&["{}", "1"]), &made(&["{}", "1"])).is_empty());
    }

    #[test]
    fn fields_are_named_by_their_pointer() {
        let differences = found(
            &made(&[r#"{"a": 1, "b": [1, 2], "c/d": 0}"#]),
            &made(&[r#"{"a": 2, "b": [1], "e": null}"#]),
        );
        let at = |pointer: &str| {
            differences
                .iter()
                .find(|found| found["pointer"] == pointer)
                .expect(pointer)
        };
        assert_eq!(differences.len(), 4, "{differences:?}");
        assert_eq!(
            (&at("/data/a")["before"], &at("/data/a")["after"]),
            (&json!(1), &json!(2))
        );
        assert_eq!(at("/data/b/1")["before"], 2);
        assert_eq!(at("/data/c~1d").get("after"), None);
        assert_eq!(at("/data/e")["after"], Value::Null);
        assert_eq!(at("/data/e")["record"], 0);
    }

    #[test]
    fn records_come_and_go() {
        let differences = found(&made(&["1", "2", "3"]), &made(&["1", "3"]));
        assert_eq!(
            differences,
            [json!({"record": 1, "kind": "gone", "before": {"key": "k", "data": 2}})]
        );
        let differences = found(&made(&["1"]), &made(&["1", "2"]));
        assert_eq!(
            differences,
            [json!({"record": 1, "kind": "added", "after": {"key": "k", "data": 2}})]
        );
    }

    #[test]
    fn other_bytes_of_the_same_data_are_told() {
        let differences = found(&made(&[r#"{"a":1}"#]), &made(&[r#"{ "a": 1 }"#]));
        assert_eq!(
            differences,
            [json!({"record": 0, "kind": "spelling", "pointer": "/data"})]
        );
    }

    #[test]
    fn outcomes_are_compared() {
        let failed = |text: &str| Made::Failed(text.to_owned());
        assert!(found(&failed("one"), &failed("two")).is_empty());
        let differences = found(&made(&["1"]), &Made::Rejected("no".to_owned()));
        assert_eq!(
            differences,
            [json!({"kind": "outcome", "before": {"records": 1}, "after": {"rejected": "no"}})]
        );
    }

    #[test]
    fn what_is_masked_is_hidden_wherever_it_went() {
        let mut value = json!({"to": "call 0105551", "n": 4711, "other": ["fine", 1]});
        hide(&mut value, &["0105551".to_owned(), "4711".to_owned()]);
        assert_eq!(value, json!({"to": "***", "n": "***", "other": ["fine", 1]}));
    }
}
