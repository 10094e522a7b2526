//! What each keyword asserts, by draft.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    node::{Arena, Atom, Kind, Node, Numbers, Properties, Types},
    read::{Draft, Reader},
};
use crate::json::pointer_escaped;

/// One schema object on its way to atoms.
pub(super) struct OneSchema<'r, 'a, 'v> {
    pub reader: &'r mut Reader<'a>,
    pub members: &'v Map<String, Value>,
    pub document: &'r str,
    pub pointer: String,
    pub draft: Draft,
    pub atoms: Vec<Atom>,
}

impl<'v> OneSchema<'_, '_, 'v> {
    pub fn read(&mut self) {
        if let Some(reference) = self.text("$ref") {
            let atom = self.reader.reference(self.document, &self.pointer, reference);
            self.atoms.push(atom);
            if self.draft <= Draft::Seven {
                return;
            }
        }
        if self.draft == Draft::Of2019 && self.members.contains_key("$recursiveRef") {
            self.dynamic("$recursiveRef");
        }
        if self.draft == Draft::Of2020 && self.members.contains_key("$dynamicRef") {
            self.dynamic("$dynamicRef");
        }
        if !self.pointer.is_empty()
            && self.members.get("$schema").is_some()
            && Draft::of(&Value::Object(self.members.clone())) != self.draft
        {
            let atom = self.reader.arena.opaque("$schema");
            self.atoms.push(atom);
            return;
        }
        self.any_type();
        self.numbers();
        self.strings();
        self.arrays();
        self.objects();
        self.applicators();
        self.unevaluated();
    }

