//! A disk that is full, and owners that want all of it.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;

use super::{FaultyDisk, append, commit, open_with, options, read_all, runtime};
use crate::{
    limits::SPOOL_HEADROOM_BYTES,
    spool::{AppendError, Budget, Reservation, Sequence, Spool, SpoolOptions, frame::frame_bytes},
};

const HEADROOM: usize = SPOOL_HEADROOM_BYTES as usize;

fn owned(payload: &[u8]) -> Option<&str> {
    std::str::from_utf8(payload)
        .ok()?
        .split_once(':')
        .map(|(owner, _)| owner)
}

fn payload_of(owner: &str) -> String {
    format!("{owner}:{}", "x".repeat(100))
}

fn append_as(spool: &Spool, owner: &str) -> Result<Sequence, AppendError> {
    append_to(None, spool, owner)
}

fn append_to(place: Option<&Reservation>, spool: &Spool, owner: &str) -> Result<Sequence, AppendError> {
    let (sender, answer) = mpsc::channel();
    let payload = Bytes::from(payload_of(owner));
    spool.append_to(place, &owner.into(), payload, move |result| {
        sender.send(result).expect("the test waits");
    });
    answer.recv().expect("every append is answered")
}

/// Appends until it is refused, and tells why.
fn fill(spool: &Spool, owner: &str) -> (u64, AppendError) {
    let mut taken = 0;
    loop {
        match append_as(spool, owner) {
            Ok(_) => taken += 1,
            Err(error) => return (taken, error),
        }
    }
}

#[test]
fn a_flood_of_one_owner_leaves_room_for_the_others() {
    let disk = FaultyDisk::default();
    let shared = SpoolOptions {
        owner: owned,
        ..options()
    };
    let open = |budget: &Arc<Budget>| open_with(&disk, shared.clone(), Arc::clone(budget)).expect("opens");
    let budget = Budget::new(100_000);
    let spool = open(&budget);
    let (flood, refused) = fill(&spool, "greedy");
    assert_eq!(refused, AppendError::ShareFull("greedy".into()));
    let part = budget.used_bytes() as f64 / budget.max_bytes() as f64;
    assert!((0.75..0.81).contains(&part), "alone four fifths: {part}");
    let (modest, refused) = fill(&spool, "modest");
    assert_eq!(refused, AppendError::ShareFull("modest".into()));
    assert!(modest * 8 > flood, "{modest} beside {flood}");
    assert!(append_as(&spool, "a third").is_ok());
    assert!(budget.used_bytes() < budget.max_bytes());

    // The shares stand in the entries: a restart makes nobody a newcomer.
    drop(spool);
    let budget = Budget::new(100_000);
    let spool = open(&budget);
    assert_eq!(
        append_as(&spool, "greedy"),
        Err(AppendError::ShareFull("greedy".into()))
    );
    assert!(append_as(&spool, "a third").is_ok());

    // What is delivered gives its share back.
    let runtime = runtime();
    let last = spool.last_sequence();
    read_all(&runtime, &spool, 0);
    commit(&runtime, &spool, last, b"").expect("committed");
    assert!(append_as(&spool, "greedy").is_ok());
}

#[test]
fn a_spool_that_is_filled_leaves_room_for_the_others_and_what_they_have_for_themselves() {
    const OWN_BYTES: u64 = 20_000;
    let budget = Budget::new(200_000);
    let disks = [(); 3].map(|()| FaultyDisk::default());
    let open = |disk: &FaultyDisk, own_bytes: u64| {
        let options = SpoolOptions {
            own_bytes,
            ..options()
        };
        open_with(disk, options, Arc::clone(&budget)).expect("opens")
    };
    let (away, well) = (open(&disks[0], 0), open(&disks[1], 0));
    let kept = open(&disks[2], OWN_BYTES);

    // Who has filled a share in one spool has another in the next.
    let (flood, refused) = fill(&away, "greedy");
    assert_eq!(refused, AppendError::ShareFull("greedy".into()));
    assert!(append_as(&well, "greedy").is_ok());

    // However many there are, they do not fill it all.
    let owners = (0..100).map(|number| fill(&away, &format!("owner {number}")).0);
    assert!(owners.sum::<u64>() > 0);
    assert!(append_as(&away, "a newcomer").is_err());
    assert!(away.room_bytes() < 200, "{}", away.room_bytes());
    let left = well.room_bytes();
    assert!(left > 9000, "{left} beside {flood}");
    let (taken, _) = fill(&well, "greedy");
    let one = frame_bytes(payload_of("greedy").len());
    assert!(taken * one > left / 2, "{taken} of {left} bytes");

    // And what one has for itself nobody else gets.
    for number in 0..20 {
        fill(&well, &format!("owner {number}"));
    }
    assert!(kept.room_bytes() >= OWN_BYTES);
    let (taken, _) = fill(&kept, "greedy");
    assert!(taken * one > OWN_BYTES / 2, "{taken}");
    assert!(budget.used_bytes() <= budget.max_bytes());
}

