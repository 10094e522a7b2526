//! Assertions about objects: what is known of each member, and of the members that nothing names.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use serde_json::Value;

use super::{
    facts::{Facts, Given},
    node::{Arena, Atom, Node, Properties},
    prove::{Edit, Failure, Open, Prover},
};

fn because(keyword: &str) -> Failure {
    Open::because(keyword).into()
}

impl Prover {
    pub fn check_object(&mut self, facts: &Facts, atom: &Atom) -> Result<(), Failure> {
        match atom {
            Atom::Required(name) if facts.requires(name) => Ok(()),
            Atom::Required(name) => Err(Failure {
                open: Open::because("required"),
                edit: Edit::Remove(name.clone()),
            }),
            Atom::Absent(name) => match self.members(facts, name) {
                None => Ok(()),
                Some(given) if self.is_empty(given.clone()) => Ok(()),
                Some(given) => {
                    let value = self.sample(&given);
                    Err(Failure {
                        open: Open::because("dependentRequired"),
                        edit: value.map_or(Edit::None, |value| Edit::Set(name.clone(), value)),
                    })
                }
            },
            Atom::PropertiesAtLeast(least) if facts.property_counts().0 >= *least => Ok(()),
            Atom::PropertiesAtMost(most) if self.property_most(facts) <= *most => Ok(()),
            Atom::PropertiesAtMost(most) => Err(Failure {
                open: Open::because("maxProperties"),
                edit: Edit::Count(most.saturating_add(1)),
            }),
            Atom::Properties(properties) => self.check_properties(facts, properties),
            Atom::PropertyNames(node) => self.check_names(facts, *node),
            Atom::UnevaluatedProperties { node, scope } => self.check_unevaluated(facts, *node, *scope),
            _ => Err(because(atom.keyword())),
        }
    }

    fn property_most(&self, facts: &Facts) -> u64 {
        let most = facts.property_counts().1;
        match self.others(facts, None) {
            Some(_) => most,
            None => {
                let names = self.spoken_of(facts);
                if names.patterns.is_empty() {
                    most.min(names.named.len() as u64)
                } else {
                    most
                }
            }
        }
    }

    fn check_properties(&mut self, facts: &Facts, properties: &Properties) -> Result<(), Failure> {
        for (name, node) in properties.named.iter().filter(|(_, node)| **node != Arena::TRUE) {
            self.member(facts, name, &[*node])?;
        }
        for (pattern, node) in properties
            .patterns
            .iter()
            .filter(|(_, node)| **node != Arena::TRUE)
        {
            self.members_like(facts, pattern, *node)?;
        }
        match properties.additional {
            Some(node) if node != Arena::TRUE => {
                let named: BTreeSet<&str> = properties.named.keys().map(String::as_str).collect();
                let patterns: Vec<&str> = properties.patterns.keys().map(String::as_str).collect();
                self.other_members(facts, &named, &patterns, node, "additionalProperties")
            }
            _ => Ok(()),
        }
    }

    /// That the member `name`, where it is there, satisfies one of `goals`.
    pub fn member(&mut self, facts: &Facts, name: &str, goals: &[Node]) -> Result<(), Failure> {
        let Some(given) = self.members(facts, name) else {
            return Ok(());
        };
        self.include(given, goals.to_vec()).map_err(|mut open| {
            let edit = open
                .example
                .clone()
                .map_or(Edit::None, |example| Edit::Set(name.to_owned(), example));
            open.path.push(name.to_owned());
            Failure { open, edit }
        })
    }

    fn members_like(&mut self, facts: &Facts, pattern: &str, node: Node) -> Result<(), Failure> {
        let names = self.spoken_of(facts);
        for name in names.named.keys() {
            if self.evaluator.matches(pattern, name) != Some(false) {
                self.member(facts, name, &[node])?;
            }
        }
        self.unnamed(facts, Some(pattern), node)
    }

    /// That members which stand in neither `named` nor `patterns` satisfy `node`.
    fn other_members(
        &mut self,
        facts: &Facts,
        named: &BTreeSet<&str>,
        patterns: &[&str],
        node: Node,
        keyword: &str,
    ) -> Result<(), Failure> {
        let names = self.spoken_of(facts);
        for name in names.named.keys().filter(|name| !named.contains(name.as_str())) {
            let matched = patterns
                .iter()
                .any(|pattern| self.evaluator.matches(pattern, name) == Some(true));
            if !matched {
                self.member(facts, name, &[node])
                    .map_err(|failure| named_by(failure, keyword))?;
            }
        }
        for pattern in names
            .patterns
            .keys()
            .filter(|pattern| !patterns.contains(&pattern.as_str()))
        {
            self.unnamed(facts, Some(pattern), node)
                .map_err(|failure| named_by(failure, keyword))?;
        }
        self.unnamed(facts, None, node)
            .map_err(|failure| named_by(failure, keyword))
    }

    fn unnamed(&mut self, facts: &Facts, pattern: Option<&str>, node: Node) -> Result<(), Failure> {
        let Some(given) = self.others(facts, pattern) else {
            return Ok(());
        };
        self.include(given, vec![node]).map_err(|mut open| {
            let example = open.example.clone();
            let name = self.free_name(facts, pattern);
            let edit = match (name, example) {
                (Some(name), Some(example)) => Edit::Set(name, example),
                _ => Edit::None,
            };
            open.path.push("*".to_owned());
            Failure { open, edit }
        })
    }

