//! Which registered schemas refer to which, and what a schema's references lead to.
//!
//! A schema is referred to as `headworks:TYPE@SINCE`, or by the `$id` that its text gives itself. Nothing else is ever
//! looked at: what is not registered is refused, and nothing is fetched.

mod index;
mod outline;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

pub use index::References;
pub use outline::Outline;

use super::compile::{Library, parse};
use crate::{
    problem::Fault,
    registry::model::{Digest, SchemaKey},
};

/// Of the URIs that name registered schemas.
pub const SCHEME: &str = "headworks:";

/// One text of those that a schema may lead to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    pub digest: Digest,
    pub text: Arc<str>,
}

/// All that a schema's references may lead to, by URI; most schemas lead nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts(Option<Arc<BTreeMap<String, Text>>>);

impl Texts {
    fn new(texts: BTreeMap<String, Text>) -> Texts {
        Texts((!texts.is_empty()).then(|| Arc::new(texts)))
    }

    fn iter(&self) -> impl Iterator<Item = (&String, &Text)> {
        self.0.iter().flat_map(|texts| texts.iter())
    }

    /// What tells one compiled form from another: the schema's text, and every text that it may lead to.
    pub fn digest(&self, schema: Digest) -> Digest {
        let Some(texts) = &self.0 else {
            return schema;
        };
        let mut named = schema.0.to_vec();
        for (uri, text) in texts.iter() {
            named.extend_from_slice(uri.as_bytes());
            // No URI holds a line end.
            named.push(b'\n');
            named.extend_from_slice(&text.digest.0);
        }
        Digest::of(&named)
    }

    /// Bytes of all texts.
    pub(super) fn len(&self) -> usize {
        self.iter().map(|(_, text)| text.text.len()).sum()
    }

    /// As JSON.
    ///
    /// # Errors
    ///
    /// A text that is none. Registration has refused it.
    pub fn library(&self) -> Result<Library, Fault> {
        let mut read: BTreeMap<Digest, Arc<serde_json::Value>> = BTreeMap::new();
        let mut library = Library::new();
        for (uri, text) in self.iter() {
            let value = match read.get(&text.digest) {
                Some(known) => Arc::clone(known),
                None => Arc::new(parse(&text.text)?),
            };
            read.insert(text.digest, Arc::clone(&value));
            library.insert(uri.clone(), value);
        }
        Ok(library)
    }
}

/// `headworks:TYPE@SINCE`.
pub fn uri_of(key: &SchemaKey) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    /// What RFC 3986 leaves as it is.
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    let since = utf8_percent_encode(&key.since, RESERVED);
    format!("{SCHEME}{}@{since}", key.event_type)
}
