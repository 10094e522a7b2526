//! The last word: the validators themselves on an example, and the schema crate's own algebra on what is left.

use bytes::Bytes;
use jsonschema::{
    PatternOptions, Validator,
    canonical::{CanonicalSchema, Containment, Satisfiability},
};
use serde_json::{Value, json};

use super::{prove::Open, read::Source};
use crate::{
    json::{Document, TapeJson},
    limits::DEPTH_CEILING,
    validate::compile,
};

/// The longest difference that is shown in full, in bytes of its JSON.
const DIFFERENCE_BYTES_MAX: usize = 4 << 10;
/// The algebra is asked about schemas up to this many bytes: nothing else bounds what it does.
const ALGEBRA_BYTES_MAX: usize = 1 << 10;

pub struct Judge {
    validator: Validator<TapeJson>,
}

impl Judge {
    pub fn new(source: &Source) -> Result<Judge, String> {
        let validator = compile::build(&source.root, &source.library)
            .map_err(|fault| format!("{}: {}", fault.pointer, fault.message))?;
        Ok(Judge { validator })
    }

    fn document(value: &Value) -> Option<Document> {
        let text = serde_json::to_vec(value).ok()?;
        Document::parse(Bytes::from(text), DEPTH_CEILING).ok()
    }

    pub fn accepts(&self, value: &Value) -> bool {
        // What is no event can be refused by no schema.
        Judge::document(value).is_none_or(|document| self.validator.is_valid(document.root()))
    }
}

fn canonical(source: &Source, schema: &Value) -> Option<CanonicalSchema> {
    if !source.library.is_empty() || schema.to_string().len() > ALGEBRA_BYTES_MAX {
        return None;
    }
    let options = jsonschema::canonical::options()
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex());
    options.canonicalize(schema).ok()
}

/// Whether the crate's algebra proves that `wide` covers `narrow`. Asked last: it knows identities that the tableau does
/// not, and gives up on much else.
pub fn is_covered(narrow: &Source, wide: &Source) -> bool {
    let Some(wide_form) = canonical(wide, &wide.root) else {
        return false;
    };
    let covers = |schema: &Value| {
        canonical(narrow, schema)
            .is_some_and(|narrow| matches!(wide_form.covers(&narrow), Ok(Containment::Yes)))
    };
    let mut closed = narrow.root.as_ref().clone();
    close(&mut closed);
    covers(&closed) || covers(&narrow.root)
}

/// Applicators whose schemas may name members of the same object.
const IN_PLACE: [&str; 9] = [
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "allOf",
    "anyOf",
    "oneOf",
    "if",
    "dependencies",
    "dependentSchemas",
];

/// Closes the objects that nothing beside names members of, and that stand in no negation.
fn close(schema: &mut Value) {
    let Value::Object(members) = schema else {
        return;
    };
    let names_some = ["properties", "patternProperties"].iter().any(|keyword| {
        members
            .get(*keyword)
            .and_then(Value::as_object)
            .is_some_and(|map| !map.is_empty())
    });
    let silent = ["additionalProperties", "unevaluatedProperties"]
        .iter()
        .chain(&IN_PLACE)
        .all(|keyword| !members.contains_key(*keyword));
    if names_some && silent {
        let required: Vec<String> = members
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let named = members.entry("properties").or_insert_with(|| json!({}));
        if let Value::Object(named) = named {
            for name in required {
                named.entry(name).or_insert_with(|| json!({}));
            }
        }
        members.insert("additionalProperties".to_owned(), json!(false));
    }
    for (keyword, value) in members.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(map)) => {
                map.values_mut().for_each(close);
            }
            ("items" | "prefixItems", Value::Array(list)) => list.iter_mut().for_each(close),
            ("items" | "additionalProperties", value @ Value::Object(_)) => close(value),
            _ => {}
        }
    }
}

/// What `narrow` accepts and `wide` refuses: the whole difference where the algebra can write it down shortly, else the
/// part of it that the example shows.
pub fn difference(narrow: &Source, wide: &Source, open: &Open, example: &Value) -> Value {
    let shows_example = |schema: &Value| {
        let options = jsonschema::options().offline().should_validate_formats(true);
        options
            .build(schema)
            .is_ok_and(|validator| validator.is_valid(example))
    };
    let fits = |schema: &Value| schema.to_string().len() <= DIFFERENCE_BYTES_MAX && shows_example(schema);
    let part = open.difference.as_ref().filter(|part| fits(part)).map(|part| {
        let options = jsonschema::canonical::options()
            .should_validate_formats(true)
            .offline();
        let short = options.canonicalize(part).map(|form| form.to_json_schema());
        short
            .ok()
            .filter(|short| fits(short))
            .unwrap_or_else(|| part.clone())
    });
    let whole = || {
        let mut closed = narrow.root.as_ref().clone();
        close(&mut closed);
        let taken = canonical(narrow, &closed)?;
        let left = taken.subtract(&canonical(wide, &wide.root)?).ok()?;
        (left.satisfiability() != Satisfiability::No)
            .then(|| left.to_json_schema())
            .filter(fits)
    };
    part.or_else(whole).unwrap_or_else(|| json!({ "const": example }))
}
