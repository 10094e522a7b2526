//! A TOML file as a tree in which every key and value knows its place.

use std::{ops::Range, sync::Arc};

use serde_json::Value as Json;
use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use super::error::{ConfigError, Place};

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    /// Saturates: no setting comes near the ends.
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Member>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub key: String,
    pub place: Place,
    pub node: Node,
}

impl Node {
    pub fn empty_table(place: Place) -> Node {
        Node {
            place,
            value: Value::Table(Vec::new()),
        }
    }

    pub fn text(place: Place, text: impl Into<String>) -> Node {
        Node {
            place,
            value: Value::Text(text.into()),
        }
    }

    /// The member `key`, where this is a table that has one.
    pub fn member(&self, key: &str) -> Option<&Member> {
        match &self.value {
            Value::Table(members) => members.iter().find(|member| member.key == key),
            _ => None,
        }
    }

    /// The same value in JSON; a date is a string, and a float that JSON does not know is null.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Text(text) | Value::Datetime(text) => Json::String(text.clone()),
            Value::Integer(number) => i64::try_from(*number).map_or(Json::Null, Json::from),
            Value::Float(number) => Json::from(*number),
            Value::Boolean(boolean) => Json::Bool(*boolean),
            Value::Array(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Table(members) => members
                .iter()
                .map(|member| (member.key.clone(), member.node.to_json()))
                .collect(),
        }
    }
}

impl Value {
    /// What this is, with its article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

/// The tree of `text` and the places where it is not TOML. With errors, the tree holds what could be read.
pub fn parse(file: &str, text: &str) -> (Node, Vec<ConfigError>) {
    let positions = Positions::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let errors = errors
        .iter()
        .map(|error| {
            let place = error.span().map_or_else(
                || Place::Whole(positions.file.clone()),
                |span| positions.place(span),
            );
            ConfigError::new(place, "", format!("is not TOML: {}", error.message()))
        })
        .collect();
    let root = Node {
        place: positions.place(0..0),
        value: positions.table(table.get_ref()),
    };
    (root, errors)
}

struct Positions<'t> {
    file: Arc<str>,
    text: &'t str,
    /// Offset of each line's first byte.
    lines: Vec<usize>,
}

impl<'t> Positions<'t> {
    fn new(file: &str, text: &'t str) -> Positions<'t> {
        let breaks = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(offset, _)| offset + 1);
        Positions {
            file: file.into(),
            text,
            lines: std::iter::once(0).chain(breaks).collect(),
        }
    }

    fn place(&self, span: Range<usize>) -> Place {
        let line = self.lines.partition_point(|start| *start <= span.start).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let before = self
            .text
            .as_bytes()
            .get(start..span.start)
            .map_or(0, |bytes| String::from_utf8_lossy(bytes).chars().count());
        Place::File {
            file: self.file.clone(),
            line: narrow(line),
            column: narrow(before + 1),
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Value {
        let members = table.iter().map(|(key, value)| Member {
            key: key.get_ref().clone().into_owned(),
            place: self.place(key.span()),
            node: self.node(value),
        });
        Value::Table(members.collect())
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        Node {
            place: self.place(value.span()),
            value: match value.get_ref() {
                DeValue::String(text) => Value::Text(text.clone().into_owned()),
                DeValue::Integer(number) => Value::Integer(integer(number)),
                DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
                DeValue::Boolean(boolean) => Value::Boolean(*boolean),
                DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
                DeValue::Array(items) => Value::Array(items.iter().map(|item| self.node(item)).collect()),
                DeValue::Table(table) => self.table(table),
            },
        }
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn integer(number: &DeInteger<'_>) -> i128 {
    let text = number.as_str();
    i128::from_str_radix(text, number.radix()).unwrap_or(if text.starts_with('-') {
        i128::MIN
    } else {
        i128::MAX
    })
}
