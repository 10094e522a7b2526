//! What the spool needs of a disk, so that tests can put a failing one in its place.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::removal;

/// Files and folders.
pub(super) trait Storage: Send + Sync + 'static {
    /// Makes a folder and those above it, durably.
    fn create_directory(&self, directory: &Path) -> io::Result<()>;
    /// Names of the files in `directory`.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// A new, empty file; an error where one is.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageAppend>>;
    /// Takes so much room for a file that nobody writes; none where it is there already.
    fn allocate(&self, path: &Path, bytes: u64) -> io::Result<()>;
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;
    /// Cuts a file to `length` bytes, durably, through a handle that nothing else uses.
    fn truncate(&self, path: &Path, length: u64) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes what was created, renamed and removed in `directory` durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
    /// Takes the lock file for this process; `WouldBlock` where another has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// Held as long as any thread of the spool runs.
pub(super) type Lock = Arc<dyn Send + Sync>;

/// A file to read.
pub(super) trait StorageFile: Send + Sync {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn length(&self) -> io::Result<u64>;
    /// Makes durable what other handles have written.
    fn sync(&self) -> io::Result<()>;
}

/// A file to append to.
pub(super) trait StorageAppend: Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// `fdatasync`.
    fn sync(&mut self) -> io::Result<()>;
}

/// Whether the medium cannot give something back, rather than the process lack a right or a descriptor.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::IO | Errno::BADMSG | Errno::UCLEAN | Errno::ILSEQ | Errno::NODATA | Errno::REMOTEIO)
    )
}

/// The file system.
pub(super) struct Disk;

const FILE_MODE: u32 = 0o600;

impl Storage for Disk {
    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = directory
            .ancestors()
            .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
            .collect();
        fs::create_dir_all(directory)?;
        for made in missing {
            self.sync_directory(&parent(made))?;
        }
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageAppend>> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)?;
        Ok(Box::new(DiskAppend { file, length: 0 }))
    }

    fn allocate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path)?;
        if file.metadata()?.len() >= bytes {
            return Ok(());
        }
        let allocated = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)
            .map_err(io::Error::from)
            .and_then(|()| file.sync_all());
        if allocated.is_err() {
            // Half of it would only take room away.
            fs::remove_file(path)?;
        }
        allocated
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(File::open(path)?))
    }

    fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        removal::remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

impl StorageFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

struct DiskAppend {
    file: File,
    length: u64,
}

impl StorageAppend for DiskAppend {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}
