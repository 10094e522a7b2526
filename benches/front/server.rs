//! The gateway that is posted to: one type, which goes to files.

use serde_json::json;
use tempfile::TempDir;

use crate::{client::Target, gateway::Gateway, steady};

const EVENT_TYPE: &str = "front.event";

pub struct Server {
    pub gateway: Gateway,
    _folder: TempDir,
}

impl Server {
    /// `configuration` stands in its file beside what every one has.
    pub async fn start(configuration: &str) -> Server {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let gateway = Gateway::to_files(folder.path(), configuration);
        gateway.ready().await;
        gateway
            .put(&format!("/v1/schemas/{EVENT_TYPE}/1"), json!({"type": "object"}))
            .await;
        let route = json!({
            "match": {"type": EVENT_TYPE}, "to": [{"destination": "files", "topic": "front"}]
        });
        gateway.put("/v1/routes/front", route).await;
        Server {
            gateway,
            _folder: folder,
        }
    }

    /// Where a new partner of this name sends.
    pub async fn partner(&self, name: &str) -> Target {
        steady::partner(&self.gateway, name, EVENT_TYPE).await
    }
}
