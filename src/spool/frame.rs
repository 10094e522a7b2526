//! The frame: how one entry lies in a segment.
//!
//! ```text
//! magic 4 | payload length u32 | CRC32C u32 | segment id u64 | sequence u64 | payload
//! ```
//!
//! All little-endian. The checksum covers length, segment id, sequence and payload. The segment id is random, so
//! that no payload can pass for a frame and no leftover of another file for a part of this one. The last byte of the
//! magic is the version of the format.

use std::{io, sync::Arc};

use bytes::Bytes;
use memchr::memmem;

use super::{
    Sequence,
    storage::{StorageFile, is_unreadable},
};

pub(super) const MAGIC: [u8; 4] = *b"HWF1";
pub(super) const HEADER_BYTES: usize = 28;
/// Read from a file at a time.
const WINDOW_BYTES: usize = 256 << 10;
/// Read alone where more at once cannot be read.
const SECTOR_BYTES: u64 = 4096;
/// A disk may take seconds for each sector that it cannot read: past so many of one file it is not asked any more.
const UNREADABLE_SECTORS_MAX: usize = 256;

/// Bytes that an entry takes in a segment.
pub(super) fn frame_bytes(payload: usize) -> u64 {
    (HEADER_BYTES + payload) as u64
}

/// Bytes that so many entries take, which are so long together.
pub(super) fn frames_bytes(entries: usize, payloads: usize) -> u64 {
    HEADER_BYTES as u64 * entries as u64 + payloads as u64
}

fn checksum(length: [u8; 4], segment: u64, sequence: Sequence, payload: &[u8]) -> u32 {
    let mut head = [0; 20];
    head[..4].copy_from_slice(&length);
    head[4..12].copy_from_slice(&segment.to_le_bytes());
    head[12..].copy_from_slice(&sequence.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), payload)
}

/// Appends one frame to `buffer`. A payload has less than 4 GiB (the caller's bound is far lower).
pub(super) fn encode(buffer: &mut Vec<u8>, segment: u64, sequence: Sequence, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    buffer.extend_from_slice(&MAGIC);
    buffer.extend_from_slice(&length);
    buffer.extend_from_slice(&checksum(length, segment, sequence, payload).to_le_bytes());
    buffer.extend_from_slice(&segment.to_le_bytes());
    buffer.extend_from_slice(&sequence.to_le_bytes());
    buffer.extend_from_slice(payload);
}

struct Header {
    length: [u8; 4],
    checksum: u32,
    segment: u64,
    sequence: Sequence,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let four = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let eight = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        (four(0) == MAGIC).then(|| Header {
            length: four(4),
            checksum: u32::from_le_bytes(four(8)),
            segment: eight(12),
            sequence: eight(20),
        })
    }
}

/// What stands next in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Frame {
        sequence: Sequence,
        /// Where the payload begins.
        offset: u64,
        length: usize,
    },
    /// Bytes that are no frame, up to the next one or to the end.
    Damage {
        offset: u64,
        bytes: u64,
    },
    End,
}

/// Reads a segment's frames in order and finds its way again after a bad one.
pub(super) struct Scanner {
    file: Arc<dyn StorageFile>,
    segment: u64,
    position: u64,
    end: u64,
    last_sequence: Sequence,
    window: Vec<u8>,
    window_offset: u64,
    passes_unreadable: bool,
    unreadable_sectors: usize,
}

impl Scanner {
    /// From `position` on, which must be where a frame begins, or 0.
    pub(super) fn new(file: Arc<dyn StorageFile>, segment: u64, position: u64, end: u64) -> Scanner {
        Scanner {
            file,
            segment,
            position,
            end,
            last_sequence: 0,
            window: Vec::new(),
            window_offset: 0,
            passes_unreadable: false,
            unreadable_sectors: 0,
        }
    }

    /// Whether sectors that the disk cannot give back are damage like any other, or errors.
    pub(super) fn pass_unreadable(&mut self, passes: bool) {
        self.passes_unreadable = passes;
    }

    /// There were sectors that the disk could not give back.
    pub(super) fn met_unreadable(&self) -> bool {
        self.unreadable_sectors > 0
    }

