//! The task that turns the gate: it watches the producer, retires it when the brokers fail, and drains the spool when
//! they are back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    Core, DIRECT_TIMEOUT,
    drain::Drain,
    link::{Link, LinkShared, Refusal, TICK},
    window::End,
};
use crate::{
    deliver::{DestinationState, RefusedHandler},
    spool::{Entry, Sequence},
};

/// While draining, a record may wait as long as an unknown topic is looked for, and some more.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a producer looks for a broker before the next pause.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Read from the spool at a time.
const READ_BYTES: usize = 1 << 20;
/// Pauses between attempts to drain: doubled each time, and begun anew after so long a time without trouble.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(3);
const TRUST: Duration = Duration::from_secs(10);
/// Pauses between attempts to keep a refused record elsewhere.
const KEEP_PAUSE_MIN: Duration = Duration::from_millis(500);
const KEEP_PAUSE_MAX: Duration = Duration::from_secs(30);

pub(super) struct Control {
    core: Arc<Core>,
    refused: RefusedHandler,
    /// The deadline of the shutdown, once there is one.
    stop: watch::Receiver<Option<Instant>>,
    /// Attempts without lasting success.
    attempts: u32,
    /// Records of the spool up to here are sent one at a time.
    alone_to: Sequence,
}

/// How a phase ended.
enum Ended {
    /// The spool is empty, and records go directly.
    Drained,
    Failed(String),
    Stopped,
}

impl Control {
    pub(super) fn new(
        core: Arc<Core>,
        refused: RefusedHandler,
        stop: watch::Receiver<Option<Instant>>,
    ) -> Control {
        Control {
            core,
            refused,
            stop,
            attempts: 0,
            alone_to: 0,
        }
    }

    pub(super) async fn run(mut self, first: Arc<Link>, mut direct: bool) {
        let mut link = first;
        loop {
            if direct {
                let began = Instant::now();
                let ended = self.watch(&link).await;
                if began.elapsed() > TRUST {
                    self.attempts = 0;
                }
                match ended {
                    Ended::Failed(cause) => self.retire(link, &cause).await,
                    Ended::Drained | Ended::Stopped => return self.finish(link).await,
                }
            } else {
                drop_blocking(link).await;
            }
            match self.recover().await {
                Some(recovered) => link = recovered,
                None => return self.close().await,
            }
            direct = true;
        }
    }

