//! What a schema may cost an event, before it is compiled: a few references, each used twice, can ask for more checks of
//! one value than any machine makes.
//!
//! Each schema that stands in the text is a node. What it applies to the same value costs again as often as it does; what
//! it applies to members and elements costs one level deeper. Of a choice (`anyOf`, `oneOf`, `if`) the dearest branch
//! counts for what lies deeper, and all branches for the value itself.

use std::collections::HashMap;

use jsonschema::uri::{from_str, resolve_against};
use serde_json::{Map, Value};

use super::{
    compatibility::{Draft, SUBSCHEMA_MAPS},
    compile::{Library, fault},
};
use crate::{
    json::pointer_escaped,
    limits::{DEPTH_CEILING, SCHEMA_STEPS, SCHEMA_STEPS_NESTED},
    problem::Fault,
};

const NO_BASE: &str = "json-schema:///";
/// A reference to a draft's own metaschema, which is not looked into.
const METASCHEMA_STEPS: f64 = 100.0;

type Place = usize;

#[derive(Default)]
struct Node {
    /// Of the document that it stands in.
    pointer: String,
    /// Only in the root document are pointers told.
    is_of_root: bool,
    references: Vec<String>,
    /// Applied to the same value, always.
    together: Vec<Place>,
    /// Applied to the same value, one or the other.
    choices: Vec<Place>,
    /// By what they are applied to: of each list the dearest counts.
    deeper: Vec<Vec<Place>>,
    looks_twice: bool,
}

/// What pointers count from.
struct Document<'v> {
    schema: &'v Value,
    draft: Draft,
    /// Where it stands in the document around it.
    pointer: String,
    is_of_root: bool,
}

#[derive(Default)]
struct Graph<'v> {
    nodes: Vec<Node>,
    /// By URI, and by URI with pointer or anchor.
    places: HashMap<String, Place>,
    /// By URI.
    documents: HashMap<String, Document<'v>>,
}

/// Refuses what would cost an event too much.
///
/// # Errors
///
/// Where references lead in a circle without ever coming to another value, or multiply each other.
pub(super) fn weigh(schema: &Value, library: &Library) -> Result<(), Vec<Fault>> {
    let mut graph = Graph::default();
    graph.document(schema, NO_BASE, true);
    for (uri, other) in library {
        graph.document(other, uri, false);
    }
    graph.follow_references();
    graph.refuse_circles()?;
    graph.refuse_multiplied()
}

impl<'v> Graph<'v> {
    fn document(&mut self, schema: &'v Value, uri: &str, is_of_root: bool) {
        let draft = Draft::of(schema);
        let document = Document {
            schema,
            draft,
            pointer: String::new(),
            is_of_root,
        };
        self.documents.insert(uri.to_owned(), document);
        self.read(
            schema,
            draft,
            uri,
            (uri, String::new()),
            String::new(),
            is_of_root,
        );
    }

    /// What is read later, because only a reference leads there, takes no name from what was read before.
    fn name(&mut self, uri: String, place: Place) {
        self.places.entry(uri).or_insert(place);
    }

