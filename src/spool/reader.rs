//! Reading: from the newest entries in memory, else from the segments.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    DamageCounters, Entry, Pending, Segment, Sequence, Shared,
    frame::{Found, Scanner, frame_bytes},
    recovery::keep_damage_aside,
    storage::is_unreadable,
};

/// Between two tries of a read that the disk refused.
const RETRY: Duration = Duration::from_millis(500);
/// Tries, before what the disk does not give back counts as damage.
const ATTEMPTS: u32 = 6;
/// Readers whose places are remembered: each has a file open and a buffer.
const POSITIONS_MAX: usize = 4;
/// Failures after which so long none has followed count no more.
const FORGET: Duration = Duration::from_secs(60);

/// Failed reads by the position that they begin after. Who reads may give up a read, and begin it anew, at any time.
#[derive(Default)]
pub(super) struct Failures(HashMap<Sequence, Failed>);

struct Failed {
    attempts: u32,
    next_attempt: Instant,
}

impl Failures {
    /// Failures between two tries, of reads that were given up and ended later, count as one.
    fn add(&mut self, after: Sequence) {
        let now = Instant::now();
        self.0.retain(|_, failed| now < failed.next_attempt + FORGET);
        let failed = self.0.entry(after).or_insert(Failed {
            attempts: 0,
            next_attempt: now,
        });
        if now >= failed.next_attempt {
            failed.attempts += 1;
            failed.next_attempt = now + RETRY;
        }
    }

    /// How long to wait, and whether what cannot be read is to be passed over.
    fn before(&self, after: Sequence) -> (Duration, bool) {
        self.0.get(&after).map_or((Duration::ZERO, false), |failed| {
            let pause = failed.next_attempt.saturating_duration_since(Instant::now());
            (pause, failed.attempts >= ATTEMPTS)
        })
    }
}

/// Where a read ended.
struct Position {
    scanner: Scanner,
    segment: u64,
    sequence: Sequence,
}

/// Where the last reads ended, the latest last: several may read at a time, each in its own place, and who had to begin
/// at the start of a segment would read all of it again and again.
#[derive(Default)]
pub(super) struct Positions(Vec<Position>);

impl Positions {
    /// The place in a segment from which it is the least way to what comes after `after`.
    fn nearest(&self, segment: u64, after: Sequence) -> Option<usize> {
        let at =
            |(_, position): &(usize, &Position)| position.segment == segment && position.sequence <= after;
        let found = self.0.iter().enumerate().filter(at);
        found
            .max_by_key(|(_, position)| position.sequence)
            .map(|(index, _)| index)
    }
}

pub(super) async fn read(shared: &Arc<Shared>, after: Sequence, max_bytes: usize) -> Option<Vec<Entry>> {
    // Whatever stood up to here could not be read and will never be.
    let mut lost_to = 0;
    loop {
        let progress = shared.progress.notified();
        tokio::pin!(progress);
        progress.as_mut().enable();
        let last_sequence = match look(shared, after, max_bytes, lost_to) {
            Look::Entries(entries) => return Some(entries),
            Look::End => return None,
            Look::Nothing => {
                progress.await;
                continue;
            }
            Look::OnDisk(last_sequence) => last_sequence,
        };
        let reading = Arc::clone(shared);
        let (pause, passes) = shared.read_failures.lock().before(after);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let read = tokio::task::spawn_blocking(move || {
            let read = read_files(&reading, after, max_bytes, passes);
            // Here, where it counts though nobody may wait for it any more.
            if let Err(error) = &read {
                reading.read_failures.lock().add(after);
                tracing::error!(directory = %reading.directory.display(), %error, "the spool cannot be read");
            }
            read
        })
        .await;
        let read = read.unwrap_or_else(|error| {
            shared.read_failures.lock().add(after);
            tracing::error!(directory = %shared.directory.display(), %error, "a read of the spool ended early");
            Err(io::Error::other(error))
        });
        match read {
            Ok(entries) if entries.is_empty() => lost_to = last_sequence,
            Ok(entries) => {
                shared.read_failures.lock().0.remove(&after);
                hand_out(&mut shared.state.lock(), after, &entries);
                return Some(entries);
            }
            Err(_) => {}
        }
    }
}

enum Look {
    Entries(Vec<Entry>),
    /// In the segments, up to this sequence.
    OnDisk(Sequence),
    Nothing,
    End,
}

fn look(shared: &Shared, after: Sequence, max_bytes: usize, lost_to: Sequence) -> Look {
    let mut state = shared.state.lock();
    if state.last_sequence <= after.max(lost_to) {
        if state.ended || (state.closing && state.is_settled()) {
            Look::End
        } else {
            Look::Nothing
        }
    } else if after >= state.tail_floor {
        let entries = from_tail(&state.tail, after, max_bytes);
        hand_out(&mut state, after, &entries);
        Look::Entries(entries)
    } else {
        Look::OnDisk(state.last_sequence)
    }
}

fn from_tail(tail: &std::collections::VecDeque<Entry>, after: Sequence, max_bytes: usize) -> Vec<Entry> {
    let start = tail.partition_point(|entry| entry.sequence <= after);
    let mut bytes = 0;
    tail.range(start..)
        .take_while(|entry| {
            let room = bytes < max_bytes;
            bytes += entry.payload.len();
            room
        })
        .cloned()
        .collect()
}

