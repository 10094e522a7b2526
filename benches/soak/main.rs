//! The soak: a gateway under mixed load, with changes of schemas and plugins all the time, faults, and a long outage of
//! the broker at five times the load. Nothing may be refused, nothing lost, and nothing may grow.
//!
//! `cargo bench --bench soak -- [--minutes N] [--rate EVENTS_PER_S] [--json FILE]`

mod changes;
mod load;
mod process;
mod verify;

#[path = "../support/gateway.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod gateway;
#[path = "../../tests/it/harness/kafka.rs"]
#[expect(dead_code, reason = "tests read from the broker in other ways")]
mod kafka;
#[path = "../../tests/it/harness/page_view.rs"]
mod page_view;
#[path = "../../tests/it/harness/ports.rs"]
mod ports;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;

use load::{Load, Rate};
use process::{Gateway, Sample};

#[derive(Parser)]
struct Arguments {
    /// How long load comes; a third of it the broker is away.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Events a second; five times as many while the broker is away.
    #[arg(long, default_value_t = 400)]
    rate: u64,
    /// Write there what the process held, second by second, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

const OUTAGE_FACTOR: u64 = 5;
/// How long the broker stands still, once.
const PAUSE: Duration = Duration::from_secs(8);
/// All that waits must be delivered within this time after the end of the load.
const DRAIN_MAX: Duration = Duration::from_secs(600);
/// Between the time when all has been delivered and the end of the load. What came before has filled what is bounded:
/// the window of known events (ten minutes, or a million), recent events, compiled schemas.
const GROWTH_MIB_MAX: u64 = 16;
/// What it may hold when all of that is full.
const RESIDENT_MIB_MAX: u64 = 512;
/// Between the calm before and the rest after.
const DESCRIPTORS_MORE_MAX: u64 = 16;
const THREADS_MORE_MAX: u64 = 8;

fn main() {
    let arguments = Arguments::parse();
    let reached = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
        .block_on(soak(&arguments));
    assert!(reached, "the soak did not reach its goals; see above");
}

async fn soak(arguments: &Arguments) -> bool {
    let length = Duration::from_secs_f64(arguments.minutes * 60.0);
    let broker = tokio::task::spawn_blocking(kafka::Broker::start)
        .await
        .expect("started");
    for topic in load::TOPICS {
        broker.create_topic(topic, 4).await;
    }
    let broker = Arc::new(broker);
    let gateway = Arc::new(Gateway::start(broker.bootstrap()).await);
    announce(arguments);
    let load = Load::start(&gateway, arguments.rate);
    let changes = changes::start(&gateway);
    let begun = Instant::now();
    let at = |share: f64| begun + length.mul_f64(share);

    let calm = samples(&gateway, at(0.25)).await;
    let killed = Arc::clone(&broker);
    tokio::task::spawn_blocking(move || killed.kill())
        .await
        .expect("killed");
    load.set(Rate {
        events_per_second: arguments.rate * OUTAGE_FACTOR,
    });
    let away = samples(&gateway, at(0.25 + 1.0 / 3.0)).await;
    let waiting = gateway.accounts("events").await.get("waiting");
    load.set(Rate {
        events_per_second: arguments.rate,
    });
    let restarted = Arc::clone(&broker);
    tokio::task::spawn_blocking(move || restarted.restart())
        .await
        .expect("restarted");
    let back = Instant::now();
    let drained = gateway.drained(DRAIN_MAX).await;
    let mut after = samples(&gateway, at(0.75)).await;
    broker.pause();
    after.extend(samples(&gateway, Instant::now() + PAUSE).await);
    broker.go_on();
    after.extend(samples(&gateway, at(1.0)).await);

    let changed = changes.stop().await;
    let sent = load.stop().await;
    println!(
        "  broker away for {:.0} s: {waiting} records waited in the spool at its end, and all were delivered {}",
        (length / 3).as_secs_f64(),
        drained.map_or_else(
            || format!("NOT within {} s", DRAIN_MAX.as_secs()),
            |end| format!(
                "{:.0} s after it was back, under load",
                (end - back).as_secs_f64()
            ),
        )
    );
    let settled = gateway.drained(DRAIN_MAX).await;
    // What it holds once all is done.
    let rest = samples(&gateway, Instant::now() + Duration::from_secs(10)).await;
    if let Some(path) = &arguments.json {
        let phases = [
            ("broker there", &calm),
            ("broker away", &away),
            ("broker back", &after),
            ("at rest", &rest),
        ];
        process::write(path, begun, &phases);
    }
    sent.print();
    changed.print();
    let flat = flat(&calm, &away, &after, &rest);
    let whole = verify::all_arrived(&broker, &gateway, &sent).await;
    let balanced = gateway.balanced().await;
    println!(
        "  accounts at rest: {}",
        if balanced { "difference 0" } else { "DIFFERENT" }
    );
    let reached =
        flat && whole && balanced && drained.and(settled).is_some() && sent.is_clean() && changed.is_clean();
    println!("soak: {}", if reached { "every goal reached" } else { "FAILED" });
    reached
}

fn announce(arguments: &Arguments) {
    println!(
        "soak: {:.1} minutes, {} events/s, {OUTAGE_FACTOR} times that while the broker is away, {} changes/s, {} cores, {}",
        arguments.minutes,
        arguments.rate,
        changes::PER_SECOND,
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        jiff::Timestamp::now().strftime("%F %H:%M UTC"),
    );
}

/// One a second until then.
async fn samples(gateway: &Gateway, end: Instant) -> Vec<Sample> {
    let mut samples = Vec::new();
    while Instant::now() < end {
        samples.push(gateway.sample());
        tokio::time::sleep(Duration::from_secs(1).min(end.saturating_duration_since(Instant::now()))).await;
    }
    samples
}

/// Compares the beginning of the calm after with its end, and the calm before with the rest.
fn flat(calm: &[Sample], away: &[Sample], after: &[Sample], rest: &[Sample]) -> bool {
    let part = (after.len() / 4).max(1);
    let (first, last) = (
        &after[..part.min(after.len())],
        &after[after.len().saturating_sub(part)..],
    );
    let phases = [
        ("broker there", &calm[calm.len() / 2..]),
        ("broker away", away),
        ("all delivered", first),
        ("end of the load", last),
        ("at rest", rest),
    ];
    for (name, samples) in phases {
        let (median, most) = (Sample::median(samples), Sample::most(samples));
        println!(
            "  {name:<16} {:>4} MiB resident (most {}), {} descriptors (most {}), {} threads (most {})",
            median.resident_mib,
            most.resident_mib,
            median.descriptors,
            most.descriptors,
            median.threads,
            most.threads
        );
    }
    let [before, _, settled, end, rest] = phases.map(|(_, samples)| Sample::median(samples));
    let flat = end.resident_mib <= settled.resident_mib + GROWTH_MIB_MAX
        && end.resident_mib <= RESIDENT_MIB_MAX
        && rest.descriptors <= before.descriptors + DESCRIPTORS_MORE_MAX
        && rest.threads <= before.threads + THREADS_MORE_MAX;
    println!(
        "  memory, descriptors, threads: {}",
        if flat {
            "flat once all that is bounded is full"
        } else {
            "GROWN"
        }
    );
    flat
}
