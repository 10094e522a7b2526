use std::process::ExitCode;

use headworks::{
    cli,
    confined::probe,
    transform,
    validate::{check, compatibility},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let argument = std::env::args_os().nth(1).unwrap_or_default();
    match argument.to_str() {
        Some(transform::child::ARGUMENT) => transform::child::run(),
        Some(check::ARGUMENT) => check::run(),
        Some(compatibility::child::ARGUMENT) => compatibility::child::run(),
        Some(probe::ARGUMENT) => probe::run(),
        _ => cli::main(),
    }
}
