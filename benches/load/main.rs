//! The load benchmark: what an event costs the gateway, beside what HTTP and Kafka alone cost, in one run.
//!
//! A real Kafka, the gateway as its own process, and the ceiling: a server of the same process shape that only takes
//! requests and produces their lines to Kafka. Rounds alternate, so that a slow minute of the machine hits all alike.
//!
//! `cargo bench --bench load -- [--rounds N] [--seconds N] [--json FILE] [--baseline FILE] [--gateway FILE]
//! [--peer NAME URL PID]…`; with `--many`, ten thousand types, a thousand plugins and ten thousand partners beside one of
//! each; with `--nodes 2`, two gateways beside one; with `--train`, load without figures, for a profile. Every goal gets
//! its verdict, in print and in the JSON; an answer that does not say that all of its events were accepted ends the run.

mod ceiling;
mod many;
mod meter;
mod nodes;
mod paths;
mod report;
mod servers;
mod train;

#[path = "../support/client.rs"]
mod client;
#[path = "../support/events.rs"]
mod events;
#[path = "../support/gateway.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod gateway;
#[path = "../../tests/it/harness/kafka.rs"]
#[expect(dead_code, reason = "tests read from the broker, the benchmark does not")]
mod kafka;
#[path = "../../examples/traffic/mix.rs"]
#[expect(dead_code, reason = "the generator asks more of it")]
mod mix;
#[path = "../../tests/it/harness/page_view.rs"]
mod page_view;
#[path = "../../tests/it/harness/ports.rs"]
mod ports;
#[path = "../support/register.rs"]
mod register;
#[path = "../support/sample.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod sample;
#[path = "../support/verdict.rs"]
mod verdict;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;

use many::Sizes;
use report::{Compared, Report, Saved};
use servers::Peer;

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
    /// Print the figures beside those that `--json` has written before.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// The build of the gateway that is measured; without it, the one that cargo has just made.
    #[arg(long, default_value = gateway::PROGRAM)]
    gateway: PathBuf,
    /// Another server that takes the same requests, posted to the URL: JSON alone, and NDJSON in batches. Its CPU time is
    /// that of the process of this id. May be given again.
    #[arg(long, num_args = 3, value_names = ["NAME", "URL", "PID"], action = clap::ArgAction::Append)]
    peer: Vec<String>,
    /// A gateway with many types, plugins and partners beside one with one of each.
    #[arg(long, conflicts_with = "nodes")]
    many: bool,
    #[command(flatten)]
    sizes: Sizes,
    /// Two gateways on one store beside one alone.
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=2))]
    nodes: Option<u8>,
    /// Load alone, on every path and with the sample company's traffic, for a build that counts where its code goes.
    #[arg(long, conflicts_with_all = ["many", "nodes", "peer", "json", "baseline"])]
    train: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// This process is the ceiling server, with this broker.
    #[arg(long, hide = true)]
    ceiling: Option<String>,
}

/// What every kind of run needs.
struct Bench {
    broker: kafka::Broker,
    broker_id: u32,
    program: PathBuf,
    event: Vec<u8>,
    rounds: usize,
    duration: Duration,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    if let Some(brokers) = &arguments.ceiling {
        runtime.block_on(ceiling::serve(brokers));
        return ExitCode::SUCCESS;
    }
    if let Err(text) = runtime.block_on(measure(&arguments)) {
        eprintln!("bench-load: {text}");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

/// # Errors
///
/// What is wrong with the arguments.
async fn measure(arguments: &Arguments) -> Result<(), String> {
    let peers = arguments
        .peer
        .chunks(3)
        .map(Peer::parse)
        .collect::<Result<Vec<_>, _>>()?;
    let before = arguments.baseline.as_deref().map(Saved::read).transpose()?;
    let broker = tokio::task::spawn_blocking(kafka::Broker::start)
        .await
        .map_err(|error| error.to_string())?;
    let bench = Bench {
        broker_id: meter::broker(),
        broker,
        program: arguments.gateway.clone(),
        event: sample::page_view(),
        rounds: arguments.rounds,
        duration: Duration::from_secs(arguments.seconds),
    };
    if arguments.train {
        train::run(&bench).await;
        return Ok(());
    }
    println!(
        "{}-byte events, {} rounds of {} s a path, Kafka acks=all, linger.ms {}, {} cores; CPU is the server process's own",
        bench.event.len(),
        bench.rounds,
        arguments.seconds,
        servers::LINGER_MS,
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get)
    );
    let report: Report = if arguments.many {
        many::measure(&bench, &arguments.sizes).await
    } else if arguments.nodes.is_some() {
        nodes::measure(&bench).await
    } else {
        paths::measure(&bench, &peers).await
    };
    let saved = report.save(bench.event.len(), arguments.seconds);
    println!("\n{saved}");
    if let Some(before) = &before {
        println!("{}", Compared { before, now: &saved });
    }
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&saved).expect("numbers and strings are JSON");
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
