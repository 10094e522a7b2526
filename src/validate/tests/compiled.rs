//! Which schemas are compiled, when, by whom, and how many are kept.

use std::{sync::Arc, time::Duration};

use super::{event, state};
use crate::{
    limits::{COMPILED_SCHEMA_BYTES_BASE, COMPILED_SCHEMA_BYTES_FACTOR},
    registry::model::State,
    validate::{Compiler, Schemas},
};

/// Versions 1 to `count`, each with a text of its own that takes data of any kind.
fn many(count: usize) -> Arc<State> {
    let texts: Vec<(String, String)> = (1..=count)
        .map(|version| (version.to_string(), format!(r#"{{"title":"{version:04}"}}"#)))
        .collect();
    let schemas: Vec<(&str, Option<&str>, &str)> = texts
        .iter()
        .map(|(since, text)| (since.as_str(), None, text.as_str()))
        .collect();
    state(&schemas)
}

#[test]
fn what_is_kept_compiled_is_bounded_and_comes_back_when_it_is_used() {
    let one = COMPILED_SCHEMA_BYTES_BASE + COMPILED_SCHEMA_BYTES_FACTOR * 16;
    let bound = one as u64 * 10;
    let schemas = Schemas::build(&many(50), &Schemas::new(Compiler::new(bound)));
    assert_eq!(schemas.compiler().missing(), 50);
    for version in 1..=50 {
        schemas.check(event(Some(&version.to_string()), "1")).unwrap();
    }
    assert_eq!(schemas.compiler().compilations(), 50);
    let missing = schemas.compiler().missing();
    assert!((36..50).contains(&missing), "{missing} of 50 are not kept");
    schemas.check(event(Some("1"), "1")).unwrap();
    assert_eq!(
        schemas.compiler().compilations(),
        51,
        "the oldest was compiled again"
    );
    schemas.check(event(Some("1"), "1")).unwrap();
    assert_eq!(schemas.compiler().compilations(), 51, "and then kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_who_wait_for_a_schema_wait_for_one_compilation() {
    let schemas = Arc::new(Schemas::build(&many(100), &Schemas::default()));
    let waiting: Vec<_> = (0..64)
        .map(|_| {
            let schemas = Arc::clone(&schemas);
            tokio::spawn(async move {
                let event = event(Some("7"), "1");
                schemas.prepare(&event).await;
                schemas.check(event).map(drop).map_err(|refused| refused.1)
            })
        })
        .collect();
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    assert_eq!(schemas.compiler().compilations(), 1, "and for no other schema");
    assert_eq!(schemas.compiler().missing(), 99);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_is_compiled_before_it_is_in_force_and_the_start_in_the_background() {
    let (start, fresh) = Schemas::change(&many(20), &Schemas::default());
    fresh.compile().await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while start.compiler().has_missing() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the background compiles all"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut more = State::clone(&many(20));
    more.sequence = 1;
    let (start, fresh) = Schemas::change(&Arc::new(more), &start);
    assert_eq!(
        start.compiler().compilations(),
        20,
        "the same texts are the same schemas"
    );
    fresh.compile().await;

    let mut changed = State::clone(&many(21));
    changed.sequence = 2;
    let (after, fresh) = Schemas::change(&Arc::new(changed), &start);
    assert_eq!(after.compiler().missing(), 1);
    fresh.compile().await;
    assert_eq!(after.compiler().missing(), 0);
    assert_eq!(after.compiler().compilations(), 21);
}

#[test]
fn schemas_that_are_gone_are_not_counted() {
    let first = Schemas::build(&many(5), &Schemas::default());
    let compiler = Arc::clone(first.compiler());
    first.check(event(Some("1"), "1")).unwrap();
    let second = Schemas::build(&Arc::new(State::default()), &first);
    assert_eq!(compiler.missing(), 4);
    drop(first);
    assert_eq!(compiler.missing(), 0);
    drop(second);
}