    /// The segment has grown.
    pub(super) fn extend(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    pub(super) fn next(&mut self) -> io::Result<Found> {
        if self.position >= self.end {
            return Ok(Found::End);
        }
        let start = self.position;
        if let Some((sequence, length)) = self.frame_at(start)? {
            self.position = start + frame_bytes(length);
            self.last_sequence = sequence;
            let offset = start + HEADER_BYTES as u64;
            return Ok(Found::Frame {
                sequence,
                offset,
                length,
            });
        }
        self.position = self.resynchronise(start + 1)?;
        Ok(Found::Damage {
            offset: start,
            bytes: self.position - start,
        })
    }

    /// The payload of a frame that [`Scanner::next`] has just found.
    pub(super) fn payload(&mut self, offset: u64, length: usize) -> io::Result<Bytes> {
        Ok(Bytes::copy_from_slice(self.payload_bytes(offset, length)?))
    }

    /// The same, borrowed.
    pub(super) fn payload_bytes(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        self.bytes_at(offset, length)
    }

    /// Where the next whole frame begins, or the end.
    fn resynchronise(&mut self, from: u64) -> io::Result<u64> {
        let mut at = from;
        while at + HEADER_BYTES as u64 <= self.end {
            let window = self.bytes_at(at, HEADER_BYTES)?;
            if window.len() < HEADER_BYTES {
                break;
            }
            let window = self.window_from(at);
            match memmem::find(window, &MAGIC) {
                Some(found) => {
                    at += found as u64;
                    if self.frame_at(at)?.is_some() {
                        return Ok(at);
                    }
                    at += 1;
                }
                None => at += (window.len() - (MAGIC.len() - 1)) as u64,
            }
        }
        Ok(self.end)
    }

    /// Sequence and payload length of the whole and intact frame at `at`.
    fn frame_at(&mut self, at: u64) -> io::Result<Option<(Sequence, usize)>> {
        let (segment, last_sequence, end) = (self.segment, self.last_sequence, self.end);
        let Some(header) = Header::parse(self.bytes_at(at, HEADER_BYTES)?) else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(header.length) as usize;
        if header.segment != segment || header.sequence <= last_sequence || at + frame_bytes(length) > end {
            return Ok(None);
        }
        let payload = self.bytes_at(at + HEADER_BYTES as u64, length)?;
        let intact = payload.len() == length
            && checksum(header.length, segment, header.sequence, payload) == header.checksum;
        Ok(intact.then_some((header.sequence, length)))
    }

    fn window_from(&self, at: u64) -> &[u8] {
        usize::try_from(at - self.window_offset)
            .ok()
            .and_then(|start| self.window.get(start..))
            .unwrap_or_default()
    }

    /// `length` bytes from `at` on; fewer where the segment ends.
    fn bytes_at(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        let held = self.window_offset + self.window.len() as u64;
        if at < self.window_offset || at + length as u64 > held {
            let rest = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
            self.window.resize(length.max(WINDOW_BYTES).min(rest), 0);
            self.window_offset = at;
            let read = if self.passes_unreadable {
                read_around(&*self.file, &mut self.window, at, &mut self.unreadable_sectors)
            } else {
                read_full(&*self.file, &mut self.window, at)
            };
            self.window.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        let window = self.window_from(at);
        Ok(window.get(..length).unwrap_or(window))
    }
}

/// Fills `buffer` from `offset` on; returns how much there was.
pub(super) fn read_full(file: &dyn StorageFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The same, but what the disk cannot give back counts as zeros, and as a sector more in `unreadable`.
pub(super) fn read_around(
    file: &dyn StorageFile,
    buffer: &mut [u8],
    offset: u64,
    unreadable: &mut usize,
) -> io::Result<usize> {
    match read_full(file, buffer, offset) {
        Err(error) if is_unreadable(&error) => read_sectors(file, buffer, offset, unreadable),
        read => read,
    }
}

fn read_sectors(
    file: &dyn StorageFile,
    buffer: &mut [u8],
    offset: u64,
    unreadable: &mut usize,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        let at = offset + filled as u64;
        let to_boundary = (SECTOR_BYTES - at % SECTOR_BYTES) as usize;
        let end = (filled + to_boundary).min(buffer.len());
        let sector = &mut buffer[filled..end];
        if *unreadable >= UNREADABLE_SECTORS_MAX {
            sector.fill(0);
        } else {
            match read_full(file, sector, at) {
                Ok(count) if count < sector.len() => return Ok(filled + count),
                Ok(_) => {}
                Err(error) if is_unreadable(&error) => {
                    sector.fill(0);
                    *unreadable += 1;
                }
                Err(error) => return Err(error),
            }
        }
        filled = end;
    }
    Ok(filled)
}
