use std::fmt;

use serde::de::{self, Deserializer, IntoDeserializer, Visitor};

/// A JSON value as it passes between plugin and gateway.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    /// Arrays, objects, and numbers that fit neither `i64` nor `f64` exactly, as JSON text.
    Json(String),
}

macro_rules! from_integer {
    ($($integer:ty)*) => {$(
        impl From<$integer> for Value {
            fn from(value: $integer) -> Value {
                Value::Integer(value.into())
            }
        }
    )*};
}

macro_rules! from_wide_integer {
    ($($integer:ty)*) => {$(
        impl From<$integer> for Value {
            fn from(value: $integer) -> Value {
                match i64::try_from(value) {
                    Ok(value) => Value::Integer(value),
                    Err(_) => Value::Json(value.to_string()),
                }
            }
        }
    )*};
}

from_integer!(i8 i16 i32 i64 u8 u16 u32);
from_wide_integer!(u64 i128 u128 usize isize);

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Boolean(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Number(value)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Value {
        Value::Number(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Value {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Boolean(value),
            serde_json::Value::String(value) => Value::Text(value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(value) => Value::Integer(value),
                None if number.is_f64() => number.as_f64().map_or(Value::Null, Value::Number),
                None => Value::Json(number.to_string()),
            },
            value @ (serde_json::Value::Array(_) | serde_json::Value::Object(_)) => {
                Value::Json(value.to_string())
            }
        }
    }
}

/// A [`Value`] whose texts stand elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(&'a str),
    Json(&'a str),
}

impl<'a> Seen<'a> {
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn of(value: &'a Value) -> Seen<'a> {
        match value {
            Value::Null => Seen::Null,
            Value::Boolean(value) => Seen::Boolean(*value),
            Value::Integer(value) => Seen::Integer(*value),
            Value::Number(value) => Seen::Number(*value),
            Value::Text(text) => Seen::Text(text),
            Value::Json(text) => Seen::Json(text),
        }
    }

    pub(crate) fn into_value(self) -> Value {
        match self {
            Seen::Null => Value::Null,
            Seen::Boolean(value) => Value::Boolean(value),
            Seen::Integer(value) => Value::Integer(value),
            Seen::Number(value) => Value::Number(value),
            Seen::Text(text) => Value::Text(text.to_owned()),
            Seen::Json(text) => Value::Json(text.to_owned()),
        }
    }
}

/// What may stand at a pointer, for `serde`: nothing there is `None` of an `Option` and an error for all else.
pub(crate) struct Found<'de>(pub(crate) Option<Seen<'de>>);

/// Why a value is not of the type that was asked for.
#[derive(Debug)]
pub(crate) struct Mismatch(pub(crate) String);

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Mismatch {}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Mismatch {
        Mismatch(message.to_string())
    }
}

impl From<serde_json::Error> for Mismatch {
    fn from(error: serde_json::Error) -> Mismatch {
        Mismatch(error.to_string())
    }
}

/// Only values out of JSON text know how to be more than scalars: they go through `serde_json`.
macro_rules! through_json {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Mismatch> {
            match self.0 {
                Some(Seen::Json(json)) => {
                    let mut json = serde_json::Deserializer::from_str(json);
                    Ok((&mut json).$method($($argument,)* visitor)?)
                }
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Found<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            None => Err(Mismatch("nothing is there".to_owned())),
            Some(Seen::Null) => visitor.visit_unit(),
            Some(Seen::Boolean(value)) => visitor.visit_bool(value),
            Some(Seen::Integer(value)) => visitor.visit_i64(value),
            Some(Seen::Number(value)) => visitor.visit_f64(value),
            Some(Seen::Text(value)) => visitor.visit_borrowed_str(value),
            Some(Seen::Json(json)) => Ok(serde_json::Deserializer::from_str(json).deserialize_any(visitor)?),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            None | Some(Seen::Null) => visitor.visit_none(),
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Some(Seen::Text(variant)) => visitor.visit_enum(variant.into_deserializer()),
            Some(Seen::Json(json)) => {
                Ok(serde_json::Deserializer::from_str(json).deserialize_enum(name, variants, visitor)?)
            }
            other => Found(other).deserialize_any(visitor),
        }
    }

    through_json! {
        deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_string()
        deserialize_bytes() deserialize_byte_buf() deserialize_unit()
        deserialize_unit_struct(name: &'static str) deserialize_seq() deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize) deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) deserialize_identifier()
        deserialize_ignored_any()
    }
}

impl<'de> IntoDeserializer<'de, Mismatch> for Found<'de> {
    type Deserializer = Found<'de>;

    fn into_deserializer(self) -> Found<'de> {
        self
    }
}
