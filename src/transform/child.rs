//! The compiling child: the same binary, which compiles what it reads on standard input and can do no harm beside its
//! own end.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use wasmtime::Engine;

use super::engine::compile_config;
use crate::{
    confined::{Bounds, confine, fail},
    limits,
};

/// The hidden argument that makes the binary call [`run`].
pub const ARGUMENT: &str = "compile-component";

/// What compiling a component of this size may use.
pub(super) const fn bounds(component_bytes: u64) -> Bounds {
    let cpu_s = limits::compile_cpu_s(component_bytes);
    Bounds {
        cpu_s,
        memory_bytes: limits::COMPILE_MEMORY_BYTES,
        wall_s: cpu_s * limits::COMPILE_WALL_FACTOR,
        output_bytes: limits::COMPILED_BYTES,
    }
}

/// Compiles the component on standard input and writes its compiled form to standard output; what is wrong with it
/// goes to standard error. To be called by `main` before anything else when the first argument is [`ARGUMENT`].
pub fn run() -> ExitCode {
    confine(ARGUMENT, &bounds(u64::MAX), compile)
}

fn compile() -> ExitCode {
    let mut component = Vec::new();
    if let Err(error) = io::stdin().lock().read_to_end(&mut component) {
        return fail(&error);
    }
    match precompile(&component) {
        Ok(compiled) => match io::stdout().lock().write_all(&compiled) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Err(error) => fail(&error),
    }
}

/// Compiles in this process and within no bounds: of the gateway's parts only the confined child may call it. A benchmark
/// does for its own component, where that child cannot run.
///
/// # Errors
///
/// What the compiler says of the component.
pub fn precompile(component: &[u8]) -> Result<Vec<u8>, String> {
    let compiled = Engine::new(&compile_config()).and_then(|engine| engine.precompile_component(component));
    compiled.map_err(|error| format!("{error:#}"))
}