    /// `within`: the URI from which pointers count, and the pointer from there.
    fn read(
        &mut self,
        schema: &'v Value,
        draft: Draft,
        base: &str,
        within: (&str, String),
        pointer: String,
        is_of_root: bool,
    ) -> Place {
        let place = self.nodes.len();
        self.name(format!("{}#{}", within.0, within.1), place);
        self.nodes.push(Node {
            pointer: pointer.clone(),
            is_of_root,
            ..Node::default()
        });
        let Value::Object(members) = schema else {
            return place;
        };
        let alone = draft <= Draft::Seven && members.contains_key("$ref");
        let own = (!alone).then(|| own_base(members, draft, base)).flatten();
        if let Some(own) = &own {
            self.name(format!("{own}#"), place);
            let document = Document {
                schema,
                draft,
                pointer: pointer.clone(),
                is_of_root,
            };
            self.documents.entry(own.clone()).or_insert(document);
        }
        let (base, within) = match &own {
            Some(own) => (own.as_str(), (own.as_str(), String::new())),
            None => (base, within),
        };
        self.name_anchors(members, draft, base, place);
        let mut node = Node {
            looks_twice: members.keys().any(|name| name.starts_with("unevaluated")),
            ..Node::default()
        };
        for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
            if let Some(reference) = members.get(keyword).and_then(Value::as_str) {
                node.references.extend(joined(base, reference));
            }
        }
        for (name, value) in members {
            let inner = |graph: &mut Graph<'v>, step: String, value: &'v Value| {
                let (start, path) = (within.0, format!("{}{step}", within.1));
                graph.read(
                    value,
                    draft,
                    base,
                    (start, path),
                    format!("{pointer}{step}"),
                    is_of_root,
                )
            };
            let step = format!("/{}", pointer_escaped(name));
            let read: Vec<Place> = match value {
                _ if is_data(name) => Vec::new(),
                Value::Array(items) => items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| inner(self, format!("{step}/{index}"), item))
                    .collect(),
                Value::Object(map) if SUBSCHEMA_MAPS.contains(&name.as_str()) => map
                    .iter()
                    .map(|(key, item)| inner(self, format!("{step}/{}", pointer_escaped(key)), item))
                    .collect(),
                Value::Object(_) => vec![inner(self, step, value)],
                _ => Vec::new(),
            };
            if !alone {
                node.apply(name, read);
            }
        }
        let known = &mut self.nodes[place];
        *known = Node {
            pointer: std::mem::take(&mut known.pointer),
            is_of_root,
            ..node
        };
        place
    }

    fn name_anchors(&mut self, members: &Map<String, Value>, draft: Draft, base: &str, place: Place) {
        for keyword in ["$anchor", "$dynamicAnchor"] {
            if let Some(anchor) = members.get(keyword).and_then(Value::as_str) {
                self.name(format!("{base}#{anchor}"), place);
            }
        }
        if let Some(anchor) = members.get(if draft == Draft::Four { "id" } else { "$id" })
            && let Some(anchor) = anchor.as_str().and_then(|id| id.strip_prefix('#'))
        {
            self.name(format!("{base}#{anchor}"), place);
        }
    }

    fn follow_references(&mut self) {
        let mut place = 0;
        // What is read on the way is followed in its turn.
        while place < self.nodes.len() {
            let references = std::mem::take(&mut self.nodes[place].references);
            for reference in &references {
                // What is not there is refused where it is compiled.
                if let Some(target) = self.target(reference) {
                    self.nodes[place].together.push(target);
                }
            }
            self.nodes[place].references = references;
            place += 1;
        }
    }

    /// Where a reference leads: to any value of a document, also to what is data or a map of schemas by itself.
    fn target(&mut self, reference: &str) -> Option<Place> {
        if let Some(known) = self.places.get(reference) {
            return Some(*known);
        }
        let (uri, path) = reference.split_once('#')?;
        let document = self.documents.get(uri)?;
        let schema = document.schema.pointer(path)?;
        let (draft, is_of_root) = (document.draft, document.is_of_root);
        let pointer = format!("{}{path}", document.pointer);
        let place = self.read(schema, draft, uri, (uri, path.to_owned()), pointer, is_of_root);
        Some(place)
    }

    fn refuse_circles(&self) -> Result<(), Vec<Fault>> {
        const UNSEEN: u8 = 0;
        const OPEN: u8 = 1;
        const DONE: u8 = 2;
        let mut seen = vec![UNSEEN; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut path = vec![(start, 0)];
            while let Some((place, next)) = path.pop() {
                let node = &self.nodes[place];
                if next == 0 {
                    if seen[place] == DONE {
                        continue;
                    }
                    seen[place] = OPEN;
                }
                let same = node.together.iter().chain(&node.choices);
                let Some(child) = same.clone().nth(next).copied() else {
                    seen[place] = DONE;
                    continue;
                };
                path.push((place, next + 1));
                if seen[child] == OPEN {
                    let circle = path.iter().map(|(place, _)| &self.nodes[*place]);
                    let told = circle
                        .rev()
                        .find(|node| node.is_of_root && !node.references.is_empty());
                    return Err(vec![fault(
                        &told.map_or_else(String::new, |node| format!("{}/$ref", node.pointer)),
                        "the reference leads back to where it stands without coming to a member or an element: \
                         no value could ever be checked"
                            .to_owned(),
                    )]);
                }
                if seen[child] == UNSEEN {
                    path.push((child, 0));
                }
            }
        }
        Ok(())
    }

    /// Counts level by level, from events without members to those that are nested as deeply as can be.
    fn refuse_multiplied(&self) -> Result<(), Vec<Fault>> {
        let order = self.same_value_order();
        let mut shallower = vec![0.0_f64; self.nodes.len()];
        for level in 0..=DEPTH_CEILING {
            let mut here = vec![0.0_f64; self.nodes.len()];
            for place in &order {
                here[*place] = self.steps(*place, level == 0, &here, &shallower);
            }
            let bound = if level == 0 {
                SCHEMA_STEPS
            } else {
                SCHEMA_STEPS_NESTED
            };
            if let Some(place) = self.first_above(&order, &here, bound) {
                let node = &self.nodes[place];
                let message = if level == 0 {
                    format!(
                        "references and combinations multiply each other here: one value would be checked \
                         {:.0} times, {bound:.0} are allowed",
                        here[place]
                    )
                } else {
                    format!(
                        "the schema applies itself more than once to the same member or element: an event nested \
                         {level} deep would be checked {:.0} times, {bound:.0} are allowed",
                        here[place]
                    )
                };
                let pointer = if node.is_of_root {
                    node.pointer.as_str()
                } else {
                    ""
                };
                return Err(vec![fault(pointer, message)]);
            }
            if here == shallower {
                return Ok(());
            }
            shallower = here;
        }
        Ok(())
    }

    fn steps(&self, place: Place, is_leaf: bool, here: &[f64], shallower: &[f64]) -> f64 {
        let node = &self.nodes[place];
        let metaschemas = node
            .references
            .iter()
            .filter(|uri| !self.places.contains_key(*uri))
            .count();
        let together: f64 = node.together.iter().map(|child| here[*child]).sum();
        let choices = node.choices.iter().map(|child| here[*child]);
        let (choices, deeper) = if is_leaf {
            (choices.sum(), 0.0)
        } else {
            let dearest =
                |places: &Vec<Place>| places.iter().map(|child| shallower[*child]).fold(0.0, f64::max);
            (choices.fold(0.0, f64::max), node.deeper.iter().map(dearest).sum())
        };
        let once = 1.0 + METASCHEMA_STEPS * metaschemas as f64 + together + choices + deeper;
        // What is evaluated is found out once more, for this value.
        if is_leaf && node.looks_twice {
            2.0 * once
        } else {
            once
        }
    }

    /// Every node after those that it applies to the same value. There are no circles.
    fn same_value_order(&self) -> Vec<Place> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut seen = vec![false; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut path = vec![(start, 0)];
            while let Some((place, next)) = path.pop() {
                if next == 0 && std::mem::replace(&mut seen[place], true) {
                    continue;
                }
                let node = &self.nodes[place];
                match node.together.iter().chain(&node.choices).nth(next).copied() {
                    None => order.push(place),
                    Some(child) => {
                        path.push((place, next + 1));
                        if !seen[child] {
                            path.push((child, 0));
                        }
                    }
                }
            }
        }
        order
    }

    /// The first of the order: what is dear by itself comes before what is dear by applying it.
    fn first_above(&self, order: &[Place], steps: &[f64], bound: f64) -> Option<Place> {
        let above = |place: &&Place| steps[**place] > bound;
        let in_root = order
            .iter()
            .filter(|place| self.nodes[**place].is_of_root)
            .find(above);
        in_root.or_else(|| order.iter().find(above)).copied()
    }
}

