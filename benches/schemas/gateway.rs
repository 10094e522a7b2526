//! A gateway of its own process over a store that is there already.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub struct Gateway {
    child: Child,
    data: String,
    admin: String,
    token: String,
    key: String,
    client: reqwest::Client,
    pub ready_after: Duration,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    socket
        .local_addr()
        .expect("the socket has an address")
        .to_string()
}

impl Gateway {
    /// Starts it and waits until it is ready.
    pub async fn start(folder: &Path) -> Gateway {
        let (data, admin) = (free_address(), free_address());
        let data_dir = folder.join("data");
        let configuration = folder.join("headworks.toml");
        let text = format!(
            "data_dir = {data_dir:?}\n[server]\nlisten = \"{data}\"\nadmin_listen = \"{admin}\"\n\
             [store]\nurl = \"file:{}\"\n\
             [[destination]]\nname = \"files\"\nkind = \"file\"\npath = {:?}\n",
            folder.join("store").display(),
            data_dir.join("out")
        );
        std::fs::write(&configuration, text).expect("the configuration can be written");
        let started = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_headworks"))
            .args(["serve", "--config"])
            .arg(&configuration)
            .stderr(Stdio::from(
                std::fs::File::create(folder.join("log")).expect("the log can be written"),
            ))
            .spawn()
            .expect("the gateway starts");
        let client = reqwest::Client::new();
        let mut gateway = Gateway {
            child,
            data: format!("http://{data}"),
            admin: format!("http://{admin}"),
            token: String::new(),
            key: String::new(),
            client,
            ready_after: Duration::ZERO,
        };
        let readyz = format!("{}/readyz", gateway.admin);
        while !gateway
            .client
            .get(&readyz)
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            assert!(
                started.elapsed() < Duration::from_secs(120),
                "the gateway becomes ready"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gateway.ready_after = started.elapsed();
        let token =
            std::fs::read_to_string(data_dir.join("admin-token")).expect("the first start writes a token");
        token.trim().clone_into(&mut gateway.token);
        gateway
    }

    pub fn resident_mib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{path}: {error}"))
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|line| line.trim().strip_suffix("kB"))
            .and_then(|kib| kib.trim().parse::<u64>().ok())
            .map_or(0, |kib| kib / 1024)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> String {
        let answer = request
            .bearer_auth(&self.token)
            .send()
            .await
            .expect("the gateway answers");
        let (url, status) = (answer.url().clone(), answer.status());
        let text = answer.text().await.expect("an answer is text");
        assert!(status.is_success(), "{url}: {status} {text}");
        text
    }

    /// A partner, its key, and a route for whatever it sends.
    pub async fn partner(&mut self) {
        let put = |path: &str, body: serde_json::Value| {
            self.client.put(format!("{}{path}", self.admin)).json(&body)
        };
        self.send(put("/v1/partners/bench", serde_json::json!({}))).await;
        self.send(put(
            "/v1/routes/bench",
            serde_json::json!({"to": [{"destination": "files", "topic": "bench"}]}),
        ))
        .await;
        let create = self
            .client
            .post(format!("{}/v1/partners/bench/keys", self.admin))
            .json(&serde_json::json!({"kind": "secret"}));
        let key: serde_json::Value =
            serde_json::from_str(&self.send(create).await).expect("an answer is JSON");
        key["key"]
            .as_str()
            .expect("the key is shown once")
            .clone_into(&mut self.key);
    }

    /// Sends an event that is checked, whatever the check says.
    pub async fn event(&self, event_type: &str, app_version: &str) {
        let answer = self
            .client
            .post(format!("{}/v1/events/{event_type}", self.data))
            .bearer_auth(&self.key)
            .header("ce-appversion", app_version)
            .json(&serde_json::json!({}))
            .send()
            .await
            .expect("the gateway answers");
        assert_eq!(answer.status(), 202);
        let text = answer.text().await.expect("an answer is text");
        assert!(
            text.contains("schema-violation") || text.contains("accepted"),
            "{text}"
        );
    }

    pub async fn register(&self, event_type: &str, since: &str, schema: &serde_json::Value) {
        let url = format!("{}/v1/schemas/{event_type}/{since}", self.admin);
        self.send(self.client.put(url).json(schema)).await;
    }

    pub async fn metric(&self, name: &str) -> u64 {
        let text = self
            .send(self.client.get(format!("{}/metrics", self.admin)))
            .await;
        text.lines()
            .filter(|line| line.starts_with(name))
            .find_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .map_or_else(|| panic!("no metric {name}"), |value| value as u64)
    }
}
