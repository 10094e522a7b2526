//! HTTP/2 as RFC 9113 has it, and HPACK, by the suite of others.

use std::{path::PathBuf, process::Command};

use serde_json::json;

use crate::harness::gateway::{Gateway, Options, repository};

fn program() -> PathBuf {
    let fetched = Command::new(repository().join("tests/h2spec/fetch.sh"))
        .status()
        .expect("the script runs");
    assert!(fetched.success(), "h2spec cannot be built");
    std::env::var_os("HEADWORKS_H2SPEC_HOME")
        .map_or_else(|| repository().join(".cache/h2spec"), Into::into)
        .join("h2spec")
}

async fn run(gateway: &Gateway, arguments: &[&str]) {
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
    let output = Command::new(program())
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
        .args(arguments)
        .output()
        .expect("h2spec runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(", 0 failed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_suite_passes_over_tls() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (
        folder.path().join("certificate.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let gateway = Gateway::start_with(Options {
        configuration: format!("[server.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n"),
        ..Options::default()
    })
    .await;
    run(&gateway, &["--tls", "--insecure"]).await;
}

/// All but the preface: what opens like no HTTP/2 is HTTP/1.1 on this port, and answered as such.
#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_in_the_clear() {
    let gateway = Gateway::start().await;
    let sections = [
        "generic", "hpack", "http2/4", "http2/5", "http2/6", "http2/7", "http2/8",
    ];
    run(&gateway, &sections).await;
}
