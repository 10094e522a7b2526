//! What a spool's folder holds when it is opened.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    io,
    ops::Range,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    DamageCounters, OpenError, Pending, Segment, Sequence, State,
    budget::Shares,
    cursor::{self, Cursor},
    doubt,
    frame::{Found, HEADER_BYTES, Scanner, frame_bytes},
    storage::{Storage, StorageFile, is_unreadable},
    writer::BATCH_BYTES,
};

pub(super) const LOCK_NAME: &str = "lock";
pub(super) const DAMAGED_NAME: &str = "damaged";
/// What a segment is taken to hold whose length the disk does not tell.
const LENGTH_MAX: u64 = 1 << 30;

pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) damage: DamageCounters,
    pub(super) lock: Box<dyn Send + Sync>,
}

/// Takes the lock and reads the cursor and every segment that it has not passed, or that holds entries after
/// `retain_after`.
pub(super) fn recover(
    storage: &dyn Storage,
    directory: &Path,
    retain_after: Sequence,
    owner: fn(&[u8]) -> Option<&str>,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<Recovered, OpenError> {
    let io = |cause| OpenError::Io {
        path: directory.display().to_string(),
        cause,
    };
    storage.create_directory(directory).map_err(io)?;
    let lock = storage
        .lock(&directory.join(LOCK_NAME))
        .map_err(|cause| match cause.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse {
                path: directory.display().to_string(),
            },
            _ => io(cause),
        })?;
    let damage = DamageCounters::default();
    let committed = read_cursor(storage, directory, &damage).map_err(io)?;
    let noted = doubt::noted(storage, directory).map_err(io)?;
    let segments = segments_in(storage, directory).map_err(io)?;
    let mut found = Content {
        storage,
        directory,
        committed: committed.0,
        damage: &damage,
        pending: Pending::default(),
        last_sequence: committed.0,
        lost_bytes: 0,
        owner,
        visit,
        shares: HashMap::new(),
    };
    let newest = segments.last().map_or(0, |segment| segment.first_sequence);
    let is_new = segments.is_empty();
    let kept = found
        .scan_all(segments, &noted, committed.0.min(retain_after))
        .map_err(io)?;
    // Entries that were torn off had numbers too; none of them had less than a header. Nor had those of a batch whose sync
    // failed: the life before may have read them, and a loss of power has taken them without a trace.
    let lost_bytes = found.lost_bytes + if is_new { 0 } else { BATCH_BYTES };
    let highest = found.last_sequence.max(newest.saturating_sub(1));
    let next_sequence = highest + lost_bytes / HEADER_BYTES as u64 + 1;
    Ok(Recovered {
        state: State {
            queue: Vec::new(),
            queue_bytes: 0,
            reserved_bytes: 0,
            commits: Vec::new(),
            next_sequence,
            writing: false,
            spare_buffer: Vec::new(),
            ready: None,
            is_preparing: false,
            told_apart: VecDeque::new(),
            is_telling: false,
            active: None,
            open_segment: None,
            closing: false,
            abandoned: false,
            ended: false,
            segments: kept,
            shares: found.shares,
            full_until: None,
            last_sequence: found.last_sequence,
            tail: VecDeque::new(),
            tail_bytes: 0,
            tail_floor: found.last_sequence,
            handed: VecDeque::new(),
            handed_to: committed.0,
            committed,
            recovered: found.pending.entries,
            appended: 0,
            syncs: 0,
            settled: 0,
            pending: found.pending,
        },
        damage,
        lock,
    })
}

/// In the order in which they were begun.
pub(super) fn segments_in(storage: &dyn Storage, directory: &Path) -> io::Result<Vec<Segment>> {
    let names = storage.list(directory)?;
    let mut segments: Vec<Segment> = names
        .iter()
        .filter_map(|name| Segment::parse_name(name))
        .collect();
    segments.sort_by_key(|segment| (segment.first_sequence, segment.id));
    Ok(segments)
}

