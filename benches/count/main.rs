//! How many instructions an event costs, stage by stage and on its whole way through the process, on fixed input:
//! figures that are the same on a machine that is busy.
//!
//! Each stage runs as a process of its own under valgrind's callgrind, which collects inside [`callgrind_collects`] alone and on
//! its thread alone: neither set-up nor other threads count, nor does the kernel. Fails where a stage costs 5 % more than
//! `benches/count/baseline.json` says, and where nothing was counted.
//!
//! `cargo bench --profile measure --bench count -- [--runs N] [--bless] [--only WORD] [--keep FOLDER]`

mod baseline;
mod callgrind;
mod path;
mod report;
mod stages;

#[path = "../support/context.rs"]
mod context;
#[path = "../../tests/it/harness/page_view.rs"]
mod page_view;
#[path = "../support/register.rs"]
mod register;
#[path = "../support/sample.rs"]
mod sample;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use tikv_jemallocator::Jemalloc;

use callgrind::Callgrind;
use report::Report;
use stages::Stage;

/// The gateway's own allocator.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[derive(Parser)]
struct Arguments {
    /// Count everything so often, and print by how much the runs differ.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Write what was counted as the new baseline.
    #[arg(long)]
    bless: bool,
    /// Only the stages whose names hold this word.
    #[arg(long)]
    only: Option<String>,
    /// Keep there what callgrind wrote, a file a stage, for `callgrind_annotate`.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// This process runs the stage of this name.
    #[arg(long, hide = true, requires = "folder")]
    stage: Option<String>,
    /// This process compiles the component in this folder.
    #[arg(long, hide = true)]
    compile: Option<PathBuf>,
    /// Where the component stands, and its compiled form is kept.
    #[arg(long, hide = true)]
    folder: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let (Some(stage), Some(folder)) = (&arguments.stage, &arguments.folder) {
        stages::find(stage).run(folder);
        return ExitCode::SUCCESS;
    }
    if let Some(folder) = &arguments.compile {
        callgrind::compile(folder);
        return ExitCode::SUCCESS;
    }
    if let Err(text) = count(&arguments) {
        eprintln!("bench-count: {text}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// # Errors
///
/// What was not counted, or costs more than it may.
fn count(arguments: &Arguments) -> Result<(), String> {
    let is_asked = |stage: &&Stage| {
        let only = arguments.only.as_deref();
        only.is_none_or(|word| stage.name.contains(word))
    };
    let asked: Vec<&'static Stage> = stages::ALL.iter().filter(is_asked).collect();
    if asked.is_empty() {
        let word = arguments.only.as_deref().unwrap_or_default();
        return Err(format!("no stage's name holds {word:?}: nothing was counted"));
    }
    let callgrind = Callgrind::prepare(arguments.keep.clone());
    let mut report = Report::default();
    for run in 1..=arguments.runs {
        for &stage in &asked {
            eprintln!("run {run}: {}", stage.name);
            report.add(stage, callgrind.instructions(stage)?);
        }
    }
    print!("{report}");
    if arguments.bless {
        baseline::write(&report);
        return Ok(());
    }
    baseline::compare(&report)
}

/// What callgrind collects. Never inlined: it knows this function by its name.
#[inline(never)]
fn callgrind_collects(work: &mut dyn FnMut(), times: u32) {
    for _ in 0..times {
        work();
    }
}
