//! From a plugin's source to its component, for each language.

mod core_module;
mod go;
mod js;
mod kept;
mod python;
mod rust;
mod tools;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Language, ProjectError, io_error};
use crate::{
    limits::Limits,
    transform::{self, ComponentFacts},
};

pub use self::kept::kept_compiled;
pub(super) use self::rust::TARGET as RUST_TARGET;

/// A component that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The project's name for itself.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    pub facts: ComponentFacts,
}

/// Builds the plugin in the folder `path` and makes a component of it; the tools' own words go to standard error. A
/// file is a core module, as a compiler makes it of C, and becomes a component beside it.
pub fn build(path: &Path) -> Result<Built, ProjectError> {
    if path.is_file() {
        return core_module::build(path);
    }
    match language(path)? {
        Language::Rust => rust::build(path),
        Language::Js => js::build(path),
        Language::Python => python::build(path),
        Language::Go => go::build(path),
    }
}

/// The files that tell the language, each with whether it is there.
fn language(directory: &Path) -> Result<Language, ProjectError> {
    if !directory.is_dir() {
        return Err(ProjectError::Io {
            path: directory.to_owned(),
            source: io::ErrorKind::NotFound.into(),
        });
    }
    let marks = [
        ("Cargo.toml", Language::Rust),
        ("go.mod", Language::Go),
        ("package.json", Language::Js),
        ("pyproject.toml", Language::Python),
    ];
    let mut found = marks.iter().filter(|(mark, _)| directory.join(mark).is_file());
    match (found.next(), found.next()) {
        (Some((_, language)), None) => Ok(*language),
        (Some((one, _)), Some((other, _))) => Err(ProjectError::LanguagesMixed {
            path: directory.to_owned(),
            one,
            other,
        }),
        (None, _) => Err(ProjectError::NoProject(directory.to_owned())),
    }
}

/// Looks at what was built as the gateway would, and keeps it at `path`.
fn finish(name: String, path: PathBuf, component: &[u8]) -> Result<Built, ProjectError> {
    let facts = transform::examine(component, Limits::default().component_bytes)?;
    write_whole(&path, component)?;
    Ok(Built { name, path, facts })
}

/// Where the component of a project goes whose language has no such place of its own.
fn component_path(directory: &Path, name: &str) -> PathBuf {
    directory.join("build").join(format!("{name}.wasm"))
}

/// A reader of the file sees the old component or the new one.
fn write_whole(path: &Path, component: &[u8]) -> Result<(), ProjectError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io_error(folder))?;
    }
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let written = fs::write(&part, component).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // What is half written is of no use; the first error is the one to tell.
        let _ = fs::remove_file(&part);
    }
    written.map_err(io_error(path))
}
