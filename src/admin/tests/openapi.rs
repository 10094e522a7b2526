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

/// The document knows types by their name alone: of two that share one, one would be described as the other.
#[test]
fn no_two_types_share_a_name() {
    fn names_in(folder: &Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                names_in(&path, names);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("the file can be read");
            let described = text.split("#[derive(").skip(1);
            for item in described.filter(|item| {
                item.split_once(")]")
                    .is_some_and(|(derived, _)| derived.contains("ToSchema"))
            }) {
                let declared = item.lines().find_map(|line| {
                    line.strip_prefix("pub struct ")
                        .or(line.strip_prefix("pub enum "))
                });
                let name = declared.and_then(|rest| rest.split([' ', '<', '(', ';']).next());
                names.extend(name.map(str::to_owned));
            }
        }
    }
    let mut names = Vec::new();
    names_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
    names.sort();
    assert!(names.len() > 50, "{names:?}");
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
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
