//! The edits of a document as the plugin contract tells them, made on a plain tree.

use headworks::json::{Document, NEW_VALUE_DEPTH_MAX, NewValue};
use serde_json::{Map, Value};

use crate::compare::number;

/// What a new value is.
pub enum New {
    Taken(Value),
    Refused,
    /// `serde_json` does not read what the gateway does; a model has nothing to say.
    Unknown,
}

pub fn new_value(value: &NewValue) -> New {
    match value {
        NewValue::Null => New::Taken(Value::Null),
        NewValue::Boolean(boolean) => New::Taken(Value::Bool(*boolean)),
        NewValue::Integer(integer) => New::Taken(Value::from(*integer)),
        NewValue::Number(double) => number(*double).map_or(New::Refused, New::Taken),
        NewValue::Text(text) => New::Taken(Value::from(text.as_str())),
        NewValue::Json(text) => {
            if Document::parse(text.clone().into(), NEW_VALUE_DEPTH_MAX).is_err() {
                return New::Refused;
            }
            serde_json::from_str(text).map_or(New::Unknown, New::Taken)
        }
    }
}

/// What a value that was read is; none where `serde_json` does not read it.
pub fn read_value(value: &NewValue) -> Option<Value> {
    match new_value(value) {
        New::Taken(value) => Some(value),
        New::Refused | New::Unknown => None,
    }
}

fn position(token: &str) -> Option<usize> {
    let position: usize = token.parse().ok()?;
    (position.to_string() == token).then_some(position)
}

fn child_mut<'v>(value: &'v mut Value, token: &str) -> Option<&'v mut Value> {
    match value {
        Value::Array(elements) => elements.get_mut(position(token)?),
        Value::Object(members) => members.get_mut(token),
        _ => None,
    }
}

/// The value at `tokens`.
pub fn get<'v>(root: &'v Value, tokens: &[String]) -> Option<&'v Value> {
    tokens.iter().try_fold(root, |value, token| match value {
        Value::Array(elements) => elements.get(position(token)?),
        Value::Object(members) => members.get(token),
        _ => None,
    })
}

/// False, with nothing changed, where the edit is refused.
pub fn set(root: &mut Value, tokens: &[String], value: Value) -> bool {
    let Some((token, rest)) = tokens.split_first() else {
        *root = value;
        return true;
    };
    if let Some(child) = child_mut(root, token) {
        return set(child, rest, value);
    }
    let mut made = Value::Object(Map::new());
    if !set(&mut made, rest, value) {
        return false;
    }
    match root {
        Value::Array(elements) => {
            let is_behind_last = position(token) == Some(elements.len());
            let appends = is_behind_last || (token == "-" && rest.is_empty());
            if appends {
                elements.push(made);
            }
            appends
        }
        Value::Object(members) => {
            members.insert(token.clone(), made);
            true
        }
        _ => false,
    }
}

/// What was at `tokens`; none where nothing was.
pub fn take(root: &mut Value, tokens: &[String]) -> Option<Value> {
    let (last, parents) = tokens.split_last()?;
    let mut parent = root;
    for token in parents {
        parent = child_mut(parent, token)?;
    }
    match parent {
        Value::Array(elements) => {
            let position = position(last).filter(|position| *position < elements.len())?;
            Some(elements.remove(position))
        }
        Value::Object(members) => members.remove(last),
        _ => None,
    }
}

/// Whether anything was at `source`; none, with nothing changed, where the move is refused.
pub fn move_value(root: &mut Value, source: &[String], target: &[String]) -> Option<bool> {
    if get(root, source).is_none() {
        return Some(false);
    }
    if source == target {
        return Some(true);
    }
    if target.starts_with(source) {
        return None;
    }
    let mut moved = root.clone();
    let value = take(&mut moved, source)?;
    if !set(&mut moved, target, value) {
        return None;
    }
    *root = moved;
    Some(true)
}
