//! Instructions that an event takes at each stage, counted by valgrind: the same on a quiet machine and on a busy one.
//!
//! Each stage runs in a process of its own, twice, with different numbers of events; what the difference of the events cost
//! is divided by it, so that set-up does not count. All of the process is counted, libraries and the plugin's native code
//! included; the kernel is not. Valgrind cannot hold the address space of wasmtime's pool, so plugins get their memory on
//! demand here: their instances are reused, and a call costs the same.
//!
//! `cargo bench --bench count [-- --save]`: fails where a stage takes more than 5 % more than benches/count/baseline.json.

mod stages;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, ExitCode},
};

use clap::Parser;

#[derive(Parser)]
struct Arguments {
    /// Write what is counted as the baseline.
    #[arg(long)]
    save: bool,
    /// Only stages whose names hold this.
    word: Option<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// This process runs a stage so many times.
    #[arg(long, hide = true, requires = "times")]
    stage: Option<String>,
    #[arg(long, hide = true)]
    times: Option<u32>,
}

const FEW: u32 = 40;
const MANY: u32 = 140;
/// More than this above the baseline is a fault; less than this below it is worth a new one.
const TOLERANCE: f64 = 0.05;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let (Some(stage), Some(times)) = (&arguments.stage, arguments.times) {
        stages::run(stage, times);
        return ExitCode::SUCCESS;
    }
    let baseline = read_baseline();
    let mut counted = BTreeMap::new();
    let mut is_worse = false;
    println!("instructions an event    counted   baseline");
    for (stage, events) in stages::ALL {
        if arguments
            .word
            .as_ref()
            .is_some_and(|word| !stage.contains(word.as_str()))
        {
            continue;
        }
        let runs = u64::from(MANY - FEW) * u64::from(events);
        let count = (instructions(stage, MANY) - instructions(stage, FEW)) / runs;
        let known = baseline.get(stage).copied();
        let change = known.map(|known| count as f64 / known as f64 - 1.0);
        let said = match change {
            None => "no baseline".to_owned(),
            Some(change) if change > TOLERANCE => {
                is_worse = true;
                format!("{:+.1} % TOO MANY", change * 100.0)
            }
            Some(change) if change < -TOLERANCE => {
                format!("{:+.1} %: keep it with --save", change * 100.0)
            }
            Some(change) => format!("{:+.1} %", change * 100.0),
        };
        println!(
            "{stage:<22} {count:>10} {:>10}   {said}",
            known.map_or_else(String::new, |known| known.to_string())
        );
        counted.insert(stage.to_owned(), count);
    }
    if arguments.save {
        let mut kept = baseline;
        kept.extend(counted);
        let text = serde_json::to_string_pretty(&kept).expect("numbers are JSON") + "\n";
        std::fs::write(path(), text).expect("the baseline can be written");
        return ExitCode::SUCCESS;
    }
    if is_worse {
        eprintln!(
            "a stage takes more than 5 % more than its baseline; where that is meant, run with --save and say why"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn path() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/benches/count/baseline.json"
    ))
}

fn read_baseline() -> BTreeMap<String, u64> {
    std::fs::read_to_string(path())
        .ok()
        .map(|text| serde_json::from_str(&text).expect("the baseline is JSON"))
        .unwrap_or_default()
}

/// Of a whole process.
fn instructions(stage: &str, times: u32) -> u64 {
    let program = std::env::current_exe().expect("the program has a path");
    let output = Command::new("valgrind")
        .args([
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
        ])
        // A main thread's stack as deep as the gateway's workers have.
        .arg("--main-stacksize=8388608")
        .arg(program)
        .args(["--stage", stage, "--times", &times.to_string()])
        // Glibc's allocator of every processor's own choice of instructions.
        .env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=2048")
        .output()
        .expect("valgrind runs: apt-get install valgrind");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stage}: {said}");
    let line = said
        .lines()
        .find(|line| line.contains("I ") && line.contains("refs:"));
    let digits: String = line
        .and_then(|line| line.rsplit_once(':'))
        .map(|(_, number)| number.chars().filter(char::is_ascii_digit).collect())
        .unwrap_or_default();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("valgrind counted nothing: {said}"))
}
