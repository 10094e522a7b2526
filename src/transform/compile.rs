//! The parent's side of compilation: one child for each component, bounded and killed when it is late.

use std::path::Path;

use super::{child, fault};
use crate::{
    confined::{self, Bounds, Ended},
    limits::{self, ByteSize},
    problem::{Code, Problem},
};

/// Compiles `component` in a child process.
pub(super) async fn compile(compiler: &Path, component: &[u8]) -> Result<Vec<u8>, Problem> {
    let bounds = child::bounds(component.len() as u64);
    match confined::run(compiler, child::ARGUMENT, component, &bounds).await {
        Ok(Some(ended)) => compiled(ended, &bounds),
        Ok(None) => Err(too_costly(&format!("took longer than {} s", bounds.wall_s))),
        Err(error) => {
            tracing::error!(compiler = %compiler.display(), %error, "the compiling process cannot be run");
            Err(Problem::new(
                Code::Internal,
                "the component could not be compiled: the gateway's log says why",
            ))
        }
    }
}

fn compiled(ended: Ended, bounds: &Bounds) -> Result<Vec<u8>, Problem> {
    if ended.output.len() as u64 > limits::COMPILED_BYTES {
        return Err(too_costly(&format!(
            "made more than {} of native code",
            ByteSize(limits::COMPILED_BYTES)
        )));
    }
    if ended.succeeded() {
        return Ok(ended.output);
    }
    if ended.was_killed() {
        return Err(too_costly(&format!(
            "took more than {} s of processor time or {} of memory",
            bounds.cpu_s,
            ByteSize(limits::COMPILE_MEMORY_BYTES)
        )));
    }
    let error = String::from_utf8_lossy(&ended.error);
    Err(Problem::new(
        Code::ComponentInvalid,
        format!("the component does not compile: {}", fault::cut(error.trim())),
    ))
}

fn too_costly(what: &str) -> Problem {
    Problem::new(
        Code::ComponentTooCostly,
        format!("compiling the component {what}: make it smaller, or its functions simpler"),
    )
}
