//! How many events each partner has sent today, by UTC, on this node: kept across a restart, for partners that have a
//! quota.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{event::PartnerName, limits::QUOTA_FILE_BYTES};

pub(super) const DAY_S: u32 = 86_400;
/// Of the number, how many bits count events; above them stands the day.
const COUNT_BITS: u32 = 40;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// The number of the day since 1970, and the seconds that are left of it.
pub(super) fn today() -> (u64, u32) {
    let now_s = Timestamp::now().as_second().unsigned_abs();
    let past = u32::try_from(now_s % u64::from(DAY_S)).unwrap_or(0);
    (now_s / u64::from(DAY_S), DAY_S - past)
}

/// One partner's events of a day; those of a day before count for nothing.
#[derive(Debug, Default)]
pub(super) struct Day(AtomicU64);

impl Day {
    fn of(day: u64, events: u64) -> Day {
        Day(AtomicU64::new(day << COUNT_BITS | events.min(COUNT)))
    }

    pub(super) fn used(&self, day: u64) -> u64 {
        let packed = self.0.load(Ordering::Relaxed);
        if packed >> COUNT_BITS == day {
            packed & COUNT
        } else {
            0
        }
    }

    pub(super) fn charge(&self, day: u64, events: u64) {
        let charged = |packed: u64| {
            let before = if packed >> COUNT_BITS == day {
                packed & COUNT
            } else {
                0
            };
            Some(day << COUNT_BITS | before.saturating_add(events).min(COUNT))
        };
        // The closure always gives a value.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charged);
    }
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    day: u64,
    events: BTreeMap<PartnerName, u64>,
}

/// The counts of all partners that have, or had, a quota.
#[derive(Debug, Default)]
pub struct Quotas {
    /// None: kept nowhere.
    path: Option<PathBuf>,
    days: Mutex<HashMap<PartnerName, Arc<Day>>>,
    written: Mutex<Written>,
}

impl Quotas {
    /// Reads what the last run counted.
    ///
    /// # Errors
    ///
    /// Where the file is there and cannot be read. One that holds something else is put aside: a quota is no reason not
    /// to start.
    pub fn open(folder: &Path) -> io::Result<Quotas> {
        let path = folder.join("quotas");
        let text = match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > QUOTA_FILE_BYTES => Vec::new(),
            Ok(_) => fs::read(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let written: Written = if text.is_empty() {
            Written::default()
        } else {
            serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::error!(%error, "the quotas' counts cannot be read: the day begins anew");
                Written::default()
            })
        };
        let day =
            |(name, events): (&PartnerName, &u64)| (name.clone(), Arc::new(Day::of(written.day, *events)));
        Ok(Quotas {
            path: Some(path),
            days: Mutex::new(written.events.iter().map(day).collect()),
            written: Mutex::new(written),
        })
    }

    /// A partner's count; the same one as long as this lives.
    pub(super) fn day(&self, partner: &PartnerName) -> Arc<Day> {
        Arc::clone(self.days.lock().entry(partner.clone()).or_default())
    }

    /// Writes the counts where they have changed.
    pub fn save(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let (day, _) = today();
        let now = Written {
            day,
            events: self
                .days
                .lock()
                .iter()
                .map(|(name, count)| (name.clone(), count.used(day)))
                .filter(|(_, events)| *events > 0)
                .collect(),
        };
        let mut written = self.written.lock();
        if *written == now {
            return Ok(());
        }
        let beside = path.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&now)?)?;
        fs::rename(&beside, path)?;
        *written = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_for_their_day_alone() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let name: PartnerName = "shop".parse().expect("a name");
        let quotas = Quotas::open(folder.path()).expect("opened");
        let (day, left_s) = today();
        assert!((1..=DAY_S).contains(&left_s));
        quotas.day(&name).charge(day, 40);
        quotas.day(&name).charge(day, 2);
        quotas.save().expect("saved");
        let again = Quotas::open(folder.path()).expect("opened");
        assert_eq!(again.day(&name).used(day), 42);
        assert_eq!(again.day(&name).used(day + 1), 0);
        again.day(&name).charge(day + 1, 1);
        assert_eq!(again.day(&name).used(day + 1), 1);
    }

    #[test]
    fn a_file_that_holds_something_else_does_not_stop_the_gateway() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for content in [&b"["[..], b"\xff"] {
            fs::write(folder.path().join("quotas"), content).expect("written");
            let quotas = Quotas::open(folder.path()).expect("opened");
            assert_eq!(quotas.day(&"shop".parse().expect("a name")).used(today().0), 0);
        }
    }
}
