//! The two servers under load, each a process of its own, and what the kernel says of them.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::client::Target;

/// The same in both servers: it sets the latency of single posts and how many records share a request to Kafka.
pub const LINGER_MS: &str = "1";
/// Of the page view that is sent.
pub const APP_VERSION: &str = "5.10.0";

/// A child that is ended with its owner.
pub struct Process {
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.end().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How long a server may take to end in order; a build that is being trained writes its profile then.
const END_TIMEOUT: Duration = Duration::from_secs(20);

impl Process {
    /// Ends the server in order; none where it would not.
    fn end(&mut self) -> Option<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok()?;
        let begun = Instant::now();
        while begun.elapsed() < END_TIMEOUT {
            if self.child.try_wait().ok()?.is_some() {
                return Some(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    fn stat(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// User and system time so far.
    pub fn cpu_time(&self) -> Duration {
        let stat = self.stat("stat");
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().collect())
            .expect("a process has a name in parentheses");
        // utime and stime, fields 14 and 15 of the whole line.
        let ticks: u64 = fields[11..13]
            .iter()
            .map(|field| field.parse::<u64>().expect("a number of ticks"))
            .sum();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    pub fn resident_mib(&self) -> u64 {
        self.stat("status")
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|line| line.trim().strip_suffix("kB"))
            .and_then(|kib| kib.trim().parse::<u64>().ok())
            .map_or(0, |kib| kib / 1024)
    }
}

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
            process: Process { child },
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
    pub process: Process,
    pub validated: Target,
    pub transformed: Target,
    _folder: tempfile::TempDir,
}

fn free_address() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    socket.local_addr().expect("the socket has an address")
}

impl Gateway {
    /// Starts `program`, which is a build of `headworks`.
    pub async fn start(brokers: &str, program: &Path) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (data, admin) = (free_address(), free_address());
        let data_dir = folder.path().join("data");
        let configuration = folder.path().join("headworks.toml");
        let mut text = String::new();
        write!(
            text,
            "data_dir = {data_dir:?}\n[server]\nlisten = \"{data}\"\nadmin_listen = \"{admin}\"\n\
             [[destination]]\nname = \"files\"\nkind = \"file\"\npath = {:?}\n\
             [[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"{brokers}\"\n\
             options = {{ \"linger.ms\" = \"{LINGER_MS}\" }}\n",
            data_dir.join("out")
        )
        .expect("a string takes text");
        std::fs::write(&configuration, text).expect("the configuration can be written");
        let child = Command::new(program)
            .args(["serve", "--config"])
            .arg(&configuration)
            .stderr(Stdio::from(
                std::fs::File::create(folder.path().join("log")).expect("the log can be written"),
            ))
            .spawn()
            .expect("the gateway starts");
        let process = Process { child };
        let client = Admin::connect(admin, &data_dir).await;
        client.apply();
        // Page views are to go where the ceiling sends them, to Kafka, and nowhere else.
        client.delete("/v1/routes/app-events").await;
        let validated = client.partner("bench-validated", None).await;
        let transformed = client.partner("bench-transformed", Some("page-view")).await;
        let target = |key: String| Target {
            address: data,
            path: "/v1/events/app.page_view".to_owned(),
            headers: format!("authorization: Bearer {key}\r\nce-appversion: {APP_VERSION}\r\n"),
        };
        Gateway {
            process,
            validated: target(validated),
            transformed: target(transformed),
            _folder: folder,
        }
    }
}

/// The admin API, as far as the benchmark needs it.
struct Admin {
    url: String,
    token: String,
    token_file: PathBuf,
    client: reqwest::Client,
}

impl Admin {
    async fn connect(address: SocketAddr, data_dir: &Path) -> Admin {
        let client = reqwest::Client::new();
        let url = format!("http://{address}");
        let ready = async {
            while !client
                .get(format!("{url}/readyz"))
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ready)
            .await
            .expect("the gateway becomes ready");
        let token_file = data_dir.join("admin-token");
        let token = std::fs::read_to_string(&token_file)
            .expect("the first start writes a token")
            .trim()
            .to_owned();
        Admin {
            url,
            token,
            token_file,
            client,
        }
    }

    /// The repository's own examples.
    fn apply(&self) {
        let status = Command::new(env!("CARGO_BIN_EXE_headworks"))
            .args(["apply", env!("CARGO_MANIFEST_DIR"), "--url", &self.url])
            .env(
                "HEADWORKS_TOKEN",
                std::fs::read_to_string(&self.token_file)
                    .expect("the token is there")
                    .trim(),
            )
            .stdout(Stdio::null())
            .status()
            .expect("apply runs");
        assert!(status.success(), "the examples are applied");
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: serde_json::Value) -> serde_json::Value {
        let answer = self
            .client
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .json(&body)
            .send()
            .await
            .expect("the admin API answers");
        assert!(
            answer.status().is_success(),
            "{path}: {}",
            answer.text().await.unwrap_or_default()
        );
        answer.json().await.expect("an answer is JSON")
    }

    async fn delete(&self, path: &str) {
        let request = self
            .client
            .delete(format!("{}{path}", self.url))
            .bearer_auth(&self.token);
        let answer = request.send().await.expect("the admin API answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }

    /// A partner of its own whose page views go to the topic of its name, through `plugin`; gives its key.
    async fn partner(&self, name: &str, plugin: Option<&str>) -> String {
        self.send(
            reqwest::Method::PUT,
            &format!("/v1/partners/{name}"),
            serde_json::json!({}),
        )
        .await;
        let mut route = serde_json::json!({
            "match": {"partner": name, "type": "app.page_view"},
            "to": [{"destination": "events", "topic": name}],
        });
        if let Some(plugin) = plugin {
            route["plugin"] = plugin.into();
        }
        self.send(reqwest::Method::PUT, &format!("/v1/routes/{name}"), route)
            .await;
        let key = self
            .send(
                reqwest::Method::POST,
                &format!("/v1/partners/{name}/keys"),
                serde_json::json!({"kind": "secret"}),
            )
            .await;
        key["key"].as_str().expect("the key is shown once").to_owned()
    }
}
