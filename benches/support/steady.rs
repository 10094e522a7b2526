//! A partner that posts at a steady rate, alone and beside something else: what the benchmarks that measure its latencies
//! share.

use hdrhistogram::Histogram;

use crate::{
    client::{Kind, Load, Target},
    gateway::Gateway,
};

/// Where a new partner of this name sends events of one type.
pub async fn partner(gateway: &Gateway, name: &str, event_type: &str) -> Target {
    let key = gateway.partner(name).await;
    Target {
        address: gateway.data,
        path: format!("/v1/events/{event_type}"),
        headers: format!("authorization: Bearer {key}\r\n"),
        kind: Kind::Gateway,
    }
}

/// The latencies of all turns together, which it prints.
pub fn summary(name: &str, loads: &[Load]) -> Histogram<u64> {
    let mut latencies = loads[0].latencies.clone();
    for load in &loads[1..] {
        latencies.add(&load.latencies).expect("the bounds are the same");
    }
    let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "{name:<28} p50 {:>8.2} ms  p99 {:>8.2} ms  slowest {:>8.2} ms, {} accepted",
        at(0.5),
        at(0.99),
        at(1.0),
        latencies.len()
    );
    latencies
}

/// How many times as long as before a request of this quantile takes now.
pub fn ratio(now: &Histogram<u64>, before: &Histogram<u64>, quantile: f64) -> f64 {
    now.value_at_quantile(quantile) as f64 / before.value_at_quantile(quantile) as f64
}
