//! Assertions about numbers, strings and arrays.

use std::rc::Rc;

use serde_json::Value;

use super::{
    facts::{Facts, Given},
    node::{Arena, Atom, Exact, Kind, Node},
    prove::{Edit, Failure, Open, Prover},
};

/// Items at the front of an array that are told apart.
const PREFIX_MAX: usize = 64;

/// Bounds of a number, each with whether it is excluded.
#[derive(Clone, Copy, Default)]
pub struct Range {
    pub low: Option<(Exact, bool)>,
    pub high: Option<(Exact, bool)>,
}

impl Range {
    pub fn of(facts: &Facts) -> Range {
        let mut range = Range::default();
        for atom in facts.each() {
            match atom {
                Atom::AtLeast { limit, exclusive } => range.raise(Exact::of(limit), *exclusive),
                Atom::AtMost { limit, exclusive } => range.lower(Exact::of(limit), *exclusive),
                _ => {}
            }
        }
        if facts.is_integral() {
            range.tighten();
        }
        range
    }

    fn raise(&mut self, limit: Option<Exact>, exclusive: bool) {
        let Some(limit) = limit else { return };
        let tighter = self.low.is_none_or(|(low, excluded)| {
            let order = limit.compare(low);
            order.is_gt() || (order.is_eq() && exclusive && !excluded)
        });
        if tighter {
            self.low = Some((limit, exclusive));
        }
    }

    fn lower(&mut self, limit: Option<Exact>, exclusive: bool) {
        let Some(limit) = limit else { return };
        let tighter = self.high.is_none_or(|(high, excluded)| {
            let order = limit.compare(high);
            order.is_lt() || (order.is_eq() && exclusive && !excluded)
        });
        if tighter {
            self.high = Some((limit, exclusive));
        }
    }

    /// To whole numbers. Beyond what a double tells apart, bounds stay as they are.
    fn tighten(&mut self) {
        const WHOLE: f64 = 9e15;
        self.low = self.low.map(|(limit, exclusive)| match limit {
            Exact::Whole(whole) if exclusive && limit.as_f64().abs() < WHOLE => {
                (Exact::Whole(whole + 1), false)
            }
            Exact::Fraction(float) if float.abs() < WHOLE => (Exact::Whole(float.ceil() as i128), false),
            _ => (limit, exclusive),
        });
        self.high = self.high.map(|(limit, exclusive)| match limit {
            Exact::Whole(whole) if exclusive && limit.as_f64().abs() < WHOLE => {
                (Exact::Whole(whole - 1), false)
            }
            Exact::Fraction(float) if float.abs() < WHOLE => (Exact::Whole(float.floor() as i128), false),
            _ => (limit, exclusive),
        });
    }

    pub fn is_empty(self) -> bool {
        match (self.low, self.high) {
            (Some((low, low_out)), Some((high, high_out))) => {
                let order = low.compare(high);
                order.is_gt() || (order.is_eq() && (low_out || high_out))
            }
            _ => false,
        }
    }

    /// What breaks `atom` too.
    fn without(mut self, atom: &Atom, integral: bool) -> Range {
        match atom {
            Atom::AtLeast { limit, exclusive } => self.lower(Exact::of(limit), !exclusive),
            Atom::AtMost { limit, exclusive } => self.raise(Exact::of(limit), !exclusive),
            _ => {}
        }
        if integral {
            self.tighten();
        }
        self
    }
}

fn fails() -> Failure {
    Failure {
        open: Open::because(""),
        edit: Edit::None,
    }
}

fn met(condition: bool) -> Result<(), Failure> {
    if condition { Ok(()) } else { Err(fails()) }
}

fn at(step: &str, mut open: Box<Open>) -> Box<Open> {
    open.path.push(step.to_owned());
    open
}

