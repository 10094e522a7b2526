//! What failing calls may take of the workers' time. A plugin that runs into its limits again and again costs each time
//! what an honest one costs a thousand times: past a bound it is not called for a while.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::prepared::Purpose;
use crate::{
    event::PartnerName,
    limits::{PLUGIN_ASIDE_S, PLUGIN_WASTE_LIMITS, PLUGIN_WASTE_PER_MILLE},
};

/// For so long after a call that ran out of its time.
const DOUBT: Duration = Duration::from_secs(PLUGIN_ASIDE_S);
/// How often the debts of those are looked at who send nothing any more.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What one plugin version owes.
pub(super) struct Waste {
    live: Ledger,
    /// Apart: what a shadow did delivered nothing, and must not keep the version from events once it is active.
    shadow: Ledger,
    /// Apart: a replay of what failed must not keep the plugin from what passes meanwhile.
    again: Ledger,
    /// What the last instance took to be made.
    start_us: AtomicU64,
    allowed: Duration,
}

/// For each partner on whose events the plugin failed: one partner's events must not keep it from another's.
struct Ledger {
    /// Partners below; nearly always none, and then nothing else is looked at.
    owing: AtomicUsize,
    debts: Mutex<Debts>,
}

struct Debts {
    of: HashMap<PartnerName, Debt>,
    swept: Instant,
}

struct Debt {
    owed: Duration,
    at: Instant,
    is_told: bool,
    /// When a call last ran out of its time.
    timed_out: Option<Instant>,
}

/// Where an event is to be given to a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// To the worker that has it.
    Good,
    /// Beside the workers: it may well take all of its time.
    Doubtful,
    /// Nowhere: it is to be kept without a call.
    Over,
}

/// A call that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    pub(super) spent: Duration,
    pub(super) is_instance_gone: bool,
    pub(super) has_timed_out: bool,
}

impl Debt {
    fn is_doubtful(&self, now: Instant) -> bool {
        self.timed_out
            .is_some_and(|at| now.saturating_duration_since(at) < DOUBT)
    }

    fn pay(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        self.owed = self.owed.saturating_sub(passed * PLUGIN_WASTE_PER_MILLE / 1000);
        self.at = now;
    }
}

impl Debts {
    /// Forgets what is paid, now and then, whoever owed it: a partner who is gone comes no more to pay.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < SWEEP_INTERVAL {
            return;
        }
        self.swept = now;
        self.of.retain(|_, debt| {
            debt.pay(now);
            !debt.owed.is_zero() || debt.is_doubtful(now)
        });
    }
}

impl Ledger {
    fn new() -> Ledger {
        Ledger {
            owing: AtomicUsize::new(0),
            debts: Mutex::new(Debts {
                of: HashMap::new(),
                swept: Instant::now(),
            }),
        }
    }

    #[cold]
    fn standing(&self, partner: &PartnerName, allowed: Duration, now: Instant) -> Standing {
        let mut debts = self.debts.lock();
        debts.sweep(now);
        let standing = debts.of.get_mut(partner).map_or(Standing::Good, |debt| {
            debt.pay(now);
            match (debt.owed > allowed, debt.is_doubtful(now)) {
                (true, _) => Standing::Over,
                (false, true) => Standing::Doubtful,
                (false, false) => Standing::Good,
            }
        });
        self.owing.store(debts.of.len(), Ordering::Relaxed);
        standing
    }

    /// Whether the debt is now above what is allowed, for the first time since all was paid.
    fn charge(&self, partner: &PartnerName, failed: Failed, allowed: Duration, now: Instant) -> bool {
        let mut debts = self.debts.lock();
        debts.sweep(now);
        let debt = debts.of.entry(partner.clone()).or_insert(Debt {
            owed: Duration::ZERO,
            at: now,
            is_told: false,
            timed_out: None,
        });
        debt.pay(now);
        if debt.owed.is_zero() {
            debt.is_told = false;
        }
        debt.owed += failed.spent;
        if failed.has_timed_out {
            debt.timed_out = Some(now);
        }
        let is_news = debt.owed > allowed && !std::mem::replace(&mut debt.is_told, true);
        self.owing.store(debts.of.len(), Ordering::Relaxed);
        is_news
    }
}

