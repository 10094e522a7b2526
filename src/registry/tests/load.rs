//! Start-up, and what is wrong in the store.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{folder, put_partner, put_schema, registry, write};
use crate::{
    problem::Code,
    registry::{Registry, RegistryError, SNAPSHOT_EVERY, log::Log, model::Digest},
    store::Store,
};

async fn remove_all(store: &Store, prefix: &str) {
    for path in store.list(prefix, None).await.expect("listed") {
        store.delete(&path).await.expect("deleted");
    }
}

#[tokio::test]
async fn a_snapshot_and_its_tail_equal_the_whole_log() {
    let (_directory, store) = folder();
    let registry = registry(&store).await;
    for number in 0..10 {
        write(&registry, put_partner(&format!("p{number}"), "before")).await;
        let text = format!(r#"{{"maximum": {number}}}"#);
        write(&registry, put_schema("a.b", None, &number.to_string(), &text)).await;
    }
    let log = Log::new(store.clone());
    log.write_snapshot(&registry.state()).await.expect("a snapshot");
    write(&registry, put_partner("p1", "after")).await;
    write(&registry, put_schema("a.b", None, "3.0", "true")).await;

    let (from_snapshot, replayed) = log.load().await.expect("loaded");
    assert_eq!(replayed, 2);
    remove_all(&store, "registry/snapshots").await;
    let (from_log, replayed) = log.load().await.expect("loaded");
    assert_eq!(replayed, 22);
    assert_eq!(from_snapshot, from_log);
    assert_eq!(from_log, *registry.state());
    let texts: Vec<&str> = from_log.schemas["a.b"]
        .schemas
        .iter()
        .map(|known| &*known.value.1.text)
        .collect();
    assert!(
        texts.contains(&"true") && texts.contains(&r#"{"maximum": 9}"#),
        "{texts:?}"
    );
}

#[tokio::test]
async fn snapshots_are_written_now_and_then_and_two_are_kept() {
    let (_directory, store) = folder();
    let registry = registry(&store).await;
    for number in 1..=SNAPSHOT_EVERY {
        write(
            &registry,
            put_partner(&format!("p{}", number % 7), &number.to_string()),
        )
        .await;
    }
    let begun = Instant::now();
    let written = loop {
        let listed = store.list("registry/snapshots", None).await.expect("listed");
        if !listed.is_empty() {
            break listed;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "no snapshot");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(written, [format!("registry/snapshots/{SNAPSHOT_EVERY:020}.json")]);
    let log = Log::new(store.clone());
    let mut state = (*registry.state()).clone();
    for later in 1..=3 {
        state.sequence = SNAPSHOT_EVERY + later;
        log.write_snapshot(&state).await.expect("a snapshot");
    }
    let kept = store.list("registry/snapshots", None).await.expect("listed");
    let expected = [2, 3].map(|later| format!("registry/snapshots/{:020}.json", SNAPSHOT_EVERY + later));
    assert_eq!(kept, expected);
}

#[tokio::test]
async fn a_damaged_snapshot_is_passed_over() {
    let (_directory, store) = folder();
    let registry = registry(&store).await;
    for number in 0..4 {
        write(&registry, put_partner(&format!("p{number}"), "x")).await;
    }
    let log = Log::new(store.clone());
    log.write_snapshot(&registry.state()).await.expect("a snapshot");
    let path = format!("registry/snapshots/{:020}.json", 4);
    let whole = store.get(&path).await.expect("got").expect("it is there");
    let other_format = Bytes::from_static(br#"{"format": 99, "state": {}}"#);
    for damaged in [whole.slice(..whole.len() / 2), Bytes::new(), other_format] {
        store.put(&path, damaged).await.expect("damaged");
        let (state, replayed) = log.load().await.expect("loaded from the log");
        assert_eq!((state, replayed), ((*registry.state()).clone(), 4));
    }
}

#[tokio::test]
async fn torn_and_missing_entries_are_named() {
    let (_directory, store) = folder();
    let node = registry(&store).await;
    for number in 0..3 {
        write(&node, put_partner(&format!("p{number}"), "x")).await;
    }
    drop(node);
    let path = format!("registry/log/{:020}.json", 2);
    let whole = store.get(&path).await.expect("got").expect("it is there");
    for torn in [
        whole.slice(..whole.len() / 2),
        Bytes::new(),
        Bytes::from_static(b"\0\0\0\0"),
    ] {
        store.put(&path, torn).await.expect("torn");
        let error = Registry::open(store.clone())
            .await
            .err()
            .expect("the log cannot be read");
        assert!(
            matches!(error, RegistryError::EntryUnreadable { sequence: 2, .. }),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .starts_with("entry 2 of the registry's log cannot be read"),
            "{error}"
        );
    }
    let third = store
        .get(&format!("registry/log/{:020}.json", 3))
        .await
        .expect("got");
    store
        .put(&path, third.expect("it is there"))
        .await
        .expect("swapped");
    let error = Registry::open(store.clone())
        .await
        .err()
        .expect("the entry is another's");
    assert!(
        error.to_string().contains("it says that it is entry 3"),
        "{error}"
    );
    store.delete(&path).await.expect("deleted");
    let error = Registry::open(store.clone())
        .await
        .err()
        .expect("the log has a gap");
    assert!(
        matches!(error, RegistryError::EntryMissing { sequence: 2 }),
        "{error}"
    );
}

#[tokio::test]
async fn a_blob_that_is_missing_or_damaged_is_an_error() {
    let (_directory, store) = folder();
    let node = registry(&store).await;
    let digest = node
        .put_blob(Bytes::from_static(b"component"))
        .await
        .expect("kept");
    assert_eq!(digest, Digest::of(b"component"));
    assert_eq!(node.blob(digest).await.expect("got"), &b"component"[..]);
    store
        .put(
            &format!("registry/blobs/{digest}"),
            Bytes::from_static(b"compomentt"),
        )
        .await
        .expect("damaged");
    let error = node.blob(digest).await.expect_err("damaged");
    assert!(matches!(error, RegistryError::BlobDamaged { .. }), "{error}");
    node.put_blob(Bytes::from_static(b"component"))
        .await
        .expect("repaired");
    assert_eq!(node.blob(digest).await.expect("got"), &b"component"[..]);
    let missing = Digest::of(b"nothing");
    let error = node.blob(missing).await.expect_err("missing");
    assert!(error.to_string().contains(&missing.to_string()), "{error}");
}

#[tokio::test]
async fn the_last_state_is_served_while_the_log_cannot_be_read() {
    let (_directory, store) = folder();
    let interval = Duration::from_millis(10);
    let node = Registry::open_every(store.clone(), interval)
        .await
        .expect("the registry opens");
    write(&node, put_partner("shop", "x")).await;
    let torn = format!("registry/log/{:020}.json", 2);
    store.put(&torn, Bytes::from_static(b"{")).await.expect("torn");
    let begun = Instant::now();
    while node.health().failing.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it is not noticed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        node.health()
            .failing
            .is_some_and(|reason| reason.contains("entry 2"))
    );
    assert!(node.state().partners.contains_key("shop"));
    let refused = node
        .commit("test", |_| Ok((Some(put_partner("b", "x")), ())))
        .await;
    let problem = refused.expect_err("nothing can be written now");
    assert_eq!(
        (problem.code, problem.retry_after_s),
        (Code::StoreUnavailable, Some(1))
    );
    store.delete(&torn).await.expect("repaired");
    while node.health().failing.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not recover");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(write(&node, put_partner("b", "x")).await, 2);
}
