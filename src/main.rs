use std::process::ExitCode;

use headworks::{
    cli,
    confined::probe,
    transform,
    validate::{check, compatibility},
};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let argument = std::env::args_os().nth(1).unwrap_or_default();
    match argument.to_str() {
        Some(transform::child::ARGUMENT) => transform::child::run(),
        Some(check::ARGUMENT) => check::run(),
        Some(compatibility::child::ARGUMENT) => compatibility::child::run(),
        Some(probe::ARGUMENT) => probe::run(),
        _ => {
            give_memory_back_on_a_thread();
            cli::main()
        }
    }
}

/// Has the allocator return memory to the kernel on a thread of its own; else, or where that thread cannot start, whoever
/// frees some does that now and then. A confined child may start no thread.
fn give_memory_back_on_a_thread() {
    let mut is_on = true;
    // SAFETY: the option is a `bool`, of which a new value is passed with its size, and no old one is asked for.
    let _ = unsafe {
        tikv_jemalloc_sys::mallctl(
            c"background_thread".as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw mut is_on).cast(),
            size_of::<bool>(),
        )
    };
}
