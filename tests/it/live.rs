//! Plugins and schemas change under load: no request fails, and each record says which version made it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use crate::harness::{
    gateway::{Gateway, Options},
    page_view,
};

const TYPE: &str = "app.page_view";

/// A package is upgraded, and the process that runs goes on with what it was started from.
#[tokio::test]
async fn a_program_whose_file_was_replaced_checks_and_compiles_on() {
    let copied = r#"cp "$0" program && exec ./program "$@""#;
    let gateway = Gateway::start_with(Options {
        wrapper: ["sh", "-c", copied].map(str::to_owned).to_vec(),
        ..Options::default()
    })
    .await;
    let program = gateway.path("program");
    std::fs::remove_file(&program).expect("it was started from there");
    std::fs::write(&program, "another program").expect("its place is free");
    let schema = |kind| json!({"properties": {"load_ms": {"type": kind}}});
    gateway
        .put(&format!("/v1/schemas/{TYPE}/1"), schema("integer"))
        .await;
    let made = gateway
        .put(&format!("/v1/schemas/{TYPE}/2"), schema("string"))
        .await;
    assert!(made.to_string().contains("load_ms"), "compared: {made}");
    assert_eq!(gateway.push_plugin("page-view", page_view::component()).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activations_rollbacks_and_schemas_fail_no_request() {
    let mut gateway = Gateway::start().await;
    let key = gateway.partner("live", json!({})).await;
    gateway
        .put(&format!("/v1/schemas/{TYPE}/1"), json!({"type": "object"}))
        .await;
    let one = page_view::component();
    // A custom section more: other bytes, another version, the same code.
    let mut two = one.clone();
    two.extend_from_slice(&[0, 5, 1, b'x', 1, 2, 3]);
    assert_eq!(gateway.push_plugin("page-view", one).await, 1);
    assert_eq!(gateway.push_plugin("page-view", two).await, 2);
    let route = json!({"plugin": "page-view", "to": [{"destination": "files", "topic": "live"}]});
    gateway.put("/v1/routes/live", route).await;

    let stop = Arc::new(AtomicBool::new(false));
    let accepted = Arc::new(AtomicU64::new(0));
    let url = format!("http://{}/v1/events/{TYPE}", gateway.data_address());
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let (stop, accepted) = (Arc::clone(&stop), Arc::clone(&accepted));
            let (url, key, client) = (url.clone(), key.clone(), crate::harness::client());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let request = client
                        .post(&url)
                        .bearer_auth(&key)
                        .json(&json!({"platform": "ios"}));
                    let answer = request.send().await.expect("no request fails");
                    assert_eq!(answer.status(), 202);
                    let body: serde_json::Value = answer.json().await.expect("an answer is JSON");
                    assert_eq!(body["status"], "accepted", "{body}");
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for change in 0..24_u32 {
        let version = change % 2 + 1;
        let activated = gateway
            .admin(
                "POST",
                "/v1/plugins/page-view/activate",
                Some(json!({"version": version})),
            )
            .await;
        activated.expect(200);
        gateway
            .put(&format!("/v1/schemas/other.{change}/1"), json!({}))
            .await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gateway
        .admin("POST", "/v1/plugins/page-view/rollback", None)
        .await
        .expect(200);
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.expect("every answer is 202");
    }
    let accepted = accepted.load(Ordering::Relaxed) as usize;
    let mut versions = BTreeMap::new();
    for record in gateway.wait_for_records("live", accepted).await {
        assert_eq!(record["data"]["os"], "ios", "the plugin made it");
        *versions.entry(record["hwplugin"].to_string()).or_insert(0) += 1;
    }
    assert_eq!(versions.values().sum::<usize>(), accepted);
    assert_eq!(versions.len(), 2, "both versions took events: {versions:?}");
}
