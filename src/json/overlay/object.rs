//! An object of which members were changed.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::super::document::Document;
use super::super::splice::{Splice, closing};
use super::super::string::write_string;
use super::{Found, Place, Value};

#[derive(Clone, Debug)]
pub(in super::super) struct EditedObject {
    /// The object in the text, if it was not made by an edit.
    source: Option<Document>,
    /// Members of the text that have another value or, with none, were removed; by the value's position on the tape.
    changes: Changes,
    added: Added,
    /// See [`Value::levels`].
    pub(super) levels: usize,
}

/// Ascending by position. Few, mostly; where they are many, the time of a call bounds them.
#[derive(Clone, Debug, Default)]
struct Changes(SmallVec<[(u32, Option<Value>); 6]>);

/// Members that the text has not, in the order added.
#[derive(Clone, Debug, Default)]
struct Added {
    members: Vec<Option<(String, Value)>>,
    /// Positions in `members` by name, kept once there are more than [`ADDED_WITHOUT_INDEX`].
    index: Option<HashMap<String, usize>>,
}

const ADDED_WITHOUT_INDEX: usize = 16;
/// Room for so many is made at once.
const ADDED_MOSTLY: usize = 8;

/// Where a member is, if it is there.
enum Slot {
    Member(u32),
    Added(usize),
}

impl EditedObject {
    pub(super) fn of(source: Document) -> EditedObject {
        EditedObject {
            source: Some(source),
            changes: Changes::default(),
            added: Added::default(),
            levels: 1,
        }
    }

    pub(super) fn empty() -> EditedObject {
        EditedObject {
            source: None,
            changes: Changes::default(),
            added: Added::default(),
            levels: 1,
        }
    }

    pub(super) fn source(&self) -> Option<&Document> {
        self.source.as_ref()
    }

    fn position_in_source(&self, name: &str) -> Option<u32> {
        self.source.as_ref()?.root().get(name).map(|node| node.position())
    }

    fn slot(&self, name: &str) -> Option<Slot> {
        match self.position_in_source(name) {
            Some(position) if !matches!(self.changes.get(position), Some(None)) => {
                Some(Slot::Member(position))
            }
            _ => self.added.find(name).map(Slot::Added),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Found<'_>> {
        match self.slot(name)? {
            Slot::Member(position) => match self.changes.get(position) {
                Some(change) => change.as_ref().map(Found::Edited),
                None => self
                    .source
                    .as_ref()
                    .map(|source| Found::Source(source.root().sibling(position))),
            },
            Slot::Added(position) => self.added.get(position).map(Found::Edited),
        }
    }

    pub(super) fn get_or_make(&mut self, name: &str) -> &mut Value {
        let made = Value::empty_object;
        match (self.slot(name), &self.source) {
            (Some(Slot::Member(position)), Some(source)) => self
                .changes
                .get_or_insert_with(position, || {
                    Value::Source(source.subdocument(source.root().sibling(position)))
                })
                .get_or_insert_with(made),
            (Some(Slot::Added(position)), _) => self.added.get_or_insert_with(position, name, made),
            _ => {
                let position = self.added.push(name, made());
                self.added.get_or_insert_with(position, name, made)
            }
        }
    }

    /// Replaces the member `name` where it stands, or adds it at the end.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        match self.slot(name) {
            Some(Slot::Member(position)) => {
                self.changes.insert(position, Some(value));
            }
            Some(Slot::Added(position)) => self.added.replace(position, name, value),
            None => {
                self.added.push(name, value);
            }
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<(Value, Place)> {
        match self.slot(name)? {
            Slot::Member(position) => {
                let value = match self.changes.insert(position, None) {
                    Some(changed) => changed?,
                    None => {
                        let source = self.source.as_ref()?;
                        Value::Source(source.subdocument(source.root().sibling(position)))
                    }
                };
                Some((value, Place::Member(position)))
            }
            Slot::Added(position) => self
                .added
                .take(position)
                .map(|value| (value, Place::Added(position))),
        }
    }

    pub(super) fn put_back(&mut self, position: u32, value: Value) {
        self.changes.insert(position, Some(value));
    }

    pub(super) fn put_back_added(&mut self, position: usize, name: &str, value: Value) {
        self.added.replace(position, name, value);
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Some(source) = &self.source else {
            let mut splice = Splice::new(out, "{}", b'{');
            self.added.write(&mut splice);
            return splice.finish(1..2);
        };
        let object = source.root();
        if self.changes.0.is_empty() && self.added.members.iter().all(Option::is_none) {
            return out.extend_from_slice(object.raw().as_bytes());
        }
        let mut splice = Splice::new(out, object.text(), b'{');
        let closing = closing(object);
        let positions = object.member_positions();
        let mut next = positions.start;
        for (position, change) in &self.changes.0 {
            let (name, value) = (object.sibling(*position - 1), object.sibling(*position));
            let value_range = value.word().start()..value.word().end();
            let member = name.word().start()..value_range.end;
            if next < name.position() {
                splice.keep_before(object.sibling(next).word().start(), member.start);
            }
            match change {
                Some(changed) => splice.replace(member, value_range, |out| changed.write(out)),
                None => splice.skip(),
            }
            next = value.next_position();
        }
        if next < positions.end {
            splice.keep(object.sibling(next).word().start()..closing.start);
        }
        self.added.write(&mut splice);
        splice.finish(closing);
    }
}

impl Changes {
    fn place(&self, position: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&position, |(known, _)| *known)
    }

