//! What plugins cost: a call in each language beside the same edits without a plugin, instances, compilation, the way from
//! an upload to the first event, a thousand plugins, and what one partner's plugin does to another partner's events.
//!
//! `cargo bench --profile measure --bench plugins -- [--only calls|live|many|neighbours] [--quick]`

mod calls;
mod live;
mod neighbours;

#[path = "../support/gateway.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod gateway;
#[path = "../../tests/it/harness/kafka.rs"]
#[expect(dead_code, reason = "tests read from the broker, the benchmark does not")]
mod kafka;
#[path = "../support/parts.rs"]
mod parts;
#[path = "../../tests/it/harness/ports.rs"]
mod ports;
#[path = "../support/verdict.rs"]
mod verdict;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use headworks::cli::plugin_project;

use parts::Arguments;
use verdict::{Goals, Verdict};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Calls, instances and compilation, by language.
    Calls,
    /// From the upload to the first event.
    Live,
    /// A thousand plugins, a hundred of them active.
    Many,
    /// One partner's events while another's plugin misbehaves.
    Neighbours,
}

/// The languages that have an SDK, and their folder.
const LANGUAGES: [(&str, &str); 4] = [
    ("Rust", "rust"),
    ("Go", "go"),
    ("JavaScript", "js"),
    ("Python", "python"),
];

fn main() {
    let arguments = Arguments::<Part>::read();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(8 << 20)
        .build()
        .expect("a runtime can be made");
    let quick = arguments.quick;
    let mut verdicts: Vec<Verdict> = Vec::new();
    runtime.block_on(async {
        if arguments.asks(Part::Calls) {
            verdicts.extend(calls::measure(quick).await);
        }
        if arguments.asks(Part::Live) {
            verdicts.extend(live::first_event(if quick { 1 } else { 5 }).await);
        }
        if arguments.asks(Part::Many) {
            let (registered, active) = if quick { (20, 4) } else { (1000, 100) };
            verdicts.extend(live::many(registered, active).await);
        }
        if arguments.asks(Part::Neighbours) {
            let (count, seconds) = if quick { (1, 2) } else { (3, 5) };
            neighbours::measure(neighbours::Turns { count, seconds }).await;
        }
    });
    // What neighbours notice is judged where it is printed, by misdeed.
    if !verdicts.is_empty() {
        print!("\n{}", Goals(&verdicts));
    }
}

/// The component of a plugin's folder, built as its author builds it.
fn component(folder: &str) -> Vec<u8> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let built = plugin_project::build(&folder).unwrap_or_else(|error| {
        panic!(
            "{}: {error}\n`scripts/setup test` installs what this needs",
            folder.display()
        )
    });
    std::fs::read(&built.path).expect("it was just built")
}

fn of_language(folder: &str) -> Vec<u8> {
    component(&format!("benches/plugins/languages/{folder}"))
}

/// The same code in other bytes: a version, or a plugin, of its own.
fn numbered(component: &[u8], number: u32) -> Vec<u8> {
    let mut numbered = component.to_vec();
    // A custom section: its length, then its name's, its name, and the number.
    numbered.extend_from_slice(&[0, 6, 1, b'n']);
    numbered.extend_from_slice(&number.to_le_bytes());
    numbered
}

/// The newest form of the company's page view, in full and without white space.
fn page_view() -> String {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/schemas/app.page_view/samples/5.10.0/valid-full.json"
    );
    let text = std::fs::read_to_string(path).expect("the sample is there");
    let sample: serde_json::Value = serde_json::from_str(&text).expect("a sample is JSON");
    sample["data"].to_string()
}