#[test]
fn what_is_reserved_finds_room_whatever_comes_between_and_the_rest_is_given_back() {
    let budget = Budget::new(100_000);
    let small_queue = SpoolOptions {
        queue_bytes_max: 5000,
        ..options()
    };
    let spool = open_with(&FaultyDisk::default(), small_queue, Arc::clone(&budget)).expect("opens");
    let bytes = payload_of("shop").len();
    let reserve = |entries: usize| spool.reserve(&"shop".into(), entries, entries * bytes);
    let place = reserve(10).expect("there is room");
    assert_eq!(budget.used_bytes(), 10 * frame_bytes(bytes));
    let (_, refused) = fill(&spool, "shop");
    assert_eq!(refused, AppendError::ShareFull("shop".into()));
    for _ in 0..10 {
        assert!(append_to(Some(&place), &spool, "shop").is_ok());
    }
    // From there on it is like any other.
    assert_eq!(append_to(Some(&place), &spool, "shop"), Err(refused.clone()));
    assert_eq!(reserve(1).err(), Some(refused));
    drop(place);

    let before = budget.used_bytes();
    let other = |entries: usize| spool.reserve(&"other".into(), entries, entries * bytes);
    let place = other(10).expect("another has room");
    assert!(append_to(Some(&place), &spool, "other").is_ok());
    assert!(budget.used_bytes() > before + 9 * frame_bytes(bytes));
    // Of the memory, too, no more is promised than there is.
    assert_eq!(other(5000 / bytes).err(), Some(AppendError::Full));
    drop(place);
    assert_eq!(
        budget.used_bytes(),
        before + frame_bytes(payload_of("other").len())
    );
    assert!(other(5000 / bytes).is_ok());
}

#[test]
fn a_full_disk_refuses_drains_and_takes_again() {
    let (runtime, disk) = (runtime(), FaultyDisk::default());
    let spool = open_with(&disk, options(), Budget::new(1 << 30)).expect("opens");
    disk.set_capacity(Some(HEADROOM + 3000));
    let mut taken = 0;
    while append(&spool, &[1; 100]).is_ok() {
        taken += 1;
    }
    assert!(taken > 10, "{taken}");
    assert_eq!(append(&spool, b"small"), Err(AppendError::DiskFull));
    // Not one byte is left: only the headroom lets the cursor move.
    disk.set_capacity(Some(disk.used()));
    let entries = read_all(&runtime, &spool, 0);
    assert_eq!(entries.len(), taken);
    commit(&runtime, &spool, 5, b"").expect("the headroom is there for the cursor");
    disk.set_capacity(Some(HEADROOM + 3000));
    commit(&runtime, &spool, spool.last_sequence(), b"").expect("committed");
    let mut refused = 0;
    while let Err(error) = append(&spool, b"small") {
        assert_eq!(error, AppendError::DiskFull);
        refused += 1;
        assert!(refused < 1000, "room was made");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(disk.has("headroom"), "the headroom is made anew");
}

#[test]
fn a_disk_that_is_full_at_the_start_stops_nothing() {
    let (runtime, disk) = (runtime(), FaultyDisk::default());
    let spool = open_with(&disk, options(), Budget::new(1 << 30)).expect("opens");
    for _ in 0..20 {
        append(&spool, &[1; 100]).expect("appended");
    }
    commit(&runtime, &spool, 3, b"").expect("committed");
    drop(spool);
    disk.set_capacity(Some(disk.used()));
    let spool = open_with(&disk, options(), Budget::new(1 << 30)).expect("opens on a full disk");
    let committed = spool.committed().0;
    assert_eq!(committed, 3);
    assert_eq!(read_all(&runtime, &spool, committed).len(), 17);
    commit(&runtime, &spool, 20, b"").expect("it drains");
    // Without headroom too: it was taken for the cursor, and somebody else took the room.
    disk.take_away(&std::path::Path::new(super::DIRECTORY).join("headroom"));
    disk.set_capacity(Some(0));
    drop(spool);
    open_with(&disk, options(), Budget::new(1 << 30)).expect("opens without any room");
}

/// A file that is removed and still open takes as much room as before.
#[test]
fn nothing_that_is_delivered_and_removed_stays_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime();
    let open = || Spool::open(folder.path(), options(), Budget::new(1 << 30)).expect("opens");
    let spool = open();
    for number in 0..40_u8 {
        append(&spool, &[number; 100]).expect("appended");
    }
    drop(spool);
    // After a restart nothing is in memory: it is read from the files.
    let spool = open();
    let entries = read_all(&runtime, &spool, 0);
    let last = entries.last().expect("entries").sequence;
    assert!(commit(&runtime, &spool, last, b"").is_ok());
    let left_open: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .expect("the kernel says")
        .flatten()
        .filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok())
        .filter(|path| path.starts_with(folder.path()) && path.to_string_lossy().ends_with("(deleted)"))
        .collect();
    assert!(left_open.is_empty(), "{left_open:?}");
}

#[test]
fn a_failure_of_the_disk_strains_the_spool_until_it_takes_something_or_for_a_while() {
    let disk = FaultyDisk::default();
    let spool = open_with(&disk, options(), Budget::new(4 << 30)).expect("opens");
    let shared = &spool.handle.shared;
    assert!(!spool.is_strained());
    disk.fail_sync(0);
    assert!(matches!(append(&spool, b"refused"), Err(AppendError::Disk(_))));
    assert!(spool.is_strained());
    let open = shared.opened_at.elapsed();
    assert!(shared.has_failed(|| open));
    assert!(
        !shared.has_failed(|| open + Duration::from_secs(60)),
        "nothing has come since"
    );
    disk.fail_no_more();
    append(&spool, b"taken").expect("appended");
    assert!(!spool.is_strained());
}
