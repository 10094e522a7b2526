//! What a schema says of one place in the data: which types it allows there, and which subschemas apply below.

use serde_json::Value;
use smallvec::{SmallVec, smallvec};

use crate::limits::COERCION_STEPS;

/// The JSON types that a place allows.
pub(super) type Types = u8;
pub(super) const NULL: Types = 1;
pub(super) const BOOLEAN: Types = 2;
pub(super) const INTEGER: Types = 4;
pub(super) const NUMBER: Types = 8;
pub(super) const STRING: Types = 16;
pub(super) const ARRAY: Types = 32;
pub(super) const OBJECT: Types = 64;
pub(super) const ANY: Types = 127;

/// The subschemas that all apply at one place; of branches (`anyOf`, `oneOf`), one of each group does.
#[derive(Clone, Default)]
pub(super) struct Place<'s> {
    all: Found<'s>,
    groups: SmallVec<[Found<'s>; 1]>,
}

/// `$ref`, `allOf`, `anyOf` and `oneOf` within each other at one place.
const APPLICATORS: u32 = 16;

/// A schema document, and how much reading of it is left to this request.
pub(super) struct Guide<'s> {
    root: &'s Value,
    steps_left: u32,
}

/// Subschemas that were found for a place.
type Found<'s> = SmallVec<[&'s Value; 4]>;

impl<'s> Guide<'s> {
    pub(super) fn new(root: &'s Value) -> Guide<'s> {
        Guide {
            root,
            steps_left: COERCION_STEPS,
        }
    }

    /// The whole data.
    pub(super) fn whole(&self) -> Place<'s> {
        Place {
            all: smallvec![self.root],
            groups: SmallVec::new(),
        }
    }

    pub(super) fn types(&mut self, place: &Place<'s>) -> Types {
        let all = place
            .all
            .iter()
            .fold(ANY, |types, schema| types & self.types_of(schema, 0));
        place.groups.iter().fold(all, |types, group| {
            types
                & group
                    .iter()
                    .fold(0, |types, schema| types | self.types_of(schema, 0))
        })
    }

    pub(super) fn member(&mut self, place: &Place<'s>, name: &str) -> Place<'s> {
        self.below(place, |schema, found| member(schema, name, found))
    }

    pub(super) fn element(&mut self, place: &Place<'s>, position: usize) -> Place<'s> {
        self.below(place, |schema, found| element(schema, position, found))
    }

    fn below(&mut self, place: &Place<'s>, find: impl Fn(&'s Value, &mut Found<'s>)) -> Place<'s> {
        let mut below = Place::default();
        for schema in &place.all {
            self.collect(schema, &find, &mut below, 0);
        }
        for group in &place.groups {
            let mut branches = SmallVec::new();
            for schema in group {
                let mut branch = Place::default();
                self.collect(schema, &find, &mut branch, 0);
                branches.extend(branch.all);
            }
            if !branches.is_empty() {
                below.groups.push(branches);
            }
        }
        below
    }

    /// False where the schema has been read far enough: what is not read allows anything.
    fn step(&mut self, depth: u32) -> bool {
        self.steps_left = self.steps_left.saturating_sub(1);
        self.steps_left > 0 && depth < APPLICATORS
    }

    /// A `$ref` into this document.
    fn referred(&self, schema: &'s Value) -> Option<&'s Value> {
        let pointer = schema.get("$ref")?.as_str()?.strip_prefix('#')?;
        let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8().ok()?;
        self.root.pointer(&pointer)
    }

    fn types_of(&mut self, schema: &'s Value, depth: u32) -> Types {
        if !self.step(depth) {
            return ANY;
        }
        let members = match schema {
            Value::Object(members) => members,
            Value::Bool(false) => return 0,
            _ => return ANY,
        };
        let mut types = members.get("type").map_or(ANY, named_types);
        if let Some(Value::Array(values)) = members.get("enum") {
            types &= values.iter().fold(0, |types, value| types | type_of(value));
        }
        if let Some(value) = members.get("const") {
            types &= type_of(value);
        }
        if let Some(referred) = self.referred(schema) {
            types &= self.types_of(referred, depth + 1);
        }
        for schema in list(schema, "allOf") {
            types &= self.types_of(schema, depth + 1);
        }
        for branches in ["anyOf", "oneOf"] {
            let branches = list(schema, branches);
            if !branches.is_empty() {
                types &= branches
                    .iter()
                    .fold(0, |types, schema| types | self.types_of(schema, depth + 1));
            }
        }
        types
    }

    fn collect(
        &mut self,
        schema: &'s Value,
        find: &impl Fn(&'s Value, &mut Found<'s>),
        below: &mut Place<'s>,
        depth: u32,
    ) {
        if !self.step(depth) {
            return;
        }
        find(schema, &mut below.all);
        if let Some(referred) = self.referred(schema) {
            self.collect(referred, find, below, depth + 1);
        }
        for schema in list(schema, "allOf") {
            self.collect(schema, find, below, depth + 1);
        }
        for branches in ["anyOf", "oneOf"] {
            let mut group = Place::default();
            for schema in list(schema, branches) {
                self.collect(schema, find, &mut group, depth + 1);
            }
            if !group.all.is_empty() {
                below.groups.push(group.all);
            }
            below.groups.extend(group.groups);
        }
    }
}

fn list<'s>(schema: &'s Value, keyword: &str) -> &'s [Value] {
    schema
        .get(keyword)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn named_types(value: &Value) -> Types {
    match value {
        Value::String(name) => named_type(name),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .fold(0, |types, name| types | named_type(name)),
        _ => ANY,
    }
}

fn named_type(name: &str) -> Types {
    match name {
        "null" => NULL,
        "boolean" => BOOLEAN,
        "integer" => INTEGER,
        "number" => NUMBER | INTEGER,
        "string" => STRING,
        "array" => ARRAY,
        "object" => OBJECT,
        _ => ANY,
    }
}

fn type_of(value: &Value) -> Types {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOLEAN,
        Value::Number(_) => NUMBER | INTEGER,
        Value::String(_) => STRING,
        Value::Array(_) => ARRAY,
        Value::Object(_) => OBJECT,
    }
}

/// What `schema` itself says of the member `name`.
fn member<'s>(schema: &'s Value, name: &str, found: &mut Found<'s>) {
    let named = schema
        .get("properties")
        .and_then(|properties| properties.get(name));
    match named {
        Some(named) => found.push(named),
        // Patterns are the validator's: where there are any, what else a member may be is not known here.
        None if schema.get("patternProperties").is_none() => found.extend(schema.get("additionalProperties")),
        None => {}
    }
}

/// What `schema` itself says of the element at `position`.
fn element<'s>(schema: &'s Value, position: usize, found: &mut Found<'s>) {
    let items = schema.get("items");
    let prefix = match (schema.get("prefixItems"), items) {
        (Some(Value::Array(prefix)), _) | (None, Some(Value::Array(prefix))) => prefix.as_slice(),
        _ => &[],
    };
    let rest = if matches!(items, Some(Value::Array(_))) {
        schema.get("additionalItems")
    } else {
        items
    };
    found.extend(prefix.get(position).or(rest));
}
