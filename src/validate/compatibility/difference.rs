//! What one schema accepts and the other refuses, as a schema: the part of it that the example shows.

use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::{
    facts::Facts,
    node::{Atom, Kind, Numbers, Types},
    prove::Edit,
};

/// A schema of the values that the facts allow and that break all of `atoms`; none where it cannot be written without
/// the documents that it comes from. `inner` is that of the member or item that breaks them.
pub fn of(
    facts: &Facts,
    kind: Kind,
    atoms: &[Rc<Atom>],
    edits: &[Edit],
    inner: Option<Value>,
) -> Option<Value> {
    let mut schema = Map::new();
    if let [edit] = edits {
        match (edit, &inner) {
            (Edit::Set(name, _), inner) => {
                schema.insert("required".to_owned(), json!([name]));
                if let Some(inner) = inner {
                    schema.insert("properties".to_owned(), json!({ name: inner }));
                }
                schema.insert("type".to_owned(), json!("object"));
                return Some(Value::Object(schema));
            }
            (Edit::Remove(name), _) => {
                return Some(json!({ "type": "object", "properties": { name: false } }));
            }
            (Edit::Item(..), Some(inner)) => return Some(json!({ "type": "array", "contains": inner })),
            _ => {}
        }
    }
    if matches!(kind, Kind::Object | Kind::Array) && atoms.iter().any(|atom| written(atom).is_none()) {
        return None;
    }
    schema.insert("type".to_owned(), type_name(facts.types)?);
    for atom in facts.each().filter(|atom| atom.kind() == Some(kind)) {
        for (keyword, value) in written(atom).unwrap_or_default() {
            schema.entry(keyword).or_insert(value);
        }
    }
    let refused: Option<Vec<Value>> = atoms
        .iter()
        .map(|atom| written(atom).map(Value::Object))
        .collect();
    let mut refused = refused?;
    let refused = match refused.len() {
        1 => refused.pop()?,
        _ => json!({ "anyOf": refused }),
    };
    schema.insert("not".to_owned(), refused);
    Some(Value::Object(schema))
}

fn type_name(types: Types) -> Option<Value> {
    let kind = types.kinds().next()?;
    Some(json!(match kind {
        Kind::Null => "null",
        Kind::Boolean => "boolean",
        Kind::Number if types.number <= Numbers::Integral => "integer",
        Kind::Number => "number",
        Kind::String => "string",
        Kind::Array => "array",
        Kind::Object => "object",
    }))
}

/// An assertion that needs no other schema, in the words of draft 2020-12.
fn written(atom: &Atom) -> Option<Map<String, Value>> {
    let one = |keyword: &str, value: Value| Some(Map::from_iter([(keyword.to_owned(), value)]));
    match atom {
        Atom::Types(types) => {
            let names: Vec<Value> = types
                .kinds()
                .filter_map(|kind| {
                    let number = if kind == Kind::Number {
                        types.number
                    } else {
                        Numbers::None
                    };
                    type_name(Types {
                        number,
                        ..Types::NONE.with(kind)
                    })
                })
                .collect();
            one("type", Value::Array(names))
        }
        Atom::Enum(values) => one("enum", Value::Array(values.clone())),
        Atom::AtLeast { limit, .. } | Atom::AtMost { limit, .. } | Atom::MultipleOf(limit) => {
            one(atom.keyword(), Value::Number(limit.clone()))
        }
        Atom::LengthAtLeast(count)
        | Atom::LengthAtMost(count)
        | Atom::ItemsAtLeast(count)
        | Atom::ItemsAtMost(count)
        | Atom::PropertiesAtLeast(count)
        | Atom::PropertiesAtMost(count) => one(atom.keyword(), json!(count)),
        Atom::Pattern(pattern) => one("pattern", json!(pattern)),
        Atom::Format { name, .. } => one("format", json!(name)),
        Atom::Unique => one("uniqueItems", json!(true)),
        Atom::Required(name) => one("required", json!([name])),
        Atom::Absent(name) => one("properties", json!({ name: false })),
        _ => None,
    }
}