impl Node {
    fn apply(&mut self, keyword: &str, read: Vec<Place>) {
        match keyword {
            "allOf" | "not" | "dependencies" | "dependentSchemas" => self.together.extend(read),
            "anyOf" | "oneOf" | "if" | "then" | "else" => self.choices.extend(read),
            "additionalItems"
            | "additionalProperties"
            | "contains"
            | "items"
            | "patternProperties"
            | "prefixItems"
            | "properties"
            | "propertyNames"
            | "unevaluatedItems"
            | "unevaluatedProperties" => {
                self.deeper.push(read);
            }
            _ => {}
        }
    }
}

/// Keywords whose values no schema stands in, but where a reference leads there.
fn is_data(keyword: &str) -> bool {
    matches!(
        keyword,
        "const" | "default" | "enum" | "example" | "examples" | "required" | "type"
    )
}

fn own_base(members: &Map<String, Value>, draft: Draft, base: &str) -> Option<String> {
    let id = members
        .get(if draft == Draft::Four { "id" } else { "$id" })?
        .as_str()?;
    if id.starts_with('#') {
        return None;
    }
    joined(base, id).map(|uri| uri.trim_end_matches('#').to_owned())
}

/// With a fragment, which is empty where there is none.
fn joined(base: &str, reference: &str) -> Option<String> {
    let base = from_str(base).ok()?;
    let uri = resolve_against(&base.borrow(), reference).ok()?;
    let (document, fragment) = uri.as_str().split_once('#').unwrap_or((uri.as_str(), ""));
    let fragment = percent_encoding::percent_decode_str(fragment)
        .decode_utf8()
        .ok()?;
    Some(format!("{document}#{fragment}"))
}
