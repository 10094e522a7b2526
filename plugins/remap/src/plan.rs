//! Steps in stages: all that the steps of one stage read is read in one call of the gateway, before any of them has
//! changed anything. A step that may read what an earlier one changes begins another stage.

use crate::{
    place::Place,
    steps::{Action, Step},
};

pub struct Stage {
    pub steps: Vec<Step>,
    /// What its steps read, each once.
    pub reads: Vec<String>,
}

pub fn plan(steps: Vec<Step>) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut written: Vec<String> = Vec::new();
    for mut step in steps {
        let mut reads = Vec::new();
        step.visit(&mut |place| {
            if let Place::Data { pointer, .. } = place {
                reads.push(pointer.clone());
            }
        });
        let is_split = matches!(step.action, Action::Split(_));
        let depends = reads
            .iter()
            .any(|read| written.iter().any(|write| may_change(write, read)));
        let follows_split = stages.last().is_some_and(|stage| {
            stage
                .steps
                .iter()
                .any(|step| matches!(step.action, Action::Split(_)))
        });
        if stages.is_empty() || depends || is_split || follows_split {
            stages.push(Stage {
                steps: Vec::new(),
                reads: Vec::new(),
            });
            written.clear();
        }
        written.extend(step.writes().into_iter().map(str::to_owned));
        if let Some(stage) = stages.last_mut() {
            step.visit(&mut |place| stage.place(place));
            stage.steps.push(step);
        }
    }
    stages
}

impl Stage {
    fn place(&mut self, place: &mut Place) {
        if let Place::Data { pointer, slot } = place {
            let known = self.reads.iter().position(|read| read == pointer);
            *slot = known.unwrap_or(self.reads.len());
            if known.is_none() {
                self.reads.push(pointer.clone());
            }
        }
    }
}

/// Whether a change at one pointer may change what is read at another: one lies in the other, or both in an array whose
/// elements move.
pub fn may_change(write: &str, read: &str) -> bool {
    if is_within(read, write) || is_within(write, read) {
        return true;
    }
    let (parent, last) = write.rsplit_once('/').unwrap_or(("", ""));
    let is_position = last == "-" || last.bytes().all(|byte| byte.is_ascii_digit());
    is_position && is_within(read, parent)
}

fn is_within(pointer: &str, outer: &str) -> bool {
    pointer
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
