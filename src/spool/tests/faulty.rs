//! A disk in memory that forgets what was not synced, tears what it half remembers, and fails when told to.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use proptest::sample::Index;

use crate::spool::storage::{Storage, StorageAppend, StorageFile};

#[derive(Clone, Default)]
pub(super) struct FaultyDisk(Arc<Mutex<Content>>);

type FileId = usize;

#[derive(Default)]
struct Content {
    files: Vec<File>,
    /// Names as a running process sees them.
    names: BTreeMap<PathBuf, FileId>,
    /// Names as they are after a loss of power.
    durable_names: BTreeMap<PathBuf, FileId>,
    locked: bool,
    /// Syncs until one fails.
    failing: Option<usize>,
    failed: BTreeSet<FileId>,
    written_after_failure: Vec<PathBuf>,
    /// Grows with each crash: handles of an earlier life write nothing any more.
    life: usize,
}

#[derive(Default)]
struct File {
    path: PathBuf,
    bytes: Vec<u8>,
    durable: usize,
}

fn failure() -> io::Error {
    io::Error::other("input/output error")
}

impl Content {
    fn sync_fails(&mut self) -> bool {
        match &mut self.failing {
            Some(0) => {
                self.failing = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }
}

/// How much of a file's unsynced bytes is left, from a seed.
pub(super) fn tear(seed: u64) -> impl FnMut(&Path, usize) -> usize {
    let mut state = seed;
    move |_, unsynced| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % (unsynced + 1)
    }
}

impl FaultyDisk {
    /// The `nth` sync from now fails (0: the next); what it should have synced is lost.
    pub(super) fn fail_sync(&self, nth: usize) {
        self.0.lock().failing = Some(nth);
    }

    pub(super) fn fail_no_more(&self) {
        self.0.lock().failing = None;
    }

    /// Loss of power: `kept` tells how many of a file's unsynced bytes are left.
    pub(super) fn crash(&self, mut kept: impl FnMut(&Path, usize) -> usize) {
        let mut content = self.0.lock();
        content.life += 1;
        content.locked = false;
        content.failing = None;
        content.failed.clear();
        content.names = content.durable_names.clone();
        for file in &mut content.files {
            let unsynced = file.bytes.len() - file.durable;
            let length = file.durable + kept(&file.path, unsynced);
            file.bytes.truncate(length);
            file.durable = length;
        }
    }

    pub(super) fn is_locked(&self) -> bool {
        self.0.lock().locked
    }

    pub(super) fn segments(&self) -> Vec<PathBuf> {
        let content = self.0.lock();
        let segments = content
            .names
            .keys()
            .filter(|path| path.extension().is_some_and(|extension| extension == "segment"));
        segments.cloned().collect()
    }

    pub(super) fn segments_with_failed_sync(&self) -> Vec<PathBuf> {
        let content = self.0.lock();
        content
            .failed
            .iter()
            .map(|file| content.files[*file].path.clone())
            .collect()
    }

    /// Files that were written to or synced again after a failure.
    pub(super) fn written_after_failure(&self) -> Vec<PathBuf> {
        self.0.lock().written_after_failure.clone()
    }

    pub(super) fn length(&self, path: &Path) -> usize {
        let content = self.0.lock();
        content.files[content.names[path]].bytes.len()
    }

    /// What was kept aside.
    pub(super) fn damaged(&self) -> Vec<Vec<u8>> {
        let content = self.0.lock();
        let damaged = content
            .names
            .iter()
            .filter(|(path, _)| path.components().any(|part| part.as_os_str() == "damaged"));
        damaged
            .map(|(_, file)| content.files[*file].bytes.clone())
            .collect()
    }

    /// Changes one byte of one segment.
    pub(super) fn flip(&self, place: Index, change: u8) {
        let segments = self.segments();
        let mut content = self.0.lock();
        let lengths = segments
            .iter()
            .map(|path| content.files[content.names[path]].bytes.len());
        let mut at = place.index(lengths.sum());
        for path in &segments {
            let file = content.names[path];
            let bytes = &mut content.files[file].bytes;
            match bytes.get_mut(at) {
                Some(byte) => {
                    *byte ^= change;
                    return;
                }
                None => at -= bytes.len(),
            }
        }
    }
}

impl Storage for FaultyDisk {
    fn create_directory(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let content = self.0.lock();
        let names = content
            .names
            .keys()
            .filter(|path| path.parent() == Some(directory));
        Ok(names
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageAppend>> {
        let mut content = self.0.lock();
        if content.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = content.files.len();
        content.files.push(File {
            path: path.to_owned(),
            ..File::default()
        });
        content.names.insert(path.to_owned(), file);
        Ok(Box::new(Handle {
            disk: self.clone(),
            file,
            life: content.life,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let content = self.0.lock();
        let file = *content.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Handle {
            disk: self.clone(),
            file,
            life: content.life,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut content = self.0.lock();
        let file = content.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        content.names.insert(to.to_owned(), file);
        content.files[file].path = to.to_owned();
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.0.lock().names.remove(path);
        removed.map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut content = self.0.lock();
        if content.sync_fails() {
            return Err(failure());
        }
        let content = &mut *content;
        content
            .durable_names
            .retain(|path, _| path.parent() != Some(directory));
        let here = content
            .names
            .iter()
            .filter(|(path, _)| path.parent() == Some(directory));
        content
            .durable_names
            .extend(here.map(|(path, file)| (path.clone(), *file)));
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut content = self.0.lock();
        if content.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        content.locked = true;
        Ok(Box::new(Lock {
            disk: self.clone(),
            life: content.life,
        }))
    }
}

struct Lock {
    disk: FaultyDisk,
    life: usize,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut content = self.disk.0.lock();
        if content.life == self.life {
            content.locked = false;
        }
    }
}

struct Handle {
    disk: FaultyDisk,
    file: FileId,
    life: usize,
}

impl StorageFile for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.disk.0.lock();
        let bytes = &content.files[self.file].bytes;
        let start = usize::try_from(offset).expect("small").min(bytes.len());
        // Short reads, as a disk may give them.
        let count = buffer.len().min(bytes.len() - start).min(777);
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().files[self.file].bytes.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let file = &mut self.disk.0.lock().files[self.file];
        file.durable = file.bytes.len();
        Ok(())
    }
}

impl StorageAppend for Handle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.disk.0.lock();
        if content.life != self.life {
            return Err(failure());
        }
        if content.failed.contains(&self.file) {
            let path = content.files[self.file].path.clone();
            content.written_after_failure.push(path);
        }
        content.files[self.file].bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut content = self.disk.0.lock();
        if content.life != self.life {
            return Err(failure());
        }
        if content.failed.contains(&self.file) {
            let path = content.files[self.file].path.clone();
            content.written_after_failure.push(path);
        }
        if content.sync_fails() {
            content.failed.insert(self.file);
            return Err(failure());
        }
        let file = &mut content.files[self.file];
        file.durable = file.bytes.len();
        Ok(())
    }
}
