use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    Built, WrittenWith, component_path, core_module, finish,
    kept::{Inputs, build_once},
    tools::{Tool, absolute, run},
    version_in,
};
use crate::cli::plugin_project::{ProjectError, io_error, sdk};

const GO: Tool = Tool {
    name: "go",
    install: "install Go 1.24 or later (https://go.dev/doc/install)",
};

/// What `go mod edit -json` says.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Module {
    module: Named,
    require: Option<Vec<Requirement>>,
    replace: Option<Vec<Replacement>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Requirement {
    path: String,
    version: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    path: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Replacement {
    old: Named,
    new: Named,
}

pub(super) fn build(directory: &Path) -> Result<Built, ProjectError> {
    let directory = &absolute(directory)?;
    let module = Module::read(directory)?;
    let name = module
        .module
        .path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let version = run(
        command(directory)
            .args(["env", "GOVERSION"])
            .stderr(Stdio::inherit()),
        GO,
    )?;
    let version = String::from_utf8_lossy(&version);
    if !is_new_enough(version.trim()) {
        return Err(ProjectError::ToolVersion {
            tool: "go",
            found: version.trim().trim_start_matches("go").to_owned(),
            wanted: "1.24 or later",
            install: "see https://go.dev/doc/install".to_owned(),
        });
    }
    let mut inputs = Inputs::new("go", &version);
    inputs.add(sdk::GO_ADAPTER.as_bytes());
    inputs.add_folder(directory)?;
    let sdk_folder = module.sdk(directory);
    if let Some(folder) = &sdk_folder {
        inputs.add_folder(folder)?;
    }
    let component = build_once(inputs, || compile(directory))?;
    let written_with = WrittenWith {
        language: "Go",
        sdk: sdk::GO_MODULE,
        sdk_version: module.sdk_version(sdk_folder.as_deref())?,
    };
    finish(
        name.clone(),
        component_path(directory, &name),
        &component,
        &written_with,
    )
}

impl Module {
    fn read(directory: &Path) -> Result<Module, ProjectError> {
        let output = run(
            command(directory)
                .args(["mod", "edit", "-json"])
                .stderr(Stdio::inherit()),
            GO,
        )?;
        serde_json::from_slice(&output).map_err(|error| ProjectError::ManifestMalformed {
            path: directory.join("go.mod"),
            fault: error.to_string(),
        })
    }

    fn sdk(&self, directory: &Path) -> Option<PathBuf> {
        let replacements = self.replace.as_ref()?;
        let replacement = replacements
            .iter()
            .find(|replacement| replacement.old.path == sdk::GO_MODULE)?;
        Some(directory.join(&replacement.new.path)).filter(|folder| folder.is_dir())
    }

    /// Of the SDK in `folder`, or of the one that go.mod requires.
    fn sdk_version(&self, folder: Option<&Path>) -> Result<Option<String>, ProjectError> {
        if let Some(path) = folder.map(|folder| folder.join("headworks.go")) {
            let source = fs::read_to_string(&path).map_err(io_error(&path))?;
            return Ok(version_in(&source, "const Version ="));
        }
        let mut required = self.require.iter().flatten();
        let required = required.find(|required| required.path == sdk::GO_MODULE);
        Ok(required.map(|required| required.version.trim_start_matches('v').to_owned()))
    }
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(directory).env("GOWORK", "off");
    command
}

/// `go1.26.8`; what cannot be read is let through to say for itself.
fn is_new_enough(version: &str) -> bool {
    let numbers = version.trim_start_matches("go").split('.');
    let mut numbers = numbers.map(|number| number.parse::<u32>());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (1, 24),
        _ => true,
    }
}

fn compile(directory: &Path) -> Result<Vec<u8>, ProjectError> {
    let work = tempfile::tempdir().map_err(io_error(&std::env::temp_dir()))?;
    let module = work.path().join("plugin.wasm");
    run(
        command(directory)
            .args(["build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false"])
            // The names of functions stay: they are what the gateway can tell of a trap.
            .args(["-ldflags=-w", "-o"])
            .arg(&module)
            .arg(".")
            .envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("CGO_ENABLED", "0")])
            .stderr(Stdio::inherit()),
        GO,
    )?;
    let module = fs::read(&module).map_err(io_error(&module))?;
    core_module::encode(&core_module::with_contract(module)?, true)
}
