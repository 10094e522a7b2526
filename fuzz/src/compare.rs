//! JSON as the gateway reads it beside JSON as `serde_json` does.

use headworks::json::{Kind, Node};
use serde_json::{Number, Value};

/// Whether both are the same value. `serde_json` does not round doubles exactly: their last digits may differ.
pub fn same(node: Node<'_>, value: &Value) -> bool {
    match (node.kind(), value) {
        (Kind::Null, Value::Null) => true,
        (Kind::Boolean, Value::Bool(boolean)) => node.as_bool() == Some(*boolean),
        (Kind::Number, Value::Number(number)) => match (node.as_i64(), number.as_i64()) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => near(node.as_f64(), number.as_f64()),
        },
        (Kind::String, Value::String(text)) => node.as_str().as_deref() == Some(text.as_str()),
        (Kind::Array, Value::Array(values)) => {
            let mut pairs = node.elements().zip(values);
            node.len() == values.len() && pairs.all(|(node, value)| same(node, value))
        }
        (Kind::Object, Value::Object(values)) => {
            let is_there = |name: &str, node| values.get(name).is_some_and(|value| same(node, value));
            node.len() == values.len() && node.members().all(|(name, node)| is_there(&name, node))
        }
        _ => false,
    }
}

/// [`same`] for two trees.
pub fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || near(one.as_f64(), other.as_f64()),
        (Value::Array(ones), Value::Array(others)) => {
            let mut pairs = ones.iter().zip(others);
            ones.len() == others.len() && pairs.all(|(one, other)| alike(one, other))
        }
        (Value::Object(ones), Value::Object(others)) => {
            let mut members = ones.iter();
            let is_there = |name: &str, one| others.get(name).is_some_and(|other| alike(one, other));
            ones.len() == others.len() && members.all(|(name, one)| is_there(name, one))
        }
        _ => one == other,
    }
}

fn near(one: Option<f64>, other: Option<f64>) -> bool {
    const RELATIVE: f64 = 1e-12;
    /// Below the smallest normal double, digits are lost.
    const SMALLEST: f64 = 1e-300;
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    let difference = (one - other).abs();
    one == other || difference <= one.abs() * RELATIVE || one.abs().max(other.abs()) < SMALLEST
}

/// Nested arrays and objects.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or_default(),
        Value::Object(values) => 1 + values.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// What `serde_json` alone refuses: it nests to 127 levels, and at the border of a double it rounds otherwise.
pub fn is_own_limit(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    text.starts_with("number out of range") || text.starts_with("recursion limit exceeded")
}

/// The number as JSON has it; none for what JSON has not.
pub(crate) fn number(double: f64) -> Option<Value> {
    Number::from_f64(double).map(Value::Number)
}
