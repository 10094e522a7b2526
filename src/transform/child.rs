//! The compiling child: the same binary, which compiles what it reads on standard input and can do no harm beside its
//! own end.

use std::{
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use rustix::process::{Resource, Rlimit, setrlimit};
use wasmtime::Engine;

use super::engine::compile_config;
use crate::limits;

/// The hidden argument that makes the binary call [`run`].
pub const ARGUMENT: &str = "compile-component";
/// The second argument of the process whose limits are set. Before that it is the processor time, in seconds.
const LIMITED: &str = "--limited";

/// Compiles the component on standard input and writes its compiled form to standard output; what is wrong with it
/// goes to standard error. To be called by `main` before anything else when the first argument is [`ARGUMENT`].
pub fn run() -> ExitCode {
    let second = std::env::args().nth(2);
    if second.as_deref() == Some(LIMITED) {
        return compile();
    }
    let cpu_s = second.and_then(|seconds| seconds.parse().ok());
    let cpu_s = cpu_s
        .unwrap_or(limits::COMPILE_CPU_S)
        .min(limits::COMPILE_CPU_S_CEILING);
    // The limits come first and the process begins anew: an allocator takes room before `main` that no limit set
    // later would bind.
    let started_anew = set_limits(cpu_s).map(|()| {
        Command::new("/proc/self/exe")
            .args([ARGUMENT, LIMITED])
            .env_clear()
            .exec()
    });
    fail(&match started_anew {
        Ok(error) | Err(error) => error,
    })
}

fn compile() -> ExitCode {
    let mut component = Vec::new();
    if let Err(error) = io::stdin().lock().read_to_end(&mut component) {
        return fail(&error);
    }
    let compiled = Engine::new(&compile_config()).and_then(|engine| engine.precompile_component(&component));
    match compiled {
        Ok(compiled) => match io::stdout().lock().write_all(&compiled) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Err(error) => fail(&format_args!("{error:#}")),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    // Nobody is left to tell where standard error is closed too.
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::FAILURE
}

fn set_limits(cpu_s: u64) -> io::Result<()> {
    let bound = |resource, value| {
        let limit = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, limit).map_err(io::Error::from)
    };
    bound(Resource::Cpu, cpu_s)?;
    // Of private writable memory: all that a process can fill. Address space alone costs nobody anything.
    bound(Resource::Data, limits::COMPILE_MEMORY_BYTES)?;
    bound(Resource::Core, 0)?;
    bound(Resource::Fsize, 0)
}
