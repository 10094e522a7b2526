use std::process::ExitCode;

use headworks::{cli, transform::child};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == child::ARGUMENT)
    {
        return child::run();
    }
    cli::main()
}
