//! The task that makes the calls and turns the gate.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, sleep_until, timeout, timeout_at},
};

use super::{
    Core,
    client::{CALL_TIMEOUT, CallError, Client, EntryResult},
    message::Message,
    queue::{Call, Item, Origin, Placed, Queue},
    shards::jittered,
};
use crate::{
    deliver::{
        Delivery, DestinationState, RefusedHandler, codec, count,
        window::{End, Window},
    },
    spool::{AppendError, Sequence},
};

/// A record that Kinesis has not taken for so long makes the destination spool.
const DIRECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Calls at the same time.
const CALLS_MAX: usize = 8;
/// Of the spool, in memory at once. A shard that takes nothing holds up the others once its records fill this: the
/// cursor cannot pass them, and what was sent beyond would have to be remembered, or sent again after a crash.
const WINDOW_RECORDS: usize = 5000;
const WINDOW_BYTES: usize = 16 << 20;
const READ_BYTES: usize = 2 << 20;
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// Between two calls while the service is away.
const OUTAGE_PAUSE_MIN: Duration = Duration::from_millis(250);
const OUTAGE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Records may be held in memory while so few are left in the spool …
const HANDOVER_RECORDS: u64 = 1000;
/// … and for so long …
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(1);
/// … and, where that was in vain, again after a pause of up to so long.
const HANDOVER_PAUSE_MAX: Duration = Duration::from_secs(8);
/// Pauses between attempts to keep a refused record elsewhere.
const KEEP_PAUSE_MIN: Duration = Duration::from_millis(500);
const KEEP_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Looks at the clock at least so often.
const TICK: Duration = Duration::from_millis(100);

pub(super) struct Control {
    core: Arc<Core>,
    client: Arc<Client>,
    refused: RefusedHandler,
    stop: watch::Receiver<Option<Instant>>,
    queue: Queue,
    calls: JoinSet<Ended>,
    window: Window,
    keeping: JoinSet<Sequence>,
    /// What the last calls that failed as a whole said, since one succeeded.
    outage: Option<String>,
    outages: u32,
    /// No call before.
    not_before: Instant,
    mapping: JoinSet<Mapped>,
}

/// A call that came to its end.
struct Ended {
    call: Call,
    result: Result<Vec<EntryResult>, CallError>,
}

/// A stream's shards, or why they are not known.
type Mapped = (Arc<str>, Result<Vec<(u128, Arc<str>)>, String>);

impl Control {
    pub(super) async fn start(
        core: Arc<Core>,
        refused: RefusedHandler,
        stop: watch::Receiver<Option<Instant>>,
        backlog: bool,
    ) {
        let client = Arc::new(Client::new(&core.settings).await);
        let queue = Queue::new(core.settings.aggregation, core.settings.record_bytes);
        let control = Control {
            core,
            client,
            refused,
            stop,
            queue,
            calls: JoinSet::new(),
            window: Window::default(),
            keeping: JoinSet::new(),
            outage: None,
            outages: 0,
            not_before: Instant::now(),
            mapping: JoinSet::new(),
        };
        control.run(backlog).await;
    }

    async fn run(mut self, mut backlog: bool) {
        loop {
            if !backlog {
                match self.direct().await {
                    Some(cause) => self.retreat(&cause).await,
                    None => return self.finish().await,
                }
            }
            backlog = false;
            if !self.drain().await {
                return self.close().await;
            }
        }
    }

    /// Until Kinesis fails (with the cause) or it is time to stop.
    async fn direct(&mut self) -> Option<String> {
        loop {
            for item in self.core.take_incoming() {
                self.queue.push(item);
            }
            if self.outage.is_some() {
                return self.outage.clone();
            }
            if self
                .queue
                .oldest()
                .is_some_and(|since| since.elapsed() > DIRECT_TIMEOUT)
            {
                return Some(format!("not taken for {} s", DIRECT_TIMEOUT.as_secs()));
            }
            if self.core.is_overfull() {
                return Some("too much waits in memory".to_owned());
            }
            self.launch();
            if self.step().await {
                return None;
            }
        }
    }

