//! From a query string's texts to JSON, guided by the event's schema. Where the schema says nothing, or allows a
//! string, a text stays a string.

use serde_json::Value;
use smallvec::SmallVec;

use super::{
    Context,
    attributes::{Defaults, Given},
    framing,
    query::Tree,
};
use crate::{
    event::{Decoded, Undecoded},
    json::{Document, write_string},
    limits::COERCION_STEPS,
    problem::{Code, Problem},
};

/// The one event of a query string.
pub(super) fn event(
    tree: Tree,
    defaults: &mut Defaults<'_>,
    context: &Context<'_>,
) -> Result<Result<Decoded, Undecoded>, Problem> {
    let resolved = match defaults.resolve(Given::default()) {
        Ok(resolved) => resolved,
        Err(undecoded) => return Ok(Err(undecoded)),
    };
    let attributes = &resolved.attributes;
    let schema = context.hints.schema(
        &attributes.event_type,
        &attributes.source,
        attributes.app_version.as_deref(),
    );
    let text = to_json(&tree, schema.as_deref());
    let document = Document::parse(text.into(), context.limits.depth).map_err(|_| {
        Problem::new(
            Code::QueryMalformed,
            format!(
                "a name of the query string nests more than {} times",
                context.limits.depth
            ),
        )
    })?;
    Ok(framing::bounded(resolved, context, &document, document.root()))
}

fn to_json(tree: &Tree, schema: Option<&Value>) -> Vec<u8> {
    let mut writer = Writer {
        text: Vec::with_capacity(256),
        schema: schema.map(|root| Guide {
            root,
            steps_left: COERCION_STEPS,
        }),
    };
    let whole: Place<'_> = schema.into_iter().collect();
    writer.tree(tree, &whole);
    writer.text
}

/// The JSON types that a place allows.
type Types = u8;
const NULL: Types = 1;
const BOOLEAN: Types = 2;
const INTEGER: Types = 4;
const NUMBER: Types = 8;
const STRING: Types = 16;
const ARRAY: Types = 32;
const OBJECT: Types = 64;
const ANY: Types = 127;

/// The subschemas that all apply at one place; of branches (`anyOf`, `oneOf`), one of each group does.
#[derive(Clone, Default)]
struct Place<'s> {
    all: SmallVec<[&'s Value; 4]>,
    groups: SmallVec<[SmallVec<[&'s Value; 4]>; 1]>,
}

impl<'s> FromIterator<&'s Value> for Place<'s> {
    fn from_iter<I: IntoIterator<Item = &'s Value>>(schemas: I) -> Place<'s> {
        Place {
            all: schemas.into_iter().collect(),
            groups: SmallVec::new(),
        }
    }
}

/// `$ref`, `allOf`, `anyOf` and `oneOf` within each other at one place.
const APPLICATORS: u32 = 16;

/// A schema document, and how much reading of it is left to this request.
struct Guide<'s> {
    root: &'s Value,
    steps_left: u32,
}

struct Writer<'s> {
    text: Vec<u8>,
    schema: Option<Guide<'s>>,
}

impl<'s> Writer<'s> {
    fn tree(&mut self, tree: &Tree, place: &Place<'s>) {
        match tree {
            Tree::Text(text) => self.text(text, place),
            Tree::Texts(texts) => self.array(texts.iter(), place),
            Tree::Members(members) => {
                if let Some(elements) = self.as_elements(members, place) {
                    self.trees(&elements, place);
                    return;
                }
                self.text.push(b'{');
                for (position, (name, tree)) in members.iter().enumerate() {
                    if position > 0 {
                        self.text.push(b',');
                    }
                    write_string(&mut self.text, name);
                    self.text.push(b':');
                    let member = self.descend(place, |schema, found| member(schema, name, found));
                    self.tree(tree, &member);
                }
                self.text.push(b'}');
            }
        }
    }

    fn text(&mut self, text: &str, place: &Place<'s>) {
        let types = self.types(place);
        if types & STRING == 0 {
            let is_number = types & (INTEGER | NUMBER) != 0 && is_json_number(text);
            let is_boolean = types & BOOLEAN != 0 && matches!(text, "true" | "false");
            if is_number || is_boolean {
                self.text.extend_from_slice(text.as_bytes());
                return;
            }
            if types & ARRAY != 0 {
                self.array(std::iter::once(text), place);
                return;
            }
        }
        write_string(&mut self.text, text);
    }

