//! The parent's side of compilation: one child for each component, bounded and killed when it is late.

use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
};

use super::{child, fault};
use crate::{
    limits::{self, ByteSize},
    problem::{Code, Problem},
};

/// Bytes of the child's standard error that are kept.
const ERROR_BYTES: u64 = 16 << 10;

/// Compiles `component` in a child process.
pub(super) async fn compile(compiler: &Path, component: &[u8]) -> Result<Vec<u8>, Problem> {
    let cpu_s = limits::compile_cpu_s(component.len() as u64);
    let wall = Duration::from_secs(cpu_s * limits::COMPILE_WALL_FACTOR);
    match tokio::time::timeout(wall, run_child(compiler, component, cpu_s)).await {
        Ok(Ok(done)) => done.into_compiled(cpu_s),
        Ok(Err(error)) => {
            tracing::error!(compiler = %compiler.display(), %error, "the compiling process cannot be run");
            Err(Problem::new(
                Code::Internal,
                "the component could not be compiled: the gateway's log says why",
            ))
        }
        Err(_) => Err(too_costly(&format!("took longer than {} s", wall.as_secs()))),
    }
}

struct Done {
    status: ExitStatus,
    compiled: Vec<u8>,
    error: Vec<u8>,
}

/// Dropping the future kills the child.
async fn run_child(compiler: &Path, component: &[u8], cpu_s: u64) -> std::io::Result<Done> {
    let mut process = Command::new(compiler)
        .arg(child::ARGUMENT)
        .arg(cpu_s.to_string())
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
            let _ = stdin.write_all(component).await;
        }
    };
    let compiled = read(process.stdout.take(), limits::COMPILED_BYTES + 1);
    let error = read(process.stderr.take(), ERROR_BYTES);
    let ((), compiled, error) = tokio::join!(write, compiled, error);
    Ok(Done {
        compiled: compiled?,
        error: error?,
        status: process.wait().await?,
    })
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(bytes_max).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

impl Done {
    fn into_compiled(self, cpu_s: u64) -> Result<Vec<u8>, Problem> {
        if self.compiled.len() as u64 > limits::COMPILED_BYTES {
            return Err(too_costly(&format!(
                "made more than {} of native code",
                ByteSize(limits::COMPILED_BYTES)
            )));
        }
        if self.status.success() {
            return Ok(self.compiled);
        }
        if self.status.signal().is_some() {
            return Err(too_costly(&format!(
                "took more than {cpu_s} s of processor time or {} of memory",
                ByteSize(limits::COMPILE_MEMORY_BYTES)
            )));
        }
        let error = String::from_utf8_lossy(&self.error);
        Err(Problem::new(
            Code::ComponentInvalid,
            format!("the component does not compile: {}", fault::cut(error.trim())),
        ))
    }
}

fn too_costly(what: &str) -> Problem {
    Problem::new(
        Code::ComponentTooCostly,
        format!("compiling the component {what}: make it smaller, or its functions simpler"),
    )
}
