//! What is known of a value: the schemas that it is taken to satisfy, opened up as far as no choice has to be made.

use std::{cell::RefCell, collections::HashSet, fmt, rc::Rc};

use super::{
    names::Names,
    node::{Arena, Atom, Kind, Node, Numbers, Properties, Types},
    strings,
};

/// A schema that a value is taken to satisfy. Closed: members that it does not name are taken as not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Given {
    pub node: Node,
    pub closed: bool,
}

#[derive(Clone, Debug)]
pub struct Facts {
    pub types: Types,
    /// None of them is a conjunction, a reference or a choice.
    pub atoms: Vec<(Rc<Atom>, bool)>,
    /// `anyOf`, `oneOf` and `if` that are not decided yet.
    pub choices: Vec<(Rc<Atom>, bool)>,
    /// Schemas that the value breaks.
    pub denied: Vec<Node>,
    /// Closed schemas that the value may satisfy too: what they name is not unnamed.
    pub perhaps: Vec<Node>,
    pub taken: HashSet<Given>,
    /// A closed schema, or a branch of it, names members: what none names counts as not sent.
    pub names_members: bool,
    known: HashSet<(Rc<Atom>, bool)>,
    pub closed_names: Once<Option<Names>>,
    pub spoken_of: Once<Names>,
}

/// What was worked out of these facts; a copy, which is there to be changed, begins anew.
pub struct Once<T>(RefCell<Option<Rc<T>>>);

impl<T> Once<T> {
    fn new() -> Once<T> {
        Once(RefCell::new(None))
    }

    pub fn get(&self, make: impl FnOnce() -> T) -> Rc<T> {
        let known = self.0.borrow().clone();
        known.unwrap_or_else(|| {
            let made = Rc::new(make());
            *self.0.borrow_mut() = Some(Rc::clone(&made));
            made
        })
    }
}

impl<T> Clone for Once<T> {
    fn clone(&self) -> Once<T> {
        Once::new()
    }
}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("…")
    }
}

impl Facts {
    pub fn new() -> Facts {
        Facts {
            types: Types::ALL,
            atoms: Vec::new(),
            choices: Vec::new(),
            denied: Vec::new(),
            perhaps: Vec::new(),
            taken: HashSet::new(),
            names_members: false,
            known: HashSet::new(),
            closed_names: Once::new(),
            spoken_of: Once::new(),
        }
    }

    pub fn of(arena: &Arena, given: &[Given]) -> Facts {
        let mut facts = Facts::new();
        for given in given {
            facts.take(arena, *given);
        }
        facts
    }

    pub fn take(&mut self, arena: &Arena, given: Given) {
        if !self.taken.insert(given) {
            return;
        }
        (self.closed_names, self.spoken_of) = (Once::new(), Once::new());
        let inner = |node| Given {
            node,
            closed: given.closed,
        };
        for atom in arena.atoms(given.node).iter() {
            match atom.as_ref() {
                Atom::Types(types) => self.types = self.types.and(*types),
                Atom::All(nodes) => {
                    for node in nodes {
                        self.take(arena, inner(*node));
                    }
                }
                Atom::Reference(slot) => match arena.target(*slot) {
                    Some(target) => self.take(arena, inner(target)),
                    None => self.add(atom, given.closed),
                },
                Atom::Any(nodes) | Atom::One(nodes) if nodes.len() == 1 => {
                    for node in nodes {
                        self.take(arena, inner(*node));
                    }
                }
                Atom::Any(_) | Atom::One(_) | Atom::If { .. } => {
                    self.names_members |= given.closed && names_members(arena, atom, &mut HashSet::new());
                    if self.known.insert((Rc::clone(atom), given.closed)) {
                        self.choices.push((Rc::clone(atom), given.closed));
                    }
                }
                Atom::Not(node) => self.denied.push(*node),
                _ => {
                    self.names_members |= given.closed && names_members(arena, atom, &mut HashSet::new());
                    self.add(atom, given.closed);
                }
            }
        }
    }

    fn add(&mut self, atom: &Rc<Atom>, closed: bool) {
        if self.known.insert((Rc::clone(atom), closed)) {
            self.atoms.push((Rc::clone(atom), closed));
        }
    }

