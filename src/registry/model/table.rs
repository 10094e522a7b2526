//! A lookup table: rows by key, which plugins read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Digest;

/// What a table was sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    /// An object a line.
    Ndjson,
    /// A row of names, then rows of texts.
    Csv,
}

impl TableFormat {
    pub fn content_type(self) -> &'static str {
        match self {
            TableFormat::Ndjson => "application/x-ndjson",
            TableFormat::Csv => "text/csv",
        }
    }
}

/// The contents of a lookup table at one version. Log and snapshots name them by their digest; the data itself is a
/// blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// 1, 2, 3 …; goes on where a table is deleted and made anew.
    pub version: u64,
    /// Of the data as sent.
    pub digest: Digest,
    pub format: TableFormat,
    /// The member or column whose value a row is found by.
    pub key: String,
    pub rows: u64,
    /// Of the data as sent.
    pub size: u64,
    /// What each node needs for it.
    pub memory_bytes: u64,
    pub created: Timestamp,
    pub by: String,
}

impl Table {
    /// The same rows by the same keys.
    pub fn holds_the_same(&self, other: &Table) -> bool {
        self.digest == other.digest && self.format == other.format && self.key == other.key
    }
}
