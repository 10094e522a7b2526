//! Which shard a partition key belongs to, and which shards want to be left alone for a while.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use md5::{Digest, Md5};

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The map of a stream's shards is asked for again after so long, where it is wanted at all.
const MAP_AGE_MAX: Duration = Duration::from_secs(60);

/// One stream's shards. The map is known only once the stream has throttled: until then nobody needs it.
#[derive(Default)]
pub(super) struct Shards {
    /// Where each open shard's hash keys begin, in order; empty where it is not known.
    starts: Vec<(u128, Arc<str>)>,
    mapped: Option<Instant>,
    pauses: HashMap<Arc<str>, Pause>,
}

struct Pause {
    until: Instant,
    attempts: u32,
}

/// The name under which a stream pauses as a whole.
const ALL: &str = "";

impl Shards {
    /// The shard of a key, or the whole stream where the map is not known.
    fn of(&self, key: &str) -> Arc<str> {
        let hash = u128::from_be_bytes(Md5::digest(key.as_bytes()).into());
        let after = self.starts.partition_point(|(start, _)| *start <= hash);
        match after.checked_sub(1).and_then(|index| self.starts.get(index)) {
            Some((_, shard)) => Arc::clone(shard),
            None => ALL.into(),
        }
    }

    pub(super) fn is_paused(&self, key: &str, now: Instant) -> bool {
        if self.pauses.is_empty() {
            return false;
        }
        let paused = |shard: &str| self.pauses.get(shard).is_some_and(|pause| now < pause.until);
        paused(ALL) || paused(&self.of(key))
    }

    /// A shard has refused a record for now. Several records of one call count once.
    pub(super) fn throttled(&mut self, key: &str, now: Instant) {
        let shard = self.of(key);
        self.pause(shard, now);
    }

    /// The whole stream has.
    pub(super) fn all_throttled(&mut self, now: Instant) {
        self.pause(ALL.into(), now);
    }

    fn pause(&mut self, shard: Arc<str>, now: Instant) {
        let pause = self.pauses.entry(shard).or_insert(Pause {
            until: now,
            attempts: 0,
        });
        if now < pause.until {
            return;
        }
        pause.until = now + jittered(pause.attempts, PAUSE_MIN, PAUSE_MAX);
        pause.attempts += 1;
    }

    pub(super) fn succeeded(&mut self, key: &str) {
        if !self.pauses.is_empty() {
            let shard = self.of(key);
            self.pauses.remove(&shard);
            self.pauses.remove(ALL);
        }
    }

    /// When the first of the pauses ends that have not ended yet.
    pub(super) fn next_end(&self, now: Instant) -> Option<Instant> {
        let ends = self.pauses.values().map(|pause| pause.until);
        ends.filter(|until| *until > now).min()
    }

    pub(super) fn wants_map(&self, now: Instant) -> bool {
        !self.pauses.is_empty() && self.mapped.is_none_or(|at| now.duration_since(at) > MAP_AGE_MAX)
    }

    /// Each open shard with the first hash key that belongs to it; empty where it cannot be known.
    pub(super) fn set_map(&mut self, mut starts: Vec<(u128, Arc<str>)>, now: Instant) {
        starts.sort();
        self.starts = starts;
        self.mapped = Some(now);
    }
}

/// Doubled with each attempt, between half and the whole of it, so that many gateways do not come at once.
pub(super) fn jittered(attempts: u32, min: Duration, max: Duration) -> Duration {
    let full = min.saturating_mul(1 << attempts.min(16)).min(max);
    let jitter = getrandom::u32().unwrap_or(u32::MAX / 2);
    full.mul_f64(0.5 + 0.5 * f64::from(jitter) / f64::from(u32::MAX))
}
