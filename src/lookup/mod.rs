//! Lookup tables: rows of JSON by key, which plugins read. Read once, then never changed, and shared by all who look
//! something up.

mod builder;
mod read;
mod rows;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

pub use self::{read::read, rows::Rows};
use crate::event::TableName;

/// A table's contents at one version.
#[derive(Clone, Debug)]
pub struct TableVersion {
    pub version: u64,
    /// `NAME@VERSION`.
    pub label: Arc<str>,
    pub rows: Arc<Rows>,
}

impl TableVersion {
    pub fn new(name: &TableName, version: u64, rows: Arc<Rows>) -> TableVersion {
        TableVersion {
            version,
            label: format!("{name}@{version}").into(),
            rows,
        }
    }
}

/// The tables of one registry state, as far as this node holds them.
#[derive(Debug, Default)]
pub struct TableSet {
    /// Absent: why this node has no contents of it at all.
    tables: HashMap<TableName, Result<TableVersion, Arc<str>>>,
}

impl TableSet {
    pub fn new(tables: impl IntoIterator<Item = (TableName, Result<TableVersion, Arc<str>>)>) -> TableSet {
        TableSet {
            tables: tables.into_iter().collect(),
        }
    }

    /// The table, or why there is none: for whoever looks at what waits for it.
    pub fn find(&self, name: &str) -> Result<&TableVersion, String> {
        match self.tables.get(name) {
            Some(Ok(table)) => Ok(table),
            Some(Err(reason)) => Err(format!("the table {name} is not loaded on this node: {reason}")),
            None => {
                let name: String = name.chars().take(80).collect();
                Err(format!(
                    "there is no table {name:?}: put it, and what waits goes out"
                ))
            }
        }
    }

    /// What this node holds of the table.
    pub fn held(&self, name: &TableName) -> Option<&TableVersion> {
        self.tables.get(name)?.as_ref().ok()
    }

    /// The same versions in the same memory, and the same reasons where there are none.
    pub fn is_same_as(&self, other: &TableSet) -> bool {
        let mut tables = self.tables.iter();
        self.len() == other.len()
            && tables.all(|(name, table)| match (table, other.tables.get(name)) {
                (Ok(one), Some(Ok(two))) => one.version == two.version && Arc::ptr_eq(&one.rows, &two.rows),
                (Err(one), Some(Err(two))) => one == two,
                _ => false,
            })
    }

    /// Whether a lookup may find here what it did not find in `before`: some table's rows are others, or were not there.
    pub fn brings_rows(&self, before: &TableSet) -> bool {
        self.tables.iter().any(|(name, table)| {
            let Ok(table) = table else { return false };
            let held = before.held(name);
            held.is_none_or(|held| !Arc::ptr_eq(&held.rows, &table.rows))
        })
    }

    pub fn len(&self) -> usize {
        self.tables.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }
}
