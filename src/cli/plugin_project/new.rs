use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use super::{
    Language, ProjectError, io_error,
    sdk::{self, SdkFile},
};
use crate::event::PluginName;

macro_rules! templates {
    ($language:literal: $($path:literal <- $template:literal)*) => {
        &[
            $(($path, include_str!(concat!("../templates/", $language, "/", $template)))),*,
            ("cases/config.json", include_str!("../templates/cases/config.json")),
            ("cases/example/event.json", include_str!("../templates/cases/example/event.json")),
            ("cases/example/records.json", include_str!("../templates/cases/example/records.json")),
        ]
    };
}

/// What `plugin new` writes, by path.
fn templates(language: Language) -> &'static [SdkFile] {
    match language {
        Language::Rust => templates!("rust":
            "Cargo.toml" <- "Cargo.toml.template"
            "src/lib.rs" <- "src/lib.rs.template"
            "README.md" <- "README.md.template"
            ".gitignore" <- "gitignore.template"
        ),
        Language::Js => templates!("js":
            "package.json" <- "package.json.template"
            "package-lock.json" <- "package-lock.json.template"
            "tsconfig.json" <- "tsconfig.json.template"
            "src/plugin.ts" <- "src/plugin.ts.template"
            "README.md" <- "README.md.template"
            ".gitignore" <- "gitignore.template"
            ".npmrc" <- "npmrc.template"
        ),
        Language::Python => templates!("python":
            "pyproject.toml" <- "pyproject.toml.template"
            "requirements.txt" <- "requirements.txt.template"
            "plugin.py" <- "plugin.py.template"
            "README.md" <- "README.md.template"
            ".gitignore" <- "gitignore.template"
        ),
        Language::Go => templates!("go":
            "go.mod" <- "go.mod.template"
            "plugin.go" <- "plugin.go.template"
            "README.md" <- "README.md.template"
            ".gitignore" <- "gitignore.template"
        ),
    }
}

const RUST_WORKSPACE: &str = include_str!("../templates/rust/workspace.template");

/// Makes a new plugin's project in `directory`, which must not be there or be empty. Gives the files it wrote.
///
/// Outside of the gateway's repository the project holds its own copy of the SDK.
pub fn new(language: Language, name: &PluginName, directory: &Path) -> Result<Vec<PathBuf>, ProjectError> {
    let name = name.as_str();
    check_name(language, name)?;
    fs::create_dir_all(directory).map_err(io_error(directory))?;
    if fs::read_dir(directory)
        .map_err(io_error(directory))?
        .next()
        .is_some()
    {
        return Err(ProjectError::NotEmpty(directory.to_owned()));
    }
    let directory = fs::canonicalize(directory).map_err(io_error(directory))?;
    let kit = Kit::of(language);
    let (sdk_path, mut written) = kit.place(&directory)?;
    let type_name = type_name(name);
    let fill = |template: &str| {
        template
            .replace("{{name}}", name)
            .replace("{{type}}", &type_name)
            .replace("{{type_private}}", &lower_first(&type_name))
            .replace("{{sdk}}", &sdk_path)
            .replace("{{sdk_folder}}", sdk_path.trim_start_matches("./"))
    };
    for (path, template) in templates(language) {
        let mut text = fill(template);
        if *path == "Cargo.toml" && !is_member_by_itself(&directory) {
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

fn check_name(language: Language, name: &str) -> Result<(), ProjectError> {
    let starts_with_digit = name.starts_with(|first: char| first.is_ascii_digit());
    match language {
        Language::Rust if starts_with_digit => Err(ProjectError::NameBeginsWithDigit {
            language: "Rust plugin",
            tool: "cargo",
        }),
        Language::Python | Language::Go if starts_with_digit => Err(ProjectError::NameBeginsWithDigit {
            language: "plugin's type, made of the name,",
            tool: "the language",
        }),
        _ => Ok(()),
    }
}

/// A language's SDK: where it lies in the gateway's repository, and what a project's own copy is called.
struct Kit {
    language: Language,
    in_repository: &'static str,
    copy: &'static str,
    files: &'static [SdkFile],
}

impl Kit {
    fn of(language: Language) -> Kit {
        let (in_repository, copy, files): (_, _, &'static [SdkFile]) = match language {
            Language::Rust => ("sdk/rust", "headworks-plugin", &sdk::RUST),
            Language::Js => ("sdk/js", "headworks-plugin", &sdk::JS),
            // Python finds a package in the folder of the program by itself, and so do editors.
            Language::Python => ("sdk/python", ".", &sdk::PYTHON),
            Language::Go => ("sdk/go", "headworks", &sdk::GO),
        };
        Kit {
            language,
            in_repository,
            copy,
            files,
        }
    }

    /// The SDK's path as the project names it, and the files of the copy where one was made.
    fn place(&self, directory: &Path) -> Result<(String, Vec<PathBuf>), ProjectError> {
        let repository = directory.ancestors().find(|ancestor| is_repository(ancestor));
        if let Some(repository) = repository {
            let path = relative(directory, repository).join(self.in_repository);
            return Ok((path.display().to_string(), Vec::new()));
        }
        let written = sdk::write(self.files, &directory.join(self.copy))?;
        if self.language == Language::Rust {
            let manifest = directory.join(self.copy).join("Cargo.toml");
            let text = fs::read_to_string(&manifest).map_err(io_error(&manifest))?;
            fs::write(&manifest, sdk::alone(&text)).map_err(io_error(&manifest))?;
        }
        // Go takes a path for one only where it begins so.
        Ok((format!("./{}", self.copy), written))
    }
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

/// `CallEvent` → `callEvent`.
fn lower_first(name: &str) -> String {
    let (first, rest) = name.split_at_checked(1).unwrap_or((name, ""));
    first.to_ascii_lowercase() + rest
}

fn is_repository(folder: &Path) -> bool {
    read_manifest(&folder.join("sdk/rust")).is_some_and(|manifest| {
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
