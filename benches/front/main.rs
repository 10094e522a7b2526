//! What stands in front of an event costs, and what it keeps off: authentication, envelopes, compressed batches, a
//! partner that floods, and connections that only wait.
//!
//! `cargo bench --profile measure --bench front -- [--only authenticate|envelope|gzip|flood|idle] [--quick]`

mod authenticate;
mod decoding;
mod exchange;
mod flood;
mod idle;
mod server;

#[path = "../support/client.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod client;
#[path = "../support/context.rs"]
mod context;
#[path = "../support/cost.rs"]
mod cost;
#[path = "../support/events.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod events;
#[path = "../support/gateway.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod gateway;
#[path = "../support/parts.rs"]
mod parts;
#[path = "../../tests/it/harness/ports.rs"]
mod ports;
#[path = "../support/sample.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod sample;
#[path = "../support/steady.rs"]
mod steady;
#[path = "../support/verdict.rs"]
mod verdict;

use clap::ValueEnum;

use parts::Arguments;
use verdict::Goals;

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

fn main() {
    let arguments = Arguments::<Part>::read();
    let quick = arguments.quick;
    let rounds = if quick { 1 } else { 15 };
    let mut verdicts = Vec::new();
    if arguments.asks(Part::Authenticate) {
        verdicts.extend(authenticate::measure(rounds));
    }
    if arguments.asks(Part::Envelope) {
        verdicts.extend(decoding::envelope(rounds));
    }
    if arguments.asks(Part::Gzip) {
        verdicts.extend(decoding::gzip(rounds));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    if arguments.asks(Part::Flood) {
        verdicts.extend(runtime.block_on(flood::measure(quick)));
    }
    if arguments.asks(Part::Idle) {
        verdicts.extend(runtime.block_on(idle::measure(quick)));
    }
    print!("\n{}", Goals(&verdicts));
}
