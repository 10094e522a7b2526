//! Bytes that change on the disk, in each region of a spool.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{DIRECTORY, FaultyDisk, append, commit, open, payload, read_all, runtime};
use crate::spool::{Damage, Sequence, frame::frame_bytes};

const ENTRIES: usize = 12;

/// A spool of some entries, of which the first two are committed, one after the other.
fn written() -> FaultyDisk {
    let (runtime, disk) = (runtime(), FaultyDisk::default());
    let spool = open(&disk);
    for number in 0..ENTRIES {
        append(&spool, &payload(number)).expect("appended");
    }
    commit(&runtime, &spool, 1, b"one").expect("committed");
    commit(&runtime, &spool, 2, b"two").expect("committed");
    disk
}

/// Magic, length, checksum, segment id, sequence, payload: every byte of every frame, one at a time.
#[test]
fn any_byte_of_a_segment_costs_one_frame_and_is_counted_and_kept() {
    let bytes: usize = {
        let disk = written();
        disk.segments().iter().map(|segment| disk.length(segment)).sum()
    };
    for place in 0..bytes {
        let disk = written();
        disk.flip_at(place, 0x40);
        let spool = open(&disk);
        let found: BTreeSet<Sequence> = read_all(&runtime(), &spool, 0)
            .into_iter()
            .map(|entry| {
                let number = usize::try_from(entry.sequence).expect("small") - 1;
                assert_eq!(entry.payload, payload(number), "what is read is what was written");
                entry.sequence
            })
            .collect();
        let lost: Vec<Sequence> = (1..=ENTRIES as Sequence)
            .filter(|sequence| !found.contains(sequence))
            .collect();
        let [lost] = lost[..] else {
            panic!("byte {place} costs {lost:?}");
        };
        let damage = spool.damage();
        let frame = frame_bytes(payload(usize::try_from(lost).expect("small") - 1).len());
        assert_eq!(damage.bytes + damage.torn_bytes, frame, "byte {place}");
        let kept: usize = disk.damaged().iter().map(Vec::len).sum();
        assert_eq!(kept as u64, frame, "byte {place}");
        assert!(append(&spool, b"goes on").is_ok());
    }
}

/// A cursor that cannot be read falls back: entries come twice, none is lost.
#[test]
fn any_byte_of_the_cursor_costs_no_entry() {
    let cursor = std::path::Path::new(DIRECTORY).join("cursor");
    let bytes = written().length(&cursor);
    for place in 0..bytes {
        let disk = written();
        disk.flip_in(&cursor, place, 0x40);
        let spool = open(&disk);
        let (committed, note) = spool.committed();
        let expected: [(Sequence, &[u8]); 3] = [(0, b""), (1, b"one"), (2, b"two")];
        assert!(
            expected.contains(&(committed, &note[..])),
            "byte {place}: {committed} {note:?}"
        );
        let entries = read_all(&runtime(), &spool, committed);
        assert_eq!(entries.len() as u64, ENTRIES as u64 - committed, "byte {place}");
        assert_eq!(spool.damage(), Damage::default());
    }
}

/// Whole files that are gone, empty, or of somebody else: the spool opens all the same.
#[test]
fn files_that_are_gone_or_strange_stop_nothing() {
    for index in 0..4 {
        let disk = written();
        let segments = disk.segments();
        if let Some(segment) = segments.get(index) {
            disk.take_away(segment);
        } else {
            disk.take_away(&std::path::Path::new(DIRECTORY).join("cursor"));
        }
        disk.put("00000000000000000099-zzzz.segment", b"no id");
        disk.put("00000000000000000100-00000000000000aa.segment", b"");
        disk.put(
            "00000000000000000101-00000000000000ab.segment",
            b"HWF1 and then nothing that holds",
        );
        let spool = open(&disk);
        let sequence = append(&spool, b"goes on").expect("appended");
        let entries = read_all(&runtime(), &spool, sequence - 1);
        assert_eq!(entries[0].payload, Bytes::from_static(b"goes on"));
    }
}
