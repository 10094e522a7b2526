//! The one JSON parser of the gateway and its document.
//!
//! A body is parsed once, strictly, into a tape of offsets over the bytes that came in. Values are read by JSON
//! Pointer, validated in place, and edited by splicing: what nobody touches keeps its bytes.

use std::borrow::Cow;

mod document;
mod edit;
mod error;
mod node;
mod number;
mod overlay;
mod parse;
mod pointer;
mod schema;
mod splice;
mod string;
mod tape;
#[cfg(test)]
pub(crate) mod tests;
mod write;

pub use document::Document;
pub use edit::{EditedDocument, NEW_VALUE_DEPTH_MAX, POINTER_TOKENS_MAX};
pub use error::{EditError, ParseError, ParseErrorKind, shortened};
pub use node::{Elements, Members, Node};
pub use pointer::{PointerError, PointerTokens, pointer_escaped, pointer_tokens};
pub use schema::TapeJson;
pub use string::write_string;
pub use write::newline_free;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

/// A new value for [`EditedDocument::set`].
#[derive(Clone, Debug, PartialEq)]
pub enum NewValue {
    Null,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    /// JSON text, parsed strictly before it is taken.
    Json(String),
}

/// A value as it was found: scalars decoded, arrays and objects (and numbers that fit neither `i64` nor `f64` exactly) as
/// JSON text.
#[derive(Clone, Debug, PartialEq)]
pub enum FoundValue<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(Cow<'a, str>),
    Json(Cow<'a, str>),
}

impl FoundValue<'_> {
    pub fn into_owned(self) -> NewValue {
        match self {
            FoundValue::Null => NewValue::Null,
            FoundValue::Boolean(boolean) => NewValue::Boolean(boolean),
            FoundValue::Integer(integer) => NewValue::Integer(integer),
            FoundValue::Number(number) => NewValue::Number(number),
            FoundValue::Text(text) => NewValue::Text(text.into_owned()),
            FoundValue::Json(text) => NewValue::Json(text.into_owned()),
        }
    }
}

/// One change of a document; paths are RFC 6901 pointers.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    Set(String, NewValue),
    Remove(String),
    Move(String, String),
}
