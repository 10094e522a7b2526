//! The checking child: a schema is input from outside, and to compile it can cost anything. What does not end within the
//! bounds is refused, and the gateway compiles only what has passed here.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path, process::ExitCode, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    compile::{DRAFTS, check_schema, fault, parse},
    references::Texts,
};
use crate::{
    confined::{self, Bounds, answer_each, confine},
    limits,
    problem::Fault,
};

/// The hidden argument that makes the binary call [`run`].
pub const ARGUMENT: &str = "check-schemas";

const BOUNDS: Bounds = Bounds {
    cpu_s: limits::SCHEMA_CHECK_CPU_S,
    memory_bytes: limits::SCHEMA_CHECK_MEMORY_BYTES,
    wall_s: limits::SCHEMA_CHECK_WALL_S,
    output_bytes: limits::SCHEMA_CHECKED_BYTES,
};

const NOT_CHECKED: &str = "the schema could not be checked; the gateway's log says why";

/// Compiling descends with the schema.
const STACK_BYTES: usize = 64 << 20;

/// A schema that is to be registered, or that refers to one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Candidate {
    pub text: Arc<str>,
    pub texts: Texts,
}

/// None: it can be used.
pub type Faults = Vec<Fault>;

#[derive(Serialize, Deserialize)]
struct Work {
    schema_bytes_max: usize,
    candidates: Vec<Candidate>,
}

/// Checks the schemas on standard input. To be called by `main` before anything else when the first argument is
/// [`ARGUMENT`].
pub fn run() -> ExitCode {
    // Before nothing can be opened any more.
    let memory = Memory::open();
    confine(ARGUMENT, &BOUNDS, || {
        answer_each(STACK_BYTES, |work: Work| {
            let checked = work.candidates.into_iter();
            checked.map(move |candidate| check_within(&candidate, work.schema_bytes_max, &memory))
        })
    })
}

/// [`check_schema`], and that what was compiled is in proportion to its text: the bound of all compiled schemas goes by
/// that.
fn check_within(candidate: &Candidate, schema_bytes_max: usize, memory: &Memory) -> Faults {
    warm_up(&candidate.text);
    let before = memory.resident_bytes();
    if let Err(faults) = check_schema(&candidate.text, &candidate.texts, schema_bytes_max) {
        return faults;
    }
    let taken = memory.resident_bytes().saturating_sub(before);
    let text_bytes = candidate.text.len() + candidate.texts.len();
    let expected = text_bytes * limits::COMPILED_SCHEMA_BYTES_FACTOR;
    let allowed = limits::COMPILED_SCHEMA_BYTES_SLACK + limits::COMPILED_SCHEMA_BYTES_EXCESS * expected;
    if taken > allowed {
        return vec![fault(
            "",
            format!(
                "the compiled schema takes {} MiB, {} MiB are allowed for a text of this length: patterns or \
                 references make it grow",
                taken >> 20,
                allowed >> 20
            ),
        )];
    }
    Faults::new()
}

/// What every schema of a draft needs, its metaschema above all, is no schema's own.
fn warm_up(text: &str) {
    let draft = parse(text).ok().and_then(|schema| schema.get("$schema").cloned());
    let draft = draft.unwrap_or_else(|| DRAFTS[DRAFTS.len() - 1].into());
    let plain = json!({ "$schema": draft, "type": "string", "pattern": "^a", "format": "uri" }).to_string();
    // Where not even this can be used, the check says why.
    let _ = check_schema(&plain, &Texts::default(), usize::MAX);
}

/// The kernel's word on this process.
struct Memory {
    statm: Option<File>,
    page_bytes: usize,
}

impl Memory {
    fn open() -> Memory {
        Memory {
            statm: File::open("/proc/self/statm").ok(),
            page_bytes: rustix::param::page_size(),
        }
    }

    /// What no file is behind; 0 where it cannot be known.
    fn resident_bytes(&self) -> usize {
        let mut text = [0; 256];
        let read = self.statm.as_ref().map(|file| file.read_at(&mut text, 0));
        let Some(Ok(length)) = read else {
            return 0;
        };
        let text = String::from_utf8_lossy(&text[..length]);
        let pages: Vec<usize> = text
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        match pages[..] {
            [_, resident, shared, ..] => resident.saturating_sub(shared) * self.page_bytes,
            _ => 0,
        }
    }
}

/// Checks the schemas in a child of `program`, this binary; the faults of each.
pub async fn check_apart(program: &Path, candidates: Vec<Candidate>, schema_bytes_max: usize) -> Vec<Faults> {
    let count = candidates.len();
    if count == 0 {
        return Vec::new();
    }
    let work = Work {
        schema_bytes_max,
        candidates,
    };
    let input = serde_json::to_vec(&work).unwrap_or_default();
    let mib = limits::SCHEMA_CHECK_MEMORY_BYTES >> 20;
    let bounded = format!(
        "compiling it takes more than {} s or {mib} MiB: its patterns, references or combinations are too costly",
        limits::SCHEMA_CHECK_CPU_S
    );
    let (output, why) = match confined::run(program, ARGUMENT, &input, &BOUNDS).await {
        Ok(Some(ended)) if ended.succeeded() || ended.was_killed() => (ended.output, bounded),
        Ok(Some(ended)) => {
            let said = String::from_utf8_lossy(&ended.error).into_owned();
            tracing::error!(said, "the checking process broke off");
            (ended.output, NOT_CHECKED.to_owned())
        }
        Ok(None) => (Vec::new(), bounded),
        Err(error) => {
            tracing::error!(program = %program.display(), %error, "the checking process cannot be run");
            (Vec::new(), NOT_CHECKED.to_owned())
        }
    };
    let mut checked: Vec<Faults> = confined::answers(&output);
    checked.resize_with(count, || vec![fault("", why.clone())]);
    checked
}

/// What [`check_apart`] finds, on this thread and without its bounds.
pub fn check_here(candidates: &[Candidate], schema_bytes_max: usize) -> Vec<Faults> {
    let faults = |candidate: &Candidate| {
        check_schema(&candidate.text, &candidate.texts, schema_bytes_max)
            .err()
            .unwrap_or_default()
    };
    candidates.iter().map(faults).collect()
}