    fn get(&self, keyword: &str) -> Option<&'v Value> {
        self.members.get(keyword)
    }

    fn text(&self, keyword: &str) -> Option<&'v str> {
        self.get(keyword).and_then(Value::as_str)
    }

    fn count(&self, keyword: &str) -> Option<u64> {
        let value = self.get(keyword)?;
        value.as_u64().or_else(|| {
            value
                .as_f64()
                .filter(|float| *float >= 0.0)
                .map(|float| float as u64)
        })
    }

    fn child(&mut self, keyword: &str) -> Option<Node> {
        let value = self.members.get(keyword)?;
        let pointer = format!("{}/{keyword}", self.pointer);
        Some(self.reader.schema(value, self.document, pointer, self.draft))
    }

    fn children(&mut self, keyword: &str) -> Option<Vec<Node>> {
        let list = self.members.get(keyword)?.as_array()?;
        let read = list.iter().enumerate().map(|(index, value)| {
            let pointer = format!("{}/{keyword}/{index}", self.pointer);
            self.reader.schema(value, self.document, pointer, self.draft)
        });
        Some(read.collect())
    }

    fn map(&mut self, keyword: &str) -> Option<BTreeMap<String, Node>> {
        let map = self.members.get(keyword)?.as_object()?;
        let read = map.iter().map(|(key, value)| {
            let pointer = format!("{}/{keyword}/{}", self.pointer, pointer_escaped(key));
            (
                key.clone(),
                self.reader.schema(value, self.document, pointer, self.draft),
            )
        });
        Some(read.collect())
    }

    /// A dynamic reference that nothing can redirect is a plain one.
    fn dynamic(&mut self, keyword: &'static str) {
        let anchored = self.reader.identifiers(self.document).dynamic;
        let atom = match self.text(keyword) {
            Some(reference) if !anchored => self.reader.reference(self.document, &self.pointer, reference),
            _ => self.reader.arena.opaque(keyword),
        };
        self.atoms.push(atom);
    }

    fn any_type(&mut self) {
        let named = |name: &str, draft: Draft| match name {
            "null" => Types::NONE.with(Kind::Null),
            "boolean" => Types::NONE.with(Kind::Boolean),
            "string" => Types::NONE.with(Kind::String),
            "array" => Types::NONE.with(Kind::Array),
            "object" => Types::NONE.with(Kind::Object),
            "number" => Types::NONE.with(Kind::Number),
            "integer" if draft == Draft::Four => Types {
                number: Numbers::Written,
                ..Types::NONE
            },
            "integer" => Types {
                number: Numbers::Integral,
                ..Types::NONE
            },
            _ => Types::NONE,
        };
        let types = match self.get("type") {
            Some(Value::String(name)) => Some(named(name, self.draft)),
            Some(Value::Array(names)) => Some(names.iter().filter_map(Value::as_str).fold(
                Types::NONE,
                |all, name| {
                    let one = named(name, self.draft);
                    Types {
                        null: all.null || one.null,
                        boolean: all.boolean || one.boolean,
                        string: all.string || one.string,
                        array: all.array || one.array,
                        object: all.object || one.object,
                        number: all.number.max(one.number),
                    }
                },
            )),
            _ => None,
        };
        self.atoms.extend(types.map(Atom::Types));
        if let Some(Value::Array(values)) = self.get("enum") {
            self.atoms.push(Atom::Enum(values.clone()));
        }
        if self.draft > Draft::Four
            && let Some(value) = self.get("const")
        {
            self.atoms.push(Atom::Enum(vec![value.clone()]));
        }
    }

    fn numbers(&mut self) {
        let limit = |keyword: &str| match self.members.get(keyword) {
            Some(Value::Number(number)) => Some(number.clone()),
            _ => None,
        };
        let flag = |keyword: &str| {
            self.draft == Draft::Four && self.members.get(keyword) == Some(&Value::Bool(true))
        };
        let mut found = Vec::new();
        found.extend(limit("minimum").map(|limit| Atom::AtLeast {
            limit,
            exclusive: flag("exclusiveMinimum"),
        }));
        found.extend(limit("maximum").map(|limit| Atom::AtMost {
            limit,
            exclusive: flag("exclusiveMaximum"),
        }));
        if self.draft > Draft::Four {
            found.extend(limit("exclusiveMinimum").map(|limit| Atom::AtLeast {
                limit,
                exclusive: true,
            }));
            found.extend(limit("exclusiveMaximum").map(|limit| Atom::AtMost {
                limit,
                exclusive: true,
            }));
        }
        found.extend(limit("multipleOf").map(Atom::MultipleOf));
        self.atoms.extend(found);
    }

    fn strings(&mut self) {
        let mut found = Vec::new();
        found.extend(
            self.count("minLength")
                .filter(|least| *least > 0)
                .map(Atom::LengthAtLeast),
        );
        found.extend(self.count("maxLength").map(Atom::LengthAtMost));
        found.extend(
            self.text("pattern")
                .map(|pattern| Atom::Pattern(pattern.to_owned())),
        );
        if let Some(name) = self.text("format").filter(|name| is_checked(name, self.draft)) {
            found.push(Atom::Format {
                name: name.to_owned(),
                old_hostname: name == "hostname" && self.draft <= Draft::Six,
            });
        }
        if matches!(self.draft, Draft::Six | Draft::Seven) {
            for keyword in ["contentMediaType", "contentEncoding"] {
                found.extend(self.get(keyword).map(|value| Atom::Content {
                    keyword,
                    value: value.clone(),
                }));
            }
        }
        self.atoms.extend(found);
    }

    fn arrays(&mut self) {
        let counts = [
            self.count("minItems")
                .filter(|least| *least > 0)
                .map(Atom::ItemsAtLeast),
            self.count("maxItems").map(Atom::ItemsAtMost),
        ];
        self.atoms.extend(counts.into_iter().flatten());
        if self.get("uniqueItems") == Some(&Value::Bool(true)) {
            self.atoms.push(Atom::Unique);
        }
        let (prefix, rest) = match (self.get("items"), self.draft) {
            (_, Draft::Of2020) => (
                self.children("prefixItems").unwrap_or_default(),
                self.child("items"),
            ),
            (Some(Value::Array(_)), _) => (
                self.children("items").unwrap_or_default(),
                self.child("additionalItems"),
            ),
            _ => (Vec::new(), self.child("items")),
        };
        if !prefix.is_empty() || rest.is_some() {
            self.atoms.push(Atom::Items { prefix, rest });
        }
        if self.draft > Draft::Four
            && let Some(node) = self.child("contains")
        {
            let counted = self.draft >= Draft::Of2019;
            self.atoms.push(Atom::Contains {
                node,
                at_least: self.count("minContains").filter(|_| counted).unwrap_or(1),
                at_most: self.count("maxContains").filter(|_| counted),
            });
        }
    }

    fn objects(&mut self) {
        let counts = [
            self.count("minProperties")
                .filter(|least| *least > 0)
                .map(Atom::PropertiesAtLeast),
            self.count("maxProperties").map(Atom::PropertiesAtMost),
        ];
        self.atoms.extend(counts.into_iter().flatten());
        if let Some(Value::Array(names)) = self.members.get("required") {
            let mut names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            names.sort_unstable();
            names.dedup();
            self.atoms
                .extend(names.into_iter().map(|name| Atom::Required(name.to_owned())));
        }
        let properties = Properties {
            named: self.map("properties").unwrap_or_default(),
            patterns: self.map("patternProperties").unwrap_or_default(),
            additional: self.child("additionalProperties"),
        };
        if properties != Properties::default() {
            self.atoms.push(Atom::Properties(properties));
        }
        if self.draft > Draft::Four
            && let Some(node) = self.child("propertyNames")
        {
            self.atoms.push(Atom::PropertyNames(node));
        }
        self.dependencies();
    }

    fn dependencies(&mut self) {
        let mut keywords = vec!["dependencies"];
        if self.draft >= Draft::Of2019 {
            keywords.extend(["dependentRequired", "dependentSchemas"]);
        }
        for keyword in keywords {
            let Some(Value::Object(map)) = self.members.get(keyword) else {
                continue;
            };
            for (name, value) in map {
                let needed = match value {
                    Value::Array(names) => {
                        let names = names.iter().filter_map(Value::as_str);
                        let atoms = names.map(|name| Atom::Required(name.to_owned())).collect();
                        self.reader.arena.node(atoms)
                    }
                    _ => {
                        let pointer = format!("{}/{keyword}/{}", self.pointer, pointer_escaped(name));
                        self.reader.schema(value, self.document, pointer, self.draft)
                    }
                };
                let absent = self.reader.arena.atom(Atom::Absent(name.clone()));
                self.atoms.push(Atom::Any(vec![absent, needed]));
            }
        }
    }

    fn applicators(&mut self) {
        if let Some(nodes) = self.children("allOf") {
            self.atoms.push(Atom::All(nodes));
        }
        if let Some(nodes) = self.children("anyOf") {
            self.atoms.push(Atom::Any(nodes));
        }
        if let Some(nodes) = self.children("oneOf") {
            self.atoms.push(Atom::One(nodes));
        }
        if let Some(node) = self.child("not") {
            self.atoms.push(Atom::Not(node));
        }
        if self.draft >= Draft::Seven
            && let Some(condition) = self.child("if")
        {
            let (then, otherwise) = (self.child("then"), self.child("else"));
            self.atoms.push(Atom::If {
                condition,
                then: then.unwrap_or(Arena::TRUE),
                otherwise: otherwise.unwrap_or(Arena::TRUE),
            });
        }
    }

    fn unevaluated(&mut self) {
        if self.draft < Draft::Of2019 {
            return;
        }
        let (properties, items) = (
            self.child("unevaluatedProperties"),
            self.child("unevaluatedItems"),
        );
        if properties.is_none() && items.is_none() {
            return;
        }
        let scope = self.reader.arena.node(self.atoms.clone());
        self.atoms
            .extend(properties.map(|node| Atom::UnevaluatedProperties { node, scope }));
        self.atoms
            .extend(items.map(|node| Atom::UnevaluatedItems { node, scope }));
    }
}

/// Whether the validator of the gateway checks this format under this draft.
fn is_checked(name: &str, draft: Draft) -> bool {
    let since = match name {
        "date" | "date-time" | "email" | "hostname" | "idn-email" | "ipv4" | "ipv6" | "regex" | "time"
        | "uri" => Draft::Four,
        "json-pointer" | "uri-reference" | "uri-template" => Draft::Six,
        "idn-hostname" | "iri" | "iri-reference" | "relative-json-pointer" => Draft::Seven,
        "duration" | "uuid" => Draft::Of2019,
        _ => return false,
    };
    draft >= since
}