    pub fn has_node(&self, node: Node) -> bool {
        [true, false]
            .into_iter()
            .any(|closed| self.taken.contains(&Given { node, closed }))
    }

    pub fn has_atom(&self, atom: &Rc<Atom>) -> bool {
        [true, false]
            .into_iter()
            .any(|closed| self.known.contains(&(Rc::clone(atom), closed)))
    }

    /// The same facts of values of one type.
    pub fn only(&self, kind: Kind) -> Facts {
        let mut facts = self.clone();
        facts.types = facts.types.and(Types::NONE.with(kind));
        facts
    }

    pub fn each(&self) -> impl Iterator<Item = &Atom> {
        self.atoms.iter().map(|(atom, _)| atom.as_ref())
    }

    pub fn of_kind(&self) -> Option<Kind> {
        let mut kinds = self.types.kinds();
        let first = kinds.next();
        first.filter(|_| kinds.next().is_none())
    }

    pub fn is_integral(&self) -> bool {
        self.types.number <= Numbers::Integral
    }

    pub fn properties(&self) -> impl Iterator<Item = (&Properties, bool)> {
        self.atoms
            .iter()
            .filter_map(|(atom, closed)| match atom.as_ref() {
                Atom::Properties(properties) => Some((properties, *closed)),
                _ => None,
            })
    }

    pub fn requires(&self, name: &str) -> bool {
        self.each()
            .any(|atom| matches!(atom, Atom::Required(required) if required == name))
    }

    pub fn denies(&self, name: &str) -> bool {
        self.each()
            .any(|atom| matches!(atom, Atom::Absent(absent) if absent == name))
    }

    /// `least ..= most` of what two kinds of atom bound.
    pub fn window(&self, bound: impl Fn(&Atom) -> (Option<u64>, Option<u64>)) -> (u64, u64) {
        self.each().fold((0, u64::MAX), |(least, most), atom| {
            let (lower, upper) = bound(atom);
            (least.max(lower.unwrap_or(0)), most.min(upper.unwrap_or(u64::MAX)))
        })
    }

    pub fn lengths(&self) -> (u64, u64) {
        self.window(|atom| match atom {
            Atom::LengthAtLeast(least) => (Some(*least), None),
            Atom::LengthAtMost(most) => (None, Some(*most)),
            Atom::Pattern(pattern) => strings::pattern_lengths(pattern),
            Atom::Format { name, .. } => strings::format_lengths(name),
            _ => (None, None),
        })
    }

    pub fn item_counts(&self) -> (u64, u64) {
        self.window(|atom| match atom {
            Atom::ItemsAtLeast(least) => (Some(*least), None),
            Atom::ItemsAtMost(most) => (None, Some(*most)),
            _ => (None, None),
        })
    }

    pub fn property_counts(&self) -> (u64, u64) {
        let (least, most) = self.window(|atom| match atom {
            Atom::PropertiesAtLeast(least) => (Some(*least), None),
            Atom::PropertiesAtMost(most) => (None, Some(*most)),
            _ => (None, None),
        });
        let required: HashSet<&str> = self
            .each()
            .filter_map(|atom| match atom {
                Atom::Required(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        (least.max(required.len() as u64), most)
    }
}

/// Whether the assertion, or any branch of it, names members of the value that it is about.
pub fn names_members(arena: &Arena, atom: &Atom, seen: &mut HashSet<Node>) -> bool {
    let mut any = |nodes: &[Node]| {
        nodes.iter().any(|node| {
            seen.insert(*node)
                && arena
                    .atoms(*node)
                    .iter()
                    .any(|atom| names_members(arena, atom, seen))
        })
    };
    match atom {
        Atom::Properties(properties) => !properties.named.is_empty() || !properties.patterns.is_empty(),
        Atom::All(nodes) | Atom::Any(nodes) | Atom::One(nodes) => any(nodes),
        Atom::If {
            condition,
            then,
            otherwise,
        } => any(&[*condition, *then, *otherwise]),
        Atom::Reference(slot) => arena.target(*slot).is_some_and(|target| any(&[target])),
        _ => false,
    }
}
