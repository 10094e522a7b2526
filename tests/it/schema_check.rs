//! Schemas are compared by a child of the gateway itself, and the command line says what was found.

use std::process::Output;

use crate::harness::gateway::Gateway;

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
    assert!(!done && text.contains("1.0.0 accepts and"), "{text}");
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
    assert!(done, "{text}");
}
