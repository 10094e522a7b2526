//! HTTP/2 as RFC 9113 has it, and HPACK, by the suite of others.

use std::process::Command;

use serde_json::json;

use crate::harness::gateway::{Gateway, repository};

#[tokio::test(flavor = "multi_thread")]
async fn h2spec_passes() {
    let fetched = Command::new(repository().join("tests/h2spec/fetch.sh"))
        .status()
        .expect("the script runs");
    assert!(fetched.success(), "h2spec cannot be built");
    let program = std::env::var_os("HEADWORKS_H2SPEC_HOME")
        .map_or_else(|| repository().join(".cache/h2spec"), Into::into)
        .join("h2spec");
    let gateway = Gateway::start().await;
    gateway.put("/v1/partners/app", json!({})).await;
    let made = gateway
        .admin(
            "POST",
            "/v1/partners/app/keys",
            Some(json!({"kind": "publishable"})),
        )
        .await
        .expect(201);
    let path = format!("/v1/events/a?key={}", made["key"].as_str().expect("a key"));
    let port = gateway.data_address().port().to_string();
    let output = Command::new(program)
        .args([
            "--host",
            "127.0.0.1",
            "--port",
            &port,
            "--path",
            &path,
            "--timeout",
            "5",
        ])
        .output()
        .expect("h2spec runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(", 0 failed"), "{text}");
}
