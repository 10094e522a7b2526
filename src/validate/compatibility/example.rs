//! Values that satisfy some schemas, and values that break what could not be shown. All are guesses of a kind: what is
//! found is checked against the facts here, and against the whole schemas before anybody sees it.

use std::{collections::BTreeSet, rc::Rc};

use serde_json::{Map, Value, json};

use super::{
    facts::{Facts, Given},
    node::{Atom, Exact, Kind, Node},
    prove::{Edit, Failure, Open, Prover},
    simple::{Range, as_values, items_at, items_most},
    strings,
};

/// Levels of a sample.
const SAMPLING_MAX: u32 = 12;
/// Values tried in one place.
const TRIED_MAX: usize = 400;
/// Items or members that a sample is filled up with.
const FILLED_MAX: u64 = 300;
/// Members beyond those that must be there.
const MEMBERS_MAX: usize = 60;

impl Prover {
    /// Some value that satisfies all of `given`, as far as this prover knows.
    pub fn sample(&mut self, given: &[Given]) -> Option<Value> {
        let mut key = given.to_vec();
        key.sort_unstable();
        key.dedup();
        if let Some(known) = self.samples.get(&key) {
            return known.clone();
        }
        if self.sampling >= SAMPLING_MAX || self.spend().is_err() {
            return None;
        }
        self.sampling += 1;
        let facts = Facts::of(&self.arena, &key);
        let found = self.realize(facts, SAMPLING_MAX);
        self.sampling -= 1;
        if found.is_some() || self.sampling == 0 {
            self.samples.insert(key, found.clone());
        }
        found
    }

    /// A value of these facts, whichever way their choices have to be made.
    pub fn realize(&mut self, mut facts: Facts, choices_left: u32) -> Option<Value> {
        self.spend().ok()?;
        if facts
            .atoms
            .iter()
            .any(|(atom, _)| matches!(atom.as_ref(), Atom::Enum(_)))
        {
            let values = self.finite(&facts)?;
            return values.into_iter().find(|value| self.satisfies(&facts, value));
        }
        if let Some((choice, closed)) = facts.choices.pop() {
            let options: Vec<(Vec<Node>, Vec<Node>)> = match choice.as_ref() {
                Atom::Any(nodes) => nodes.iter().map(|node| (vec![*node], Vec::new())).collect(),
                Atom::One(nodes) => nodes
                    .iter()
                    .map(|node| {
                        (
                            vec![*node],
                            nodes.iter().filter(|other| *other != node).copied().collect(),
                        )
                    })
                    .collect(),
                Atom::If {
                    condition,
                    then,
                    otherwise,
                } => vec![
                    (vec![*otherwise], vec![*condition]),
                    (vec![*condition, *then], Vec::new()),
                ],
                _ => return None,
            };
            if choices_left == 0 {
                return None;
            }
            return options.into_iter().find_map(|(held, broken)| {
                let mut facts = facts.clone();
                for node in held {
                    facts.take(&self.arena, Given { node, closed });
                }
                facts.denied.extend(broken);
                self.realize(facts, choices_left - 1)
            });
        }
        for kind in facts.types.kinds() {
            let facts = facts.only(kind);
            let values = self.values(&facts, kind, &[]);
            if let Some(found) = values.into_iter().find(|value| self.satisfies(&facts, value)) {
                return Some(found);
            }
        }
        None
    }

