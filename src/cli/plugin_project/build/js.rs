use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use super::{
    Built, WrittenWith, component_path, finish,
    kept::{Inputs, build_once},
    tools::{Tool, absolute, output, run},
};
use crate::cli::plugin_project::{ProjectError, io_error, sdk};

const NODE: Tool = Tool {
    name: "node",
    install: "install Node.js 20 or later (https://nodejs.org; on Debian: apt-get install nodejs npm)",
};
/// Of build.mjs: a package that it needs is not there.
const NOT_INSTALLED: i32 = 3;
const SDK: &str = "headworks-plugin";
const ENTRIES: [&str; 4] = ["src/plugin.ts", "src/plugin.js", "plugin.ts", "plugin.js"];

#[derive(Deserialize)]
struct Package {
    name: String,
    version: Option<String>,
    main: Option<PathBuf>,
    #[serde(default)]
    dependencies: serde_json::Map<String, serde_json::Value>,
}

pub(super) fn build(directory: &Path) -> Result<Built, ProjectError> {
    let directory = &absolute(directory)?;
    let package = Package::read(directory)?;
    let entry = package.entry(directory)?;
    let sdk_folder = package.sdk(directory)?;
    let version = run(
        Command::new("node").arg("--version").stderr(Stdio::inherit()),
        NODE,
    )?;
    let mut inputs = Inputs::new("js", &String::from_utf8_lossy(&version));
    inputs.add(entry.to_string_lossy().as_bytes());
    inputs.add_folder(directory)?;
    inputs.add_folder(&sdk_folder)?;
    let component = build_once(inputs, || package.componentize(directory, &entry, &sdk_folder))?;
    let path = component_path(directory, package.short_name());
    let written_with = WrittenWith {
        language: "JavaScript",
        sdk: SDK,
        sdk_version: Package::read(&sdk_folder)?.version,
    };
    finish(package.short_name().to_owned(), path, &component, &written_with)
}

impl Package {
    fn read(directory: &Path) -> Result<Package, ProjectError> {
        let path = directory.join("package.json");
        let text = fs::read(&path).map_err(io_error(&path))?;
        serde_json::from_slice(&text).map_err(|error| ProjectError::ManifestMalformed {
            path,
            fault: error.to_string(),
        })
    }

    /// `@acme/orders` → `orders`.
    fn short_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    fn entry(&self, directory: &Path) -> Result<PathBuf, ProjectError> {
        let named = self.main.iter().map(PathBuf::as_path);
        named
            .chain(ENTRIES.iter().map(Path::new))
            .map(|path| directory.join(path))
            .find(|path| path.is_file())
            .ok_or_else(|| ProjectError::NoEntry {
                path: directory.to_owned(),
                wanted: "src/plugin.ts or src/plugin.js, or the file that `main` of package.json names",
            })
    }

    /// Where the project's SDK lies: the folder that package.json names, or what npm installed.
    fn sdk(&self, directory: &Path) -> Result<PathBuf, ProjectError> {
        let wanted = self.dependencies.get(SDK).and_then(serde_json::Value::as_str);
        let Some(wanted) = wanted else {
            return Err(ProjectError::NoSdk {
                manifest: "package.json",
                advice: "put it into `dependencies`, as `headworks plugin new --language js` does",
            });
        };
        let folder = match wanted.strip_prefix("file:") {
            Some(path) => directory.join(path),
            None => directory.join("node_modules").join(SDK),
        };
        if folder.join("build.mjs").is_file() {
            fs::canonicalize(&folder).map_err(io_error(&folder))
        } else {
            Err(not_installed(directory))
        }
    }

    fn componentize(
        &self,
        directory: &Path,
        entry: &Path,
        sdk_folder: &Path,
    ) -> Result<Vec<u8>, ProjectError> {
        let work = tempfile::tempdir().map_err(io_error(&std::env::temp_dir()))?;
        let contract = work.path().join("plugin.wit");
        fs::write(&contract, sdk::CONTRACT_0_2).map_err(io_error(&contract))?;
        let component = work.path().join("plugin.wasm");
        let built = output(
            Command::new("node")
                .arg(sdk_folder.join("build.mjs"))
                .args([entry, &contract, &component])
                .current_dir(directory)
                .stderr(Stdio::inherit()),
            NODE,
        )?;
        match built.status.code() {
            Some(0) => fs::read(&component).map_err(io_error(&component)),
            Some(NOT_INSTALLED) => Err(not_installed(directory)),
            _ => Err(ProjectError::BuildFailed("node")),
        }
    }
}

fn not_installed(directory: &Path) -> ProjectError {
    ProjectError::ToolMissing {
        tool: "what package.json names",
        install: format!("run `npm install --prefix {}`", directory.display()),
    }
}
