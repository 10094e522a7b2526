//! The spool on a disk that tears, forgets and fails.

mod doubt;
mod faulty;
mod room;
mod rot;
mod seeds;
mod unreadable;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::{
    AppendError, Budget, Entry, OpenError, Owner, Pending, Queued, Sequence, Spool, SpoolOptions,
    frame::frame_bytes,
};
use faulty::FaultyDisk;

const DIRECTORY: &str = "/spool";

fn options() -> SpoolOptions {
    SpoolOptions {
        retain_after: None,
        segment_bytes: 600,
        entry_bytes_max: 4096,
        queue_bytes_max: 1 << 20,
        prepare_bytes: 256 << 10,
        own_bytes: 0,
        owner: |_| None,
    }
}

fn owner() -> Owner {
    "shop".into()
}

/// Segments stay as small as the options say: the budget is no reason to make them larger.
fn open(disk: &FaultyDisk) -> Spool {
    open_with(disk, options(), Budget::new(1 << 30)).expect("the spool opens")
}

fn open_with(disk: &FaultyDisk, options: SpoolOptions, budget: Arc<Budget>) -> Result<Spool, OpenError> {
    Spool::open_on(
        Arc::new(disk.clone()),
        Path::new(DIRECTORY),
        options,
        budget,
        &mut |_| {},
    )
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Appends and waits for the answer.
fn append(spool: &Spool, payload: &[u8]) -> Result<Sequence, AppendError> {
    let (sender, answer) = mpsc::channel();
    spool.append(&owner(), Bytes::copy_from_slice(payload), move |result| {
        sender.send(result).expect("the test waits");
    });
    answer.recv().expect("every append is answered")
}

/// Everything after `after` that is there now.
fn read_all(runtime: &Runtime, spool: &Spool, mut after: Sequence) -> Vec<Entry> {
    runtime.block_on(async {
        let mut entries = Vec::new();
        while after < spool.last_sequence() {
            let read = tokio::time::timeout(Duration::from_secs(20), spool.read(after, 100)).await;
            let read = read
                .expect("there is something to read")
                .expect("the spool is open");
            assert!(!read.is_empty());
            after = read[read.len() - 1].sequence;
            entries.extend(read);
        }
        entries
    })
}

fn commit(runtime: &Runtime, spool: &Spool, sequence: Sequence, note: &[u8]) -> Result<(), AppendError> {
    runtime.block_on(spool.commit(sequence, Bytes::copy_from_slice(note), 0))
}

fn payload(number: usize) -> Vec<u8> {
    format!("{number}:{}", "x".repeat(number % 97)).into_bytes()
}

#[test]
fn entries_come_back_in_order_from_memory_and_after_a_restart_from_the_disk() {
    let (runtime, disk) = (runtime(), FaultyDisk::default());
    let spool = open(&disk);
    for number in 0..50 {
        assert_eq!(append(&spool, &payload(number)), Ok(number as u64 + 1));
    }
    assert_eq!(spool.pending().entries, 50);
    for _ in 0..2 {
        let spool = if disk.is_locked() {
            spool.clone()
        } else {
            open(&disk)
        };
        let entries = read_all(&runtime, &spool, 0);
        let expected = (0..50).map(|number| Entry {
            sequence: number as u64 + 1,
            payload: payload(number).into(),
        });
        assert_eq!(entries, expected.collect::<Vec<_>>());
    }
    drop(spool);
    let spool = open(&disk);
    assert_eq!(read_all(&runtime, &spool, 47).len(), 3);
    let next = append(&spool, b"next").expect("appended");
    assert!(next > 50, "numbers go on after a restart");
}

#[test]
fn what_is_committed_is_removed_and_its_note_is_kept() {
    let (runtime, disk) = (runtime(), FaultyDisk::default());
    let budget = Budget::new(1 << 30);
    let spool = open_with(&disk, options(), Arc::clone(&budget)).expect("opens");
    for number in 0..40 {
        append(&spool, &payload(number)).expect("appended");
    }
    let segments = disk.segments().len();
    assert!(segments > 3, "{segments}");
    read_all(&runtime, &spool, 0);
    commit(&runtime, &spool, 30, b"note").expect("committed");
    assert_eq!(spool.committed(), (30, Bytes::from_static(b"note")));
    assert_eq!(spool.pending().entries, 10);
    assert!(disk.segments().len() < segments);
    // Going back is not possible.
    commit(&runtime, &spool, 3, b"old").expect("ignored");
    assert_eq!(spool.committed().0, 30);
    commit(&runtime, &spool, 30, b"other note").expect("committed");
    let bytes = spool.pending().bytes;
    drop(spool);
    assert_eq!(budget.used_bytes(), 0);
    let spool = open(&disk);
    assert_eq!(spool.committed(), (30, Bytes::from_static(b"other note")));
    assert_eq!(spool.pending(), Pending { entries: 10, bytes });
    assert_eq!(read_all(&runtime, &spool, 30).len(), 10);
    commit(&runtime, &spool, 40, b"").expect("committed");
    assert_eq!(spool.pending(), Pending::default());
    assert!(append(&spool, b"x").expect("appended") > 40);
}

#[test]
fn a_commit_of_what_nobody_has_read_counts_all_the_same() {
    let (runtime, disk) = (runtime(), FaultyDisk::default());
    let spool = open(&disk);
    for number in 0..20 {
        append(&spool, &payload(number)).expect("appended");
    }
    commit(&runtime, &spool, 7, b"").expect("committed");
    let bytes = (7..20).map(|number| frame_bytes(payload(number).len())).sum();
    assert_eq!(spool.pending(), Pending { entries: 13, bytes });
}

#[test]
fn a_reader_waits_for_the_next_entry_and_ends_with_the_spool() {
    let (runtime, disk) = (runtime(), FaultyDisk::default());
    let spool = open(&disk);
    runtime.block_on(async {
        let reader = tokio::spawn({
            let spool = spool.clone();
            async move { (spool.read(0, 100).await, spool.read(1, 100).await) }
        });
        tokio::task::yield_now().await;
        assert!(!reader.is_finished());
        spool.append(&owner(), Bytes::from_static(b"one"), |done| {
            assert_eq!(done, Ok(1))
        });
        spool.close().await;
        let (first, end) = reader.await.expect("no panic");
        assert_eq!(first.expect("an entry")[0].payload, "one");
        assert_eq!(end, None);
    });
    assert_eq!(append(&spool, b"late"), Err(AppendError::Closed));
    commit(&runtime, &spool, 1, b"").expect("a closed spool still takes commits");
}

/// Whoever is told may panic on the thread that tells: the spool ends, and keeps nobody waiting.
#[test]
fn everyone_is_answered_where_a_thread_of_the_spool_panics() {
    for prepare_bytes in [1, options().prepare_bytes] {
        let disk = FaultyDisk::default();
        let options = SpoolOptions {
            prepare_bytes,
            ..options()
        };
        let spool = open_with(&disk, options, Budget::new(1 << 30)).expect("opens");
        spool.append(&owner(), Bytes::from_static(b"first"), |_| panic!("on purpose"));
        let (sender, answers) = mpsc::channel();
        for number in 0..100 {
            let sender = sender.clone();
            spool.append(&owner(), payload(number).into(), move |answer| {
                sender.send(answer).expect("the test waits");
            });
        }
        drop(sender);
        // What was to be told in the same breath is dropped, which tells a ticket too. Nothing is kept.
        loop {
            match answers.recv_timeout(Duration::from_secs(20)) {
                Ok(answer) => assert!(matches!(answer, Ok(_) | Err(AppendError::Closed)), "{answer:?}"),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("somebody is kept waiting: {error}"),
            }
        }
        assert_eq!(append(&spool, b"late"), Err(AppendError::Closed));
        runtime().block_on(spool.close());
    }
}

#[test]
fn bounds_are_told_at_once() {
    let (runtime, disk) = (runtime(), FaultyDisk::default());
    let budget = Budget::new(3000);
    let small = SpoolOptions {
        segment_bytes: 600,
        ..options()
    };
    let spool = open_with(&disk, small, Arc::clone(&budget)).expect("opens");
    assert_eq!(append(&spool, &[0; 5000]), Err(AppendError::TooLarge(5000)));
    let mut taken = 0;
    while append(&spool, &[1; 100]).is_ok() {
        taken += 1;
    }
    assert_eq!(
        taken,
        3000 * 4 / 5 / frame_bytes(100),
        "four fifths are for one alone"
    );
    commit(&runtime, &spool, taken, b"").expect("committed");
    assert!(
        append(&spool, &[1; 100]).is_ok(),
        "what is delivered makes room: {budget:?}"
    );
}

#[test]
fn a_second_owner_is_refused() {
    let disk = FaultyDisk::default();
    let spool = open(&disk);
    let second = open_with(&disk, options(), Budget::new(1 << 30));
    assert!(matches!(second, Err(OpenError::InUse { .. })));
    drop(spool);
    open(&disk);
}

#[test]
fn the_real_disk_keeps_the_same_rules() {
    let directory = tempfile::TempDir::new().expect("a temporary folder");
    let path = directory.path().join("deep/spool");
    let runtime = runtime();
    let real = |budget| Spool::open(&path, options(), budget);
    let spool = real(Budget::new(1 << 30)).expect("opens");
    assert!(matches!(real(Budget::new(1 << 30)), Err(OpenError::InUse { .. })));
    for number in 0..100 {
        append(&spool, &payload(number)).expect("appended");
    }
    commit(&runtime, &spool, 60, b"n").expect("committed");
    drop(spool);
    let budget = Budget::new(1 << 30);
    let spool = real(Arc::clone(&budget)).expect("opens");
    let entries = read_all(&runtime, &spool, 60);
    assert!(
        entries
            .iter()
            .map(|entry| &*entry.payload)
            .eq((60..100).map(payload))
    );
    assert_eq!(spool.damage(), super::Damage::default());
    commit(&runtime, &spool, 100, b"").expect("committed");
    assert_eq!(budget.used_bytes(), 0, "all segments are removed");
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_until_there_is_a_new_segment() {
    for failing in 0..12 {
        let (runtime, disk) = (runtime(), FaultyDisk::default());
        let spool = open(&disk);
        disk.fail_sync(failing);
        let mut acknowledged = Vec::new();
        let mut failed = 0;
        for number in 0..12 {
            match append(&spool, &payload(number)) {
                Ok(_) => acknowledged.push(payload(number)),
                Err(AppendError::Disk(_)) => {
                    failed += 1;
                    let broken = disk.segments_with_failed_sync();
                    assert!(append(&spool, b"after").is_ok());
                    acknowledged.push(b"after".to_vec());
                    assert_eq!(disk.written_after_failure(), Vec::<PathBuf>::new(), "{broken:?}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(failed, 1, "sync {failing}");
        disk.crash(|_, _| 0);
        drop(spool);
        let spool = open(&disk);
        let found: Vec<_> = read_all(&runtime, &spool, 0)
            .into_iter()
            .map(|entry| entry.payload.to_vec())
            .collect();
        assert!(is_subsequence(&acknowledged, &found));
    }
}

#[test]
fn a_failed_commit_is_told_and_the_next_one_begins_a_new_file() {
    let (runtime, disk) = (runtime(), FaultyDisk::default());
    let spool = open(&disk);
    for number in 0..10 {
        append(&spool, &payload(number)).expect("appended");
    }
    commit(&runtime, &spool, 2, b"two").expect("committed");
    disk.fail_sync(0);
    assert!(matches!(
        commit(&runtime, &spool, 4, b"four"),
        Err(AppendError::Disk(_))
    ));
    assert_eq!(spool.committed(), (2, Bytes::from_static(b"two")));
    commit(&runtime, &spool, 6, b"six").expect("committed");
    assert_eq!(disk.written_after_failure(), Vec::<PathBuf>::new());
    disk.crash(|_, _| 0);
    drop(spool);
    assert_eq!(open(&disk).committed(), (6, Bytes::from_static(b"six")));
}

#[test]
fn a_long_cursor_is_rewritten() {
    let (runtime, disk) = (runtime(), FaultyDisk::default());
    let spool = open(&disk);
    append(&spool, b"one").expect("appended");
    let note = vec![7; 100_000];
    for _ in 0..30 {
        commit(&runtime, &spool, 1, &note).expect("committed");
    }
    assert!(disk.length(&Path::new(DIRECTORY).join("cursor")) < 1_300_000);
    drop(spool);
    assert_eq!(open(&disk).committed(), (1, note.into()));
}

fn is_subsequence(wanted: &[Vec<u8>], found: &[Vec<u8>]) -> bool {
    let mut found = found.iter();
    wanted.iter().all(|wanted| found.any(|found| found == wanted))
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    /// Several at once, so that they share a write.
    AppendMany(Vec<usize>),
    /// Read some and commit a part of what was read.
    Commit(prop::sample::Index),
    FailSync(usize),
    /// Loss of power: of what was not synced any part is there, and the last write is torn at any byte.
    Crash(u64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_usize..300).prop_map(Step::Append),
        3 => proptest::collection::vec(0_usize..300, 1..12).prop_map(Step::AppendMany),
        3 => any::<prop::sample::Index>().prop_map(Step::Commit),
        1 => (0_usize..4).prop_map(Step::FailSync),
        2 => any::<u64>().prop_map(Step::Crash),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What must be there: acknowledged and not committed, by sequence.
#[derive(Default)]
struct Model {
    owed: BTreeMap<Sequence, Vec<u8>>,
    committed: (Sequence, Bytes),
    numbers: usize,
    highest: Sequence,
}

impl Model {
    fn next_payload(&mut self, length: usize) -> Vec<u8> {
        self.numbers += 1;
        let mut payload = format!("{}:", self.numbers).into_bytes();
        // Magics inside a payload must lead nobody astray.
        payload.extend(b"HWF1".iter().cycle().take(length));
        payload
    }

    fn append(&mut self, spool: &Spool, lengths: &[usize]) {
        let (sender, answers) = mpsc::channel();
        let queue = lengths.iter().map(|length| {
            let payload = self.next_payload(*length);
            let (sender, kept) = (sender.clone(), payload.clone());
            Queued {
                owner: owner(),
                payload: payload.into(),
                done: Box::new(move |result| sender.send((result, kept)).expect("the test waits")),
            }
        });
        // All at once: what shares a write must not hang on how fast the writer is.
        let shared = &spool.handle.shared;
        let refused: Vec<_> = {
            let mut state = shared.state.lock();
            queue
                .filter_map(|queued| shared.enqueue(&mut state, queued, None).err())
                .collect()
        };
        for (queued, error) in refused {
            (queued.done)(Err(error));
        }
        drop(sender);
        let mut answered = 0;
        for (result, payload) in answers {
            answered += 1;
            if let Ok(sequence) = result {
                assert!(sequence > self.highest, "a sequence is never used twice");
                self.highest = sequence;
                self.owed.insert(sequence, payload);
            }
        }
        assert_eq!(answered, lengths.len());
    }

    /// Every acknowledged uncommitted entry is read back, in order, intact.
    fn check(&mut self, runtime: &Runtime, spool: &Spool) {
        let (committed, note) = spool.committed();
        assert!(committed >= self.committed.0, "a commit that was told is durable");
        if committed == self.committed.0 {
            assert_eq!(note, self.committed.1);
        }
        let entries = read_all(runtime, spool, committed);
        assert!(entries.is_sorted_by(|one, other| one.sequence < other.sequence));
        let found: BTreeMap<_, _> = entries
            .into_iter()
            .map(|entry| (entry.sequence, entry.payload.to_vec()))
            .collect();
        for (sequence, payload) in self.owed.range(committed + 1..) {
            assert_eq!(found.get(sequence), Some(payload), "entry {sequence}");
        }
        assert_eq!(spool.pending().entries, found.len() as u64);
        self.highest = self.highest.max(spool.last_sequence());
    }
}

fn run(steps: Vec<Step>) {
    let (runtime, disk) = (runtime(), FaultyDisk::default());
    let mut spool = open(&disk);
    let mut model = Model::default();
    let mut failed = false;
    for step in steps {
        match step {
            Step::Append(length) => model.append(&spool, &[length]),
            Step::AppendMany(lengths) => model.append(&spool, &lengths),
            Step::Commit(index) => {
                let entries = read_all(&runtime, &spool, spool.committed().0);
                if let Some(entry) = entries.get(index.index(entries.len() + 1)) {
                    let note = format!("note {}", entry.sequence);
                    if commit(&runtime, &spool, entry.sequence, note.as_bytes()).is_ok() {
                        model.committed = (entry.sequence, note.into());
                        model.owed = model.owed.split_off(&(entry.sequence + 1));
                    }
                }
            }
            Step::FailSync(nth) => {
                failed = true;
                disk.fail_sync(nth);
            }
            Step::Crash(seed) => {
                disk.crash(faulty::tear(seed));
                drop(spool);
                spool = open(&disk);
                // Behind a failed sync a sealed segment ends with what was never acknowledged; nobody can tell it
                // from rot, so that it is counted.
                assert!(
                    failed || spool.damage().regions == 0,
                    "only the end of the last segment is torn"
                );
                model.check(&runtime, &spool);
            }
            Step::Reopen => {
                disk.fail_no_more();
                drop(spool);
                spool = open(&disk);
                model.check(&runtime, &spool);
            }
        }
    }
    disk.fail_no_more();
    model.check(&runtime, &spool);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_acknowledged_survives_every_crash(steps in steps()) {
        run(steps);
    }

    /// A flipped byte costs at most the frame that it stands in, which is counted and kept aside.
    #[test]
    fn a_flipped_byte_loses_at_most_one_frame(
        lengths in proptest::collection::vec(0_usize..200, 1..30),
        place: prop::sample::Index,
        change in 1_u8..,
    ) {
        let (runtime, disk) = (runtime(), FaultyDisk::default());
        let spool = open(&disk);
        let mut model = Model::default();
        model.append(&spool, &lengths);
        drop(spool);
        disk.flip(place, change);
        let spool = open(&disk);
        let found: BTreeMap<_, _> = read_all(&runtime, &spool, 0)
            .into_iter()
            .map(|entry| (entry.sequence, entry.payload.to_vec()))
            .collect();
        let lost: Vec<_> = model.owed.iter().filter(|(sequence, _)| !found.contains_key(sequence)).collect();
        prop_assert_eq!(lost.len(), 1);
        prop_assert!(found.iter().all(|(sequence, payload)| model.owed.get(sequence) == Some(payload)));
        let damage = spool.damage();
        let bytes = frame_bytes(lost[0].1.len());
        prop_assert_eq!(damage.bytes + damage.torn_bytes, bytes);
        prop_assert_eq!(disk.damaged().iter().map(Vec::len).sum::<usize>() as u64, bytes);
        // Counted once, however often it is met.
        drop(spool);
        let spool = open(&disk);
        prop_assert_eq!(spool.damage(), super::Damage::default());
        prop_assert!(append(&spool, b"goes on").is_ok());
    }
}
