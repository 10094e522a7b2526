//! The whole way of an event through the process, from the bytes on a socket to those of the answer: the gateway's own
//! parts, put together as the gateway does. Only the destination is another: it takes every record at once.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use futures::future::BoxFuture;
use headworks::{
    config::RecentSettings,
    deliver::{Counts, Delivery, Destination, DestinationState, Destinations, Ticket},
    event::{DestinationName, Record},
    limits::{ByteSize, TAIL_WATCHERS},
    listener::{self, Listener},
    pipeline::{Lookups, Memory, Pipeline, Preparations, Tables, WebhookIds},
    quarantine::Quarantine,
    recent::{Next, Recent, Watcher},
    registry::{Registry, seal::Sealer},
    spool::{Budget, Damage, Pending, Spool, SpoolOptions},
    store::Store,
    telemetry::{Export, Exporting, Telemetry},
    transform::{TransformSettings, Transformer},
};
use tokio::{runtime::Runtime, sync::Notify};

use crate::{
    callgrind::{COMPILER, COMPONENT},
    callgrind_collects, register, sample,
    stages::{BATCH, limits},
};

/// Of the page view that is sent.
const APP_VERSION: &str = "5.10.0";
const EVENT_TYPE: &str = "app.page_view";
const TYPE_PATH: &str = "/v1/events/app.page_view";
const PARTNER: &str = "bench";
const PLUGIN: &str = "page-view";
/// Requests are counted in rounds, between which other threads take what waits for them.
const ROUNDS: u32 = 5;
const WARM_UP_ROUNDS: u32 = 2;
/// Longer than anything takes under valgrind.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Clone, Copy)]
pub enum Batch {
    Single,
    Lines,
    /// Lines, compressed.
    Gzip,
}

/// What somebody wants to see of the way.
#[derive(Clone, Copy)]
pub enum Seeing {
    /// Metrics alone.
    Nothing,
    /// A collector is named; so many requests make a trace.
    Traces { one_in: u32 },
    /// One client watches all events as they pass.
    Tail,
}

impl Batch {
    pub fn events(self) -> u32 {
        match self {
            Batch::Single => 1,
            Batch::Lines | Batch::Gzip => BATCH,
        }
    }

    pub fn request(self, body_bytes: usize) -> http::request::Builder {
        let request = http::Request::post(TYPE_PATH)
            .header("host", "localhost")
            .header("ce-appversion", APP_VERSION)
            .header("content-length", body_bytes);
        match self {
            Batch::Single => request.header("content-type", "application/json"),
            Batch::Lines => request.header("content-type", "application/x-ndjson"),
            Batch::Gzip => request
                .header("content-type", "application/x-ndjson")
                .header("content-encoding", "gzip"),
        }
    }

    pub fn body(self, event: &[u8]) -> Vec<u8> {
        let mut lines = Vec::new();
        for _ in 0..self.events() {
            lines.extend_from_slice(event);
            if !matches!(self, Batch::Single) {
                lines.push(b'\n');
            }
        }
        if !matches!(self, Batch::Gzip) {
            return lines;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&lines).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }
}

/// Of one round.
fn requests(batch: Batch) -> u32 {
    match batch {
        Batch::Single => 160,
        Batch::Lines | Batch::Gzip => 16,
    }
}

pub fn events(batch: Batch) -> u32 {
    requests(batch) * batch.events() * ROUNDS
}

pub fn run(folder: &Path, batch: Batch, plugin: bool, seeing: Seeing) {
    let beside = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let own = tempfile::tempdir().expect("a folder can be made");
    let gateway = beside.block_on(Gateway::start(folder, own.path(), plugin));
    let seen = Arc::new(AtomicU64::new(0));
    let exporting = see(&beside, &gateway, seeing, &seen);
    // Everything of a request runs on the thread that drives this runtime.
    let way = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let address = serve(&way, &gateway);
    let sender = Sender::start(address, batch, &gateway.key);
    let mut round = || {
        sender.send(requests(batch));
        way.block_on(sender.answered.notified());
        assert_eq!(sender.failed.get(), None, "every answer is 202");
    };
    for _ in 0..WARM_UP_ROUNDS {
        round();
    }
    for _ in 0..ROUNDS {
        callgrind_collects(&mut round, 1);
        std::thread::sleep(Duration::from_millis(200));
    }
    if exporting.is_some() {
        let text = gateway.telemetry.prometheus_text();
        assert!(
            text.contains("headworks_telemetry_dropped_total{signal=\"spans\"} 0"),
            "{text}"
        );
    }
    if let Seeing::Tail = seeing {
        wait_for(
            &seen,
            u64::from(requests(batch) * batch.events() * (ROUNDS + WARM_UP_ROUNDS)),
        );
    }
}