/// Notes the sizes of what was read, so that a commit knows what it takes off.
fn hand_out(state: &mut super::State, after: Sequence, entries: &[Entry]) {
    if after > state.handed_to {
        return;
    }
    for entry in entries {
        if entry.sequence > state.handed_to {
            state
                .handed
                .push_back((entry.sequence, frame_bytes(entry.payload.len())));
            state.handed_to = entry.sequence;
        }
    }
}

/// `passes_unreadable`: what the disk cannot give back is passed over, not an error.
fn read_files(
    shared: &Shared,
    after: Sequence,
    max_bytes: usize,
    passes_unreadable: bool,
) -> io::Result<Vec<Entry>> {
    let segments = segments_after(shared, after);
    let mut position = segments.first().and_then(|first| {
        let mut positions = shared.positions.lock();
        let nearest = positions.nearest(first.id, after)?;
        Some(positions.0.remove(nearest))
    });
    let mut entries = Vec::new();
    let mut bytes = 0;
    for segment in segments {
        let mut scanner = match position.take() {
            Some(position) if position.segment == segment.id => position.scanner,
            _ => match shared.scanner(&segment) {
                Ok(Some(scanner)) => scanner,
                Ok(None) => continue,
                Err(error) if passes_unreadable && is_unreadable(&error) => {
                    shared.pass_over(&segment, &error);
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        scanner.pass_unreadable(passes_unreadable);
        scanner.extend(segment.length);
        while bytes < max_bytes {
            match scanner.next()? {
                Found::Frame {
                    sequence,
                    offset,
                    length,
                } if sequence > after => {
                    let payload = scanner.payload(offset, length)?;
                    bytes += payload.len();
                    entries.push(Entry { sequence, payload });
                }
                Found::Frame { .. } => {}
                Found::Damage { offset, bytes } => shared.keep_aside(&segment, offset, bytes),
                Found::End => break,
            }
        }
        if scanner.met_unreadable() {
            shared.mark_unreadable(segment.id);
        }
        let sequence = entries.last().map_or(after, |entry: &Entry| entry.sequence);
        position = Some(Position {
            scanner,
            segment: segment.id,
            sequence,
        });
        if bytes >= max_bytes {
            break;
        }
    }
    let mut positions = shared.positions.lock();
    positions.0.extend(position);
    // A file would take room for as long as it is open, though it is removed.
    positions.0.retain(|position| shared.holds(position.segment));
    if positions.0.len() > POSITIONS_MAX {
        positions.0.remove(0);
    }
    drop(positions);
    Ok(entries)
}

/// The segments that may hold entries after `after`.
fn segments_after(shared: &Shared, after: Sequence) -> Vec<Segment> {
    let state = shared.state.lock();
    let begins = state
        .segments
        .partition_point(|segment| segment.first_sequence <= after + 1);
    state
        .segments
        .range(begins.saturating_sub(1)..)
        .copied()
        .collect()
}

/// What lies after `after` up to `to`; for a commit of entries that nobody has read.
pub(super) fn count(shared: &Shared, after: Sequence, to: Sequence) -> Pending {
    let mut counted = Pending::default();
    for segment in segments_after(shared, after) {
        if segment.first_sequence > to {
            break;
        }
        let Ok(Some(mut scanner)) = shared.scanner(&segment) else {
            continue;
        };
        while let Ok(found) = scanner.next() {
            match found {
                Found::Frame { sequence, length, .. } if sequence > after && sequence <= to => {
                    counted.entries += 1;
                    counted.bytes += frame_bytes(length);
                }
                Found::Frame { .. } | Found::Damage { .. } => {}
                Found::End => break,
            }
        }
    }
    counted
}

impl Shared {
    fn holds(&self, segment: u64) -> bool {
        let state = self.state.lock();
        state.segments.iter().any(|held| held.id == segment)
    }

    /// Closes what the last reads have left open, where it is no longer part of the spool.
    pub(super) fn close_removed(&self) {
        self.positions
            .lock()
            .0
            .retain(|position| self.holds(position.segment));
    }

    /// None where the segment was removed: all of it is delivered.
    fn scanner(&self, segment: &Segment) -> io::Result<Option<Scanner>> {
        match self.storage.open(&self.directory.join(segment.name())) {
            Ok(file) => Ok(Some(Scanner::new(file, segment.id, 0, segment.length))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// True where it was not known before.
    fn mark_unreadable(&self, segment: u64) -> bool {
        let mut state = self.state.lock();
        let found = state.segments.iter_mut().find(|held| held.id == segment);
        found.is_some_and(|found| !std::mem::replace(&mut found.unreadable, true))
    }

    /// Of a segment that cannot even be opened.
    fn pass_over(&self, segment: &Segment, error: &io::Error) {
        if self.mark_unreadable(segment.id) {
            tracing::error!(
                segment = segment.name(), %error,
                "a segment of the spool cannot be opened; it is set aside once all after it is delivered"
            );
            self.damage.add(segment.length, false);
        }
    }

    fn keep_aside(&self, segment: &Segment, offset: u64, bytes: u64) {
        keep_damage_aside(
            &*self.storage,
            &self.directory,
            segment,
            offset..offset + bytes,
            false,
            &self.damage,
        );
    }
}

impl DamageCounters {
    pub(super) fn add(&self, bytes: u64, torn: bool) {
        use std::sync::atomic::Ordering::Relaxed;
        if torn {
            self.torn_bytes.fetch_add(bytes, Relaxed);
        } else {
            self.regions.fetch_add(1, Relaxed);
            self.bytes.fetch_add(bytes, Relaxed);
        }
    }
}
