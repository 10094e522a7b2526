//! The references between schemas in files, as the registry would see them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    registry::{
        model::{Digest, Schema, SchemaKey},
        put_schema,
    },
    validate::References,
};

/// What refers to what among these texts.
pub fn references<'s>(schemas: impl IntoIterator<Item = (&'s SchemaKey, &'s str)>) -> References {
    let mut registered = BTreeMap::new();
    for (key, text) in schemas {
        let schema = Schema {
            digest: Digest::of(text.as_bytes()),
            text: text.into(),
            created: Timestamp::UNIX_EPOCH,
            by: String::new(),
        };
        put_schema(&mut registered, 0, key.clone(), schema);
    }
    References::default().update(&registered).0
}
