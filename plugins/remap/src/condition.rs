//! When a step runs.

use headworks_plugin::Value;

use crate::place::{Place, Seen, number_text};

/// What must hold.
#[derive(Debug, PartialEq)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// Something stands there; `null` does too.
    Exists(Place),
    Test(Place, Test),
}

/// What must hold of a value; nothing holds of what is not there.
#[derive(Debug, PartialEq)]
pub enum Test {
    /// To be one of these.
    In(Vec<serde_json::Value>),
    Prefix(String),
    Suffix(String),
    Contains(String),
    AtLeast(f64),
    Below(f64),
    Type(Type),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Array,
    Boolean,
    Null,
    Number,
    Object,
    String,
}

pub const TYPES: [(&str, Type); 6] = [
    ("array", Type::Array),
    ("boolean", Type::Boolean),
    ("null", Type::Null),
    ("number", Type::Number),
    ("object", Type::Object),
    ("string", Type::String),
];

impl Condition {
    pub fn holds(&self, seen: &Seen<'_>) -> bool {
        match self {
            Condition::All(conditions) => conditions.iter().all(|condition| condition.holds(seen)),
            Condition::Any(conditions) => conditions.iter().any(|condition| condition.holds(seen)),
            Condition::Not(condition) => !condition.holds(seen),
            Condition::Exists(place) => seen.get(place).is_some(),
            Condition::Test(place, test) => seen.get(place).is_some_and(|value| test.holds(value)),
        }
    }

    /// Every place that it reads.
    pub fn visit(&mut self, see: &mut dyn FnMut(&mut Place)) {
        match self {
            Condition::All(conditions) | Condition::Any(conditions) => {
                for condition in conditions {
                    condition.visit(see);
                }
            }
            Condition::Not(condition) => condition.visit(see),
            Condition::Exists(place) | Condition::Test(place, _) => see(place),
        }
    }
}

impl Test {
    fn holds(&self, value: &Value) -> bool {
        let text = match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        };
        match self {
            Test::In(wanted) => wanted.iter().any(|wanted| is_equal(value, wanted)),
            Test::Prefix(wanted) => text.is_some_and(|text| text.starts_with(wanted)),
            Test::Suffix(wanted) => text.is_some_and(|text| text.ends_with(wanted)),
            Test::Contains(wanted) => text.is_some_and(|text| text.contains(wanted)),
            Test::AtLeast(wanted) => number(value).is_some_and(|number| number >= *wanted),
            Test::Below(wanted) => number(value).is_some_and(|number| number < *wanted),
            Test::Type(wanted) => type_of(value) == *wanted,
        }
    }
}

fn type_of(value: &Value) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Boolean(_) => Type::Boolean,
        Value::Integer(_) | Value::Number(_) => Type::Number,
        Value::Text(_) => Type::String,
        Value::Json(json) => match json.as_bytes().first() {
            Some(b'{') => Type::Object,
            Some(b'[') => Type::Array,
            _ => Type::Number,
        },
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "compared with what is a double already"
)]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(value) => Some(*value as f64),
        Value::Number(value) => Some(*value),
        Value::Json(json) if type_of(value) == Type::Number => json.parse().ok(),
        _ => None,
    }
}

fn is_equal(value: &Value, wanted: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match (value, wanted) {
        (Value::Null, Json::Null) => true,
        (Value::Boolean(one), Json::Bool(other)) => one == other,
        (Value::Text(one), Json::String(other)) => one == other,
        (Value::Integer(one), Json::Number(other)) if other.is_i64() => other.as_i64() == Some(*one),
        // 1 and 1.0 are one number.
        (Value::Integer(one), Json::Number(other)) => other.to_string() == format!("{one}.0"),
        (Value::Number(one), Json::Number(other)) => other
            .as_f64()
            .is_some_and(|other| number_text(*one) == number_text(other)),
        (Value::Json(json), Json::Number(_) | Json::Array(_) | Json::Object(_)) => {
            serde_json::from_str::<Json>(json).is_ok_and(|json| json == *wanted)
        }
        _ => false,
    }
}
