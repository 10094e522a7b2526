//! A document with edits.

use std::borrow::Cow;

use bytes::Bytes;

use super::overlay::{Found, Place, Refused, Scalar, Value};
use super::pointer::{Pointer, tokens};
use super::{Document, Edit, EditError, FoundValue, Kind, NewValue};

/// How many arrays and objects may nest in JSON text that is set.
pub const NEW_VALUE_DEPTH_MAX: u32 = 64;

/// How many tokens a pointer of an edit may have. Bounds the levels that edits can build up, which are walked by
/// recursion.
pub const POINTER_TOKENS_MAX: usize = 128;

/// By how much edits mostly lengthen a text, at most.
const GROWTH_BYTES: usize = 256;

/// A document with edits recorded against its original bytes. Without edits, [`EditedDocument::to_bytes`] is the
/// original.
#[derive(Clone, Debug)]
pub struct EditedDocument {
    original: Document,
    root: Value,
    is_edited: bool,
}

impl EditedDocument {
    pub fn new(document: Document) -> EditedDocument {
        EditedDocument {
            root: Value::Source(document.clone()),
            original: document,
            is_edited: false,
        }
    }

    /// The JSON value at `pointer`, edits included.
    pub fn find_value(&self, pointer: &str) -> Option<FoundValue<'_>> {
        let mut found = Found::Edited(&self.root);
        for token in tokens(pointer).ok()? {
            found = found.get(&token.ok()?)?;
        }
        Some(found.to_value())
    }

    /// As [`EditedDocument::find_value`], the value's own.
    pub fn get(&self, pointer: &str) -> Option<NewValue> {
        self.find_value(pointer).map(FoundValue::into_owned)
    }

    /// The document as it was before any edit.
    pub fn without_edits(&self) -> EditedDocument {
        EditedDocument::new(self.original.clone())
    }

    fn find<'p>(&self, mut tokens: impl Iterator<Item = Cow<'p, str>>) -> Option<Found<'_>> {
        tokens.try_fold(Found::Edited(&self.root), |found, token| found.get(&token))
    }

    /// Sets the value at `pointer`. A missing parent is made, as an object. In an array, a position there is replaced,
    /// `-` and the position behind the last append.
    pub fn set(&mut self, pointer: &str, value: NewValue) -> Result<(), EditError> {
        let refused = |reason: String| EditError {
            pointer: pointer.to_owned(),
            reason,
        };
        let at = bounded_pointer(pointer)?;
        let value = take_new(value).map_err(refused)?;
        self.place(&at, value)
            .map_err(|(reason, _)| refused(reason.to_owned()))?;
        self.is_edited = true;
        Ok(())
    }

    /// False where nothing was there, and for the whole document, which cannot be removed.
    pub fn remove(&mut self, pointer: &str) -> bool {
        let is_removed = bounded_pointer(pointer).is_ok_and(|pointer| self.take(&pointer).is_some());
        self.is_edited |= is_removed;
        is_removed
    }

    /// Removes the value at `source`, then sets it at `target`. False where nothing was at `source`.
    pub fn move_value(&mut self, source: &str, target: &str) -> Result<bool, EditError> {
        let refused = |reason: &str| EditError {
            pointer: target.to_owned(),
            reason: reason.to_owned(),
        };
        let Ok(from) = bounded_pointer(source) else {
            return Ok(false);
        };
        let to = match bounded_pointer(target) {
            Ok(to) if !to.starts_with(&from) => to,
            _ if self.find(from.tokens()).is_none() => return Ok(false),
            Ok(_) if target == source => return Ok(true),
            Ok(_) => return Err(refused("a value cannot be moved into itself")),
            Err(error) => return Err(error),
        };
        let Some((value, place)) = self.take(&from) else {
            return Ok(false);
        };
        if let Err((reason, value)) = self.place(&to, value) {
            self.put_back(&from, place, value);
            return Err(refused(reason));
        }
        self.is_edited = true;
        Ok(true)
    }

    /// Makes all edits in order, or none.
    pub fn apply(&mut self, edits: &[Edit]) -> Result<(), EditError> {
        // One edit alone changes nothing when it fails.
        let before = (edits.len() > 1).then(|| self.clone());
        for edit in edits {
            let result = match edit {
                Edit::Set(pointer, value) => self.set(pointer, value.clone()),
                Edit::Remove(pointer) => {
                    self.remove(pointer);
                    Ok(())
                }
                Edit::Move(source, target) => self.move_value(source, target).map(|_| ()),
            };
            if let Err(error) = result {
                if let Some(before) = before {
                    *self = before;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether the whole document came as an object.
    pub fn is_object(&self) -> bool {
        self.original.root().kind() == Kind::Object
    }

    pub fn is_edited(&self) -> bool {
        self.is_edited
    }

    /// The document as JSON text. What no edit touched has its original bytes; without edits, these are the original
    /// bytes, shared.
    pub fn to_bytes(&self) -> Bytes {
        if !self.is_edited {
            return self.original.bytes();
        }
        if let Value::Source(document) = &self.root {
            return document.value_bytes();
        }
        let (before, after) = self.root.surroundings();
        let mut text = Vec::with_capacity(self.original.root().raw().len() + GROWTH_BYTES);
        text.extend_from_slice(before);
        self.root.write(&mut text);
        text.extend_from_slice(after);
        text.into()
    }

    fn place(&mut self, pointer: &Pointer<'_>, value: Value) -> Result<(), Refused> {
        let Some(last) = pointer.last() else {
            self.root = value;
            return Ok(());
        };
        let mut levels = pointer.len() + value.levels();
        if levels > POINTER_TOKENS_MAX {
            return Err((
                "more edited arrays and objects would nest than can be kept",
                value,
            ));
        }
        let mut parent = &mut self.root;
        for token in pointer.parents() {
            parent = match parent.child_mut(&token, levels) {
                Ok(child) => child,
                Err(reason) => return Err((reason, value)),
            };
            levels -= 1;
        }
        parent.set(&last, value)
    }

    fn take(&mut self, pointer: &Pointer<'_>) -> Option<(Value, Place)> {
        let last = pointer.last()?;
        // Nothing is made on the way to what is not there.
        self.find(pointer.parents())?;
        self.parent_mut(pointer)?.take(&last)
    }

    fn put_back(&mut self, pointer: &Pointer<'_>, place: Place, value: Value) {
        if let Some(last) = pointer.last()
            && let Some(parent) = self.parent_mut(pointer)
        {
            parent.put_back(place, &last, value);
        }
    }

    /// The array or object that the value at `pointer` stands in, to be edited. It must be there.
    fn parent_mut(&mut self, pointer: &Pointer<'_>) -> Option<&mut Value> {
        let mut levels = pointer.len();
        let mut value = &mut self.root;
        for token in pointer.parents() {
            value = value.child_mut(&token, levels).ok()?;
            levels -= 1;
        }
        Some(value)
    }
}

fn bounded_pointer(text: &str) -> Result<Pointer<'_>, EditError> {
    let refused = |reason: String| EditError {
        pointer: text.to_owned(),
        reason,
    };
    let pointer = Pointer::parse(text).map_err(|error| refused(error.to_string()))?;
    if pointer.len() > POINTER_TOKENS_MAX {
        return Err(refused(format!("more than {POINTER_TOKENS_MAX} tokens")));
    }
    Ok(pointer)
}

fn take_new(value: NewValue) -> Result<Value, String> {
    Ok(Value::Scalar(match value {
        NewValue::Null => Scalar::Null,
        NewValue::Boolean(boolean) => Scalar::Boolean(boolean),
        NewValue::Integer(integer) => Scalar::Integer(integer),
        NewValue::Number(number) if number.is_finite() => Scalar::Number(number),
        NewValue::Number(_) => return Err("JSON has no NaN and no infinity".to_owned()),
        NewValue::Text(text) => Scalar::Text(text),
        NewValue::Json(text) => {
            // White space around it would be taken for the document's own once it is the whole of it and edited again.
            let text = text.trim_matches([' ', '\t', '\n', '\r']).to_owned();
            let document = Document::parse(text.into(), NEW_VALUE_DEPTH_MAX);
            return document
                .map(Value::Source)
                .map_err(|error| format!("the new value is not taken as JSON: {error}"));
        }
    }))
}
