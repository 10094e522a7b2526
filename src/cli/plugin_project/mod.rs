//! A plugin's project on disk: made from a template, built into a component, tried with its cases.

mod build;
mod cases;
mod new;

use std::{io, path::PathBuf};

use crate::problem::Problem;

pub use self::{
    build::{Built, build},
    cases::{CaseReport, Report, test_local},
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
    #[error("plugins in {0} are not there yet: rust is")]
    LanguageMissing(&'static str),
    #[error("a Rust plugin's name begins with a letter: cargo takes no other")]
    NameBeginsWithDigit,
    #[error("{path} holds no Cargo.toml: it is no Rust plugin", path = .0.display())]
    NoManifest(PathBuf),
    #[error("{0} is not to be found: install Rust with rustup (https://rustup.rs)")]
    ToolMissing(&'static str),
    #[error("the Rust target {target} is missing: rustup target add {target}", target = build::TARGET)]
    TargetMissing,
    #[error("Cargo.toml of {0} builds no component: add `[lib]` with `crate-type = [\"cdylib\"]`")]
    NoLibrary(String),
    #[error("cargo could not build the plugin")]
    CargoFailed,
    #[error("cargo said what cannot be understood: {0}")]
    CargoUnclear(String),
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
