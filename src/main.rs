use std::process::ExitCode;

use headworks::transform::child;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == child::ARGUMENT)
    {
        return child::run();
    }
    ExitCode::SUCCESS
}
