//! The servers under load, each a process of its own.

use std::{
    io::{BufRead as _, BufReader},
    net::ToSocketAddrs as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::json;

use crate::{
    client::{Kind, Target},
    gateway::{self, PROGRAM, Process},
};

/// The same in both servers: it sets the latency of single posts and how many records share a request to Kafka.
pub const LINGER_MS: &str = "1";
/// Of the page view that is sent.
pub const APP_VERSION: &str = "5.10.0";
pub const EVENT_TYPE: &str = "app.page_view";

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
                kind: Kind::Ceiling,
            },
        }
    }
}

/// Another server that takes the same events, started by whoever runs this.
#[derive(Clone)]
pub struct Peer {
    pub name: String,
    pub target: Target,
    pub id: u32,
}

impl Peer {
    /// # Errors
    ///
    /// What is wrong with the words `NAME URL PID`.
    pub fn parse(words: &[String]) -> Result<Peer, String> {
        let [name, url, id] = words else {
            return Err("--peer takes NAME URL PID".to_owned());
        };
        let uri: http::Uri = url
            .parse()
            .map_err(|error| format!("--peer {name}: {url}: {error}"))?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("http"));
        let host = host.ok_or_else(|| format!("--peer {name}: {url} is no URL of http://"))?;
        let found = (host, uri.port_u16().unwrap_or(80)).to_socket_addrs();
        let address = found
            .ok()
            .and_then(|mut found| found.next())
            .ok_or_else(|| format!("--peer {name}: {host} has no address"))?;
        let id: u32 = id
            .parse()
            .map_err(|_| format!("--peer {name}: {id} is no process id"))?;
        if !Path::new(&format!("/proc/{id}")).exists() {
            return Err(format!("--peer {name}: there is no process {id}"));
        }
        Ok(Peer {
            name: name.clone(),
            target: Target {
                address,
                path: uri
                    .path_and_query()
                    .map_or("/", http::uri::PathAndQuery::as_str)
                    .to_owned(),
                headers: String::new(),
                kind: Kind::Peer,
            },
            id,
        })
    }
}

/// A gateway with its data in a folder of its own; the store may be another's too.
pub struct Node {
    pub gateway: gateway::Gateway,
    store: PathBuf,
    _folder: tempfile::TempDir,
}

impl Node {
    /// Starts `program`, which is a build of `headworks`, and does not wait for it.
    pub fn spawn(brokers: &str, program: &Path, store: Option<&Path>) -> Node {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let store = store.map_or_else(|| folder.path().join("store"), Path::to_owned);
        let configuration = format!(
            "[store]\nurl = \"file:{}\"\n\
             [[destination]]\nname = \"files\"\nkind = \"file\"\npath = {:?}\n\
             [[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"{brokers}\"\n\
             options = {{ \"linger.ms\" = \"{LINGER_MS}\" }}\n",
            store.display(),
            folder.path().join("data/out")
        );
        Node {
            gateway: gateway::Gateway::spawn(program, folder.path(), &configuration),
            store,
            _folder: folder,
        }
    }

    pub fn target(&self, event_type: &str, key: &str) -> Target {
        Target {
            address: self.gateway.data,
            path: format!("/v1/events/{event_type}"),
            headers: format!("authorization: Bearer {key}\r\nce-appversion: {APP_VERSION}\r\n"),
            kind: Kind::Gateway,
        }
    }

    pub fn id(&self) -> u32 {
        self.gateway.process.id()
    }
}

/// The gateway with the examples applied, and two more routes that lead page views to Kafka.
pub struct Gateway {
    pub node: Node,
    pub validated: Target,
    pub transformed: Target,
    transformed_key: String,
}

impl Gateway {
    pub async fn start(brokers: &str, program: &Path) -> Gateway {
        let node = Node::spawn(brokers, program, None);
        let gateway = &node.gateway;
        gateway.ready().await;
        apply(gateway);
        // Page views are to go where the ceiling sends them, to Kafka, and nowhere else.
        let deleted = gateway.call("DELETE", "/v1/routes/app-events", None).await;
        deleted.expect("the route of the examples is there");
        let validated = partner(gateway, "bench-validated", None).await;
        let transformed = partner(gateway, "bench-transformed", Some("page-view")).await;
        Gateway {
            validated: node.target(EVENT_TYPE, &validated),
            transformed: node.target(EVENT_TYPE, &transformed),
            transformed_key: transformed,
            node,
        }
    }

    /// Another node on the same store, and where it takes what goes through the plugin.
    pub async fn second(&self, brokers: &str, program: &Path) -> (Node, Target) {
        let node = Node::spawn(brokers, program, Some(&self.node.store));
        node.gateway.ready().await;
        let target = node.target(EVENT_TYPE, &self.transformed_key);
        (node, target)
    }

    pub fn process(&self) -> &Process {
        &self.node.gateway.process
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
        "match": {"partner": name, "type": EVENT_TYPE},
        "to": [{"destination": "events", "topic": name}],
    });
    if let Some(plugin) = plugin {
        route["plugin"] = plugin.into();
    }
    gateway.put(&format!("/v1/routes/{name}"), route).await;
    key
}
