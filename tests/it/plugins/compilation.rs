//! Compilation as hostile input: what is made to harm is refused with a reason, or taken and bounded like any plugin.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use headworks::{
    problem::{Code, Problem},
    registry::model::{Digest, Isolation},
    transform::{LoadCounts, PluginUse},
};
use serde_json::json;

use super::{bombs, hostile_component, make_transformer, transformer};
use crate::harness::long;

/// Whether an upload is taken; if not, it is refused for what it is.
async fn judged(what: &str, upload: Bytes) -> bool {
    let begun = Instant::now();
    let size = upload.len() as u64;
    let judged = transformer().compile(upload).await;
    let bound = headworks::limits::compile_cpu_s(size) * headworks::limits::COMPILE_WALL_FACTOR + 30;
    assert!(
        begun.elapsed() < Duration::from_secs(bound),
        "{what}: {:?}",
        begun.elapsed()
    );
    match judged {
        Ok(_) => true,
        Err(refused) => {
            let expected = [
                Code::ComponentInvalid,
                Code::ComponentTooCostly,
                Code::ComponentImportForbidden,
            ];
            assert!(expected.contains(&refused.code), "{what}: {refused}");
            assert!(refused.detail.len() > 20, "{what}: {}", refused.detail);
            println!(
                "{what} ({size} bytes, {:.1?}): {}",
                begun.elapsed(),
                refused.detail
            );
            false
        }
    }
}

#[tokio::test]
async fn bombs_are_refused_with_a_reason_or_bounded() {
    let mut taken = Vec::new();
    for (what, bomb) in bombs::all(if long() { 10 } else { 1 }) {
        if judged(what, bomb).await {
            taken.push(what);
        }
    }
    println!("taken: {taken:?}");
    for refused in [
        "a function beyond the format's size",
        "more types than the format has",
        "more locals than the format has",
        "imports of an instantiated module",
        "an endless start function",
        "instances that double",
        "counts beyond the bytes",
        "a section beyond the bytes",
    ] {
        assert!(!taken.contains(&refused), "{refused} was taken");
    }
}

#[tokio::test]
async fn generated_components_are_refused_with_a_reason_or_bounded() {
    let (mut taken, mut refused) = (0, 0);
    for (what, upload) in bombs::generated(0, if long() { 500 } else { 12 }) {
        if judged(&what, upload).await {
            taken += 1;
        } else {
            refused += 1;
        }
    }
    println!("{taken} taken, {refused} refused");
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}

#[tokio::test]
async fn cut_and_overwritten_plugins_are_refused_with_a_reason_or_bounded() {
    let whole = hostile_component();
    let count = if long() { 400 } else { 16 };
    for part in 0..count {
        let length = whole.len() * part / count;
        let cut = judged(&format!("the first {length} bytes"), whole.slice(..length)).await;
        assert!(!cut, "half a plugin was taken");
    }
    let mut state = 1_u64;
    for round in 0..count {
        let mut damaged = whole.to_vec();
        for _ in 0..8 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let position = usize::try_from(state >> 33).expect("31 bits") % damaged.len();
            damaged[position] = (state >> 16) as u8;
        }
        // One that changed nothing that matters is taken.
        judged(&format!("round {round}"), damaged.into()).await;
    }
}

#[tokio::test]
async fn configurations_of_one_component_share_its_code() {
    let folder = tempfile::tempdir().expect("a folder for the cache");
    let component = hostile_component();
    let digest = Digest::of(&component);
    let uses = ["one", "two", "three"].map(|config| {
        let name = "hostile".parse().expect("a name");
        PluginUse::new(
            name,
            1,
            digest,
            Some(&json!({"configure": config})),
            Isolation::Shared,
        )
    });
    let fetches = AtomicUsize::new(0);
    let fetch = || async {
        fetches.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Problem>(component.clone())
    };
    // The second one finds compiled what the first one left, as after a restart.
    for (compiled, disk) in [(1, 0), (0, 1)] {
        let transformer = make_transformer(folder.path(), 50);
        let prepare = |of| transformer.prepare_fetched(of, fetch());
        let [one, two, three] = &uses;
        let prepared = tokio::try_join!(prepare(one), prepare(two), prepare(three));
        let _held = prepared.expect("each can run");
        let expected = LoadCounts {
            compiled,
            disk,
            memory: 2,
        };
        assert_eq!(transformer.loads(), expected);
        assert_eq!(
            fetches.load(Ordering::Relaxed),
            1,
            "what is compiled is not fetched"
        );
    }
}
