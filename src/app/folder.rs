//! The data folder belongs to one gateway at a time.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{AppError, failed};

const LOCK_NAME: &str = "lock";

/// The lock on a data folder; the kernel gives it back when the process ends, however it ends.
pub(super) struct DataFolder {
    _lock: File,
}

impl DataFolder {
    /// Makes the folder where it is missing, readable for nobody else, and takes it.
    pub(super) fn open(path: &Path) -> Result<DataFolder, AppError> {
        let failed = || failed(format!("data_dir = {}", path.display()));
        let io = |error: std::io::Error| failed()(error.to_string());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_NAME))
            .map_err(io)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut process = String::new();
                // Only for the message.
                let _ = (&lock).take(20).read_to_string(&mut process);
                return Err(failed()(format!(
                    "another gateway (process {}) runs on this folder; give each gateway a data_dir of its own, and \
                     the same store.url where they should share a registry",
                    process.trim()
                )));
            }
            Err(error) => return Err(io(error.into())),
        }
        // Who holds the lock helps whoever comes second; a disk that takes no more is no reason not to start.
        let _ = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(DataFolder { _lock: lock })
    }
}
