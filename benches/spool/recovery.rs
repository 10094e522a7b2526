//! How long a gateway with a full spool needs from its start until it accepts an event.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use headworks::deliver::Acknowledgement;
use serde_json::{Value, json};

use crate::{NOBODY, Records, median, size, start, verdict};

const SPOOL_BYTES: u64 = 1 << 30;
const GOAL: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;
const GROUP: u64 = 10_000;

struct Gateway {
    child: Child,
    data: SocketAddr,
    admin: SocketAddr,
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

impl Gateway {
    fn start(folder: &Path) -> Gateway {
        let (data, admin) = (free_address(), free_address());
        let configuration = folder.join("headworks.toml");
        let text = format!(
            "data_dir = {:?}\n[server]\nlisten = \"{data}\"\nadmin_listen = \"{admin}\"\n\
             [[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"{NOBODY}\"\n",
            folder.join("data"),
        );
        std::fs::write(&configuration, text).expect("the configuration can be written");
        let log = std::fs::File::create(folder.join("log")).expect("the log can be written");
        let child = Command::new(env!("CARGO_BIN_EXE_headworks"))
            .args(["serve", "--config"])
            .arg(&configuration)
            .stderr(Stdio::from(log))
            .spawn()
            .expect("the gateway starts");
        Gateway { child, data, admin }
    }

    async fn ready(&self, client: &reqwest::Client) {
        let url = format!("http://{}/readyz", self.admin);
        while !client
            .get(&url)
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn accepts(&self, client: &reqwest::Client, key: &str) {
        let url = format!("http://{}/v1/events/order.placed", self.data);
        loop {
            let sent = client.post(&url).bearer_auth(key).json(&json!({})).send().await;
            if sent.is_ok_and(|answer| answer.status() == 202) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn cpu_time(&self) -> Duration {
        crate::cpu_time(&format!("/proc/{}/stat", self.child.id()))
    }

    fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or_default() / 1024
    }
}

pub async fn measure() {
    let bytes = size("HEADWORKS_BENCH_SPOOL_BYTES", SPOOL_BYTES);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let client = reqwest::Client::new();
    let gateway = Gateway::start(folder.path());
    gateway.ready(&client).await;
    let key = register(&gateway, folder.path(), &client).await;
    drop(gateway);
    let records = fill(&folder.path().join("data/spool/destinations"), bytes).await;
    println!(
        "recovery: a spool of {:.2} GiB, {records} records, {ROUNDS} starts after a kill; the files are in the page cache",
        bytes as f64 / f64::from(1 << 30)
    );
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let gateway = Gateway::start(folder.path());
        gateway.accepts(&client, &key).await;
        let took = begun.elapsed();
        println!(
            "  accepts after {:.2} s, of which it had a processor for {:.2} s; {} MiB resident",
            took.as_secs_f64(),
            gateway.cpu_time().as_secs_f64(),
            gateway.resident_mib()
        );
        seconds.push(took.as_secs_f64());
    }
    let median = median(seconds);
    println!(
        "  median {median:.2} s  goal {} s: {}",
        GOAL.as_secs(),
        verdict(median <= GOAL.as_secs_f64())
    );
}

/// A partner whose events go to Kafka; gives its key.
async fn register(gateway: &Gateway, folder: &Path, client: &reqwest::Client) -> String {
    let token =
        std::fs::read_to_string(folder.join("data/admin-token")).expect("the first start writes a token");
    let call = async |method: reqwest::Method, path: &str, body: Value| {
        let url = format!("http://{}{path}", gateway.admin);
        let request = client.request(method, url).bearer_auth(token.trim()).json(&body);
        let answer = request.send().await.expect("the admin API answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json::<Value>().await.expect("JSON")
    };
    let put = reqwest::Method::PUT;
    call(put.clone(), "/v1/partners/shop", json!({})).await;
    call(
        put.clone(),
        "/v1/schemas/order.placed/1",
        json!({"type": "object"}),
    )
    .await;
    call(
        put,
        "/v1/routes/orders",
        json!({"to": [{"destination": "events", "topic": "orders"}]}),
    )
    .await;
    let key = call(
        reqwest::Method::POST,
        "/v1/partners/shop/keys",
        json!({"kind": "secret"}),
    )
    .await;
    key["key"].as_str().expect("the key is shown once").to_owned()
}

/// Records of a destination whose broker is away, until the spool is so large.
async fn fill(folder: &Path, bytes: u64) -> u64 {
    let (destinations, events) = start(NOBODY, folder);
    let (records, topic) = (Records::new(), Arc::from("orders"));
    let mut number = 0;
    while events.pending().bytes < bytes {
        let acknowledgement = Acknowledgement::new(1);
        for _ in 0..GROUP {
            events.send(records.make(number, &topic), acknowledgement.ticket(0));
            number += 1;
        }
        acknowledgement.wait().await;
    }
    destinations.shutdown(Duration::ZERO).await;
    number
}
