use headworks_plugin::Value;

use super::{short_text, times::TimeCast};
use crate::place::text_of;

#[derive(Clone, Debug, PartialEq)]
pub enum Cast {
    Boolean,
    Integer,
    Number,
    String,
    Time(TimeCast),
}

/// Those that are named alone; times have names of their own.
pub const CASTS: [(&str, Cast); 4] = [
    ("boolean", Cast::Boolean),
    ("integer", Cast::Integer),
    ("number", Cast::Number),
    ("string", Cast::String),
];

impl Cast {
    pub fn apply(&self, value: &Value) -> Result<Value, &'static str> {
        match self {
            Cast::Boolean => boolean(value).map(Value::Boolean).ok_or("no boolean"),
            Cast::Integer => integer(value).ok_or("no integer"),
            Cast::Number => number(value).ok_or("no number"),
            Cast::String => text_of(value).map(Value::Text).ok_or("no text"),
            Cast::Time(cast) => cast.apply(value).ok_or("no time"),
        }
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Boolean(value) => Some(*value),
        Value::Integer(0) => Some(false),
        Value::Integer(1) => Some(true),
        _ => match short_text(value)?.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
    }
}

/// A number without a fraction, or a text that spells one; of any size that JSON's readers take, which is a double's.
fn integer(value: &Value) -> Option<Value> {
    match value {
        Value::Integer(_) => Some(value.clone()),
        Value::Number(number) => whole(*number).map(Value::Integer),
        Value::Json(json) => is_integer(json).then(|| value.clone()),
        Value::Text(_) => {
            let text = short_text(value)?.trim();
            if is_integer(text) {
                return match text.parse() {
                    Ok(integer) => Some(Value::Integer(integer)),
                    Err(_) => text
                        .parse::<f64>()
                        .is_ok_and(f64::is_finite)
                        .then(|| Value::Json(text.to_owned())),
                };
            }
            // This says whether it is spelled as JSON spells numbers, and may be off by the last digit: it is not the value.
            serde_json::from_str::<f64>(text).ok()?;
            whole(text.parse().ok()?).map(Value::Integer)
        }
        Value::Null | Value::Boolean(_) => None,
    }
}

/// As JSON writes integers: no plus, no zero in front.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits == "0" || !digits.starts_with('0');
    !digits.is_empty() && is_plain && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// None where another integer may have become the same double on the way.
fn whole(number: f64) -> Option<i64> {
    const INEXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it has no fraction, and doubles of this size are exact"
    )]
    (number.fract() == 0.0 && number.abs() < INEXACT).then_some(number as i64)
}

/// A text keeps its spelling.
fn number(value: &Value) -> Option<Value> {
    match value {
        Value::Integer(_) | Value::Number(_) => Some(value.clone()),
        Value::Json(json) => (!json.starts_with(['{', '['])).then(|| value.clone()),
        Value::Text(_) => {
            let text = short_text(value)?.trim();
            let number: serde_json::Number = serde_json::from_str(text).ok()?;
            Some(match number.as_i64() {
                Some(integer) => Value::Integer(integer),
                None => Value::Json(text.to_owned()),
            })
        }
        Value::Null | Value::Boolean(_) => None,
    }
}
