//! The lookup tables of this node: which of the registry's are in memory, and loading those that are not, beside the
//! traffic. Until a version is loaded the one before it stays.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use super::preparations::wait_while;
use crate::{
    event::TableName,
    limits::{ByteSize, TABLE_BYTES_CEILING},
    lookup::{self, Rows, TableSet, TableVersion},
    registry::{
        Registry,
        model::{Digest, State, Table, TableFormat},
    },
};

/// How long a change waits for a table to be loaded; a larger one comes into force after it.
const GRACE: Duration = Duration::from_secs(1);
/// At the start nobody waits for anything else.
const GRACE_AT_START: Duration = Duration::from_secs(30);
/// After a load that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// What rows are made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Source {
    digest: Digest,
    format: TableFormat,
    key: String,
}

impl Source {
    fn of(table: &Table) -> Source {
        Source {
            digest: table.digest,
            format: table.format,
            key: table.key.clone(),
        }
    }
}

/// Loads the registry's tables and holds them.
pub struct Lookups {
    registry: Registry,
    memory_max: ByteSize,
    inner: Mutex<Inner>,
    /// Changes whenever a load has ended, well or not.
    ended: watch::Sender<()>,
    one_at_a_time: Semaphore,
    has_begun: AtomicBool,
}

#[derive(Default)]
struct Inner {
    /// What the tables of the newest state are made of.
    wanted: HashSet<Source>,
    /// Of each table in force its version, and what its rows were made of.
    in_force: HashMap<TableName, (u64, Source)>,
    /// Read from an upload that is not registered yet.
    offered: HashMap<Source, Arc<Rows>>,
    /// Loaded, and not yet in force.
    loaded: HashMap<Source, Arc<Rows>>,
    loading: HashSet<Source>,
    /// Why the version is not loaded.
    faults: HashMap<TableName, (u64, Arc<str>)>,
}

impl Inner {
    /// The rows in force, where they are those of `table` too: of the same version, or of one that was made of the same.
    fn kept(&self, name: &TableName, table: &Table, previous: &TableSet) -> Option<Arc<Rows>> {
        let held = previous.held(name)?;
        let made_of = self
            .in_force
            .get(name)
            .filter(|(version, _)| *version == held.version);
        let is_kept =
            held.version == table.version || made_of.is_some_and(|(_, source)| *source == Source::of(table));
        is_kept.then(|| Arc::clone(&held.rows))
    }
}

/// Rows that are kept for a change that is about to be made.
pub struct Offer {
    lookups: Arc<Lookups>,
    source: Source,
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.lookups.inner.lock().offered.remove(&self.source);
    }
}

impl Lookups {
    /// `memory_max` bounds all tables together.
    pub fn new(registry: Registry, memory_max: ByteSize) -> Arc<Lookups> {
        Arc::new(Lookups {
            registry,
            memory_max,
            inner: Mutex::default(),
            ended: watch::Sender::new(()),
            one_at_a_time: Semaphore::new(1),
            has_begun: AtomicBool::new(false),
        })
    }

    /// What all tables together may have.
    pub fn memory_max(&self) -> ByteSize {
        self.memory_max
    }

    /// Has `rows` ready for when `table` is registered, as long as the offer lives: what was uploaded to this node is
    /// not loaded again.
    pub fn offer(self: &Arc<Self>, table: &Table, rows: Arc<Rows>) -> Offer {
        let source = Source::of(table);
        self.inner.lock().offered.insert(source.clone(), rows);
        Offer {
            lookups: Arc::clone(self),
            source,
        }
    }

    /// Why the version of the table is not in force on this node, where that is known.
    pub fn fault(&self, name: &TableName, version: u64) -> Option<Arc<str>> {
        let inner = self.inner.lock();
        let (of, fault) = inner.faults.get(name)?;
        (*of == version).then(|| Arc::clone(fault))
    }

    /// The tables of `state`, with everything of `previous` that has not changed. Waits a little for what has to be
    /// loaded; what takes longer comes into force later, by applying the state again.
    pub(super) async fn build(self: &Arc<Self>, state: &State, previous: &Arc<TableSet>) -> Arc<TableSet> {
        let is_start = !self.has_begun.swap(true, Ordering::Relaxed);
        let missing: Vec<(&TableName, &Table)> = state
            .tables
            .iter()
            .map(|(name, known)| (name, &known.value))
            .filter(|(name, table)| {
                let held = previous.held(name);
                held.is_none_or(|held| held.version != table.version)
            })
            .collect();
        self.inner.lock().wanted = state
            .tables
            .values()
            .map(|known| Source::of(&known.value))
            .collect();
        let beyond = self.beyond_memory(state);
        // What an earlier change has begun, that one has waited for.
        let mut begun = Vec::new();
        for (name, table) in missing {
            match beyond.get(name) {
                Some(fault) => self.note_fault(name, table.version, fault.clone()),
                None if self.begin(name, table, previous) => begun.push((name, table)),
                None => {}
            }
        }
        let grace = if is_start { GRACE_AT_START } else { GRACE };
        self.wait(&begun, Instant::now() + grace).await;
        self.assemble(state, previous)
    }

