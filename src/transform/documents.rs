//! The documents of one call: what the guest's handles stand for, and what they may cost.

use bytes::Bytes;
use wasmtime::component::Resource;

use super::fault::Fault;
use crate::{
    json::{Document, EditError, EditedDocument, NewValue},
    limits::{self, ByteSize},
};

/// What the guest's `document` handles stand for.
pub enum HostDocument {}

/// A document and what is known of its size.
pub(super) struct Entry {
    pub(super) document: EditedDocument,
    /// Never below the length of the document as text.
    pub(super) text_bytes_bound: usize,
    /// What the edits hold of the budget.
    edits_bytes: usize,
}

/// A document as it stood before edits that may be refused.
pub(super) struct Before {
    /// None where it had no edits.
    document: Option<EditedDocument>,
    text_bytes_bound: usize,
    edits_bytes: usize,
}

/// The documents of the running call. Handles count on through an instance's life, so that one that the guest kept
/// from an earlier call names nothing.
pub(super) struct Documents {
    first_handle: u32,
    entries: Vec<Option<Entry>>,
    budget_bytes: usize,
    budget: ByteSize,
    depth: u32,
}

/// One change, its pointers borrowed.
#[derive(Debug)]
pub(super) enum EditRef<'a> {
    Set(&'a str, NewValue),
    Remove(&'a str),
    Move(&'a str, &'a str),
}

/// Bytes that the host keeps for one edit beside its texts.
const EDIT_BYTES: usize = 64;
/// Bytes that the host keeps for a byte of parsed text, at most: `[0,0` has a tape entry for two bytes, and a tape may
/// have spare room.
const PARSED_FACTOR: usize = 12;
/// Bytes of text that one byte may become: a control character is written `\u0000`.
const ESCAPE_FACTOR: usize = 6;

impl Documents {
    pub(super) fn new(budget: ByteSize, depth: u32) -> Documents {
        Documents {
            first_handle: 0,
            entries: Vec::new(),
            budget_bytes: budget.as_usize(),
            budget,
            depth,
        }
    }

    /// Drops what the last call left.
    pub(super) fn begin(&mut self) {
        let made = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.first_handle = self.first_handle.saturating_add(made);
        self.entries.clear();
        self.budget_bytes = self.budget.as_usize();
    }

    /// The event's own data.
    pub(super) fn insert_event(&mut self, data: &Document) -> Result<Resource<HostDocument>, Fault> {
        self.insert(Entry {
            text_bytes_bound: data.bytes().len(),
            document: EditedDocument::new(data.clone()),
            edits_bytes: 0,
        })
    }

    /// A row of a table, which was checked when the table was read.
    pub(super) fn insert_row(&mut self, row: Bytes) -> Result<Resource<HostDocument>, Fault> {
        self.charge(row.len().saturating_mul(PARSED_FACTOR))?;
        let text_bytes_bound = row.len();
        let document = Document::parse(row, limits::TABLE_ROW_DEPTH).map_err(|_| Fault::DocumentGone)?;
        self.insert(Entry {
            document: EditedDocument::new(document),
            text_bytes_bound,
            edits_bytes: 0,
        })
    }

    /// Parses the guest's text.
    pub(super) fn parse(&mut self, text: String) -> Result<Result<Resource<HostDocument>, String>, Fault> {
        self.charge(text.len().saturating_mul(PARSED_FACTOR))?;
        let text_bytes_bound = text.len();
        match Document::parse(Bytes::from(text), self.depth) {
            Ok(document) => self
                .insert(Entry {
                    document: EditedDocument::new(document),
                    text_bytes_bound,
                    edits_bytes: 0,
                })
                .map(Ok),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// A copy that shares the original text.
    pub(super) fn copy(&mut self, handle: &Resource<HostDocument>) -> Result<Resource<HostDocument>, Fault> {
        let entry = self.get(handle)?;
        let copy = Entry {
            document: entry.document.clone(),
            text_bytes_bound: entry.text_bytes_bound,
            edits_bytes: entry.edits_bytes,
        };
        self.charge(copy.edits_bytes)?;
        self.insert(copy)
    }

    pub(super) fn get(&self, handle: &Resource<HostDocument>) -> Result<&Entry, Fault> {
        self.index(handle)
            .and_then(|index| self.entries.get(index)?.as_ref())
            .ok_or(Fault::DocumentGone)
    }

    /// Makes one edit and counts it against the budget.
    pub(super) fn edit(
        &mut self,
        handle: &Resource<HostDocument>,
        edit: EditRef<'_>,
    ) -> Result<Result<bool, EditError>, Fault> {
        let cost = cost(&edit);
        self.charge(cost)?;
        let entry = self.get_mut(handle)?;
        entry.edits_bytes = entry.edits_bytes.saturating_add(cost);
        entry.text_bytes_bound = entry.text_bytes_bound.saturating_add(growth(&edit));
        Ok(match edit {
            EditRef::Set(pointer, value) => entry.document.set(pointer, value).map(|()| true),
            EditRef::Remove(pointer) => Ok(entry.document.remove(pointer)),
            EditRef::Move(source, target) => entry.document.move_value(source, target),
        })
    }

    /// Undoes what was edited since `before` was taken.
    pub(super) fn restore(&mut self, handle: &Resource<HostDocument>, before: Before) -> Result<(), Fault> {
        let entry = self.get_mut(handle)?;
        *entry = Entry {
            document: before.document.unwrap_or_else(|| entry.document.without_edits()),
            text_bytes_bound: before.text_bytes_bound,
            edits_bytes: before.edits_bytes,
        };
        Ok(())
    }

    /// Takes a document out: the guest gave it away or dropped it.
    pub(super) fn take(&mut self, handle: &Resource<HostDocument>) -> Option<Entry> {
        let index = self.index(handle)?;
        self.entries.get_mut(index)?.take()
    }

    fn insert(&mut self, entry: Entry) -> Result<Resource<HostDocument>, Fault> {
        let index = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        if index >= limits::PLUGIN_DOCUMENTS_PER_CALL {
            return Err(Fault::Documents(limits::PLUGIN_DOCUMENTS_PER_CALL));
        }
        self.entries.push(Some(entry));
        Ok(Resource::new_own(self.first_handle.saturating_add(index)))
    }

    fn index(&self, handle: &Resource<HostDocument>) -> Option<usize> {
        let index = handle.rep().checked_sub(self.first_handle)?;
        usize::try_from(index).ok()
    }

    fn get_mut(&mut self, handle: &Resource<HostDocument>) -> Result<&mut Entry, Fault> {
        self.index(handle)
            .and_then(|index| self.entries.get_mut(index)?.as_mut())
            .ok_or(Fault::DocumentGone)
    }

    /// What stands there now, to be put back by [`Documents::restore`].
    pub(super) fn before(&self, handle: &Resource<HostDocument>) -> Result<Before, Fault> {
        let entry = self.get(handle)?;
        let document = &entry.document;
        Ok(Before {
            document: document.is_edited().then(|| document.clone()),
            text_bytes_bound: entry.text_bytes_bound,
            edits_bytes: entry.edits_bytes,
        })
    }

    /// Holds what is read at once to the budget: more than that fits into no guest.
    pub(super) fn bound(&self, bytes: usize) -> Result<(), Fault> {
        if bytes > self.budget.as_usize() {
            return Err(Fault::DocumentBytes(self.budget));
        }
        Ok(())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Fault> {
        self.budget_bytes = self
            .budget_bytes
            .checked_sub(bytes)
            .ok_or(Fault::DocumentBytes(self.budget))?;
        Ok(())
    }
}

/// Bytes that the host keeps for an edit.
fn cost(edit: &EditRef<'_>) -> usize {
    let texts = match edit {
        EditRef::Set(pointer, NewValue::Text(text)) => pointer.len().saturating_add(text.len()),
        EditRef::Set(pointer, NewValue::Json(json)) => pointer
            .len()
            .saturating_add(json.len().saturating_mul(PARSED_FACTOR)),
        EditRef::Set(pointer, _) | EditRef::Remove(pointer) => pointer.len(),
        EditRef::Move(source, target) => source.len().saturating_add(target.len()),
    };
    texts.saturating_add(EDIT_BYTES)
}

/// Bytes by which an edit can make the text longer, at most.
fn growth(edit: &EditRef<'_>) -> usize {
    let texts = match edit {
        EditRef::Set(pointer, NewValue::Text(text)) => pointer.len().saturating_add(text.len()),
        EditRef::Set(pointer, NewValue::Json(json)) => pointer.len().saturating_add(json.len()),
        EditRef::Set(pointer, _) => pointer.len(),
        EditRef::Move(_, target) => target.len(),
        EditRef::Remove(_) => return 0,
    };
    texts.saturating_mul(ESCAPE_FACTOR).saturating_add(EDIT_BYTES)
}

#[cfg(test)]
mod tests;
