//! A gateway as a process of its own, its admin API, and what the kernel says of it: what the benchmarks that start one
//! share.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::ports::free_addresses;

/// How long a start may take; far above what it takes, for a slow machine.
const READY_MAX: Duration = Duration::from_secs(120);
/// How long an end in order may take.
const END_MAX: Duration = Duration::from_secs(60);

/// The build that cargo has just made.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_headworks");

/// User and system time so far of a process: its id, or `self`.
pub fn cpu_time(process: impl std::fmt::Display) -> Duration {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (_, fields) = stat
        .rsplit_once(')')
        .expect("a process has a name in parentheses");
    // utime and stime, fields 14 and 15 of the whole line.
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number of ticks"))
        .sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// A number of the kernel's `status` of a process; one of memory is in KiB.
pub fn status(process: impl std::fmt::Display, name: &str) -> u64 {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("{path} has no number {name}"))
}

/// A child that is killed with its owner.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    pub fn new(child: Child) -> Process {
        Process(child)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGTERM, as an operator does; waits for its end.
    pub fn end(&mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("the child can be signalled");
        let begun = Instant::now();
        while self.0.try_wait().expect("it is this process's child").is_none() {
            assert!(begun.elapsed() < END_MAX, "the gateway does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn cpu_time(&self) -> Duration {
        cpu_time(self.id())
    }

    pub fn status(&self, name: &str) -> u64 {
        status(self.id(), name)
    }

    pub fn resident_mib(&self) -> u64 {
        self.status("VmRSS") / 1024
    }
}

pub struct Gateway {
    pub process: Process,
    pub data: SocketAddr,
    pub admin: SocketAddr,
    pub client: reqwest::Client,
    folder: PathBuf,
}

impl Gateway {
    /// Starts `program` on free ports with its data in `folder`; `configuration` is what stands in its file after that.
    pub fn spawn(program: &Path, folder: &Path, configuration: &str) -> Gateway {
        let [data, admin] = free_addresses();
        let file = folder.join("headworks.toml");
        let text = format!(
            "data_dir = {:?}\n[server]\nlisten = \"{data}\"\nadmin_listen = \"{admin}\"\n{configuration}",
            folder.join("data"),
        );
        std::fs::write(&file, text).expect("the configuration can be written");
        let log = std::fs::File::create(folder.join("log")).expect("the log can be written");
        let child = Command::new(program)
            .args(["serve", "--config"])
            .arg(&file)
            .stderr(Stdio::from(log))
            .spawn()
            .expect("the gateway starts");
        Gateway {
            process: Process::new(child),
            data,
            admin,
            client: reqwest::Client::new(),
            folder: folder.to_owned(),
        }
    }

    /// The same of the build that cargo has just made, with the destination `files`: nothing else is needed, and each
    /// record is synced.
    pub fn to_files(folder: &Path, configuration: &str) -> Gateway {
        let out = folder.join("out");
        let configuration =
            format!("{configuration}[[destination]]\nname = \"files\"\nkind = \"file\"\npath = {out:?}\n");
        Gateway::spawn(Path::new(PROGRAM), folder, &configuration)
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        self.ready_within(READY_MAX).await;
    }

    pub async fn ready_within(&self, most: Duration) {
        let (url, begun) = (format!("http://{}/readyz", self.admin), Instant::now());
        while !self
            .client
            .get(&url)
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < most, "the gateway is not ready:\n{}", log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until every route has its plugin: a gateway is ready before, and keeps such a route's events till then.
    pub async fn every_route_within(&self, most: Duration) {
        let (url, begun) = (format!("http://{}/readyz", self.admin), Instant::now());
        loop {
            let answer = self.client.get(&url).send().await.expect("it answers");
            let readiness: Value = answer.json().await.expect("readiness is JSON");
            let mut checks = readiness["checks"].as_array().expect("checks").iter();
            let behind = checks.find(|check| {
                check["name"]
                    .as_str()
                    .is_some_and(|name| name.starts_with("route:"))
            });
            let Some(behind) = behind else { return };
            assert!(begun.elapsed() < most, "a route waits for its plugin: {behind}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Of the first admin.
    pub fn token(&self) -> String {
        let token = std::fs::read_to_string(self.folder.join("data/admin-token"));
        token.expect("the first start writes a token").trim().to_owned()
    }

    /// Sends to the admin API; gives the answer's text, or the status and text of one that is no success.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<String, String> {
        let sent = request.bearer_auth(self.token()).send().await;
        let answer = sent.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if status.is_success() {
            Ok(text)
        } else {
            Err(format!("{status}: {text}"))
        }
    }

    /// A call of the admin API; an answer without a body gives null.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
        let method = method.parse().expect("a method");
        let mut request = self
            .client
            .request(method, format!("http://{}{path}", self.admin));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let text = self.send(request).await?;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    pub async fn put(&self, path: &str, body: Value) {
        self.call("PUT", path, Some(body))
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// A partner of this name; gives its key.
    pub async fn partner(&self, name: &str) -> String {
        self.put(&format!("/v1/partners/{name}"), json!({})).await;
        self.key(name).await
    }

    /// Another key of a partner that is there.
    pub async fn key(&self, name: &str) -> String {
        let path = format!("/v1/partners/{name}/keys");
        let made = self.call("POST", &path, Some(json!({"kind": "secret"}))).await;
        made.expect("a key can be made")["key"]
            .as_str()
            .expect("the key is shown once")
            .to_owned()
    }

    pub async fn metrics(&self) -> String {
        let request = self.client.get(format!("http://{}/metrics", self.admin));
        self.send(request).await.expect("the gateway gives its metrics")
    }
}
