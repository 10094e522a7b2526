use std::{cell::RefCell, fmt};

use serde::{Serialize, de::DeserializeOwned, de::value::SeqDeserializer};

use crate::{
    Value, backend,
    value::{Found, Mismatch, Seen},
};

/// A JSON document that the gateway has parsed. Paths are JSON Pointers (RFC 6901): `/items/0/price`, with `~1` for a
/// slash and `~0` for a tilde inside a name; `""` is the whole document.
///
/// Edits are gathered and made together when the document is read next or given away, so that an event costs few
/// calls of the gateway. What is not touched keeps its bytes: order of members, spelling of numbers and white space.
///
/// Where an edit cannot be made, none of those gathered with it is, and from then on every use of the document says so: it
/// cannot be read, copied or given away.
#[derive(Debug)]
pub struct Document {
    kept: backend::Document,
    pending: RefCell<Pending>,
}

/// Changes that are not yet made.
#[derive(Debug, Default)]
struct Pending {
    edits: backend::Edits,
    /// Why earlier ones could not be made. It stays: without them the document is not what the plugin takes it for.
    refused: Option<String>,
}

/// Why a document could not be read or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// What stands at a pointer is not of the type that was asked for, or nothing is there.
    Data {
        /// A JSON Pointer.
        pointer: String,
        /// What is wrong with what is there.
        reason: String,
    },
    /// A change cannot be made: its pointer is none, or leads through a number or a text.
    Edit(String),
    /// A text is not JSON.
    Json(String),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Data { pointer, reason } => write!(formatter, "{pointer}: {reason}"),
            Error::Edit(reason) | Error::Json(reason) => formatter.write_str(reason),
        }
    }
}

impl std::error::Error for Error {}

impl Document {
    pub(crate) fn new(kept: backend::Document) -> Document {
        Document {
            kept,
            pending: RefCell::default(),
        }
    }

    /// A new document from JSON text.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] where the text is none.
    pub fn from_json(json: &str) -> Result<Document, Error> {
        backend::Document::from_json(json)
            .map(Document::new)
            .map_err(Error::Json)
    }

    /// A new document from anything that `serde` can write.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] where it cannot be written as JSON.
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Document, Error> {
        let json = serde_json::to_string(value).map_err(|error| Error::Json(error.to_string()))?;
        Document::from_json(&json)
    }

    /// The document as JSON text.
    ///
    /// # Errors
    ///
    /// [`Error::Edit`] where an earlier change cannot be made.
    pub fn to_json(&self) -> Result<String, Error> {
        self.flush()?;
        Ok(self.kept.to_json())
    }

    /// A copy that is edited apart from this one: the gateway shares the text of both.
    ///
    /// # Errors
    ///
    /// [`Error::Edit`] where an earlier change cannot be made.
    pub fn copy(&self) -> Result<Document, Error> {
        self.flush()?;
        Ok(Document::new(self.kept.copy()))
    }

    /// The value at `pointer`, as any type that `serde` reads. `Option` is `None` where nothing or `null` is there;
    /// a struct is a typed view of the object there.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] where what is there is of another type; [`Error::Edit`] where an earlier change cannot be made.
    pub fn get<T: DeserializeOwned>(&self, pointer: &str) -> Result<T, Error> {
        let answer = self.exchange(&[pointer])?;
        let found = answer.values().next().flatten();
        T::deserialize(Found(found)).map_err(|Mismatch(reason)| Error::Data {
            pointer: pointer.to_owned(),
            reason,
        })
    }

    /// The values at many pointers in one call of the gateway, as a tuple with one type for each.
    ///
    /// ```
    /// # let data = headworks_plugin::Document::from_json(r#"{"id": "7", "items": [1, 2]}"#).unwrap();
    /// let (id, items, note): (String, Vec<u32>, Option<String>) = data.get_many(["/id", "/items", "/note"])?;
    /// # assert_eq!((id.as_str(), items, note), ("7", vec![1, 2], None));
    /// # Ok::<(), headworks_plugin::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Document::get`], for the first pointer that does not fit.
    pub fn get_many<T: DeserializeOwned, const N: usize>(&self, pointers: [&str; N]) -> Result<T, Error> {
        let at = std::cell::Cell::new("");
        let answer = self.exchange(&pointers)?;
        let found = answer.values().zip(pointers).map(|(found, pointer)| {
            at.set(pointer);
            Found(found)
        });
        T::deserialize(SeqDeserializer::<_, Mismatch>::new(found)).map_err(|Mismatch(reason)| Error::Data {
            pointer: at.get().to_owned(),
            reason,
        })
    }

    /// The values at any number of pointers in one call of the gateway, each as it is; `None` where nothing is there.
    /// For pointers that only the configuration knows; where the plugin knows them, see [`Document::get_many`].
    ///
    /// # Errors
    ///
    /// [`Error::Edit`] where an earlier change cannot be made.
    pub fn values(&self, pointers: &[&str]) -> Result<Vec<Option<Value>>, Error> {
        if pointers.is_empty() {
            self.flush()?;
            return Ok(Vec::new());
        }
        let answer = self.exchange(pointers)?;
        Ok(answer.values().map(|found| found.map(Seen::into_value)).collect())
    }

    /// Sets the value at `pointer`; a missing parent object is made, and `-` as the last token appends to an array.
    pub fn set(&mut self, pointer: &str, value: impl Into<Value>) {
        self.pending.get_mut().edits.set(pointer, value.into());
    }

    /// Sets the value at `pointer` to anything that `serde` can write.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] where it cannot be written as JSON.
    pub fn set_serialize<T: Serialize + ?Sized>(&mut self, pointer: &str, value: &T) -> Result<(), Error> {
        let json = serde_json::to_string(value).map_err(|error| Error::Json(error.to_string()))?;
        self.set(pointer, Value::Json(json));
        Ok(())
    }

    /// Removes the value at `pointer`, where one is there.
    pub fn remove(&mut self, pointer: &str) {
        self.pending.get_mut().edits.remove(pointer);
    }

    /// Moves the value at `from` to `to`, where one is there.
    pub fn rename(&mut self, from: &str, to: &str) {
        self.pending.get_mut().edits.rename(from, to);
    }

    /// Makes what was gathered, then reads.
    fn exchange(&self, pointers: &[&str]) -> Result<backend::Answer, Error> {
        let mut pending = self.pending.borrow_mut();
        if pending.refused.is_none() {
            let edits = std::mem::take(&mut pending.edits);
            match self.kept.exchange(edits, pointers) {
                Ok(answer) => return Ok(answer),
                Err(reason) => pending.refused = Some(reason),
            }
        }
        Err(Error::Edit(pending.refused.clone().unwrap_or_default()))
    }

    fn flush(&self) -> Result<(), Error> {
        let is_made = {
            let pending = self.pending.borrow();
            pending.refused.is_none() && pending.edits.is_empty()
        };
        if is_made {
            Ok(())
        } else {
            self.exchange(&[]).map(drop)
        }
    }

    /// The document with all changes made, for the gateway.
    pub(crate) fn into_kept(self) -> Result<backend::Document, Error> {
        self.flush()?;
        Ok(self.kept)
    }
}

#[cfg(test)]
mod tests;
