//! What waits in quarantine, once more through the same path.
//!
//! Items go in chunks, the oldest first. A chunk is claimed before its first record is sent, and what went out is noted
//! before the claim is given up; what a crash leaves between the two is settled at the next start by what the
//! destinations' spools hold. Replays follow one another, so that the order of each key is kept.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::MutexGuard;
use uuid::Uuid;

use super::{
    Pipeline, Tables,
    again::Had,
    beside::{self, LOOK_INTERVAL, Pace},
    runs::Run,
};
use crate::{
    problem::{Code, Problem},
    quarantine::{Claim, Filter, Kept, Report},
    spool::Sequence,
    transform::Purpose,
};

/// Items that are claimed, and noted, together; while live events pass, one step.
const CHUNK: usize = 8192;
/// Items that are read, sent and waited for together: what a destination does with more at once, on threads like any other,
/// would keep live events waiting for longer.
const STEP: usize = 512;

/// Between two tries of a store that does not take what has to be noted.
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What became of a claim.
struct Settled {
    /// The last item that had its turn, where others had none: those wait.
    last: Option<Uuid>,
    /// Items that wait no longer.
    accepted: u64,
}

impl Pipeline {
    /// Replays what matches, oldest first, those after `after`, up to `limit` items. With `dry_run` nothing is sent or
    /// noted: the report says what would happen.
    ///
    /// # Errors
    ///
    /// `store-unavailable`, `no-durable-place`; what went out before stays out and is noted.
    pub async fn replay(
        self: &Arc<Self>,
        filter: &Filter,
        after: Option<Uuid>,
        limit: usize,
        dry_run: bool,
    ) -> Result<Report, Problem> {
        let run = (!dry_run).then(|| self.runs.begin("request", filter));
        let this = Arc::clone(self);
        let filter = filter.clone();
        beside::traffic(async move {
            let total = this.quarantine.count(&filter, after).await;
            let result = if dry_run {
                this.rehearse(&filter, after, limit).await
            } else {
                this.replay_up_to(&filter, after, limit, run.as_deref(), total)
                    .await
            };
            if let Some(run) = run {
                run.end(result.as_ref().err());
            }
            result.map(|report| Report { total, ..report })
        })
        .await?
    }

    /// Replays all that matches, so that live events and other replays come between.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::replay`].
    pub async fn replay_all(self: &Arc<Self>, filter: &Filter) -> Result<Report, Problem> {
        let (first, _) = self.quarantine.ids(filter, None, 1).await?;
        if first.is_empty() {
            return Ok(Report::default());
        }
        let total = self.quarantine.count(filter, None).await;
        let run = self.runs.begin("change", filter);
        let (this, filter) = (Arc::clone(self), filter.clone());
        beside::traffic(async move {
            let result = this
                .replay_up_to(&filter, None, usize::MAX, Some(&run), total)
                .await;
            run.end(result.as_ref().err());
            result.map(|report| Report { total, ..report })
        })
        .await?
    }

    async fn replay_up_to(
        &self,
        filter: &Filter,
        after: Option<Uuid>,
        limit: usize,
        run: Option<&Run>,
        total: u64,
    ) -> Result<Report, Problem> {
        if let Some(run) = run {
            run.total.store(total, Ordering::Relaxed);
        }
        let mut report = Report::default();
        let mut after = after;
        loop {
            let left = limit - usize::try_from(report.matched).unwrap_or(limit).min(limit);
            // Between chunks others come: a discard, a replay by hand.
            let mut pace = self.turn().await?;
            let begun = Instant::now();
            self.settle_left_claims().await?;
            let most = if pace.is_beside(&self.live, begun) {
                STEP
            } else {
                CHUNK
            };
            let (mut ids, mut more) = self.quarantine.ids(filter, after, left.min(most)).await?;
            let (done, accepted) = self.chunk(&ids, run, &mut pace).await?;
            pace.worked(begun, Instant::now());
            drop(pace);
            more |= done < ids.len();
            ids.truncate(done);
            report.matched += ids.len() as u64;
            report.accepted += accepted;
            report.quarantined += ids.len() as u64 - accepted;
            report.more = more;
            after = ids.last().copied().or(after);
            report.next = after.filter(|_| more);
            if !more || ids.len() >= left {
                return Ok(report);
            }
        }
    }

