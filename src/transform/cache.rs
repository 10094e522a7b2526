//! Compiled forms on disk. They are loaded as native code: only the gateway may write them, and each carries a
//! checksum against what a disk does to files.

use std::{
    fs::{self, DirBuilder, Metadata},
    hash::{Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use crate::registry::model::Digest;

const CHECKSUM_BYTES: usize = 32;

pub(super) struct Cache {
    directory: PathBuf,
    /// What a compiled form must agree with: engine version, settings and processor.
    compatibility: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error("the folder of compiled plugins {path} {fault}", path = .0.display(), fault = .1)]
    Untrusted(PathBuf, &'static str),
    #[error(
        "the folder of compiled plugins {path} could be put out of its place: {above}, above it, {fault}",
        path = .path.display(),
        above = .above.display()
    )]
    Movable {
        path: PathBuf,
        above: PathBuf,
        fault: &'static str,
    },
    #[error("the folder of compiled plugins {path}: {source}", path = .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Cache {
    /// Makes the folder, with mode 0700, or refuses one that others may write to, or put another one in the place of.
    pub(super) fn open(directory: &Path, engine: &Engine) -> Result<Cache, CacheError> {
        let io_error = |source| CacheError::Io {
            path: directory.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(io_error)?;
        let metadata = fs::symlink_metadata(directory).map_err(io_error)?;
        let fault = if !metadata.is_dir() {
            Some("is no folder")
        } else if metadata.uid() != rustix::process::geteuid().as_raw() {
            Some("belongs to another user")
        } else if metadata.mode() & 0o022 != 0 {
            Some("may be written by others: take that right from group and world")
        } else {
            None
        };
        if let Some(fault) = fault {
            return Err(CacheError::Untrusted(directory.to_owned(), fault));
        }
        // Without links, so that what is looked at is what is written to from here on.
        let directory = fs::canonicalize(directory).map_err(io_error)?;
        for above in directory.ancestors().skip(1) {
            if let Some(fault) = fault_of_ancestor(&fs::symlink_metadata(above).map_err(io_error)?) {
                return Err(CacheError::Movable {
                    above: above.to_owned(),
                    path: directory,
                    fault,
                });
            }
        }
        Ok(Cache {
            directory,
            compatibility: compatibility(engine),
        })
    }

    /// Whether there is a compiled form, sound or not.
    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// The compiled form of the component with this digest, where there is a sound one.
    pub(super) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(digest);
        let file = fs::read(&path).ok()?;
        let sound = file
            .split_at_checked(CHECKSUM_BYTES)
            .filter(|(checksum, compiled)| Sha256::digest(compiled).as_slice() == *checksum);
        let Some((_, compiled)) = sound else {
            tracing::warn!(path = %path.display(), "a compiled plugin on disk is damaged; it is compiled anew");
            return None;
        };
        match load_compiled(engine, compiled) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled plugin on disk is of no use; it is compiled anew");
                None
            }
        }
    }

    /// Keeps what the compiling child answered. A reader sees all of it or nothing.
    pub(super) fn store(&self, digest: &Digest, compiled: &[u8]) -> Result<(), CacheError> {
        let path = self.path(digest);
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(&Sha256::digest(compiled))?;
            file.write_all(compiled)?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|source| CacheError::Io {
            path: self.directory.clone(),
            source,
        })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory
            .join(format!("{digest}-{}.compiled", self.compatibility))
    }
}

/// In a sticky folder nobody moves what belongs to another.
const STICKY: u32 = 0o1000;

/// Why somebody else could move what lies in this folder.
fn fault_of_ancestor(folder: &Metadata) -> Option<&'static str> {
    const ROOT: u32 = 0;
    let may_be_written_by = |mode| folder.mode() & mode != 0 && folder.mode() & STICKY == 0;
    let is_ours = folder.uid() == rustix::process::geteuid().as_raw();
    if !is_ours && folder.uid() != ROOT && !is_of_outside(folder.uid()) {
        Some("belongs to another user")
    } else if may_be_written_by(0o002) {
        Some("may be written by everybody: take that right, or make it sticky")
    } else if may_be_written_by(0o020) && folder.gid() != rustix::process::getegid().as_raw() {
        // Many systems give each user a group of the same name, and each folder to it.
        Some("may be written by another group: take that right, or make it sticky")
    } else {
        None
    }
}

/// In a user namespace that does not map the host's root, its folders belong to this user.
fn is_of_outside(uid: u32) -> bool {
    const OVERFLOW: u32 = 65534;
    const ALL: [&str; 3] = ["0", "0", "4294967295"];
    let maps_all =
        || fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.split_whitespace().eq(ALL));
    uid == OVERFLOW && !maps_all()
}

