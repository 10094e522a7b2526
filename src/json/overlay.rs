//! A document's changes, held as a tree that exists only along the paths that were edited.

mod array;
mod items;
mod object;

use super::document::Document;
use super::node::Node;
use super::number::exact_f64;
use super::string::write_string;
use super::{FoundValue, Kind};
use array::EditedArray;
use object::EditedObject;

/// A value of an edited document.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A value as it stands in a text.
    Source(Document),
    Scalar(Scalar),
    Object(Box<EditedObject>),
    Array(Box<EditedArray>),
}

#[derive(Clone, Debug)]
pub(super) enum Scalar {
    Null,
    Boolean(bool),
    Integer(i64),
    /// Finite.
    Number(f64),
    Text(String),
}

/// Why a value was not taken, and the value.
pub(super) type Refused = (&'static str, Value);

/// A value that was looked up.
pub(super) enum Found<'a> {
    Source(Node<'a>),
    Edited(&'a Value),
}

/// Where a value was before it was taken out of its array or object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// By its position on the tape.
    Member(u32),
    /// By its position among the members that were added.
    Added(usize),
    Element {
        position: usize,
        /// Its position on the tape, where it stood in the text.
        source: Option<u32>,
    },
}

impl Value {
    pub(super) fn get(&self, token: &str) -> Option<Found<'_>> {
        match self {
            Value::Source(document) => document.root().child(token).map(Found::Source),
            Value::Object(object) => object.get(token),
            Value::Array(array) => array.get(token),
            Value::Scalar(_) => None,
        }
    }

    /// An object without members.
    fn empty_object() -> Value {
        Value::Object(Box::new(EditedObject::empty()))
    }

    /// The member or element `token`, to be edited. A missing member, or the element just behind the last, is made: an
    /// empty object. `levels` is how many levels this value will have once the child is edited.
    pub(super) fn child_mut(&mut self, token: &str, levels: usize) -> Result<&mut Value, &'static str> {
        match self.make_editable(levels) {
            Value::Object(object) => Ok(object.get_or_make(token)),
            Value::Array(array) => array.get_or_make(token),
            Value::Source(_) | Value::Scalar(_) => Err(INSIDE_SCALAR),
        }
    }

    /// Sets the member or element `token`. Gives the value back where it cannot.
    pub(super) fn set(&mut self, token: &str, value: Value) -> Result<(), Refused> {
        match self.make_editable(value.levels() + 1) {
            Value::Object(object) => {
                object.set(token, value);
                Ok(())
            }
            Value::Array(array) => array.set(token, value),
            Value::Source(_) | Value::Scalar(_) => Err((INSIDE_SCALAR, value)),
        }
    }

    /// Removes the member or element `token` and gives it back.
    pub(super) fn take(&mut self, token: &str) -> Option<(Value, Place)> {
        match self.make_editable(1) {
            Value::Object(object) => object.take(token),
            Value::Array(array) => array.take(token),
            Value::Source(_) | Value::Scalar(_) => None,
        }
    }

    /// Undoes a [`Value::take`], with nothing done in between.
    pub(super) fn put_back(&mut self, place: Place, name: &str, value: Value) {
        match (self, place) {
            (Value::Object(object), Place::Member(position)) => object.put_back(position, value),
            (Value::Object(object), Place::Added(position)) => object.put_back_added(position, name, value),
            (Value::Array(array), Place::Element { position, source }) => {
                array.put_back(position, source, value);
            }
            _ => {}
        }
    }

    /// Turns an array or object of the text into one whose children can be changed, with at least `levels` levels.
    fn make_editable(&mut self, levels: usize) -> &mut Value {
        if let Value::Source(document) = self {
            match document.root().kind() {
                Kind::Object => *self = Value::Object(Box::new(EditedObject::of(document.clone()))),
                Kind::Array => *self = Value::Array(Box::new(EditedArray::of(document.clone()))),
                _ => {}
            }
        }
        match self {
            Value::Source(_) | Value::Scalar(_) => {}
            Value::Object(object) => object.levels = object.levels.max(levels),
            Value::Array(array) => array.levels = array.levels.max(levels),
        }
        self
    }

    /// Levels of edited arrays and objects in this value, itself included; maybe more than there are, never fewer.
    pub(super) fn levels(&self) -> usize {
        match self {
            Value::Source(_) | Value::Scalar(_) => 0,
            Value::Object(object) => object.levels,
            Value::Array(array) => array.levels,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Source(document) => out.extend_from_slice(document.root().raw().as_bytes()),
            Value::Scalar(scalar) => scalar.write(out),
            Value::Object(object) => object.write(out),
            Value::Array(array) => array.write(out),
        }
    }

    /// White space before and after the value in the text that it comes from.
    pub(super) fn surroundings(&self) -> (&[u8], &[u8]) {
        let source = match self {
            Value::Source(_) | Value::Scalar(_) => None,
            Value::Object(object) => object.source(),
            Value::Array(array) => Some(array.source()),
        };
        source.map_or((&[], &[]), Document::surroundings)
    }

    fn to_value(&self) -> FoundValue<'_> {
        match self {
            Value::Source(document) => node_to_value(document.root()),
            Value::Scalar(scalar) => scalar.to_value(),
            Value::Object(_) | Value::Array(_) => {
                let mut text = Vec::new();
                self.write(&mut text);
                FoundValue::Json(String::from_utf8_lossy(&text).into_owned().into())
            }
        }
    }
}

