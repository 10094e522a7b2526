//! Changes of schemas, plugins and routes, all the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::process::Gateway;

pub const PER_SECOND: u64 = 10;
/// Schemas that are replaced again and again.
const SCHEMAS: u64 = 50;

pub struct Changes {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Changed>,
}

#[derive(Default)]
pub struct Changed {
    made: u64,
    failed: Vec<String>,
}

pub fn start(gateway: &Arc<Gateway>) -> Changes {
    let (stop, gateway) = (Arc::new(AtomicBool::new(false)), Arc::clone(gateway));
    let stopped = Arc::clone(&stop);
    let task = tokio::spawn(async move {
        let mut changed = Changed::default();
        let mut ticks = tokio::time::interval(Duration::from_millis(1000 / PER_SECOND));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        for number in 0_u64.. {
            ticks.tick().await;
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            match change(&gateway, number).await {
                Ok(_) => changed.made += 1,
                Err(error) => changed.failed.push(error),
            }
        }
        changed
    });
    Changes { stop, task }
}

async fn change(gateway: &Gateway, number: u64) -> Result<serde_json::Value, String> {
    match number % 5 {
        0 => {
            let body = json!({"version": number / 5 % 2 + 1});
            gateway
                .call("POST", "/v1/plugins/page-view/activate", Some(body))
                .await
        }
        1 => {
            let route = json!({"match": {"type": format!("never.{number}")}, "to": [{"destination": "files", "topic": "never"}]});
            gateway.call("PUT", "/v1/routes/other", Some(route)).await
        }
        2 if number % 10 == 7 => gateway.call("POST", "/v1/plugins/page-view/rollback", None).await,
        _ => {
            // Each time another text, which accepts the same.
            let schema = json!({"type": "object", "title": number.to_string(), "properties": {"n": {"type": "integer"}}});
            gateway
                .call(
                    "PUT",
                    &format!("/v1/schemas/other.{}/1", number % SCHEMAS),
                    Some(schema),
                )
                .await
        }
    }
}

impl Changes {
    pub async fn stop(self) -> Changed {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("changes are made without a panic")
    }
}

impl Changed {
    pub fn print(&self) {
        println!("  {} changes made, {} refused", self.made, self.failed.len());
        for error in self.failed.iter().take(3) {
            println!("    {error}");
        }
    }

    pub fn is_clean(&self) -> bool {
        self.made > 0 && self.failed.is_empty()
    }
}
