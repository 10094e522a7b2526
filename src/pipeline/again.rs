//! Items of the quarantine, sent once more: what becomes of each.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    Pipeline, Tables,
    beside::{self, Handed},
    settle::{Failures, Refused, unkept},
    steps::{self, Ready, Routed},
};
use crate::{
    deliver::{Acknowledgement, RecordIdentity},
    event::{DestinationName, Reason, Record, RouteName},
    problem::{Code, Problem},
    quarantine::Kept,
    transform::Purpose,
};

/// What a replay makes of one item.
enum Again {
    /// All of it is on its way.
    Sent,
    /// Some routes have it; these have not.
    Partly(Box<Kept>),
    /// It waits as before, perhaps for another reason.
    Waits(Option<Box<Kept>>),
}

/// Records that a destination's spool has from a claim's items already, by destination.
pub(super) type Had = HashMap<String, HashMap<RecordIdentity, u32>>;

impl Pipeline {
    /// Sends items, waits until they are durable, and adds to `gone` what waits no longer.
    pub(super) async fn send_again(
        &self,
        tables: &Tables,
        items: &[Kept],
        had: &Had,
        gone: &mut Vec<Uuid>,
    ) -> Result<(), Problem> {
        let acknowledgement = Acknowledgement::new(items.len());
        let mut fates = Vec::with_capacity(items.len());
        let mut handed = Vec::with_capacity(items.len());
        for (index, kept) in items.iter().enumerate() {
            fates.push(self.make_again(tables, kept, index, &acknowledgement, had, &mut handed));
        }
        beside::hand_over(handed).await;
        let mut failures = Failures::of(acknowledgement.failures().await);
        let keeping = Acknowledgement::new(items.len());
        let mut sent = Vec::with_capacity(items.len());
        for (index, (kept, fate)) in items.iter().zip(fates).enumerate() {
            if failures.no_place.contains_key(&index) {
                continue;
            }
            let refused = failures.refused.remove(&index).unwrap_or_default();
            match fate {
                Again::Waits(anew) => self.keep_anew(anew, index, &keeping),
                Again::Sent if kept.record.is_some() => match refused.into_iter().next() {
                    Some(Refused { detail, .. }) => {
                        let reason = Reason::new(Code::DeliveryRefused, detail);
                        self.keep_anew(with_reason(kept, reason, None), index, &keeping);
                    }
                    None => sent.push((index, kept.id)),
                },
                Again::Sent => {
                    self.keep_refused_again(kept, refused, index, &keeping)?;
                    sent.push((index, kept.id));
                }
                Again::Partly(anew) => {
                    self.keep_refused_again(kept, refused, index, &keeping)?;
                    self.keep_anew(Some(anew), index, &keeping);
                }
            }
        }
        // An event of which a refused record is not durable waits on as a whole.
        let lost: BTreeSet<usize> = keeping.failures().await.into_iter().map(|lost| lost.0).collect();
        let all_sent = sent.into_iter().filter(|(index, _)| !lost.contains(index));
        gone.extend(all_sent.map(|(_, id)| id));
        if !failures.no_place.is_empty() || !lost.is_empty() {
            return Err(Problem::new(
                Code::NoDurablePlace,
                "a destination and its spool can take no more now; what went out is noted, replay the rest later",
            ));
        }
        Ok(())
    }

    fn keep_anew(&self, anew: Option<Box<Kept>>, index: usize, keeping: &Acknowledgement) {
        if let Some(anew) = anew {
            let ticket = keeping.ticket(index);
            self.quarantine.keep(*anew, steps::into_ticket(ticket));
        }
    }

    /// Keeps the refused records of an item whose other records went out, each for its destination alone.
    fn keep_refused_again(
        &self,
        item: &Kept,
        refused: Vec<Refused>,
        index: usize,
        keeping: &Acknowledgement,
    ) -> Result<(), Problem> {
        let mut numbers: HashMap<(DestinationName, RouteName, [u8; 32]), u32> = HashMap::new();
        for Refused {
            destination,
            detail,
            record,
        } in refused
        {
            let same = (destination.clone(), record.about.route.clone(), record.digest());
            let number = numbers.entry(same).or_default();
            let kept = item.refused_again(destination.to_string(), record, *number, detail);
            *number += 1;
            let kept = kept.map_err(|error| unkept(&error))?;
            self.keep_anew(Some(Box::new(kept)), index, keeping);
        }
        Ok(())
    }

    /// Adds to `handed` what is made of an item.
    fn make_again(
        &self,
        tables: &Tables,
        kept: &Kept,
        index: usize,
        acknowledgement: &Acknowledgement,
        had: &Had,
        handed: &mut Vec<Handed>,
    ) -> Again {
        if let Some(refused) = &kept.record {
            let Some(destination) = self.destinations.get(&refused.destination) else {
                return Again::Waits(None);
            };
            let record = Record {
                item: Some(kept.id),
                ..refused.record.clone()
            };
            let records = vec![(Arc::clone(destination), record)];
            add(records, index, acknowledgement, had, handed);
            return Again::Sent;
        }
        let validated = match tables.schemas.check(kept.event.clone()) {
            Ok(validated) => validated,
            Err(refused) => return Again::Waits(with_reason(kept, refused.1, kept.routes.clone())),
        };
        let Routed {
            records,
            dropped,
            failed,
        } = self.route(tables, &validated, kept.routes.as_deref(), Purpose::Again, None);
        self.count_dropped(&dropped);
        let sent = !records.is_empty();
        add(records, index, acknowledgement, had, handed);
        match failed {
            None => Again::Sent,
            Some((routes, reason)) => {
                let routes = if routes.is_empty() {
                    kept.routes.clone()
                } else {
                    Some(routes)
                };
                match with_reason(kept, reason, routes) {
                    Some(anew) if sent => Again::Partly(anew),
                    anew => Again::Waits(anew),
                }
            }
        }
    }
}

/// Adds the records, but for those that a destination had before a crash: of records that are the same as many as it
/// had.
fn add(records: Ready, index: usize, acknowledgement: &Acknowledgement, had: &Had, handed: &mut Vec<Handed>) {
    let mut sent: HashMap<(String, RecordIdentity), u32> = HashMap::new();
    for (destination, record) in records {
        if !had.is_empty() {
            let name = destination.name().to_string();
            let identity = RecordIdentity::of(&record);
            let there = had.get(&name).and_then(|had| had.get(&identity)).copied();
            let before = sent.entry((name, identity)).or_default();
            *before += 1;
            if *before <= there.unwrap_or_default() {
                continue;
            }
        }
        handed.push((destination, record, acknowledgement.ticket(index)));
    }
}

/// The item with a new reason; none where nothing of it is new.
fn with_reason(kept: &Kept, reason: Reason, routes: Option<Vec<RouteName>>) -> Option<Box<Kept>> {
    (kept.reason != reason || kept.routes != routes).then(|| {
        Box::new(Kept {
            reason,
            routes,
            ..kept.clone()
        })
    })
}
