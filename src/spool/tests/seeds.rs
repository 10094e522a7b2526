//! The spool's promise on a simulated disk, by seed: what was acknowledged and not committed is read back whole and in
//! order after any crash.
//!
//! `HEADWORKS_SEED=17 cargo test --lib spool::tests::seeds` plays one seed again; `HEADWORKS_TEST_LONG=1` plays more.

use std::{collections::BTreeSet, panic, path::Path, sync::Arc};

use super::{
    DIRECTORY, Model, commit,
    faulty::{Call, Random},
    options, read_all, runtime,
};
use crate::spool::{Budget, Sequence, Spool, SpoolOptions, tests::FaultyDisk};

const SEEDS: u64 = 500;
const SEEDS_LONG: u64 = 12_000;
const STEPS: usize = 40;
/// Small, so that there are many, and larger than the largest sector.
const SEGMENT_BYTES: u64 = 12 << 10;

fn seeds() -> std::ops::Range<u64> {
    if let Ok(seed) = std::env::var("HEADWORKS_SEED") {
        let seed = seed.parse().expect("HEADWORKS_SEED is a number");
        return seed..seed + 1;
    }
    0..if std::env::var_os("HEADWORKS_TEST_LONG").is_some() {
        SEEDS_LONG
    } else {
        SEEDS
    }
}

#[test]
fn what_is_acknowledged_survives_every_seed() {
    let seeds = seeds();
    let mut crashes = 0;
    for seed in seeds.clone() {
        match panic::catch_unwind(|| play(seed)) {
            Ok(crashed) => crashes += crashed,
            Err(_) => panic!("seed {seed} fails; HEADWORKS_SEED={seed} plays it again"),
        }
    }
    println!("seeds {seeds:?}: {crashes} crashes, nothing that was acknowledged is lost");
}

struct Play {
    random: Random,
    disk: FaultyDisk,
    sector: usize,
    prepare_bytes: usize,
    spool: Option<Spool>,
    model: Model,
    /// Acknowledged while the disk lied: may be lost in the next crash, and must be whole where it is not.
    doubtful: BTreeSet<Sequence>,
    lied: bool,
    /// Taken for known after a restart of the process alone: no loss of power may take them.
    known: BTreeSet<Sequence>,
}

/// Gives the number of crashes.
fn play(seed: u64) -> usize {
    let mut random = Random(seed);
    let sector = if random.coin() { 512 } else { 4096 };
    let disk = FaultyDisk::default();
    // With 1 the aide has a part in every write.
    let prepare_bytes = if random.coin() { 1 } else { options().prepare_bytes };
    let spool = Some(reopen(&disk, prepare_bytes).0);
    let mut play = Play {
        random,
        disk,
        sector,
        prepare_bytes,
        spool,
        model: Model::default(),
        doubtful: BTreeSet::new(),
        lied: false,
        known: BTreeSet::new(),
    };
    let mut crashes = 0;
    for _ in 0..STEPS {
        match play.random.below(20) {
            0..=6 => play.append(1),
            7..=10 => {
                let count = 1 + play.random.below(12);
                play.append(count);
            }
            11..=13 => play.commit(),
            14 => play.fail(),
            15 => {
                play.lied = true;
                let count = 1 + play.random.below(3);
                play.disk.lie(count);
            }
            16 => play.restart(),
            _ => {
                play.crash();
                crashes += 1;
            }
        }
    }
    play.crash();
    crashes + 1
}

/// With what counts as known.
fn reopen(disk: &FaultyDisk, prepare_bytes: usize) -> (Spool, BTreeSet<Vec<u8>>) {
    let options = SpoolOptions {
        segment_bytes: SEGMENT_BYTES,
        prepare_bytes,
        ..options()
    };
    let mut known = BTreeSet::new();
    let spool = Spool::open_on(
        Arc::new(disk.clone()),
        Path::new(DIRECTORY),
        options,
        Budget::new(1 << 30),
        &mut |payload| {
            known.insert(payload.to_vec());
        },
    );
    (spool.expect("the spool always opens"), known)
}

