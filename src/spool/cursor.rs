//! The delivery cursor: an append-only file of checksummed entries, of which the last whole one counts.
//!
//! ```text
//! magic 4 | note length u32 | CRC32C u32 | sequence u64 | note
//! ```
//!
//! All little-endian; the checksum covers length, sequence and note. A file is never appended to by two lives of the
//! process: each begins a new one, which takes the place of the old by renaming.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use memchr::memmem;

use super::{
    Sequence,
    frame::read_around,
    storage::{Storage, StorageAppend},
};

const MAGIC: [u8; 4] = *b"HWC1";
const HEADER_BYTES: usize = 20;
/// Rewritten to a new file beyond.
const FILE_BYTES_MAX: u64 = 1 << 20;
pub(super) const NAME: &str = "cursor";
const NEW_NAME: &str = "cursor.new";

pub(super) struct Cursor {
    storage: Arc<dyn Storage>,
    directory: PathBuf,
    /// Absent before the first write of this life and after a failure.
    file: Option<Box<dyn StorageAppend>>,
    length: u64,
    buffer: Vec<u8>,
}

impl Cursor {
    /// The last commit that stands in `directory`.
    pub(super) fn read(storage: &dyn Storage, directory: &Path) -> io::Result<Option<(Sequence, Bytes)>> {
        let content = Cursor::content(storage, directory)?;
        Ok(content.and_then(|content| last_entry(&content).0))
    }

    /// The sequence of the last commit, 0 without one, and how many bytes are no entries.
    pub(super) fn inspect(storage: &dyn Storage, directory: &Path) -> io::Result<(Sequence, u64)> {
        let content = Cursor::content(storage, directory)?.unwrap_or_default();
        let (last, damaged_bytes) = last_entry(&content);
        Ok((last.map_or(0, |(sequence, _)| sequence), damaged_bytes))
    }

    fn content(storage: &dyn Storage, directory: &Path) -> io::Result<Option<Vec<u8>>> {
        let file = match storage.open(&directory.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = vec![0; usize::try_from(file.length()?).unwrap_or(usize::MAX)];
        let mut unreadable = 0;
        let read = read_around(&*file, &mut content, 0, &mut unreadable)?;
        if unreadable > 0 {
            // An older entry counts in the place of those: what was delivered since is delivered once more.
            tracing::error!(directory = %directory.display(), sectors = unreadable, "the spool's cursor cannot be read whole");
        }
        content.truncate(read);
        Ok(Some(content))
    }

    pub(super) fn new(storage: Arc<dyn Storage>, directory: &Path) -> Cursor {
        Cursor {
            storage,
            directory: directory.to_owned(),
            file: None,
            length: 0,
            buffer: Vec::new(),
        }
    }

    /// Durable when it returns. After an error the next call begins a new file.
    pub(super) fn write(&mut self, sequence: Sequence, note: &[u8]) -> io::Result<()> {
        self.buffer.clear();
        encode(&mut self.buffer, sequence, note);
        match self.file.take() {
            Some(mut file) if self.length < FILE_BYTES_MAX => {
                file.append(&self.buffer)?;
                file.sync()?;
                self.length += self.buffer.len() as u64;
                self.file = Some(file);
                Ok(())
            }
            _ => self.replace(),
        }
    }

    fn replace(&mut self) -> io::Result<()> {
        let new = self.directory.join(NEW_NAME);
        match self.storage.remove(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = self.storage.create(&new)?;
        file.append(&self.buffer)?;
        file.sync()?;
        self.storage.rename(&new, &self.directory.join(NAME))?;
        self.storage.sync_directory(&self.directory)?;
        self.length = self.buffer.len() as u64;
        self.file = Some(file);
        Ok(())
    }
}

fn encode(buffer: &mut Vec<u8>, sequence: Sequence, note: &[u8]) {
    let mut head = [0; 12];
    head[..4].copy_from_slice(&u32::try_from(note.len()).unwrap_or(u32::MAX).to_le_bytes());
    head[4..].copy_from_slice(&sequence.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head), note);
    buffer.extend_from_slice(&MAGIC);
    buffer.extend_from_slice(&head[..4]);
    buffer.extend_from_slice(&checksum.to_le_bytes());
    buffer.extend_from_slice(&head[4..]);
    buffer.extend_from_slice(note);
}

/// The last whole entry, and the bytes that belong to none.
fn last_entry(content: &[u8]) -> (Option<(Sequence, Bytes)>, u64) {
    let mut last = None;
    let mut at = 0;
    let mut whole = 0;
    while let Some(rest) = content.get(at..) {
        if let Some((sequence, note)) = entry(rest) {
            last = Some((sequence, note));
            at += HEADER_BYTES + note.len();
            whole += HEADER_BYTES + note.len();
        } else if let Some(found) = rest.get(1..).and_then(|rest| memmem::find(rest, &MAGIC)) {
            at += 1 + found;
        } else {
            break;
        }
    }
    let last = last.map(|(sequence, note)| (sequence, Bytes::copy_from_slice(note)));
    (last, (content.len() - whole) as u64)
}

/// The whole and intact entry at the start of `bytes`.
fn entry(bytes: &[u8]) -> Option<(Sequence, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let (magic, header) = header.split_first_chunk::<4>()?;
    let (length, header) = header.split_first_chunk::<4>()?;
    let (checksum, sequence) = header.split_first_chunk::<4>()?;
    let sequence: [u8; 8] = sequence.try_into().ok()?;
    let note = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let mut head = [0; 12];
    head[..4].copy_from_slice(length);
    head[4..].copy_from_slice(&sequence);
    let intact = *magic == MAGIC
        && crc32c::crc32c_append(crc32c::crc32c(&head), note) == u32::from_le_bytes(*checksum);
    intact.then(|| (u64::from_le_bytes(sequence), note))
}
