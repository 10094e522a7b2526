//! Appends with group commit, beside a plain write and `fdatasync` of the same bytes in groups of the size that the spool's
//! had in the mean.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use bytes::Bytes;
use headworks::spool::{Budget, Spool, SpoolOptions};

use crate::{VALUE_BYTES, median, verdict};

const ROUNDS: usize = 7;
/// The spool is to reach so much of what the plain write does.
const GOAL: f64 = 0.8;
const IN_FLIGHT_MOST: u64 = 4096;
/// Nobody counts who has it, as the threads of a spool would here for one and the same number.
static PAYLOAD: [u8; VALUE_BYTES] = [b'x'; VALUE_BYTES];
/// As the spool's segments.
const FILE_BYTES: usize = 64 << 20;

pub fn measure() {
    println!("append: records of {VALUE_BYTES} bytes, {ROUNDS} rounds in turn, medians");
    println!(
        "{:>10} {:>9} {:>12} {:>12} {:>10} {:>10} {:>7}",
        "in flight", "a sync", "spool /s", "plain /s", "spool MB/s", "plain MB/s", "ratio"
    );
    for (in_flight, records) in [(16, 10_000), (256, 150_000), (IN_FLIGHT_MOST, 1_000_000)] {
        let (mut spool, mut plain, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let mut groups = Vec::new();
        let mut record_bytes = 0;
        for _ in 0..ROUNDS {
            let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
            let appended = append(folder.path(), records, in_flight);
            record_bytes = appended.bytes / records;
            let group = (records as f64 / appended.syncs as f64).round() as u64;
            let written = written(folder.path(), records, group, record_bytes as usize);
            groups.push(group as f64);
            spool.push(appended.rate);
            plain.push(written);
            ratios.push(appended.rate / written);
        }
        let (group, spool, plain, ratio) = (median(groups), median(spool), median(plain), median(ratios));
        let megabytes = |rate: f64| rate * record_bytes as f64 / 1e6;
        println!(
            "{in_flight:>10} {group:>9.0} {spool:>12.0} {plain:>12.0} {:>10.1} {:>10.1} {ratio:>7.2}",
            megabytes(spool),
            megabytes(plain),
        );
        // With few in flight it is the disk's latency and the hand-over between threads that are measured.
        if in_flight == IN_FLIGHT_MOST {
            println!("  goal {GOAL} under full load: {}", verdict(ratio >= GOAL));
        }
    }
}

struct Appended {
    /// Records a second that are durable.
    rate: f64,
    /// On the disk.
    bytes: u64,
    syncs: u64,
}

fn append(folder: &Path, records: u64, in_flight: u64) -> Appended {
    let folder = folder.join("spool");
    let spool = Spool::open(&folder, SpoolOptions::default(), Budget::new(64 << 30)).expect("a spool");
    let owner = Arc::from("haneul-app");
    let done = Arc::new(AtomicU64::new(0));
    let producer = thread::current();
    let begun = Instant::now();
    for number in 0..records {
        while number - done.load(Ordering::Acquire) >= in_flight {
            thread::park();
        }
        let (done, producer) = (Arc::clone(&done), producer.clone());
        spool.append(&owner, Bytes::from_static(&PAYLOAD), move |result| {
            result.expect("the disk takes it");
            // Woken once it can add half a group.
            let ended = done.fetch_add(1, Ordering::AcqRel) + 1;
            if ended == records || ended % (in_flight / 2) == 0 {
                producer.unpark();
            }
        });
    }
    while done.load(Ordering::Acquire) < records {
        thread::park();
    }
    let elapsed = begun.elapsed();
    let syncs = spool.tally().syncs;
    drop(spool);
    let segments = fs::read_dir(&folder).expect("the spool's folder").flatten();
    let bytes = segments
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".segment"))
        .map(|entry| entry.metadata().expect("a segment").len())
        .sum();
    Appended {
        rate: records as f64 / elapsed.as_secs_f64(),
        bytes,
        syncs,
    }
}

/// Records a second.
fn written(folder: &Path, records: u64, group_records: u64, record_bytes: usize) -> f64 {
    let group = vec![b'x'; record_bytes * group_records as usize];
    let create = |number: usize| File::create_new(folder.join(format!("plain-{number}"))).expect("a file");
    let (mut file, mut files, mut length) = (create(0), 1, 0);
    let begun = Instant::now();
    for _ in 0..records.div_ceil(group_records) {
        if length + group.len() > FILE_BYTES {
            (file, length) = (create(files), 0);
            files += 1;
        }
        file.write_all(&group).expect("the disk takes it");
        file.sync_data().expect("the disk takes it");
        length += group.len();
    }
    (records.div_ceil(group_records) * group_records) as f64 / begun.elapsed().as_secs_f64()
}