impl Prover {
    /// Whether `atom` follows from the facts alone.
    pub fn check(&mut self, facts: &Facts, atom: &Atom) -> Result<(), Failure> {
        let checked = match atom {
            Atom::Types(types) => met(facts.types.is_within(*types)),
            Atom::AtLeast { .. } | Atom::AtMost { .. } => {
                met(Range::of(facts).without(atom, facts.is_integral()).is_empty())
            }
            Atom::MultipleOf(divisor) => met(is_multiple(facts, divisor)),
            Atom::LengthAtLeast(least) => met(facts.lengths().0 >= *least),
            Atom::LengthAtMost(most) => met(facts.lengths().1 <= *most),
            Atom::ItemsAtLeast(least) => met(facts.item_counts().0 >= *least),
            Atom::ItemsAtMost(most) => met(items_most(facts) <= *most),
            Atom::Unique => met(items_most(facts) <= 1),
            Atom::Items { prefix, rest } => self.check_items(facts, prefix, *rest),
            Atom::Contains {
                node,
                at_least,
                at_most,
            } => self.check_contains(facts, *node, *at_least, *at_most),
            Atom::UnevaluatedItems { scope, .. } => self.check_unevaluated_items(facts, *scope),
            Atom::Required(_)
            | Atom::Absent(_)
            | Atom::PropertiesAtLeast(_)
            | Atom::PropertiesAtMost(_)
            | Atom::Properties(_)
            | Atom::PropertyNames(_)
            | Atom::UnevaluatedProperties { .. } => self.check_object(facts, atom),
            _ => Err(fails()),
        };
        checked.map_err(|mut failure| {
            if failure.open.keyword.is_empty() {
                atom.keyword().clone_into(&mut failure.open.keyword);
            }
            failure
        })
    }

    fn check_items(&mut self, facts: &Facts, prefix: &[Node], rest: Option<Node>) -> Result<(), Failure> {
        let most = items_most(facts);
        let given_prefix = facts
            .each()
            .filter_map(|atom| match atom {
                Atom::Items { prefix, .. } => Some(prefix.len()),
                _ => None,
            })
            .max()
            .unwrap_or(0);
        let told_apart = given_prefix.max(prefix.len()).min(PREFIX_MAX);
        for index in 0..=told_apart {
            if most <= index as u64 {
                return Ok(());
            }
            // The last one stands for all that follow.
            let step = if index == told_apart {
                "*".to_owned()
            } else {
                index.to_string()
            };
            let Some(goal) = prefix.get(index).copied().or(rest) else {
                continue;
            };
            let given = items_at(facts, index);
            if let Err(open) = self.include(given, vec![goal]) {
                let edit = open
                    .example
                    .clone()
                    .map_or(Edit::None, |example| Edit::Item(index, example));
                return Err(Failure {
                    open: at(&step, open),
                    edit,
                });
            }
        }
        if given_prefix.max(prefix.len()) > PREFIX_MAX {
            return Err(Open::because("prefixItems").into());
        }
        Ok(())
    }

    fn check_contains(
        &mut self,
        facts: &Facts,
        node: Node,
        at_least: u64,
        at_most: Option<u64>,
    ) -> Result<(), Failure> {
        if at_most.is_some_and(|most| items_most(facts) > most) {
            return Err(fails());
        }
        if at_least == 0 {
            return Ok(());
        }
        let contained: Vec<(Node, bool)> = facts
            .atoms
            .iter()
            .filter_map(|(atom, closed)| match atom.as_ref() {
                Atom::Contains {
                    node,
                    at_least: given,
                    ..
                } if *given >= at_least => Some((*node, *closed)),
                _ => None,
            })
            .collect();
        let examples = std::mem::replace(&mut self.examples, false);
        let mut found = false;
        for (given, closed) in contained {
            found = found
                || self
                    .include(vec![Given { node: given, closed }], vec![node])
                    .is_ok();
        }
        if !found && facts.item_counts().0 >= at_least {
            let all: Vec<Node> = facts
                .each()
                .filter_map(|atom| match atom {
                    Atom::Items { prefix, rest } if prefix.is_empty() => *rest,
                    _ => None,
                })
                .collect();
            let given = all
                .into_iter()
                .map(|node| Given { node, closed: false })
                .collect();
            found = self.include(given, vec![node]).is_ok();
        }
        self.examples = examples;
        met(found)
    }