/// Where it cannot be read, all that is there counts as not delivered.
fn read_cursor(
    storage: &dyn Storage,
    directory: &Path,
    damage: &DamageCounters,
) -> io::Result<(Sequence, Bytes)> {
    match Cursor::read(storage, directory) {
        Err(error) if is_unreadable(&error) => {
            give_up(storage, directory, cursor::NAME, &error);
            damage.add(0, false);
            Ok(Default::default())
        }
        read => Ok(read?.unwrap_or_default()),
    }
}

struct Content<'a> {
    storage: &'a dyn Storage,
    directory: &'a Path,
    committed: Sequence,
    damage: &'a DamageCounters,
    pending: Pending,
    last_sequence: Sequence,
    /// Behind the last entry that could be read: there may have been others.
    lost_bytes: u64,
    owner: fn(&[u8]) -> Option<&str>,
    visit: &'a mut dyn FnMut(&[u8]),
    shares: HashMap<u64, Shares>,
}

impl Content<'_> {
    /// Reads the segments that hold entries after `passed_to`; gives those that are there.
    fn scan_all(
        &mut self,
        segments: Vec<Segment>,
        noted: &BTreeSet<String>,
        passed_to: Sequence,
    ) -> io::Result<VecDeque<Segment>> {
        let (storage, directory) = (self.storage, self.directory);
        let last = segments
            .last()
            .map(|segment| (segment.first_sequence, segment.id));
        let firsts: Vec<Sequence> = segments.iter().map(|segment| segment.first_sequence).collect();
        let mut kept = VecDeque::new();
        for mut segment in segments {
            // Two segments can begin alike, where nothing of the first one's only write was left.
            let next = firsts.get(firsts.partition_point(|first| *first <= segment.first_sequence));
            if next.is_none_or(|next| *next > passed_to + 1) {
                let is_last = last.is_some_and(|(_, id)| id == segment.id);
                // The process may have died between a sync that failed and its seal.
                let in_doubt = last.is_some_and(|(first, _)| first == segment.first_sequence)
                    || noted.contains(&segment.name());
                match self.scan(&mut segment, is_last, in_doubt) {
                    Err(error) if is_unreadable(&error) => {
                        give_up(storage, directory, &segment.name(), &error);
                        self.damage.add(segment.length, false);
                        self.lost_bytes += match segment.length {
                            0 => LENGTH_MAX,
                            length => length,
                        };
                        continue;
                    }
                    scanned => scanned?,
                }
                if segment.last_sequence == 0 {
                    self.remove_empty(&segment);
                    continue;
                }
            }
            kept.push_back(segment);
        }
        Ok(kept)
    }

    /// Reads a segment. The error is one of opening it: then nothing of it counts.
    fn scan(&mut self, segment: &mut Segment, last: bool, in_doubt: bool) -> io::Result<()> {
        let (file, is_durable) = self.open(segment, in_doubt)?;
        let mut scanner = Scanner::new(file, segment.id, 0, segment.length);
        scanner.pass_unreadable(true);
        loop {
            match scanner.next()? {
                Found::Frame {
                    sequence,
                    offset,
                    length,
                } => {
                    let payload = scanner.payload_bytes(offset, length)?;
                    // What a loss of power may still take must come again.
                    if is_durable || sequence <= self.committed {
                        (self.visit)(payload);
                    }
                    let owner = (self.owner)(payload);
                    if let Some(owner) = owner {
                        let shares = self.shares.entry(segment.id).or_default();
                        match shares.get_mut(owner) {
                            Some(bytes) => *bytes += frame_bytes(length),
                            None => {
                                shares.insert(owner.into(), frame_bytes(length));
                            }
                        }
                    }
                    segment.last_sequence = sequence;
                    self.last_sequence = self.last_sequence.max(sequence);
                    if sequence > self.committed {
                        self.pending.entries += 1;
                        self.pending.bytes += frame_bytes(length);
                    }
                }
                Found::Damage { offset, bytes } => {
                    let at_end = last && offset + bytes == segment.length;
                    if at_end {
                        self.lost_bytes += bytes;
                    }
                    let torn = at_end && !scanner.met_unreadable();
                    let range = offset..offset + bytes;
                    keep_damage_aside(self.storage, self.directory, segment, range, torn, self.damage);
                }
                Found::End => break,
            }
        }
        segment.unreadable = scanner.met_unreadable();
        Ok(())
    }

    /// A segment's file, and whether the disk holds all that is read from it.
    fn open(&self, segment: &mut Segment, in_doubt: bool) -> io::Result<(Arc<dyn StorageFile>, bool)> {
        let path = self.directory.join(segment.name());
        let file = self.storage.open(&path)?;
        segment.length = file.length()?;
        // The last life may have died between its write and its sync: what is read from here on must not vanish.
        let synced = file.sync();
        if let Err(error) = &synced {
            tracing::warn!(segment = segment.name(), %error, "a segment could not be synced again");
        }
        if synced.is_ok() && !in_doubt {
            return Ok((file, true));
        }
        if !doubt::holds_after(Arc::clone(&file), segment, self.committed)? {
            return Ok((file, false));
        }
        let is_durable = doubt::rewrite(self.storage, self.directory, segment);
        Ok((self.storage.open(&path)?, is_durable))
    }

    /// Not one entry; what there was is kept aside.
    fn remove_empty(&self, segment: &Segment) {
        let removed = if segment.unreadable {
            set_aside(self.storage, self.directory, &segment.name())
        } else {
            self.storage.remove(&self.directory.join(segment.name()))
        };
        if let Err(error) = removed {
            tracing::warn!(segment = segment.name(), %error, "an empty segment could not be removed");
        }
    }
}