    fn get(&self, position: u32) -> Option<&Option<Value>> {
        self.place(position).ok().map(|place| &self.0[place].1)
    }

    /// Gives back what was there.
    fn insert(&mut self, position: u32, value: Option<Value>) -> Option<Option<Value>> {
        match self.place(position) {
            Ok(place) => Some(std::mem::replace(&mut self.0[place].1, value)),
            Err(place) => {
                self.0.insert(place, (position, value));
                None
            }
        }
    }

    fn get_or_insert_with(&mut self, position: u32, make: impl FnOnce() -> Value) -> &mut Option<Value> {
        let place = self.place(position).unwrap_or_else(|place| {
            self.0.insert(place, (position, Some(make())));
            place
        });
        &mut self.0[place].1
    }
}

impl Added {
    fn find(&self, name: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(name).copied(),
            None => self
                .members
                .iter()
                .position(|member| member.as_ref().is_some_and(|(known, _)| known == name)),
        }
    }

    fn get(&self, position: usize) -> Option<&Value> {
        self.members.get(position)?.as_ref().map(|(_, value)| value)
    }

    fn get_or_insert_with(
        &mut self,
        position: usize,
        name: &str,
        made: impl FnOnce() -> Value,
    ) -> &mut Value {
        &mut self.members[position]
            .get_or_insert_with(|| (name.to_owned(), made()))
            .1
    }

    fn push(&mut self, name: &str, value: Value) -> usize {
        let position = self.members.len();
        if position == 0 {
            self.members.reserve(ADDED_MOSTLY);
        }
        self.members.push(Some((name.to_owned(), value)));
        self.remember(name, position);
        position
    }

    fn replace(&mut self, position: usize, name: &str, value: Value) {
        self.members[position] = Some((name.to_owned(), value));
        self.remember(name, position);
    }

    fn remember(&mut self, name: &str, position: usize) {
        if let Some(index) = &mut self.index {
            index.insert(name.to_owned(), position);
        } else if self.members.len() > ADDED_WITHOUT_INDEX {
            let names = self.members.iter().enumerate();
            self.index = Some(
                names
                    .filter_map(|(at, member)| member.as_ref().map(|(name, _)| (name.clone(), at)))
                    .collect(),
            );
        }
    }

    fn take(&mut self, position: usize) -> Option<Value> {
        let (name, value) = self.members.get_mut(position)?.take()?;
        if let Some(index) = &mut self.index {
            index.remove(&name);
        }
        Some(value)
    }

    fn write(&self, splice: &mut Splice<'_, '_>) {
        for (name, value) in self.members.iter().flatten() {
            splice.add(|out| {
                write_string(out, name);
                out.push(b':');
                value.write(out);
            });
        }
    }
}