    /// Waits for the next thing that happens, and settles it; true when it is time to stop.
    async fn step(&mut self) -> bool {
        let now = Instant::now();
        let pause_end = self.queue.next_pause_end(now).unwrap_or(now + TICK);
        let next = pause_end.min(now + TICK);
        tokio::select! {
            () = self.core.wake.notified() => {}
            Some(ended) = self.calls.join_next() => self.settle(ended.ok()),
            Some(mapped) = self.mapping.join_next() => self.map(mapped.ok()),
            Some(kept) = self.keeping.join_next() => {
                if let Ok(sequence) = kept {
                    self.window.acknowledge(sequence, End::Refused);
                }
            }
            () = sleep_until(next.into()) => {}
            () = stopped(&mut self.stop) => return true,
        }
        false
    }

    /// Makes the calls for which there are records and room.
    fn launch(&mut self) {
        let now = Instant::now();
        // While the service is away one call at a time asks for it.
        let most = if self.outages > 0 { 1 } else { CALLS_MAX };
        while now >= self.not_before && self.calls.len() < most {
            let Some(call) = self.queue.next_call(now) else {
                break;
            };
            tracing::trace!(
                destination = %self.core.name, stream = &*call.stream, records = call.items(), bytes = call.bytes(),
                "PutRecords"
            );
            let client = Arc::clone(&self.client);
            self.calls.spawn(async move {
                let result = match timeout(CALL_TIMEOUT * 2, client.put(&call)).await {
                    Ok(result) => result,
                    Err(_) => Err(CallError::Outage("no answer".to_owned())),
                };
                Ended { call, result }
            });
        }
        if self.mapping.is_empty()
            && let Some(stream) = self.queue.unmapped(now)
        {
            let client = Arc::clone(&self.client);
            self.mapping.spawn(async move {
                let shards = client.shards(&stream).await;
                (stream, shards)
            });
        }
    }

    fn map(&mut self, mapped: Option<Mapped>) {
        let Some((stream, shards)) = mapped else { return };
        let starts = shards.unwrap_or_else(|cause| {
            tracing::warn!(
                destination = %self.core.name, stream = &*stream, cause,
                "the shards cannot be listed; where one throttles, the whole stream pauses"
            );
            Vec::new()
        });
        self.queue.shards(&stream).set_map(starts, Instant::now());
    }

    /// What a call's end means for each of its records.
    fn settle(&mut self, ended: Option<Ended>) {
        // A call that panicked has printed so; its tickets count as without a place.
        let Some(Ended { call, result }) = ended else {
            return;
        };
        let Call { stream, entries } = call;
        self.queue
            .end_call(&stream, entries.iter().map(|entry| Arc::clone(&entry.key)));
        let single = entries.len() == 1 && entries[0].items.len() == 1;
        let now = Instant::now();
        if !matches!(result, Err(CallError::Outage(_))) {
            self.outages = 0;
            self.outage = None;
        }
        match result {
            Ok(results) => {
                for (entry, result) in entries.into_iter().zip(results) {
                    match result {
                        EntryResult::Taken => {
                            self.queue.shards(&stream).succeeded(&entry.key);
                            entry.items.into_iter().for_each(|(_, item)| self.taken(item));
                        }
                        EntryResult::Later => {
                            self.queue.shards(&stream).throttled(&entry.key, now);
                            entry
                                .items
                                .into_iter()
                                .for_each(|placed| self.queue.give_back(placed));
                        }
                    }
                }
            }
            Err(CallError::Refused(detail)) => {
                for (_, item) in entries.into_iter().flat_map(|entry| entry.items) {
                    self.refuse(item, &detail);
                }
            }
            Err(CallError::Invalid(detail)) => {
                for (order, mut item) in entries.into_iter().flat_map(|entry| entry.items) {
                    if single {
                        self.refuse(item, &detail);
                    } else {
                        item.alone = true;
                        self.queue.give_back((order, item));
                    }
                }
            }
            Err(CallError::Throttled) => {
                self.queue.shards(&stream).all_throttled(now);
                self.give_all_back(entries.into_iter().flat_map(|entry| entry.items));
            }
            Err(CallError::Outage(cause)) => {
                self.not_before = now + jittered(self.outages, OUTAGE_PAUSE_MIN, OUTAGE_PAUSE_MAX);
                self.outages += 1;
                tracing::debug!(destination = %self.core.name, cause, "a call failed");
                self.outage = Some(cause);
                self.give_all_back(entries.into_iter().flat_map(|entry| entry.items));
            }
        }
    }

