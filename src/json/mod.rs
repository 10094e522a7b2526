//! The one JSON parser of the gateway and its document.
//!
//! A body is parsed once, strictly, into a tape of offsets over the bytes that came in. Values are read by JSON
//! Pointer, validated in place, and edited by splicing: what nobody touches keeps its bytes.

use std::borrow::Cow;

use bytes::Bytes;

/// A parsed JSON value that shares its text and tape with the document it was cut from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Document {}

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

/// One value inside a [`Document`].
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    _document: &'a Document,
}

/// Why a text is not taken as JSON, and where (byte offset into the text).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct ParseError {
    pub kind: ParseErrorKind,
    pub offset: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    #[error("{0}")]
    Syntax(&'static str),
    #[error("member {0:?} stands twice in one object")]
    DuplicateMember(String),
    #[error("more than {0} nested arrays and objects")]
    TooDeep(u32),
    #[error("number beyond the range of a double")]
    NumberOutOfRange,
    #[error("lone surrogate in a string")]
    LoneSurrogate,
    #[error("invalid UTF-8")]
    InvalidUtf8,
}

impl Document {
    /// Parses one JSON text. `depth_max` bounds nested arrays and objects.
    pub fn parse(_text: Bytes, _depth_max: u32) -> Result<Document, ParseError> {
        todo!()
    }
    pub fn root(&self) -> Node<'_> {
        todo!()
    }
    /// The value's bytes as they came in, shared, not copied.
    pub fn bytes(&self) -> Bytes {
        todo!()
    }
    /// The value at an RFC 6901 pointer.
    pub fn pointer(&self, _pointer: &str) -> Option<Node<'_>> {
        todo!()
    }
    /// The same value as a document of its own, sharing text and tape.
    pub fn subdocument(&self, _node: Node<'_>) -> Document {
        todo!()
    }
}

impl<'a> Node<'a> {
    pub fn kind(&self) -> Kind {
        todo!()
    }
    /// The bytes of this value as sent.
    pub fn raw(&self) -> &'a str {
        todo!()
    }
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        todo!()
    }
    pub fn as_bool(&self) -> Option<bool> {
        todo!()
    }
    pub fn as_i64(&self) -> Option<i64> {
        todo!()
    }
    pub fn as_f64(&self) -> Option<f64> {
        todo!()
    }
    /// Members of an object in the order sent; nothing for other kinds.
    pub fn members(&self) -> impl Iterator<Item = (Cow<'a, str>, Node<'a>)> + use<'a> {
        std::iter::empty()
    }
    /// Elements of an array in order; nothing for other kinds.
    pub fn elements(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        std::iter::empty()
    }
    /// A member of an object by name.
    pub fn get(&self, _name: &str) -> Option<Node<'a>> {
        todo!()
    }
    /// Members of an object or elements of an array; 0 for other kinds.
    pub fn len(&self) -> usize {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn to_value(&self) -> serde_json::Value {
        todo!()
    }
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

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer:?}: {reason}")]
pub struct EditError {
    pub pointer: String,
    pub reason: String,
}

/// A document with edits recorded against its original bytes. Without edits, [`EditedDocument::to_bytes`] is the
/// original.
#[derive(Clone, Debug)]
pub struct EditedDocument {}

impl EditedDocument {
    pub fn new(_document: Document) -> EditedDocument {
        todo!()
    }
    /// The JSON value at `pointer`, edits included: scalars decoded, arrays and objects (and numbers that fit neither
    /// `i64` nor `f64` exactly) as JSON text.
    pub fn get(&self, _pointer: &str) -> Option<NewValue> {
        todo!()
    }
    pub fn set(&mut self, _pointer: &str, _value: NewValue) -> Result<(), EditError> {
        todo!()
    }
    /// False where nothing was there.
    pub fn remove(&mut self, _pointer: &str) -> bool {
        todo!()
    }
    /// False where nothing was at `source`.
    pub fn move_value(&mut self, _source: &str, _target: &str) -> Result<bool, EditError> {
        todo!()
    }
    /// Makes all edits in order, or none.
    pub fn apply(&mut self, _edits: &[Edit]) -> Result<(), EditError> {
        todo!()
    }
    pub fn is_edited(&self) -> bool {
        todo!()
    }
    pub fn to_bytes(&self) -> Bytes {
        todo!()
    }
}
