//! Removes a large file without holding up those who sync beside it: a file system frees all blocks of a file in one
//! transaction, and every `fdatasync` waits for it (14 ms for 64 MiB, where 1 MiB at a time holds up nobody for 1 ms).

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

/// Given back at a time.
const STEP_BYTES: u64 = 1 << 20;
/// Between two steps.
const PAUSE: Duration = Duration::from_millis(1);
/// Files that wait; beyond it whoever removes one waits instead, so that little room is still to come back.
const WAITING_MAX: usize = 4;
/// Of Linux' `asm-generic/fcntl.h`; `libc` lacks it.
const F_SETSIG: libc::c_int = 10;

/// The name is gone when it returns; the room comes back within moments. Whoever has the file open, or another name for
/// it, keeps its content.
///
/// # Errors
///
/// Those of [`fs::remove_file`].
pub fn remove(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    fs::remove_file(path)?;
    if let Ok(file) = file {
        shrink_beside(file);
    }
    Ok(())
}

/// Nobody else has it or can open it any more.
fn is_ours_alone(file: &File) -> bool {
    let is_nameless = |metadata: &fs::Metadata| metadata.is_file() && metadata.nlink() == 0;
    if !file.metadata().is_ok_and(|metadata| is_nameless(&metadata)) {
        return false;
    }
    let descriptor = file.as_raw_fd();
    // The kernel gives this lease only where no other descriptor is open. Who opens it by way of /proc would have its
    // holder signalled, by default with a signal that ends the process.
    // SAFETY: the descriptor is open as long as `file` lives, and these calls take no pointer.
    unsafe {
        libc::fcntl(descriptor, F_SETSIG, libc::SIGURG) == 0
            && libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_WRLCK) == 0
            && libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK) == 0
    }
}

fn shrink_beside(file: File) {
    let is_large = file.metadata().is_ok_and(|metadata| metadata.len() > STEP_BYTES);
    if !is_large || !is_ours_alone(&file) {
        return;
    }
    static WAITING: OnceLock<Option<mpsc::SyncSender<File>>> = OnceLock::new();
    let waiting = WAITING.get_or_init(|| {
        let (waiting, files) = mpsc::sync_channel(WAITING_MAX);
        let thread = thread::Builder::new().name("removal".to_owned());
        let spawned = thread.spawn(move || files.into_iter().for_each(|file| shrink(&file)));
        spawned.is_ok().then_some(waiting)
    });
    // Without that thread the last handle frees all at once.
    let sent = waiting.as_ref().map(|waiting| waiting.try_send(file));
    if let Some(Err(mpsc::TrySendError::Full(file))) = sent {
        shrink(&file);
    }
}

fn shrink(file: &File) {
    let mut length = file.metadata().map_or(0, |metadata| metadata.len());
    while length > STEP_BYTES {
        length -= STEP_BYTES;
        if file.set_len(length).is_err() {
            return;
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::{
            fd::AsRawFd as _,
            unix::fs::{FileExt as _, MetadataExt as _},
        },
        path::{Path, PathBuf},
    };

    use super::{STEP_BYTES, is_ours_alone, remove, shrink};

    fn large(folder: &Path) -> PathBuf {
        let path = folder.join("large");
        let length = usize::try_from(5 * STEP_BYTES + 17).expect("it fits");
        fs::write(&path, vec![b'x'; length]).expect("it is written");
        path
    }

    #[test]
    fn a_file_of_nobody_else_is_given_back_in_steps() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = large(folder.path());
        let file = fs::OpenOptions::new().write(true).open(&path).expect("it opens");
        assert!(!is_ours_alone(&file), "it still has a name");
        fs::remove_file(&path).expect("it goes");
        assert!(is_ours_alone(&file));
        shrink(&file);
        assert_eq!(file.metadata().expect("it is open").len(), 17);
    }

    #[test]
    fn who_has_it_open_reads_it_to_its_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = large(folder.path());
        let reader = fs::File::open(&path).expect("it opens");
        let writer = fs::OpenOptions::new().write(true).open(&path).expect("it opens");
        remove(&path).expect("it goes");
        assert!(!path.exists());
        assert!(!is_ours_alone(&writer));
        let mut byte = [0];
        reader
            .read_exact_at(&mut byte, 5 * STEP_BYTES + 16)
            .expect("the last byte is there");
        assert_eq!(&byte, b"x");
        drop(writer);
        // What is opened by way of the kernel's list of descriptors is no name, and counts all the same.
        let again = fs::File::open(format!("/proc/self/fd/{}", reader.as_raw_fd())).expect("it opens");
        drop(reader);
        assert_eq!(again.metadata().expect("it is open").len(), 5 * STEP_BYTES + 17);
    }

    #[test]
    fn what_has_another_name_stays_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, kept) = (large(folder.path()), folder.path().join("kept"));
        fs::hard_link(&path, &kept).expect("it is linked");
        remove(&path).expect("it goes");
        let metadata = fs::metadata(&kept).expect("it is there");
        assert_eq!((metadata.len(), metadata.nlink()), (5 * STEP_BYTES + 17, 1));
        assert!(remove(&path).is_err(), "there is nothing to remove");
    }
}
