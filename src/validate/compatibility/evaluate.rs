//! Whether a value satisfies a node. What only the validator knows (patterns, formats, equality) is asked of it, so that
//! both mean the same; what is undecided is said to be so.

use std::collections::{HashMap, HashSet};

use jsonschema::{PatternOptions, Validator};
use serde_json::{Value, json};

use super::facts::names_members;
use super::node::{Arena, Atom, Exact, Kind, Node, Numbers, Properties, Types};
use crate::limits::PATTERN_STEPS;

/// Levels that an evaluation descends.
const DEPTH_MAX: u32 = 200;

#[derive(Default)]
pub struct Evaluator {
    validators: HashMap<String, Option<Validator>>,
}

/// What is known of an object's members after some schemas have looked at them.
#[derive(Default)]
struct Evaluated {
    names: HashSet<String>,
    /// Named by `required` and the like.
    bare: HashSet<String>,
    everything: bool,
    unsure: bool,
}

pub fn kind_of(value: &Value) -> Kind {
    match value {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Boolean,
        Value::Number(_) => Kind::Number,
        Value::String(_) => Kind::String,
        Value::Array(_) => Kind::Array,
        Value::Object(_) => Kind::Object,
    }
}

pub fn types_of(value: &Value) -> Types {
    match value {
        Value::Number(number) if number.is_i64() || number.is_u64() => Types {
            number: Numbers::Written,
            ..Types::NONE
        },
        Value::Number(number) if number.as_f64().is_some_and(|float| float.fract() == 0.0) => Types {
            number: Numbers::Integral,
            ..Types::NONE
        },
        other => Types::NONE.with(kind_of(other)),
    }
}

/// Conjunction of three-valued answers: a refusal wins, then doubt.
fn all(answers: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut all = Some(true);
    for answer in answers {
        match answer {
            Some(false) => return Some(false),
            None => all = None,
            Some(true) => {}
        }
    }
    all
}

fn not(answer: Option<bool>) -> Option<bool> {
    answer.map(|answer| !answer)
}

impl Evaluator {
    /// Asks the validator about one keyword.
    fn ask(&mut self, schema: &Value, value: &Value) -> Option<bool> {
        let validator = self
            .validators
            .entry(schema.to_string())
            .or_insert_with(|| {
                let options = || jsonschema::options().offline().should_validate_formats(true);
                options()
                    .with_pattern_options(PatternOptions::regex())
                    .build(schema)
                    .or_else(|_| {
                        options()
                            .with_pattern_options(
                                PatternOptions::fancy_regex().backtrack_limit(PATTERN_STEPS),
                            )
                            .build(schema)
                    })
                    .ok()
            })
            .as_ref()?;
        Some(validator.is_valid(value))
    }

    pub fn matches(&mut self, pattern: &str, text: &str) -> Option<bool> {
        self.ask(&json!({ "pattern": pattern }), &Value::String(text.to_owned()))
    }

    pub fn accepts(&mut self, arena: &Arena, node: Node, value: &Value) -> Option<bool> {
        self.node(arena, node, value, 0)
    }

    fn node(&mut self, arena: &Arena, node: Node, value: &Value, depth: u32) -> Option<bool> {
        if depth > DEPTH_MAX {
            return None;
        }
        let atoms = arena.atoms(node);
        all(atoms.iter().map(|atom| self.atom(arena, atom, value, depth + 1)))
    }

    pub fn holds(&mut self, arena: &Arena, atom: &Atom, value: &Value) -> Option<bool> {
        self.atom(arena, atom, value, 0)
    }

    fn atom(&mut self, arena: &Arena, atom: &Atom, value: &Value, depth: u32) -> Option<bool> {
        if atom.kind().is_some_and(|kind| kind != kind_of(value)) {
            return Some(true);
        }
        match atom {
            Atom::Types(types) => Some(types_of(value).is_within(*types)),
            Atom::Enum(values) => self.ask(&json!({ "enum": values }), value),
            Atom::Format { name, old_hostname } => {
                let draft = if *old_hostname {
                    "http://json-schema.org/draft-06/schema#"
                } else {
                    "https://json-schema.org/draft/2020-12/schema"
                };
                self.ask(&json!({ "$schema": draft, "format": name }), value)
            }
            Atom::MultipleOf(divisor) => self.ask(&json!({ "multipleOf": divisor }), value),
            Atom::Pattern(pattern) => self.ask(&json!({ "pattern": pattern }), value),
            Atom::Content { keyword, value: kind } => {
                let schema = json!({ "$schema": "http://json-schema.org/draft-07/schema#", *keyword: kind });
                self.ask(&schema, value)
            }
            Atom::Unique => self.ask(&json!({ "uniqueItems": true }), value),
            Atom::All(nodes) => all(nodes.iter().map(|node| self.node(arena, *node, value, depth))),
            Atom::Any(nodes) => not(all(nodes
                .iter()
                .map(|node| not(self.node(arena, *node, value, depth))))),
            Atom::One(nodes) => self.one(arena, nodes, value, depth),
            Atom::Not(node) => not(self.node(arena, *node, value, depth)),
            Atom::If {
                condition,
                then,
                otherwise,
            } => match self.node(arena, *condition, value, depth)? {
                true => self.node(arena, *then, value, depth),
                false => self.node(arena, *otherwise, value, depth),
            },
            Atom::Reference(slot) => self.node(arena, arena.target(*slot)?, value, depth),
            Atom::Opaque { .. } => None,
            atom => match value {
                Value::Number(number) => Some(bounded(atom, Exact::of(number)?)),
                Value::String(text) => Some(sized(atom, text.chars().count() as u64)),
                Value::Array(items) => self.array(arena, atom, items, depth),
                Value::Object(members) => self.object(arena, atom, members, depth),
                Value::Null | Value::Bool(_) => Some(true),
            },
        }
    }

