//! The gateway as a process of its own, its admin API, and what the kernel says of it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

pub struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
    pub data: SocketAddr,
    admin: SocketAddr,
    token: String,
    client: reqwest::Client,
    pub key: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    socket.local_addr().expect("the socket has an address")
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Gateway {
    pub async fn start(brokers: &str) -> Gateway {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let (data, admin) = (free_address(), free_address());
        let configuration = folder.path().join("headworks.toml");
        let text = format!(
            "data_dir = {:?}\n[server]\nlisten = \"{data}\"\nadmin_listen = \"{admin}\"\n\
             [spool]\nmax_bytes = \"20GiB\"\n\
             [[destination]]\nname = \"files\"\nkind = \"file\"\npath = {:?}\n\
             [[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"{brokers}\"\n",
            folder.path().join("data"),
            folder.path().join("out"),
        );
        std::fs::write(&configuration, text).expect("the configuration can be written");
        let log = std::fs::File::create(folder.path().join("log")).expect("the log can be written");
        let child = Command::new(env!("CARGO_BIN_EXE_headworks"))
            .args(["serve", "--config"])
            .arg(&configuration)
            .current_dir(folder.path())
            .stderr(Stdio::from(log))
            .spawn()
            .expect("the gateway starts");
        let mut gateway = Gateway {
            child,
            folder,
            data,
            admin,
            token: String::new(),
            client: reqwest::Client::new(),
            key: String::new(),
        };
        let ready = format!("http://{admin}/readyz");
        let client = gateway.client.clone();
        let wait = async {
            while !client
                .get(&ready)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .expect("the gateway becomes ready");
        let token = gateway.folder.path().join("data/admin-token");
        let token = std::fs::read_to_string(token).expect("the first start writes a token");
        token.trim().clone_into(&mut gateway.token);
        gateway.register().await;
        gateway
    }

    /// Three types: through a plugin to Kafka, as they are to Kafka and to files, and one that most events break.
    async fn register(&mut self) {
        self.put("/v1/partners/soak", json!({})).await;
        self.put("/v1/schemas/soak.plain/1", json!({"type": "object"}))
            .await;
        self.put(
            "/v1/schemas/soak.strict/1",
            json!({"type": "object", "required": ["missing"]}),
        )
        .await;
        self.put("/v1/schemas/app.page_view/1", json!({"type": "object"}))
            .await;
        let component = self.component();
        let mut other = component.clone();
        // A custom section more: other bytes, another version, the same code.
        other.extend_from_slice(&[0, 5, 1, b'x', 1, 2, 3]);
        self.push_plugin(component).await;
        self.push_plugin(other).await;
        self.call(
            "POST",
            "/v1/plugins/page-view/activate",
            Some(json!({"version": 1})),
        )
        .await
        .expect("activated");
        let events = |topic: &str, key: &str| json!({"destination": "events", "topic": topic, "key": key});
        let route = json!({"match": {"type": "app.page_view"}, "plugin": "page-view", "to": [events("soak-plugin", "/platform")]});
        self.put("/v1/routes/plugin", route).await;
        let to = [
            events("soak-plain", "/key"),
            json!({"destination": "files", "topic": "plain"}),
        ];
        self.put("/v1/routes/plain", json!({"match": {"type": "soak.*"}, "to": to}))
            .await;
        let body = json!({"kind": "secret"});
        let key = self
            .call("POST", "/v1/partners/soak/keys", Some(body))
            .await
            .expect("a key");
        key["key"]
            .as_str()
            .expect("the key is shown once")
            .clone_into(&mut self.key);
    }

    fn component(&self) -> Vec<u8> {
        let project = repository().join("plugins/page-view");
        let built = Command::new(env!("CARGO_BIN_EXE_headworks"))
            .args(["plugin", "build"])
            .arg(&project)
            .env_remove("CARGO_TARGET_DIR")
            .stdout(Stdio::null())
            .output()
            .expect("the program runs");
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        std::fs::read(repository().join("plugins/target/page-view.wasm")).expect("the component is there")
    }

    async fn push_plugin(&self, component: Vec<u8>) {
        let request = self
            .client
            .post(format!("http://{}/v1/plugins/page-view/versions", self.admin))
            .bearer_auth(&self.token)
            .header("content-type", "application/wasm")
            .body(component);
        let answer = request.send().await.expect("the admin API answers");
        assert!(
            answer.status().is_success(),
            "{}",
            answer.text().await.unwrap_or_default()
        );
    }

    /// An answer's body, or the status and text of one that is no success.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
        let method = method.parse().expect("a method");
        let mut request = self
            .client
            .request(method, format!("http://{}{path}", self.admin))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if status.is_success() {
            Ok(serde_json::from_str(&text).unwrap_or_default())
        } else {
            Err(format!("{status}: {text}"))
        }
    }

    async fn put(&self, path: &str, body: Value) {
        self.call("PUT", path, Some(body))
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn sample(&self) -> Sample {
        let folder = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{folder}/status")).expect("the gateway runs");
        let number = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default();
            line.trim()
                .trim_end_matches(" kB")
                .parse::<u64>()
                .unwrap_or_default()
        };
        Sample {
            resident_mib: number("VmRSS:") / 1024,
            descriptors: std::fs::read_dir(format!("{folder}/fd"))
                .map_or(0, |entries| entries.count() as u64),
            threads: number("Threads:"),
        }
    }

    pub async fn accounts(&self, destination: &str) -> Accounts {
        let answer = self
            .client
            .get(format!("http://{}/metrics", self.admin))
            .send()
            .await;
        let text = answer
            .expect("metrics are open")
            .text()
            .await
            .expect("metrics are text");
        let wanted = format!("destination=\"{destination}\"");
        let states = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("headworks_destination_records{")?;
            let (labels, value) = rest.split_once("} ")?;
            let state = labels
                .split(',')
                .find_map(|label| label.strip_prefix("state=\""))?;
            labels.contains(&wanted).then(|| {
                (
                    state.trim_end_matches('"').to_owned(),
                    value.trim().parse().unwrap_or_default(),
                )
            })
        });
        Accounts(states.collect())
    }

    /// When nothing waits any more; None where it takes longer than `most`.
    pub async fn drained(&self, most: Duration) -> Option<Instant> {
        let end = Instant::now() + most;
        while Instant::now() < end {
            let (events, files) = (self.accounts("events").await, self.accounts("files").await);
            if events.get("waiting") + files.get("waiting") == 0 {
                return Some(Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        None
    }

    pub async fn balanced(&self) -> bool {
        for destination in ["events", "files"] {
            let accounts = self.accounts(destination).await;
            if !accounts.are_balanced() {
                println!("  {destination}: {accounts:?}");
                return false;
            }
        }
        true
    }
}

#[derive(Debug)]
pub struct Accounts(HashMap<String, u64>);

impl Accounts {
    pub fn get(&self, state: &str) -> u64 {
        self.0.get(state).copied().unwrap_or_default()
    }

    fn are_balanced(&self) -> bool {
        let ends = ["delivered", "waiting", "refused", "no_place", "in_flight"];
        let ended: u64 = ends.map(|state| self.get(state)).iter().sum();
        self.get("accepted") > 0
            && self.get("accepted") + self.get("recovered") == ended
            && self.get("unaccounted") == 0
    }
}

#[derive(Clone, Copy, Default)]
pub struct Sample {
    pub resident_mib: u64,
    pub descriptors: u64,
    pub threads: u64,
}

impl Sample {
    fn each(samples: &[Sample], choose: impl Fn(Vec<u64>) -> u64) -> Sample {
        let column = |read: fn(&Sample) -> u64| {
            let mut values: Vec<u64> = samples.iter().map(read).collect();
            values.sort_unstable();
            choose(values)
        };
        Sample {
            resident_mib: column(|sample| sample.resident_mib),
            descriptors: column(|sample| sample.descriptors),
            threads: column(|sample| sample.threads),
        }
    }

    pub fn median(samples: &[Sample]) -> Sample {
        Sample::each(samples, |values| {
            values.get(values.len() / 2).copied().unwrap_or_default()
        })
    }

    pub fn most(samples: &[Sample]) -> Sample {
        Sample::each(samples, |values| values.last().copied().unwrap_or_default())
    }
}
