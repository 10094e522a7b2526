//! The proof that whatever satisfies some schemas satisfies one of others. Schemas are taken apart as a tableau does it:
//! what is given is split into cases, what is to be shown into its assertions, until each assertion follows from a fact
//! or a value is at hand that shows that it does not.
//!
//! References may lead in circles. What is to be shown of a member or item while the same is being shown of the whole
//! may be taken as shown: values are finite, so this is induction over their size.

use std::{collections::HashMap, rc::Rc, time::Instant};

use serde_json::Value;

use super::{
    evaluate::Evaluator,
    facts::{Facts, Given},
    node::{Arena, Atom, Kind, Node, Numbers, Properties},
    read::Draft,
    simple::{Range, items_most},
};

/// Members and items inside each other.
const NESTING_MAX: usize = 60;
/// Cases inside each other, of one value.
const CASES_MAX: u32 = 150;

/// What could not be shown.
#[derive(Clone, Debug, Default)]
pub struct Open {
    /// Where in the value; each step as in a JSON Pointer, the innermost last. `*` is any member or item.
    pub path: Vec<String>,
    pub keyword: String,
    /// A value that is refused, as far as this prover knows.
    pub example: Option<Value>,
    /// A schema of such values.
    pub difference: Option<Value>,
}

impl Open {
    pub fn because(keyword: &str) -> Box<Open> {
        Box::new(Open {
            keyword: keyword.to_owned(),
            ..Open::default()
        })
    }
}

pub type Outcome = Result<(), Box<Open>>;

/// How an object or array is changed so that it breaks what was to be shown.
#[derive(Clone, Debug)]
pub enum Edit {
    None,
    Set(String, Value),
    Remove(String),
    Item(usize, Value),
    Count(u64),
}

/// An assertion that does not follow.
pub struct Failure {
    pub open: Box<Open>,
    pub edit: Edit,
}

impl From<Box<Open>> for Failure {
    fn from(open: Box<Open>) -> Failure {
        Failure {
            open,
            edit: Edit::None,
        }
    }
}

type Sequent = (Vec<Given>, Vec<Node>);

pub struct Prover {
    pub arena: Arena,
    pub evaluator: Evaluator,
    /// Whether it matters how a whole number is written.
    pub written_integers: bool,
    /// Outcomes, and whether values were looked for.
    known: HashMap<Sequent, (Outcome, bool)>,
    under_way: Vec<Sequent>,
    /// The outermost sequent under way that was taken as shown.
    assumed: usize,
    cases: u32,
    steps_left: u64,
    until: Instant,
    /// Whether values are looked for where something cannot be shown.
    pub examples: bool,
    /// Strings and numbers from elsewhere, to be tried.
    pub pool: Vec<Value>,
    pub samples: HashMap<Vec<Given>, Option<Value>>,
    pub sampling: u32,
}

enum Rest {
    Met,
    Impossible,
    Left(Vec<Rc<Atom>>),
}

impl Prover {
    pub fn new(arena: Arena, drafts: [Draft; 2], steps: u64, until: Instant) -> Prover {
        Prover {
            arena,
            evaluator: Evaluator::default(),
            written_integers: drafts.contains(&Draft::Four),
            known: HashMap::new(),
            under_way: Vec::new(),
            assumed: usize::MAX,
            cases: 0,
            steps_left: steps,
            until,
            examples: true,
            pool: Vec::new(),
            samples: HashMap::new(),
            sampling: 0,
        }
    }

    /// Of a member, an item or the whole: what satisfies all of `given` satisfies one of `goals`.
    pub fn include(&mut self, mut given: Vec<Given>, mut goals: Vec<Node>) -> Outcome {
        given.sort_unstable();
        given.dedup();
        goals.sort_unstable();
        goals.dedup();
        if goals
            .iter()
            .any(|goal| *goal == Arena::TRUE || given.iter().any(|given| given.node == *goal))
        {
            return Ok(());
        }
        let sequent = (given, goals);
        match self.known.get(&sequent) {
            Some((outcome, searched)) if outcome.is_ok() || *searched || !self.examples => {
                return outcome.clone();
            }
            _ => {}
        }
        if let Some(index) = self.under_way.iter().position(|known| *known == sequent) {
            self.assumed = self.assumed.min(index);
            return Ok(());
        }
        if self.under_way.len() >= NESTING_MAX {
            return Err(Open::because("nesting"));
        }
        let index = self.under_way.len();
        let outer = std::mem::replace(&mut self.assumed, usize::MAX);
        self.under_way.push(sequent.clone());
        let facts = Facts::of(&self.arena, &sequent.0);
        let outcome = self.solve(facts, sequent.1.clone());
        self.under_way.pop();
        // Proved on the word of a sequent further out, it may yet fall with that one.
        if outcome.is_err() || self.assumed >= index {
            self.known.insert(sequent, (outcome.clone(), self.examples));
        }
        let inner = if self.assumed < index {
            self.assumed
        } else {
            usize::MAX
        };
        self.assumed = outer.min(inner);
        outcome
    }

