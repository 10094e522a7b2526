//! What failing calls may take of the workers' time. A plugin that runs into its limits again and again costs each time
//! what an honest one costs a thousand times: past a bound it is not called for a while.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    event::PartnerName,
    limits::{PLUGIN_WASTE_LIMITS, PLUGIN_WASTE_PER_MILLE},
};

/// What one plugin version owes, for each partner whose events it failed on: one partner's events must not keep a plugin
/// from another's.
pub(super) struct Waste {
    /// Partners below; nearly always none, and then nothing else is looked at.
    owing: AtomicUsize,
    debts: Mutex<HashMap<PartnerName, Debt>>,
    /// What the last instance took to be made.
    start_us: AtomicU64,
    allowed: Duration,
}

struct Debt {
    owed: Duration,
    at: Instant,
    is_told: bool,
}

impl Debt {
    fn pay(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        self.owed = self.owed.saturating_sub(passed * PLUGIN_WASTE_PER_MILLE / 1000);
        self.at = now;
    }
}

impl Waste {
    pub(super) fn new(plugin_time_ms: u32) -> Waste {
        Waste {
            owing: AtomicUsize::new(0),
            debts: Mutex::default(),
            start_us: AtomicU64::new(0),
            allowed: Duration::from_millis(plugin_time_ms.into()) * PLUGIN_WASTE_LIMITS,
        }
    }

    pub(super) fn allowed(&self) -> Duration {
        self.allowed
    }

    pub(super) fn started(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.start_us.store(us, Ordering::Relaxed);
    }

    /// The partner's events are to be kept without a call.
    pub(super) fn is_over(&self, partner: &PartnerName) -> bool {
        self.owing.load(Ordering::Relaxed) != 0 && self.is_over_at(partner, Instant::now())
    }

    #[cold]
    fn is_over_at(&self, partner: &PartnerName, now: Instant) -> bool {
        let mut debts = self.debts.lock();
        let Some(debt) = debts.get_mut(partner) else {
            return false;
        };
        debt.pay(now);
        if debt.owed.is_zero() {
            debts.remove(partner);
            self.owing.store(debts.len(), Ordering::Relaxed);
            return false;
        }
        debt.owed > self.allowed
    }

    /// Notes a call that failed after this time, and cost its instance. Whether it is the one after which no other is
    /// made, for the first time since all was paid.
    #[cold]
    pub(super) fn charge(&self, partner: &PartnerName, spent: Duration, is_instance_gone: bool) -> bool {
        let start = Duration::from_micros(self.start_us.load(Ordering::Relaxed));
        let spent = if is_instance_gone { spent + start } else { spent };
        self.charge_at(partner, spent, Instant::now())
    }

    fn charge_at(&self, partner: &PartnerName, spent: Duration, now: Instant) -> bool {
        if spent.is_zero() {
            return false;
        }
        let mut debts = self.debts.lock();
        let debt = debts.entry(partner.clone()).or_insert(Debt {
            owed: Duration::ZERO,
            at: now,
            is_told: false,
        });
        debt.pay(now);
        debt.owed += spent;
        let is_news =
            debt.owed > self.allowed && !std::mem::replace(&mut debt.is_told, debt.owed > self.allowed);
        self.owing.store(debts.len(), Ordering::Relaxed);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Waste;
    use crate::limits::{PLUGIN_WASTE_LIMITS, PLUGIN_WASTE_PER_MILLE};

    const CALL: Duration = Duration::from_millis(10);

    #[test]
    fn what_is_wasted_stays_within_its_share_of_the_time() {
        let waste = Waste::new(10);
        let (partner, other) = ("b".parse().expect("a name"), "a".parse().expect("a name"));
        let begun = Instant::now();
        let (mut calls, mut told) = (0, 0);
        let seconds = 600;
        // An event each millisecond, each of which runs into the limit where it is called.
        for ms in 0..seconds * 1000 {
            let now = begun + Duration::from_millis(ms);
            if !waste.is_over_at(&partner, now) {
                calls += 1;
                told += u32::from(waste.charge_at(&partner, CALL, now));
            }
            assert!(!waste.is_over_at(&other, now), "each partner for itself");
        }
        let sustained = u64::from(PLUGIN_WASTE_PER_MILLE) * seconds / 10;
        let burst = u64::from(PLUGIN_WASTE_LIMITS);
        assert!(calls <= sustained + burst + 2, "{calls} calls");
        assert!(calls >= sustained, "{calls} calls: it is tried again and again");
        assert_eq!(told, 1);
    }

    #[test]
    fn what_is_paid_is_forgotten() {
        let waste = Waste::new(10);
        let partner = "b".parse().expect("a name");
        let now = Instant::now();
        assert!(!waste.is_over(&partner));
        for _ in 0..=PLUGIN_WASTE_LIMITS {
            waste.charge_at(&partner, CALL, now);
        }
        assert!(waste.is_over_at(&partner, now));
        let soon = now + CALL * 1000 / PLUGIN_WASTE_PER_MILLE;
        assert!(!waste.is_over_at(&partner, soon), "one call's worth is paid");
        assert!(
            !waste.charge_at(&partner, Duration::ZERO, soon),
            "what cost nothing is not noted"
        );
        let later = now + CALL * (PLUGIN_WASTE_LIMITS + 1) * 1000 / PLUGIN_WASTE_PER_MILLE;
        assert!(!waste.is_over_at(&partner, later));
        assert!(waste.debts.lock().is_empty());
    }
}