impl Waste {
    pub(super) fn new(plugin_time_ms: u32) -> Waste {
        Waste {
            live: Ledger::new(),
            shadow: Ledger::new(),
            again: Ledger::new(),
            start_us: AtomicU64::new(0),
            allowed: Duration::from_millis(plugin_time_ms.into()) * PLUGIN_WASTE_LIMITS,
        }
    }

    fn ledger(&self, purpose: Purpose) -> &Ledger {
        match purpose {
            Purpose::Live => &self.live,
            Purpose::Shadow => &self.shadow,
            Purpose::Again => &self.again,
        }
    }

    pub(super) fn allowed(&self) -> Duration {
        self.allowed
    }

    pub(super) fn started(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.start_us.store(us, Ordering::Relaxed);
    }

    /// What becomes of the partner's next event.
    pub(super) fn standing(&self, purpose: Purpose, partner: &PartnerName) -> Standing {
        let ledger = self.ledger(purpose);
        if ledger.owing.load(Ordering::Relaxed) == 0 {
            return Standing::Good;
        }
        ledger.standing(partner, self.allowed, Instant::now())
    }

    /// Notes a call that failed, and what another instance takes to be made where it cost its own. Whether it is the one
    /// after which no other is made, for the first time since all was paid.
    #[cold]
    pub(super) fn charge(&self, purpose: Purpose, partner: &PartnerName, mut failed: Failed) -> bool {
        if failed.is_instance_gone {
            failed.spent += Duration::from_micros(self.start_us.load(Ordering::Relaxed));
        }
        self.charge_at(purpose, partner, failed, Instant::now())
    }

    fn charge_at(&self, purpose: Purpose, partner: &PartnerName, failed: Failed, now: Instant) -> bool {
        !failed.spent.is_zero() && self.ledger(purpose).charge(partner, failed, self.allowed, now)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::Ordering,
        time::{Duration, Instant},
    };

    use super::{DOUBT, Failed, Purpose, SWEEP_INTERVAL, Standing, Waste};
    use crate::{
        event::PartnerName,
        limits::{PLUGIN_WASTE_LIMITS, PLUGIN_WASTE_PER_MILLE},
    };

    const CALL: Duration = Duration::from_millis(10);

    impl Waste {
        fn standing_at(&self, purpose: Purpose, partner: &PartnerName, now: Instant) -> Standing {
            self.ledger(purpose).standing(partner, self.allowed, now)
        }

        fn is_over_at(&self, purpose: Purpose, partner: &PartnerName, now: Instant) -> bool {
            self.standing_at(purpose, partner, now) == Standing::Over
        }

        /// Until no other call is made.
        fn overcharge(&self, purpose: Purpose, partner: &PartnerName, now: Instant) {
            for _ in 0..=PLUGIN_WASTE_LIMITS {
                self.charge_at(purpose, partner, after(CALL), now);
            }
            assert!(self.is_over_at(purpose, partner, now));
        }
    }

    /// A call that failed on its own after so much time.
    const fn after(spent: Duration) -> Failed {
        Failed {
            spent,
            is_instance_gone: false,
            has_timed_out: false,
        }
    }

    fn partner(name: &str) -> PartnerName {
        name.parse().expect("a name")
    }

    /// After so much time all that was overcharged is paid.
    fn until_all_is_paid() -> Duration {
        CALL * (PLUGIN_WASTE_LIMITS + 1) * 1000 / PLUGIN_WASTE_PER_MILLE
    }

