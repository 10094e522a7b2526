//! What the requests under way hold, in all and each partner's: requests, and bytes of bodies.
//!
//! A partner may hold as much as is still free. Alone it gets half; two that want everything get a third each; and
//! whoever comes next always finds as much room as the greediest has taken. One request, and one body, pass as long as
//! there is any room at all.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    event::PartnerName,
    limits::{BODIES_IN_FLIGHT_BYTES, Limits, REQUESTS_IN_FLIGHT},
    problem::{Code, Problem},
    registry::model::State,
};

/// What is held now.
#[derive(Debug, Default)]
pub(super) struct Held {
    requests: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Whole {
    held: Held,
    requests: u64,
    bytes: u64,
}

/// The shares of all partners.
#[derive(Debug)]
pub struct Shares {
    whole: Arc<Whole>,
    partners: HashMap<PartnerName, Arc<Held>, foldhash::fast::FixedState>,
    /// Of requests whose sender is known only by their body.
    unknown: Arc<Held>,
}

impl Default for Shares {
    fn default() -> Shares {
        Shares::new(&Limits::default())
    }
}

impl Shares {
    pub(super) fn new(limits: &Limits) -> Shares {
        Shares {
            whole: Arc::new(Whole {
                held: Held::default(),
                requests: REQUESTS_IN_FLIGHT,
                bytes: BODIES_IN_FLIGHT_BYTES.max(limits.body_bytes.0),
            }),
            partners: HashMap::default(),
            unknown: Arc::default(),
        }
    }

    /// What is held goes on over a change of the registry.
    pub(super) fn build(state: &State, previous: &Shares) -> Shares {
        let share = |name: &PartnerName| {
            let known = previous.partners.get(name);
            (name.clone(), known.map(Arc::clone).unwrap_or_default())
        };
        Shares {
            whole: Arc::clone(&previous.whole),
            partners: state.partners.keys().map(share).collect(),
            unknown: Arc::clone(&previous.unknown),
        }
    }

    /// One more request; `None` where its sender is not known yet. 503 where there is no room for it.
    pub(super) fn take(&self, partner: Option<&PartnerName>) -> Result<Hold, Problem> {
        let share = partner.map_or(Some(&self.unknown), |partner| self.partners.get(partner));
        let hold = Hold {
            whole: Arc::clone(&self.whole),
            share: Arc::clone(share.unwrap_or(&self.unknown)),
            bytes: 0,
        };
        let all = 1 + hold.whole.held.requests.fetch_add(1, Ordering::Relaxed);
        let own = 1 + hold.share.requests.fetch_add(1, Ordering::Relaxed);
        hold.check_requests(all, own)?;
        Ok(hold)
    }

    /// The request's sender is known now.
    pub(super) fn settle(&self, mut hold: Hold, partner: &PartnerName) -> Result<Hold, Problem> {
        let Some(share) = self.partners.get(partner) else {
            return Ok(hold);
        };
        let own = 1 + share.requests.fetch_add(1, Ordering::Relaxed);
        let own_bytes = hold.bytes + share.bytes.fetch_add(hold.bytes, Ordering::Relaxed);
        hold.share.release(hold.bytes);
        hold.share = Arc::clone(share);
        hold.check_requests(hold.whole.held.requests.load(Ordering::Relaxed), own)?;
        hold.check_bytes(hold.whole.held.bytes.load(Ordering::Relaxed), own_bytes)?;
        Ok(hold)
    }
}

impl Held {
    fn release(&self, bytes: u64) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one request holds, until it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    whole: Arc<Whole>,
    share: Arc<Held>,
    bytes: u64,
}

impl Hold {
    /// So many more bytes, which are counted even where they are refused.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), Problem> {
        let all = bytes + self.whole.held.bytes.fetch_add(bytes, Ordering::Relaxed);
        let own = bytes + self.share.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        self.check_bytes(all, own)
    }

    fn check_requests(&self, all: u64, own: u64) -> Result<(), Problem> {
        if all > self.whole.requests {
            return Err(overloaded("too many requests are under way"));
        }
        if own > 1 && own > self.whole.requests - all {
            return Err(overloaded(
                "this partner's requests under way have taken their share",
            ));
        }
        Ok(())
    }

