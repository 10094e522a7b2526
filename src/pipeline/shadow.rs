//! A version that runs beside the active one on live events and delivers nothing: what it makes is compared.
//!
//! It runs on a thread of its own, so that no request waits for it. Where it cannot keep up, events are left out and
//! counted.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
    mpsc::{Receiver, SyncSender, sync_channel},
};

use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use super::difference::{Difference, Made, hide_in};
use crate::{
    background,
    event::{Output, PartnerName, Validated},
    limits::{SHADOW_BYTES, SHADOW_EVENTS, SHADOW_SAMPLES},
    lookup::TableSet,
    recent::hidden_texts,
    transform::{PluginFailure, Prepared, Purpose},
};

/// How a shadow version compares with the active one, all routes together.
#[derive(Default)]
pub(super) struct Comparison {
    same: AtomicU64,
    different: AtomicU64,
    skipped: AtomicU64,
    samples: Mutex<Vec<Sample>>,
}

/// What a shadow version would have made otherwise, on this node.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ShadowReport {
    /// Events that both versions were given.
    pub events: u64,
    pub same: u64,
    pub different: u64,
    /// Events that the shadow was not given, since it could not keep up.
    pub skipped: u64,
    /// The last events that differ, the newest first.
    pub differences: Vec<Sample>,
}

/// One event that two versions make something else of.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Sample {
    #[schema(value_type = String)]
    pub id: Arc<str>,
    #[schema(value_type = String)]
    pub partner: PartnerName,
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub event_type: Arc<str>,
    /// What the type's `mask` names is `"***"`.
    pub differences: Vec<Difference>,
}

impl Comparison {
    pub fn report(&self) -> ShadowReport {
        let (same, different) = (load(&self.same), load(&self.different));
        ShadowReport {
            events: same + different,
            same,
            different,
            skipped: load(&self.skipped),
            differences: self.samples.lock().iter().rev().cloned().collect(),
        }
    }

    fn note(&self, sample: Option<Sample>) {
        let Some(sample) = sample else {
            self.same.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.different.fetch_add(1, Ordering::Relaxed);
        let mut samples = self.samples.lock();
        if samples.len() >= SHADOW_SAMPLES {
            samples.remove(0);
        }
        samples.push(sample);
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The version and where its differences go.
pub(super) struct Shadow {
    pub plugin: Arc<Prepared>,
    pub comparison: Arc<Comparison>,
}

struct Job {
    event: Validated,
    made: Made,
    plugin: Arc<Prepared>,
    /// Those that the active version could look into.
    tables: Arc<TableSet>,
    comparison: Arc<Comparison>,
    mask: Vec<String>,
    /// Of the event and of what was made.
    bytes: usize,
}

/// The events that wait for shadow versions.
#[derive(Default)]
pub(super) struct Shadows {
    queue: OnceLock<Option<SyncSender<Job>>>,
    bytes: Arc<AtomicUsize>,
}

impl Shadows {
    /// Hands an event to a shadow version, with what the active one made of it.
    pub fn offer(
        &self,
        shadow: &Shadow,
        event: &Validated,
        result: &Result<Vec<Output>, PluginFailure>,
        tables: &Arc<TableSet>,
        mask: &[String],
    ) {
        let queue = self.queue.get_or_init(|| start(Arc::clone(&self.bytes)));
        let job = || {
            let data_bytes = event.event().data.bytes().len();
            // Before anything is copied.
            if self.bytes.load(Ordering::Relaxed) + data_bytes > SHADOW_BYTES {
                return None;
            }
            let made = Made::of(result);
            Some(Job {
                event: event.detached()?,
                bytes: data_bytes + made.bytes(),
                made,
                plugin: Arc::clone(&shadow.plugin),
                tables: Arc::clone(tables),
                comparison: Arc::clone(&shadow.comparison),
                mask: mask.to_vec(),
            })
        };
        let taken = queue.as_ref().zip(job()).is_some_and(|(queue, job)| {
            let bytes = job.bytes;
            let held = bytes + self.bytes.fetch_add(bytes, Ordering::Relaxed);
            let sent = held <= SHADOW_BYTES && queue.try_send(job).is_ok();
            if !sent {
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            sent
        });
        if !taken {
            shadow.comparison.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// None where there is no thread: then all events are left out.
fn start(bytes: Arc<AtomicUsize>) -> Option<SyncSender<Job>> {
    let (queue, jobs) = sync_channel(SHADOW_EVENTS);
    let spawned = std::thread::Builder::new()
        .name("shadow".to_owned())
        .spawn(move || {
            background::yield_to_traffic();
            work(&jobs, &bytes);
        });
    if let Err(error) = &spawned {
        tracing::error!(%error, "shadow versions cannot run");
    }
    spawned.ok().map(|_| queue)
}

fn work(jobs: &Receiver<Job>, bytes: &AtomicUsize) {
    while let Ok(job) = jobs.recv() {
        let made = Made::of(&job.plugin.transform_for(Purpose::Shadow, &job.event, &job.tables));
        let mut differences = made.differences_from(&job.made);
        let sample = (!differences.is_empty()).then(|| {
            let decoded = job.event.event();
            let hidden = hidden_texts(&decoded.data.bytes(), &job.mask);
            hide_in(&mut differences, &hidden);
            Sample {
                id: Arc::clone(&decoded.attributes.id),
                partner: decoded.partner.clone(),
                event_type: Arc::clone(decoded.attributes.event_type.as_shared()),
                differences,
            }
        });
        job.comparison.note(sample);
        bytes.fetch_sub(job.bytes, Ordering::Relaxed);
    }
}
