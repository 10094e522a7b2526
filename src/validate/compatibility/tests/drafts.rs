//! Generated schemas in older drafts' words.

use proptest::prelude::{Strategy, prop, prop_oneof};
use serde_json::{Value, json};

/// The schema as an older draft spells it; what that draft does not know stays in its place, and says nothing there.
fn spelled(schema: &Value, draft: Draft) -> Value {
    let sub = |value: &Value| spelled(value, draft);
    let Value::Object(members) = schema else {
        return match (schema, draft) {
            (Value::Bool(true), Draft::Four) => json!({}),
            (Value::Bool(false), Draft::Four) => json!({ "not": {} }),
            _ => schema.clone(),
        };
    };
    let many = |value: &Value| -> Value { value.as_array().into_iter().flatten().map(sub).collect() };
    let map = |value: &Value| -> Value {
        let members = value.as_object().into_iter().flatten();
        members.map(|(name, value)| (name.clone(), sub(value))).collect()
    };
    let mut dependencies = serde_json::Map::new();
    let mut new = serde_json::Map::new();
    for (keyword, value) in members {
        let (name, value) = match keyword.as_str() {
            "$defs" => ("definitions", map(value)),
            "$ref" => ("$ref", json!("#/definitions/one")),
            "prefixItems" => ("items", many(value)),
            "items" if members.contains_key("prefixItems") => ("additionalItems", sub(value)),
            "exclusiveMaximum" if draft == Draft::Four => {
                new.insert("maximum".to_owned(), value.clone());
                ("exclusiveMaximum", json!(true))
            }
            "dependentRequired" | "dependentSchemas" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    let value = if value.is_array() {
                        value.clone()
                    } else {
                        sub(value)
                    };
                    dependencies.insert(name.clone(), value);
                }
                continue;
            }
            "allOf" | "anyOf" | "oneOf" => (keyword.as_str(), many(value)),
            "properties" | "patternProperties" => (keyword.as_str(), map(value)),
            "items"
            | "contains"
            | "additionalProperties"
            | "unevaluatedProperties"
            | "propertyNames"
            | "not"
            | "if"
            | "then"
            | "else" => (keyword.as_str(), sub(value)),
            _ => (keyword.as_str(), value.clone()),
        };
        new.insert(name.to_owned(), value);
    }
    if !dependencies.is_empty() {
        new.insert("dependencies".to_owned(), Value::Object(dependencies));
    }
    Value::Object(new)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draft {
    Four,
    Seven,
    Latest,
}

/// Made in the latest draft's words, and said in this draft's.
pub fn in_draft(schema: &Value, draft: Draft) -> Value {
    let uri = match draft {
        Draft::Four => "http://json-schema.org/draft-04/schema#",
        Draft::Seven => "http://json-schema.org/draft-07/schema#",
        Draft::Latest => return schema.clone(),
    };
    let mut schema = spelled(schema, draft);
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".to_owned(), uri.into());
    }
    schema
}

pub fn drafts() -> impl Strategy<Value = (Draft, Draft)> {
    let draft = || prop::sample::select(vec![Draft::Latest, Draft::Seven, Draft::Four]);
    prop_oneof![
        3 => draft().prop_map(|draft| (draft, draft)),
        1 => (draft(), draft()),
    ]
}