/// Until somebody who looks has seen so many events, or was told that they passed unseen.
fn wait_for(seen: &AtomicU64, events: u64) {
    let begun = Instant::now();
    while seen.load(Ordering::Relaxed) < events {
        let now = seen.load(Ordering::Relaxed);
        assert!(
            begun.elapsed() < PATIENCE,
            "the tail saw {now} of {events} events"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Begins to look; the exporter, where there is one. `seen` counts what a tail sees.
fn see(beside: &Runtime, gateway: &Gateway, seeing: Seeing, seen: &Arc<AtomicU64>) -> Option<Exporting> {
    match seeing {
        Seeing::Nothing => None,
        Seeing::Traces { one_in } => {
            let _inside = beside.enter();
            let exporting = gateway.telemetry.export(Export {
                endpoint: format!("http://{}", collector()),
                headers: Vec::new(),
                interval: PATIENCE,
                trace_one_in: one_in,
                instance: "bench".to_owned(),
            });
            Some(exporting.expect("nothing is exported yet"))
        }
        Seeing::Tail => {
            let watcher = gateway.pipeline.tap().watch(TAIL_WATCHERS);
            let watcher = watcher.expect("nobody watches yet");
            beside.spawn(watch(watcher, Arc::clone(seen)));
            None
        }
    }
}

/// Takes whatever it is sent.
fn collector() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("the socket has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The exporter goes when the process does.
            let _ = take(stream);
        }
    });
    address
}

fn take(stream: TcpStream) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        } else if line.is_empty() {
            reader.read_exact(&mut vec![0; length])?;
            writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
        }
    }
}

async fn watch(mut watcher: Watcher, seen: Arc<AtomicU64>) {
    loop {
        let events = match std::hint::black_box(watcher.next().await) {
            Next::Event(_) => 1,
            Next::Missed(events) => events,
        };
        seen.fetch_add(events, Ordering::Relaxed);
    }
}

fn serve(way: &Runtime, gateway: &Gateway) -> SocketAddr {
    let numbers = Arc::clone(gateway.telemetry.http());
    let mut settings = listener::Settings::new(limits(), PATIENCE, numbers);
    // Under valgrind everything waits long.
    settings.queue_time = PATIENCE;
    let _inside = way.enter();
    let address = ([127, 0, 0, 1], 0).into();
    let listener = Listener::bind(address, settings).expect("a port is free");
    let address = listener.local_addr();
    way.spawn(listener.serve(Arc::clone(&gateway.pipeline), std::future::pending()));
    address
}

/// One connection, on a thread whose instructions do not count.
struct Sender {
    ask: mpsc::Sender<u32>,
    answered: Arc<Notify>,
    /// What was answered in the place of 202.
    failed: Arc<OnceLock<String>>,
}

impl Sender {
    fn start(address: SocketAddr, batch: Batch, key: &str) -> Sender {
        let body = batch.body(&sample::page_view());
        let (head, ()) = batch
            .request(body.len())
            .header("authorization", format!("Bearer {key}"))
            .body(())
            .expect("the request is one")
            .into_parts();
        let mut request = format!("POST {TYPE_PATH} HTTP/1.1\r\n").into_bytes();
        for (name, value) in &head.headers {
            request.extend_from_slice(name.as_str().as_bytes());
            request.extend_from_slice(b": ");
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(&body);
        let (ask, asked) = mpsc::channel::<u32>();
        let (answered, failed) = (Arc::new(Notify::new()), Arc::new(OnceLock::new()));
        let (done, failure) = (Arc::clone(&answered), Arc::clone(&failed));
        std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).expect("the listener is there");
            stream.set_nodelay(true).expect("the socket takes options");
            for requests in asked {
                for _ in 0..requests {
                    stream.write_all(&request).expect("the listener reads");
                    if let Err(answer) = read_answer(&mut stream) {
                        failure.get_or_init(|| answer);
                        break;
                    }
                }
                done.notify_one();
            }
        });
        Sender {
            ask,
            answered,
            failed,
        }
    }

    fn send(&self, requests: u32) {
        self.ask.send(requests).expect("the sender is there");
    }
}

