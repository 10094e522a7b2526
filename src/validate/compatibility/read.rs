//! From a schema's JSON, of any draft, to nodes.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::node::{Arena, Atom, Kind, Node, Numbers, Properties, Slot, Types};

/// Drafts in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Draft {
    Four,
    Six,
    Seven,
    Of2019,
    Of2020,
}

impl Draft {
    pub fn of(schema: &Value) -> Draft {
        let uri = schema.get("$schema").and_then(Value::as_str).unwrap_or_default();
        match uri.trim_end_matches('#') {
            "http://json-schema.org/draft-04/schema" => Draft::Four,
            "http://json-schema.org/draft-06/schema" => Draft::Six,
            "http://json-schema.org/draft-07/schema" => Draft::Seven,
            "https://json-schema.org/draft/2019-09/schema" => Draft::Of2019,
            _ => Draft::Of2020,
        }
    }
}

/// A schema with all that its references may lead to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    pub root: Arc<Value>,
    /// Other schemas by URI.
    pub library: Arc<BTreeMap<String, Arc<Value>>>,
}

/// Where a schema stands: the document's URI (empty: the root) and the pointer into it.
type Place = (String, String);

/// Reads documents into one arena.
pub struct Reader<'a> {
    arena: &'a mut Arena,
    source: Source,
    draft: Draft,
    slots: HashMap<Place, Slot>,
    /// Places of another source that mean the same here.
    same: HashMap<Place, Slot>,
    pending: VecDeque<(Place, Slot)>,
    documents: HashMap<String, Arc<Identifiers>>,
}

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
const SUBSCHEMA_MAPS: [&str; 6] = [
    "$defs",
    "definitions",
    "dependencies",
    "dependentSchemas",
    "patternProperties",
    "properties",
];

/// The schemas inside `schema`, with what leads to each.
fn subschemas<'v>(schema: &'v Map<String, Value>, mut visit: impl FnMut(String, &'v Value)) {
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
                    visit(format!("/{name}/{}", escaped(key)), item);
                }
            }
            Value::Object(_) | Value::Bool(_) if SUBSCHEMAS.contains(&name) => {
                visit(format!("/{name}"), value)
            }
            _ => {}
        }
    }
}

