//! Schemas are compared by a child of the gateway itself, and the command line says what was found.

use std::process::Output;

use serde_json::json;

use crate::harness::gateway::{Gateway, eventually};

const OLD: &str = r#"{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}"#;
const WIDER: &str = r#"{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name"]}"#;
const NARROWER: &str =
    r#"{"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}, "required": ["name"]}"#;

fn said(output: &Output) -> (bool, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_checked_registered_and_compared() {
    let gateway = Gateway::start_on_defaults().await;
    let file = |name: &str, text: &str| {
        let path = gateway.path(name);
        std::fs::write(&path, text).expect("the file is written");
        path.to_str().expect("the path is text").to_owned()
    };
    let (old, wider, narrower) = (
        file("old.json", OLD),
        file("wider.json", WIDER),
        file("narrower.json", NARROWER),
    );
    let run = |arguments: &[&str]| said(&gateway.cli(arguments));

    let (done, text) = run(&["schema", "register", "a.b", "1.0.0", &old]);
    assert!(done, "{text}");
    let (done, text) = run(&["schema", "check", "a.b", "1.0.0", &narrower]);
    assert!(
        !done && text.contains("the registered 1.0.0 accepts and the new 1.0.0 refuses"),
        "{text}"
    );
    assert!(text.contains("/name  maxLength"), "what changed is shown: {text}");
    let (done, text) = run(&["schema", "register", "a.b", "1.0.0", &narrower]);
    assert!(!done && text.contains("schema-incompatible"), "{text}");
    assert!(text.contains("accepted before and refused now"), "{text}");
    let (done, text) = run(&["schema", "register", "a.b", "1.0.0", &wider]);
    assert!(done, "an optional property may be added in place: {text}");
    let (done, text) = run(&["schema", "register", "a.b", "2.0.0", &narrower]);
    assert!(done && text.contains("no"), "{text}");
    let (done, text) = run(&["schema", "diff", "a.b", "1.0.0", "2.0.0"]);
    assert!(done && text.contains("1.0.0 accepts and 2.0.0 refuses"), "{text}");
    let (done, text) = run(&["schema", "delete", "a.b", "2.0.0"]);
    assert!(!done && text.contains("--yes"), "nobody can be asked: {text}");
    let (done, text) = run(&["schema", "delete", "a.b", "2.0.0", "--yes"]);
    assert!(done && text.contains("deleted a.b@2.0.0"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_become_of_events_is_shown_before_anything_is_done() {
    let mut gateway = Gateway::start_on_defaults().await;
    gateway.partner("app", json!({})).await;
    for (since, schema) in [("1.0.0", OLD), ("2.0.0", WIDER)] {
        let schema = serde_json::from_str(schema).expect("a schema is JSON");
        gateway.put(&format!("/v1/schemas/a.b/{since}"), schema).await;
    }
    gateway.put("/v1/types/a.b", json!({"mask": ["/phone"]})).await;
    // Without a route it waits in quarantine as well.
    let event = json!({"name": "Ada Lovelace", "phone": "010-0000-1234"});
    let request = gateway
        .send("POST", "/v1/events/a.b", "app")
        .header("content-type", "application/json")
        .header("ce-appversion", "2.4")
        .body(event.to_string());
    let answer = request.send().await.expect("the gateway answers");
    assert_eq!(answer.status(), 202);
    eventually("the event is remembered", async || {
        let recent = gateway.admin("GET", "/v1/recent?type=a.b", None).await.json();
        recent["items"].get(0).map(|_| ())
    })
    .await;
    eventually("the event waits", async || {
        (!gateway.quarantine().await.is_empty()).then_some(())
    })
    .await;
    let file = gateway.path("narrower.json");
    std::fs::write(&file, NARROWER).expect("the file is written");
    let file = file.to_str().expect("the path is text");
    let run = |arguments: &[&str]| said(&gateway.cli(arguments));

    let (_, text) = run(&["schema", "check", "a.b", "2.1.0", file]);
    for line in [
        "APP VERSION  PARTNER  EVENTS SEEN  CHECKED FROM THEN ON BY",
        "2.4          app      1            2.1.0",
        "EVENTS       ACCEPTED  REFUSED  OF",
        "recent       0         1        1",
        "quarantined  0         1        1",
        "recent       /name  maxLength  1      {\"name\":\"Ada Lovelace\",\"phone\":\"***\"}",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    assert!(!text.contains("010-0000"), "{text}");
    let (_, text) = run(&["schema", "check", "a.b", "2.1.0", file, "--source", "/elsewhere"]);
    assert!(!text.contains("CHECKED FROM THEN ON BY"), "{text}");

    let (done, text) = run(&["schema", "delete", "a.b", "2.0.0", "--dry-run"]);
    assert!(
        done && text.contains("2.4          app      1            1.0.0"),
        "{text}"
    );
    let (done, text) = run(&["schema", "delete", "a.b", "2.0.0"]);
    assert!(
        !done && text.contains("2.4          app"),
        "shown before it is asked: {text}"
    );
    let (done, text) = run(&["schema", "list", "a.b"]);
    assert!(done && text.contains("2.0.0"), "nothing was deleted: {text}");
    let (done, text) = run(&["schema", "delete", "a.b", "2.0.0", "--yes"]);
    assert!(done, "{text}");
    let (_, text) = run(&["schema", "delete", "a.b", "1.0.0", "--dry-run"]);
    assert!(text.contains("none: quarantine (schema-unknown)"), "{text}");
}