    fn give_all_back(&mut self, items: impl Iterator<Item = Placed>) {
        items.for_each(|placed| self.queue.give_back(placed));
    }

    fn taken(&mut self, item: Item) {
        self.core.forget(&item);
        match item.origin {
            Origin::Direct(ticket) => {
                count(&self.core.counters.delivered, 1);
                ticket.complete(Delivery::Durable);
            }
            Origin::Spooled(sequence) => self.window.acknowledge(sequence, End::Delivered),
        }
    }

    fn refuse(&mut self, item: Item, detail: &str) {
        self.core.forget(&item);
        match item.origin {
            Origin::Direct(ticket) => self.core.refuse(item.record, ticket, detail.to_owned()),
            Origin::Spooled(sequence) => {
                let (core, refused, detail) = (
                    Arc::clone(&self.core),
                    Arc::clone(&self.refused),
                    detail.to_owned(),
                );
                self.keeping.spawn(async move {
                    let mut pause = KEEP_PAUSE_MIN;
                    while !refused(core.name.clone(), item.record.clone(), detail.clone()).await {
                        sleep(pause).await;
                        pause = (pause * 2).min(KEEP_PAUSE_MAX);
                    }
                    sequence
                });
            }
        }
    }

    /// Brings all that Kinesis has not taken to the spool, before all that comes.
    async fn retreat(&mut self, cause: &str) {
        self.core.state.set(DestinationState::Spooling);
        self.end_calls().await;
        let waiting = self.queue.take_all();
        tracing::info!(destination = %self.core.name, cause, "records go to the spool");
        self.core.turn_to_spool(waiting);
    }

    /// Every call has an end: they time out. At a shutdown there is no time for that: what a call holds then is in the
    /// spool still, or has no place.
    async fn end_calls(&mut self) {
        let never = Instant::now() + CALL_TIMEOUT * 4;
        let deadline = self.stop.borrow().unwrap_or(never);
        while let Ok(Some(ended)) = timeout_at(deadline.into(), self.calls.join_next()).await {
            self.settle(ended.ok());
        }
    }

    /// Sends what the spool holds, until nothing is left and records go directly; false when it is time to stop.
    async fn drain(&mut self) -> bool {
        let (committed, _) = self.core.spool.committed();
        self.window = Window::default();
        let mut drain = Drain {
            position: committed,
            committed,
            settled: 0,
            refused: 0,
            committed_at: Instant::now(),
            held_since: None,
            hold_after: Instant::now(),
            hold_pause: HANDOVER_TIMEOUT,
            read_after: Instant::now(),
        };
        loop {
            if Instant::now() >= drain.read_after
                && let Err(cause) = self.read(&mut drain).await
            {
                tracing::error!(destination = %self.core.name, cause, "the spool cannot be drained");
                drain.read_after = Instant::now() + OUTAGE_PAUSE_MAX;
            }
            self.launch();
            let stop = self.step().await;
            self.core.state.set(if self.outage.is_some() {
                DestinationState::Spooling
            } else {
                DestinationState::Draining
            });
            if stop {
                self.end_calls().await;
                // What is acknowledged by now need not be sent again.
                let _ = self.commit(&mut drain).await;
                self.core.turn_to_spool(None);
                return false;
            }
            let idle = self.window.len() == 0;
            if idle && self.core.spool.pending().entries == 0 && Instant::now() >= self.not_before {
                // Nothing is left to find out with whether the service is back: the next record does.
                self.outage = None;
            }
            if (idle || drain.committed_at.elapsed() >= COMMIT_INTERVAL)
                && let Err(error) = self.commit(&mut drain).await
            {
                tracing::warn!(destination = %self.core.name, %error, "the spool's cursor does not move");
                self.not_before = Instant::now() + OUTAGE_PAUSE_MIN;
            }
            if self.hand_over(&mut drain) {
                tracing::info!(destination = %self.core.name, "the spool is drained");
                return true;
            }
        }
    }

