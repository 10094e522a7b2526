//! A disk in memory that forgets what was not synced, tears and reorders what it half remembers, fails and lies when
//! told to, and can be full.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
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
    /// The failing sync reaches the disk all the same.
    failing_is_durable: bool,
    /// Appends until one fails, and how much of it is written all the same.
    failing_append: Option<(usize, usize)>,
    /// So many syncs say that all is well, and do nothing.
    lying: usize,
    /// Of all files that have a name.
    capacity: Option<usize>,
    failed: BTreeSet<FileId>,
    written_after_failure: Vec<PathBuf>,
    /// Calls that fail, with a part of the path that they fail on.
    broken: Vec<(Call, String)>,
    /// Bytes that cannot be read, for good.
    unreadable: Vec<(PathBuf, Range<usize>)>,
    /// Files that say that they are shorter than they are.
    short: BTreeMap<PathBuf, usize>,
    /// Grows with each crash: handles of an earlier life write nothing any more.
    life: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    CreateDirectory,
    List,
    Create,
    Open,
    Length,
    Rename,
    Remove,
    Truncate,
}

#[derive(Default)]
struct File {
    path: PathBuf,
    bytes: Vec<u8>,
    durable: usize,
    /// Room that is taken and not written.
    allocated: usize,
    /// A sync has failed: as on Linux, the unwritten pages count as clean and no later sync writes them.
    poisoned: bool,
}

/// A plain generator (SplitMix64), so that a seed means the same in every version of every crate.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    pub(super) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

