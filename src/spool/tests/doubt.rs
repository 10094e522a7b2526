//! A sync failed, its senders were refused, and the page cache still shows what the disk does not hold.

use std::{path::Path, sync::Arc};

use super::{DIRECTORY, FaultyDisk, append, faulty::Call, open, options, read_all, runtime};
use crate::spool::{
    AppendError, Budget, Spool,
    storage::{Disk, Storage as _},
};

/// What the next life of the process takes for known.
fn restart(disk: &FaultyDisk) -> (Spool, Vec<Vec<u8>>) {
    let mut known = Vec::new();
    let spool = Spool::open_on(
        Arc::new(disk.clone()),
        Path::new(DIRECTORY),
        options(),
        Budget::new(1 << 30),
        &mut |payload| known.push(payload.to_vec()),
    );
    (spool.expect("opens"), known)
}

/// One batch is taken, the next one refused; then more is taken where `goes_on`.
fn with_a_refused_batch(disk: &FaultyDisk, goes_on: bool) {
    let spool = open(disk);
    append(&spool, b"taken").expect("appended");
    disk.fail_sync(0);
    assert!(matches!(append(&spool, b"refused"), Err(AppendError::Disk(_))));
    if goes_on {
        append(&spool, b"after").expect("a new segment");
    }
}

/// Whatever counts as known must outlive a loss of power, and so must all that was acknowledged.
fn assert_durable(disk: &FaultyDisk, spool: Spool, known: &[Vec<u8>], acknowledged: &[&[u8]]) {
    disk.crash(|_, _| 0);
    drop(spool);
    let found: Vec<Vec<u8>> = read_all(&runtime(), &open(disk), 0)
        .into_iter()
        .map(|entry| entry.payload.to_vec())
        .collect();
    for payload in known
        .iter()
        .map(|known| &known[..])
        .chain(acknowledged.iter().copied())
    {
        assert!(
            found.iter().any(|found| found == payload),
            "{payload:?} of {found:?}"
        );
    }
}

#[test]
fn a_failed_segment_is_cut_to_what_was_acknowledged() {
    let disk = FaultyDisk::default();
    with_a_refused_batch(&disk, true);
    let (spool, known) = restart(&disk);
    assert_eq!(known, [b"taken".to_vec(), b"after".to_vec()]);
    assert_eq!(spool.damage(), super::super::Damage::default());
    assert_durable(&disk, spool, &known, &[b"taken", b"after"]);
}

#[test]
fn where_it_cannot_be_cut_the_next_life_writes_it_anew() {
    // Without the note as well: the process may die before it is made, and then the segment is the newest.
    for (note, goes_on) in [(true, true), (true, false), (false, false)] {
        let disk = FaultyDisk::default();
        disk.fail_calls(Call::Truncate, ".segment");
        if !note {
            disk.fail_calls(Call::Create, ".doubtful");
        }
        with_a_refused_batch(&disk, goes_on);
        disk.fail_no_more();
        let (spool, known) = restart(&disk);
        assert_eq!(known.len(), if goes_on { 3 } else { 2 }, "{known:?}");
        assert_eq!(spool.pending().entries, known.len() as u64);
        assert_durable(&disk, spool, &known, &[b"taken"]);
        assert!(!disk.has_like(".doubtful") && !disk.has_like(".new"));
    }
}

#[test]
fn what_cannot_be_written_anew_is_read_and_not_known() {
    let failures = [
        (Call::Create, ".new"),
        (Call::Rename, ".new"),
        (Call::Open, "never"),
    ];
    for (call, part) in failures {
        let disk = FaultyDisk::default();
        disk.fail_calls(Call::Truncate, ".segment");
        with_a_refused_batch(&disk, true);
        disk.fail_no_more();
        disk.fail_calls(call, part);
        if call == Call::Open {
            disk.set_capacity(Some(disk.used()));
        }
        // A life that cannot write it anew leaves the doubt to the one after it, though the segment is not the newest.
        for _ in 0..2 {
            let (spool, known) = restart(&disk);
            assert!(!known.contains(&b"refused".to_vec()), "{call:?}: {known:?}");
            assert_eq!(read_all(&runtime(), &spool, 0).len(), 3, "all is delivered");
        }
        disk.fail_no_more();
        disk.set_capacity(None);
        let (spool, known) = restart(&disk);
        assert_eq!(known.len(), 3, "{call:?}");
        assert_durable(&disk, spool, &known, &[b"taken", b"after"]);
    }
}

#[test]
fn what_is_delivered_is_known_without_being_written_anew() {
    let disk = FaultyDisk::default();
    let spool = open(&disk);
    let last = append(&spool, b"delivered").expect("appended");
    super::commit(&runtime(), &spool, last, b"").expect("committed");
    drop(spool);
    disk.fail_calls(Call::Create, ".new");
    let (_spool, known) = restart(&disk);
    assert_eq!(known, [b"delivered".to_vec()]);
}

#[test]
fn the_real_disk_cuts_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let mut file = Disk.create(&path).expect("created");
    file.append(b"kept and lost").expect("written");
    Disk.truncate(&path, 4).expect("cut");
    assert_eq!(std::fs::read(&path).expect("read"), b"kept");
}
