//! The SDKs that this binary carries: a new project holds its own copy, so that it builds wherever it lies, with what
//! goes with this gateway.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{ProjectError, io_error};

/// A file's path below the SDK's folder, and its text.
pub(super) type SdkFile = (&'static str, &'static str);

/// The contract that the SDKs of JavaScript, Python and Go are written for; Rust's brings its own.
pub(super) const CONTRACT_0_2: &str = include_str!("../../../sdk/wit/0.2.0/plugin.wit");
/// What C's header is written for, and core modules of before.
pub(super) const CONTRACT_0_1: &str = include_str!("../../../sdk/wit/0.1.0/plugin.wit");

/// The contract whose functions a core module imports.
pub(super) fn contract_of(module: &[u8]) -> &'static str {
    let newer = memchr::memmem::find(module, b"headworks:plugin/types@0.2.");
    if newer.is_some() {
        CONTRACT_0_2
    } else {
        CONTRACT_0_1
    }
}
pub(super) const GO_ADAPTER: &str = include_str!("../../../sdk/go/adapter.wat");
/// What Go plugins import the SDK by.
pub(super) const GO_MODULE: &str = "headworks.dev/headworks";

macro_rules! files {
    ($folder:literal: $($path:literal)*) => {
        [$(($path, include_str!(concat!("../../../sdk/", $folder, "/", $path)))),*]
    };
}

pub(super) const RUST: [SdkFile; 17] = files!("rust":
    "Cargo.toml" "README.md" "src/allocator.rs" "src/document.rs" "src/event.rs" "src/flat.rs" "src/host.rs" "src/lib.rs" "src/native.rs"
    "src/plugin.rs" "src/tables.rs" "src/testing.rs" "src/text.rs" "src/value.rs" "src/wasm.rs" "src/document/tests.rs" "wit/plugin.wit");
pub(super) const JS: [SdkFile; 13] = files!("js":
    "README.md" "package.json" "build.mjs" "index.d.ts" "index.js" "lib/document.js" "lib/failures.js" "lib/fields.js"
    "lib/globals.js" "lib/host.js" "lib/run.js" "lib/tables.js" "lib/values.js");
pub(super) const PYTHON: [SdkFile; 8] = files!("python":
    "headworks_plugin/__init__.py" "headworks_plugin/_document.py" "headworks_plugin/_event.py"
    "headworks_plugin/_guard.py" "headworks_plugin/_run.py" "headworks_plugin/host.py" "headworks_plugin/py.typed"
    "headworks_plugin/tables.py");
pub(super) const GO: [SdkFile; 9] = files!("go":
    "README.md" "document.go" "go.mod" "headworks.go" "host.go" "native.go" "tables.go" "value.go" "wasm.go");

/// Writes an SDK into `folder` and gives the files.
pub(super) fn write(files: &[SdkFile], folder: &Path) -> Result<Vec<PathBuf>, ProjectError> {
    let mut written = Vec::with_capacity(files.len());
    for (path, text) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io_error(parent))?;
        }
        fs::write(&path, text).map_err(io_error(&path))?;
        written.push(path);
    }
    Ok(written)
}

/// The manifest of the Rust SDK without the workspace that it inherits from.
pub(super) fn alone(manifest: &str) -> String {
    let inherited = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("edition", "2024"),
        ("rust-version", env!("CARGO_PKG_RUST_VERSION")),
        ("license", env!("CARGO_PKG_LICENSE")),
        ("repository", env!("CARGO_PKG_REPOSITORY")),
    ];
    let line = |line: &str| {
        let value = inherited
            .iter()
            .find(|(key, _)| line == format!("{key}.workspace = true"));
        match value {
            Some((key, value)) => format!("{key} = {value:?}\n"),
            None => format!("{line}\n"),
        }
    };
    manifest.lines().map(line).collect()
}
