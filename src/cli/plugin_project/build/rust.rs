use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use super::{
    Built, WrittenWith, core_module, finish,
    tools::{Tool, run},
};
use crate::cli::plugin_project::{ProjectError, io_error};

/// Has no WASI: what is built for it cannot import what no plugin may.
pub(in crate::cli::plugin_project) const TARGET: &str = "wasm32-unknown-unknown";
const SDK: &str = "headworks-plugin";
const CARGO: Tool = Tool {
    name: "cargo",
    install: "install Rust with rustup (https://rustup.rs)",
};
const RUSTC: Tool = Tool {
    name: "rustc",
    install: CARGO.install,
};

/// Builds the Rust plugin in `directory` and makes a component of it. Cargo's own words go to standard error.
pub(super) fn build(directory: &Path) -> Result<Built, ProjectError> {
    let manifest = directory.join("Cargo.toml");
    let manifest = fs::canonicalize(&manifest).map_err(io_error(&manifest))?;
    let package = Package::read(&manifest)?;
    check_target(directory)?;
    let compiled = package.compile(&manifest)?;
    let module = fs::read(&compiled.module).map_err(io_error(&compiled.module))?;
    let component = core_module::encode(&module, false)?;
    let path = package.target_directory.join(format!("{}.wasm", package.name));
    let written_with = WrittenWith {
        language: "Rust",
        sdk: SDK,
        sdk_version: compiled.sdk_version,
    };
    finish(package.name, path, &component, &written_with)
}

struct Package {
    name: String,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<MetadataTarget>,
}

#[derive(Deserialize)]
struct MetadataTarget {
    crate_types: Vec<String>,
}

/// One line of `cargo build --message-format=json`.
#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    manifest_path: Option<PathBuf>,
    filenames: Option<Vec<PathBuf>>,
}

struct Compiled {
    /// The path of the core module.
    module: PathBuf,
    sdk_version: Option<String>,
}

impl Package {
    fn read(manifest: &Path) -> Result<Package, ProjectError> {
        let output = run(
            Command::new("cargo")
                .args([
                    "metadata",
                    "--no-deps",
                    "--format-version",
                    "1",
                    "--manifest-path",
                ])
                .arg(manifest)
                .stderr(Stdio::inherit()),
            CARGO,
        )?;
        let metadata: Metadata =
            serde_json::from_slice(&output).map_err(|error| ProjectError::CargoUnclear(error.to_string()))?;
        let package = metadata
            .packages
            .into_iter()
            .find(|package| package.manifest_path == manifest)
            .ok_or_else(|| ProjectError::CargoUnclear("it does not know the package".to_owned()))?;
        let is_cdylib = |target: &MetadataTarget| target.crate_types.iter().any(|kind| kind == "cdylib");
        if !package.targets.iter().any(is_cdylib) {
            return Err(ProjectError::NoLibrary(package.name));
        }
        Ok(Package {
            name: package.name,
            target_directory: metadata.target_directory,
        })
    }

    fn compile(&self, manifest: &Path) -> Result<Compiled, ProjectError> {
        let output = run(
            Command::new("cargo")
                .args(["build", "--release", "--lib", "--target", TARGET, "--config"])
                .arg(remapped_paths(&self.target_directory))
                .args(["--message-format", "json-render-diagnostics", "--manifest-path"])
                .arg(manifest)
                .stderr(Stdio::inherit()),
            CARGO,
        )?;
        let made: Vec<Message> = output
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice::<Message>(line).ok())
            .filter(|message| message.reason == "compiler-artifact")
            .collect();
        let sdk_version = made
            .iter()
            .find_map(|message| sdk_version(message.package_id.as_deref()?))
            .map(str::to_owned);
        let module = made
            .into_iter()
            .filter(|message| message.manifest_path.as_deref() == Some(manifest))
            .flat_map(|message| message.filenames.unwrap_or_default())
            .find(|path| path.extension().is_some_and(|extension| extension == "wasm"))
            .ok_or_else(|| ProjectError::CargoUnclear("it names no .wasm file".to_owned()))?;
        Ok(Compiled { module, sdk_version })
    }
}

/// Of a package id such as `path+file:///sdk/rust#headworks-plugin@0.1.0`, or `…/headworks-plugin#0.1.0` where the folder
/// bears the name.
fn sdk_version(package_id: &str) -> Option<&str> {
    let (place, version) = package_id.rsplit_once('#')?;
    match version.rsplit_once('@') {
        Some((name, version)) => (name == SDK).then_some(version),
        None => (place.rsplit('/').next() == Some(SDK)).then_some(version),
    }
}

/// Texts of panics name source files: without the folders of the author's machine, and the same on every machine.
fn remapped_paths(target_directory: &Path) -> String {
    let cargo = std::env::home_dir().map(|home| home.join(".cargo"));
    let project = target_directory.parent().map(Path::to_owned);
    let around = project.as_deref().and_then(Path::parent).map(Path::to_owned);
    // The last that fits counts.
    let flags = [(around, ".."), (project, "."), (cargo, "cargo")]
        .into_iter()
        .filter_map(|(folder, name)| Some((folder.filter(|folder| folder.parent().is_some())?, name)))
        .map(|(folder, name)| format!("{:?}", format!("--remap-path-prefix={}={name}", folder.display())));
    let flags: Vec<String> = flags.collect();
    format!("target.{TARGET}.rustflags=[{}]", flags.join(","))
}

fn check_target(directory: &Path) -> Result<(), ProjectError> {
    let output = run(
        Command::new("rustc")
            .args(["--print", "target-libdir", "--target", TARGET])
            .current_dir(directory),
        RUSTC,
    )?;
    if Path::new(String::from_utf8_lossy(&output).trim()).is_dir() {
        Ok(())
    } else {
        Err(ProjectError::TargetMissing)
    }
}
