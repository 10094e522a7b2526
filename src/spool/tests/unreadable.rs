//! A disk that does not give back what it holds, or refuses other calls: the spool opens and goes on.

use std::{
    collections::BTreeSet,
    ops::Range,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    DIRECTORY, FaultyDisk, append, commit, faulty::Call, open, open_with, options, read_all, runtime,
};
use crate::spool::{AppendError, Budget, Damage, Sequence, Spool, SpoolOptions, frame::frame_bytes};

const ENTRIES: usize = 60;
const PAYLOAD_BYTES: usize = 1000;
/// Entries that fill several small segments.
const SMALL: usize = 50;
/// Of a disk, as the reader takes it.
const SECTOR: Range<usize> = 8192..12_288;

/// Segments that hold several sectors.
fn open_large(disk: &FaultyDisk) -> Spool {
    let options = SpoolOptions {
        segment_bytes: 64 << 10,
        ..options()
    };
    open_with(disk, options, Budget::new(1 << 30)).expect("opens")
}

fn large(number: usize) -> Vec<u8> {
    let mut payload = vec![b'x'; PAYLOAD_BYTES];
    payload[..4].copy_from_slice(&u32::try_from(number).expect("small").to_le_bytes());
    payload
}

/// One segment with an entry after the other.
fn written() -> (FaultyDisk, PathBuf) {
    let disk = FaultyDisk::default();
    let spool = open_large(&disk);
    for number in 0..ENTRIES {
        append(&spool, &large(number)).expect("appended");
    }
    drop(spool);
    let segment = disk.segments().remove(0);
    (disk, segment)
}

/// Several small segments; gives the last entry's number.
fn append_small(spool: &Spool) -> Sequence {
    let mut last = 0;
    for number in 0..SMALL {
        last = append(spool, &super::payload(number)).expect("appended");
    }
    last
}

fn sequences(spool: &Spool) -> BTreeSet<Sequence> {
    let entries = read_all(&runtime(), spool, 0);
    let whole = entries.iter().all(|entry| {
        let number = usize::try_from(entry.sequence).expect("small") - 1;
        entry.payload == large(number)
    });
    assert!(whole, "what is read is what was written");
    entries.into_iter().map(|entry| entry.sequence).collect()
}

/// The entries of which no byte stands in the sector.
fn outside_the_sector() -> BTreeSet<Sequence> {
    let frame = frame_bytes(PAYLOAD_BYTES) as usize;
    (0..ENTRIES)
        .filter(|number| (number + 1) * frame <= SECTOR.start || number * frame >= SECTOR.end)
        .map(|number| number as Sequence + 1)
        .collect()
}

/// All is delivered; the segment is taken for nothing else, but not removed.
fn assert_set_aside(disk: &FaultyDisk, spool: &Spool) {
    let last = append(spool, b"goes on").expect("appended");
    let length = disk.length(&disk.segments()[0]);
    commit(&runtime(), spool, last, b"").expect("committed");
    assert!(disk.damaged().iter().any(|kept| kept.len() == length));
}

#[test]
fn an_unreadable_sector_costs_what_stands_in_it_and_stops_no_start() {
    let (disk, segment) = written();
    disk.make_unreadable(&segment, SECTOR.start + 100..SECTOR.start + 101);
    for start in 0..2 {
        let spool = open_large(&disk);
        assert_eq!(sequences(&spool), outside_the_sector());
        // Each place counts once, over restarts too.
        assert_eq!(spool.damage().regions, if start == 0 { 1 } else { 0 });
        if start == 0 {
            let lost = (ENTRIES - outside_the_sector().len()) as u64;
            assert_eq!(spool.damage().bytes, lost * frame_bytes(PAYLOAD_BYTES));
            assert_eq!(disk.damaged()[0].len() as u64, spool.damage().bytes);
        } else {
            assert_set_aside(&disk, &spool);
        }
    }
}

#[test]
fn a_sector_that_goes_while_the_gateway_runs_is_passed_over_after_some_tries() {
    let (disk, segment) = written();
    // Nothing is in memory: it is read from the disk.
    let spool = open_large(&disk);
    disk.make_unreadable(&segment, SECTOR);
    assert_eq!(sequences(&spool), outside_the_sector());
    assert_eq!(spool.damage().regions, 1);
    assert_set_aside(&disk, &spool);
}

/// As who reads beside other work does.
#[test]
fn a_sector_is_passed_over_though_no_read_is_waited_for_to_its_end() {
    let (disk, segment) = written();
    let spool = open_large(&disk);
    disk.make_unreadable(&segment, 0..PAYLOAD_BYTES);
    let entries = runtime().block_on(async {
        let begun = Instant::now();
        loop {
            // Shorter than what lies between two tries.
            let read = tokio::time::timeout(Duration::from_millis(100), spool.read(0, 100)).await;
            if let Ok(entries) = read {
                return entries.expect("the spool is open");
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "it is passed over");
        }
    });
    assert!(entries[0].sequence > 1);
    assert_eq!(spool.damage().regions, 1);
}