    /// The tables for which no room is left, those that were registered last.
    fn beyond_memory(&self, state: &State) -> HashMap<TableName, String> {
        let mut tables: Vec<_> = state.tables.iter().collect();
        tables.sort_by_key(|(_, known)| known.sequence);
        let mut total: u64 = 0;
        let mut beyond = HashMap::new();
        for (name, known) in tables {
            let needed = known.value.memory_bytes;
            if total.saturating_add(needed) <= self.memory_max.0 {
                total += needed;
            } else {
                let (max, left) = (self.memory_max, ByteSize(self.memory_max.0 - total));
                let fault = format!(
                    "it needs {} of memory, and limits.tables_memory_bytes = {max} leaves {left}",
                    ByteSize(needed)
                );
                beyond.insert(name.clone(), fault);
            }
        }
        beyond
    }

    fn note_fault(&self, name: &TableName, version: u64, fault: String) {
        let mut inner = self.inner.lock();
        let known = inner.faults.get(name).filter(|(of, _)| *of == version);
        if known.is_none_or(|(_, known)| **known != *fault) {
            tracing::warn!(table = %name, version, %fault, "a lookup table cannot be loaded; it is tried again");
        }
        inner.faults.insert(name.clone(), (version, fault.into()));
    }

    /// Starts loading, where that is needed and nobody does already. Whether it did.
    fn begin(self: &Arc<Self>, name: &TableName, table: &Table, previous: &TableSet) -> bool {
        let source = Source::of(table);
        let mut inner = self.inner.lock();
        let is_there = inner.offered.contains_key(&source)
            || inner.loaded.contains_key(&source)
            || inner.kept(name, table, previous).is_some();
        if is_there || !inner.loading.insert(source.clone()) {
            return false;
        }
        tokio::spawn(Arc::clone(self).load(name.clone(), table.version, source));
        true
    }

    async fn load(self: Arc<Self>, name: TableName, version: u64, source: Source) {
        loop {
            let read = self.read(&source).await;
            if self.gives_up(&source) {
                return;
            }
            match read {
                Ok(rows) => {
                    let mut inner = self.inner.lock();
                    inner.loading.remove(&source);
                    inner.loaded.insert(source.clone(), Arc::new(rows));
                    break;
                }
                Err(fault) => self.note_fault(&name, version, fault),
            }
            self.ended.send_replace(());
            tokio::time::sleep(RETRY_INTERVAL).await;
            if self.gives_up(&source) {
                return;
            }
        }
        self.ended.send_replace(());
        // Whoever waited for it has taken it by then.
        self.registry
            .apply_again(|| self.inner.lock().loaded.contains_key(&source))
            .await;
    }

    /// Whether no table is made of it any more; then it is no longer loaded either.
    fn gives_up(&self, source: &Source) -> bool {
        let mut inner = self.inner.lock();
        let is_wanted = inner.wanted.contains(source);
        if !is_wanted {
            inner.loading.remove(source);
            drop(inner);
            self.ended.send_replace(());
        }
        !is_wanted
    }

    async fn read(&self, source: &Source) -> Result<Rows, String> {
        let _turn = self
            .one_at_a_time
            .acquire()
            .await
            .map_err(|error| error.to_string())?;
        let data = self
            .registry
            .blob(source.digest)
            .await
            .map_err(|error| error.to_string())?;
        let (format, key) = (source.format, source.key.clone());
        let reading = move || lookup::read(&data, format, &key, ByteSize(TABLE_BYTES_CEILING));
        let read = tokio::task::spawn_blocking(reading).await;
        let read = read.map_err(|error| format!("reading it broke off: {error}"))?;
        // It was in order where it was uploaded: another release may hold other bounds.
        read.map_err(|problem| format!("this release cannot read it: {}", problem.detail))
    }

    async fn wait(&self, begun: &[(&TableName, &Table)], until: Instant) {
        let is_pending = || {
            let inner = self.inner.lock();
            begun.iter().any(|(name, table)| {
                let failed = inner
                    .faults
                    .get(*name)
                    .is_some_and(|(of, _)| *of == table.version);
                inner.loading.contains(&Source::of(table)) && !failed
            })
        };
        wait_while(&self.ended, until, is_pending).await;
    }

    fn assemble(&self, state: &State, previous: &Arc<TableSet>) -> Arc<TableSet> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.faults.retain(|name, _| state.tables.contains_key(name));
        let mut set = Vec::with_capacity(state.tables.len());
        let mut in_force = HashMap::new();
        for (name, known) in &state.tables {
            let (table, source) = (&known.value, Source::of(&known.value));
            let rows = inner
                .kept(name, table, previous)
                .or_else(|| inner.offered.get(&source).cloned())
                .or_else(|| inner.loaded.get(&source).cloned());
            let standing = match (rows, previous.held(name)) {
                (Some(rows), _) => {
                    inner.faults.remove(name);
                    in_force.insert(name.clone(), (table.version, source));
                    Ok(TableVersion::new(name, table.version, rows))
                }
                (None, Some(held)) => {
                    in_force.extend(inner.in_force.remove_entry(name));
                    Ok(held.clone())
                }
                (None, None) => {
                    let fault = inner.faults.get(name).map(|(_, fault)| Arc::clone(fault));
                    Err(fault.unwrap_or_else(|| format!("version {} is being loaded", table.version).into()))
                }
            };
            set.push((name.clone(), standing));
        }
        inner.in_force = in_force;
        // Each that somebody wants is in force now.
        inner.loaded.clear();
        let set = TableSet::new(set);
        match set.is_same_as(previous) {
            true => Arc::clone(previous),
            false => Arc::new(set),
        }
    }
}
