//! The files that lines are written to, and the note that tells after a crash how much of each counts.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{compress, folder::folder_name, latest};
use crate::{
    deliver::{
        attributes::write_json_line,
        codec::{DecodeError, Reader, Writer},
    },
    event::Record,
    spool::Sequence,
};

/// When a file is closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    pub(super) file_bytes: u64,
    /// So long after it was begun, or found again after a restart.
    pub(super) age: Duration,
    /// Without a line for so long.
    pub(super) idle: Duration,
    /// The same, once its day is over.
    pub(super) idle_past: Duration,
    /// Open at once; beyond it the one that was longest without a line is closed.
    pub(super) open_files: usize,
}

impl Default for Rotation {
    fn default() -> Rotation {
        Rotation {
            file_bytes: 64 << 20,
            age: Duration::from_secs(3600),
            idle: Duration::from_secs(3600),
            idle_past: Duration::from_secs(60),
            open_files: 128,
        }
    }
}

const NOTE_VERSION: u8 = 1;

/// `FOLDER/DATE/NAME.ndjson` below the root.
type RelativePath = Arc<str>;

struct OpenFile {
    folder: String,
    date: Date,
    path: RelativePath,
    file: File,
    length: u64,
    /// Lines that are not yet written.
    buffer: Vec<u8>,
    last_sequence: Sequence,
    last_line: Instant,
    begun: Instant,
}

/// Everything that is written to below one root. Each name holds the identity of this output and the sequence of its
/// first record: whatever is replayed after a crash comes to the same names again, and no other name is touched.
pub(super) struct Output {
    root: PathBuf,
    rotation: Rotation,
    identity: u64,
    open: Vec<OpenFile>,
    /// Complete, and still to be compressed.
    closed: BTreeSet<RelativePath>,
}

impl Output {
    pub(super) fn new(root: &Path, rotation: Rotation) -> io::Result<Output> {
        Ok(Output {
            root: root.to_owned(),
            rotation,
            identity: getrandom::u64().map_err(io::Error::other)?,
            open: Vec::new(),
            closed: BTreeSet::new(),
        })
    }

    /// The output as it was when `note` was committed: what was written since is cut off.
    pub(super) fn restore(root: &Path, rotation: Rotation, note: &Bytes) -> io::Result<Output> {
        let note = Note::decode(note).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let mut output = Output {
            root: root.to_owned(),
            rotation,
            identity: note.identity,
            open: Vec::new(),
            closed: note.closed.into_iter().collect(),
        };
        for noted in note.open {
            if let Some(file) = output.reopen(noted)? {
                output.open.push(file);
            }
        }
        Ok(output)
    }

    /// None where somebody has taken the file away.
    fn reopen(&self, noted: NotedFile) -> io::Result<Option<OpenFile>> {
        let path = self.root.join(&*noted.path);
        let file = match OpenOptions::new().write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = file.metadata()?.len();
        if found > noted.length {
            file.set_len(noted.length)?;
            file.sync_all()?;
        } else if found < noted.length {
            tracing::error!(path = %path.display(), found, committed = noted.length, "an output file was cut by others");
        }
        let mut parts = noted.path.split('/');
        let (folder, date) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        Ok(Some(OpenFile {
            folder: folder.to_owned(),
            date: date.parse().map_err(io::Error::other)?,
            length: found.min(noted.length),
            path: noted.path,
            file,
            buffer: Vec::new(),
            last_sequence: noted.last_sequence,
            last_line: Instant::now(),
            begun: Instant::now(),
        }))
    }

    /// Writes the records, in order, each as a line; durable when it returns. After an error the output must be
    /// restored from the last note.
    pub(super) fn write(&mut self, records: &[(Sequence, Record)]) -> io::Result<()> {
        let mut line = Vec::new();
        for (sequence, record) in records {
            line.clear();
            write_json_line(&mut line, record);
            let index = self.file_for(*sequence, record, line.len() as u64)?;
            let file = &mut self.open[index];
            file.buffer.extend_from_slice(&line);
            file.last_sequence = *sequence;
        }
        for file in &mut self.open {
            file.flush()?;
        }
        while self.open.len() > self.rotation.open_files {
            self.close_where(|file, oldest| file.last_sequence == oldest)?;
        }
        Ok(())
    }

    /// Index of the file that takes the record's line.
    fn file_for(&mut self, sequence: Sequence, record: &Record, line_bytes: u64) -> io::Result<usize> {
        let folder = folder_name(&record.topic);
        let date = utc_day(record.about.received);
        let found = self
            .open
            .iter()
            .position(|file| file.date == date && file.folder == folder);
        if let Some(index) = found {
            let file = &self.open[index];
            let length = file.length + file.buffer.len() as u64;
            if file.buffer.is_empty() && file.file.metadata()?.nlink() == 0 {
                tracing::warn!(path = &*file.path, "an output file was removed by others");
                self.open.swap_remove(index);
            } else if length > 0 && length + line_bytes > self.rotation.file_bytes {
                let mut full = self.open.swap_remove(index);
                full.flush()?;
                self.closed.insert(full.path);
            } else {
                return Ok(index);
            }
        }
        let path = format!("{folder}/{date}/{:016x}-{sequence:012}.ndjson", self.identity);
        let file = create_durably(&self.root, &path)?;
        // A file system without links is no reason to write nothing.
        let below = path.split_once('/').map_or("", |(_, below)| below);
        if let Err(error) = latest::point(&self.root.join(&folder), below) {
            tracing::warn!(topic = folder, %error, "the link to the latest file could not be set");
        }
        self.open.push(OpenFile {
            folder,
            date,
            path: path.into(),
            file,
            length: 0,
            buffer: Vec::new(),
            last_sequence: sequence,
            last_line: Instant::now(),
            begun: Instant::now(),
        });
        Ok(self.open.len() - 1)
    }

