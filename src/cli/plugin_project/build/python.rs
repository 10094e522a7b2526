use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    Built, WrittenWith, component_path, finish,
    kept::{Inputs, build_once},
    tools::{Tool, absolute, output},
    version_in,
};
use crate::cli::plugin_project::{ProjectError, io_error, sdk};

/// The only version whose components the SDK was tried with.
pub(in crate::cli::plugin_project) const COMPONENTIZE_PY: &str = "0.25.1";
const TOOL: &str = "componentize-py";
/// What joins SDK and plugin: componentize-py's app.
const APP: &str = "headworks_app";
const SDK: &str = "headworks_plugin";

pub(super) fn build(directory: &Path) -> Result<Built, ProjectError> {
    let directory = &absolute(directory)?;
    let name = project_name(directory)?;
    if !directory.join("plugin.py").is_file() {
        return Err(ProjectError::NoEntry {
            path: directory.to_owned(),
            wanted: "plugin.py",
        });
    }
    let tool = find_tool(directory)?;
    let sdk_folder = sdk_folder(directory);
    let mut inputs = Inputs::new("python", COMPONENTIZE_PY);
    inputs.add_folder(directory)?;
    match &sdk_folder {
        Some(folder) => inputs.add_folder(&folder.join(SDK))?,
        None => sdk::PYTHON
            .iter()
            .for_each(|(_, text)| inputs.add(text.as_bytes())),
    }
    let component = build_once(inputs, || componentize(&tool, directory, sdk_folder.as_deref()))?;
    let written_with = WrittenWith {
        language: "Python",
        sdk: "headworks-plugin",
        sdk_version: sdk_version(sdk_folder.as_deref())?,
    };
    finish(
        name.clone(),
        component_path(directory, &name),
        &component,
        &written_with,
    )
}

fn project_name(directory: &Path) -> Result<String, ProjectError> {
    let path = directory.join("pyproject.toml");
    let malformed = |fault: String| ProjectError::ManifestMalformed {
        path: path.clone(),
        fault,
    };
    let text = fs::read_to_string(&path).map_err(io_error(&path))?;
    let manifest: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| malformed(error.to_string()))?;
    let name = manifest.get("project").and_then(|project| project.get("name"));
    name.and_then(toml::Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| malformed("[project] has no name".to_owned()))
}

/// The project's own virtual environment, the active one, or the path.
fn find_tool(directory: &Path) -> Result<PathBuf, ProjectError> {
    let active = env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let tool = [Some(directory.join(".venv")), active]
        .into_iter()
        .flatten()
        .map(|environment| environment.join("bin").join(TOOL))
        .find(|path| path.is_file())
        .unwrap_or_else(|| TOOL.into());
    let install = format!(
        "python3 -m venv {venv} && {venv}/bin/pip install {TOOL}=={COMPONENTIZE_PY}",
        venv = directory.join(".venv").display()
    );
    let missing = || ProjectError::ToolMissing {
        tool: TOOL,
        install: format!("run `{install}`"),
    };
    let version = Command::new(&tool)
        .arg("--version")
        .stderr(Stdio::null())
        .output()
        .map_err(|_| missing())?;
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version.trim().rsplit(' ').next().unwrap_or_default();
    if version == COMPONENTIZE_PY {
        Ok(tool)
    } else {
        Err(ProjectError::ToolVersion {
            tool: TOOL,
            found: version.to_owned(),
            wanted: COMPONENTIZE_PY,
            install,
        })
    }
}

/// The SDK in the project, or of the gateway's repository around it; where there is none, the one in this binary is
/// used.
fn sdk_folder(directory: &Path) -> Option<PathBuf> {
    if directory.join(SDK).is_dir() {
        return Some(directory.to_owned());
    }
    directory
        .ancestors()
        .map(|ancestor| ancestor.join("sdk/python"))
        .find(|folder| folder.join(SDK).is_dir())
}

fn sdk_version(folder: Option<&Path>) -> Result<Option<String>, ProjectError> {
    const BEFORE: &str = "__version__ =";
    match folder.map(|folder| folder.join(SDK).join("__init__.py")) {
        Some(path) => Ok(version_in(
            &fs::read_to_string(&path).map_err(io_error(&path))?,
            BEFORE,
        )),
        None => Ok(sdk::PYTHON
            .iter()
            .filter(|(path, _)| path.ends_with("__init__.py"))
            .find_map(|(_, text)| version_in(text, BEFORE))),
    }
}

fn componentize(tool: &Path, directory: &Path, sdk_folder: Option<&Path>) -> Result<Vec<u8>, ProjectError> {
    let work = tempfile::tempdir().map_err(io_error(&env::temp_dir()))?;
    let write = |name: &str, text: &str| {
        let path = work.path().join(name);
        fs::write(&path, text).map_err(io_error(&path)).map(|()| path)
    };
    let contract = write("plugin.wit", sdk::CONTRACT_0_2)?;
    write(
        &format!("{APP}.py"),
        &format!("from {SDK}._run import WitWorld\n"),
    )?;
    if sdk_folder.is_none() {
        sdk::write(&sdk::PYTHON, work.path())?;
    }
    let component = work.path().join("plugin.wasm");
    let mut command = Command::new(tool);
    command
        .args(["-d".as_ref(), contract.as_os_str()])
        .args(["-w", "plugin", "componentize", "--stub-wasi", APP])
        .args(["-p".as_ref(), directory.as_os_str()])
        .args(["-p".as_ref(), work.path().as_os_str()])
        .args(["-o".as_ref(), component.as_os_str()]);
    // Packages that the plugin brings along.
    let paths = [
        sdk_folder.map(Path::to_owned),
        Some(directory.join("vendor")).filter(|path| path.is_dir()),
    ];
    for path in paths.into_iter().flatten().filter(|path| path != directory) {
        command.args(["-p".as_ref(), path.as_os_str()]);
    }
    let built = output(
        command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()),
        Tool {
            name: TOOL,
            install: "",
        },
    )?;
    if built.status.success() {
        return fs::read(&component).map_err(io_error(&component));
    }
    // What went before is the tool's own stack.
    let said = String::from_utf8_lossy(&built.stderr);
    let own = said.split("AssertionError: ").last().unwrap_or(&said);
    let own = own.split("\n\nCaused by:").next().unwrap_or(own);
    eprintln!("{}", own.trim().replace("\"/0/", "\"").replace("\"/1/", "\""));
    Err(ProjectError::BuildFailed(TOOL))
}
