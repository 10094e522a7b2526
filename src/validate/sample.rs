//! Values that a schema accepts, made up: to try what is done to events before there are any.
//!
//! A value has only members that the schema names. What is made is a guess, held against the compiled schema before it
//! is used, so that a keyword that is not understood here costs values and never truth.

mod pattern;
mod text;

use serde_json::{Map, Number, Value};

/// Levels of nested subschemas that are followed; deeper ones get the simplest value.
const DEPTH_MAX: u32 = 24;
/// Elements and characters beyond what a schema asks for at least.
const EXTRA_MAX: u64 = 3;
/// An array that must be longer is not tried.
const ELEMENTS_MAX: u64 = 200;

/// Numbers that look random and are the same each time.
pub(super) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `bound` - 1; 0 where the bound is 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn pick<'v, T>(&mut self, values: &'v [T]) -> Option<&'v T> {
        values.get(usize::try_from(self.below(values.len() as u64)).unwrap_or_default())
    }
}

/// How much of what may be left out is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fullness {
    Everything,
    Required,
    Some,
}

pub(super) struct Sampler<'s> {
    root: &'s Value,
    dice: Dice,
    fullness: Fullness,
}

impl<'s> Sampler<'s> {
    pub(super) fn new(root: &'s Value) -> Sampler<'s> {
        Sampler {
            root,
            dice: Dice(7),
            fullness: Fullness::Everything,
        }
    }

    /// The `index`th value. The first has every member, the second only what must be there.
    pub(super) fn value(&mut self, index: u64) -> Value {
        self.dice = Dice(index.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1));
        self.fullness = match index {
            0 => Fullness::Everything,
            1 => Fullness::Required,
            _ => Fullness::Some,
        };
        self.of(self.root, 0)
    }

    fn of(&mut self, schema: &Value, depth: u32) -> Value {
        if depth > DEPTH_MAX {
            return Value::Null;
        }
        let keywords = match schema {
            Value::Object(keywords) => self.flat(keywords, depth),
            _ => return Value::from(self.dice.below(10)),
        };
        if let Some(constant) = keywords.get("const") {
            return constant.clone();
        }
        if let Some(Value::Array(values)) = keywords.get("enum") {
            return self.dice.pick(values).cloned().unwrap_or_default();
        }
        match self.kind(&keywords) {
            "null" => Value::Null,
            "boolean" => Value::Bool(self.dice.below(2) == 0),
            "integer" => self.number(&keywords, true),
            "number" => self.number(&keywords, false),
            "array" => self.array(&keywords, depth),
            "object" => self.object(&keywords, depth),
            _ => Value::String(text::of(&keywords, &mut self.dice)),
        }
    }

