//! The one JSON parser of the gateway and its document.
//!
//! A body is parsed once, strictly, into a tape of offsets over the bytes that came in. Values are read by JSON
//! Pointer, validated in place, and edited by splicing: what nobody touches keeps its bytes.

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

/// One change of a document; paths are RFC 6901 pointers.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    Set(String, NewValue),
    Remove(String),
    Move(String, String),
}
