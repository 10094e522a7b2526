//! From a schema's JSON, of any draft, to nodes.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    keywords::OneSchema,
    node::{Arena, Atom, Node, Slot},
    places::{Identifiers, joined, subschemas},
};

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
    pub(super) arena: &'a mut Arena,
    source: Source,
    draft: Draft,
    slots: HashMap<Place, Slot>,
    /// Places of another source that mean the same here.
    same: HashMap<Place, Slot>,
    pending: VecDeque<(Place, Slot)>,
    documents: HashMap<String, Arc<Identifiers>>,
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

    pub(super) fn identifiers(&mut self, document: &str) -> Arc<Identifiers> {
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

    pub(super) fn reference(&mut self, document: &str, pointer: &str, reference: &str) -> Atom {
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

    pub(super) fn schema(&mut self, schema: &Value, document: &str, pointer: String, draft: Draft) -> Node {
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