    /// Whether no value satisfies all of `given`, as far as can be shown cheaply.
    pub fn is_empty(&mut self, given: Vec<Given>) -> bool {
        let examples = std::mem::replace(&mut self.examples, false);
        let empty = self.include(given, Vec::new()).is_ok();
        self.examples = examples;
        empty
    }

    pub fn is_out_of_time(&self) -> bool {
        self.steps_left == 0
    }

    pub fn spend(&mut self) -> Outcome {
        self.steps_left = self.steps_left.saturating_sub(1);
        if self.steps_left.is_multiple_of(64) && Instant::now() > self.until {
            self.steps_left = 0;
        }
        match self.steps_left {
            0 => Err(Open::because("size")),
            _ => Ok(()),
        }
    }

    /// The same of one value whose facts are open.
    pub fn solve(&mut self, facts: Facts, goals: Vec<Node>) -> Outcome {
        self.spend()?;
        if self.cases >= CASES_MAX {
            return Err(Open::because("nesting"));
        }
        self.cases += 1;
        let outcome = self.solve_case(facts, goals);
        self.cases -= 1;
        outcome
    }

    fn solve_case(&mut self, mut facts: Facts, mut goals: Vec<Node>) -> Outcome {
        goals.append(&mut facts.denied);
        goals.sort_unstable();
        goals.dedup();
        goals.retain(|goal| *goal != Arena::FALSE);
        if goals
            .iter()
            .any(|goal| *goal == Arena::TRUE || facts.has_node(*goal))
        {
            return Ok(());
        }
        self.drop_impossible_kinds(&mut facts);
        if facts.types.kinds().next().is_none() {
            return Ok(());
        }
        if let Some(values) = self.finite(&facts) {
            return self.each_value(&facts, values, &goals);
        }
        let mut left: Vec<(Node, Vec<Rc<Atom>>)> = Vec::new();
        for goal in goals {
            match self.rest(&facts, goal) {
                Rest::Met => return Ok(()),
                Rest::Impossible => {}
                Rest::Left(atoms) => left.push((goal, atoms)),
            }
        }
        if let Some(index) = best_choice(&facts) {
            let (choice, closed) = facts.choices.remove(index);
            return self.split(&facts, &choice, closed, &nodes(&left));
        }
        let kinds: Vec<Kind> = facts.types.kinds().collect();
        if kinds.len() > 1 {
            return first_example(kinds.into_iter().map(|kind| {
                let facts = facts.only(kind);
                let goals = nodes(&left);
                move |prover: &mut Prover| prover.solve(facts, goals)
            }))(self);
        }
        self.take_apart(&facts, left)
    }

    fn drop_impossible_kinds(&mut self, facts: &mut Facts) {
        if Range::of(facts).is_empty() {
            facts.types.number = Numbers::None;
        }
        let (least, most) = facts.lengths();
        facts.types.string &= least <= most;
        facts.types.array &= facts.item_counts().0 <= items_most(facts);
        let (least, most) = facts.property_counts();
        facts.types.object = facts.types.object && least <= most && !self.lacks_required(facts);
    }

    /// What is still to be shown of a goal.
    fn rest(&mut self, facts: &Facts, goal: Node) -> Rest {
        let mut left = Vec::new();
        let mut seen = Vec::new();
        if !self.collect(facts, goal, &mut left, &mut seen) {
            return Rest::Impossible;
        }
        if left.is_empty() {
            Rest::Met
        } else {
            Rest::Left(left)
        }
    }

