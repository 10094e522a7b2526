//! What changed between two texts of a schema, keyword by keyword, for people. It proves nothing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::pointer_escaped;

/// Rows shown of one comparison.
const CHANGES_MAX: usize = 200;
/// Characters of a value that is shown.
const SHOWN_CHARACTERS: usize = 120;

/// One keyword that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where in the data: a JSON Pointer, `*` for any item or member.
    pub pointer: String,
    pub keyword: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// They say nothing of what is valid.
const ANNOTATIONS: [&str; 12] = [
    "$comment",
    "$id",
    "id",
    "$schema",
    "default",
    "deprecated",
    "description",
    "example",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];

/// What differs, at most 200 rows.
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    schemas(old, new, "", &mut found);
    found.truncate(CHANGES_MAX);
    found
}

fn schemas(old: &Value, new: &Value, pointer: &str, found: &mut Vec<Change>) {
    if old == new || found.len() >= CHANGES_MAX {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        found.push(change(pointer, "schema", Some(shown(old)), Some(shown(new))));
        return;
    };
    let keywords: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for keyword in keywords {
        let (before, after) = (old.get(keyword), new.get(keyword));
        if before != after && !ANNOTATIONS.contains(&keyword.as_str()) {
            keyword_changes(keyword, before, after, pointer, found);
        }
    }
}

fn keyword_changes(
    keyword: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    pointer: &str,
    found: &mut Vec<Change>,
) {
    let empty = Map::new();
    let map = |value: Option<&Value>| {
        value
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_else(|| empty.clone())
    };
    match keyword {
        "properties" | "patternProperties" => members(&map(before), &map(after), keyword, pointer, found),
        "$defs" | "definitions" => {
            let (before, after) = (map(before), map(after));
            for (name, one) in &before {
                if let Some(two) = after.get(name) {
                    schemas(one, two, &format!("({name}){pointer}"), found);
                }
            }
        }
        "items" | "additionalProperties" | "contains" | "unevaluatedProperties" | "propertyNames"
            if before.is_some_and(Value::is_object) && after.is_some_and(Value::is_object) =>
        {
            if let (Some(before), Some(after)) = (before, after) {
                schemas(before, after, &format!("{pointer}/*"), found);
            }
        }
        "required" => {
            let names = |value: Option<&Value>| -> BTreeSet<String> {
                let list = value.and_then(Value::as_array).into_iter().flatten();
                list.filter_map(Value::as_str).map(str::to_owned).collect()
            };
            let (before, after) = (names(before), names(after));
            for name in before.symmetric_difference(&after) {
                let place = format!("{pointer}/{}", pointer_escaped(name));
                let word = |is: bool| Some(if is { "required" } else { "optional" }.to_owned());
                found.push(change(
                    &place,
                    "required",
                    word(before.contains(name)),
                    word(after.contains(name)),
                ));
            }
        }
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
            let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
            let (before, after) = (list(before), list(after));
            if before.len() == after.len() {
                for (one, two) in before.iter().zip(&after) {
                    schemas(one, two, pointer, found);
                }
            } else {
                let (gone, come) = (without(&before, &after), without(&after, &before));
                found.push(change(pointer, keyword, gone, come));
            }
        }
        "enum" => {
            let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
            if let (Some(_), Some(_)) = (before, after) {
                let (gone, come) = (
                    without(&list(before), &list(after)),
                    without(&list(after), &list(before)),
                );
                found.push(change(pointer, keyword, gone, come));
            } else {
                found.push(change(pointer, keyword, before.map(shown), after.map(shown)));
            }
        }
        _ => found.push(change(pointer, keyword, before.map(shown), after.map(shown))),
    }
}

fn members(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    keyword: &str,
    pointer: &str,
    found: &mut Vec<Change>,
) {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let place = format!("{pointer}/{}", pointer_escaped(name));
        match (before.get(name), after.get(name)) {
            (Some(one), Some(two)) => schemas(one, two, &place, found),
            (one, two) => {
                let word = if keyword == "properties" {
                    "property"
                } else {
                    keyword
                };
                found.push(change(&place, word, one.map(shown), two.map(shown)));
            }
        }
    }
}

/// The elements of `list` that are not in `other`.
fn without(list: &[Value], other: &[Value]) -> Option<String> {
    let left: Vec<String> = list
        .iter()
        .filter(|value| !other.contains(value))
        .map(shown)
        .collect();
    (!left.is_empty()).then(|| cut(&left.join(", ")))
}

fn change(pointer: &str, keyword: &str, before: Option<String>, after: Option<String>) -> Change {
    Change {
        pointer: pointer.to_owned(),
        keyword: keyword.to_owned(),
        before,
        after,
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Object(members) => {
            let said: Map<String, Value> = members
                .iter()
                .filter(|(keyword, _)| !ANNOTATIONS.contains(&keyword.as_str()))
                .map(|(keyword, value)| (keyword.clone(), value.clone()))
                .collect();
            match (said.len(), said.get("type")) {
                (1, Some(Value::String(name))) => name.clone(),
                _ => Value::Object(said).to_string(),
            }
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    cut(&text)
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