/// A file that the disk cannot give back stops nothing.
fn give_up(storage: &dyn Storage, directory: &Path, name: &str, cause: &io::Error) {
    tracing::error!(directory = %directory.display(), name, %cause, "a file of the spool cannot be read; it is set aside");
    if let Err(error) = set_aside(storage, directory, name) {
        tracing::error!(directory = %directory.display(), name, %error, "it could not be set aside");
    }
}

/// Moves a file to `damaged/`: another tool, or another day, may read it.
pub(super) fn set_aside(storage: &dyn Storage, directory: &Path, name: &str) -> io::Result<()> {
    let aside = directory.join(DAMAGED_NAME);
    storage.create_directory(&aside)?;
    storage.rename(&directory.join(name), &aside.join(name))?;
    storage.sync_directory(&aside)?;
    storage.sync_directory(directory)
}

/// Copies bytes that are no frames to `damaged/` and counts them, once for each place.
pub(super) fn keep_damage_aside(
    storage: &dyn Storage,
    directory: &Path,
    segment: &Segment,
    range: Range<u64>,
    torn: bool,
    damage: &DamageCounters,
) {
    let aside = directory.join(DAMAGED_NAME);
    let name = format!("{}-{}", segment.name(), range.start);
    if storage.list(&aside).is_ok_and(|names| names.contains(&name)) {
        return;
    }
    damage.add(range.end - range.start, torn);
    tracing::error!(
        segment = segment.name(),
        offset = range.start,
        bytes = range.end - range.start,
        torn,
        "bytes in the spool are no entries; they are kept in {}",
        aside.display(),
    );
    if let Err(error) = copy(storage, directory, segment, range, &aside.join(name)) {
        tracing::error!(%error, "damaged bytes of the spool could not be kept aside");
    }
}

fn copy(
    storage: &dyn Storage,
    directory: &Path,
    segment: &Segment,
    range: Range<u64>,
    target: &Path,
) -> io::Result<()> {
    let aside = directory.join(DAMAGED_NAME);
    storage.create_directory(&aside)?;
    let source = storage.open(&directory.join(segment.name()))?;
    doubt::copy_around(storage, &*source, range, target)?;
    storage.sync_directory(&aside)
}
