//! Kinesis twice: the emulator, which never fails, and a stub that fails as it is told to.

use std::{
    collections::HashMap,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use headworks::config::{DestinationKind, DestinationSettings, KinesisSettings, Secret};
use serde_json::{Value, json};

use super::{ports::free_addresses, served::Served};

const PATIENCE: Duration = Duration::from_secs(60);

/// A destination `events` that writes to `address`.
pub fn destination(address: SocketAddr, aggregation: bool) -> DestinationSettings {
    let secret = |text: &str| Secret::new(text.to_owned());
    DestinationSettings {
        name: "events".parse().expect("a name"),
        kind: DestinationKind::Kinesis(KinesisSettings {
            region: "us-east-1".to_owned(),
            endpoint_url: Some(format!("http://{address}")),
            credentials: Some((secret("AKIDTEST"), secret("no secret"))),
            assume_role: None,
            aggregation,
            record_bytes: 1 << 20,
        }),
    }
}

/// A record that the stub took.
#[derive(Clone, Debug)]
pub struct Taken {
    pub key: String,
    pub data: Vec<u8>,
}

/// What the stub does with a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// These records of the call are refused for now, with this code.
    Entries(Vec<usize>, &'static str),
    /// The call is refused, with this status and type.
    Call(u16, &'static str),
    /// The connection is closed without an answer.
    Reset,
    /// Nothing is answered.
    Hang,
}

/// One PutRecords call, as the stub sees it.
#[derive(Clone, Debug)]
pub struct Put {
    pub number: usize,
    pub stream: String,
    pub keys: Vec<String>,
    pub bytes: usize,
    pub at: Instant,
}

type Decide = Box<dyn FnMut(&Put) -> Option<Fault> + Send>;

struct Shared {
    decide: Mutex<Decide>,
    taken: Mutex<Vec<Taken>>,
    puts: Mutex<Vec<Put>>,
}

/// A server that speaks PutRecords and ListShards: two shards, the hash keys halved.
pub struct Stub {
    shared: Arc<Shared>,
    served: Served,
}

impl Stub {
    pub async fn start(decide: impl FnMut(&Put) -> Option<Fault> + Send + 'static) -> Stub {
        let shared = Arc::new(Shared {
            decide: Mutex::new(Box::new(decide)),
            taken: Mutex::default(),
            puts: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let served = Served::start(router).await;
        Stub { shared, served }
    }

    pub fn address(&self) -> SocketAddr {
        self.served.address
    }

    /// From now on.
    pub fn decide(&self, decide: impl FnMut(&Put) -> Option<Fault> + Send + 'static) {
        *self.shared.decide.lock().expect("no panic") = Box::new(decide);
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().expect("no panic").clone()
    }

    pub fn puts(&self) -> Vec<Put> {
        self.shared.puts.lock().expect("no panic").clone()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
        .unwrap_or_default();
    assert!(headers.contains_key("authorization"), "every call is signed");
    let request: Value = serde_json::from_slice(&body).expect("a call is JSON");
    match target {
        "Kinesis_20131202.PutRecords" => put(&shared, &request).await,
        "Kinesis_20131202.ListShards" => reply(200, &list_shards()),
        other => panic!("the stub knows no {other:?}"),
    }
}

fn reply(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    let headers = [("content-type", "application/x-amz-json-1.1")];
    (status, headers, body.to_string()).into_response()
}

/// Where a key belongs: the first bit of its MD5.
pub fn is_in_upper_shard(key: &str) -> bool {
    use md5::Digest as _;
    md5::Md5::digest(key.as_bytes())[0] >= 0x80
}

fn list_shards() -> Value {
    let half = 1_u128 << 127;
    let shard = |id: &str, from: u128, to: u128| {
        json!({
            "ShardId": id,
            "HashKeyRange": {"StartingHashKey": from.to_string(), "EndingHashKey": to.to_string()},
            "SequenceNumberRange": {"StartingSequenceNumber": "1"},
        })
    };
    json!({"Shards": [shard("shardId-000000000000", 0, half - 1), shard("shardId-000000000001", half, u128::MAX)]})
}

async fn put(shared: &Shared, request: &Value) -> Response {
    let records = request["Records"].as_array().expect("records");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let decoded: Vec<Taken> = records
        .iter()
        .map(|record| Taken {
            key: text(&record["PartitionKey"]),
            data: STANDARD.decode(text(&record["Data"])).expect("base64"),
        })
        .collect();
    let put = {
        let mut puts = shared.puts.lock().expect("no panic");
        let number = puts.len();
        puts.push(Put {
            number,
            stream: text(&request["StreamName"]),
            keys: decoded.iter().map(|record| record.key.clone()).collect(),
            bytes: decoded
                .iter()
                .map(|record| record.key.len() + record.data.len())
                .sum(),
            at: Instant::now(),
        });
        puts[number].clone()
    };
    let fault = (shared.decide.lock().expect("no panic"))(&put);
    let (refused, code) = match fault {
        None => (Vec::new(), ""),
        Some(Fault::Entries(refused, code)) => (refused, code),
        Some(Fault::Call(status, code)) => {
            return reply(status, &json!({"__type": code, "message": "as it was told"}));
        }
        // The connection ends with the task that serves it.
        Some(Fault::Reset) => panic!("the stub closes the connection, as it was told"),
        Some(Fault::Hang) => std::future::pending().await,
    };
    let mut results = Vec::new();
    let mut taken = shared.taken.lock().expect("no panic");
    for (index, record) in decoded.into_iter().enumerate() {
        if refused.contains(&index) {
            results.push(json!({"ErrorCode": code, "ErrorMessage": "as it was told"}));
        } else {
            let shard = usize::from(is_in_upper_shard(&record.key));
            results.push(
                json!({"SequenceNumber": taken.len().to_string(), "ShardId": format!("shardId-{shard:012}")}),
            );
            taken.push(record);
        }
    }
    reply(
        200,
        &json!({"FailedRecordCount": refused.len(), "Records": results}),
    )
}

/// The emulator, for all tests that want a service that works. Ends with the test process.
pub struct Emulator {
    address: SocketAddr,
    client: aws_sdk_kinesis::Client,
    _child: Child,
    _folder: tempfile::TempDir,
}

pub fn home() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = std::env::var_os("HEADWORKS_KINESIS_HOME")
        .map_or_else(|| repository.join(".cache/kinesis"), PathBuf::from);
    if !home.join("node_modules").is_dir() {
        let fetched = Command::new(repository.join("tests/kinesis/fetch.sh")).status();
        assert!(
            fetched.is_ok_and(|status| status.success()) && home.join("node_modules").is_dir(),
            "the Kinesis emulator is missing and could not be fetched: see what tests/kinesis/fetch.sh says",
        );
    }
    home.canonicalize().expect("it is there")
}

pub async fn emulator() -> &'static Emulator {
    static SHARED: tokio::sync::OnceCell<Emulator> = tokio::sync::OnceCell::const_new();
    SHARED.get_or_init(Emulator::start).await
}

impl Emulator {
    async fn start() -> Emulator {
        let folder = tempfile::tempdir().expect("a folder");
        let [address, tls] = free_addresses();
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        // It reads files of its own from the working directory.
        let package = home().join("node_modules/kinesis-local");
        let mut command = Command::new("node");
        command
            .arg("main.js")
            .current_dir(package)
            .env("KINESIS_MOCK_PLAIN_PORT", address.port().to_string())
            .env("KINESIS_MOCK_TLS_PORT", tls.port().to_string())
            .env("LOG_LEVEL", "WARN")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        let child = super::kafka::spawn_for_life(command);
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_kinesis::config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_kinesis::config::Credentials::new(
                "AKIDTEST",
                "no secret",
                None,
                None,
                "tests",
            ))
            .endpoint_url(format!("http://{address}"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let emulator = Emulator {
            address,
            client: aws_sdk_kinesis::Client::from_conf(config),
            _child: child,
            _folder: folder,
        };
        let begun = Instant::now();
        while let Err(error) = emulator.client.list_streams().send().await {
            let log = || std::fs::read_to_string(emulator._folder.path().join("log")).unwrap_or_default();
            assert!(
                begun.elapsed() < PATIENCE,
                "the emulator does not answer: {error:?}\n{}",
                log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        emulator
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn create_stream(&self, name: &str, shards: i32) {
        let request = self.client.create_stream().stream_name(name).shard_count(shards);
        request.send().await.expect("a stream can be made");
        let begun = Instant::now();
        loop {
            let summary = self
                .client
                .describe_stream_summary()
                .stream_name(name)
                .send()
                .await;
            let status = summary
                .expect("it is there")
                .stream_description_summary()
                .map(|summary| summary.stream_status().as_str().to_owned());
            if status.as_deref() == Some("ACTIVE") {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the stream is {status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All records of a stream, in the order of each shard.
    pub async fn read(&self, stream: &str) -> Vec<Taken> {
        let shards = self
            .client
            .list_shards()
            .stream_name(stream)
            .send()
            .await
            .expect("shards");
        let mut taken = Vec::new();
        for shard in shards.shards() {
            let iterator = self
                .client
                .get_shard_iterator()
                .stream_name(stream)
                .shard_id(shard.shard_id())
                .shard_iterator_type(aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon)
                .send()
                .await
                .expect("an iterator");
            let mut next = iterator.shard_iterator().map(str::to_owned);
            while let Some(at) = next.take() {
                let output = self
                    .client
                    .get_records()
                    .shard_iterator(at)
                    .send()
                    .await
                    .expect("records");
                taken.extend(output.records().iter().map(|record| Taken {
                    key: record.partition_key().expect("every record has one").to_owned(),
                    data: record.data().as_ref().to_vec(),
                }));
                if !output.records().is_empty() {
                    next = output.next_shard_iterator().map(str::to_owned);
                }
            }
        }
        taken
    }
}

/// Takes records apart with the library that AWS publishes for it; gives keys and data.
pub fn deaggregate(records: &[Taken]) -> Vec<(String, String)> {
    let mut child = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kinesis/deaggregate.js"))
        .arg(home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node runs");
    let mut input = child.stdin.take().expect("a pipe");
    for record in records {
        writeln!(input, "{} {}", record.key, STANDARD.encode(&record.data)).expect("node reads");
    }
    drop(input);
    let output = child.wait_with_output().expect("node ends");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .flat_map(|line| serde_json::from_str::<Vec<(String, String)>>(line).expect("pairs"))
        .collect()
}

/// The ids of CloudEvents, by key.
pub fn ids_by_key<'a>(records: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> HashMap<String, Vec<usize>> {
    let mut ids: HashMap<String, Vec<usize>> = HashMap::new();
    let mut seen = std::collections::HashSet::new();
    for (key, data) in records {
        let event: Value = serde_json::from_slice(data).expect("CloudEvents JSON");
        let id = event["id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .expect("a number");
        if seen.insert(id) {
            ids.entry(key.to_owned()).or_default().push(id);
        }
    }
    ids
}