    /// Closes the files of which `condition` (told the lowest last sequence of all) is true.
    fn close_where(&mut self, condition: impl Fn(&OpenFile, Sequence) -> bool) -> io::Result<bool> {
        let oldest = self
            .open
            .iter()
            .map(|file| file.last_sequence)
            .min()
            .unwrap_or_default();
        let before = self.open.len();
        let (closing, open) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|file| condition(file, oldest));
        self.open = open;
        for file in closing {
            let mut file: OpenFile = file;
            file.flush()?;
            self.closed.insert(file.path);
        }
        Ok(self.open.len() < before)
    }

    /// Closes the files that are old, or wait in vain for more lines; true where there were some: then the note must be
    /// committed before anything else is written.
    pub(super) fn close_idle(&mut self, now: Timestamp) -> io::Result<bool> {
        let today = utc_day(now);
        let rotation = self.rotation;
        self.close_where(|file, _| {
            let idle = file.last_line.elapsed();
            idle >= rotation.idle
                || file.begun.elapsed() >= rotation.age
                || (file.date < today && idle >= rotation.idle_past)
        })
    }

    /// Complete files, by name below the root.
    pub(super) fn closed(&self) -> impl Iterator<Item = &RelativePath> {
        self.closed.iter()
    }

    /// The file is compressed; the next note says so.
    pub(super) fn forget_closed(&mut self, path: &str) {
        self.closed.remove(path);
    }

    pub(super) fn note(&self) -> Bytes {
        let mut writer = Writer(BytesMut::new());
        writer.0.put_u8(NOTE_VERSION);
        writer.0.put_u64_le(self.identity);
        writer.length(self.open.len());
        for file in &self.open {
            writer.text(&file.path);
            writer.0.put_u64_le(file.length);
            writer.0.put_u64_le(file.last_sequence);
        }
        writer.length(self.closed.len());
        for path in &self.closed {
            writer.text(path);
        }
        writer.0.freeze()
    }
}

impl OpenFile {
    /// Writes what is buffered, durably.
    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(&self.buffer, self.length)?;
        self.file.sync_data()?;
        self.length += self.buffer.len() as u64;
        self.last_line = Instant::now();
        self.buffer.clear();
        self.buffer.shrink_to(1 << 20);
        Ok(())
    }
}

fn utc_day(time: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(time).date()
}

/// Makes an empty file and the folders above it, all of them durable.
fn create_durably(root: &Path, relative: &str) -> io::Result<File> {
    let path = root.join(relative);
    let directory = path.parent().unwrap_or(root);
    let missing: Vec<&Path> = directory
        .ancestors()
        .take_while(|folder| !folder.exists())
        .collect();
    fs::create_dir_all(directory)?;
    // Cut: whatever stands under this name was written after the last commit.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    file.sync_all()?;
    compress::sync_directory(directory)?;
    for made in missing {
        if let Some(parent) = made.parent() {
            compress::sync_directory(parent)?;
        }
    }
    Ok(file)
}

struct NotedFile {
    path: RelativePath,
    length: u64,
    last_sequence: Sequence,
}

struct Note {
    identity: u64,
    open: Vec<NotedFile>,
    closed: Vec<RelativePath>,
}

impl Note {
    fn decode(note: &Bytes) -> Result<Note, DecodeError> {
        let mut reader = Reader(note.clone());
        let version = reader.byte()?;
        if version != NOTE_VERSION {
            return Err(DecodeError::Version(version));
        }
        let identity = reader.u64()?;
        let open = reader.u32()?;
        let open = (0..open)
            .map(|_| {
                Ok(NotedFile {
                    path: inside(reader.text()?)?,
                    length: reader.u64()?,
                    last_sequence: reader.u64()?,
                })
            })
            .collect::<Result<_, _>>()?;
        let closed = reader.u32()?;
        let closed = (0..closed)
            .map(|_| inside(reader.text()?))
            .collect::<Result<_, _>>()?;
        Ok(Note {
            identity,
            open,
            closed,
        })
    }
}

/// Three plain names: nothing that leads out of the root.
fn inside(path: String) -> Result<RelativePath, DecodeError> {
    let mut components = Path::new(&path).components();
    let plain = components.all(|component| matches!(component, Component::Normal(_)));
    if plain && path.split('/').count() == 3 {
        Ok(path.into())
    } else {
        Err(DecodeError::Invalid("path"))
    }
}
