//! What a plugin must not be able to do, and what it costs when it tries: its own event, and its instance.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use headworks::{
    event::Body,
    problem::Code,
    registry::model::{Digest, Isolation},
    transform::{LogLevel, PluginFailure, PluginUse, Purpose, TrialInstance},
};
use serde_json::{Value, json};

use super::{
    call, event, failure, hostile_component, make_transformer, only_body, prepare_hostile, transformer,
};

#[tokio::test]
async fn what_is_not_touched_keeps_its_bytes() {
    let plugin = prepare_hostile("echo", None).await;
    let data = "{ \"do\":\"echo\",\t\"amount\": 1,\"x\":1.50e0, \"한\": [ ]}";
    assert_eq!(only_body(plugin.transform(&event(data))), data);
    assert_eq!(&**plugin.label(), "echo@1");
}

#[tokio::test]
async fn a_plugin_sees_all_of_an_event() {
    let plugin = prepare_hostile("attributes", None).await;
    let body = only_body(call(&plugin, "attributes", 0));
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let expected = json!({
        "do": "attributes", "amount": 0, "id": "event-1", "source": "/calls", "type": "call.ended", "subject": null,
        "time": "2026-11-02T10:15:30+09:00", "app_version": "5.10", "partner": "callbridge",
        "schema": "call.ended@1.0.0"
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn an_output_carries_all_its_fields() {
    let plugin = prepare_hostile("fields", None).await;
    let outputs = call(&plugin, "every-field", 0).expect("it succeeds");
    let output = &outputs[0];
    assert_eq!(output.destination.as_deref(), Some("files"));
    assert_eq!(output.topic.as_deref(), Some("topic"));
    assert_eq!(output.key.as_deref(), Some("key"));
    let pair = |value: &str| ("one".to_owned(), value.to_owned());
    assert_eq!(output.headers, [pair("1"), pair("2")]);
    assert!(matches!(output.body, Body::Document(_)));
    assert!(call(&plugin, "drop", 0).expect("it succeeds").is_empty());
}

#[tokio::test]
async fn a_plugin_says_why_it_refuses_and_why_it_fails() {
    let plugin = prepare_hostile("refusals", None).await;
    let rejected = call(&plugin, "reject", 0);
    assert!(matches!(rejected, Err(PluginFailure::Rejected(text)) if text == "not this one"));
    let missing = plugin.transform(&event("{}"));
    assert!(matches!(missing, Err(PluginFailure::Rejected(text)) if text == "/do: nothing is there"));
    assert_eq!(failure(call(&plugin, "break", 0)), "not my day");
    let health = plugin.health();
    assert_eq!((health.calls, health.rejected, health.failed), (3, 2, 1));
    assert_eq!(health.last_failure.as_deref(), Some("not my day"));
}

#[tokio::test]
async fn a_trap_costs_one_event_and_one_instance() {
    let plugin = prepare_hostile("traps", None).await;
    assert_eq!(only_body(call(&plugin, "calls", 0)), "1");
    assert_eq!(only_body(call(&plugin, "calls", 0)), "2");
    for (what, amount, cause) in [
        ("panic", 7, "panicked at"),
        ("loop", 0, "ran longer than 50 ms"),
        ("loop-in-host", 0, "ran longer than 50 ms"),
        ("grow", 0, "ran out of memory: it may have 64MiB"),
        ("recurse", 1_000_000, "recursed too deeply"),
    ] {
        let text = failure(call(&plugin, what, amount));
        assert!(text.contains(cause), "{what}: {text}");
        assert_eq!(only_body(call(&plugin, "calls", 0)), "1", "after {what}");
    }
    let text = failure(call(&plugin, "panic", 7));
    assert!(text.contains("out of order: 7"), "{text}");
    assert!(
        text.contains(", in transform-flat: "),
        "names of functions: {text}"
    );
}

#[tokio::test]
async fn an_endless_loop_ends_in_time() {
    let plugin = prepare_hostile("time", None).await;
    let begun = Instant::now();
    for _ in 0..3 {
        failure(call(&plugin, "loop", 0));
    }
    // Fifty milliseconds of processor time each; the rest is what a busy machine takes for others.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn outputs_are_bounded() {
    let plugin = prepare_hostile("outputs", None).await;
    assert_eq!(
        call(&plugin, "outputs", 1000).expect("the limit itself").len(),
        1000
    );
    let instances = plugin.health().instances;
    for (what, amount, cause) in [
        ("outputs", 1001, "gave more than 1000 outputs for one event"),
        (
            "bytes",
            (1 << 20) + 1,
            "gave outputs of more than 1MiB for one event",
        ),
        ("headers", 65, "gave an output more than 64 headers"),
        ("headers", 5000, "gave an output more than 64 headers"),
    ] {
        assert_eq!(failure(call(&plugin, what, amount)), cause);
    }
    let headers = call(&plugin, "headers", 64).expect("the limit itself");
    assert_eq!(headers[0].headers.len(), 64);
    let mebibyte = call(&plugin, "bytes", 1 << 20).expect("the limit itself");
    assert!(matches!(&mebibyte[0].body, Body::Bytes(bytes) if bytes.len() == 1 << 20));

    let large = format!(
        r#"{{"do": "copies", "amount": 3, "x": "{}"}}"#,
        "x".repeat(400_000)
    );
    assert_eq!(
        failure(plugin.transform(&event(&large))),
        "gave outputs of more than 1MiB for one event"
    );
    // These are the plugin's faults, not its instance's.
    assert_eq!(plugin.health().instances, instances);
}

#[tokio::test]
async fn a_document_of_an_earlier_event_is_gone() {
    let plugin = prepare_hostile("documents", None).await;
    assert!(call(&plugin, "keep-document", 0).expect("it succeeds").is_empty());
    assert_eq!(
        failure(call(&plugin, "use-kept-document", 0)),
        "used a document that belongs to an earlier event or was given away"
    );
}

#[tokio::test]
async fn a_leak_costs_the_instance_and_no_event() {
    let plugin = prepare_hostile("leaks", None).await;
    let calls: Vec<_> = (0..20)
        .map(|_| only_body(call(&plugin, "keep", 8 << 20)))
        .collect();
    assert!(
        calls.iter().filter(|calls| *calls == "1").count() > 1,
        "{calls:?}"
    );
    assert!(calls.iter().any(|calls| calls == "3"), "{calls:?}");
}

#[tokio::test]
async fn the_log_is_bounded_and_cannot_be_forged() {
    let plugin = prepare_hostile("logs", None).await;
    let flood = plugin.try_out(&event(r#"{"do": "log", "amount": 1000}"#));
    assert!(flood.result.is_ok());
    assert_eq!(flood.log.len(), 21);
    assert_eq!(flood.log[0].message, "line 0\\nforged");
    assert_eq!(flood.log[20].level, LogLevel::Warn);
    assert_eq!(
        flood.log[20].message,
        "980 more lines for this event were dropped"
    );
    let long = plugin.try_out(&event(r#"{"do": "log-much", "amount": 1000000}"#));
    let bytes: usize = long.log.iter().map(|line| line.message.len()).sum();
    assert!((4000..5000).contains(&bytes), "{bytes}");
    assert!(long.memory_bytes > 1 << 20);
}

#[tokio::test]
async fn counters_are_bounded() {
    let plugin = prepare_hostile("counters", None).await;
    for _ in 0..2 {
        call(&plugin, "count", 1000).expect("what is too much is passed over");
    }
    let counters = transformer().counters();
    let ours: Vec<_> = counters
        .iter()
        .filter(|counter| counter.plugin.as_str() == "counters")
        .collect();
    assert_eq!(ours.len(), 100);
    assert!(ours.iter().all(|counter| counter.value == 2));
}

fn counted(plugin: &str) -> u64 {
    let counters = transformer().counters();
    let ours = counters
        .iter()
        .filter(|counter| counter.plugin.as_str() == plugin);
    ours.map(|counter| counter.value).sum()
}

#[tokio::test]
async fn only_events_that_pass_are_counted() {
    let plugin = prepare_hostile("counted", None).await;
    let three = || event(r#"{"do": "count", "amount": 3}"#);
    for purpose in [Purpose::Shadow, Purpose::Again] {
        let made = plugin.transform_for(purpose, &three(), &Arc::default());
        assert!(made.is_ok(), "{made:?}");
    }
    let trial = plugin.try_out(&three());
    let expected = ["counter_0", "counter_1", "counter_2"].map(|name| (name.to_owned(), 1));
    assert_eq!(trial.counters, expected.into());
    assert_eq!((counted("counted"), plugin.health().calls), (0, 0));
    // In the instance that the others left.
    assert!(call(&plugin, "count", 3).is_ok());
    assert_eq!((counted("counted"), plugin.health().calls), (3, 1));
}

/// All that wait for their turn passed the first look, when little was owed.
#[tokio::test]
async fn calls_that_wait_beside_the_workers_waste_no_more_than_others() {
    const CALLS: usize = 60;
    let plugin = prepare_hostile("crowd", None).await;
    failure(call(&plugin, "loop", 0));
    let begin = Arc::new(std::sync::Barrier::new(CALLS));
    let callers: Vec<_> = (0..CALLS)
        .map(|_| {
            let (plugin, begin) = (Arc::clone(&plugin), Arc::clone(&begin));
            std::thread::spawn(move || {
                begin.wait();
                plugin.transform(&event(r#"{"do": "loop"}"#))
            })
        })
        .collect();
    let mut held = 0;
    for caller in callers {
        match caller.join().expect("it is answered") {
            Err(PluginFailure::Held(_)) => held += 1,
            other => assert!(matches!(other, Err(PluginFailure::Trapped(_))), "{other:?}"),
        }
    }
    // Twenty time limits are free, and some more are paid meanwhile.
    assert!(held >= CALLS / 3, "{held} of {CALLS} were held");
}

#[tokio::test]
async fn what_a_shadow_wastes_is_not_held_against_the_version() {
    let plugin = prepare_hostile("shadowed", None).await;
    // Not one that loops: at low priority, beside cores that are busy, it wastes no more than it may.
    let panicking = event(r#"{"do": "panic", "amount": 7}"#);
    let begun = Instant::now();
    loop {
        match plugin.transform_for(Purpose::Shadow, &panicking, &Arc::default()) {
            Err(PluginFailure::Held(_)) => break,
            other => assert!(matches!(other, Err(PluginFailure::Trapped(_))), "{other:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it is never held");
    }
    assert!(call(&plugin, "echo", 0).is_ok(), "the same partner's events pass");
    let health = plugin.health();
    assert_eq!((health.calls, health.failed), (1, 0), "{health:?}");
}

#[tokio::test]
async fn an_event_may_have_an_instance_of_its_own() {
    for (isolation, expected) in [
        (Isolation::Shared, ["1", "2", "3"]),
        (Isolation::Event, ["1", "1", "1"]),
    ] {
        let component = hostile_component();
        let name = "isolated".parse().expect("a name");
        let of = PluginUse::new(name, 1, Digest::of(&component), None, isolation);
        let plugin = transformer().prepare_use(&of, component).await.expect("a plugin");
        let calls = [(); 3].map(|()| only_body(call(&plugin, "calls", 0)));
        assert_eq!(calls, expected, "{isolation:?}");
        let mut held = TrialInstance::default();
        let calls = [(); 3].map(|()| {
            let trial = plugin.try_in(&mut held, &event(r#"{"do": "calls"}"#), &Arc::default());
            only_body(trial.result)
        });
        assert_eq!(calls, expected, "{isolation:?}, tried");
    }
}

#[tokio::test]
async fn an_instance_that_no_event_needs_is_freed() {
    let folder = tempfile::tempdir().expect("a folder for the cache");
    let transformer = make_transformer(folder.path(), 50);
    let name = "idle".parse().expect("a name");
    let plugin = transformer.prepare(&name, 1, hostile_component(), None).await;
    let plugin = plugin.expect("a plugin");
    assert_eq!(only_body(call(&plugin, "calls", 0)), "1");
    assert_eq!(transformer.release_unused(), 0, "it was called since");
    assert_eq!(only_body(call(&plugin, "calls", 0)), "2");
    // But for the one that was made first, where another thread's place is the first.
    assert!(transformer.release_unused() <= 1);
    assert!(plugin.memory_bytes() > 0);
    assert_eq!(transformer.release_unused(), 1);
    assert_eq!(plugin.memory_bytes(), 0);
    assert_eq!(only_body(call(&plugin, "calls", 0)), "1", "in a new one");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_refused() {
    let name = "configured".parse().expect("a name");
    for (config, cause) in [
        (
            json!({"configure": "refuse"}),
            "configured@1 refuses its configuration: nothing is good enough",
        ),
        (json!({"unknown": 1}), "unknown field `unknown`"),
        (
            json!({"configure": "panic"}),
            "configured@1 fails while it reads its configuration: trapped",
        ),
        (json!({"configure": "loop"}), "ran longer than 1000 ms"),
    ] {
        let refused = transformer()
            .prepare(&name, 1, hostile_component(), Some(&config))
            .await
            .expect_err("the plugin refuses it");
        assert_eq!(refused.code, Code::ConfigurationRefused);
        assert!(refused.detail.contains(cause), "{}", refused.detail);
    }
}

#[tokio::test]
async fn the_same_preparation_is_made_once() {
    let one = prepare_hostile("same", None).await;
    let same = prepare_hostile("same", Some(&json!({}))).await;
    let other = prepare_hostile("same", Some(&json!({"configure": "quietly"}))).await;
    assert!(Arc::ptr_eq(&one, &same));
    assert!(!Arc::ptr_eq(&one, &other));
    assert_eq!(only_body(call(&one, "calls", 0)), "1");
    assert_eq!(only_body(call(&other, "calls", 0)), "1", "instances are apart");
}

#[tokio::test]
async fn threads_that_call_in_turn_share_an_instance() {
    let plugin = prepare_hostile("turns", None).await;
    for expected in 1..=8 {
        let plugin = Arc::clone(&plugin);
        let called = std::thread::spawn(move || only_body(call(&plugin, "calls", 0)));
        assert_eq!(called.join().expect("no panic"), expected.to_string());
    }
    assert_eq!(plugin.health().instances, 1);
}

#[tokio::test]
async fn many_threads_call_one_plugin() {
    let plugin = prepare_hostile("threads", None).await;
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let plugin = Arc::clone(&plugin);
            std::thread::spawn(move || {
                for number in 0..200 {
                    let data = format!(r#"{{"do": "echo", "thread": {thread}, "number": {number}}}"#);
                    assert_eq!(only_body(plugin.transform(&event(&data))), data);
                    if number % 50 == 0 {
                        failure(call(&plugin, "panic", 0));
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no call is mixed up with another");
    }
    let health = plugin.health();
    assert_eq!((health.calls, health.failed), (8 * 204, 32));
}
