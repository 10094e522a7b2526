//! Prints the sample company's traffic: `cargo run --example traffic -- --events 1000 --seed 7`.

mod mix;

use std::{
    io::{self, BufWriter, Write},
    iter,
    process::ExitCode,
};

use clap::{Parser, ValueEnum, builder::PossibleValuesParser};
use mix::{GeneratedEvent, Mix, PARTNERS};
use serde_json::Value;

const BATCH_EVENTS: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A CloudEvents object a line.
    Ndjson,
    /// A JSON array of 100 CloudEvents objects a line.
    Batch,
    /// A line for each request as its partner would make it: `{partner, method, target, headers, body}`.
    Http,
}

/// Prints the sample company's events; the same arguments give the same events.
#[derive(Parser)]
#[command(name = "traffic")]
struct Arguments {
    /// How many events to print.
    #[arg(long, default_value_t = 1000)]
    events: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many of a thousand events break their schema.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(..=1000))]
    broken_per_mille: u16,
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// Only what this partner sends.
    #[arg(long, value_parser = PossibleValuesParser::new(PARTNERS))]
    partner: Option<String>,
    /// The index to begin at, so that a seed's traffic can go on where it ended.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Only the event with this id.
    #[arg(long, conflicts_with_all = ["events", "first", "partner"])]
    id: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mix = Mix::new(arguments.seed).with_broken_per_mille(arguments.broken_per_mille);
    let events: Box<dyn Iterator<Item = GeneratedEvent>> = if let Some(id) = &arguments.id {
        let Some(event) = mix.event_of_id(id) else {
            eprintln!("no event of seed {} has the id {id:?}", arguments.seed);
            return ExitCode::FAILURE;
        };
        Box::new(iter::once(event))
    } else {
        let events = (arguments.first..).map(|index| mix.event(index));
        let wanted = |event: &GeneratedEvent| {
            arguments
                .partner
                .as_deref()
                .is_none_or(|partner| partner == event.partner)
        };
        Box::new(events.filter(wanted).take(arguments.events))
    };
    match write(arguments.format, events) {
        Ok(broken) => {
            eprintln!("{broken} of these events break their schema");
            ExitCode::SUCCESS
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the events could not be written: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How many of the events written are broken.
fn write(format: Format, events: impl Iterator<Item = GeneratedEvent>) -> io::Result<usize> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut broken = 0;
    let mut batch: Vec<Value> = Vec::new();
    for event in events {
        broken += usize::from(event.broken);
        match format {
            Format::Ndjson => writeln!(out, "{}", Value::from(&event))?,
            Format::Http => writeln!(out, "{}", event.request())?,
            Format::Batch => {
                batch.push(Value::from(&event));
                if batch.len() == BATCH_EVENTS {
                    writeln!(out, "{}", Value::from(std::mem::take(&mut batch)))?;
                }
            }
        }
    }
    if !batch.is_empty() {
        writeln!(out, "{}", Value::from(batch))?;
    }
    out.flush()?;
    Ok(broken)
}
