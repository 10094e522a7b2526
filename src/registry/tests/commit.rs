//! Writers, followers and the applier.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use parking_lot::Mutex;

use super::{folder, put_partner, put_schema, registry, write};
use crate::{
    problem::{Code, Problem},
    registry::{Registry, model::State},
};

#[tokio::test]
async fn a_change_is_in_force_when_it_is_answered() {
    let (_directory, store) = folder();
    let registry = registry(&store).await;
    assert_eq!(write(&registry, put_partner("shop", "one")).await, 1);
    let state = registry.state();
    assert_eq!((state.sequence, state.partners["shop"].sequence), (1, 1));
    assert_eq!(write(&registry, put_partner("shop", "two")).await, 2);
    assert_eq!(registry.state().partners["shop"].value.description, "two");
    assert_eq!(
        state.partners["shop"].value.description, "one",
        "a state never changes"
    );
}

#[tokio::test]
async fn a_refusal_and_no_change_write_nothing() {
    let (_directory, store) = folder();
    let registry = registry(&store).await;
    let refused = registry
        .commit::<_, ()>("test", |_| Err(Problem::new(Code::Conflict, "no")))
        .await;
    assert_eq!(refused.expect_err("refused").code, Code::Conflict);
    let nothing = registry
        .commit("test", |state| Ok((None, state.sequence)))
        .await
        .expect("no change");
    assert!(nothing.entry.is_none());
    assert_eq!(store.list("registry/log", None).await.expect("listed"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_writers_on_two_nodes_keep_one_history() {
    const WRITERS: usize = 8;
    const CHANGES: usize = 12;
    let (_directory, store) = folder();
    let nodes = [registry(&store).await, registry(&store).await];
    let writers = (0..WRITERS).map(|writer| {
        let node = nodes[writer % 2].clone();
        tokio::spawn(async move {
            let mut written = Vec::new();
            for change in 0..CHANGES {
                written.push(write(&node, put_partner(&format!("w{writer}-c{change}"), "x")).await);
            }
            written
        })
    });
    let mut sequences = BTreeSet::new();
    for written in futures::future::join_all(writers).await {
        let written = written.expect("the writer ended well");
        assert!(
            written.is_sorted(),
            "a writer's changes keep their order: {written:?}"
        );
        sequences.extend(written);
    }
    let total = WRITERS * CHANGES;
    assert_eq!(
        sequences,
        (1..=total as u64).collect(),
        "each change has a place of its own, without a gap"
    );
    // Both nodes and a third that only reads hold the same.
    let fresh = registry(&store).await.state();
    assert_eq!(fresh.partners.len(), total);
    for node in &nodes {
        assert_eq!(node.fresh_state().await.expect("caught up"), fresh);
        assert_eq!(node.state(), fresh, "and it is in force");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preconditions_hold_against_the_newest_state() {
    let (_directory, store) = folder();
    let nodes = [registry(&store).await, registry(&store).await];
    // Each node may make the partner only where it is not there: one of them must win.
    let attempts = nodes.iter().map(|node| {
        node.commit("test", |state| {
            if state.partners.contains_key("shop") {
                return Err(Problem::new(Code::PreconditionFailed, "it exists already"));
            }
            Ok((Some(put_partner("shop", "mine")), ()))
        })
    });
    let results = futures::future::join_all(attempts).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
}

#[tokio::test]
async fn a_follower_sees_a_change_within_two_seconds() {
    let (_directory, store) = folder();
    let (writer, follower) = (registry(&store).await, registry(&store).await);
    let applied = Arc::new(AtomicBool::new(false));
    let seen = applied.clone();
    follower
        .set_applier(move |state: Arc<State>| {
            seen.store(state.schemas.contains_key("order.created"), Ordering::SeqCst);
            async {}.boxed()
        })
        .await;
    let text = r#"{"type": "object"}"#;
    write(&writer, put_schema("order.created", None, "1.0", text)).await;
    let written = Instant::now();
    while !follower.state().schemas.contains_key("order.created") {
        assert!(
            written.elapsed() < Duration::from_secs(2),
            "not followed within 2 s"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        applied.load(Ordering::SeqCst),
        "what is in force was applied first"
    );
    let state = follower.state();
    assert_eq!(&*state.schemas["order.created"].schemas[0].value.1.text, text);
    assert_eq!(follower.health().failing, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_are_applied_in_order_and_one_at_a_time() {
    let (_directory, store) = folder();
    let interval = Duration::from_millis(5);
    let node = Registry::open_every(store.clone(), interval)
        .await
        .expect("the registry opens");
    let other = registry(&store).await;
    let busy = Arc::new(AtomicBool::new(false));
    let applied = Arc::new(Mutex::new(Vec::new()));
    let (is_busy, seen) = (busy.clone(), applied.clone());
    node.set_applier(move |state: Arc<State>| {
        let (is_busy, seen) = (is_busy.clone(), seen.clone());
        async move {
            assert!(!is_busy.swap(true, Ordering::SeqCst), "two at once");
            tokio::time::sleep(Duration::from_millis(3)).await;
            seen.lock().push(state.sequence);
            is_busy.store(false, Ordering::SeqCst);
        }
        .boxed()
    })
    .await;
    let own = async {
        for number in 0..15 {
            let sequence = write(&node, put_partner(&format!("own-{number}"), "x")).await;
            assert!(
                applied.lock().contains(&sequence),
                "applied before it was answered"
            );
            assert!(node.state().sequence >= sequence);
        }
    };
    let foreign = async {
        for number in 0..15 {
            write(&other, put_partner(&format!("foreign-{number}"), "x")).await;
        }
    };
    tokio::join!(own, foreign);
    let applied = applied.lock().clone();
    assert!(
        applied.windows(2).all(|pair| pair[0] < pair[1]),
        "in order, each once: {applied:?}"
    );
}

#[tokio::test]
async fn a_commit_goes_on_when_nobody_waits() {
    let (_directory, store) = folder();
    let registry = registry(&store).await;
    let abandoned = registry.commit("test", |_| Ok((Some(put_partner("shop", "x")), ())));
    assert!(abandoned.now_or_never().is_none(), "it was only begun");
    let waited = Instant::now();
    while !registry.state().partners.contains_key("shop") {
        assert!(waited.elapsed() < Duration::from_secs(5), "the change was lost");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn changes_are_paged() {
    let (_directory, store) = folder();
    let registry = registry(&store).await;
    for number in 0..5 {
        write(&registry, put_partner(&format!("p{number}"), "x")).await;
    }
    let page = |after, limit| registry.changes(after, limit);
    let sequences = |entries: Vec<crate::registry::model::Entry>| -> Vec<u64> {
        entries.iter().map(|entry| entry.sequence).collect()
    };
    let (entries, more) = page(0, 2).await.expect("a page");
    assert_eq!((sequences(entries), more), (vec![1, 2], true));
    let (entries, more) = page(2, 3).await.expect("a page");
    assert_eq!((sequences(entries), more), (vec![3, 4, 5], false));
    for after in [5, 6, u64::MAX] {
        let (entries, more) = page(after, 3).await.expect("a page");
        assert_eq!((sequences(entries), more), (vec![], false), "after {after}");
    }
}
