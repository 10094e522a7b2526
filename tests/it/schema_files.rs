//! Schemas out of a gateway and into one, and proposals, by the command line.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, repository};

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

fn stdout(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn what_is_exported_and_applied_changes_nothing() {
    let gateway = Gateway::start().await;
    // Without plugins, which would have to be built.
    let company = tempfile::tempdir().expect("a folder can be made");
    for kind in ["schemas", "types"] {
        std::os::unix::fs::symlink(repository().join(kind), company.path().join(kind))
            .expect("a link can be made");
    }
    stdout(&gateway.cli(&["apply", text(company.path())]));
    let schema = json!({"type": "object"});
    gateway
        .put("/v1/schemas/note.taken/5.10%20(build%20812)", schema.clone())
        .await;
    gateway
        .put("/v1/schemas/note.taken/5.10?source=/apps/one", schema.clone())
        .await;
    gateway
        .put("/v1/schemas/note.taken/6?source=/apps/one", schema)
        .await;
    gateway
        .put(
            "/v1/schemas/note.taken/6/upgrade?source=/apps/one",
            json!({"steps": [{"remove": "/a"}]}),
        )
        .await;
    gateway
        .put(
            "/v1/types/note.taken",
            json!({"description": "A \"note\"", "unreadable_version": "quarantine"}),
        )
        .await;

    let folder = tempfile::tempdir().expect("a folder can be made");
    let exported = stdout(&gateway.cli(&["schema", "export", text(folder.path())]));
    assert!(exported.contains(" written, 0 unchanged"), "{exported}");
    let schemas = folder.path().join("schemas");
    for name in [
        "note.taken/5.10%20%28build%20812%29.json",
        "note.taken/6@%2Fapps%2Fone.upgrade.json",
    ] {
        assert!(schemas.join(name).is_file(), "{name}");
    }
    let ours =
        fs::read(repository().join("schemas/call.ended/1.0.0.json")).expect("the sample company has it");
    assert_eq!(
        fs::read(schemas.join("call.ended/1.0.0.json")).expect("it was written"),
        ours
    );
    let plan = stdout(&gateway.cli(&["apply", text(folder.path()), "--dry-run"]));
    assert!(plan.starts_with("nothing to change"), "{plan}");

    let again = stdout(&gateway.cli(&["schema", "export", text(folder.path())]));
    assert!(again.starts_with("0 written"), "{again}");
    fs::write(schemas.join("call.ended/1.0.0.json"), "{}").expect("it can be written");
    let refused = gateway.cli(&["schema", "export", text(folder.path())]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("call.ended/1.0.0.json"),
        "{refused:?}"
    );
    stdout(&gateway.cli(&["schema", "export", text(folder.path()), "--overwrite"]));
    assert_eq!(
        fs::read(schemas.join("call.ended/1.0.0.json")).expect("it was written"),
        ours
    );

    let empty = Gateway::start().await;
    stdout(&empty.cli(&["apply", text(folder.path())]));
    let other = tempfile::tempdir().expect("a folder can be made");
    stdout(&empty.cli(&["schema", "export", text(other.path())]));
    let plan = stdout(&gateway.cli(&["apply", text(other.path()), "--dry-run"]));
    assert!(plan.starts_with("nothing to change"), "{plan}");
}

#[tokio::test]
async fn what_is_imported_can_be_applied() {
    let gateway = Gateway::start().await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let answer = json!([
        {"subject": "orders-value", "version": 1, "id": 1, "schemaType": "JSON", "schema": "{\"type\":\"object\"}"},
        {"subject": "payments-value", "version": 1, "id": 2, "schema": "{\"type\":\"record\",\"name\":\"P\",\"fields\":[]}"},
    ]);
    let file = folder.path().join("answer.json");
    fs::write(&file, answer.to_string()).expect("it can be written");
    let into = folder.path().join("ours");
    let arguments = [
        "schema",
        "import",
        "--from",
        "confluent",
        text(&file),
        "--to",
        text(&into),
    ];
    let imported = gateway.cli(&arguments);
    assert_eq!(
        imported.status.code(),
        Some(1),
        "not all could be taken: {imported:?}"
    );
    let printed = String::from_utf8_lossy(&imported.stdout);
    assert!(
        printed.contains("schemas/orders/1.json") && printed.contains("it is AVRO"),
        "{printed}"
    );
    assert!(printed.contains("1 taken, 1 not"), "{printed}");
    stdout(&gateway.cli(&["apply", text(&into)]));
    let listed = gateway.admin("GET", "/v1/schemas/orders", None).await.json();
    assert_eq!(listed["items"][0]["since"], "1");
}

#[tokio::test]
async fn a_proposed_schema_can_be_registered() {
    let gateway = Gateway::start().await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let lines: Vec<String> = (0..20)
        .map(|index| json!({"n": index, "kind": if index % 2 == 0 { "a" } else { "b" }}).to_string())
        .collect();
    let file = folder.path().join("events.ndjson");
    fs::write(&file, lines.join("\n")).expect("it can be written");
    let inferred = gateway.cli(&["schema", "infer", text(&file)]);
    let schema = stdout(&inferred);
    let reasons = String::from_utf8_lossy(&inferred.stderr);
    assert!(reasons.contains("one of 2 values"), "{reasons}");
    let value: Value = serde_json::from_str(&schema).expect("a schema is JSON");
    assert_eq!(value["required"], json!(["kind", "n"]));
    let proposed = folder.path().join("proposed.json");
    fs::write(&proposed, schema).expect("it can be written");
    stdout(&gateway.cli(&["schema", "register", "note.taken", "1.0", text(&proposed)]));
}
