//! Every event that was taken stands somewhere in the metrics.

use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, eventually};
use crate::plugins::hostile_component;

#[tokio::test]
async fn what_plugins_drop_reject_and_count_is_in_the_metrics() {
    let mut gateway = Gateway::start().await;
    gateway.partner("shop", json!({})).await;
    gateway
        .put("/v1/schemas/order.placed/1", json!({"type": "object"}))
        .await;
    gateway.push_plugin("moods", hostile_component().to_vec()).await;
    let route = json!({"plugin": "moods", "to": [{"destination": "files", "topic": "orders"}]});
    gateway.put("/v1/routes/orders", route).await;

    let data = [
        json!({"do": "echo"}),
        json!({"do": "echo"}),
        json!({"do": "drop"}),
        json!({"do": "count", "amount": 3}),
        json!({"do": "reject"}),
    ];
    let lines: String = data.iter().map(|data| format!("{data}\n")).collect();
    let answer = gateway
        .post("/v1/events/order.placed", "shop", "application/x-ndjson", lines)
        .await
        .expect(202);
    assert_eq!(
        (&answer["accepted"], &answer["quarantined"]),
        (&json!(4), &json!(1))
    );

    let accounts = eventually("both records are in the file", async || {
        let accounts = gateway.accounts("files").await;
        (accounts.get("delivered") == 2).then_some(accounts)
    })
    .await;
    accounts.assert_balanced(0);
    assert_eq!(accounts.get("accepted"), 2);
    assert_eq!(
        readings(&gateway, "headworks_events_dropped_total", "route").await,
        json!({"orders": 2})
    );
    assert_eq!(
        readings(&gateway, "headworks_plugin_counter_total", "counter").await,
        json!({"counter_0": 1, "counter_1": 1, "counter_2": 1})
    );
    assert_eq!(
        readings(&gateway, "headworks_events_total", "status").await,
        json!({"accepted": 4, "quarantined": 1})
    );
    let waiting = gateway.metric("headworks_quarantine_events").await;
    assert_eq!(waiting.iter().map(|sample| sample.value).sum::<f64>(), 1.0);
}

async fn readings(gateway: &Gateway, name: &str, label: &str) -> Value {
    let samples = gateway.metric(name).await;
    samples
        .into_iter()
        .map(|sample| (sample.labels[label].clone(), json!(sample.value as u64)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
