//! The comparing child: schemas are input from outside, and to compare them can cost anything. What does not end within
//! the bounds is unknown.

use std::{path::Path, process::ExitCode, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Answer, Report, Source, compare};
use crate::{
    confined::{self, Bounds, answer_each, confine},
    limits,
};

/// The hidden argument that makes the binary call [`run`].
pub const ARGUMENT: &str = "compare-schemas";

const BOUNDS: Bounds = Bounds {
    cpu_s: limits::COMPARE_CPU_S,
    memory_bytes: limits::COMPARE_MEMORY_BYTES,
    wall_s: limits::COMPARE_WALL_S,
    output_bytes: limits::COMPARED_BYTES,
};

const NOT_RUN: &str = "the comparison could not be run; the gateway's log says why";

/// The proof descends with the schemas.
const STACK_BYTES: usize = 128 << 20;

/// Two schemas to be compared, with values to try.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pair {
    pub old: Source,
    pub new: Source,
    pub events: Vec<Value>,
}

/// Compares the pairs on standard input. To be called by `main` before anything else when the first argument is
/// [`ARGUMENT`].
pub fn run() -> ExitCode {
    confine(ARGUMENT, &BOUNDS, || {
        answer_each(STACK_BYTES, |pairs: Vec<Pair>| {
            let time = share(pairs.len());
            let pairs = pairs.into_iter();
            pairs.map(move |pair| compare(&pair.old, &pair.new, &pair.events, time))
        })
    })
}

fn share(pairs: usize) -> Duration {
    let pairs = u32::try_from(pairs.max(1)).unwrap_or(u32::MAX);
    Duration::from_millis(limits::COMPARE_TIME_MS) / pairs
}

/// Compares the pairs in a child of `program`, this binary; a report for each.
pub async fn compare_apart(program: &Path, pairs: &[Pair]) -> Vec<Report> {
    if pairs.is_empty() {
        return Vec::new();
    }
    let input = serde_json::to_vec(pairs).unwrap_or_default();
    let (output, why) = match confined::run(program, ARGUMENT, &input, &BOUNDS).await {
        Ok(Some(ended)) if ended.was_killed() => (
            ended.output,
            "comparing them took more time or memory than there is",
        ),
        Ok(Some(ended)) => (ended.output, "the comparison broke off"),
        Ok(None) => (Vec::new(), "comparing them took more time than there is"),
        Err(error) => {
            tracing::error!(program = %program.display(), %error, "the comparing process cannot be run");
            (Vec::new(), NOT_RUN)
        }
    };
    let mut reports: Vec<Report> = confined::answers(&output);
    reports.resize_with(pairs.len(), || unknown(why));
    reports
}

fn unknown(why: &str) -> Report {
    Report {
        backward: Answer::unknown(why),
        forward: Answer::unknown(why),
    }
}