/// # Errors
///
/// What is no 202.
fn read_answer(stream: &mut TcpStream) -> Result<(), String> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).expect("the listener answers");
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer);
        if read == 0 {
            return Err(text.into_owned());
        }
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.parse::<usize>().ok())
            .expect("the answer says how long it is");
        if body.len() >= length {
            let words = ["\"status\":\"accepted\"", "\"quarantined\":0,"];
            let is_accepted =
                text.starts_with("HTTP/1.1 202 ") && words.iter().any(|words| text.contains(words));
            return if is_accepted {
                Ok(())
            } else {
                Err(text.into_owned())
            };
        }
    }
}

/// The parts of a gateway, without its sockets.
struct Gateway {
    pipeline: Arc<Pipeline>,
    telemetry: Arc<Telemetry>,
    key: String,
}

impl Gateway {
    async fn start(folder: &Path, own: &Path, plugin: bool) -> Gateway {
        let store = Store::open(&format!("file:{}", own.join("store").display())).expect("a store");
        let registry = Registry::open(store.clone()).await.expect("a registry");
        let key = fill(&registry, folder, plugin).await;
        let telemetry = Telemetry::new(1000);
        let transformer = Transformer::new(TransformSettings {
            limits: limits(),
            cache_dir: folder.join("cache"),
            compiler: folder.join(COMPILER),
        })
        .expect("the engine starts");
        let budget = Budget::new(1 << 30);
        let spool = Spool::open(&own.join("spool"), SpoolOptions::default(), budget).expect("a spool");
        let quarantine = Quarantine::open(spool, store).await.expect("a quarantine");
        let webhook_ids = WebhookIds::open(own).expect("the folder can be written");
        let sealer = Sealer::from_file(&own.join("sealing-key")).expect("the folder can be written");
        let pipeline = Pipeline::new(
            Destinations::of(vec![Arc::new(TakesAtOnce("events".parse().expect("a name")))]),
            quarantine,
            Recent::new(&RecentSettings {
                events: 8,
                max_bytes: ByteSize(64 << 20),
            }),
            Memory {
                webhook_ids,
                quotas: Arc::default(),
            },
            limits(),
            Arc::clone(&telemetry),
        );
        let tables = Tables::build(
            registry.state(),
            &pipeline.tables(),
            &Preparations::new(registry.clone(), transformer),
            &Lookups::new(registry.clone(), limits().tables_memory_bytes),
            &sealer,
            &telemetry,
        )
        .await;
        assert!(
            tables.unavailable_plugins().is_empty(),
            "{:?}",
            tables.unavailable_plugins()
        );
        pipeline.install(tables);
        Gateway {
            pipeline,
            telemetry,
            key,
        }
    }
}

/// One partner, its key, the page view's schema, and a route, through the plugin or not; gives the key.
async fn fill(registry: &Registry, folder: &Path, plugin: bool) -> String {
    let key = register::partner(registry, PARTNER).await;
    register::schema(registry, EVENT_TYPE, APP_VERSION, &sample::schema_text()).await;
    if plugin {
        let component = std::fs::read(folder.join(COMPONENT)).expect("the component is there");
        register::plugin(registry, PLUGIN, component).await;
    }
    register::route(registry, PARTNER, "*", plugin.then_some(PLUGIN), "bench").await;
    key
}

/// A destination whose records are durable as soon as it has them: what any real one costs beside the way is its own
/// library's, on threads of its own.
struct TakesAtOnce(DestinationName);

impl Destination for TakesAtOnce {
    fn name(&self) -> &DestinationName {
        &self.0
    }

    fn kind(&self) -> &'static str {
        "bench"
    }

    fn state(&self) -> DestinationState {
        DestinationState::Healthy
    }

    fn send(&self, record: Record, ticket: Ticket) {
        drop(std::hint::black_box(record));
        ticket.complete(Delivery::Durable);
    }

    fn counts(&self) -> Counts {
        Counts::default()
    }

    fn pending(&self) -> Pending {
        Pending::default()
    }

    fn damage(&self) -> Damage {
        Damage::default()
    }

    fn shutdown(&self, _: Instant) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