fn failure() -> io::Error {
    rustix::io::Errno::IO.into()
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl File {
    /// What is there after a loss of power is there for good.
    fn settle(&mut self) {
        self.durable = self.bytes.len();
        self.poisoned = false;
    }
}

impl Content {
    fn end_life(&mut self) {
        self.life += 1;
        self.locked = false;
        self.failing = None;
        self.failing_is_durable = false;
        self.failing_append = None;
        self.lying = 0;
        self.failed.clear();
    }

    /// Bytes that can still be written.
    fn room(&self) -> usize {
        match self.capacity {
            Some(capacity) => capacity.saturating_sub(self.used()),
            None => usize::MAX,
        }
    }

    fn used(&self) -> usize {
        let named: BTreeSet<FileId> = self.names.values().copied().collect();
        let taken = |file: &FileId| self.files[*file].bytes.len() + self.files[*file].allocated;
        named.iter().map(taken).sum()
    }

    fn call(&self, call: Call, path: &Path) -> io::Result<()> {
        let path = path.to_string_lossy();
        let mut broken = self.broken.iter();
        if broken.any(|(broken, part)| *broken == call && path.contains(part)) {
            return Err(failure());
        }
        Ok(())
    }

    fn lies(&mut self) -> bool {
        let lies = self.lying > 0;
        self.lying = self.lying.saturating_sub(1);
        lies
    }

    fn sync_file(&mut self, file: FileId) -> io::Result<()> {
        if self.lies() {
            return Ok(());
        }
        let fails = self.sync_fails();
        let durable = !fails || self.failing_is_durable;
        if fails {
            self.failed.insert(file);
        }
        let file = &mut self.files[file];
        if durable && !file.poisoned {
            file.durable = file.bytes.len();
        }
        if fails {
            file.poisoned = true;
            return Err(failure());
        }
        Ok(())
    }

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

    /// The same, but what it should have synced is on the disk.
    pub(super) fn fail_sync_after_writing(&self, nth: usize) {
        let mut content = self.0.lock();
        content.failing = Some(nth);
        content.failing_is_durable = true;
    }

    /// The `nth` append from now fails after so many bytes.
    pub(super) fn fail_append(&self, nth: usize, written: usize) {
        self.0.lock().failing_append = Some((nth, written));
    }

    /// The next `count` syncs do nothing, and say that all is well.
    pub(super) fn lie(&self, count: usize) {
        self.0.lock().lying = count;
    }

    /// From now on calls on paths that contain `part` fail, over restarts too.
    pub(super) fn fail_calls(&self, call: Call, part: &str) {
        self.0.lock().broken.push((call, part.to_owned()));
    }

    /// These bytes cannot be read any more.
    pub(super) fn make_unreadable(&self, path: &Path, bytes: Range<usize>) {
        self.0.lock().unreadable.push((path.to_owned(), bytes));
    }

    /// A file says that it has only so many bytes.
    pub(super) fn shorten(&self, path: &Path, bytes: usize) {
        self.0.lock().short.insert(path.to_owned(), bytes);
    }

    pub(super) fn set_capacity(&self, bytes: Option<usize>) {
        self.0.lock().capacity = bytes;
    }

    pub(super) fn fail_no_more(&self) {
        let mut content = self.0.lock();
        content.failing = None;
        content.failing_append = None;
        content.lying = 0;
        content.broken.clear();
    }

    /// Loss of power on a disk that writes sectors of `sector` bytes, each whole or not at all, in any order: of what
    /// was not synced any sectors are there, the others read as zeros, and each name in a folder that was not synced
    /// is the old one or the new one.
    pub(super) fn crash_torn(&self, random: &mut Random, sector: usize) {
        let mut content = self.0.lock();
        content.end_life();
        let content = &mut *content;
        let paths: BTreeSet<PathBuf> = content
            .names
            .keys()
            .chain(content.durable_names.keys())
            .cloned()
            .collect();
        for path in paths {
            let found = if random.coin() {
                content.names.get(&path)
            } else {
                content.durable_names.get(&path)
            };
            match found.copied() {
                Some(file) => content.durable_names.insert(path, file),
                None => content.durable_names.remove(&path),
            };
        }
        content.names = content.durable_names.clone();
        for file in &mut content.files {
            let unsynced = file.bytes.len() - file.durable;
            let length = file.durable + random.below(unsynced + 1);
            file.bytes.truncate(length);
            let mut at = file.durable;
            while at < length {
                let end = ((at / sector + 1) * sector).min(length);
                if random.coin() {
                    file.bytes[at..end].fill(0);
                }
                at = end;
            }
            file.settle();
        }
    }

    /// Loss of power: `kept` tells how many of a file's unsynced bytes are left.
    pub(super) fn crash(&self, mut kept: impl FnMut(&Path, usize) -> usize) {
        let mut content = self.0.lock();
        content.end_life();
        content.names = content.durable_names.clone();
        for file in &mut content.files {
            let unsynced = file.bytes.len() - file.durable;
            let length = file.durable + kept(&file.path, unsynced);
            file.bytes.truncate(length);
            file.settle();
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
        let lengths = self.segments().into_iter().map(|path| self.length(&path));
        self.flip_at(place.index(lengths.sum()), change);
    }

    /// The same, where `place` counts through all segments.
    pub(super) fn flip_at(&self, mut place: usize, change: u8) {
        for path in self.segments() {
            let length = self.length(&path);
            if place < length {
                return self.flip_in(&path, place, change);
            }
            place -= length;
        }
    }

    pub(super) fn flip_in(&self, path: &Path, place: usize, change: u8) {
        let mut content = self.0.lock();
        let file = content.names[path];
        content.files[file].bytes[place] ^= change;
    }

    /// Somebody removes a file.
    pub(super) fn take_away(&self, path: &Path) {
        let mut content = self.0.lock();
        content.names.remove(path);
        content.durable_names.remove(path);
    }

    /// Somebody puts a file into the spool's folder.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        let mut content = self.0.lock();
        let path = Path::new(super::DIRECTORY).join(name);
        let file = content.files.len();
        content.files.push(File {
            path: path.clone(),
            bytes: bytes.to_vec(),
            durable: bytes.len(),
            ..File::default()
        });
        content.names.insert(path.clone(), file);
        content.durable_names.insert(path, file);
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0
            .lock()
            .names
            .contains_key(&Path::new(super::DIRECTORY).join(name))
    }

    /// Whether a file has such a name.
    pub(super) fn has_like(&self, part: &str) -> bool {
        let content = self.0.lock();
        content
            .names
            .keys()
            .any(|path| path.to_string_lossy().contains(part))
    }

    /// Bytes of all files that have a name.
    pub(super) fn used(&self) -> usize {
        self.0.lock().used()
    }
}

impl Storage for FaultyDisk {
    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.0.lock().call(Call::CreateDirectory, directory)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let content = self.0.lock();
        content.call(Call::List, directory)?;
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
        content.call(Call::Create, path)?;
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

    fn allocate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).expect("small");
        let file = {
            let mut content = self.0.lock();
            if content.names.contains_key(path) {
                return Ok(());
            }
            if content.room() < bytes {
                return Err(full());
            }
            content.files.push(File {
                path: path.to_owned(),
                allocated: bytes,
                ..File::default()
            });
            content.files.len() - 1
        };
        self.0.lock().names.insert(path.to_owned(), file);
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let content = self.0.lock();
        content.call(Call::Open, path)?;
        let file = *content.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Handle {
            disk: self.clone(),
            file,
            life: content.life,
        }))
    }

    fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        let mut content = self.0.lock();
        content.call(Call::Truncate, path)?;
        let file = *content.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let length = usize::try_from(length).expect("small");
        let file = &mut content.files[file];
        file.bytes.truncate(length);
        // Sectors that a failed sync has lost do not come back by this.
        file.durable = file.durable.min(length);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut content = self.0.lock();
        content.call(Call::Rename, from)?;
        let file = content.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        content.names.insert(to.to_owned(), file);
        content.files[file].path = to.to_owned();
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut content = self.0.lock();
        content.call(Call::Remove, path)?;
        let removed = content.names.remove(path);
        removed.map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut content = self.0.lock();
        if content.lies() {
            return Ok(());
        }
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
        let File { bytes, path, .. } = &content.files[self.file];
        let start = usize::try_from(offset).expect("small").min(bytes.len());
        // Short reads, as a disk may give them.
        let count = buffer.len().min(bytes.len() - start).min(777);
        let mut unreadable = content.unreadable.iter();
        if unreadable.any(|(file, bytes)| file == path && bytes.start < start + count && start < bytes.end) {
            return Err(failure());
        }
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        let content = self.disk.0.lock();
        let File { bytes, path, .. } = &content.files[self.file];
        content.call(Call::Length, path)?;
        let length = content.short.get(path).copied().unwrap_or(bytes.len());
        Ok(length as u64)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.0.lock().sync_file(self.file)
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
        let fails = match &mut content.failing_append {
            Some((0, written)) => Some(*written),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        if let Some(written) = fails {
            content.failing_append = None;
            content.failed.insert(self.file);
            let written = written.min(bytes.len());
            content.files[self.file]
                .bytes
                .extend_from_slice(&bytes[..written]);
            return Err(failure());
        }
        let room = content.room();
        if bytes.len() > room {
            content.failed.insert(self.file);
            content.files[self.file].bytes.extend_from_slice(&bytes[..room]);
            return Err(full());
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
        content.sync_file(self.file)
    }
}