    /// Until the producer fails or is to stop.
    async fn watch(&mut self, link: &Arc<Link>) -> Ended {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.core.wake.notified() => {}
                _ = ticks.tick() => link.shared.tick(),
                () = stopped(&mut self.stop) => return Ended::Stopped,
            }
            link.send_waiting();
            if link.shared.is_broken() {
                return Ended::Failed("the producer failed or its queue is full".to_owned());
            }
            if link.shared.is_overdue(DIRECT_TIMEOUT) {
                return Ended::Failed(format!("no acknowledgement for {} s", DIRECT_TIMEOUT.as_secs()));
            }
        }
    }

    /// Takes everything back from a producer: what it has not delivered goes to the spool, before all that comes.
    async fn retire(&self, link: Arc<Link>, cause: &str) {
        self.take_back(&link, cause).await;
        drop_blocking(link).await;
    }

    async fn take_back(&self, link: &Arc<Link>, cause: &str) {
        self.core.state.set(DestinationState::Spooling);
        self.core.hold();
        collect(link).await;
        let failed = link.shared.take_failed();
        tracing::info!(
            destination = %self.core.name, cause, records = failed.len(), "records go to the spool",
        );
        self.core.turn_to_spool(failed);
    }

    /// Until records go directly again; None when it is to stop.
    async fn recover(&mut self) -> Option<Arc<Link>> {
        loop {
            if !self.pause().await {
                return None;
            }
            let mut stop = self.stop.clone();
            let reached = tokio::select! {
                reached = self.reach() => reached,
                () = stopped(&mut stop) => return None,
            };
            let link = match reached {
                Ok(link) => link,
                Err(cause) => {
                    tracing::debug!(destination = %self.core.name, cause, "the brokers do not answer");
                    continue;
                }
            };
            self.core.state.set(DestinationState::Draining);
            tracing::info!(
                destination = %self.core.name, entries = self.core.spool.pending().entries, "the spool drains",
            );
            match self.drain(&link).await {
                Ended::Drained => {
                    tracing::info!(destination = %self.core.name, "the spool is drained");
                    return Some(link);
                }
                Ended::Failed(cause) => {
                    let shared = Arc::clone(&link.shared);
                    self.retire(link, &cause).await;
                    // Only now has every record of a refused batch been reported.
                    self.alone_to = self.alone_to.max(shared.suspect());
                }
                Ended::Stopped => {
                    self.retire(link, "shutdown").await;
                    return None;
                }
            }
        }
    }

    /// False when it is to stop.
    async fn pause(&mut self) -> bool {
        let pause = match self.attempts {
            0 => Duration::ZERO,
            attempts => PAUSE_MIN
                .saturating_mul(1 << (attempts - 1).min(10))
                .min(PAUSE_MAX),
        };
        self.attempts = self.attempts.saturating_add(1);
        // Between three quarters and five quarters, so that many gateways do not come all at once.
        let jitter = getrandom::u32().unwrap_or(u32::MAX / 2);
        let pause = pause.mul_f64(0.75 + 0.5 * f64::from(jitter) / f64::from(u32::MAX));
        tokio::select! {
            () = sleep(pause) => true,
            () = stopped(&mut self.stop) => false,
        }
    }

    /// A new producer that has reached a broker.
    async fn reach(&self) -> Result<Arc<Link>, String> {
        let core = &self.core;
        let link = Link::new(&core.options, &core.name, &core.counters, &core.wake)
            .map_err(|error| super::options::explain(&error))?;
        let probe = Arc::clone(&link);
        let reached = spawn_blocking(move || probe.is_reachable(PROBE_TIMEOUT))
            .await
            .unwrap_or(false);
        if reached {
            return Ok(link);
        }
        drop_blocking(link).await;
        Err(format!("no broker within {} s", PROBE_TIMEOUT.as_secs()))
    }

    /// Sends what the spool holds, in order, until nothing is left and records go directly.
    async fn drain(&mut self, link: &Arc<Link>) -> Ended {
        let mut drain = Drain::new(Arc::clone(&self.core), Arc::clone(link), self.alone_to);
        let mut keeping = JoinSet::new();
        let mut reading: Option<BoxFuture<'_, Option<Vec<Entry>>>> = None;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let spool = self.core.spool.clone();
        loop {
            if reading.is_none() && drain.wants_more() {
                let (spool, position) = (spool.clone(), drain.position);
                reading = Some(Box::pin(async move { spool.read(position, READ_BYTES).await }));
            }
            tokio::select! {
                entries = async { reading.as_mut().expect("checked by the guard").await }, if reading.is_some() => {
                    reading = None;
                    drain.take(entries.unwrap_or_default());
                }
                () = self.core.wake.notified() => {}
                _ = ticks.tick() => link.shared.tick(),
                () = stopped(&mut self.stop) => {
                    // What is acknowledged by now need not be sent again.
                    let _ = drain.commit().await;
                    return Ended::Stopped;
                }
            }
            for refusal in link.shared.take_refusals() {
                let (core, shared) = (Arc::clone(&self.core), Arc::clone(&link.shared));
                keeping.spawn(keep(core, shared, Arc::clone(&self.refused), refusal));
            }
            while keeping.try_join_next().is_some() {}
            if let Err(cause) = drain.send() {
                let _ = drain.commit().await;
                return Ended::Failed(cause);
            }
            if let Err(error) = drain.commit_sometimes().await {
                return Ended::Failed(format!("spool: {error}"));
            }
            if link.shared.is_broken() || link.shared.is_overdue(DRAIN_TIMEOUT) {
                let _ = drain.commit().await;
                return Ended::Failed("the brokers failed again".to_owned());
            }
            if drain.hand_over(!keeping.is_empty(), Instant::now()) {
                // A reader that waits for more would wait for ever.
                return Ended::Drained;
            }
        }
    }

    /// Brings what is in flight to its end: delivered by the deadline, or in the spool.
    async fn finish(self, link: Arc<Link>) {
        let deadline = self.stop.borrow().unwrap_or_else(Instant::now);
        let mut ticked = Instant::now();
        while !link.shared.is_idle()
            && !link.shared.is_broken()
            && !link.shared.is_overdue(DIRECT_TIMEOUT)
            && Instant::now() < deadline
        {
            link.send_waiting();
            sleep(Duration::from_millis(2)).await;
            if ticked.elapsed() >= TICK {
                link.shared.tick();
                ticked = Instant::now();
            }
        }
        self.take_back(&link, "shutdown").await;
        self.close().await;
        // Last: it may take a second, and nobody waits for it.
        drop_blocking(link).await;
    }

    async fn close(&self) {
        self.core.close_gate();
        self.core.spool.close().await;
    }
}

/// Waits for the shutdown; a destination that was dropped counts as shut down.
async fn stopped(stop: &mut watch::Receiver<Option<Instant>>) {
    // Either way it is over.
    let _ = stop.wait_for(Option::is_some).await;
}

/// Waits until a producer has reported all that it was given.
async fn collect(link: &Arc<Link>) {
    link.close();
    while link.shared.outstanding() > 0 {
        let purged = Arc::clone(link);
        // Librdkafka's own calls do not panic; and if one did, the next round tries again.
        let _ = spawn_blocking(move || purged.purge()).await;
        let reported = async {
            while link.shared.outstanding() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        if timeout(Duration::from_secs(1), reported).await.is_err() {
            tracing::warn!(
                outstanding = link.shared.outstanding(),
                "librdkafka still holds messages"
            );
        }
    }
}

async fn drop_blocking(link: Arc<Link>) {
    // A panic in a destructor has been printed; nothing depends on the old producer any more.
    let _ = spawn_blocking(move || drop(link)).await;
}

/// Tries until a refused record is durable elsewhere; only then is it done with.
async fn keep(core: Arc<Core>, link: Arc<LinkShared>, refused: RefusedHandler, refusal: Refusal) {
    let mut pause = KEEP_PAUSE_MIN;
    loop {
        let kept = refused(core.name.clone(), refusal.record.clone(), refusal.detail.clone()).await;
        if kept {
            return link.acknowledge(refusal.sequence, End::Refused);
        }
        sleep(pause).await;
        pause = (pause * 2).min(KEEP_PAUSE_MAX);
    }
}