    fn check_names(&mut self, facts: &Facts, node: Node) -> Result<(), Failure> {
        let names = self.spoken_of(facts);
        for name in names.named.keys() {
            let text = Value::String(name.clone());
            if self.evaluator.accepts(&self.arena, node, &text) == Some(true) {
                continue;
            }
            if let Some(given) = self.members(facts, name) {
                let value = self.sample(&given);
                return Err(Failure {
                    open: Open::because("propertyNames"),
                    edit: value.map_or(Edit::None, |value| Edit::Set(name.clone(), value)),
                });
            }
        }
        let string = super::node::Types::NONE.with(super::node::Kind::String);
        let given_names: Vec<Node> = facts
            .each()
            .filter_map(|atom| match atom {
                Atom::PropertyNames(node) => Some(*node),
                _ => None,
            })
            .collect();
        let patterns = names
            .patterns
            .keys()
            .map(|pattern| Some(pattern.clone()))
            .chain([None]);
        for pattern in patterns {
            let Some(values) = self.others(facts, pattern.as_deref()) else {
                continue;
            };
            let mut atoms = vec![Atom::Types(string)];
            atoms.extend(pattern.map(Atom::Pattern));
            let mut nodes = given_names.clone();
            nodes.push(self.arena.node(atoms));
            let given = nodes
                .into_iter()
                .map(|node| Given { node, closed: false })
                .collect();
            if let Err(open) = self.include(given, vec![node]) {
                let value = self.sample(&values);
                let edit = match (open.example.as_ref().and_then(Value::as_str), value) {
                    (Some(name), Some(value)) => Edit::Set(name.to_owned(), value),
                    _ => Edit::None,
                };
                return Err(Failure {
                    open: Open::because("propertyNames"),
                    edit,
                });
            }
        }
        Ok(())
    }

    /// What the branches of `scope` evaluate depends on which of them hold: each is taken in turn.
    fn check_unevaluated(&mut self, facts: &Facts, node: Node, scope: Node) -> Result<(), Failure> {
        let keyword = "unevaluatedProperties";
        let sure = Facts::of(
            &self.arena,
            &[Given {
                node: scope,
                closed: false,
            }],
        );
        if let Some((choice, _)) = sure.choices.first() {
            let options: Vec<(Vec<Node>, Vec<Node>)> = match choice.as_ref() {
                Atom::Any(options) | Atom::One(options) => {
                    options.iter().map(|option| (vec![*option], Vec::new())).collect()
                }
                Atom::If {
                    condition,
                    then,
                    otherwise,
                } => vec![
                    (vec![*condition, *then], Vec::new()),
                    (vec![*otherwise], vec![*condition]),
                ],
                _ => return Err(because(keyword)),
            };
            let rest = self.without(&sure, choice);
            for (held, broken) in options {
                let mut facts = facts.clone();
                for node in &held {
                    facts.take(
                        &self.arena,
                        Given {
                            node: *node,
                            closed: false,
                        },
                    );
                }
                facts.denied.extend(broken);
                let scope = self
                    .arena
                    .node(vec![Atom::All(held.into_iter().chain([rest]).collect())]);
                let goal = self.arena.atom(Atom::UnevaluatedProperties { node, scope });
                self.solve(facts, vec![goal])?;
            }
            return Ok(());
        }
        let mut named = BTreeSet::new();
        let mut patterns = Vec::new();
        for (properties, _) in sure.properties() {
            if properties.additional.is_some() {
                return Ok(());
            }
            named.extend(properties.named.keys().map(String::as_str));
            patterns.extend(properties.patterns.keys().map(String::as_str));
        }
        if sure
            .each()
            .any(|atom| matches!(atom, Atom::UnevaluatedProperties { .. }))
        {
            return Ok(());
        }
        self.other_members(facts, &named, &patterns, node, keyword)
    }

    /// A node of all that `sure` holds but one choice.
    fn without(&mut self, sure: &Facts, choice: &Rc<Atom>) -> Node {
        let atoms = sure
            .atoms
            .iter()
            .chain(&sure.choices)
            .filter(|(atom, _)| atom != choice)
            .map(|(atom, _)| atom.as_ref().clone())
            .collect();
        self.arena.node(atoms)
    }

    /// Assertions of one member that hold only together: one or the other, or that it is there and what it is.
    pub fn show_members_together(&mut self, facts: &Facts, atoms: &[Rc<Atom>]) -> bool {
        let mut by_name: BTreeMap<&str, Vec<Node>> = BTreeMap::new();
        for atom in atoms {
            match atom.as_ref() {
                Atom::Properties(properties) if properties.additional.is_none() => {
                    if let Some((name, node)) = properties.named.first_key_value() {
                        by_name.entry(name).or_default().push(*node);
                    }
                }
                Atom::Absent(name) => by_name.entry(name).or_default().push(Arena::FALSE),
                _ => {}
            }
        }
        for (name, goals) in by_name {
            let required = atoms
                .iter()
                .any(|atom| matches!(atom.as_ref(), Atom::Required(required) if required == name));
            if required || (goals.len() > 1 && self.member(facts, name, &goals).is_ok()) {
                return true;
            }
        }
        false
    }

    /// Whether a member that must be there cannot be.
    pub fn lacks_required(&mut self, facts: &Facts) -> bool {
        let required: Vec<String> = facts
            .each()
            .filter_map(|atom| match atom {
                Atom::Required(name) => Some(name.clone()),
                _ => None,
            })
            .collect();
        required.into_iter().any(|name| match self.members(facts, &name) {
            None => true,
            // One schema alone is seldom empty; to look each time would cost more than it tells.
            Some(given) => given.len() > 1 && self.is_empty(given),
        })
    }
}

fn named_by(mut failure: Failure, keyword: &str) -> Failure {
    if failure.open.path.len() <= 1 {
        keyword.clone_into(&mut failure.open.keyword);
    }
    failure
}