    /// What could not be shown of these assertions together, with a value that breaks all where one is found.
    pub fn open(&mut self, facts: &Facts, atoms: &[Rc<Atom>]) -> Box<Open> {
        let mut edits = Vec::new();
        let mut best: Option<Box<Open>> = None;
        for atom in atoms {
            let failure = match same_member(atoms, atom) {
                Some((name, goals)) => self.member(facts, &name, &goals).err(),
                None => self.check(facts, atom).err(),
            };
            let Some(Failure { open, edit }) = failure else {
                continue;
            };
            edits.push(edit);
            if best.as_ref().is_none_or(|best| best.path.len() < open.path.len()) {
                best = Some(open);
            }
        }
        let mut open = best.unwrap_or_else(|| Open::because("schema"));
        let inner = open.difference.take();
        open.example = None;
        if !self.examples {
            return open;
        }
        let Some(kind) = facts.of_kind() else {
            return open;
        };
        open.difference = super::difference::of(facts, kind, atoms, &edits, inner);
        let values = self.edited(facts, kind, atoms, &edits);
        open.example = values.into_iter().take(TRIED_MAX).find(|value| {
            atoms
                .iter()
                .all(|atom| self.evaluator.holds(&self.arena, atom, value) != Some(true))
                && self.satisfies(facts, value)
        });
        open
    }

    fn edited(&mut self, facts: &Facts, kind: Kind, atoms: &[Rc<Atom>], edits: &[Edit]) -> Vec<Value> {
        let mut values = self.values(facts, kind, atoms);
        if !matches!(kind, Kind::Object | Kind::Array) {
            return values;
        }
        let edited: Vec<Value> = values
            .iter()
            .filter_map(|value| self.apply(facts, value.clone(), edits))
            .collect();
        values.splice(0..0, edited);
        values
    }

    fn apply(&mut self, facts: &Facts, mut value: Value, edits: &[Edit]) -> Option<Value> {
        for edit in edits {
            match (edit, &mut value) {
                (Edit::Set(name, member), Value::Object(members)) => {
                    members.insert(name.clone(), member.clone());
                }
                (Edit::Remove(name), Value::Object(members)) => {
                    members.remove(name);
                }
                (Edit::Count(count), Value::Object(members)) => {
                    for _ in 0..(*count).min(FILLED_MAX) {
                        if members.len() as u64 >= *count {
                            break;
                        }
                        let name = self.free_name_beside(facts, None, members)?;
                        let given = self.others(facts, None)?;
                        members.insert(name, self.sample(&given)?);
                    }
                }
                (Edit::Item(index, item), Value::Array(items)) => {
                    while items.len() < *index {
                        let given = items_at(facts, items.len());
                        items.push(self.sample(&given)?);
                    }
                    match items.get_mut(*index) {
                        Some(place) => place.clone_from(item),
                        None => items.push(item.clone()),
                    }
                }
                _ => {}
            }
        }
        Some(value)
    }

