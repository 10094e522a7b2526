//! What is given split into cases, what is to be shown into assertions, and values tried one by one.

use std::rc::Rc;

use serde_json::{Number, Value};

use super::{
    evaluate::types_of,
    facts::{Facts, Given},
    node::{Arena, Atom, Kind, Node},
    prove::{Open, Outcome, Prover, first_example, is_plain},
};

impl Prover {
    pub fn split(&mut self, facts: &Facts, choice: &Atom, closed: bool, goals: &[Node]) -> Outcome {
        let mut cases: Vec<(Facts, Vec<Node>)> = Vec::new();
        let with = |arena: &Arena, nodes: &[Node]| {
            let mut facts = facts.clone();
            for node in nodes {
                facts.take(arena, Given { node: *node, closed });
            }
            facts
        };
        match choice {
            Atom::Any(options) => {
                for (index, option) in options.iter().enumerate() {
                    let mut facts = with(&self.arena, &[*option]);
                    facts.denied.extend(options.iter().take(index));
                    if closed {
                        facts.perhaps.extend(options.iter().skip(index + 1));
                    }
                    cases.push((facts, goals.to_vec()));
                }
            }
            Atom::One(options) => {
                for (index, option) in options.iter().enumerate() {
                    let mut facts = with(&self.arena, &[*option]);
                    let others = options.iter().enumerate().filter(|(other, _)| *other != index);
                    facts.denied.extend(others.map(|(_, node)| *node));
                    cases.push((facts, goals.to_vec()));
                }
            }
            Atom::If {
                condition,
                then,
                otherwise,
            } => {
                cases.push((with(&self.arena, &[*condition, *then]), goals.to_vec()));
                let mut facts = with(&self.arena, &[*otherwise]);
                facts.denied.push(*condition);
                cases.push((facts, goals.to_vec()));
            }
            _ => return Err(Open::because(choice.keyword())),
        }
        first_example(
            cases
                .into_iter()
                .map(|(facts, goals)| move |prover: &mut Prover| prover.solve(facts, goals)),
        )(self)
    }

    /// Takes the goal apart that has the least left, until each is a single assertion.
    pub fn take_apart(&mut self, facts: &Facts, mut left: Vec<(Node, Vec<Rc<Atom>>)>) -> Outcome {
        let compound = left
            .iter()
            .enumerate()
            .filter(|(_, (_, atoms))| atoms.len() > 1 || atoms.iter().any(|atom| !is_plain(atom)))
            .min_by_key(|(_, (_, atoms))| atoms.len())
            .map(|(index, _)| index);
        let Some(index) = compound else {
            let atoms: Vec<Rc<Atom>> = left.into_iter().flat_map(|(_, atoms)| atoms).collect();
            return self.show_together(facts, &atoms);
        };
        let (_, atoms) = left.swap_remove(index);
        let others: Vec<Node> = left
            .iter()
            .map(|(_, atoms)| {
                self.arena
                    .node(atoms.iter().map(|atom| atom.as_ref().clone()).collect())
            })
            .collect();
        let mut steps: Vec<(Facts, Vec<Node>)> = Vec::new();
        let goals = |more: &[Node]| others.iter().chain(more).copied().collect::<Vec<Node>>();
        let with = |arena: &Arena, nodes: &[Node]| {
            let mut facts = facts.clone();
            for node in nodes {
                facts.take(
                    arena,
                    Given {
                        node: *node,
                        closed: false,
                    },
                );
            }
            facts
        };
        for atom in atoms {
            match atom.as_ref() {
                Atom::Any(nodes) => steps.push((facts.clone(), goals(nodes))),
                Atom::Not(node) => steps.push((with(&self.arena, &[*node]), goals(&[]))),
                Atom::One(nodes) => {
                    steps.push((facts.clone(), goals(nodes)));
                    for (index, one) in nodes.iter().enumerate() {
                        for two in nodes.iter().skip(index + 1) {
                            steps.push((with(&self.arena, &[*one, *two]), goals(&[])));
                        }
                    }
                }
                Atom::If {
                    condition,
                    then,
                    otherwise,
                } => {
                    steps.push((with(&self.arena, &[*condition]), goals(&[*then])));
                    steps.push((facts.clone(), goals(&[*condition, *otherwise])));
                }
                _ => {
                    let node = self.arena.node(vec![atom.as_ref().clone()]);
                    steps.push((facts.clone(), goals(&[node])));
                }
            }
        }
        first_example(
            steps
                .into_iter()
                .map(|(facts, goals)| move |prover: &mut Prover| prover.solve(facts, goals)),
        )(self)
    }