impl Play {
    fn spool(&self) -> Spool {
        self.spool.clone().expect("open between steps")
    }

    fn append(&mut self, count: usize) {
        let lengths: Vec<usize> = (0..count).map(|_| self.random.below(3000)).collect();
        let before = self.model.highest;
        let spool = self.spool();
        self.model.append(&spool, &lengths);
        if self.lied {
            let acknowledged = self.model.owed.range(before + 1..);
            self.doubtful.extend(acknowledged.map(|(sequence, _)| *sequence));
        }
    }

    fn commit(&mut self) {
        let (runtime, spool) = (runtime(), self.spool());
        let entries = read_all(&runtime, &spool, spool.committed().0);
        let chosen = self.random.below(entries.len() + 1);
        let Some(entry) = entries.get(chosen) else { return };
        let note = format!("note {}", entry.sequence);
        if commit(&runtime, &spool, entry.sequence, note.as_bytes()).is_ok() {
            if !self.lied {
                self.model.committed = (entry.sequence, note.into());
            }
            self.model.owed = self.model.owed.split_off(&(entry.sequence + 1));
            self.known = self.known.split_off(&(entry.sequence + 1));
        }
    }

    fn fail(&mut self) {
        let nth = self.random.below(4);
        match self.random.below(4) {
            0 => self.disk.fail_sync(nth),
            1 => self.disk.fail_sync_after_writing(nth),
            2 => {
                // What is refused stays where the next life reads it.
                self.disk.fail_calls(Call::Truncate, ".segment");
                self.disk.fail_sync(nth);
            }
            _ => self.disk.fail_append(nth, self.random.below(5000)),
        }
    }

    /// The process ends, the machine goes on.
    fn restart(&mut self) {
        self.disk.fail_no_more();
        drop(self.spool.take());
        let (spool, known) = reopen(&self.disk, self.prepare_bytes);
        self.model.check(&runtime(), &spool);
        self.known = read_all(&runtime(), &spool, spool.committed().0)
            .into_iter()
            .filter(|entry| known.contains(&entry.payload[..]))
            .map(|entry| entry.sequence)
            .collect();
        self.spool = Some(spool);
    }

    fn crash(&mut self) {
        self.disk.crash_torn(&mut self.random, self.sector);
        self.disk.fail_no_more();
        drop(self.spool.take());
        let (spool, _) = reopen(&self.disk, self.prepare_bytes);
        let runtime = runtime();
        let present: BTreeSet<Sequence> = read_all(&runtime, &spool, spool.committed().0)
            .into_iter()
            .map(|entry| entry.sequence)
            .collect();
        let known = std::mem::take(&mut self.known).split_off(&(spool.committed().0 + 1));
        assert!(
            self.lied || known.is_subset(&present),
            "what counted as known is gone"
        );
        // What the disk only claimed to hold may be gone.
        let lost = self
            .doubtful
            .iter()
            .filter(|sequence| !present.contains(sequence));
        for sequence in lost {
            self.model.owed.remove(sequence);
        }
        self.doubtful.clear();
        if self.lied {
            // Nothing that was told meanwhile can be held against the spool, numbers and commits included.
            self.model.highest = spool.last_sequence();
            self.model.committed = spool.committed();
        }
        self.lied = false;
        self.model.check(&runtime, &spool);
        self.spool = Some(spool);
    }
}

/// A seed is worth keeping only where it means the same on every run.
#[test]
fn a_seed_gives_the_same_disk_again() {
    let content = |seed: u64| {
        let (disk, mut random) = (FaultyDisk::default(), Random(seed));
        let (spool, _) = reopen(&disk, 1);
        let mut model = Model::default();
        for _ in 0..5 {
            let length = random.below(3000);
            model.append(&spool, &[length]);
        }
        disk.crash_torn(&mut random, 512);
        drop(spool);
        let (spool, _) = reopen(&disk, 1);
        read_all(&runtime(), &spool, 0)
    };
    assert_eq!(content(7), content(7));
}
