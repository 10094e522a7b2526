//! Components that were built before of the same inputs. What was tested is what is pushed: two builds of the same
//! source may differ in bytes, and a plugin is its bytes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};

use super::write_whole;
use crate::{
    cli::plugin_project::{ProjectError, io_error, sdk},
    limits,
};

/// Folders of a project that are no source.
const NO_SOURCE: [&str; 5] = ["build", "cases", "node_modules", "target", "__pycache__"];

/// Where this user's builds and compiled forms are kept.
fn cache_folder() -> Option<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("HEADWORKS_CACHE_DIR")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|path| path.join("headworks")))
        .or_else(|| absolute("HOME").map(|path| path.join(".cache/headworks")))
}

/// Where compiled forms of this user's components are kept.
pub fn kept_compiled() -> Option<PathBuf> {
    let folder = cache_folder()?.join("compiled");
    prune(&folder);
    Some(folder)
}

/// All that decides what a build makes.
pub(super) struct Inputs(Sha256);

impl Inputs {
    pub(super) fn new(language: &str, tools: &str) -> Inputs {
        let mut inputs = Inputs(Sha256::new());
        for text in [
            env!("CARGO_PKG_VERSION"),
            sdk::CONTRACT_0_1,
            sdk::CONTRACT_0_2,
            language,
            tools,
        ] {
            inputs.add(text.as_bytes());
        }
        inputs
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds every source below `folder`.
    pub(super) fn add_folder(&mut self, folder: &Path) -> Result<(), ProjectError> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(io_error(folder))? {
            entries.push(entry.map_err(io_error(folder))?);
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let path = entry.path();
            let kind = entry.file_type().map_err(io_error(&path))?;
            if name.starts_with('.') {
                continue;
            }
            if kind.is_dir() {
                if !NO_SOURCE.contains(&&*name) {
                    self.add(name.as_bytes());
                    self.add_folder(&path)?;
                }
            } else if path.is_file() {
                self.add(name.as_bytes());
                self.add(&fs::read(&path).map_err(io_error(&path))?);
            }
        }
        Ok(())
    }
}

/// The component of these inputs: the kept one, or the one that `make` makes now.
pub(super) fn build_once(
    inputs: Inputs,
    make: impl FnOnce() -> Result<Vec<u8>, ProjectError>,
) -> Result<Vec<u8>, ProjectError> {
    let Some(folder) = cache_folder().map(|cache| cache.join("components")) else {
        return make();
    };
    let path = folder.join(format!("{}.wasm", hex::encode(inputs.0.finalize())));
    if let Ok(kept) = fs::read(&path) {
        // As new for `prune`; a file that cannot be touched is as good.
        let _ = fs::File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        return Ok(kept);
    }
    let made = make()?;
    // A cache that cannot be written costs time, and nothing else.
    if write_whole(&path, &made).is_ok() {
        prune(&folder);
    }
    Ok(made)
}

/// Forgets what was used longest ago.
fn prune(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let modified = entry.metadata().ok()?.modified().ok()?;
            Some((modified, entry.path()))
        })
        .collect();
    files.sort();
    let superfluous = files.len().saturating_sub(limits::KEPT_BUILDS);
    for (_, path) in files.into_iter().take(superfluous) {
        let _ = fs::remove_file(path);
    }
}