    #[test]
    fn what_is_wasted_stays_within_its_share_of_the_time() {
        let waste = Waste::new(10);
        let (bad, other) = (partner("b"), partner("a"));
        let begun = Instant::now();
        let (mut calls, mut told) = (0, 0);
        let seconds = 600;
        // An event each millisecond, each of which runs into the limit where it is called.
        for ms in 0..seconds * 1000 {
            let now = begun + Duration::from_millis(ms);
            if !waste.is_over_at(Purpose::Live, &bad, now) {
                calls += 1;
                told += u32::from(waste.charge_at(Purpose::Live, &bad, after(CALL), now));
            }
            assert!(
                !waste.is_over_at(Purpose::Live, &other, now),
                "each partner for itself"
            );
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
        let bad = partner("b");
        let now = Instant::now();
        assert_eq!(waste.standing(Purpose::Live, &bad), Standing::Good);
        waste.overcharge(Purpose::Live, &bad, now);
        let soon = now + CALL * 1000 / PLUGIN_WASTE_PER_MILLE;
        assert!(
            !waste.is_over_at(Purpose::Live, &bad, soon),
            "one call's worth is paid"
        );
        assert!(
            !waste.charge_at(Purpose::Live, &bad, after(Duration::ZERO), soon),
            "what cost nothing is not noted"
        );
        let later = now + until_all_is_paid();
        assert!(!waste.is_over_at(Purpose::Live, &bad, later));
        assert!(waste.live.debts.lock().of.is_empty());
        // And told anew.
        let mut told =
            (0..=PLUGIN_WASTE_LIMITS).map(|_| waste.charge_at(Purpose::Live, &bad, after(CALL), later));
        assert!(told.any(|is_news| is_news));
    }

    #[test]
    fn who_ran_out_of_time_is_called_beside_the_workers_for_a_while() {
        let waste = Waste::new(10);
        let (bad, other) = (partner("b"), partner("a"));
        let now = Instant::now();
        waste.charge_at(Purpose::Live, &bad, after(CALL), now);
        assert_eq!(waste.standing_at(Purpose::Live, &bad, now), Standing::Good);
        let timed_out = Failed {
            has_timed_out: true,
            ..after(CALL)
        };
        waste.charge_at(Purpose::Live, &bad, timed_out, now);
        assert_eq!(waste.standing_at(Purpose::Live, &bad, now), Standing::Doubtful);
        assert_eq!(waste.standing_at(Purpose::Live, &other, now), Standing::Good);
        assert_eq!(waste.standing_at(Purpose::Again, &bad, now), Standing::Good);
        // Long after all is paid.
        let then = now + DOUBT - Duration::from_millis(1);
        assert_eq!(waste.standing_at(Purpose::Live, &bad, then), Standing::Doubtful);
        assert_eq!(
            waste.standing_at(Purpose::Live, &bad, now + DOUBT),
            Standing::Good
        );
        let swept = now + DOUBT + SWEEP_INTERVAL;
        waste.standing_at(Purpose::Live, &other, swept);
        assert!(waste.live.debts.lock().of.is_empty(), "it is forgotten");
    }

    #[test]
    fn a_replay_owes_for_itself() {
        let waste = Waste::new(10);
        let bad = partner("b");
        let now = Instant::now();
        waste.overcharge(Purpose::Again, &bad, now);
        assert!(!waste.is_over_at(Purpose::Live, &bad, now), "events pass");
        let other = Waste::new(10);
        other.overcharge(Purpose::Live, &bad, now);
        assert!(
            !other.is_over_at(Purpose::Again, &bad, now),
            "a mended plugin's events go out"
        );
    }

    #[test]
    fn a_shadow_owes_for_itself() {
        let waste = Waste::new(10);
        let bad = partner("b");
        let now = Instant::now();
        waste.overcharge(Purpose::Shadow, &bad, now);
        for purpose in [Purpose::Live, Purpose::Again] {
            assert!(!waste.is_over_at(purpose, &bad, now), "{purpose:?}");
        }
        let other = Waste::new(10);
        other.overcharge(Purpose::Live, &bad, now);
        assert!(!other.is_over_at(Purpose::Shadow, &bad, now));
    }

    #[test]
    fn the_debts_of_partners_who_are_gone_are_forgotten() {
        let waste = Waste::new(10);
        let (gone, other) = (partner("gone"), partner("other"));
        let now = Instant::now();
        waste.overcharge(Purpose::Live, &gone, now);
        assert_eq!(waste.live.owing.load(Ordering::Relaxed), 1);
        // Another's event passes.
        let later = now + until_all_is_paid() + SWEEP_INTERVAL;
        assert!(!waste.is_over_at(Purpose::Live, &other, later));
        assert!(waste.live.debts.lock().of.is_empty());
        assert_eq!(
            waste.live.owing.load(Ordering::Relaxed),
            0,
            "nothing is looked at"
        );
    }
}
