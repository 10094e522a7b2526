//! A plugin's project on disk: made from a template, built into a component, tried with its cases.

mod build;
mod cases;
mod dev;
mod new;
mod sdk;

use std::{io, path::PathBuf};

use crate::problem::Problem;

pub use self::{
    build::{Built, build, kept_compiled},
    cases::{CaseFile, CaseReport, Report, case_files, lines_changed, run_cases, test_local},
    dev::{Round, dev},
    new::new,
};

/// The languages that `plugin new` knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    Rust,
    Js,
    Python,
    Go,
}

/// Why a project could not be made, built or tried; for who works on the plugin.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error("{path}: {source}", path = .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is not empty: choose another folder", path = .0.display())]
    NotEmpty(PathBuf),
    #[error("a {language}'s name begins with a letter: {tool} takes no other")]
    NameBeginsWithDigit {
        language: &'static str,
        tool: &'static str,
    },
    #[error(
        "{path} is no plugin's folder: it holds neither Cargo.toml (Rust) nor package.json (JavaScript), \
         pyproject.toml (Python) or go.mod (Go). Make one with `headworks plugin new --language rust|js|python|go NAME`",
        path = .0.display()
    )]
    NoProject(PathBuf),
    #[error("{path} holds both {one} and {other}: a plugin's folder is of one language", path = .path.display())]
    LanguagesMixed {
        path: PathBuf,
        one: &'static str,
        other: &'static str,
    },
    #[error("{path}: {fault}", path = .path.display())]
    ManifestMalformed { path: PathBuf, fault: String },
    #[error("{path} holds no {wanted}", path = .path.display())]
    NoEntry { path: PathBuf, wanted: &'static str },
    #[error("{manifest} does not name headworks-plugin: {advice}")]
    NoSdk {
        manifest: &'static str,
        advice: &'static str,
    },
    #[error("{tool} is not installed: {install}")]
    ToolMissing { tool: &'static str, install: String },
    #[error("{tool} is of version {found}, and {wanted} is needed: {install}")]
    ToolVersion {
        tool: &'static str,
        found: String,
        wanted: &'static str,
        install: String,
    },
    #[error("the Rust target {target} is missing: rustup target add {target}", target = build::RUST_TARGET)]
    TargetMissing,
    #[error("Cargo.toml of {0} builds no component: add `[lib]` with `crate-type = [\"cdylib\"]`")]
    NoLibrary(String),
    #[error("{0} could not build the plugin: what it said stands above")]
    BuildFailed(&'static str),
    #[error("cargo said what cannot be understood: {0}")]
    CargoUnclear(String),
    #[error("{path} is no WebAssembly", path = .0.display())]
    NoCoreModule(PathBuf),
    #[error("the folder cannot be watched: {0}")]
    Watch(String),
    #[error("the build is no plugin: {0}")]
    NoComponent(String),
    #[error(transparent)]
    Refused(#[from] Problem),
    #[error("{path} holds no case: a folder with event.json and records.json", path = .0.display())]
    NoCase(PathBuf),
    #[error("{path}: {fault}", path = .path.display())]
    CaseMalformed { path: PathBuf, fault: String },
}

fn io_error(path: &std::path::Path) -> impl FnOnce(io::Error) -> ProjectError {
    let path = path.to_owned();
    move |source| ProjectError::Io { path, source }
}
