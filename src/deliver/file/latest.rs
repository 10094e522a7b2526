//! `TOPIC/latest`: a symbolic link to the topic's newest file, plain or compressed.

use std::{fs, io, os::unix::fs::symlink, path::Path};

use parking_lot::Mutex;

use super::compress;

const NAME: &str = "latest";
const NEW_NAME: &str = ".latest.new";

/// Links are set by the writer and by what compresses beside it: one at a time, or an old file could win.
static TURN: Mutex<()> = Mutex::new(());

/// Points a topic's link at `below`, a path below the topic's folder; never is there a moment without one.
pub(super) fn point(folder: &Path, below: &str) -> io::Result<()> {
    let _turn = TURN.lock();
    set(folder, below)
}

fn set(folder: &Path, below: &str) -> io::Result<()> {
    let new = folder.join(NEW_NAME);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(below, &new)?;
    fs::rename(&new, folder.join(NAME))?;
    compress::sync_directory(folder)
}

/// Points it at the compressed form of `below`, where it points at `below`.
pub(super) fn follow_compressed(folder: &Path, below: &str) -> io::Result<()> {
    let _turn = TURN.lock();
    match fs::read_link(folder.join(NAME)) {
        Ok(target) if target == Path::new(below) => set(folder, &format!("{below}.zst")),
        // Another file is the newest, or somebody has taken the link away.
        _ => Ok(()),
    }
}
