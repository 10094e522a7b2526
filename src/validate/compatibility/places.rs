//! Where the schemas of one document stand, and by which names references find them.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::read::Draft;
use crate::json::pointer_escaped;

/// Keywords whose values are schemas …
const SUBSCHEMAS: [&str; 14] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "allOf",
    "anyOf",
];
/// … or lists or maps of schemas.
const SUBSCHEMA_LISTS: [&str; 3] = ["oneOf", "prefixItems", "items"];
pub const SUBSCHEMA_MAPS: [&str; 6] = [
    "$defs",
    "definitions",
    "dependencies",
    "dependentSchemas",
    "patternProperties",
    "properties",
];

/// The schemas inside `schema`, with what leads to each.
pub fn subschemas<'v>(schema: &'v Map<String, Value>, mut visit: impl FnMut(String, &'v Value)) {
    for (keyword, value) in schema {
        let name = keyword.as_str();
        match value {
            Value::Array(list) if SUBSCHEMAS.contains(&name) || SUBSCHEMA_LISTS.contains(&name) => {
                for (index, item) in list.iter().enumerate() {
                    visit(format!("/{name}/{index}"), item);
                }
            }
            Value::Object(map) if SUBSCHEMA_MAPS.contains(&name) => {
                for (key, item) in map {
                    visit(format!("/{name}/{}", pointer_escaped(key)), item);
                }
            }
            Value::Object(_) | Value::Bool(_) if SUBSCHEMAS.contains(&name) => {
                visit(format!("/{name}"), value)
            }
            _ => {}
        }
    }
}

/// What names places inside one document.
#[derive(Default)]
pub struct Identifiers {
    /// Pointer of each schema that has a base of its own → that base.
    bases: BTreeMap<String, String>,
    /// Base URI, or base URI and `#anchor` → pointer.
    pub places: HashMap<String, String>,
    /// `$dynamicAnchor` or `$recursiveAnchor` stands somewhere: the meaning of dynamic references is open.
    pub dynamic: bool,
}

impl Identifiers {
    pub fn of(document: &Value, draft: Draft) -> Identifiers {
        let mut found = Identifiers::default();
        found.walk(document, draft, String::new(), "");
        found
    }

    fn walk(&mut self, schema: &Value, draft: Draft, pointer: String, base: &str) {
        let Value::Object(members) = schema else {
            return;
        };
        let mut base = base.to_owned();
        let id_keyword = if draft == Draft::Four { "id" } else { "$id" };
        let ignored = draft <= Draft::Seven && members.contains_key("$ref");
        if let Some(id) = members
            .get(id_keyword)
            .and_then(Value::as_str)
            .filter(|_| !ignored)
        {
            match id.strip_prefix('#') {
                Some(anchor) if draft <= Draft::Seven => {
                    self.places.insert(format!("{base}#{anchor}"), pointer.clone());
                }
                _ => {
                    base = joined(&base, id).trim_end_matches('#').to_owned();
                    self.bases.insert(pointer.clone(), base.clone());
                    self.places.insert(base.clone(), pointer.clone());
                }
            }
        }
        for keyword in ["$anchor", "$dynamicAnchor"] {
            if let Some(anchor) = members.get(keyword).and_then(Value::as_str) {
                self.places.insert(format!("{base}#{anchor}"), pointer.clone());
            }
        }
        self.dynamic |= members.contains_key("$dynamicAnchor") || members.contains_key("$recursiveAnchor");
        subschemas(members, |segment, inner| {
            self.walk(inner, draft, format!("{pointer}{segment}"), &base);
        });
    }

    /// The base that counts at `pointer`, and the pointer of the schema that has it.
    pub fn base_at(&self, pointer: &str) -> (&str, &str) {
        self.bases
            .iter()
            .filter(|(at, _)| {
                pointer == at.as_str()
                    || pointer
                        .strip_prefix(at.as_str())
                        .is_some_and(|rest| rest.starts_with('/'))
            })
            .max_by_key(|(at, _)| at.len())
            .map_or(("", ""), |(at, base)| (base.as_str(), at.as_str()))
    }
}

fn has_scheme(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|one| one.is_ascii_alphanumeric() || "+-.".contains(one))
    })
}

/// `reference` against `base`, for the forms that schemas use.
pub fn joined(base: &str, reference: &str) -> String {
    if has_scheme(reference) || base.is_empty() {
        return reference.to_owned();
    }
    let base = base.split('#').next().unwrap_or_default();
    if reference.starts_with('#') || reference.is_empty() {
        return format!("{base}{reference}");
    }
    let root = base
        .find("://")
        .and_then(|scheme| base[scheme + 3..].find('/').map(|slash| scheme + 3 + slash));
    match (reference.strip_prefix('/'), root) {
        (Some(path), Some(root)) => format!("{}/{path}", &base[..root]),
        _ => format!("{}{reference}", &base[..=base.rfind('/').unwrap_or(0)]),
    }
}
