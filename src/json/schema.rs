//! The validator's view of a document, so that validation needs no tree of its own.

use std::borrow::Cow;
use std::ops::ControlFlow;

use jsonschema::JsonType;
use jsonschema::json::{self, Json, JsonNumber, NodeIdentity, cmp};
use serde_json::Value;

use super::Kind;
use super::node::{Elements, Node};
use super::number::is_whole;
use super::string::write_string;
use super::tape::{Tag, Word};

/// Names [`Node`] to `jsonschema` as a representation of JSON: `jsonschema::options_for::<TapeJson>()`.
#[derive(Clone, Copy, Debug)]
pub struct TapeJson;

/// Room for the JSON of a string that stands in no document.
#[derive(Debug)]
pub struct StringRoom {
    text: Vec<u8>,
    words: [Word; 1],
}

impl Default for StringRoom {
    fn default() -> StringRoom {
        StringRoom {
            text: Vec::new(),
            words: [Word::value(Tag::PlainString, 0, 0)],
        }
    }
}

impl Json for TapeJson {
    type Node<'a> = Node<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = StringRoom;

    // A lookup walks the names as a pass over the members does, comparing lengths first.
    const KEYS_PER_LOOKUP: usize = 4;
    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>(room: &mut StringRoom, string: &str, f: impl FnOnce(Node<'_>) -> T) -> T {
        room.text.clear();
        write_string(&mut room.text, string);
        let tag = if room.text.len() == string.len() + 2 {
            Tag::PlainString
        } else {
            Tag::EscapedString
        };
        room.words = [Word::value(tag, 0, room.text.len())];
        let text = std::str::from_utf8(&room.text).unwrap_or("\"\"");
        f(Node::of_string(text, &room.words))
    }
}

/// A [`Node`] that is an object.
#[derive(Clone, Copy, Debug)]
pub struct ObjectNode<'a>(Node<'a>);

/// A [`Node`] that is an array.
#[derive(Clone, Copy, Debug)]
pub struct ArrayNode<'a>(Node<'a>);

/// A [`Node`] that is a number.
#[derive(Clone, Copy, Debug)]
pub struct NumberNode<'a>(Node<'a>);

impl<'a> json::Node<'a, TapeJson> for Node<'a> {
    type Object = ObjectNode<'a>;
    type Array = ArrayNode<'a>;
    type Number = NumberNode<'a>;

    #[inline]
    fn as_object(&self) -> Option<ObjectNode<'a>> {
        (self.kind() == Kind::Object).then_some(ObjectNode(*self))
    }

    #[inline]
    fn as_array(&self) -> Option<ArrayNode<'a>> {
        (self.kind() == Kind::Array).then_some(ArrayNode(*self))
    }

    #[inline]
    fn as_string(&self) -> Option<Cow<'a, str>> {
        self.as_str()
    }

    #[inline]
    fn as_number(&self) -> Option<NumberNode<'a>> {
        (self.kind() == Kind::Number).then_some(NumberNode(*self))
    }

    #[inline]
    fn as_boolean(&self) -> Option<bool> {
        self.as_bool()
    }

    #[inline]
    fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    #[inline]
    fn is_number(&self) -> bool {
        self.kind() == Kind::Number
    }

    #[inline]
    fn is_string(&self) -> bool {
        self.kind() == Kind::String
    }

    #[inline]
    fn json_type(&self) -> JsonType {
        match self.kind() {
            Kind::Null => JsonType::Null,
            Kind::Boolean => JsonType::Boolean,
            Kind::Number => JsonType::Number,
            Kind::String => JsonType::String,
            Kind::Array => JsonType::Array,
            Kind::Object => JsonType::Object,
        }
    }

    fn string_length_within(&self, min: u64, max: u64) -> Option<bool> {
        let string = self.as_str()?;
        let bytes = string.len() as u64;
        // A code point takes one to four bytes.
        let fewest = bytes.div_ceil(4);
        if bytes < min || fewest > max {
            return Some(false);
        }
        if min <= fewest && bytes <= max {
            return Some(true);
        }
        Some((min..=max).contains(&(string.chars().count() as u64)))
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match expected {
            Value::Null => self.kind() == Kind::Null,
            Value::Bool(expected) => self.as_bool() == Some(*expected),
            Value::Number(expected) => {
                self.kind() == Kind::Number && cmp::equal_numbers(&NumberNode(*self), expected)
            }
            Value::String(expected) => self.is_string(expected),
            Value::Array(expected) => {
                self.kind() == Kind::Array
                    && self.len() == expected.len()
                    && self
                        .elements()
                        .zip(expected)
                        .all(|(element, expected)| element.equals_value(expected))
            }
            Value::Object(expected) => {
                self.kind() == Kind::Object
                    && self.len() == expected.len()
                    && expected.iter().all(|(name, expected)| {
                        self.get(name).is_some_and(|value| value.equals_value(expected))
                    })
            }
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(Node::to_value(self))
    }

    #[inline]
    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(self.address()))
    }
}

impl<'a> json::Object<'a, TapeJson> for ObjectNode<'a> {
    type Node = Node<'a>;
    type MemberName = Cow<'a, str>;
    type MembersIter = super::Members<'a>;

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn get(&self, key: &Box<str>) -> Option<Node<'a>> {
        self.0.get(key)
    }

    #[inline]
    fn members(&self) -> super::Members<'a> {
        self.0.members()
    }

    fn try_for_each_name_node<B>(
        &self,
        _room: &mut StringRoom,
        mut f: impl FnMut(Node<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.0.member_nodes().try_for_each(|(name, _)| f(name))
    }
}

impl<'a> json::Array<'a, TapeJson> for ArrayNode<'a> {
    type Node = Node<'a>;
    type ElementsIter = Elements<'a>;

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn elements(&self) -> Elements<'a> {
        self.0.elements()
    }

    /// Without a tree for what is commonly asked to be unique.
    fn is_unique(&self) -> bool {
        if self.len() <= 1 {
            return true;
        }
        let strings: Option<Vec<_>> = self.elements().map(|element| element.as_str()).collect();
        match strings {
            Some(mut strings) => {
                strings.sort_unstable();
                strings.windows(2).all(|pair| pair[0] != pair[1])
            }
            None => {
                let values: Vec<_> = self.elements().map(|element| Node::to_value(&element)).collect();
                json::unique::is_unique(&values)
            }
        }
    }
}

impl JsonNumber for NumberNode<'_> {
    fn as_u64(&self) -> Option<u64> {
        if self.0.is_spelled_as_integer() {
            self.0.raw().parse().ok()
        } else {
            None
        }
    }

    fn as_i64(&self) -> Option<i64> {
        self.0.as_i64()
    }

    fn as_f64(&self) -> Option<f64> {
        self.0.as_f64()
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0.raw())
    }

    fn to_number(&self) -> Cow<'_, serde_json::Number> {
        Cow::Owned(self.0.nearest_number())
    }

    fn is_integer(&self) -> bool {
        self.0.is_spelled_as_integer() || is_whole(self.0.raw())
    }

    fn is_written_as_integer(&self) -> bool {
        self.0.is_spelled_as_integer()
    }
}