    fn one(&mut self, arena: &Arena, nodes: &[Node], value: &Value, depth: u32) -> Option<bool> {
        let (mut held, mut open) = (0, 0);
        for node in nodes {
            match self.node(arena, *node, value, depth) {
                Some(true) => held += 1,
                None => open += 1,
                Some(false) => {}
            }
        }
        match (held, open) {
            (2.., _) => Some(false),
            (held, 0) => Some(held == 1),
            _ => None,
        }
    }

    fn array(&mut self, arena: &Arena, atom: &Atom, items: &[Value], depth: u32) -> Option<bool> {
        match atom {
            Atom::Items { prefix, rest } => {
                all(items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| match prefix.get(index).or(rest.as_ref()) {
                        Some(node) => self.node(arena, *node, item, depth),
                        None => Some(true),
                    }))
            }
            Atom::Contains {
                node,
                at_least,
                at_most,
            } => {
                let mut count = 0_u64;
                for item in items {
                    count += u64::from(self.node(arena, *node, item, depth)?);
                }
                Some(count >= *at_least && at_most.is_none_or(|most| count <= most))
            }
            Atom::UnevaluatedItems { .. } if items.is_empty() => Some(true),
            Atom::UnevaluatedItems { .. } => None,
            atom => Some(sized(atom, items.len() as u64)),
        }
    }

    fn object(
        &mut self,
        arena: &Arena,
        atom: &Atom,
        members: &serde_json::Map<String, Value>,
        depth: u32,
    ) -> Option<bool> {
        match atom {
            Atom::Required(name) => Some(members.contains_key(name)),
            Atom::Absent(name) => Some(!members.contains_key(name)),
            Atom::PropertyNames(node) => all(members
                .keys()
                .map(|name| self.node(arena, *node, &Value::String(name.clone()), depth))),
            Atom::Properties(properties) => all(members.iter().map(|(name, value)| {
                let nodes = self.nodes_for(properties, name)?;
                all(nodes.into_iter().map(|node| self.node(arena, node, value, depth)))
            })),
            Atom::UnevaluatedProperties { node, scope } => {
                let mut seen = Evaluated::default();
                self.evaluated(arena, *scope, members, &mut seen, depth);
                let left = members
                    .iter()
                    .filter(|(name, _)| !seen.everything && !seen.names.contains(*name));
                let answer = all(left.map(|(_, value)| self.node(arena, *node, value, depth)));
                if seen.unsure { None } else { answer }
            }
            atom => Some(sized(atom, members.len() as u64)),
        }
    }

    /// What the schema and all of its parts that hold evaluate of an object's members.
    fn evaluated(
        &mut self,
        arena: &Arena,
        node: Node,
        members: &serde_json::Map<String, Value>,
        seen: &mut Evaluated,
        depth: u32,
    ) {
        if depth > DEPTH_MAX {
            seen.unsure = true;
            return;
        }
        for atom in arena.atoms(node).iter() {
            match atom.as_ref() {
                Atom::Properties(properties) => {
                    seen.everything |= properties.additional.is_some();
                    for name in members.keys() {
                        let matched = properties.named.contains_key(name)
                            || properties
                                .patterns
                                .keys()
                                .any(|pattern| self.matches(pattern, name) == Some(true));
                        if matched {
                            seen.names.insert(name.clone());
                        }
                    }
                }
                Atom::Required(name) | Atom::Absent(name) => {
                    seen.bare.insert(name.clone());
                }
                Atom::UnevaluatedProperties { .. } => seen.everything = true,
                Atom::Opaque { .. } => seen.unsure = true,
                Atom::All(nodes) => {
                    for node in nodes {
                        self.evaluated(arena, *node, members, seen, depth + 1);
                    }
                }
                Atom::Reference(slot) => match arena.target(*slot) {
                    Some(target) => self.evaluated(arena, target, members, seen, depth + 1),
                    None => seen.unsure = true,
                },
                Atom::Any(nodes) | Atom::One(nodes) => {
                    for node in nodes {
                        self.evaluated_if(arena, *node, members, seen, depth);
                    }
                }
                Atom::If {
                    condition,
                    then,
                    otherwise,
                } => {
                    if self.evaluated_if(arena, *condition, members, seen, depth) {
                        self.evaluated(arena, *then, members, seen, depth + 1);
                    } else {
                        self.evaluated(arena, *otherwise, members, seen, depth + 1);
                    }
                }
                _ => {}
            }
        }
    }

    fn evaluated_if(
        &mut self,
        arena: &Arena,
        node: Node,
        members: &serde_json::Map<String, Value>,
        seen: &mut Evaluated,
        depth: u32,
    ) -> bool {
        match self.node(arena, node, &Value::Object(members.clone()), depth + 1) {
            Some(false) => return false,
            Some(true) => {}
            None => seen.unsure = true,
        }
        self.evaluated(arena, node, members, seen, depth + 1);
        true
    }

    /// Whether every object inside `value` has only members that are named, where any are and nothing is said of
    /// others. `nodes` are the schemas that the value satisfies.
    pub fn is_closed(&mut self, arena: &Arena, nodes: &[Node], value: &Value, depth: u32) -> bool {
        if depth > DEPTH_MAX {
            return false;
        }
        match value {
            Value::Object(members) => {
                let mut seen = Evaluated::default();
                for node in nodes {
                    self.evaluated(arena, *node, members, &mut seen, depth);
                }
                let mut known = HashSet::new();
                let some = nodes.iter().any(|node| {
                    let atoms = arena.atoms(*node);
                    atoms.iter().any(|atom| names_members(arena, atom, &mut known))
                });
                let open = seen.everything || !some;
                members.iter().all(|(name, member)| {
                    let named = open || seen.names.contains(name) || seen.bare.contains(name);
                    named && {
                        let inner = self.inner(arena, nodes, value, &|evaluator, atom| match atom {
                            Atom::Properties(properties) => {
                                evaluator.nodes_for(properties, name).unwrap_or_default()
                            }
                            _ => Vec::new(),
                        });
                        self.is_closed(arena, &inner, member, depth + 1)
                    }
                })
            }
            Value::Array(items) => items.iter().enumerate().all(|(index, item)| {
                let inner = self.inner(arena, nodes, value, &|_, atom| match atom {
                    Atom::Items { prefix, rest } => {
                        prefix.get(index).copied().or(*rest).into_iter().collect()
                    }
                    _ => Vec::new(),
                });
                self.is_closed(arena, &inner, item, depth + 1)
            }),
            _ => true,
        }
    }

    /// What the parts of `nodes` that hold of `value` say of something inside it.
    fn inner(
        &mut self,
        arena: &Arena,
        nodes: &[Node],
        value: &Value,
        pick: &dyn Fn(&mut Evaluator, &Atom) -> Vec<Node>,
    ) -> Vec<Node> {
        let mut found = Vec::new();
        let mut left = nodes.to_vec();
        let mut taken = HashSet::new();
        while let Some(node) = left.pop() {
            if !taken.insert(node) {
                continue;
            }
            for atom in arena.atoms(node).iter() {
                match atom.as_ref() {
                    Atom::All(nodes) => left.extend(nodes),
                    Atom::Reference(slot) => left.extend(arena.target(*slot)),
                    Atom::Any(nodes) | Atom::One(nodes) => {
                        let held = nodes
                            .iter()
                            .filter(|node| self.accepts(arena, **node, value) != Some(false));
                        left.extend(held.collect::<Vec<_>>());
                    }
                    Atom::If {
                        condition,
                        then,
                        otherwise,
                    } => match self.accepts(arena, *condition, value) {
                        Some(false) => left.push(*otherwise),
                        _ => left.extend([condition, then]),
                    },
                    atom => found.extend(pick(self, atom)),
                }
            }
        }
        found
    }

    /// What `properties` say of the member `name`; none where a pattern cannot be asked.
    pub fn nodes_for(&mut self, properties: &Properties, name: &str) -> Option<Vec<Node>> {
        let mut nodes: Vec<Node> = properties.named.get(name).copied().into_iter().collect();
        for (pattern, node) in &properties.patterns {
            if self.matches(pattern, name)? {
                nodes.push(*node);
            }
        }
        if nodes.is_empty() {
            nodes.extend(properties.additional);
        }
        Some(nodes)
    }
}

fn bounded(atom: &Atom, number: Exact) -> bool {
    let limited = |limit, met: fn(std::cmp::Ordering, bool) -> bool, exclusive| {
        Exact::of(limit).is_none_or(|limit| met(number.compare(limit), exclusive))
    };
    match atom {
        Atom::AtLeast { limit, exclusive } => limited(
            limit,
            |order, exclusive| order.is_gt() || (order.is_eq() && !exclusive),
            *exclusive,
        ),
        Atom::AtMost { limit, exclusive } => limited(
            limit,
            |order, exclusive| order.is_lt() || (order.is_eq() && !exclusive),
            *exclusive,
        ),
        _ => true,
    }
}

fn sized(atom: &Atom, count: u64) -> bool {
    match atom {
        Atom::LengthAtLeast(least) | Atom::ItemsAtLeast(least) | Atom::PropertiesAtLeast(least) => {
            count >= *least
        }
        Atom::LengthAtMost(most) | Atom::ItemsAtMost(most) | Atom::PropertiesAtMost(most) => count <= *most,
        _ => true,
    }
}
