//! What waits in quarantine, once more through the same path.

use uuid::Uuid;

use super::{
    Pipeline, Tables,
    steps::{self, Routed},
};
use crate::{
    deliver::{Acknowledgement, Delivery},
    event::{Reason, RouteName},
    problem::{Code, Problem},
    quarantine::{Filter, Kept, Report},
};

/// Items of one step of a replay; between steps, what went out is noted durably.
const CHUNK: usize = 256;

/// What a replay makes of one item.
enum Again {
    /// All of it is on its way.
    Sent,
    /// Some routes have it; these have not.
    Partly(Box<Kept>),
    /// It waits as before, perhaps for another reason.
    Waits(Option<Box<Kept>>),
}

impl Pipeline {
    /// Replays what matches, oldest first, up to `limit` items. With `dry_run` nothing is sent or noted: the report
    /// says what would happen.
    ///
    /// # Errors
    ///
    /// `store-unavailable`, `no-durable-place`; what went out before stays out and is noted.
    pub async fn replay(&self, filter: &Filter, limit: usize, dry_run: bool) -> Result<Report, Problem> {
        Ok(self.replay_after(filter, None, limit, dry_run).await?.0)
    }

    /// Replays all that matches, in pieces, so that live events and other replays come between.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::replay`].
    pub async fn replay_all(&self, filter: &Filter) -> Result<Report, Problem> {
        let mut total = Report::default();
        let mut after = None;
        loop {
            let (report, last) = self.replay_after(filter, after, CHUNK, false).await?;
            total.matched += report.matched;
            total.accepted += report.accepted;
            total.quarantined += report.quarantined;
            if !report.more {
                return Ok(total);
            }
            after = last;
        }
    }

    async fn replay_after(
        &self,
        filter: &Filter,
        after: Option<Uuid>,
        limit: usize,
        dry_run: bool,
    ) -> Result<(Report, Option<Uuid>), Problem> {
        let _one_at_a_time = self.replaying.lock().await;
        let tables = self.tables();
        let (items, more) = self.quarantine.take(filter, after, limit).await?;
        let last = items.last().map(|kept| kept.id);
        let mut report = Report {
            matched: items.len() as u64,
            more,
            ..Report::default()
        };
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let chunk: Vec<Kept> = items.by_ref().take(CHUNK).collect();
            let accepted = if dry_run {
                self.would_go(&tables, &chunk).await
            } else {
                self.send_again(&tables, &chunk).await?
            };
            report.accepted += accepted;
            report.quarantined += chunk.len() as u64 - accepted;
        }
        Ok((report, last))
    }

    /// Discards what matches, oldest first, up to `limit` items.
    ///
    /// # Errors
    ///
    /// `store-unavailable`; then nothing of it is discarded.
    pub async fn discard(&self, filter: &Filter, limit: usize, dry_run: bool) -> Result<Report, Problem> {
        let _one_at_a_time = self.replaying.lock().await;
        let (items, more) = self.quarantine.take(filter, None, limit).await?;
        if !dry_run {
            let ids: Vec<Uuid> = items.iter().map(|kept| kept.id).collect();
            self.quarantine.resolve(&ids).await?;
        }
        Ok(Report {
            matched: items.len() as u64,
            discarded: items.len() as u64,
            more,
            ..Report::default()
        })
    }

    async fn would_go(&self, tables: &Tables, chunk: &[Kept]) -> u64 {
        let mut accepted = 0;
        for kept in chunk {
            let goes = match &kept.record {
                Some(refused) => self.destinations.get(&refused.destination).is_some(),
                None => match tables.schemas.check(kept.event.clone()) {
                    Ok(validated) => self
                        .route(tables, &validated, kept.routes.as_deref())
                        .failed
                        .is_none(),
                    Err(_) => false,
                },
            };
            accepted += u64::from(goes);
            tokio::task::consume_budget().await;
        }
        accepted
    }

    /// Sends a chunk, waits until it is durable, and notes what waits no longer. Gives how many that are.
    async fn send_again(&self, tables: &Tables, chunk: &[Kept]) -> Result<u64, Problem> {
        let acknowledgement = Acknowledgement::new(chunk.len());
        let mut fates = Vec::with_capacity(chunk.len());
        for (index, kept) in chunk.iter().enumerate() {
            fates.push(self.send_one(tables, kept, index, &acknowledgement));
            tokio::task::consume_budget().await;
        }
        let deliveries = acknowledgement.wait().await;
        let keeping = Acknowledgement::new(chunk.len());
        let mut gone = Vec::new();
        let mut no_place = false;
        for (index, ((kept, fate), delivery)) in chunk.iter().zip(fates).zip(deliveries).enumerate() {
            let kept_anew = match (fate, delivery) {
                (_, Delivery::NoPlace { .. }) => {
                    no_place = true;
                    None
                }
                (Again::Sent | Again::Partly(_), Delivery::Refused { destination, detail }) => {
                    let detail = format!("the destination {destination} refused the record: {detail}");
                    with_reason(
                        kept,
                        Reason::new(Code::DeliveryRefused, detail),
                        kept.routes.clone(),
                    )
                }
                (Again::Sent, Delivery::Durable) => {
                    gone.push(kept.id);
                    None
                }
                (Again::Partly(anew), Delivery::Durable) => Some(anew),
                (Again::Waits(anew), _) => anew,
            };
            if let Some(anew) = kept_anew {
                self.quarantine
                    .keep(*anew, steps::into_ticket(keeping.ticket(index)));
            }
        }
        self.quarantine.resolve(&gone).await?;
        let kept_anew = keeping.wait().await;
        if no_place || kept_anew.iter().any(|delivery| *delivery != Delivery::Durable) {
            return Err(Problem::new(
                Code::NoDurablePlace,
                "a destination and its spool can take no more now; what went out is noted, replay the rest later",
            ));
        }
        Ok(gone.len() as u64)
    }

    fn send_one(
        &self,
        tables: &Tables,
        kept: &Kept,
        index: usize,
        acknowledgement: &Acknowledgement,
    ) -> Again {
        if let Some(refused) = &kept.record {
            return match self.destinations.get(&refused.destination) {
                Some(destination) => {
                    destination.send(refused.record.clone(), acknowledgement.ticket(index));
                    Again::Sent
                }
                None => Again::Waits(None),
            };
        }
        let validated = match tables.schemas.check(kept.event.clone()) {
            Ok(validated) => validated,
            Err(refused) => return Again::Waits(with_reason(kept, refused.1, kept.routes.clone())),
        };
        let Routed {
            records,
            dropped,
            failed,
        } = self.route(tables, &validated, kept.routes.as_deref());
        self.count_dropped(&dropped);
        let sent = !records.is_empty();
        for (destination, record) in records {
            destination.send(record, acknowledgement.ticket(index));
        }
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