    fn check_unevaluated_items(&mut self, facts: &Facts, scope: Node) -> Result<(), Failure> {
        let scope = Facts::of(
            &self.arena,
            &[Given {
                node: scope,
                closed: false,
            }],
        );
        let evaluated = scope
            .each()
            .filter_map(|atom| match atom {
                Atom::Items { rest: Some(_), .. } => Some(u64::MAX),
                Atom::Items { prefix, rest: None } => Some(prefix.len() as u64),
                _ => None,
            })
            .max()
            .unwrap_or(0);
        met(items_most(facts) <= evaluated)
    }

    /// Whether one of `atoms` holds of every value, all of one type, that the facts allow; each alone does not follow.
    pub fn show_together(&mut self, facts: &Facts, atoms: &[Rc<Atom>]) -> Result<(), Box<Open>> {
        let shown = match facts.of_kind() {
            Some(Kind::Number) => {
                let integral = facts.is_integral();
                let left = atoms
                    .iter()
                    .fold(Range::of(facts), |range, atom| range.without(atom, integral));
                left.is_empty()
            }
            Some(Kind::String) => covers(facts.lengths(), atoms),
            Some(Kind::Array) => covers((facts.item_counts().0, items_most(facts)), atoms),
            Some(Kind::Object) => {
                covers(facts.property_counts(), atoms) || self.show_members_together(facts, atoms)
            }
            _ => false,
        };
        if shown {
            return Ok(());
        }
        Err(self.open(facts, atoms))
    }
}

/// Whether every count of the window satisfies one of the atoms.
fn covers((mut least, mut most): (u64, u64), atoms: &[Rc<Atom>]) -> bool {
    for atom in atoms {
        match atom.as_ref() {
            Atom::LengthAtLeast(0) | Atom::ItemsAtLeast(0) | Atom::PropertiesAtLeast(0) => return true,
            Atom::LengthAtLeast(bound) | Atom::ItemsAtLeast(bound) | Atom::PropertiesAtLeast(bound) => {
                most = most.min(bound - 1);
            }
            Atom::LengthAtMost(bound) | Atom::ItemsAtMost(bound) | Atom::PropertiesAtMost(bound) => {
                least = least.max(bound.saturating_add(1));
            }
            _ => {}
        }
    }
    least > most
}

fn is_multiple(facts: &Facts, divisor: &serde_json::Number) -> bool {
    let whole = |number: &serde_json::Number| match Exact::of(number) {
        Some(Exact::Whole(whole)) if whole != 0 => Some(whole),
        _ => None,
    };
    let divisor_whole = whole(divisor);
    if divisor_whole.is_some_and(|divisor| divisor.abs() == 1) && facts.is_integral() {
        return true;
    }
    facts.each().any(|atom| match atom {
        Atom::MultipleOf(given) => {
            given == divisor
                || matches!((whole(given), divisor_whole), (Some(given), Some(divisor)) if given % divisor == 0)
        }
        _ => false,
    })
}

/// The most items, tuples that allow no more included.
pub fn items_most(facts: &Facts) -> u64 {
    facts.each().fold(facts.item_counts().1, |most, atom| match atom {
        Atom::Items {
            prefix,
            rest: Some(rest),
        } if *rest == Arena::FALSE => most.min(prefix.len() as u64),
        _ => most,
    })
}

/// What is known of the item at `index`.
pub fn items_at(facts: &Facts, index: usize) -> Vec<Given> {
    facts
        .atoms
        .iter()
        .filter_map(|(atom, closed)| match atom.as_ref() {
            Atom::Items { prefix, rest } => prefix.get(index).copied().or(*rest).map(|node| Given {
                node,
                closed: *closed,
            }),
            _ => None,
        })
        .collect()
}

/// A value as text of a keyword's argument.
pub fn as_values(numbers: &[Exact]) -> Vec<Value> {
    numbers
        .iter()
        .filter_map(|number| match number {
            Exact::Whole(whole) => i64::try_from(*whole)
                .map(Value::from)
                .or_else(|_| u64::try_from(*whole).map(Value::from))
                .ok(),
            Exact::Fraction(float) => serde_json::Number::from_f64(*float).map(Value::Number),
        })
        .collect()
}
