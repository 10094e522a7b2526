//! What a schema's text says of itself and of others.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::uri::{from_str, resolve_against};
use memchr::memmem;
use serde_json::Value;

use crate::{
    json::pointer_escaped,
    validate::{
        compatibility::{Draft, SUBSCHEMA_MAPS},
        compile::parse,
    },
};

const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
/// Their values are data, whatever they look like.
const DATA: [&str; 5] = ["const", "default", "enum", "example", "examples"];
/// The base of a text that gives itself no URI; the validator's own.
const NO_BASE: &str = "json-schema:///";
const METASCHEMAS: [&str; 2] = ["https://json-schema.org/draft/", "http://json-schema.org/draft-"];

/// URIs without fragments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The URI that the text gives itself.
    pub id: Option<String>,
    /// That one, and those of the schemas inside it.
    pub own: BTreeSet<String>,
    /// The other documents that it refers to, each with a pointer to where it does.
    pub refers: BTreeMap<String, String>,
}

impl Outline {
    /// Of a registered text; a text that is no schema refers to nothing.
    pub fn of(text: &str) -> Outline {
        if is_plain(text.as_bytes()) {
            return Outline::default();
        }
        parse(text)
            .map(|schema| Outline::of_value(&schema))
            .unwrap_or_default()
    }

    pub fn of_value(schema: &Value) -> Outline {
        let mut outline = Outline::default();
        let draft = Draft::of(schema);
        let mut referred = BTreeMap::new();
        let base = outline.walk(schema, draft, "", NO_BASE, &mut referred);
        outline.id = base.filter(|base| base != NO_BASE && !is_metaschema(base));
        outline.own.retain(|id| !is_metaschema(id));
        referred
            .retain(|uri: &String, _| uri != NO_BASE && !outline.own.contains(uri) && !is_metaschema(uri));
        outline.refers = referred;
        outline
    }

    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.refers.is_empty()
    }

    /// Every object may be a schema: a reference may lead to any place of a document.
    fn walk(
        &mut self,
        schema: &Value,
        draft: Draft,
        pointer: &str,
        base: &str,
        referred: &mut BTreeMap<String, String>,
    ) -> Option<String> {
        match schema {
            Value::Object(members) => {
                let own = self.own_base(members, draft, base);
                let base = own.as_deref().unwrap_or(base);
                for keyword in REFERENCES {
                    if let Some(reference) = members.get(keyword).and_then(Value::as_str)
                        && let Some(uri) = joined(base, reference)
                    {
                        referred
                            .entry(uri)
                            .or_insert_with(|| format!("{pointer}/{keyword}"));
                    }
                }
                for (name, value) in members {
                    if DATA.contains(&name.as_str()) {
                        continue;
                    }
                    let pointer = format!("{pointer}/{}", pointer_escaped(name));
                    match value {
                        Value::Object(map) if SUBSCHEMA_MAPS.contains(&name.as_str()) => {
                            for (key, inner) in map {
                                let pointer = format!("{pointer}/{}", pointer_escaped(key));
                                self.walk(inner, draft, &pointer, base, referred);
                            }
                        }
                        _ => {
                            self.walk(value, draft, &pointer, base, referred);
                        }
                    }
                }
                own
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(item, draft, &format!("{pointer}/{index}"), base, referred);
                }
                None
            }
            _ => None,
        }
    }

    /// The base that an object has by its `$id`.
    fn own_base(
        &mut self,
        members: &serde_json::Map<String, Value>,
        draft: Draft,
        base: &str,
    ) -> Option<String> {
        let keyword = if draft == Draft::Four { "id" } else { "$id" };
        // Beside a reference the older drafts look at nothing.
        if draft <= Draft::Seven && members.contains_key("$ref") {
            return None;
        }
        let id = members.get(keyword)?.as_str()?;
        if id.starts_with('#') {
            return None;
        }
        let own = joined(base, id)?;
        self.own.insert(own.clone());
        Some(own)
    }
}

/// Whether it says nothing of itself and refers to nothing but itself: true only where that is sure.
fn is_plain(text: &[u8]) -> bool {
    // A backslash may spell any keyword.
    let names_itself = [&br#""$id""#[..], b"draft-04/", b"\\u"]
        .iter()
        .any(|name| memmem::find(text, name).is_some());
    !names_itself
        && memmem::find_iter(text, br#"ef""#).all(|at| {
            let after = text[at + 3..].trim_ascii_start();
            let value = after.strip_prefix(b":").unwrap_or_default().trim_ascii_start();
            // Another value than a text is no reference.
            !value.starts_with(b"\"") || value.starts_with(b"\"#")
        })
}

fn is_metaschema(uri: &str) -> bool {
    METASCHEMAS.iter().any(|start| uri.starts_with(start))
}

/// `reference` against `base`, without its fragment, exactly as the validator joins them.
fn joined(base: &str, reference: &str) -> Option<String> {
    let base = from_str(base).ok()?;
    let mut uri = resolve_against(&base.borrow(), reference).ok()?;
    uri.set_fragment(None);
    Some(uri.to_string())
}
