mod commit;
mod load;
mod replay;
mod secrets;

use tempfile::TempDir;

use super::{
    Registry,
    model::{Change, Digest, Partner, Schema, SchemaKey},
    now,
};
use crate::store::Store;

fn folder() -> (TempDir, Store) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(&format!("file:{}", directory.path().display())).expect("the store opens");
    (directory, store)
}

async fn registry(store: &Store) -> Registry {
    Registry::open(store.clone()).await.expect("the registry opens")
}

fn put_partner(name: &str, description: &str) -> Change {
    Change::PutPartner {
        name: name.parse().expect("a name"),
        partner: Partner {
            description: description.to_owned(),
            ..Partner::default()
        },
    }
}

fn put_schema(event_type: &str, source: Option<&str>, since: &str, text: &str) -> Change {
    Change::PutSchema {
        key: SchemaKey {
            event_type: event_type.parse().expect("a type"),
            source: source.map(str::to_owned),
            since: since.to_owned(),
        },
        schema: Schema {
            digest: Digest::of(text.as_bytes()),
            text: text.into(),
            created: now(),
            by: "test".to_owned(),
        },
        forced: false,
    }
}

async fn write(registry: &Registry, change: Change) -> u64 {
    let committed = registry
        .commit("test", move |_| Ok((Some(change.clone()), ())))
        .await;
    committed
        .expect("the change is written")
        .entry
        .expect("an entry")
        .sequence
}
