//! Keeping the store tidy: batches of which nothing waits any more, old notes, small batches; and retention.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    BATCH_BYTES, Quarantine, batch, form,
    index::Place,
    stored::{NOTES, Stored},
    unavailable,
};
use crate::problem::Problem;

/// Of what retention allows, when the warning begins.
const WARNING_PERCENT: u64 = 75;
/// Items that one pass drops.
const DROPPED_AT_ONCE: usize = 100_000;
/// A batch below this is small …
const SMALL_BYTES: u64 = 256 << 10;
/// … and so many of them become one.
const SMALL_BATCHES: usize = 64;
const MERGED_BATCHES: usize = 512;
/// A note is kept so much longer than the youngest batch that it could speak of: clocks differ.
const NOTE_MARGIN: Duration = Duration::from_hours(24);

/// How long and how much is kept; what is absent is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    pub max_age: Option<Duration>,
    /// Of all batches in the store, as they are there.
    pub max_bytes: Option<u64>,
}

/// How full the quarantine is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub events: u64,
    pub batches: u64,
    /// In the store.
    pub bytes: u64,
    /// When the oldest event was kept.
    pub oldest: Option<Timestamp>,
    /// Events that retention drops before long.
    pub expiring: u64,
    /// Events that retention has dropped since the start.
    pub dropped: u64,
}

/// What retention is about to drop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub too_old: Vec<Uuid>,
    pub too_many: Vec<Uuid>,
}