/// Loads a compiled form, which is native code: `compiled` must be what the compiling child of this binary answered,
/// read from the child itself or from the cache.
pub(super) fn load_compiled(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` trusts its input, which must be what `precompile_component` of this wasmtime wrote. Both
    // callers give such bytes: what the child answered just now, or what `Cache::store` kept of such an answer in a
    // folder that `Cache::open` refuses where anyone but this user may write to it or put another in its place, shown
    // to be whole by its checksum.
    // Version, settings and processor are compared by `deserialize` itself.
    unsafe { Component::deserialize(engine, compiled) }
}

fn compatibility(engine: &Engine) -> String {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let digest = hasher.0.finalize();
    hex::encode(digest.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

    use wasmtime::Engine;

    use super::{Cache, CacheError};
    use crate::{registry::model::Digest, transform::engine::compile_config};

    #[test]
    fn refuses_a_folder_that_others_may_write_to() {
        let parent = tempfile::tempdir().expect("a folder for the test");
        let engine = Engine::default();
        let ours = parent.path().join("made/by/us");
        Cache::open(&ours, &engine).expect("a new folder is ours");
        let mode = fs::metadata(&ours).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);

        let open = parent.path().join("open");
        fs::create_dir(&open).expect("a folder");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("its owner may");
        assert!(matches!(
            Cache::open(&open, &engine),
            Err(CacheError::Untrusted(..))
        ));

        let link = parent.path().join("link");
        std::os::unix::fs::symlink(&ours, &link).expect("a link");
        assert!(matches!(
            Cache::open(&link, &engine),
            Err(CacheError::Untrusted(..))
        ));
    }

    #[test]
    fn refuses_a_folder_that_others_may_move() {
        let parent = tempfile::tempdir().expect("a folder for the test");
        let engine = Engine::default();
        let above = parent.path().join("above");
        let cache = above.join("between/cache");
        Cache::open(&cache, &engine).expect("a new folder is ours");
        let open = |mode| {
            fs::set_permissions(&above, fs::Permissions::from_mode(mode)).expect("its owner may");
            Cache::open(&cache, &engine)
        };
        match open(0o777) {
            Err(CacheError::Movable { above: told, .. }) => assert!(told.ends_with("above"), "{told:?}"),
            other => panic!("{:?}", other.err()),
        }
        for mode in [0o1777, 0o775, 0o755, 0o700] {
            assert!(open(mode).is_ok(), "{mode:o}");
        }
        // Through a link above it, the way is looked at that it leads.
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(&above, &link).expect("a link");
        fs::set_permissions(&above, fs::Permissions::from_mode(0o777)).expect("its owner may");
        let through = Cache::open(&link.join("between/cache"), &engine);
        assert!(matches!(through, Err(CacheError::Movable { .. })));
    }

    #[test]
    fn another_setting_is_another_file() {
        let directory = tempfile::tempdir().expect("a folder for the test");
        let digest = Digest::of(b"component");
        let path = |change: fn(&mut wasmtime::Config)| {
            let mut config = compile_config();
            change(&mut config);
            let engine = Engine::new(&config).expect("an engine");
            let cache = Cache::open(&directory.path().join("cache"), &engine).expect("ours");
            cache.path(&digest)
        };
        let paths = [
            path(|_| {}),
            path(|config| {
                config.cranelift_nan_canonicalization(false);
            }),
            path(|config| {
                config.relaxed_simd_deterministic(false);
            }),
            path(|config| {
                config.epoch_interruption(false);
            }),
            path(|config| {
                config.wasm_simd(false).wasm_relaxed_simd(false);
            }),
        ];
        let distinct: BTreeSet<_> = paths.iter().collect();
        assert_eq!(distinct.len(), paths.len(), "{paths:?}");
        assert_eq!(path(|_| {}), paths[0], "the same again");
    }

    #[test]
    fn a_damaged_form_is_not_loaded() {
        let directory = tempfile::tempdir().expect("a folder for the test");
        let engine = Engine::default();
        let cache = Cache::open(&directory.path().join("cache"), &engine).expect("ours");
        let digest = Digest::of(b"component");
        let compiled = engine
            .precompile_component(b"\0asm\x0d\0\x01\0")
            .expect("an empty component compiles");
        cache.store(&digest, &compiled).expect("there is room");
        assert!(cache.load(&engine, &digest).is_some());
        assert!(cache.load(&engine, &Digest::of(b"another")).is_none());

        let path = cache.path(&digest);
        let whole = fs::read(&path).expect("it was stored");
        for damaged in [&whole[..whole.len() - 1], &whole[..16], &[]] {
            fs::write(&path, damaged).expect("ours to write");
            assert!(cache.load(&engine, &digest).is_none());
        }
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        fs::write(&path, &flipped).expect("ours to write");
        assert!(cache.load(&engine, &digest).is_none());
    }
}
