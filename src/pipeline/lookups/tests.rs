use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::time::Instant;

use super::{GRACE, Lookups};
use crate::{
    event::TableName,
    limits::ByteSize,
    lookup::TableSet,
    registry::{
        Registry,
        model::{Digest, State, Table, TableFormat, Versioned},
        now,
    },
    store::Store,
};

const SPRING: &str = "{\"key\":\"spring\"}\n";
const SUMMER: &str = "{\"key\":\"summer\"}\n";

struct Node {
    lookups: Arc<Lookups>,
    registry: Registry,
    _directory: TempDir,
}

impl Node {
    /// Its first change has been made: none waits as long as one may at the start.
    async fn start() -> Node {
        let directory = tempfile::tempdir().expect("a folder");
        let store = Store::open(&format!("file:{}", directory.path().display())).expect("the store opens");
        let registry = Registry::open(store).await.expect("the registry opens");
        let lookups = Lookups::new(registry.clone(), ByteSize(1 << 20));
        let node = Node {
            lookups,
            registry,
            _directory: directory,
        };
        node.build(&State::default(), &Arc::default()).await;
        node
    }

    async fn build(&self, state: &State, previous: &Arc<TableSet>) -> Arc<TableSet> {
        self.lookups.build(state, previous).await
    }

    /// Keeps the data of tables, so that they can be loaded.
    async fn keep(&self, data: &'static str) {
        let kept = self.registry.put_blob(Bytes::from_static(data.as_bytes())).await;
        kept.expect("it is kept");
    }
}

fn name(name: &str) -> TableName {
    name.parse().expect("a name")
}

/// A state with tables: name, version, data.
fn state(tables: &[(&str, u64, &str)]) -> State {
    let table = |(table, version, data): &(&str, u64, &str)| {
        let value = Table {
            version: *version,
            digest: Digest::of(data.as_bytes()),
            format: TableFormat::Ndjson,
            key: "key".to_owned(),
            rows: 1,
            size: data.len() as u64,
            memory_bytes: 100,
            created: now(),
            by: "test".to_owned(),
        };
        let known = Versioned {
            sequence: *version,
            value,
        };
        (name(table), Arc::new(known))
    };
    State {
        tables: tables.iter().map(table).collect::<BTreeMap<_, _>>(),
        ..State::default()
    }
}

/// The version that the set has of the table, and whether it has this row.
fn has(set: &TableSet, table: &str, key: &str) -> Option<(u64, bool)> {
    let held = set.held(&name(table))?;
    Some((held.version, held.rows.get(key).is_some()))
}

#[tokio::test]
async fn a_change_that_brings_no_other_table_leaves_them_as_they_are() {
    let node = Node::start().await;
    node.keep(SPRING).await;
    // The data of the other is nowhere.
    let wanted = state(&[("good", 1, SPRING), ("lost", 1, SUMMER)]);
    let set = node.build(&wanted, &Arc::default()).await;
    assert_eq!(has(&set, "good", "spring"), Some((1, true)));
    let reason = set.find("lost").expect_err("it cannot be loaded");
    assert!(reason.contains("not loaded on this node"), "{reason}");
    assert!(set.brings_rows(&TableSet::default()));

    let again = node.build(&wanted, &set).await;
    assert!(Arc::ptr_eq(&set, &again), "nothing is swapped");

    let without = node.build(&state(&[("good", 1, SPRING)]), &set).await;
    assert!(without.find("lost").expect_err("it is gone").contains("put it"));
    assert!(!without.brings_rows(&set), "nothing can go out by it");
}

#[tokio::test]
async fn the_same_data_at_another_version_is_not_loaded_again() {
    let node = Node::start().await;
    node.keep(SPRING).await;
    let set = node.build(&state(&[("a", 1, SPRING)]), &Arc::default()).await;
    let held = Arc::clone(&set.held(&name("a")).expect("it is loaded").rows);

    // It cannot be loaded any more; deleted and put again between two looks at the log.
    let lost = node.lookups.one_at_a_time.acquire().await.expect("it is open");
    let later = node.build(&state(&[("a", 3, SPRING)]), &set).await;
    let known = later.held(&name("a")).expect("it serves");
    assert_eq!((known.version, &*known.label), (3, "a@3"));
    assert!(Arc::ptr_eq(&known.rows, &held));
    assert!(!later.brings_rows(&set), "nothing can go out by it");
    assert!(node.lookups.inner.lock().loading.is_empty());
    drop(lost);

    // Other data is.
    node.keep(SUMMER).await;
    let other = node.build(&state(&[("a", 4, SUMMER)]), &later).await;
    assert_eq!(has(&other, "a", "summer"), Some((4, true)));
    assert!(other.brings_rows(&later));
}

#[tokio::test]
async fn rows_that_nobody_wants_any_more_are_not_kept() {
    let node = Node::start().await;
    node.keep(SPRING).await;
    node.keep(SUMMER).await;
    let lookups = &node.lookups;
    let turn = lookups.one_at_a_time.acquire().await.expect("it is open");
    let set = node.build(&state(&[("a", 1, SPRING)]), &Arc::default()).await;
    assert!(
        set.find("a")
            .expect_err("it is not read yet")
            .contains("being loaded")
    );
    // Superseded, and then deleted, while it waits for its turn.
    let set = node.build(&state(&[("a", 2, SUMMER)]), &set).await;
    let begun = Instant::now();
    let none = node.build(&State::default(), &set).await;
    assert!(begun.elapsed() < GRACE, "nothing is waited for");
    assert!(none.is_empty());
    let mut ended = lookups.ended.subscribe();
    drop(turn);
    while !lookups.inner.lock().loading.is_empty() {
        ended.changed().await.expect("the loads end");
    }
    let inner = lookups.inner.lock();
    assert!(inner.loaded.is_empty() && inner.in_force.is_empty() && inner.faults.is_empty());
}

#[tokio::test]
async fn what_is_being_loaded_holds_up_one_change_and_not_each() {
    let node = Node::start().await;
    node.keep(SPRING).await;
    let wanted = state(&[("a", 1, SPRING)]);
    let turn = node.lookups.one_at_a_time.acquire().await.expect("it is open");
    let set = node.build(&wanted, &Arc::default()).await;
    let begun = Instant::now();
    let again = node.build(&wanted, &set).await;
    assert!(begun.elapsed() < GRACE / 2, "{:?}", begun.elapsed());
    assert!(Arc::ptr_eq(&set, &again));
    let mut ended = node.lookups.ended.subscribe();
    drop(turn);
    while !node.lookups.inner.lock().loading.is_empty() {
        ended.changed().await.expect("the load ends");
    }
    let loaded = node.build(&wanted, &again).await;
    assert_eq!(has(&loaded, "a", "spring"), Some((1, true)));
    assert!(node.lookups.inner.lock().loaded.is_empty(), "it is in force");
}
