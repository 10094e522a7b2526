//! The load benchmark: what an event costs the gateway, beside what HTTP and Kafka alone cost, in one run.
//!
//! A real Kafka, the gateway as its own process, and the ceiling: a server of the same process shape that only takes
//! requests and produces their lines to Kafka. Rounds alternate, so that a slow minute of the machine hits all alike.
//!
//! `cargo bench --bench load -- [--rounds N] [--seconds N] [--json FILE] [--against FILE] [--plot FILE] [--gateway FILE]
//! [--peer NAME URL PID]`

mod ceiling;
mod client;
mod plot;
mod process;
mod report;

#[path = "../../tests/it/harness/kafka.rs"]
#[expect(dead_code, reason = "tests read from the broker, the benchmark does not")]
mod kafka;

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use client::{Shape, Target};
use process::{Ceiling, Gateway, Watched};
use report::{Loop, Measured, Report};

#[derive(Parser)]
struct Arguments {
    /// Rounds over every path; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load of each path in each round, for each loop.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Write the figures there as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Compare with the figures of a run before.
    #[arg(long)]
    against: Option<PathBuf>,
    /// Draw CPU an event and latencies there, as SVG.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Another server that runs already and takes the same posts: its name, where events go, and its process.
    #[arg(long, num_args = 3, value_names = ["NAME", "URL", "PID"], action = clap::ArgAction::Append)]
    peer: Vec<String>,
    /// A header of requests to peers, such as "authorization: Bearer …".
    #[arg(long, value_name = "HEADER")]
    peer_header: Vec<String>,
    /// The build of the gateway that is measured; without it, the one that cargo has just made.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_headworks"))]
    gateway: PathBuf,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// This process is the ceiling server, with this broker.
    #[arg(long, hide = true)]
    ceiling: Option<String>,
}

const BATCH: usize = 100;

fn main() {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    match &arguments.ceiling {
        Some(brokers) => runtime.block_on(ceiling::serve(brokers)),
        None => runtime.block_on(measure(&arguments)),
    }
}

/// A server under load.
struct Path {
    name: String,
    target: Target,
    process: Watched,
}

async fn measure(arguments: &Arguments) {
    let broker = kafka::Broker::start();
    for topic in ["bench-ceiling", "bench-validated", "bench-transformed"] {
        broker.create_topic(topic, 4).await;
    }
    let ceiling = Ceiling::start(broker.bootstrap()).await;
    let gateway = Gateway::start(broker.bootstrap(), &arguments.gateway).await;
    let event = page_view();
    println!(
        "{}-byte events, {} rounds of {} s a path and loop, Kafka acks=all, {} cores; CPU is the server process's own",
        event.len(),
        arguments.rounds,
        arguments.seconds,
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get)
    );
    println!(
        "gateway at rest with the examples applied: {} MiB resident",
        gateway.process.watched().resident_mib()
    );
    let mut paths = vec![
        path("ceiling", &ceiling.target, ceiling.process.watched()),
        path("validate", &gateway.validated, gateway.process.watched()),
        path(
            "validate + plugin",
            &gateway.transformed,
            gateway.process.watched(),
        ),
    ];
    paths.extend(
        arguments
            .peer
            .chunks_exact(3)
            .map(|peer| self::peer(peer, &arguments.peer_header)),
    );

    let mut report = Report::default();
    for round in 0..arguments.rounds {
        for shape in [Shape::Single, Shape::Batch(BATCH), Shape::Gzip(BATCH)] {
            for path in &paths {
                // The ceiling reads no body, and so decompresses none.
                if matches!(shape, Shape::Gzip(_)) && path.name == "ceiling" {
                    continue;
                }
                run(&mut report, path, shape, &event, arguments.seconds).await;
            }
        }
        println!("round {} of {} is done", round + 1, arguments.rounds);
    }
    println!("{report}");
    if let Some(file) = &arguments.against {
        let saved = std::fs::read(file).expect("the saved run can be read");
        println!(
            "{}",
            report.against(&serde_json::from_slice(&saved).expect("it is JSON"))
        );
    }
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&report.json()).expect("figures are JSON");
        std::fs::write(file, text).expect("the figures can be written");
    }
    if let Some(file) = &arguments.plot {
        plot::draw(&report.json(), file);
    }
    drop(broker);
}

/// The closed loop, and then the open one at half its pace.
async fn run(report: &mut Report, path: &Path, shape: Shape, event: &[u8], seconds: u64) {
    let duration = Duration::from_secs(seconds);
    let mut half = None;
    for how in [Loop::Closed, Loop::Open] {
        let before = path.process.cpu_time();
        let load = client::run(&path.target, shape, event, duration, half).await;
        let cpu = path.process.cpu_time().saturating_sub(before);
        let measured = Measured::new(&load, cpu, path.process.resident_mib());
        half = Some(measured.events_per_s() / shape.events() as f64 / 2.0);
        report.add(shape, how, &path.name, measured);
    }
}

fn path(name: &str, target: &Target, process: Watched) -> Path {
    Path {
        name: name.to_owned(),
        target: target.clone(),
        process,
    }
}

fn peer(given: &[String], headers: &[String]) -> Path {
    let [name, url, pid] = given else {
        panic!("a peer has a name, a URL and a process")
    };
    let rest = url
        .strip_prefix("http://")
        .expect("a peer's URL begins with http://");
    let at = rest.find('/').unwrap_or(rest.len());
    let (address, path) = rest.split_at(at);
    Path {
        name: name.clone(),
        target: Target {
            address: address.parse().expect("a peer's URL has an address and a port"),
            path: if path.is_empty() {
                "/".to_owned()
            } else {
                path.to_owned()
            },
            headers: headers.iter().map(|header| format!("{header}\r\n")).collect(),
        },
        process: Watched::new(pid.parse().expect("a process has a number")),
    }
}

/// The newest form of the company's page view, in full and without white space.
fn page_view() -> Vec<u8> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/schemas/app.page_view/samples/5.10.0/valid-full.json"
    );
    let text = std::fs::read_to_string(path).expect("the sample is there");
    let sample: serde_json::Value = serde_json::from_str(&text).expect("a sample is JSON");
    sample["data"].to_string().into_bytes()
}
