//! What a plugin must not be able to do, and what it costs when it tries: its own event, and its instance.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use headworks::{
    event::Body,
    problem::Code,
    transform::{LogLevel, PluginFailure},
};
use serde_json::{Value, json};

use super::{call, event, failure, hostile_component, only_body, prepare_hostile, transformer};

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
    assert!(text.contains(", in transform: "), "names of functions: {text}");
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
    ] {
        assert_eq!(failure(call(&plugin, what, amount)), cause);
    }
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