    /// The values that are left, where there are few.
    pub fn finite(&mut self, facts: &Facts) -> Option<Vec<Value>> {
        let listed = facts
            .each()
            .filter_map(|atom| match atom {
                Atom::Enum(values) => Some(values),
                _ => None,
            })
            .min_by_key(|values| values.len());
        let mut values = match listed {
            Some(values) => values.clone(),
            None => {
                let mut values = Vec::new();
                for kind in facts.types.kinds() {
                    match kind {
                        Kind::Null => values.push(Value::Null),
                        Kind::Boolean => values.extend([Value::Bool(false), Value::Bool(true)]),
                        _ => return None,
                    }
                }
                values
            }
        };
        if self.written_integers {
            if values.iter().any(holds_number) {
                return None;
            }
            let floats: Vec<Value> = values.iter().filter_map(as_float).collect();
            values.extend(floats);
        }
        let arena = &self.arena;
        let evaluator = &mut self.evaluator;
        let closed: Vec<Node> = facts
            .taken
            .iter()
            .filter(|given| given.closed)
            .map(|given| given.node)
            .collect();
        values.retain(|value| closed.is_empty() || evaluator.is_closed(arena, &closed, value, 0));
        values.retain(|value| {
            types_of(value).is_within(facts.types)
                && facts
                    .atoms
                    .iter()
                    .chain(&facts.choices)
                    .all(|(atom, _)| evaluator.holds(arena, atom, value) != Some(false))
                && facts
                    .denied
                    .iter()
                    .all(|node| evaluator.accepts(arena, *node, value) != Some(true))
        });
        Some(values)
    }

    pub fn each_value(&mut self, facts: &Facts, values: Vec<Value>, goals: &[Node]) -> Outcome {
        let mut undecided = None;
        for value in values {
            let answers: Vec<Option<bool>> = goals
                .iter()
                .map(|goal| self.evaluator.accepts(&self.arena, *goal, &value))
                .collect();
            if answers.contains(&Some(true)) {
                continue;
            }
            let mut open = Open::because("enum");
            open.difference = Some(serde_json::json!({ "const": value }));
            let refused = answers.iter().all(|answer| *answer == Some(false));
            if refused && self.satisfies(facts, &value) {
                open.example = Some(value);
                return Err(open);
            }
            undecided = Some(open);
        }
        undecided.map_or(Ok(()), Err)
    }

    /// Whether nothing says that `value` breaks a fact.
    pub fn satisfies(&mut self, facts: &Facts, value: &Value) -> bool {
        let taken: Vec<Node> = facts.taken.iter().map(|given| given.node).collect();
        types_of(value).is_within(facts.types)
            && taken
                .into_iter()
                .all(|node| self.evaluator.accepts(&self.arena, node, value) != Some(false))
            && facts
                .denied
                .iter()
                .all(|node| self.evaluator.accepts(&self.arena, *node, value) != Some(true))
    }
}

/// Whether a number stands inside: it may be written in two ways, of which draft 4 tells one from the other.
fn holds_number(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| item.is_number() || holds_number(item)),
        Value::Object(members) => members
            .values()
            .any(|item| item.is_number() || holds_number(item)),
        _ => false,
    }
}

/// The other way of writing a whole number.
fn as_float(value: &Value) -> Option<Value> {
    let number = value.as_number()?;
    if let Some(float) = number
        .as_i64()
        .map(|whole| whole as f64)
        .or(number.as_u64().map(|whole| whole as f64))
    {
        return Number::from_f64(float).map(Value::Number);
    }
    let float = number.as_f64()?;
    (float.fract() == 0.0 && float.abs() < 9e15).then(|| Value::from(float as i64))
}