    /// One of the types that the schema allows, or the one that its keywords speak of.
    fn kind(&mut self, keywords: &Map<String, Value>) -> &'static str {
        const KINDS: [&str; 7] = [
            "null", "boolean", "integer", "number", "array", "object", "string",
        ];
        let known = |name: &Value| KINDS.into_iter().find(|kind| name == kind);
        match keywords.get("type") {
            Some(Value::Array(names)) => {
                let names: Vec<&'static str> = names.iter().filter_map(known).collect();
                self.dice.pick(&names).copied().unwrap_or("string")
            }
            Some(name) => known(name).unwrap_or("string"),
            None => {
                let speaks_of = |names: &[&str]| names.iter().any(|name| keywords.contains_key(*name));
                if speaks_of(&[
                    "properties",
                    "required",
                    "additionalProperties",
                    "dependentRequired",
                ]) {
                    "object"
                } else if speaks_of(&["items", "prefixItems", "minItems", "contains"]) {
                    "array"
                } else if speaks_of(&["minimum", "maximum", "exclusiveMinimum", "multipleOf"]) {
                    "number"
                } else {
                    "string"
                }
            }
        }
    }

    /// The schema with what its references, `allOf`, and one branch of each choice say, in one level.
    fn flat(&mut self, keywords: &Map<String, Value>, depth: u32) -> Map<String, Value> {
        let mut flat = Map::new();
        if depth > DEPTH_MAX {
            return flat;
        }
        let mut parts: Vec<Value> = Vec::new();
        for (name, value) in keywords {
            match (name.as_str(), value) {
                ("$ref" | "$dynamicRef", Value::String(reference)) => {
                    parts.extend(self.target(reference).cloned());
                }
                ("allOf", Value::Array(all)) => parts.extend(all.iter().cloned()),
                ("anyOf" | "oneOf", Value::Array(branches)) => {
                    parts.extend(self.dice.pick(branches).cloned())
                }
                ("if", condition) => match (self.dice.below(2), keywords.get("then"), keywords.get("else")) {
                    (0, then, _) => parts.extend([Some(condition), then].into_iter().flatten().cloned()),
                    (_, _, otherwise) => parts.extend(otherwise.cloned()),
                },
                ("then" | "else" | "$defs" | "definitions", _) => {}
                _ => merge(&mut flat, name, value),
            }
        }
        for part in parts {
            if let Value::Object(keywords) = part {
                for (name, value) in self.flat(&keywords, depth + 1) {
                    merge(&mut flat, &name, &value);
                }
            }
        }
        flat
    }

    fn target(&self, reference: &str) -> Option<&'s Value> {
        let fragment = reference.strip_prefix('#')?;
        let decoded = percent_encoding::percent_decode_str(fragment)
            .decode_utf8()
            .ok()?;
        self.root.pointer(&decoded)
    }

    fn object(&mut self, keywords: &Map<String, Value>, depth: u32) -> Value {
        let empty = Map::new();
        let properties = keywords
            .get("properties")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let required = |value: &Value| -> Vec<String> {
            let names = value.as_array().into_iter().flatten();
            names.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let mut names = keywords.get("required").map(&required).unwrap_or_default();
        for name in properties.keys() {
            let is_there = match self.fullness {
                Fullness::Everything => true,
                Fullness::Required => false,
                Fullness::Some => self.dice.below(2) == 0,
            };
            if is_there && properties.get(name) != Some(&Value::Bool(false)) {
                names.push(name.clone());
            }
        }
        let dependent = ["dependentRequired", "dependencies"];
        for rules in dependent
            .iter()
            .filter_map(|name| keywords.get(*name)?.as_object())
        {
            for (name, needed) in rules {
                if names.contains(name) {
                    names.extend(required(needed));
                }
            }
        }
        names.sort();
        names.dedup();
        let others = keywords
            .get("additionalProperties")
            .unwrap_or(&Value::Bool(true))
            .clone();
        let mut members = Map::new();
        for name in names {
            let schema = properties.get(&name).unwrap_or(&others).clone();
            members.insert(name, self.of(&schema, depth + 1));
        }
        Value::Object(members)
    }

    fn array(&mut self, keywords: &Map<String, Value>, depth: u32) -> Value {
        let bound = |name| keywords.get(name).and_then(Value::as_u64);
        let least = bound("minItems").unwrap_or(0);
        let most = bound("maxItems")
            .unwrap_or(u64::MAX)
            .min(least + EXTRA_MAX)
            .min(ELEMENTS_MAX);
        let first = ["prefixItems", "items"]
            .iter()
            .find_map(|name| keywords.get(*name)?.as_array())
            .cloned()
            .unwrap_or_default();
        let rest = match keywords.get("items") {
            Some(Value::Array(_)) | None => keywords.get("additionalItems").cloned(),
            Some(items) => Some(items.clone()),
        };
        let count = match self.fullness {
            Fullness::Everything => most
                .max(first.len() as u64)
                .min(bound("maxItems").unwrap_or(u64::MAX)),
            Fullness::Required => least,
            Fullness::Some => least + self.dice.below(most.saturating_sub(least) + 1),
        };
        let mut elements: Vec<Value> = Vec::new();
        for index in 0..usize::try_from(count).unwrap_or_default() {
            let schema = first
                .get(index)
                .or(rest.as_ref())
                .cloned()
                .unwrap_or(Value::Bool(true));
            let element = self.of(&schema, depth + 1);
            let unique = keywords.get("uniqueItems") == Some(&Value::Bool(true));
            if !(unique && elements.contains(&element)) {
                elements.push(element);
            }
        }
        if let Some(wanted) = keywords.get("contains") {
            elements.push(self.of(&wanted.clone(), depth + 1));
        }
        Value::Array(elements)
    }

    fn number(&mut self, keywords: &Map<String, Value>, whole: bool) -> Value {
        let limit = |name| keywords.get(name).and_then(Value::as_f64);
        // In draft 4 `exclusiveMinimum` is a boolean beside `minimum`.
        let excludes = |name| keywords.get(name) == Some(&Value::Bool(true));
        let step = limit("multipleOf").filter(|step| *step > 0.0).unwrap_or(1.0);
        let above =
            |bound: Option<f64>, open: bool| bound.map(|bound| if open { bound + step } else { bound });
        let below =
            |bound: Option<f64>, open: bool| bound.map(|bound| if open { bound - step } else { bound });
        let least =
            above(limit("minimum"), excludes("exclusiveMinimum")).or(above(limit("exclusiveMinimum"), true));
        let most =
            below(limit("maximum"), excludes("exclusiveMaximum")).or(below(limit("exclusiveMaximum"), true));
        let (least, most) = match (least, most) {
            (Some(least), Some(most)) => (least, most),
            (Some(least), None) => (least, least + 1000.0 * step),
            (None, Some(most)) => (most - 1000.0 * step, most),
            (None, None) => (-10.0 * step, 1000.0 * step),
        };
        let share = self.dice.below(1001) as f64 / 1000.0;
        let drawn = match self.dice.below(4) {
            0 => least,
            1 => most,
            _ => least + (most - least) * share,
        };
        let has_step = whole || keywords.contains_key("multipleOf");
        let number = if has_step {
            (drawn / step).round() * step
        } else {
            drawn
        };
        if whole || (number.fract() == 0.0 && number.abs() < 9e15 && self.dice.below(2) == 0) {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the cast saturates, and the schema is asked after"
            )]
            return Value::from(number.round() as i64);
        }
        Number::from_f64(number).map_or(Value::Null, Value::Number)
    }
}

