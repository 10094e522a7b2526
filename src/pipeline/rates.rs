//! The partners' rate limits: events and bytes a second, with a burst.
//!
//! A request is taken whole or refused before its body is read, so what it costs is only known after it was let in: it
//! is let in while there is room, charged in full, and the partner waits until its debt is paid. On average exactly the
//! limit passes, and no request is ever too large to pass at all. A quota of a day is kept likewise.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::quotas::{DAY_S, Day, Quotas, today};
use crate::{
    event::PartnerName,
    problem::{Code, Problem, RateState},
    registry::model::{RateLimit, State},
};

const NANOSECONDS: u64 = 1_000_000_000;

/// One limit as a virtual clock (GCRA): it stands at the time when all that was charged would have been paid.
#[derive(Debug)]
struct Bucket {
    name: &'static str,
    per_s: u64,
    /// What may come at once, in units.
    burst: u64,
    /// Nanoseconds since `begun`.
    paid_at: AtomicU64,
    begun: Instant,
}

impl Bucket {
    fn new(name: &'static str, per_s: u64, burst: u64) -> Bucket {
        Bucket {
            name,
            per_s: per_s.max(1),
            burst: burst.max(1),
            paid_at: AtomicU64::new(0),
            begun: Instant::now(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn cost(&self, units: u64) -> u64 {
        let nanoseconds = u128::from(units) * u128::from(NANOSECONDS) / u128::from(self.per_s);
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }

    /// How long until there is room again, in nanoseconds; 0: there is.
    fn wait(&self, now: u64) -> u64 {
        let ahead = self.paid_at.load(Ordering::Relaxed).saturating_sub(now);
        let burst = self.cost(self.burst);
        if ahead < burst { 0 } else { ahead - burst + 1 }
    }

    fn charge(&self, now: u64, units: u64) {
        let cost = self.cost(units);
        let charged = |paid_at: u64| Some(paid_at.max(now).saturating_add(cost));
        // The closure always gives a value.
        let _ = self
            .paid_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, charged);
    }

    fn check(&self) -> Result<(), Problem> {
        let wait = self.wait(self.now());
        if wait == 0 {
            return Ok(());
        }
        let seconds = u32::try_from(wait.div_ceil(NANOSECONDS)).unwrap_or(u32::MAX);
        let mut problem = Problem::new(
            Code::RateLimited,
            format!(
                "the partner may send {} {} a second, and has sent more; nothing of this request was taken: send it again \
                 in {seconds} s",
                self.per_s, self.name
            ),
        );
        problem.retry_after_s = Some(seconds);
        problem.rate = Some(Box::new(RateState {
            name: self.name,
            quota: self.burst,
            window_s: self.burst.div_ceil(self.per_s),
            reset_s: seconds,
        }));
        Err(problem)
    }
}

/// So many events a day, by UTC.
#[derive(Debug)]
struct Quota {
    events: u64,
    day: Arc<Day>,
}

impl Quota {
    fn check(&self) -> Result<(), Problem> {
        let (day, left_s) = today();
        if self.day.used(day) < self.events {
            return Ok(());
        }
        let mut problem = Problem::new(
            Code::RateLimited,
            format!(
                "the partner may send {} events a day, by UTC, and has sent them; nothing of this request was taken: send \
                 it again in {left_s} s",
                self.events
            ),
        );
        problem.retry_after_s = Some(left_s);
        problem.rate = Some(Box::new(RateState {
            name: "events-per-day",
            quota: self.events,
            window_s: DAY_S.into(),
            reset_s: left_s,
        }));
        Err(problem)
    }
}

#[derive(Debug)]
struct Rate {
    limit: RateLimit,
    buckets: [Option<Bucket>; 2],
    quota: Option<Quota>,
}

/// The limits of all partners that have one.
#[derive(Debug, Default)]
pub struct Rates {
    partners: HashMap<PartnerName, Arc<Rate>>,
    quotas: Arc<Quotas>,
}

impl Rates {
    pub(super) fn new(quotas: Arc<Quotas>) -> Rates {
        Rates {
            partners: HashMap::new(),
            quotas,
        }
    }

    /// A limit that has not changed goes on with what was charged to it.
    pub(super) fn build(state: &State, previous: &Rates) -> Rates {
        let mut rates = HashMap::new();
        for (name, partner) in &state.partners {
            let Some(limit) = &partner.value.rate_limit else {
                continue;
            };
            let rate = match previous.partners.get(name) {
                Some(known) if known.limit == *limit => Arc::clone(known),
                _ => Arc::new(Rate::new(limit, name, &previous.quotas)),
            };
            rates.insert(name.clone(), rate);
        }
        Rates {
            partners: rates,
            quotas: Arc::clone(&previous.quotas),
        }
    }

    /// 429 where the partner must wait.
    pub(super) fn check(&self, partner: &PartnerName) -> Result<(), Problem> {
        let Some(rate) = self.partners.get(partner) else {
            return Ok(());
        };
        rate.quota.iter().try_for_each(Quota::check)?;
        rate.buckets.iter().flatten().try_for_each(Bucket::check)
    }

    pub(super) fn charge(&self, partner: &PartnerName, events: usize, bytes: usize) {
        let Some(rate) = self.partners.get(partner) else {
            return;
        };
        for (bucket, units) in rate.buckets.iter().zip([events, bytes]) {
            if let Some(bucket) = bucket {
                bucket.charge(bucket.now(), units as u64);
            }
        }
        if let Some(quota) = &rate.quota {
            quota.day.charge(today().0, events as u64);
        }
    }

    pub(super) fn events_per_s(&self, partner: &PartnerName) -> Option<u32> {
        self.partners.get(partner)?.limit.events_per_s
    }
}

impl Rate {
    fn new(limit: &RateLimit, partner: &PartnerName, quotas: &Quotas) -> Rate {
        let events = limit.events_per_s.map(|per_s| {
            let burst = limit.burst.unwrap_or(per_s);
            Bucket::new("events", per_s.into(), burst.into())
        });
        // Bytes have no burst of their own: as many seconds' worth as the events have, or one.
        let bytes = limit.bytes_per_s.map(|per_s| {
            let seconds = match (limit.burst, limit.events_per_s) {
                (Some(burst), Some(events)) => u64::from(burst).div_ceil(u64::from(events.max(1))),
                _ => 1,
            };
            Bucket::new("bytes", per_s, per_s.saturating_mul(seconds))
        });
        Rate {
            limit: limit.clone(),
            buckets: [events, bytes],
            quota: limit.events_per_day.map(|events| Quota {
                events,
                day: quotas.day(partner),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_the_limit_on_average_whatever_comes_at_once() {
        let bucket = Bucket::new("events", 100, 50);
        let (mut now, mut passed) = (0, 0);
        // Ten seconds, ten tries a millisecond, each of 7 events.
        for _ in 0..10_000 {
            for _ in 0..10 {
                if bucket.wait(now) == 0 {
                    bucket.charge(now, 7);
                    passed += 7;
                }
            }
            now += 1_000_000;
        }
        assert!((1000..=1000 + 50 + 7).contains(&passed), "{passed}");
    }

    #[test]
    fn a_request_larger_than_the_burst_passes_and_is_paid_for() {
        let bucket = Bucket::new("events", 10, 10);
        assert_eq!(bucket.wait(0), 0);
        bucket.charge(0, 100);
        assert!(bucket.wait(8 * NANOSECONDS) > 0);
        assert_eq!(bucket.wait(9 * NANOSECONDS + 1), 0);
    }

    #[test]
    fn an_unchanged_limit_remembers_and_a_changed_one_begins_anew() {
        use crate::registry::model::{Partner, Versioned};
        let state = |events_per_s| {
            let mut state = State::default();
            let limit = RateLimit {
                events_per_s: Some(events_per_s),
                ..RateLimit::default()
            };
            let partner = Partner {
                rate_limit: Some(limit),
                ..Partner::default()
            };
            let name: PartnerName = "acme".parse().expect("a name");
            state.partners.insert(
                name,
                Arc::new(Versioned {
                    sequence: 1,
                    value: partner,
                }),
            );
            state
        };
        let name = "acme".parse().expect("a name");
        let first = Rates::build(&state(1), &Rates::default());
        first.charge(&name, 5, 0);
        let problem = first.check(&name).expect_err("in debt");
        assert_eq!(problem.code, Code::RateLimited);
        assert!(matches!(problem.retry_after_s, Some(4 | 5)), "{problem:?}");
        assert!(Rates::build(&state(1), &first).check(&name).is_err());
        assert!(Rates::build(&state(2), &first).check(&name).is_ok());
        assert!(first.check(&"other".parse().expect("a name")).is_ok());
    }

    #[test]
    fn a_quota_counts_on_when_it_changes() {
        use crate::registry::model::{Partner, Versioned};
        let name: PartnerName = "acme".parse().expect("a name");
        let state = |events_per_day| {
            let limit = RateLimit {
                events_per_day: Some(events_per_day),
                ..RateLimit::default()
            };
            let value = Partner {
                rate_limit: Some(limit),
                ..Partner::default()
            };
            let mut state = State::default();
            let partner = Arc::new(Versioned { sequence: 1, value });
            state.partners.insert(name.clone(), partner);
            state
        };
        let first = Rates::build(&state(10), &Rates::default());
        first.charge(&name, 9, 0);
        assert!(first.check(&name).is_ok());
        first.charge(&name, 3, 0);
        let problem = first.check(&name).expect_err("used up");
        assert!(problem.retry_after_s.is_some_and(|seconds| seconds <= DAY_S));
        let raised = Rates::build(&state(13), &first);
        assert!(raised.check(&name).is_ok());
        raised.charge(&name, 1, 0);
        assert!(raised.check(&name).is_err());
        assert!(Rates::build(&State::default(), &raised).check(&name).is_ok());
    }
}
