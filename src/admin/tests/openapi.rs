//! The document is what the repository's copy says, and is served with its viewer.

use std::path::Path;

use serde_json::Value;

use super::{Api, send};
use crate::admin::document;

/// Run with `BLESS=1` to write the copy anew.
#[test]
fn the_committed_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let current = serde_json::to_string_pretty(&document()).expect("the document is JSON") + "\n";
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &current).expect("docs/openapi.json is written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "docs/openapi.json is not what the code describes; run the test with BLESS=1 and look at the difference"
    );
}

#[tokio::test]
async fn the_document_is_served() {
    let api = Api::start().await;
    let served = send(api.bare("GET", "/openapi.json")).await;
    assert_eq!(served.status, 200);
    let served = served.json();
    assert!(
        served["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1")),
        "{}",
        served["openapi"]
    );
    assert_eq!(served, serde_json::to_value(document()).expect("JSON"));
}

#[test]
fn every_reference_leads_somewhere() {
    fn check(document: &Value, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference
                        .strip_prefix('#')
                        .expect("a reference into the document");
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                members.values().for_each(|value| check(document, value));
            }
            Value::Array(elements) => elements.iter().for_each(|value| check(document, value)),
            _ => {}
        }
    }
    let document = serde_json::to_value(document()).expect("JSON");
    check(&document, &document);
}

#[test]
fn every_operation_is_described() {
    let document = serde_json::to_value(document()).expect("JSON");
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let summary = operation["summary"].as_str().expect("a summary");
            assert!(
                !summary.contains('\n') && summary.len() < 100,
                "{method} {path}: {summary}"
            );
            for (status, response) in operation["responses"].as_object().expect("responses") {
                assert!(response["description"].is_string(), "{method} {path} {status}");
                let problem = response["content"].get("application/problem+json").is_some();
                assert_eq!(problem, status.ends_with("XX"), "{method} {path} {status}");
            }
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        assert!(
            schema.get("allOf").is_none(),
            "{name}: its parts may exclude each other"
        );
    }
    let named = &document["components"]["schemas"]["NamedPartner"]["properties"];
    assert!(
        named["name"].is_object() && named["policy"].is_object(),
        "{named}"
    );
}

#[tokio::test]
async fn the_viewer_needs_no_network() {
    let api = Api::start().await;
    let redirected = send(api.bare("GET", "/docs")).await;
    assert_eq!(
        (redirected.status, redirected.header("location")),
        (303, Some("/docs/"))
    );
    let page = send(api.bare("GET", "/docs/")).await;
    assert_eq!(page.status, 200);
    let text = String::from_utf8_lossy(&page.body).into_owned();
    assert!(!text.contains("https://") && !text.contains("//cdn"), "{text}");
    for part in text.split(['"', '\'']).filter(|part| part.starts_with("./")) {
        let path = format!("/docs/{}", &part[2..]);
        let served = send(api.bare("GET", &path)).await;
        assert!(served.status == 200 && !served.body.is_empty(), "{path}");
    }
    assert_eq!(
        send(api.bare("GET", "/docs/no-such-file")).await.code(),
        "path-unknown"
    );
}
