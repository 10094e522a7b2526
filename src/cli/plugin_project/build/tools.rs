use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::cli::plugin_project::ProjectError;

/// A program that a build needs, and how to come by it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) install: &'static str,
}

impl Tool {
    pub(super) fn missing(self) -> ProjectError {
        ProjectError::ToolMissing {
            tool: self.name,
            install: self.install.to_owned(),
        }
    }
}

/// The standard output of a command that succeeded; what it writes to standard error is its own affair.
pub(super) fn run(command: &mut Command, tool: Tool) -> Result<Vec<u8>, ProjectError> {
    let output = output(command, tool)?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(ProjectError::BuildFailed(tool.name))
    }
}

pub(super) fn output(command: &mut Command, tool: Tool) -> Result<std::process::Output, ProjectError> {
    command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => tool.missing(),
        _ => ProjectError::Io {
            path: command.get_program().into(),
            source: error,
        },
    })
}

/// A path as an argument, whatever the command's working directory.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, ProjectError> {
    std::path::absolute(path).map_err(|source| ProjectError::Io {
        path: path.to_owned(),
        source,
    })
}
