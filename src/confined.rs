//! Work that input from outside could make endless: done by a child, which is the same binary, within bounds of
//! processor time and memory that the kernel holds, and without files, sockets or programs.

mod filter;
pub mod probe;

use std::{
    io::{self, Read as _, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Command, ExitCode, ExitStatus, Stdio},
    sync::Once,
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

/// The binary that this process runs, also where its file was replaced or removed since.
pub const OWN_PROGRAM: &str = "/proc/self/exe";
/// The second argument of the process whose limits are set. Before that it is the processor time, in seconds.
const LIMITED: &str = "--limited";
/// What the first line of the child's standard error begins with where the kernel takes no filter.
const UNFILTERED: &str = "unfiltered: ";
/// Bytes of the child's standard error that are kept.
const ERROR_BYTES: u64 = 16 << 10;

/// What one child may use.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub cpu_s: u64,
    pub memory_bytes: u64,
    /// Real time, on a machine that has other things to do.
    pub wall_s: u64,
    /// Of standard output.
    pub output_bytes: u64,
}

/// What a child left behind.
pub struct Ended {
    status: ExitStatus,
    /// At most one byte more than the bound.
    pub output: Vec<u8>,
    pub error: Vec<u8>,
    /// Why the kernel took no filter.
    unfiltered: Option<String>,
}

impl Ended {
    pub fn succeeded(&self) -> bool {
        self.status.success()
    }

    /// It reached a bound of the kernel's.
    pub fn was_killed(&self) -> bool {
        self.status.signal().is_some()
    }
}

/// In the child: does `work` within the bounds, or within less processor time where the parent gave it less, and without
/// opening anything from there on. To be called by `main` before anything else where the first argument is `argument`.
pub fn confine(argument: &str, bounds: &Bounds, work: impl FnOnce() -> ExitCode) -> ExitCode {
    let second = std::env::args().nth(2);
    if second.as_deref() == Some(LIMITED) {
        if let Err(error) = close_doors() {
            return fail(&error);
        }
        return work();
    }
    let asked_cpu_s = second.and_then(|seconds| seconds.parse().ok());
    let bounds = Bounds {
        cpu_s: asked_cpu_s.unwrap_or(bounds.cpu_s).min(bounds.cpu_s),
        ..*bounds
    };
    // The limits come first and the process begins anew: an allocator takes room before `main` that no limit set
    // later would bind.
    let started_anew = set_limits(&bounds).map(|()| {
        Command::new(OWN_PROGRAM)
            .args([argument, LIMITED])
            .env_clear()
            .exec()
    });
    fail(&match started_anew {
        Ok(error) | Err(error) => error,
    })
}

/// In the child: reads work as JSON from standard input and writes each of its answers as a line of JSON. What is done
/// stands even where the next takes all that is left. What descends with its input has a stack of `stack_bytes`.
pub fn answer_each<W, A, I>(stack_bytes: usize, answer: impl FnOnce(W) -> I + Send + 'static) -> ExitCode
where
    W: DeserializeOwned,
    A: Serialize,
    I: Iterator<Item = A>,
{
    let work = move || -> io::Result<()> {
        let mut text = Vec::new();
        io::stdin().lock().read_to_end(&mut text)?;
        let work = serde_json::from_slice(&text)?;
        drop(text);
        for answer in answer(work) {
            let mut line = serde_json::to_vec(&answer)?;
            line.push(b'\n');
            let mut output = io::stdout().lock();
            output.write_all(&line)?;
            output.flush()?;
        }
        Ok(())
    };
    let thread = thread::Builder::new().stack_size(stack_bytes).spawn(work);
    match thread.map(JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        // It panicked, and has said so.
        Ok(Err(_)) => ExitCode::FAILURE,
        Ok(Ok(Err(error))) | Err(error) => fail(&error),
    }
}

/// In the parent: the answers of [`answer_each`] in what the child wrote, up to the first that is not whole.
pub fn answers<A: DeserializeOwned>(output: &[u8]) -> Vec<A> {
    output
        .split(|byte| *byte == b'\n')
        .map_while(|line| serde_json::from_slice(line).ok())
        .collect()
}

/// In the child: says what is wrong.
pub fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    // Nobody is left to tell where standard error is closed too.
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::FAILURE
}

/// From here on nothing can be opened. Where the kernel, or a sandbox around the gateway, takes no filter, the limit of
/// descriptors stands alone, and the parent is told.
fn close_doors() -> io::Result<()> {
    bound(Resource::Nofile, 0)?;
    if let Err(error) = filter::install() {
        let _ = writeln!(io::stderr(), "{UNFILTERED}{error}");
    }
    Ok(())
}

fn bound(resource: Resource, value: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    setrlimit(resource, limit).map_err(io::Error::from)
}

fn set_limits(bounds: &Bounds) -> io::Result<()> {
    bound(Resource::Cpu, bounds.cpu_s)?;
    // Of private writable memory: all that a process can fill. Address space alone costs nobody anything.
    bound(Resource::Data, bounds.memory_bytes)?;
    bound(Resource::Core, 0)?;
    bound(Resource::Fsize, 0)
}

/// In the parent: runs `program` with `argument` on `input`. None where it took too long. Dropping the future kills the
/// child.
///
/// # Errors
///
/// Where the child cannot be started or read.
pub async fn run(program: &Path, argument: &str, input: &[u8], bounds: &Bounds) -> io::Result<Option<Ended>> {
    let wall = Duration::from_secs(bounds.wall_s);
    let ended = tokio::time::timeout(wall, run_child(program, argument, input, bounds)).await;
    ended.ok().transpose()
}

async fn run_child(program: &Path, argument: &str, input: &[u8], bounds: &Bounds) -> io::Result<Ended> {
    let mut process = tokio::process::Command::new(program)
        .args([argument, &bounds.cpu_s.to_string()])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdin = process.stdin.take();
    let write = async move {
        if let Some(mut stdin) = stdin {
            // A child that ends early tells why by its status.
            let _ = stdin.write_all(input).await;
        }
    };
    let output = read(process.stdout.take(), bounds.output_bytes + 1);
    let error = read(process.stderr.take(), ERROR_BYTES);
    let ((), output, error) = tokio::join!(write, output, error);
    let mut error = error?;
    let unfiltered = take_unfiltered(&mut error);
    if let Some(why) = &unfiltered {
        say_unfiltered(why);
    }
    Ok(Ended {
        output: output?,
        error,
        unfiltered,
        status: process.wait().await?,
    })
}

/// Why the kernel took no filter, taken from the beginning of the child's standard error.
fn take_unfiltered(error: &mut Vec<u8>) -> Option<String> {
    error.strip_prefix(UNFILTERED.as_bytes())?;
    let end = error
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(error.len(), |end| end + 1);
    let line: Vec<u8> = error.drain(..end).collect();
    let why = String::from_utf8_lossy(&line[UNFILTERED.len()..]);
    Some(why.trim_end().chars().take(200).collect())
}

/// Once: it is the same for every child.
fn say_unfiltered(why: &str) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            why,
            "the kernel takes no seccomp filter here: the processes that compile plugins and check schemas are held by \
             resource limits alone"
        );
    });
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(bytes_max).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}
