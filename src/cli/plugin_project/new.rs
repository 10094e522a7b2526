use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use super::{Language, ProjectError, io_error};
use crate::event::PluginName;

/// What `plugin new --language rust` writes, by path.
const RUST: [(&str, &str); 7] = [
    (
        "Cargo.toml",
        include_str!("../templates/rust/Cargo.toml.template"),
    ),
    (
        "src/lib.rs",
        include_str!("../templates/rust/src/lib.rs.template"),
    ),
    ("README.md", include_str!("../templates/rust/README.md.template")),
    (".gitignore", include_str!("../templates/rust/gitignore.template")),
    (
        "cases/config.json",
        include_str!("../templates/rust/cases/config.json"),
    ),
    (
        "cases/example/event.json",
        include_str!("../templates/rust/cases/example/event.json"),
    ),
    (
        "cases/example/records.json",
        include_str!("../templates/rust/cases/example/records.json"),
    ),
];
const RUST_WORKSPACE: &str = include_str!("../templates/rust/workspace.template");
/// The published SDK that goes with this gateway.
const SDK_VERSION: &str = "\"0.1\"";

/// Makes a new plugin's project in `directory`, which must not be there or be empty. Gives the files it wrote.
pub fn new(language: Language, name: &PluginName, directory: &Path) -> Result<Vec<PathBuf>, ProjectError> {
    match language {
        Language::Rust => new_rust(name, directory),
        Language::Js => Err(ProjectError::LanguageMissing("JavaScript")),
        Language::Python => Err(ProjectError::LanguageMissing("Python")),
        Language::Go => Err(ProjectError::LanguageMissing("Go")),
    }
}

fn new_rust(name: &PluginName, directory: &Path) -> Result<Vec<PathBuf>, ProjectError> {
    let name = name.as_str();
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(ProjectError::NameBeginsWithDigit);
    }
    fs::create_dir_all(directory).map_err(io_error(directory))?;
    if fs::read_dir(directory)
        .map_err(io_error(directory))?
        .next()
        .is_some()
    {
        return Err(ProjectError::NotEmpty(directory.to_owned()));
    }
    let directory = fs::canonicalize(directory).map_err(io_error(directory))?;
    let sdk = sdk_dependency(&directory);
    let fill = |template: &str| {
        template
            .replace("{{name}}", name)
            .replace("{{type}}", &type_name(name))
            .replace("{{sdk}}", &sdk)
    };
    let mut written = Vec::new();
    for (path, template) in RUST {
        let mut text = fill(template);
        if path == "Cargo.toml" && !is_member_by_itself(&directory) {
            text.push_str(RUST_WORKSPACE);
        }
        let path = directory.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io_error(folder))?;
        }
        fs::write(&path, text).map_err(io_error(&path))?;
        written.push(path);
    }
    Ok(written)
}

/// `call-event` → `CallEvent`.
fn type_name(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
            first.to_ascii_uppercase() + rest
        })
        .collect()
}

/// Inside the gateway's own repository its SDK, else the published one.
fn sdk_dependency(directory: &Path) -> String {
    directory
        .ancestors()
        .find(|ancestor| is_sdk(&ancestor.join("sdk/rust")))
        .map_or_else(
            || SDK_VERSION.to_owned(),
            |root| {
                let path = relative(directory, root).join("sdk/rust");
                format!("{{ path = {:?} }}", path.display().to_string())
            },
        )
}

fn is_sdk(folder: &Path) -> bool {
    read_manifest(folder).is_some_and(|manifest| {
        let name = manifest.get("package").and_then(|package| package.get("name"));
        name.and_then(toml::Value::as_str) == Some("headworks-plugin")
    })
}

/// The folder around is a workspace that takes every folder for a member, as the gateway's `plugins/` does.
fn is_member_by_itself(directory: &Path) -> bool {
    let workspace = directory.parent().and_then(read_manifest);
    workspace
        .as_ref()
        .and_then(|manifest| manifest.get("workspace")?.get("members")?.as_array())
        .is_some_and(|members| members.iter().any(|member| member.as_str() == Some("*")))
}

fn read_manifest(folder: &Path) -> Option<toml::Table> {
    fs::read_to_string(folder.join("Cargo.toml")).ok()?.parse().ok()
}

/// The way from a folder up to one above it.
fn relative(from: &Path, up_to: &Path) -> PathBuf {
    let levels = from.components().count() - up_to.components().count();
    std::iter::repeat_n(Component::ParentDir, levels).collect()
}