#[test]
fn a_segment_that_goes_while_the_gateway_runs_is_passed_over() {
    let disk = FaultyDisk::default();
    let spool = open(&disk);
    append_small(&spool);
    drop(spool);
    let spool = open(&disk);
    let first = disk.segments().remove(0);
    let name = first.file_name().and_then(|name| name.to_str()).expect("a name");
    disk.fail_calls(Call::Open, name);
    let entries = read_all(&runtime(), &spool, 0);
    assert!(!entries.is_empty() && entries[0].sequence > 1);
    assert_eq!(spool.damage().regions, 1);
    commit(&runtime(), &spool, SMALL as Sequence, b"").expect("committed");
    assert_eq!(disk.damaged().len(), 1, "it is set aside");
}

#[test]
fn a_file_that_cannot_be_opened_stops_no_start_and_no_number_comes_again() {
    for call in [Call::Open, Call::Length] {
        for (aside, is_newest) in [(true, true), (true, false), (false, true), (false, false)] {
            let disk = FaultyDisk::default();
            let spool = open(&disk);
            let highest = append_small(&spool);
            drop(spool);
            let segments = disk.segments();
            let broken = &segments[if is_newest { segments.len() - 1 } else { 1 }];
            let name = broken.file_name().and_then(|name| name.to_str()).expect("a name");
            disk.fail_calls(call, name);
            if !aside {
                disk.fail_calls(Call::Rename, ".segment");
                disk.fail_calls(Call::CreateDirectory, "damaged");
            }
            let spool = open(&disk);
            assert_eq!(spool.damage().regions, 1, "{call:?}");
            assert_eq!(disk.damaged().len(), usize::from(aside));
            let entries = read_all(&runtime(), &spool, 0);
            assert!(!entries.is_empty() && entries.len() < SMALL);
            assert!(append(&spool, b"goes on").expect("appended") > highest);
        }
    }
}

/// Entries come twice then; none is lost.
#[test]
fn a_cursor_that_cannot_be_read_costs_no_entry() {
    let failures: [fn(&FaultyDisk); 3] = [
        |disk| disk.fail_calls(Call::Open, "cursor"),
        |disk| disk.fail_calls(Call::Length, "cursor"),
        |disk| disk.make_unreadable(&std::path::Path::new(DIRECTORY).join("cursor"), 0..1),
    ];
    for fail in failures {
        let disk = FaultyDisk::default();
        let spool = open(&disk);
        append_small(&spool);
        commit(&runtime(), &spool, 1, b"").expect("committed");
        drop(spool);
        fail(&disk);
        let spool = open(&disk);
        assert_eq!(spool.committed().0, 0);
        assert_eq!(read_all(&runtime(), &spool, 0).len(), SMALL);
        commit(&runtime(), &spool, 5, b"").expect("a new cursor takes its place");
        disk.fail_no_more();
        drop(spool);
    }
}

/// Numbers would come twice where nobody can see which files there are.
#[test]
fn a_folder_that_cannot_be_seen_ends_the_start_and_is_named() {
    for call in [Call::List, Call::CreateDirectory] {
        let disk = FaultyDisk::default();
        disk.fail_calls(call, DIRECTORY);
        let opened = open_with(&disk, options(), Budget::new(1 << 30));
        let refused = opened.err().expect("it cannot be opened").to_string();
        assert!(refused.starts_with(DIRECTORY), "{refused}");
        assert!(!disk.is_locked());
    }
}

#[test]
fn a_file_shorter_than_it_was_costs_what_it_lacks() {
    let disk = FaultyDisk::default();
    let spool = open(&disk);
    append_small(&spool);
    drop(spool);
    let newest = disk.segments().pop().expect("a segment");
    disk.shorten(&newest, disk.length(&newest) - 1);
    let spool = open(&disk);
    assert_eq!(read_all(&runtime(), &spool, 0).len(), SMALL - 1);
    assert!(spool.damage().torn_bytes > 0 && spool.damage().regions == 0);
    assert!(append(&spool, b"goes on").expect("appended") > SMALL as Sequence);
}

#[test]
fn calls_that_fail_for_a_while_cost_answers_and_no_entry() {
    let failures = [
        (Call::Create, ".segment"),
        (Call::Create, "cursor"),
        (Call::Rename, "cursor"),
        (Call::Remove, ".segment"),
        (Call::List, "damaged"),
    ];
    for (call, part) in failures {
        let disk = FaultyDisk::default();
        let (mut spool, mut owed) = (open(&disk), BTreeSet::new());
        for life in 0..3 {
            for number in 0..SMALL {
                match append(&spool, &super::payload(number)) {
                    Ok(sequence) => {
                        owed.insert(sequence);
                    }
                    Err(error) => assert!(matches!(error, AppendError::Disk(_)), "{error}"),
                }
            }
            if let Some(first) = owed.first().copied()
                && commit(&runtime(), &spool, first, b"").is_ok()
            {
                owed.remove(&first);
            }
            match life {
                0 => disk.fail_calls(call, part),
                _ => disk.fail_no_more(),
            }
            drop(spool);
            spool = open(&disk);
        }
        let committed = spool.committed().0;
        let found: BTreeSet<Sequence> = read_all(&runtime(), &spool, committed)
            .into_iter()
            .map(|entry| entry.sequence)
            .collect();
        assert!(owed.is_subset(&found), "{call:?} {part}");
        assert_eq!(spool.damage(), Damage::default(), "{call:?} {part}");
    }
}