    /// Waits until nobody else replays, and until live events have had their time.
    async fn turn(&self) -> Result<MutexGuard<'_, Pace>, Problem> {
        loop {
            let mut pace = self.replaying.lock().await;
            if self.is_stopping() {
                return Err(stopping());
            }
            let Some(left) = pace.pause(&self.live, Instant::now()) else {
                return Ok(pace);
            };
            drop(pace);
            tokio::time::sleep(left.min(LOOK_INTERVAL)).await;
        }
    }

    /// Sends a chunk and notes what waits no longer. Gives how many items had their turn, and how many of them went out.
    async fn chunk(&self, ids: &[Uuid], run: Option<&Run>, pace: &mut Pace) -> Result<(usize, u64), Problem> {
        if ids.is_empty() {
            return Ok((0, 0));
        }
        match self.quarantine.claim(ids, self.hold_spools()).await {
            Ok(claim) => {
                let settled = self.settle_claim(claim, &Had::new(), run, Some(pace)).await?;
                let done = settled
                    .last
                    .map_or(ids.len(), |last| ids.partition_point(|id| *id <= last));
                Ok((done, settled.accepted))
            }
            Err(problem) => {
                self.let_spools_go();
                Err(problem)
            }
        }
    }

    /// Until they are let go, the spools keep what comes after the positions that are given.
    fn hold_spools(&self) -> BTreeMap<String, Sequence> {
        let mut positions = BTreeMap::new();
        for destination in self.destinations.iter() {
            if let Some(spool) = destination.spool() {
                let position = spool.last_sequence();
                spool.retain_after(Some(position));
                positions.insert(destination.name().to_string(), position);
            }
        }
        positions
    }

    fn let_spools_go(&self) {
        for destination in self.destinations.iter() {
            if let Some(spool) = destination.spool() {
                spool.retain_after(None);
            }
        }
    }

    /// With a `pace` it breaks off where live events begin to pass.
    async fn settle_claim(
        &self,
        claim: Claim,
        had: &Had,
        run: Option<&Run>,
        pace: Option<&mut Pace>,
    ) -> Result<Settled, Problem> {
        let mut gone = Vec::new();
        let sent = self.send_claimed(&claim, had, run, pace, &mut gone).await;
        // What went out must not be sent again before it is noted: until then the claim stays.
        while let Err(problem) = self.quarantine.resolve(&gone).await {
            if self.is_stopping() {
                return Err(problem);
            }
            tokio::time::sleep(STORE_RETRY_INTERVAL).await;
        }
        // Where it failed, some records of an item may be on their way and others not: as after a crash, only the
        // spools can tell, and the claim stays until they were asked.
        let released = match sent {
            Ok(last) => self.quarantine.release(claim).await.map(|()| last),
            Err(problem) => Err(problem),
        };
        match released {
            Ok(last) => {
                self.let_spools_go();
                Ok(Settled {
                    last,
                    accepted: gone.len() as u64,
                })
            }
            Err(problem) => {
                self.has_recovered.store(false, Ordering::Relaxed);
                Err(problem)
            }
        }
    }

    /// Gives the last item that had its turn, where others had none.
    async fn send_claimed(
        &self,
        claim: &Claim,
        had: &Had,
        run: Option<&Run>,
        mut pace: Option<&mut Pace>,
        gone: &mut Vec<Uuid>,
    ) -> Result<Option<Uuid>, Problem> {
        let mut ids: Vec<Uuid> = claim.ids.iter().copied().collect();
        ids.sort_unstable();
        let mut last = None;
        for step in ids.chunks(STEP) {
            if self.is_stopping() {
                return Err(stopping());
            }
            if last.is_some()
                && let Some(pace) = &mut pace
                && pace.is_beside(&self.live, Instant::now())
            {
                return Ok(last);
            }
            let items = self.quarantine.load_ids(step).await?;
            let tables = self.tables();
            let before = gone.len();
            let sent = self.send_again(&tables, &items, had, gone).await;
            if let Some(run) = run {
                let accepted = (gone.len() - before) as u64;
                run.matched.fetch_add(items.len() as u64, Ordering::Relaxed);
                run.accepted.fetch_add(accepted, Ordering::Relaxed);
            }
            sent?;
            last = step.last().copied();
        }
        Ok(None)
    }

    /// Settles what the last life of this node was sending when it died. Tables must be in force.
    ///
    /// # Errors
    ///
    /// `store-unavailable`, `no-durable-place`; then it has to be called again.
    pub async fn recover(&self) -> Result<u64, Problem> {
        let _one_at_a_time = self.replaying.lock().await;
        self.settle_left_claims().await
    }

    /// Once, and before anything else is replayed: until then the spools keep what tells what went out.
    async fn settle_left_claims(&self) -> Result<u64, Problem> {
        if self.has_recovered.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let left = self.quarantine.left_claims().await.map_err(|error| {
            tracing::warn!(%error, "the claims of the last run cannot be read");
            Problem::new(
                Code::StoreUnavailable,
                "the store cannot be reached; try again later",
            )
        })?;
        let mut unsettled = Vec::new();
        for claim in left {
            // Claimed to be discarded or moved: nothing of it was sent.
            if claim.positions.is_empty() {
                self.quarantine.release(claim).await?;
                continue;
            }
            let mut had = Had::new();
            for destination in self.destinations.iter() {
                let name = destination.name();
                if let (Some(spool), Some(position)) =
                    (destination.spool(), claim.positions.get(name.as_str()))
                {
                    let found = crate::deliver::records_after(spool, *position).await;
                    had.insert(name.to_string(), found);
                }
            }
            unsettled.push((claim, had));
        }
        let mut settled = 0;
        for (claim, had) in unsettled {
            settled += self.settle_claim(claim, &had, None, None).await?.accepted;
        }
        self.let_spools_go();
        self.has_recovered.store(true, Ordering::Relaxed);
        Ok(settled)
    }

    /// Discards what matches, oldest first, up to `limit` items.
    ///
    /// # Errors
    ///
    /// `store-unavailable`; then nothing of it is discarded.
    pub async fn discard(&self, filter: &Filter, limit: usize, dry_run: bool) -> Result<Report, Problem> {
        let _one_at_a_time = self.replaying.lock().await;
        let total = self.quarantine.count(filter, None).await;
        let (mut ids, more) = self.quarantine.ids(filter, None, limit).await?;
        if !dry_run && !ids.is_empty() {
            let claim = self.quarantine.claim(&ids, BTreeMap::new()).await?;
            ids.retain(|id| claim.ids.contains(id));
            let resolved = self.quarantine.resolve(&ids).await;
            self.quarantine.release(claim).await?;
            resolved?;
        }
        Ok(Report {
            matched: ids.len() as u64,
            discarded: ids.len() as u64,
            more,
            total,
            ..Report::default()
        })
    }

    async fn rehearse(&self, filter: &Filter, after: Option<Uuid>, limit: usize) -> Result<Report, Problem> {
        let (ids, more) = self.quarantine.ids(filter, after, limit).await?;
        let tables = self.tables();
        let mut report = Report {
            matched: ids.len() as u64,
            more,
            next: ids.last().copied().filter(|_| more),
            ..Report::default()
        };
        for step in ids.chunks(STEP) {
            for kept in self.quarantine.load_ids(step).await? {
                report.accepted += u64::from(self.would_go(&tables, kept));
            }
        }
        report.quarantined = report.matched.saturating_sub(report.accepted);
        Ok(report)
    }

    fn would_go(&self, tables: &Tables, kept: Kept) -> bool {
        match kept.record {
            Some(refused) => self.destinations.get(&refused.destination).is_some(),
            None => match tables.schemas.check(kept.event) {
                Ok(validated) => self
                    .route(tables, &validated, kept.routes.as_deref(), Purpose::Again, None)
                    .failed
                    .is_none(),
                Err(_) => false,
            },
        }
    }
}

fn stopping() -> Problem {
    Problem::new(
        Code::ShuttingDown,
        "this node is shutting down; the rest is replayed when it starts again",
    )
}
