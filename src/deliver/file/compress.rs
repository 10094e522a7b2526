//! Closed files: compressed beside the plain one, which goes only when the compressed one is durable.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use super::latest;
use crate::{background, removal};

const LEVEL: i32 = 3;

/// [`compress`], while live events have the first claim to the core.
pub(super) async fn compress_beside(root: PathBuf, relative: String) -> io::Result<()> {
    background::run("compress", move || compress(&root, &relative)).await?
}

/// Compresses `NAME.ndjson` to `NAME.ndjson.zst`, lets the link to the latest file follow, and removes the plain one.
/// Ends what a crash has cut short, too.
pub(super) fn compress(root: &Path, relative: &str) -> io::Result<()> {
    let plain = &root.join(relative);
    let compressed = with_suffix(plain, ".zst");
    let directory = plain.parent().unwrap_or(Path::new("."));
    if !compressed.exists() {
        let source = match File::open(plain) {
            Ok(source) => source,
            // Somebody has taken it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let temporary = with_suffix(plain, ".zst.tmp");
        let target = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)?;
        let mut encoder = zstd::Encoder::new(target, LEVEL)?;
        encoder.include_checksum(true)?;
        io::copy(&mut BufReader::with_capacity(256 << 10, source), &mut encoder)?;
        encoder.finish()?.sync_all()?;
        fs::rename(&temporary, &compressed)?;
        sync_directory(directory)?;
    }
    if let Some((folder, below)) = relative.split_once('/') {
        latest::follow_compressed(&root.join(folder), below)?;
    }
    match removal::remove(plain) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_directory(directory),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    File::open(directory)?.sync_all()
}
