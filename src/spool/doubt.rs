//! Segments of which it is in doubt whether the disk holds what is read from them.
//!
//! After a failed sync the kernel counts the pages as clean: the next life of the process reads them, its own sync
//! succeeds, and a loss of power takes them all the same. So the file is cut to what was acknowledged, or noted; and
//! what a segment in doubt holds is believed only once its bytes stand in a new file.

use std::{collections::BTreeSet, io, ops::Range, path::Path};

use super::{
    Segment, Sequence,
    frame::{Found, Scanner, read_around, read_full},
    storage::{Storage, StorageFile},
};

const NOTE_SUFFIX: &str = ".doubtful";
const NEW_SUFFIX: &str = ".new";
const CHUNK_BYTES: u64 = 1 << 20;

fn note_name(segment: &Segment) -> String {
    segment.name() + NOTE_SUFFIX
}

/// After a failed write or sync: takes from the file what was never acknowledged. Where the disk refuses, the next life
/// is told.
pub(super) fn cut_or_note(storage: &dyn Storage, directory: &Path, segment: &Segment) {
    let path = directory.join(segment.name());
    if let Err(error) = storage.truncate(&path, segment.length) {
        tracing::warn!(path = %path.display(), %error, "a failed segment could not be cut");
        note(storage, directory, segment);
    }
}

/// Not synced: after a loss of power nothing but what the disk holds can be read.
fn note(storage: &dyn Storage, directory: &Path, segment: &Segment) {
    let path = directory.join(note_name(segment));
    match storage.create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            tracing::error!(path = %path.display(), %error, "a segment that may hold more than the disk could not be noted");
        }
        _ => {}
    }
}

/// The names of the segments that a life before has noted. Removes what a life that ended meanwhile has left.
pub(super) fn noted(storage: &dyn Storage, directory: &Path) -> io::Result<BTreeSet<String>> {
    let names: BTreeSet<String> = storage.list(directory)?.into_iter().collect();
    let mut noted = BTreeSet::new();
    for name in &names {
        let segment = name.strip_suffix(NOTE_SUFFIX);
        let left = match segment {
            Some(segment) => !names.contains(segment),
            None => {
                let new = name.strip_suffix(NEW_SUFFIX);
                new.is_some_and(|segment| Segment::parse_name(segment).is_some())
            }
        };
        if left {
            if let Err(error) = storage.remove(&directory.join(name)) {
                tracing::warn!(name, %error, "a file that nobody needs could not be removed");
            }
        } else {
            noted.extend(segment.map(str::to_owned));
        }
    }
    Ok(noted)
}

/// Whether there is an entry after `sequence`.
pub(super) fn holds_after(
    file: std::sync::Arc<dyn StorageFile>,
    segment: &Segment,
    sequence: Sequence,
) -> io::Result<bool> {
    let mut scanner = Scanner::new(file, segment.id, 0, segment.length);
    scanner.pass_unreadable(true);
    loop {
        match scanner.next()? {
            Found::Frame { sequence: found, .. } if found > sequence => return Ok(true),
            Found::Frame { .. } | Found::Damage { .. } => {}
            Found::End => return Ok(false),
        }
    }
}

/// Puts a segment's bytes into a new file in its place; true where they are durable. Where they are not, the next life
/// is told.
pub(super) fn rewrite(storage: &dyn Storage, directory: &Path, segment: &Segment) -> bool {
    let new = directory.join(segment.name() + NEW_SUFFIX);
    let path = directory.join(segment.name());
    let written = storage
        .open(&path)
        .and_then(|source| copy(storage, &*source, 0..segment.length, &new, read_full))
        .and_then(|()| storage.rename(&new, &path))
        .and_then(|()| storage.sync_directory(directory));
    if let Err(error) = written {
        tracing::warn!(
            path = %path.display(), %error,
            "a segment could not be written anew; events in it are not known as duplicates"
        );
        // First, for the room: there is none where it was renamed already.
        let _ = storage.remove(&new);
        note(storage, directory, segment);
        return false;
    }
    // Where it stays, the next life writes the segment once more.
    let _ = storage.remove(&directory.join(note_name(segment)));
    true
}

/// Copies bytes that the disk cannot give back as zeros.
pub(super) fn copy_around(
    storage: &dyn Storage,
    source: &dyn StorageFile,
    range: Range<u64>,
    target: &Path,
) -> io::Result<()> {
    let mut unreadable = 0;
    copy(storage, source, range, target, |file, buffer, offset| {
        read_around(file, buffer, offset, &mut unreadable)
    })
}

/// To a new file, synced; not its name.
fn copy(
    storage: &dyn Storage,
    source: &dyn StorageFile,
    range: Range<u64>,
    target: &Path,
    mut read: impl FnMut(&dyn StorageFile, &mut [u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut copy = storage.create(target)?;
    let mut chunk = Vec::new();
    let mut offset = range.start;
    while offset < range.end {
        chunk.resize((range.end - offset).min(CHUNK_BYTES) as usize, 0);
        let count = read(source, &mut chunk, offset)?;
        if count == 0 {
            break;
        }
        copy.append(&chunk[..count])?;
        offset += count as u64;
    }
    copy.sync()
}
