//! The two servers under load, each a process of its own.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::{
    client::Target,
    gateway::{self, PROGRAM, Process},
};

/// The same in both servers: it sets the latency of single posts and how many records share a request to Kafka.
pub const LINGER_MS: &str = "1";
/// Of the page view that is sent.
pub const APP_VERSION: &str = "5.10.0";

pub struct Ceiling {
    pub process: Process,
    pub target: Target,
}

impl Ceiling {
    pub async fn start(brokers: &str) -> Ceiling {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(program)
            .args(["--ceiling", brokers])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the ceiling starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output is piped");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("it prints its address");
        Ceiling {
            process: Process::new(child),
            target: Target {
                address: line.trim().parse().expect("an address"),
                path: "/".to_owned(),
                headers: String::new(),
            },
        }
    }
}

/// The gateway with the examples applied, and two more routes that lead page views to Kafka.
pub struct Gateway {
    gateway: gateway::Gateway,
    pub validated: Target,
    pub transformed: Target,
    _folder: tempfile::TempDir,
}

impl Gateway {
    /// Starts `program`, which is a build of `headworks`.
    pub async fn start(brokers: &str, program: &Path) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let configuration = format!(
            "[[destination]]\nname = \"files\"\nkind = \"file\"\npath = {:?}\n\
             [[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"{brokers}\"\n\
             options = {{ \"linger.ms\" = \"{LINGER_MS}\" }}\n",
            folder.path().join("data/out")
        );
        let gateway = gateway::Gateway::spawn(program, folder.path(), &configuration);
        gateway.ready().await;
        apply(&gateway);
        // Page views are to go where the ceiling sends them, to Kafka, and nowhere else.
        let deleted = gateway.call("DELETE", "/v1/routes/app-events", None).await;
        deleted.expect("the route of the examples is there");
        let validated = partner(&gateway, "bench-validated", None).await;
        let transformed = partner(&gateway, "bench-transformed", Some("page-view")).await;
        let target = |key: String| Target {
            address: gateway.data,
            path: "/v1/events/app.page_view".to_owned(),
            headers: format!("authorization: Bearer {key}\r\nce-appversion: {APP_VERSION}\r\n"),
        };
        Gateway {
            validated: target(validated),
            transformed: target(transformed),
            gateway,
            _folder: folder,
        }
    }

    pub fn process(&self) -> &Process {
        &self.gateway.process
    }
}

/// The repository's own examples.
fn apply(gateway: &gateway::Gateway) {
    let status = Command::new(PROGRAM)
        .args(["apply", env!("CARGO_MANIFEST_DIR"), "--url"])
        .arg(format!("http://{}", gateway.admin))
        .env("HEADWORKS_TOKEN", gateway.token())
        .stdout(Stdio::null())
        .status()
        .expect("apply runs");
    assert!(status.success(), "the examples are applied");
}

/// A partner of its own whose page views go to the topic of its name, through `plugin`; gives its key.
async fn partner(gateway: &gateway::Gateway, name: &str, plugin: Option<&str>) -> String {
    let key = gateway.partner(name).await;
    let mut route = json!({
        "match": {"partner": name, "type": "app.page_view"},
        "to": [{"destination": "events", "topic": name}],
    });
    if let Some(plugin) = plugin {
        route["plugin"] = plugin.into();
    }
    gateway.put(&format!("/v1/routes/{name}"), route).await;
    key
}