    /// Takes more of the spool, where there is room for it.
    async fn read(&mut self, drain: &mut Drain) -> Result<(), String> {
        while self.window.len() < WINDOW_RECORDS
            && self.window.bytes() < WINDOW_BYTES
            && drain.position < self.core.spool.last_sequence()
        {
            // Where all of the rest is damaged there is nothing to read, and nothing to wait for.
            let read = timeout(TICK, self.core.spool.read(drain.position, READ_BYTES)).await;
            let Ok(Some(entries)) = read else { return Ok(()) };
            for entry in entries {
                let record = codec::decode(&entry.payload)
                    .map_err(|error| format!("entry {} of the spool: {error}", entry.sequence))?;
                drain.position = entry.sequence;
                let message = Message::new(&record);
                self.window.begin(entry.sequence, message.bytes());
                let checked = message.check(self.core.settings.record_bytes);
                let item = Item {
                    record,
                    message,
                    origin: Origin::Spooled(entry.sequence),
                    since: Instant::now(),
                    alone: false,
                };
                match checked {
                    Ok(()) => self.queue.push(item),
                    Err(detail) => self.refuse(item, &detail),
                }
            }
        }
        Ok(())
    }

    async fn commit(&mut self, drain: &mut Drain) -> Result<(), AppendError> {
        let (contiguous, settled, refused) = self.window.contiguous();
        if contiguous > drain.committed {
            let spool = &self.core.spool;
            spool
                .commit(contiguous, Bytes::new(), settled - drain.settled)
                .await?;
            // Counted with the commit: what is sent again after a failure counts once.
            count(&self.core.counters.refused_later, refused - drain.refused);
            (drain.settled, drain.refused) = (settled, refused);
            drain.committed = contiguous;
            drain.committed_at = Instant::now();
        }
        Ok(())
    }

    /// Near the end of the spool new records wait in memory until the last spooled one is taken; then they, and all
    /// later ones, go directly. True when that has come about.
    fn hand_over(&mut self, drain: &mut Drain) -> bool {
        let core = &self.core;
        match drain.held_since {
            None => {
                let near = core.spool.pending().entries <= HANDOVER_RECORDS;
                let calm = self.keeping.is_empty() && self.outage.is_none();
                if near && calm && Instant::now() >= drain.hold_after {
                    core.hold();
                    drain.held_since = Some(Instant::now());
                    // What is being appended comes to the reader with the next turn.
                    core.wake.notify_one();
                }
                false
            }
            Some(since) => {
                // In this order: what has been appended by now is in the last sequence.
                let appended = core.appending.load(Ordering::Acquire) == 0;
                if appended && drain.committed >= core.spool.last_sequence() {
                    core.state.set(DestinationState::Healthy);
                    return true;
                }
                if since.elapsed() > HANDOVER_TIMEOUT || core.is_overfull() {
                    // Something takes its time: no sender should wait for it.
                    core.turn_to_spool(None);
                    drain.held_since = None;
                    drain.hold_after = Instant::now() + drain.hold_pause;
                    drain.hold_pause = (drain.hold_pause * 2).min(HANDOVER_PAUSE_MAX);
                }
                false
            }
        }
    }

    /// Brings what is in flight to its end: taken by the deadline, or in the spool.
    async fn finish(mut self) {
        let deadline = self.stop.borrow().unwrap_or_else(Instant::now);
        loop {
            for item in self.core.take_incoming() {
                self.queue.push(item);
            }
            let idle = self.queue.is_empty() && self.calls.is_empty();
            if idle || self.outage.is_some() || Instant::now() >= deadline {
                break;
            }
            self.launch();
            tokio::select! {
                Some(ended) = self.calls.join_next() => self.settle(ended.ok()),
                () = sleep(Duration::from_millis(10)) => {}
            }
        }
        self.retreat("shutdown").await;
        self.close().await;
    }

    async fn close(self) {
        self.core.close_gate();
        self.core.spool.close().await;
    }
}

/// One pass over the spool.
struct Drain {
    /// Read up to here.
    position: Sequence,
    committed: Sequence,
    /// Of the window, up to there.
    settled: u64,
    refused: u64,
    committed_at: Instant,
    /// Since when records are held in memory.
    held_since: Option<Instant>,
    /// Not before then are records held again.
    hold_after: Instant,
    /// Longer after each time that it was in vain.
    hold_pause: Duration,
    /// Something in the spool could not be decoded: not before then is it tried again.
    read_after: Instant,
}

/// Waits for the shutdown; a destination that was dropped counts as shut down.
async fn stopped(stop: &mut watch::Receiver<Option<Instant>>) {
    // Either way it is over.
    let _ = stop.wait_for(Option::is_some).await;
}