    /// Values of one type to try; not all of them satisfy the facts.
    pub fn values(&mut self, facts: &Facts, kind: Kind, atoms: &[Rc<Atom>]) -> Vec<Value> {
        let listed: Vec<Value> = facts
            .each()
            .filter_map(|atom| match atom {
                Atom::Enum(values) => Some(values.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        if !listed.is_empty() {
            return listed;
        }
        let mut values = match kind {
            Kind::Null => vec![Value::Null],
            Kind::Boolean => vec![json!(true), json!(false)],
            Kind::Number => numbers(facts, atoms),
            Kind::String => strings::candidates(facts, atoms)
                .into_iter()
                .map(Value::String)
                .collect(),
            Kind::Array => self.arrays(facts, atoms),
            Kind::Object => self.objects(facts),
        };
        if matches!(kind, Kind::Number | Kind::String) {
            let pooled = self
                .pool
                .iter()
                .filter(|value| super::evaluate::kind_of(value) == kind);
            values.extend(pooled.cloned());
        }
        values.truncate(TRIED_MAX);
        values
    }

    fn arrays(&mut self, facts: &Facts, atoms: &[Rc<Atom>]) -> Vec<Value> {
        let (least, most) = (facts.item_counts().0, items_most(facts));
        let mut counts = BTreeSet::from([least, least + 1, least + 2]);
        for atom in atoms {
            match atom.as_ref() {
                Atom::ItemsAtLeast(bound) => counts.extend(bound.checked_sub(1)),
                Atom::ItemsAtMost(bound) => counts.extend(bound.checked_add(1)),
                _ => {}
            }
        }
        let unique = facts.each().any(|atom| matches!(atom, Atom::Unique));
        let contained: Vec<Node> = facts
            .each()
            .filter_map(|atom| match atom {
                Atom::Contains { node, .. } => Some(*node),
                _ => None,
            })
            .collect();
        let mut arrays = Vec::new();
        for count in counts {
            if count < least || count > most || count > FILLED_MAX {
                continue;
            }
            let mut items: Vec<Value> = Vec::new();
            for index in 0..usize::try_from(count).unwrap_or(0) {
                let mut given = items_at(facts, index);
                let place = index.checked_sub(items_at_front(facts));
                if let Some(node) = place.and_then(|place| contained.get(place)) {
                    given.push(Given {
                        node: *node,
                        closed: false,
                    });
                }
                let item = if unique {
                    self.another(&given, &items)
                } else {
                    self.sample(&given)
                };
                items.extend(item);
            }
            arrays.push(Value::Array(items));
        }
        arrays
    }

    /// A sample that is not among `taken`.
    fn another(&mut self, given: &[Given], taken: &[Value]) -> Option<Value> {
        let first = self.sample(given)?;
        if !taken.contains(&first) {
            return Some(first);
        }
        let facts = Facts::of(&self.arena, given);
        let kinds: Vec<Kind> = facts.types.kinds().collect();
        kinds.into_iter().find_map(|kind| {
            let facts = facts.only(kind);
            let values = self.values(&facts, kind, &[]);
            values
                .into_iter()
                .find(|value| !taken.contains(value) && self.satisfies(&facts, value))
        })
    }

    fn objects(&mut self, facts: &Facts) -> Vec<Value> {
        let names = self.spoken_of(facts);
        let (least, most) = facts.property_counts();
        let mut smallest = Map::new();
        let mut fullest = Map::new();
        for name in names.named.keys() {
            let required = facts.requires(name);
            if !required && fullest.len() >= MEMBERS_MAX {
                continue;
            }
            let Some(given) = self.members(facts, name) else {
                continue;
            };
            let Some(value) = self.sample(&given) else {
                continue;
            };
            if required || (smallest.len() as u64) < least {
                smallest.insert(name.clone(), value.clone());
            }
            if (fullest.len() as u64) < most {
                fullest.insert(name.clone(), value);
            }
        }
        for _ in 0..least.min(FILLED_MAX) {
            if smallest.len() as u64 >= least {
                break;
            }
            let Some(given) = self.others(facts, None) else {
                break;
            };
            let (Some(name), Some(value)) =
                (self.free_name_beside(facts, None, &smallest), self.sample(&given))
            else {
                break;
            };
            smallest.insert(name, value);
        }
        if smallest == fullest {
            vec![Value::Object(smallest)]
        } else {
            vec![Value::Object(smallest), Value::Object(fullest)]
        }
    }

    /// A name that no fact speaks of, or that only `pattern` does.
    pub fn free_name(&mut self, facts: &Facts, pattern: Option<&str>) -> Option<String> {
        self.free_name_beside(facts, pattern, &Map::new())
    }

    fn free_name_beside(
        &mut self,
        facts: &Facts,
        pattern: Option<&str>,
        beside: &Map<String, Value>,
    ) -> Option<String> {
        let names = self.spoken_of(facts);
        let candidates: Vec<String> = match pattern {
            Some(pattern) => strings::matching(pattern),
            None => {
                let named: Vec<Rc<Atom>> = facts
                    .each()
                    .filter_map(|atom| match atom {
                        Atom::PropertyNames(node) => Some(*node),
                        _ => None,
                    })
                    .flat_map(|node| self.arena.atoms(node).to_vec())
                    .collect();
                let mut name_facts = Facts::new();
                name_facts.atoms = named.into_iter().map(|atom| (atom, false)).collect();
                let mut all = vec!["other".to_owned()];
                all.extend((0..FILLED_MAX).map(|index| format!("other{index}")));
                all.splice(0..0, strings::candidates(&name_facts, &[]));
                all
            }
        };
        let name_nodes: Vec<Node> = facts
            .each()
            .filter_map(|atom| match atom {
                Atom::PropertyNames(node) => Some(*node),
                _ => None,
            })
            .collect();
        candidates.into_iter().find(|name| {
            !name.is_empty()
                && !beside.contains_key(name)
                && !names.named.contains_key(name)
                && names.patterns.keys().all(|known| {
                    Some(known.as_str()) == pattern || self.evaluator.matches(known, name) == Some(false)
                })
                && name_nodes.iter().all(|node| {
                    self.evaluator
                        .accepts(&self.arena, *node, &Value::String(name.clone()))
                        != Some(false)
                })
        })
    }
}

/// The schemas of all assertions of the same member, where `atom` is one.
fn same_member(atoms: &[Rc<Atom>], atom: &Atom) -> Option<(String, Vec<Node>)> {
    let member = |atom: &Atom| match atom {
        Atom::Properties(properties) if properties.additional.is_none() && properties.named.len() == 1 => {
            properties
                .named
                .first_key_value()
                .map(|(name, node)| (name.clone(), *node))
        }
        _ => None,
    };
    let (name, _) = member(atom)?;
    let goals = atoms
        .iter()
        .filter_map(|atom| member(atom))
        .filter(|(other, _)| *other == name)
        .map(|(_, node)| node)
        .collect();
    Some((name, goals))
}

fn items_at_front(facts: &Facts) -> usize {
    facts
        .each()
        .filter_map(|atom| match atom {
            Atom::Items { prefix, .. } => Some(prefix.len()),
            _ => None,
        })
        .max()
        .unwrap_or(0)
}

fn numbers(facts: &Facts, atoms: &[Rc<Atom>]) -> Vec<Value> {
    let range = Range::of(facts);
    let mut anchors: Vec<Exact> = [range.low, range.high]
        .into_iter()
        .flatten()
        .map(|(limit, _)| limit)
        .collect();
    let mut divisors = Vec::new();
    for atom in facts.each().chain(atoms.iter().map(AsRef::as_ref)) {
        match atom {
            Atom::AtLeast { limit, .. } | Atom::AtMost { limit, .. } => anchors.extend(Exact::of(limit)),
            Atom::MultipleOf(divisor) => divisors.extend(Exact::of(divisor)),
            Atom::Enum(values) => {
                anchors.extend(values.iter().filter_map(Value::as_number).filter_map(Exact::of));
            }
            _ => {}
        }
    }
    anchors.extend([Exact::Whole(0), Exact::Whole(1)]);
    let mut found: Vec<Exact> = Vec::new();
    for anchor in &anchors {
        let float = anchor.as_f64();
        match anchor {
            Exact::Whole(whole) => {
                found.extend([-2, -1, 0, 1, 2].map(|step| Exact::Whole(whole.saturating_add(step))))
            }
            Exact::Fraction(_) => {
                found.extend([
                    Exact::Whole(float.floor() as i128),
                    *anchor,
                    Exact::Whole(float.ceil() as i128),
                ]);
            }
        }
        found.extend([float + 0.5, float - 0.5].map(Exact::Fraction));
        for divisor in &divisors {
            let step = divisor.as_f64();
            if step > 0.0 {
                let near = (float / step).floor();
                found.extend(
                    [near - 1.0, near, near + 1.0, near + 2.0].map(|times| whole_or_fraction(times * step)),
                );
            }
        }
    }
    if let (Some((low, _)), Some((high, _))) = (range.low, range.high) {
        found.push(whole_or_fraction(f64::midpoint(low.as_f64(), high.as_f64())));
    }
    // A whole number written as a fraction.
    let mut values = as_values(&found);
    values.extend([json!(1.0), json!(-1), json!(1e6), json!(1_700_000_000)]);
    values
}

fn whole_or_fraction(float: f64) -> Exact {
    if float.fract() == 0.0 && float.abs() < 9e15 {
        Exact::Whole(float as i128)
    } else {
        Exact::Fraction(float)
    }
}
