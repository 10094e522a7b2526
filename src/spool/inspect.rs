//! What a spool's folder holds, read without changing one byte of it: for the command line, on a stopped gateway's
//! spool, however damaged.

use std::{fs::File, io, path::Path};

use rustix::fs::{FlockOperation, flock};

use super::{
    Entry, OpenError, Pending, Segment, Sequence,
    committer::HEADROOM_NAME,
    cursor::{self, Cursor},
    frame::{Found, Scanner, frame_bytes},
    recovery::{LOCK_NAME, segments_in},
    storage::{Disk, Storage},
};

/// A spool as it lies on the disk.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Everything up to here is delivered; 0 where nothing is, or where the cursor cannot be read.
    pub committed: Sequence,
    /// Bytes of the cursor's file that are no entries of it.
    pub cursor_damaged_bytes: u64,
    pub segments: Vec<InspectedSegment>,
    /// Entries after the cursor.
    pub pending: Pending,
}

#[derive(Debug)]
pub struct InspectedSegment {
    pub name: String,
    pub bytes: u64,
    pub entries: u64,
    pub damage: Vec<DamagedRegion>,
    /// Why it could not be read to its end.
    pub unreadable: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedRegion {
    pub offset: u64,
    pub bytes: u64,
    /// At the end of the newest segment: what was being written when the process died, and never acknowledged.
    pub torn: bool,
}

impl Inspection {
    /// Regions that are neither entries nor a torn end.
    pub fn damaged_regions(&self) -> impl Iterator<Item = (&InspectedSegment, &DamagedRegion)> {
        self.segments.iter().flat_map(|segment| {
            let damage = segment.damage.iter().filter(|region| !region.torn);
            damage.map(move |region| (segment, region))
        })
    }

    pub fn is_sound(&self) -> bool {
        self.cursor_damaged_bytes == 0
            && self.damaged_regions().next().is_none()
            && self.segments.iter().all(|segment| segment.unreadable.is_none())
    }
}

/// A lock alone is none: a data folder has one too.
const OWN_NAMES: [&str; 2] = [cursor::NAME, HEADROOM_NAME];

/// Whether a folder is a spool.
pub fn is_spool(directory: &Path) -> bool {
    Disk.list(directory).is_ok_and(|names| {
        names
            .iter()
            .any(|name| OWN_NAMES.contains(&name.as_str()) || Segment::parse_name(name).is_some())
    })
}

/// Reads a whole spool; `each` is called with every intact entry, in order, and whether it is delivered already.
///
/// # Errors
///
/// Where a gateway runs on the spool, or the folder cannot be listed. Damage is no error.
pub fn inspect(directory: &Path, mut each: impl FnMut(&Entry, bool)) -> Result<Inspection, OpenError> {
    let io = |cause| OpenError::Io {
        path: directory.display().to_string(),
        cause,
    };
    let segments = segments_in(&Disk, directory).map_err(io)?;
    let _lock = lock(directory)?;
    let (committed, cursor_damaged_bytes) = Cursor::inspect(&Disk, directory).map_err(io)?;
    let mut inspection = Inspection {
        committed,
        cursor_damaged_bytes,
        ..Inspection::default()
    };
    let newest = segments.len().saturating_sub(1);
    for (index, segment) in segments.into_iter().enumerate() {
        let mut inspected = InspectedSegment {
            name: segment.name(),
            bytes: 0,
            entries: 0,
            damage: Vec::new(),
            unreadable: None,
        };
        let read = scan(directory, &segment, &mut inspected, |entry| {
            let delivered = entry.sequence <= committed;
            if !delivered {
                inspection.pending.entries += 1;
                inspection.pending.bytes += frame_bytes(entry.payload.len());
            }
            each(&entry, delivered);
        });
        inspected.unreadable = read.err().map(|error| error.to_string());
        if index == newest
            && let Some(last) = inspected.damage.last_mut()
        {
            last.torn = last.offset + last.bytes == inspected.bytes;
        }
        inspection.segments.push(inspected);
    }
    Ok(inspection)
}

fn scan(
    directory: &Path,
    segment: &Segment,
    inspected: &mut InspectedSegment,
    mut each: impl FnMut(Entry),
) -> io::Result<()> {
    let file = Disk.open(&directory.join(segment.name()))?;
    inspected.bytes = file.length()?;
    let mut scanner = Scanner::new(file, segment.id, 0, inspected.bytes);
    loop {
        match scanner.next()? {
            Found::Frame {
                sequence,
                offset,
                length,
            } => {
                inspected.entries += 1;
                let payload = scanner.payload(offset, length)?;
                each(Entry { sequence, payload });
            }
            Found::Damage { offset, bytes } => inspected.damage.push(DamagedRegion {
                offset,
                bytes,
                torn: false,
            }),
            Found::End => return Ok(()),
        }
    }
}

/// Keeps a gateway from starting meanwhile; makes no file.
fn lock(directory: &Path) -> Result<Option<File>, OpenError> {
    // A copy of a spool may lack the file, and be on a file system that knows no locks.
    let Ok(file) = File::open(directory.join(LOCK_NAME)) else {
        return Ok(None);
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => Err(OpenError::InUse {
            path: directory.display().to_string(),
        }),
        _ => Ok(Some(file)),
    }
}
