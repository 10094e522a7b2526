//! The steps of a configuration, as they were read: what each does, reads and changes.

use headworks_plugin::Value;

use crate::{condition::Condition, functions::Function, place::Place, template::Template};

pub struct Step {
    /// Where it stands in the configuration: `/steps/3`.
    pub pointer: String,
    pub when: Option<Condition>,
    pub action: Action,
    pub otherwise: Otherwise,
}

pub enum Action {
    Set(Vec<(String, Value)>),
    Template(Vec<(String, Template)>),
    Derive(Vec<Derivation>),
    Rename(Vec<(String, String)>),
    Remove(Vec<String>),
    Pick(Vec<Place>),
    Split(Split),
    Output(Output),
    Reject(String),
    Drop,
}

/// A value that is made of another.
pub struct Derivation {
    pub from: Place,
    pub to: String,
    pub by: Function,
}

pub struct Split {
    /// The array; its pointer.
    pub each: Place,
    pub each_pointer: String,
    pub into: String,
    /// Where the element's position is written.
    pub index: Option<String>,
}

#[derive(Default)]
pub struct Output {
    pub destination: Option<Template>,
    pub topic: Option<Template>,
    pub key: Option<Template>,
    pub headers: Vec<(String, Template)>,
}

/// What becomes of a value that a step cannot make.
#[derive(Clone, Debug, PartialEq)]
pub enum Otherwise {
    Reject,
    Keep,
    Remove,
    Set(Value),
}

/// One change that a step makes, by the places it depends on.
pub struct Change<'s> {
    pub reads: Vec<&'s str>,
    pub writes: Vec<&'s str>,
}

impl Step {
    /// Every place that it reads, its condition's included.
    pub fn visit(&mut self, see: &mut dyn FnMut(&mut Place)) {
        if let Some(condition) = &mut self.when {
            condition.visit(see);
        }
        match &mut self.action {
            Action::Template(entries) => entries.iter_mut().for_each(|(_, template)| template.visit(see)),
            Action::Derive(entries) => entries.iter_mut().for_each(|entry| see(&mut entry.from)),
            Action::Pick(places) => places.iter_mut().for_each(see),
            Action::Split(split) => see(&mut split.each),
            Action::Output(output) => {
                let named = [&mut output.destination, &mut output.topic, &mut output.key];
                for template in named.into_iter().flatten() {
                    template.visit(see);
                }
                for (_, template) in &mut output.headers {
                    template.visit(see);
                }
            }
            Action::Set(_) | Action::Rename(_) | Action::Remove(_) | Action::Reject(_) | Action::Drop => {}
        }
    }

    /// What it writes, moves away or removes.
    pub fn writes(&self) -> Vec<&str> {
        self.changes()
            .into_iter()
            .flat_map(|change| change.writes)
            .collect()
    }

    /// What each of its entries changes.
    pub fn changes(&self) -> Vec<Change<'_>> {
        let write = |to| Change {
            reads: Vec::new(),
            writes: vec![to],
        };
        match &self.action {
            Action::Set(entries) => entries.iter().map(|(to, _)| write(to.as_str())).collect(),
            Action::Template(entries) => entries.iter().map(|(to, _)| write(to.as_str())).collect(),
            Action::Remove(pointers) => pointers.iter().map(|pointer| write(pointer.as_str())).collect(),
            Action::Derive(entries) => entries.iter().map(Derivation::change).collect(),
            Action::Rename(entries) => entries
                .iter()
                .map(|(from, to)| Change {
                    reads: Vec::new(),
                    writes: vec![from, to],
                })
                .collect(),
            // The whole document is written anew.
            Action::Pick(_) | Action::Split(_) => vec![write("")],
            Action::Output(_) | Action::Reject(_) | Action::Drop => Vec::new(),
        }
    }
}

impl Derivation {
    fn change(&self) -> Change<'_> {
        Change {
            reads: match &self.from {
                Place::Data { pointer, .. } => vec![pointer],
                Place::Attribute(_) => Vec::new(),
            },
            writes: vec![&self.to],
        }
    }
}
