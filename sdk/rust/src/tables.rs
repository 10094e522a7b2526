//! Lookup tables: rows by key that the gateway's operators put, the same for all plugins.

use crate::{Document, backend};

/// The row of `table` under `key`; none where there is no such row. Reading and editing it is as with the event's data, and
/// it can be given away as a record. Only in [`Plugin::transform`](crate::Plugin::transform).
///
/// Where the gateway has no such table at all this does not come back: the event waits in quarantine, and is tried
/// again when the table is there. Which versions of which tables a record was made with stands in its header
/// `hw_tables`.
///
/// # Panics
///
/// Natively, where the test has put no such table: see [`testing`](crate::testing).
#[must_use]
pub fn lookup(table: &str, key: &str) -> Option<Document> {
    backend::lookup(table, key).map(Document::new)
}
