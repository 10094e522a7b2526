//! An array of which elements were changed.

use super::super::document::Document;
use super::super::pointer::array_position;
use super::super::splice::{Splice, closing};
use super::items::Items;
use super::{Found, Place, Refused, Value};

#[derive(Clone, Debug)]
pub(in super::super) struct EditedArray {
    /// The array in the text.
    source: Document,
    items: Items<Item>,
    /// See [`Value::levels`].
    pub(super) levels: usize,
}

/// One element. Positions are those on the tape.
#[derive(Clone, Debug)]
enum Item {
    Source(u32),
    /// Another value in the place of one of the text.
    Changed(u32, Box<Value>),
    Added(Box<Value>),
}

const NO_POSITION: &str = "the pointer's token for an array is no position in it, nor - to append";
const APPEND_INSIDE: &str = "- appends to an array only as the last token of a pointer";

impl EditedArray {
    pub(super) fn of(source: Document) -> EditedArray {
        let items = source
            .root()
            .elements()
            .map(|element| Item::Source(element.position()))
            .collect();
        EditedArray {
            source,
            items,
            levels: 1,
        }
    }

    pub(super) fn source(&self) -> &Document {
        &self.source
    }

    pub(super) fn get(&self, token: &str) -> Option<Found<'_>> {
        Some(match self.items.get(array_position(token)?)? {
            Item::Source(position) => Found::Source(self.source.root().sibling(*position)),
            Item::Changed(_, value) | Item::Added(value) => Found::Edited(value),
        })
    }

    pub(super) fn get_or_make(&mut self, token: &str) -> Result<&mut Value, &'static str> {
        if token == "-" {
            return Err(APPEND_INSIDE);
        }
        let position = array_position(token)
            .filter(|&position| position <= self.items.len())
            .ok_or(NO_POSITION)?;
        if position == self.items.len() {
            self.items.push(Item::Added(Box::new(Value::empty_object())));
        }
        let item = self.items.get_mut(position).ok_or(NO_POSITION)?;
        if let Item::Source(source) = item {
            let node = self.source.root().sibling(*source);
            *item = Item::Changed(*source, Box::new(Value::Source(self.source.subdocument(node))));
        }
        match item {
            Item::Changed(_, value) | Item::Added(value) => Ok(value),
            Item::Source(_) => Err(NO_POSITION),
        }
    }

    /// Replaces the element `token`, or adds one behind the last. Gives the value back where it cannot.
    pub(super) fn set(&mut self, token: &str, value: Value) -> Result<(), Refused> {
        let position = if token == "-" {
            Some(self.items.len())
        } else {
            array_position(token)
        };
        let Some(position) = position.filter(|&position| position <= self.items.len()) else {
            return Err((NO_POSITION, value));
        };
        let value = Box::new(value);
        match self.items.get_mut(position) {
            None => self.items.push(Item::Added(value)),
            Some(item) => {
                *item = match item {
                    Item::Source(source) | Item::Changed(source, _) => Item::Changed(*source, value),
                    Item::Added(_) => Item::Added(value),
                }
            }
        }
        Ok(())
    }

    pub(super) fn take(&mut self, token: &str) -> Option<(Value, Place)> {
        let position = array_position(token)?;
        let (value, source) = match self.items.remove(position)? {
            Item::Source(source) => {
                let node = self.source.root().sibling(source);
                (Value::Source(self.source.subdocument(node)), Some(source))
            }
            Item::Changed(source, value) => (*value, Some(source)),
            Item::Added(value) => (*value, None),
        };
        Some((value, Place::Element { position, source }))
    }

    pub(super) fn put_back(&mut self, position: usize, source: Option<u32>, value: Value) {
        let value = Box::new(value);
        let item = match source {
            Some(source) => Item::Changed(source, value),
            None => Item::Added(value),
        };
        self.items.insert(position, item);
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let array = self.source.root();
        if self.items.len() == 0 && array.is_empty() {
            return out.extend_from_slice(array.raw().as_bytes());
        }
        let mut splice = Splice::new(out, array.text(), b'[');
        let mut next_kept = None;
        for item in self.items.iter() {
            let (Item::Source(source) | Item::Changed(source, _)) = item else {
                let Item::Added(value) = item else { continue };
                splice.add(|out| value.write(out));
                continue;
            };
            let element = array.sibling(*source);
            if next_kept != Some(*source) {
                splice.skip();
            }
            next_kept = Some(element.next_position());
            let range = element.word().start()..element.word().end();
            match item {
                Item::Changed(_, value) => splice.replace(range.clone(), range, |out| value.write(out)),
                _ => splice.keep(range),
            }
        }
        splice.finish(closing(array));
    }
}