/// Adds a keyword to others that must hold too.
fn merge(flat: &mut Map<String, Value>, name: &str, value: &Value) {
    let Some(known) = flat.get_mut(name) else {
        flat.insert(name.to_owned(), value.clone());
        return;
    };
    match (name, &mut *known, value) {
        ("properties" | "dependentRequired", Value::Object(known), Value::Object(more)) => {
            for (member, schema) in more {
                match known.get_mut(member) {
                    Some(other) => *other = serde_json::json!({ "allOf": [other.take(), schema] }),
                    None => {
                        known.insert(member.clone(), schema.clone());
                    }
                }
            }
        }
        ("required", Value::Array(known), Value::Array(more)) => known.extend(more.iter().cloned()),
        ("enum", Value::Array(known), Value::Array(more)) => known.retain(|value| more.contains(value)),
        ("type", Value::Array(known), Value::Array(more)) => known.retain(|value| more.contains(value)),
        ("minimum" | "exclusiveMinimum" | "minLength" | "minItems", _, _) => {
            if value.as_f64() > known.as_f64() {
                *known = value.clone();
            }
        }
        ("maximum" | "exclusiveMaximum" | "maxLength" | "maxItems", _, _) => {
            if value.as_f64() < known.as_f64() {
                *known = value.clone();
            }
        }
        ("type", Value::Array(_), _) => *known = value.clone(),
        ("type", Value::String(_), Value::Array(_)) => {}
        _ => *known = value.clone(),
    }
}

#[cfg(test)]
mod tests;
