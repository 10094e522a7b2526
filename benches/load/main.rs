//! The load benchmark: what an event costs the gateway, beside what HTTP and Kafka alone cost, in one run.
//!
//! A real Kafka, the gateway as its own process, and the ceiling: a server of the same process shape that only takes
//! requests and produces their lines to Kafka. Rounds alternate, so that a slow minute of the machine hits all alike.
//!
//! `cargo bench --bench load -- [--rounds N] [--seconds N] [--json FILE] [--gateway FILE]`

mod ceiling;
mod client;
mod process;
mod report;

#[path = "../support/gateway.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod gateway;
#[path = "../../tests/it/harness/kafka.rs"]
#[expect(dead_code, reason = "tests read from the broker, the benchmark does not")]
mod kafka;
#[path = "../../tests/it/harness/ports.rs"]
mod ports;

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use client::Shape;
use process::{Ceiling, Gateway};
use report::{Measured, Report};

#[derive(Parser)]
struct Arguments {
    /// Rounds over every path; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load of each path in each round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Write the figures there as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The build of the gateway that is measured; without it, the one that cargo has just made.
    #[arg(long, default_value = gateway::PROGRAM)]
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

async fn measure(arguments: &Arguments) {
    let broker = kafka::Broker::start();
    for topic in ["bench-ceiling", "bench-validated", "bench-transformed"] {
        broker.create_topic(topic, 4).await;
    }
    let ceiling = Ceiling::start(broker.bootstrap()).await;
    let gateway = Gateway::start(broker.bootstrap(), &arguments.gateway).await;
    let event = page_view();
    println!(
        "{}-byte events, {} rounds of {} s a path, Kafka acks=all, {} cores; CPU is the server process's own",
        event.len(),
        arguments.rounds,
        arguments.seconds,
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get)
    );
    println!(
        "gateway at rest with the examples applied: {} MiB resident",
        gateway.process().resident_mib()
    );

    let mut report = Report::default();
    let duration = Duration::from_secs(arguments.seconds);
    for _ in 0..arguments.rounds {
        for shape in [Shape::Single, Shape::Batch(BATCH)] {
            for (path, target, process) in [
                ("ceiling", &ceiling.target, &ceiling.process),
                ("validate", &gateway.validated, gateway.process()),
                ("validate + plugin", &gateway.transformed, gateway.process()),
            ] {
                let before = process.cpu_time();
                let load = client::run(target, shape, &event, duration).await;
                let cpu = process.cpu_time() - before;
                report.add(shape, path, Measured::new(&load, cpu));
            }
        }
    }
    println!("{report}");
    println!(
        "gateway after the load: {} MiB resident",
        gateway.process().resident_mib()
    );
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json()).expect("the figures can be written");
    }
    drop(broker);
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