const INSIDE_SCALAR: &str = "the pointer goes into a value that is neither array nor object";

impl Scalar {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Scalar::Null => out.extend_from_slice(b"null"),
            Scalar::Boolean(true) => out.extend_from_slice(b"true"),
            Scalar::Boolean(false) => out.extend_from_slice(b"false"),
            Scalar::Integer(integer) => out.extend_from_slice(integer.to_string().as_bytes()),
            // Debug prints the shortest text that reads as the same double, as JSON has it for finite ones.
            Scalar::Number(number) => out.extend_from_slice(format!("{number:?}").as_bytes()),
            Scalar::Text(text) => write_string(out, text),
        }
    }

    fn to_value(&self) -> FoundValue<'_> {
        match self {
            Scalar::Null => FoundValue::Null,
            Scalar::Boolean(boolean) => FoundValue::Boolean(*boolean),
            Scalar::Integer(integer) => FoundValue::Integer(*integer),
            Scalar::Number(number) => FoundValue::Number(*number),
            Scalar::Text(text) => FoundValue::Text(text.into()),
        }
    }
}

impl<'a> Found<'a> {
    pub(super) fn get(self, token: &str) -> Option<Found<'a>> {
        match self {
            Found::Source(node) => node.child(token).map(Found::Source),
            Found::Edited(value) => value.get(token),
        }
    }

    pub(super) fn to_value(&self) -> FoundValue<'a> {
        match self {
            Found::Source(node) => node_to_value(*node),
            Found::Edited(value) => value.to_value(),
        }
    }
}

fn node_to_value(node: Node<'_>) -> FoundValue<'_> {
    let scalar = match node.kind() {
        Kind::Null => Some(FoundValue::Null),
        Kind::Boolean => node.as_bool().map(FoundValue::Boolean),
        Kind::String => node.as_str().map(FoundValue::Text),
        Kind::Number => number_to_value(node),
        Kind::Array | Kind::Object => None,
    };
    scalar.unwrap_or_else(|| FoundValue::Json(node.raw().into()))
}

fn number_to_value(node: Node<'_>) -> Option<FoundValue<'static>> {
    // An integer cannot be a negative zero.
    let integer = node.as_i64().filter(|_| node.raw() != "-0");
    integer
        .map(FoundValue::Integer)
        .or_else(|| exact_f64(node.raw()).map(FoundValue::Number))
}
