//! What stands in front of an event costs, and what it keeps off: authentication, envelopes, compressed batches, a
//! partner that floods, and connections that only wait.
//!
//! `cargo bench --bench front -- [--only authenticate|envelope|gzip|flood|idle] [--quick]`

mod authenticate;
mod cost;
mod decoding;
mod exchange;
mod flood;
mod idle;
mod server;

#[path = "../load/client.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod client;
#[path = "../load/events.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod events;
#[path = "../support/gateway.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod gateway;
#[path = "../../tests/it/harness/ports.rs"]
mod ports;
#[path = "../support/sample.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod sample;
#[path = "../load/verdict.rs"]
mod verdict;

use clap::{Parser, ValueEnum};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A secret key, and a signature over 1 KiB; in process.
    Authenticate,
    /// An event in Segment's form beside the same event without an envelope; in process.
    Envelope,
    /// Batches of 100, compressed, until they are validated; in process.
    Gzip,
    /// A partner's latencies while another sends at twenty times its rate limit; through a gateway.
    Flood,
    /// Memory and latencies with 20,000 connections that wait; through a gateway.
    Idle,
}

#[derive(Parser)]
struct Arguments {
    /// Only this part.
    #[arg(long)]
    only: Option<Part>,
    /// Few rounds: to see that it runs. The figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let asked = |part| arguments.only.is_none_or(|only| only == part);
    let quick = arguments.quick;
    if quick {
        println!("--quick: these figures mean nothing");
    }
    let rounds = if quick { 1 } else { 15 };
    let mut verdicts = Vec::new();
    if asked(Part::Authenticate) {
        verdicts.extend(authenticate::measure(rounds));
    }
    if asked(Part::Envelope) {
        verdicts.extend(decoding::envelope(rounds));
    }
    if asked(Part::Gzip) {
        verdicts.extend(decoding::gzip(rounds));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    if asked(Part::Flood) {
        verdicts.extend(runtime.block_on(flood::measure(quick)));
    }
    if asked(Part::Idle) {
        verdicts.extend(runtime.block_on(idle::measure(quick)));
    }
    println!("\ngoals");
    for verdict in &verdicts {
        println!("{verdict}");
    }
}
