//! What is known of the members of an object, and of those that nothing names.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use serde_json::Value;

use super::{
    facts::{Facts, Given},
    node::{Arena, Atom, Node, Properties},
    prove::Prover,
};

/// What the closed schemas of one object name.
#[derive(Default)]
pub struct Names {
    pub named: BTreeMap<String, Vec<Node>>,
    /// Named by `required` and the like, which say nothing of the member.
    bare: BTreeSet<String>,
    pub patterns: BTreeMap<String, Vec<Node>>,
    /// Something is said of names that stand in neither.
    others: bool,
}

impl Names {
    fn add(&mut self, properties: &Properties) {
        for (name, node) in &properties.named {
            self.named.entry(name.clone()).or_default().push(*node);
        }
        for (pattern, node) in &properties.patterns {
            self.patterns.entry(pattern.clone()).or_default().push(*node);
        }
        self.others |= properties.additional.is_some();
    }
}

impl Prover {
    /// Adds all that `node` may say of members, whichever of its branches hold.
    fn names_of(&self, node: Node, names: &mut Names, seen: &mut BTreeSet<Node>) {
        if !seen.insert(node) {
            return;
        }
        for atom in self.arena.atoms(node).iter() {
            self.names_of_atom(atom, names, seen);
        }
    }

    fn names_of_atom(&self, atom: &Atom, names: &mut Names, seen: &mut BTreeSet<Node>) {
        match atom {
            Atom::Properties(properties) => names.add(properties),
            Atom::Required(name) | Atom::Absent(name) => {
                names.named.entry(name.clone()).or_default();
                names.bare.insert(name.clone());
            }
            Atom::UnevaluatedProperties { .. } | Atom::Opaque { .. } => names.others = true,
            Atom::All(nodes) | Atom::Any(nodes) | Atom::One(nodes) => {
                for node in nodes {
                    self.names_of(*node, names, seen);
                }
            }
            Atom::If {
                condition,
                then,
                otherwise,
            } => {
                for node in [condition, then, otherwise] {
                    self.names_of(*node, names, seen);
                }
            }
            Atom::Reference(slot) => {
                if let Some(target) = self.arena.target(*slot) {
                    self.names_of(target, names, seen);
                }
            }
            _ => {}
        }
    }

    /// The names that a closed object may have; none where it is open.
    pub fn closed_names(&self, facts: &Facts) -> Rc<Option<Names>> {
        facts.closed_names.get(|| {
            if !facts.names_members {
                return None;
            }
            let mut names = Names::default();
            let mut seen = BTreeSet::new();
            for (atom, _) in facts
                .atoms
                .iter()
                .chain(&facts.choices)
                .filter(|(_, closed)| *closed)
            {
                self.names_of_atom(atom, &mut names, &mut seen);
            }
            for node in &facts.perhaps {
                self.names_of(*node, &mut names, &mut seen);
            }
            (!names.others).then_some(names)
        })
    }

    /// What is known of the member `name`; none where it cannot be there.
    pub fn members(&mut self, facts: &Facts, name: &str) -> Option<Vec<Given>> {
        if facts.denies(name) || facts.property_counts().1 == 0 {
            return None;
        }
        let mut given = Vec::new();
        let mut named = false;
        for (properties, closed) in facts.properties() {
            let nodes = self.evaluator.nodes_for(properties, name).unwrap_or_default();
            named |= properties.named.contains_key(name) || !properties.patterns.is_empty();
            given.extend(nodes.into_iter().map(|node| Given { node, closed }));
        }
        let closed_names = self.closed_names(facts);
        if !named && let Some(names) = closed_names.as_ref() {
            match names.named.get(name) {
                // One branch alone names it: where the member is, that branch holds.
                Some(nodes) => {
                    if let ([node], false) = (nodes.as_slice(), names.bare.contains(name)) {
                        given.push(Given {
                            node: *node,
                            closed: true,
                        });
                    }
                }
                None => {
                    let matched = names
                        .patterns
                        .keys()
                        .any(|pattern| self.evaluator.matches(pattern, name) != Some(false));
                    if !matched {
                        return None;
                    }
                }
            }
        } else if let Some(names) = closed_names.as_ref()
            && !names.named.contains_key(name)
            && !names
                .patterns
                .keys()
                .any(|pattern| self.evaluator.matches(pattern, name) != Some(false))
        {
            return None;
        }
        let text = Value::String(name.to_owned());
        for atom in facts.each() {
            match atom {
                Atom::PropertyNames(node)
                    if self.evaluator.accepts(&self.arena, *node, &text) == Some(false) =>
                {
                    return None;
                }
                Atom::UnevaluatedProperties { node, scope } if !self.may_evaluate(*scope, name) => {
                    given.push(Given {
                        node: *node,
                        closed: false,
                    });
                }
                _ => {}
            }
        }
        given
            .iter()
            .all(|given| given.node != Arena::FALSE)
            .then_some(given)
    }

    fn may_evaluate(&mut self, scope: Node, name: &str) -> bool {
        let mut names = Names::default();
        self.names_of(scope, &mut names, &mut BTreeSet::new());
        names.others
            || names.named.get(name).is_some_and(|nodes| !nodes.is_empty())
            || names
                .patterns
                .keys()
                .any(|pattern| self.evaluator.matches(pattern, name) != Some(false))
    }

    /// What is known of a member that matches `pattern` (or no pattern) and that no fact names; none where there is none.
    pub fn others(&self, facts: &Facts, pattern: Option<&str>) -> Option<Vec<Given>> {
        if let Some(names) = self.closed_names(facts).as_ref() {
            let open = pattern.is_some_and(|pattern| {
                names.patterns.contains_key(pattern)
                    // Another pattern of the facts may match the same names.
                    || !names.patterns.is_empty()
            });
            if !open {
                return None;
            }
        }
        if facts.property_counts().1 == 0 {
            return None;
        }
        let mut given = Vec::new();
        for (properties, closed) in facts.properties() {
            let applies = match pattern {
                Some(pattern) => match properties.patterns.get(pattern) {
                    Some(node) => Some(*node),
                    None => properties.additional.filter(|_| properties.patterns.is_empty()),
                },
                None => properties.additional,
            };
            given.extend(applies.map(|node| Given { node, closed }));
        }
        for atom in facts.each() {
            if let Atom::UnevaluatedProperties { node, scope } = atom {
                let mut names = Names::default();
                self.names_of(*scope, &mut names, &mut BTreeSet::new());
                if !names.others && names.patterns.is_empty() {
                    given.push(Given {
                        node: *node,
                        closed: false,
                    });
                }
            }
        }
        given
            .iter()
            .all(|given| given.node != Arena::FALSE)
            .then_some(given)
    }

    /// Names and patterns that the facts speak of.
    pub fn spoken_of(&self, facts: &Facts) -> Rc<Names> {
        facts.spoken_of.get(|| {
            let mut names = Names::default();
            let mut seen = BTreeSet::new();
            for (atom, _) in facts.atoms.iter().chain(&facts.choices) {
                self.names_of_atom(atom, &mut names, &mut seen);
            }
            for node in &facts.perhaps {
                self.names_of(*node, &mut names, &mut seen);
            }
            names
        })
    }
}
