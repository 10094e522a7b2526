//! Whether one schema accepts all that another accepts: proved, refuted by an example, or said to be unknown.
//!
//! The side that must be included is taken as closed: a member that it does not name counts as not sent. What is proved
//! is proved over all JSON values; an example is shown only after the validators of both schemas have seen it. Pure: no
//! I/O, bounded by steps and time; memory is bounded by the process that this runs in (`child`).

mod cases;
mod changes;
pub mod child;
mod difference;
mod evaluate;
mod example;
mod facts;
mod keywords;
mod names;
mod node;
mod object;
mod places;
mod prove;
mod read;
mod simple;
mod strings;
#[cfg(test)]
mod tests;
mod verify;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::pointer_escaped;

pub use changes::{Change, changes};
use facts::{Facts, Given};
use node::Arena;
pub(super) use places::SUBSCHEMA_MAPS;
use prove::{Open, Prover};
pub(super) use read::Draft;
use read::Reader;
pub use read::Source;
use verify::Judge;

/// Steps of one proof.
const STEPS_MAX: u64 = 3_000_000;
/// Values taken from the schemas' own texts to be tried.
const POOL_MAX: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Yes,
    No,
    Unknown,
}

/// What one schema accepts and the other refuses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Of such values: all of them, or those of the kind that the example is of.
    pub schema: Value,
    /// Valid under the one, invalid under the other.
    pub example: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub verdict: Verdict,
    /// With `no`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// With `unknown`: which part could not be decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undecided: Option<String>,
}

impl Answer {
    fn yes() -> Answer {
        Answer {
            verdict: Verdict::Yes,
            refusal: None,
            undecided: None,
        }
    }

    pub fn unknown(why: impl Into<String>) -> Answer {
        Answer {
            verdict: Verdict::Unknown,
            refusal: None,
            undecided: Some(why.into()),
        }
    }
}

/// Both questions about two versions of a schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The new accepts all that the old accepts.
    pub backward: Answer,
    /// The old accepts all that the new accepts.
    pub forward: Answer,
}

/// Compares two schemas within `time`. `events` are values to try where no proof is found.
pub fn compare(old: &Source, new: &Source, events: &[Value], time: Duration) -> Report {
    let start = Instant::now();
    if old.root == new.root && old.library == new.library {
        return Report {
            backward: Answer::yes(),
            forward: Answer::yes(),
        };
    }
    Report {
        backward: includes(old, new, events, start + time / 2),
        forward: includes(new, old, events, start + time),
    }
}

/// Whether `wide` accepts all that `narrow`, taken as closed, accepts.
pub fn includes(narrow: &Source, wide: &Source, events: &[Value], until: Instant) -> Answer {
    let (narrow_judge, wide_judge) = match (Judge::new(narrow), Judge::new(wide)) {
        (Ok(narrow), Ok(wide)) => (narrow, wide),
        (Err(cause), _) | (_, Err(cause)) => {
            return Answer::unknown(format!("a schema cannot be compiled: {cause}"));
        }
    };
    let mut arena = Arena::new();
    let (given, slots) = Reader::new(&mut arena, narrow.clone()).read(None);
    let (goal, _) = Reader::new(&mut arena, wide.clone()).read(Some((narrow, &slots)));
    let drafts = [Draft::of(&narrow.root), Draft::of(&wide.root)];
    let mut prover = Prover::new(arena, drafts, STEPS_MAX, until);
    for document in [narrow, wide] {
        pool(&document.root, &mut prover.pool);
    }
    let given = Given {
        node: given,
        closed: true,
    };
    let open = match prover.include(vec![given], vec![goal]) {
        Ok(()) => return Answer::yes(),
        Err(open) => open,
    };
    let mut tried: Vec<Value> = open.example.iter().cloned().collect();
    tried.extend(events.iter().cloned());
    tried.extend(variations(&mut prover, given));
    let (arena, evaluator) = (&prover.arena, &mut prover.evaluator);
    let refuting = tried.into_iter().find(|value| {
        narrow_judge.accepts(value)
            && !wide_judge.accepts(value)
            && evaluator.is_closed(arena, &[given.node], value, 0)
    });
    if let Some(example) = refuting {
        let schema = verify::difference(narrow, wide, &open, &example);
        return Answer {
            verdict: Verdict::No,
            refusal: Some(Refusal { schema, example }),
            undecided: None,
        };
    }
    if Instant::now() < until && verify::is_covered(narrow, wide) {
        return Answer::yes();
    }
    Answer::unknown(undecided(&open, prover.is_out_of_time()))
}

fn undecided(open: &Open, out_of_time: bool) -> String {
    if out_of_time {
        return "the schemas are too large to be compared in the time that there is".to_owned();
    }
    let place: String = open
        .path
        .iter()
        .rev()
        .map(|step| format!("/{}", pointer_escaped(step)))
        .collect();
    let place = if place.is_empty() {
        "the whole value".to_owned()
    } else {
        place
    };
    format!("`{}` at {place} could not be decided", open.keyword)
}

/// Whole values of the narrow side, one for each way its first choices can be made.
fn variations(prover: &mut Prover, given: Given) -> Vec<Value> {
    let facts = Facts::of(&prover.arena, &[given]);
    let mut found = Vec::new();
    for kind in facts.types.kinds().collect::<Vec<_>>() {
        let facts = facts.only(kind);
        if facts.choices.is_empty() {
            found.extend(prover.values(&facts, kind, &[]));
        } else {
            found.extend(prover.realize(facts, 8));
        }
    }
    found
}

/// Scalars of `examples`, `default`, `const` and `enum`, wherever they stand.
fn pool(schema: &Value, found: &mut Vec<Value>) {
    match schema {
        Value::Object(members) => {
            for (keyword, value) in members {
                if matches!(
                    keyword.as_str(),
                    "examples" | "example" | "default" | "const" | "enum"
                ) {
                    scalars(value, found);
                }
                pool(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| pool(item, found)),
        _ => {}
    }
}

fn scalars(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| scalars(item, found)),
        Value::Object(members) => members.values().for_each(|item| scalars(item, found)),
        Value::String(_) | Value::Number(_) if found.len() < POOL_MAX && !found.contains(value) => {
            found.push(value.clone());
        }
        _ => {}
    }
}
