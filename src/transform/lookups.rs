//! What one call looks up, and which tables that were.

use std::sync::Arc;

use bytes::Bytes;

use super::fault::Fault;
use crate::{limits::PLUGIN_LOOKUPS_PER_CALL, lookup::TableSet};

/// The lookups of the running call.
#[derive(Default)]
pub(super) struct Lookups {
    /// Absent outside of `transform`.
    tables: Option<Arc<TableSet>>,
    count: u32,
    /// `NAME@VERSION` of the tables that were looked into, each once.
    used: Vec<Arc<str>>,
}

impl Lookups {
    /// Begins a call that may look into `tables`.
    pub(super) fn start(&mut self, tables: &Arc<TableSet>) {
        self.tables = Some(Arc::clone(tables));
        self.count = 0;
        self.used.clear();
    }

    /// Ends the call: the tables that it was looked into, in the order of their names and parted by commas.
    pub(super) fn end(&mut self) -> Option<Arc<str>> {
        self.tables = None;
        self.used.sort_unstable();
        match self.used.as_slice() {
            [] => None,
            [one] => Some(Arc::clone(one)),
            several => Some(several.join(",").into()),
        }
    }

    /// Counts a lookup.
    pub(super) fn begin(&mut self) -> Result<(), Fault> {
        self.count += 1;
        if self.count > PLUGIN_LOOKUPS_PER_CALL {
            return Err(Fault::Lookups(PLUGIN_LOOKUPS_PER_CALL));
        }
        Ok(())
    }

    /// The table's `NAME@VERSION`, and a copy of the row: what a record holds must not keep a whole table in memory.
    pub(super) fn find(&self, table: &str, key: &str) -> Result<(Arc<str>, Option<Bytes>), Fault> {
        let tables = self.tables.as_ref().ok_or(Fault::LookupOutside)?;
        let table = tables.find(table).map_err(Fault::TableMissing)?;
        let row = table
            .rows
            .get(key)
            .map(|row| Bytes::copy_from_slice(row.as_bytes()));
        Ok((Arc::clone(&table.label), row))
    }

    pub(super) fn note(&mut self, table: Arc<str>) {
        if !self.used.contains(&table) {
            self.used.push(table);
        }
    }
}
