use std::process::ExitCode;

use headworks::transform::child;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == child::ARGUMENT)
    {
        return child::run();
    }
    let path = std::env::args().nth(3).map(std::path::PathBuf::from);
    match headworks::config::load(path.as_deref(), std::env::vars()) {
        Err(errors) => { eprintln!("{errors}"); ExitCode::FAILURE }
        Ok(settings) => match headworks::app::serve(settings) { Ok(()) => ExitCode::SUCCESS, Err(error) => { eprintln!("{error}"); ExitCode::FAILURE } },
    }
}
