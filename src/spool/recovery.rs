//! What a spool's folder holds when it is opened.

use std::{
    collections::{HashMap, VecDeque},
    io,
    ops::Range,
    path::Path,
};

use super::{
    DamageCounters, OpenError, Pending, Segment, Sequence, State,
    budget::Shares,
    cursor::Cursor,
    frame::{Found, HEADER_BYTES, Scanner, frame_bytes, read_full},
    storage::Storage,
    writer::BATCH_BYTES,
};

pub(super) const LOCK_NAME: &str = "lock";
pub(super) const DAMAGED_NAME: &str = "damaged";

pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) next_sequence: Sequence,
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
    let committed = Cursor::read(storage, directory).map_err(io)?.unwrap_or_default();
    let segments = segments_in(storage, directory).map_err(io)?;
    let damage = DamageCounters::default();
    let mut found = Content {
        pending: Pending::default(),
        last_sequence: committed.0,
        torn_bytes: 0,
        owner,
        visit,
        shares: HashMap::new(),
    };
    let newest = segments
        .last()
        .map_or(0, |segment| segment.first_sequence.saturating_sub(1));
    let last = segments.last().map(|segment| segment.id);
    let firsts: Vec<Sequence> = segments.iter().map(|segment| segment.first_sequence).collect();
    let mut kept = VecDeque::new();
    for mut segment in segments {
        // Two segments can begin alike, where nothing of the first one's only write was left.
        let next = firsts.get(firsts.partition_point(|first| *first <= segment.first_sequence));
        let passed = next.is_some_and(|next| *next <= committed.0.min(retain_after) + 1);
        let is_last = last == Some(segment.id);
        if !passed {
            found
                .scan(storage, directory, &mut segment, committed.0, is_last, &damage)
                .map_err(io)?;
            if segment.last_sequence == 0 {
                // Not one entry; what there was is kept aside.
                if let Err(error) = storage.remove(&directory.join(segment.name())) {
                    tracing::warn!(segment = segment.name(), %error, "an empty segment could not be removed");
                }
                continue;
            }
        }
        kept.push_back(segment);
    }
    // Entries that were torn off had numbers too; none of them had less than a header. Nor had those of a batch whose sync
    // failed: the life before may have read them, and a loss of power has taken them without a trace.
    let lost_bytes = found.torn_bytes + if last.is_some() { BATCH_BYTES } else { 0 };
    let next_sequence = found.last_sequence.max(newest) + lost_bytes / HEADER_BYTES as u64 + 1;
    Ok(Recovered {
        state: State {
            queue: Vec::new(),
            queue_bytes: 0,
            commits: Vec::new(),
            writing: false,
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
            settled: 0,
            pending: found.pending,
        },
        next_sequence,
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

struct Content<'a> {
    pending: Pending,
    last_sequence: Sequence,
    torn_bytes: u64,
    owner: fn(&[u8]) -> Option<&str>,
    visit: &'a mut dyn FnMut(&[u8]),
    shares: HashMap<u64, Shares>,
}

impl Content<'_> {
    fn scan(
        &mut self,
        storage: &dyn Storage,
        directory: &Path,
        segment: &mut Segment,
        committed: Sequence,
        last: bool,
        damage: &DamageCounters,
    ) -> io::Result<()> {
        let file = storage.open(&directory.join(segment.name()))?;
        segment.length = file.length()?;
        // The last life may have died between its write and its sync: what is read from here on must not vanish.
        if let Err(error) = file.sync() {
            tracing::warn!(segment = segment.name(), %error, "a segment could not be synced again");
        }
        let mut scanner = Scanner::new(file, segment.id, 0, segment.length);
        loop {
            match scanner.next()? {
                Found::Frame {
                    sequence,
                    offset,
                    length,
                } => {
                    let payload = scanner.payload_bytes(offset, length)?;
                    (self.visit)(payload);
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
                    if sequence > committed {
                        self.pending.entries += 1;
                        self.pending.bytes += frame_bytes(length);
                    }
                }
                Found::Damage { offset, bytes } => {
                    let torn = last && offset + bytes == segment.length;
                    if torn {
                        self.torn_bytes = bytes;
                    }
                    keep_damage_aside(storage, directory, segment, offset..offset + bytes, torn, damage);
                }
                Found::End => return Ok(()),
            }
        }
    }
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
    const CHUNK_BYTES: u64 = 1 << 20;
    let aside = directory.join(DAMAGED_NAME);
    storage.create_directory(&aside)?;
    let source = storage.open(&directory.join(segment.name()))?;
    let mut copy = storage.create(target)?;
    let mut chunk = Vec::new();
    let mut offset = range.start;
    while offset < range.end {
        chunk.resize((range.end - offset).min(CHUNK_BYTES) as usize, 0);
        let read = read_full(&*source, &mut chunk, offset)?;
        if read == 0 {
            break;
        }
        copy.append(&chunk[..read])?;
        offset += read as u64;
    }
    copy.sync()?;
    storage.sync_directory(&aside)
}
