//! From a plugin's source to its component, for each language.

mod core_module;
mod go;
mod js;
mod kept;
mod python;
mod rust;
mod tools;

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{Language, ProjectError, io_error};
use crate::{
    limits::{self, Limits},
    transform::{self, ComponentFacts},
    validate,
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
    let built = match language(path)? {
        Language::Rust => rust::build(path),
        Language::Js => js::build(path),
        Language::Python => python::build(path),
        Language::Go => go::build(path),
    }?;
    with_config_schema(path, built)
}

/// Puts the project's `config.schema.json` into the component, where there is one.
fn with_config_schema(directory: &Path, built: Built) -> Result<Built, ProjectError> {
    let path = directory.join(transform::CONFIG_SCHEMA);
    if !path.is_file() {
        return Ok(built);
    }
    let schema = fs::read_to_string(&path).map_err(io_error(&path))?;
    let malformed = |fault: String| ProjectError::ManifestMalformed {
        path: path.clone(),
        fault,
    };
    let max = Limits::default()
        .schema_bytes
        .as_usize()
        .min(limits::CONFIG_SCHEMA_BYTES);
    validate::check_schema(&schema, &validate::Texts::default(), max).map_err(|faults| {
        let first = faults
            .first()
            .map(|fault| format!("{}: {}", fault.pointer, fault.message));
        malformed(first.unwrap_or_default())
    })?;
    let mut component = fs::read(&built.path).map_err(io_error(&built.path))?;
    if transform::config_schema(&component)?.is_none() {
        append_section(&mut component, transform::CONFIG_SCHEMA, schema.as_bytes());
    }
    keep(built.name, built.path, &component)
}

/// Adds a custom section at the end of a component.
fn append_section(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    const CUSTOM: u8 = 0;
    let mut content = Vec::with_capacity(name.len() + data.len() + 5);
    write_length(&mut content, name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(data);
    component.push(CUSTOM);
    write_length(component, content.len());
    component.extend_from_slice(&content);
}

/// Unsigned LEB128, as WebAssembly writes lengths.
fn write_length(bytes: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        bytes.push(if length == 0 { low } else { low | 0x80 });
        if length == 0 {
            return;
        }
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

/// Notes what the component was written with, and keeps it at `path`.
fn finish(
    name: String,
    path: PathBuf,
    component: &[u8],
    written_with: &WrittenWith,
) -> Result<Built, ProjectError> {
    keep(name, path, &written_with.note_in(component)?)
}

/// Looks at a component as the gateway would, and keeps it at `path`.
fn keep(name: String, path: PathBuf, component: &[u8]) -> Result<Built, ProjectError> {
    let facts = transform::examine(component, Limits::default().component_bytes)?;
    write_whole(&path, component)?;
    Ok(Built { name, path, facts })
}

/// What goes into a component's `producers` section, where other tools look for it too:
/// <https://github.com/WebAssembly/tool-conventions/blob/main/ProducersSection.md>
struct WrittenWith {
    language: &'static str,
    sdk: &'static str,
    /// Absent where the SDK's sources do not say.
    sdk_version: Option<String>,
}

impl WrittenWith {
    fn note_in(&self, component: &[u8]) -> Result<Vec<u8>, ProjectError> {
        let mut producers = wasm_metadata::Producers::empty();
        producers.add("language", self.language, "");
        if let Some(version) = &self.sdk_version {
            producers.add("sdk", self.sdk, version);
        }
        producers
            .add_to_wasm(component)
            .map_err(|error| ProjectError::NoComponent(format!("{error:#}")))
    }
}

/// The version that a line of a source says: `__version__ = "0.1.0"`.
fn version_in(source: &str, before: &str) -> Option<String> {
    let rest = source.lines().find_map(|line| line.trim().strip_prefix(before))?;
    let version = rest.trim_start().strip_prefix('"')?.split('"').next()?;
    Some(version.to_owned())
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
    // Of its own name: others may build the same at the same time.
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .and_then(|mut part| {
            part.write_all(component)?;
            part.persist(path).map_err(|error| error.error)
        });
    written.map(drop).map_err(io_error(path))
}
