//! Why a command did not do what it was told: one text for whoever typed it, one exit status.

use std::{fmt, io, path::PathBuf, process::ExitCode};

use serde::Deserialize;

use super::{commands::schema_report::Comparison, output, plugin_project::ProjectError};
use crate::config::ConfigErrors;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The arguments contradict each other or the place they are used in.
    #[error("{0}")]
    Usage(String),
    /// Faults of files of the operator's, each with its place.
    #[error("{0}")]
    Files(#[from] ConfigErrors),
    /// So many faults, each of which has been printed.
    #[error("{0} {word}", word = if *.0 == 1 { "fault" } else { "faults" })]
    Faults(usize),
    #[error("{0}")]
    Refused(Box<Refusal>),
    #[error("no gateway answers at {url}: start it with `headworks serve` or give --url ({cause})")]
    Unreachable { url: String, cause: String },
    #[error("the request to {url} failed: {cause}")]
    Transport { url: String, cause: String },
    #[error("what answers at {url} is no gateway of this version: {cause}")]
    Answer { url: String, cause: String },
    #[error("{path}: {source}", path = .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Project(#[from] ProjectError),
    #[error("{0}")]
    Serve(String),
    #[error("{0}")]
    Unconfirmed(String),
    /// What was looked at is not as it should be.
    #[error("{0}")]
    Unwell(String),
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// Everything there is to say has been said.
    #[error("failed")]
    Said,
    /// Nobody reads standard output any more, which is the reader's right.
    #[error("standard output is closed")]
    OutputClosed,
    #[error("standard output: {0}")]
    Output(io::Error),
}

impl Failure {
    /// Prints the failure, and gives the exit status.
    pub fn report(&self) -> ExitCode {
        match self {
            Failure::OutputClosed => return ExitCode::SUCCESS,
            Failure::Said => {}
            // Each line is an error by itself, and begins with its place.
            Failure::Files(errors) => {
                output::note(&errors.to_string());
                output::note(&format!("error: {}", Failure::Faults(errors.iter().count())));
            }
            failure => output::note(&format!("error: {failure}")),
        }
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// A problem that the gateway answered with. What it does not know of the gateway's newer codes it still prints.
#[derive(Debug, Deserialize)]
pub struct Refusal {
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub errors: Vec<RefusalFault>,
    #[serde(default)]
    pub request_id: String,
    /// Of a refused schema.
    #[serde(default)]
    pub compatibility: Vec<Comparison>,
}

#[derive(Debug, Deserialize)]
pub struct RefusalFault {
    #[serde(default)]
    pub pointer: String,
    #[serde(default)]
    pub message: String,
}

impl Refusal {
    /// What the token was good for has ended: as if it had been refused.
    pub fn of_token(detail: String) -> Refusal {
        Refusal {
            status: 401,
            code: "token-invalid".to_owned(),
            detail,
            errors: Vec::new(),
            request_id: String::new(),
            compatibility: Vec::new(),
        }
    }

    /// What to do on the command line, where the detail cannot know it.
    fn advice(&self) -> Option<&'static str> {
        Some(match self.code.as_str() {
            "token-missing" => {
                "give --token or set HEADWORKS_TOKEN; the first admin token is in DATA_DIR/admin-token"
            }
            "token-invalid" => {
                "check --token and HEADWORKS_TOKEN; the first admin token is in DATA_DIR/admin-token"
            }
            "role-insufficient" => "use a token with a higher role",
            "not-found" => "`list` shows what there is",
            "path-unknown" => "check --url: it must be the admin port, without a path",
            "schema-incompatible" | "compatibility-unknown" => {
                "`headworks schema check` shows more; register it with a later SINCE, or force it with `headworks \
                 schema register … --force`"
            }
            "precondition-failed" => "look at it again, then repeat the command",
            "store-unavailable" | "internal" | "overloaded" | "shutting-down" => {
                "try again; the gateway's log says more under the request id"
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code, output::printable(&self.detail))?;
        // One fault alone is the detail.
        let (repeated, others): (Vec<_>, Vec<_>) =
            self.errors.iter().partition(|fault| fault.message == self.detail);
        for fault in repeated.iter().filter(|fault| !fault.pointer.is_empty()) {
            write!(formatter, " (at {})", output::printable(&fault.pointer))?;
        }
        for fault in others {
            let pointer = if fault.pointer.is_empty() {
                "(root)"
            } else {
                &fault.pointer
            };
            write!(
                formatter,
                "\n  {}: {}",
                output::printable(pointer),
                output::printable(&fault.message)
            )?;
        }
        for example in self.compatibility.iter().flat_map(Comparison::examples) {
            write!(formatter, "\n  {}", output::printable(&example))?;
        }
        if let Some(advice) = self.advice() {
            write!(formatter, "\n  {advice}")?;
        }
        if self.status >= 500 && !self.request_id.is_empty() {
            write!(
                formatter,
                "\n  request id {}",
                output::printable(&self.request_id)
            )?;
        }
        Ok(())
    }
}