    fn array(&mut self, texts: impl Iterator<Item = impl AsRef<str>>, place: &Place<'s>) {
        self.text.push(b'[');
        for (position, text) in texts.enumerate() {
            if position > 0 {
                self.text.push(b',');
            }
            let element = self.descend(place, |schema, found| element(schema, position, found));
            // An array in an array cannot be meant by one text: it would nest for as long as the schema does.
            let types = self.types(&element);
            match types & ARRAY {
                0 => self.text(text.as_ref(), &element),
                _ => write_string(&mut self.text, text.as_ref()),
            }
        }
        self.text.push(b']');
    }

    fn trees(&mut self, trees: &[&Tree], place: &Place<'s>) {
        self.text.push(b'[');
        for (position, tree) in trees.iter().enumerate() {
            if position > 0 {
                self.text.push(b',');
            }
            let element = self.descend(place, |schema, found| element(schema, position, found));
            self.tree(tree, &element);
        }
        self.text.push(b']');
    }

    /// `a[0]=x&a[1]=y` where the schema wants an array and no object.
    fn as_elements<'t>(&mut self, members: &'t [(String, Tree)], place: &Place<'s>) -> Option<Vec<&'t Tree>> {
        let types = self.types(place);
        if members.is_empty() || types & (ARRAY | OBJECT) != ARRAY {
            return None;
        }
        members
            .iter()
            .enumerate()
            .map(|(position, (name, tree))| (*name == position.to_string()).then_some(tree))
            .collect()
    }

    fn types(&mut self, place: &Place<'s>) -> Types {
        let Some(guide) = &mut self.schema else {
            return ANY;
        };
        let all = place
            .all
            .iter()
            .fold(ANY, |types, schema| types & guide.types(schema, 0));
        place.groups.iter().fold(all, |types, group| {
            types
                & group
                    .iter()
                    .fold(0, |types, schema| types | guide.types(schema, 0))
        })
    }

    /// The place below, whose subschemas `find` takes out of each schema that applies here.
    fn descend(
        &mut self,
        place: &Place<'s>,
        find: impl Fn(&'s Value, &mut SmallVec<[&'s Value; 4]>),
    ) -> Place<'s> {
        let mut below = Place::default();
        let Some(guide) = &mut self.schema else {
            return below;
        };
        for schema in &place.all {
            guide.collect(schema, &find, &mut below, 0);
        }
        for group in &place.groups {
            let mut branches = SmallVec::new();
            for schema in group {
                let mut branch = Place::default();
                guide.collect(schema, &find, &mut branch, 0);
                branches.extend(branch.all);
            }
            if !branches.is_empty() {
                below.groups.push(branches);
            }
        }
        below
    }
}

impl<'s> Guide<'s> {
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

    fn types(&mut self, schema: &'s Value, depth: u32) -> Types {
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
            types &= self.types(referred, depth + 1);
        }
        for schema in list(schema, "allOf") {
            types &= self.types(schema, depth + 1);
        }
        for branches in ["anyOf", "oneOf"] {
            let branches = list(schema, branches);
            if !branches.is_empty() {
                types &= branches
                    .iter()
                    .fold(0, |types, schema| types | self.types(schema, depth + 1));
            }
        }
        types
    }

    fn collect(
        &mut self,
        schema: &'s Value,
        find: &impl Fn(&'s Value, &mut SmallVec<[&'s Value; 4]>),
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
fn member<'s>(schema: &'s Value, name: &str, found: &mut SmallVec<[&'s Value; 4]>) {
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
fn element<'s>(schema: &'s Value, position: usize, found: &mut SmallVec<[&'s Value; 4]>) {
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

/// Exactly RFC 8259's `number`, within a double's range.
fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix('-').unwrap_or(text);
    let integer = digits(rest);
    if integer == 0 || (integer > 1 && rest.starts_with('0')) {
        return false;
    }
    let mut rest = rest.get(integer..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix('.') {
        let fraction_digits = digits(fraction);
        if fraction_digits == 0 {
            return false;
        }
        rest = fraction.get(fraction_digits..).unwrap_or_default();
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let exponent_digits = digits(exponent);
        if exponent_digits == 0 {
            return false;
        }
        rest = exponent.get(exponent_digits..).unwrap_or_default();
    }
    rest.is_empty() && text.parse().is_ok_and(f64::is_finite)
}