    /// False where the goal cannot hold.
    fn collect(&mut self, facts: &Facts, goal: Node, left: &mut Vec<Rc<Atom>>, seen: &mut Vec<Node>) -> bool {
        if facts.has_node(goal) || seen.contains(&goal) {
            return true;
        }
        seen.push(goal);
        for atom in self.arena.atoms(goal).iter() {
            if facts.has_atom(atom) || atom.kind().is_some_and(|kind| !facts.types.has(kind)) {
                continue;
            }
            match atom.as_ref() {
                Atom::All(nodes) => {
                    for node in nodes {
                        if !self.collect(facts, *node, left, seen) {
                            return false;
                        }
                    }
                }
                Atom::Reference(slot) if self.arena.target(*slot).is_some() => {
                    let target = self.arena.target(*slot).unwrap_or(Arena::FALSE);
                    if !self.collect(facts, target, left, seen) {
                        return false;
                    }
                }
                Atom::Types(types) if facts.types.is_within(*types) => {}
                Atom::Types(types) if facts.types.and(*types).kinds().next().is_none() => return false,
                Atom::Types(_) | Atom::Enum(_) | Atom::Not(_) | Atom::If { .. } | Atom::One(_) => {
                    if !left.contains(atom) {
                        left.push(Rc::clone(atom));
                    }
                }
                Atom::Any(nodes) => {
                    let met = nodes.iter().any(|node| {
                        let mut inner = Vec::new();
                        self.collect(facts, *node, &mut inner, &mut seen.clone()) && inner.is_empty()
                    });
                    if !met && !left.contains(atom) {
                        left.push(Rc::clone(atom));
                    }
                }
                Atom::Properties(properties) => {
                    for part in parts(properties) {
                        if self.excludes(facts, &part) {
                            return false;
                        }
                        let part = Rc::new(Atom::Properties(part));
                        if !facts.has_atom(&part)
                            && self.check(facts, &part).is_err()
                            && !left.contains(&part)
                        {
                            left.push(part);
                        }
                    }
                }
                Atom::Required(name) if !facts.requires(name) && self.members(facts, name).is_none() => {
                    return false;
                }
                _ => {
                    if self.check(facts, atom).is_err() && !left.contains(atom) {
                        left.push(Rc::clone(atom));
                    }
                }
            }
        }
        true
    }

    /// Whether a member that is there cannot be what `part` wants: a discriminator of another variant.
    fn excludes(&mut self, facts: &Facts, part: &Properties) -> bool {
        let Some((name, node)) = part.named.first_key_value() else {
            return false;
        };
        if part.additional.is_some() || part.named.len() > 1 || !facts.requires(name) {
            return false;
        }
        let Some(mut given) = self.members(facts, name) else {
            return false;
        };
        given.push(Given {
            node: *node,
            closed: false,
        });
        let facts = Facts::of(&self.arena, &given);
        match self.finite(&facts) {
            Some(values) => values.is_empty(),
            None => facts.types.kinds().next().is_none(),
        }
    }
}

fn nodes(left: &[(Node, Vec<Rc<Atom>>)]) -> Vec<Node> {
    left.iter().map(|(node, _)| *node).collect()
}

/// Goes on past what cannot be shown while no value shows why.
pub fn first_example<F>(steps: impl IntoIterator<Item = F>) -> impl FnOnce(&mut Prover) -> Outcome
where
    F: FnOnce(&mut Prover) -> Outcome,
{
    move |prover| {
        let mut first: Option<Box<Open>> = None;
        for step in steps {
            match step(prover) {
                Ok(()) => {}
                Err(open) if open.example.is_some() || !prover.examples || prover.is_out_of_time() => {
                    return Err(open);
                }
                Err(open) => first = first.or(Some(open)),
            }
        }
        first.map_or(Ok(()), Err)
    }
}

/// The choice with the fewest options.
fn best_choice(facts: &Facts) -> Option<usize> {
    facts
        .choices
        .iter()
        .enumerate()
        .min_by_key(|(_, (choice, _))| match choice.as_ref() {
            Atom::Any(options) | Atom::One(options) => options.len(),
            _ => 2,
        })
        .map(|(index, _)| index)
}

pub fn is_plain(atom: &Atom) -> bool {
    !matches!(
        atom,
        Atom::Any(_) | Atom::One(_) | Atom::Not(_) | Atom::If { .. } | Atom::All(_)
    )
}

/// What properties assert, one name, pattern or rest at a time.
fn parts(properties: &Properties) -> Vec<Properties> {
    let none = Properties::default();
    let named = properties.named.iter().map(|(name, node)| Properties {
        named: [(name.clone(), *node)].into(),
        ..none.clone()
    });
    let patterns = properties.patterns.iter().map(|(pattern, node)| Properties {
        patterns: [(pattern.clone(), *node)].into(),
        ..none.clone()
    });
    let rest = properties.additional.map(|additional| Properties {
        named: properties
            .named
            .keys()
            .map(|name| (name.clone(), Arena::TRUE))
            .collect(),
        patterns: properties
            .patterns
            .keys()
            .map(|name| (name.clone(), Arena::TRUE))
            .collect(),
        additional: Some(additional),
    });
    named
        .chain(patterns)
        .filter(|part| {
            part.named
                .values()
                .chain(part.patterns.values())
                .any(|node| *node != Arena::TRUE)
        })
        .chain(rest.filter(|rest| rest.additional != Some(Arena::TRUE)))
        .collect()
}