pub fn escaped(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

/// What names places inside one document.
#[derive(Default)]
struct Identifiers {
    /// Pointer of each schema that has a base of its own → that base.
    bases: BTreeMap<String, String>,
    /// Base URI, or base URI and `#anchor` → pointer.
    places: HashMap<String, String>,
    /// `$dynamicAnchor` or `$recursiveAnchor` stands somewhere: the meaning of dynamic references is open.
    dynamic: bool,
}

impl Identifiers {
    fn of(document: &Value, draft: Draft) -> Identifiers {
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
    fn base_at(&self, pointer: &str) -> (&str, &str) {
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
fn joined(base: &str, reference: &str) -> String {
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

impl<'a> Reader<'a> {
    pub fn new(arena: &'a mut Arena, source: Source) -> Reader<'a> {
        let draft = Draft::of(&source.root);
        Reader {
            arena,
            source,
            draft,
            slots: HashMap::new(),
            same: HashMap::new(),
            pending: VecDeque::new(),
            documents: HashMap::new(),
        }
    }

    /// Reads the whole; gives the root, and what was read for each reference.
    pub fn read(mut self, known: Option<(&Source, &HashMap<Place, Slot>)>) -> (Node, HashMap<Place, Slot>) {
        if let Some((other, slots)) = known {
            self.same = self.same_as(other, slots);
        }
        let root = Arc::clone(&self.source.root);
        let node = self.schema(&root, "", String::new(), self.draft);
        while let Some(((document, pointer), slot)) = self.pending.pop_front() {
            let Some(whole) = self.document(&document) else {
                continue;
            };
            let draft = if document.is_empty() {
                self.draft
            } else {
                Draft::of(&whole)
            };
            if let Some(value) = whole.pointer(&pointer) {
                let node = self.schema(value, &document, pointer, draft);
                self.arena.fill(slot, node);
            }
        }
        (node, self.slots)
    }

    fn document(&self, uri: &str) -> Option<Arc<Value>> {
        if uri.is_empty() {
            return Some(Arc::clone(&self.source.root));
        }
        self.source.library.get(uri).cloned()
    }

    fn identifiers(&mut self, document: &str) -> Arc<Identifiers> {
        if let Some(known) = self.documents.get(document) {
            return Arc::clone(known);
        }
        let whole = self.document(document).unwrap_or_default();
        let draft = Draft::of(&whole);
        let found = Arc::new(Identifiers::of(&whole, draft));
        self.documents.insert(document.to_owned(), Arc::clone(&found));
        found
    }

    /// Where `reference`, standing at `pointer` of `document`, leads.
    fn resolve(&mut self, document: &str, pointer: &str, reference: &str) -> Option<Place> {
        let identifiers = self.identifiers(document);
        let (base, base_pointer) = identifiers.base_at(pointer);
        let whole = joined(base, reference);
        let (uri, fragment) = whole.split_once('#').unwrap_or((&whole, ""));
        let fragment = percent_encoding::percent_decode_str(fragment)
            .decode_utf8()
            .ok()?;
        let (document, start) = if uri == base {
            (document.to_owned(), base_pointer.to_owned())
        } else if let Some(place) = identifiers.places.get(uri) {
            (document.to_owned(), place.clone())
        } else if self.source.library.contains_key(uri) {
            (uri.to_owned(), String::new())
        } else {
            return None;
        };
        if fragment.is_empty() || fragment.starts_with('/') {
            return Some((document, format!("{start}{fragment}")));
        }
        let identifiers = self.identifiers(&document);
        let base = identifiers.base_at(&start).0;
        let place = identifiers.places.get(&format!("{base}#{fragment}"))?;
        Some((document, place.clone()))
    }

    /// The references of `other` that mean the same here: equal text, all that it leads to included.
    fn same_as(&mut self, other: &Source, slots: &HashMap<Place, Slot>) -> HashMap<Place, Slot> {
        let mut same: HashMap<Place, (Slot, HashSet<Place>)> = HashMap::new();
        for (place, slot) in slots {
            let (document, pointer) = place;
            let theirs = if document.is_empty() {
                Some(&other.root)
            } else {
                other.library.get(document)
            };
            let (Some(theirs), Some(ours)) = (theirs, self.document(document)) else {
                continue;
            };
            let same_draft = Draft::of(theirs) == Draft::of(&ours);
            let (Some(one), Some(two)) = (theirs.pointer(pointer), ours.pointer(pointer)) else {
                continue;
            };
            if same_draft
                && one == two
                && let Some(leads_to) = self.leads_to(two, document, pointer)
            {
                same.insert(place.clone(), (*slot, leads_to));
            }
        }
        loop {
            let kept: HashSet<Place> = same.keys().cloned().collect();
            same.retain(|_, (_, leads_to)| leads_to.is_subset(&kept));
            if same.len() == kept.len() {
                break;
            }
        }
        same.into_iter().map(|(place, (slot, _))| (place, slot)).collect()
    }

    /// Where the references inside lead; none where that depends on more than the text.
    fn leads_to(&mut self, schema: &Value, document: &str, pointer: &str) -> Option<HashSet<Place>> {
        let mut found = HashSet::new();
        let mut left: Vec<(&Value, String)> = vec![(schema, pointer.to_owned())];
        while let Some((schema, pointer)) = left.pop() {
            let Value::Object(members) = schema else {
                continue;
            };
            if ["$dynamicRef", "$recursiveRef", "$id", "id"]
                .iter()
                .any(|keyword| members.get(*keyword).is_some_and(Value::is_string))
            {
                return None;
            }
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                found.insert(self.resolve(document, &pointer, reference)?);
            }
            subschemas(members, |segment, inner| {
                left.push((inner, format!("{pointer}{segment}")))
            });
        }
        Some(found)
    }

    fn reference(&mut self, document: &str, pointer: &str, reference: &str) -> Atom {
        let Some(place) = self.resolve(document, pointer, reference) else {
            return self.arena.opaque("$ref");
        };
        if let Some(known) = self.slots.get(&place) {
            return Atom::Reference(*known);
        }
        if let Some(same) = self.same.get(&place).copied() {
            self.slots.insert(place, same);
            return Atom::Reference(same);
        }
        let slot = self.arena.slot();
        self.slots.insert(place.clone(), slot);
        self.pending.push_back((place, slot));
        Atom::Reference(slot)
    }

    fn schema(&mut self, schema: &Value, document: &str, pointer: String, draft: Draft) -> Node {
        let members = match schema {
            Value::Bool(true) => return Arena::TRUE,
            Value::Bool(false) => return Arena::FALSE,
            Value::Object(members) => members,
            _ => {
                let atom = self.arena.opaque("schema");
                return self.arena.atom(atom);
            }
        };
        let mut one = OneSchema {
            reader: self,
            members,
            document,
            pointer,
            draft,
            atoms: Vec::new(),
        };
        one.read();
        let (atoms, arena) = (one.atoms, &mut *self.arena);
        arena.node(atoms)
    }
}

/// One schema object on its way to atoms.
struct OneSchema<'r, 'a, 'v> {
    reader: &'r mut Reader<'a>,
    members: &'v Map<String, Value>,
    document: &'r str,
    pointer: String,
    draft: Draft,
    atoms: Vec<Atom>,
}

impl<'v> OneSchema<'_, '_, 'v> {
    fn read(&mut self) {
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
            let pointer = format!("{}/{keyword}/{}", self.pointer, escaped(key));
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
                        let pointer = format!("{}/{keyword}/{}", self.pointer, escaped(name));
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