    fn check_bytes(&self, all: u64, own: u64) -> Result<(), Problem> {
        if all > self.whole.bytes {
            return Err(overloaded("too many large bodies are on their way"));
        }
        if own > self.bytes && own > self.whole.bytes - all {
            return Err(overloaded(
                "this partner's bodies under way have taken their share",
            ));
        }
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.whole.held.release(self.bytes);
        self.share.release(self.bytes);
    }
}

fn overloaded(what: &str) -> Problem {
    Problem::new(
        Code::Overloaded,
        format!("{what}; nothing of this one was taken: send it again later, fewer at the same time"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::model::{Partner, Versioned};

    fn shares(names: &[&str]) -> Shares {
        let mut state = State::default();
        for name in names {
            let partner = Versioned {
                sequence: 1,
                value: Partner::default(),
            };
            state
                .partners
                .insert(name.parse().expect("a name"), Arc::new(partner));
        }
        Shares::build(&state, &Shares::default())
    }

    fn name(text: &str) -> PartnerName {
        text.parse().expect("a name")
    }

    /// As many as it gets.
    fn all_of(shares: &Shares, partner: &str) -> Vec<Hold> {
        std::iter::from_fn(|| shares.take(Some(&name(partner))).ok()).collect()
    }

    #[test]
    fn a_greedy_partner_gets_half_and_the_next_half_of_the_rest() {
        let shares = shares(&["greedy", "second", "modest"]);
        let greedy = all_of(&shares, "greedy");
        assert_eq!(greedy.len() as u64, REQUESTS_IN_FLIGHT / 2);
        let second = all_of(&shares, "second");
        assert_eq!(second.len() as u64, REQUESTS_IN_FLIGHT / 4);
        assert!(shares.take(Some(&name("modest"))).is_ok());
        drop((greedy, second));
        assert_eq!(shares.whole.held.requests.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn bytes_are_shared_likewise_and_one_body_always_passes() {
        let shares = shares(&["greedy", "modest"]);
        let take = |partner| shares.take(Some(&name(partner))).expect("room");
        let mut large = take("greedy");
        large.grow(BODIES_IN_FLIGHT_BYTES / 4 * 3).expect("the only one");
        let mut another = take("greedy");
        assert_eq!(
            another.grow(1).map_err(|problem| problem.code),
            Err(Code::Overloaded)
        );
        let mut modest = take("modest");
        modest.grow(BODIES_IN_FLIGHT_BYTES / 8).expect("room for others");
        drop(large);
        drop(another);
        take("greedy").grow(1).expect("room again");
        drop(modest);
        assert_eq!(shares.whole.held.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn whose_sender_is_not_known_yet_takes_nothing_of_those_who_are() {
        let shares = shares(&["modest"]);
        let unknown: Vec<Hold> = std::iter::from_fn(|| shares.take(None).ok()).collect();
        assert_eq!(unknown.len() as u64, REQUESTS_IN_FLIGHT / 2);
        assert!(shares.take(Some(&name("modest"))).is_ok());
        let mut settled = Vec::new();
        for hold in unknown {
            settled.push(shares.settle(hold, &name("modest")).expect("its share"));
        }
        assert!(shares.take(None).is_ok());
        let known = shares.partners.get(&name("modest")).expect("there");
        assert_eq!(known.requests.load(Ordering::Relaxed), REQUESTS_IN_FLIGHT / 2);
        drop(settled);
        assert_eq!(known.requests.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_held_goes_on_over_a_change_of_the_registry() {
        let first = shares(&["greedy"]);
        let held = all_of(&first, "greedy");
        let mut state = State::default();
        state.partners.insert(
            name("greedy"),
            Arc::new(Versioned {
                sequence: 2,
                value: Partner::default(),
            }),
        );
        let next = Shares::build(&state, &first);
        assert!(next.take(Some(&name("greedy"))).is_err());
        drop(held);
        assert!(next.take(Some(&name("greedy"))).is_ok());
    }
}