impl Quarantine {
    pub fn figures(&self, retention: &Retention) -> Figures {
        let index = self.index.lock();
        let mut batches: Vec<(&str, u64, usize)> = index
            .batches()
            .map(|(batch, live)| (&*batch.name, batch.bytes, live))
            .collect();
        let bytes = batches.iter().map(|(_, bytes, _)| bytes).sum();
        let by_size = retention.max_bytes.map_or(0, |max_bytes| {
            batches.sort_unstable();
            let mut left: u64 = bytes;
            let is_above = |left: u64| left > max_bytes / 100 * WARNING_PERCENT;
            let oldest = batches.iter().take_while(|(_, bytes, _)| {
                let was_above = is_above(left);
                left = left.saturating_sub(*bytes);
                was_above
            });
            oldest.map(|(_, _, live)| *live as u64).sum()
        });
        let by_age = retention.max_age.map_or(0, |max_age| {
            let warned = max_age.mul_f64(WARNING_PERCENT as f64 / 100.0);
            index.count_before(kept_before(warned), usize::MAX) as u64
        });
        Figures {
            events: index.len() as u64,
            batches: batches.len() as u64,
            bytes,
            oldest: index.oldest().and_then(kept_at),
            expiring: by_size.max(by_age),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    /// What retention does not allow any more, the oldest first; at most so much as one pass drops.
    pub fn surplus(&self, retention: &Retention) -> Swept {
        let index = self.index.lock();
        let too_old = retention.max_age.map_or_else(Vec::new, |max_age| {
            index.ids_before(kept_before(max_age), DROPPED_AT_ONCE)
        });
        let mut swept = Swept {
            too_old,
            ..Swept::default()
        };
        if let Some(max_bytes) = retention.max_bytes {
            let mut batches: Vec<(Arc<str>, u64)> = index
                .batches()
                .map(|(batch, _)| (Arc::clone(&batch.name), batch.bytes))
                .collect();
            batches.sort_unstable();
            let mut bytes: u64 = batches.iter().map(|(_, bytes)| bytes).sum();
            let mut names = HashSet::new();
            for (name, size) in batches {
                if bytes <= max_bytes {
                    break;
                }
                bytes -= size;
                names.insert(name);
            }
            if !names.is_empty() {
                swept.too_many = index.ids_in(&names, DROPPED_AT_ONCE);
            }
        }
        swept
    }

    /// Drops what [`Quarantine::surplus`] named. Whoever calls it has told the operator before.
    ///
    /// # Errors
    ///
    /// `store-unavailable`; then it still waits.
    pub async fn drop_surplus(&self, swept: &Swept) -> Result<u64, Problem> {
        let ids: BTreeSet<Uuid> = swept.too_old.iter().chain(&swept.too_many).copied().collect();
        let ids: Vec<Uuid> = ids.into_iter().collect();
        // Not what is on its way out just now.
        let claim = self.claim(&ids, BTreeMap::new()).await?;
        let ids: Vec<Uuid> = claim.ids.iter().copied().collect();
        let resolved = self.resolve(&ids).await;
        self.release(claim).await?;
        resolved?;
        self.dropped.fetch_add(ids.len() as u64, Ordering::Relaxed);
        Ok(ids.len() as u64)
    }

    /// Removes from the store what nobody needs any more, and makes one batch of many small ones. To be called now and
    /// then: `dead` are the batches of which nothing waited at the last call.
    ///
    /// # Errors
    ///
    /// `store-unavailable`.
    pub async fn tidy(&self, dead: &mut HashSet<Arc<str>>) -> Result<(), Problem> {
        self.refresh(true).await.map_err(unavailable)?;
        // The latest word on an item may still be in the spool: then its batch is all that others can see.
        let is_drained = self.spool.pending().entries == 0;
        let now_dead: HashSet<Arc<str>> = {
            let index = self.index.lock();
            let without_items = index.batches().filter(|(_, live)| *live == 0);
            without_items.map(|(batch, _)| Arc::clone(&batch.name)).collect()
        };
        if is_drained {
            for name in now_dead.intersection(dead) {
                self.store.delete(name).await.map_err(unavailable)?;
                self.index.lock().remove_batch(name);
            }
        }
        *dead = now_dead;
        self.remove_old_notes().await?;
        self.merge_small().await
    }

    async fn remove_old_notes(&self) -> Result<(), Problem> {
        let oldest_batch = {
            let index = self.index.lock();
            index
                .batches()
                .filter_map(|(batch, _)| made_at(&batch.name))
                .min()
        };
        let until = oldest_batch.unwrap_or_else(Timestamp::now);
        for name in self.store.list(NOTES, None).await.map_err(unavailable)? {
            let is_old = made_at(&name)
                .and_then(|made| made.checked_add(NOTE_MARGIN).ok())
                .is_some_and(|kept_until| kept_until < until);
            // Names ascend in time.
            if !is_old {
                break;
            }
            let ids = self.read_note(&name).await.map_err(unavailable)?;
            self.store.delete(&name).await.map_err(unavailable)?;
            self.index.lock().forget_resolved(&ids);
        }
        Ok(())
    }

    async fn merge_small(&self) -> Result<(), Problem> {
        let (names, ids) = {
            let index = self.index.lock();
            let mut small: Vec<Arc<str>> = index
                .batches()
                .filter(|(batch, live)| *live > 0 && batch.bytes < SMALL_BYTES)
                .map(|(batch, _)| Arc::clone(&batch.name))
                .collect();
            if small.len() < SMALL_BATCHES {
                return Ok(());
            }
            small.sort_unstable();
            small.truncate(MERGED_BATCHES);
            let names: HashSet<Arc<str>> = small.into_iter().collect();
            let ids = index.ids_in(&names, DROPPED_AT_ONCE);
            (names, ids)
        };
        // A replay on another node may give an item a new word meanwhile, which the merged one must not overtake.
        let claim = self.claim(&ids, BTreeMap::new()).await?;
        let merged = self.merge(&claim.ids).await;
        self.release(claim).await?;
        merged?;
        tracing::debug!(
            batches = names.len(),
            "small batches of the quarantine were merged"
        );
        Ok(())
    }

    async fn merge(&self, ids: &HashSet<Uuid>) -> Result<(), Problem> {
        let found = {
            let index = self.index.lock();
            let in_store = |found: &super::index::Found| matches!(found.place, Place::Batch { .. });
            ids.iter()
                .filter_map(|id| index.find(*id))
                .filter(in_store)
                .collect()
        };
        let mut items = Vec::new();
        let mut bytes = 0;
        for kept in self.load(found).await.map_err(unavailable)? {
            let Ok(item) = form::packing(form::encode(&kept)) else {
                continue;
            };
            bytes += item.payload.len();
            items.push(item);
            if bytes > BATCH_BYTES {
                self.put_merged(std::mem::take(&mut items)).await?;
                bytes = 0;
            }
        }
        self.put_merged(items).await
    }

    async fn put_merged(&self, items: Vec<batch::Packing>) -> Result<(), Problem> {
        if items.is_empty() {
            return Ok(());
        }
        let Stored { name, bytes, index } = self.put_batch(items).await.map_err(unavailable)?;
        self.index.lock().add_batch(&name, bytes, index, 0);
        Ok(())
    }
}

/// The least id of what was kept so long ago.
fn kept_before(age: Duration) -> Uuid {
    let now_ms = Timestamp::now().as_millisecond().unsigned_abs();
    let then_ms = now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    Uuid::from_u128(u128::from(then_ms) << 80)
}

/// When an id of version 7 was made.
fn kept_at(id: Uuid) -> Option<Timestamp> {
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}

/// When an object was made, by its name.
fn made_at(name: &str) -> Option<Timestamp> {
    let name = name.rsplit('/').next()?;
    kept_at(name.split('.').next()?.parse().ok()?)
}
