//! Compiled schemas, kept within a bound: what events use stays, what they do not use is compiled again when they do.
//!
//! An event reads its schema's compiled form with one atomic load; the cache behind it only decides which forms go.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::{ArcSwapOption, Guard};
use moka::{notification::RemovalCause, policy::EvictionPolicy, sync::Cache};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{compile::Compiled, references::Texts};
use crate::{
    limits::{COMPILED_SCHEMA_BYTES_BASE, COMPILED_SCHEMA_BYTES_FACTOR, Limits},
    problem::Fault,
    registry::model::{Digest, Schema},
};

/// A compiled schema, or why it cannot be compiled on this node.
pub(super) type Form = Result<Compiled, String>;

/// One of so many uses of a compiled schema is told to the cache, which needs to know only what is used at all.
const USES_PER_NOTE: u32 = 64;

/// The background stops before the bound: what it compiles must not drive out what events use.
const BACKGROUND_SHARE_PERCENT: u64 = 90;

/// One schema's text and, where it was needed of late, its compiled form. Schemas with the same text share one, where
/// their references lead to the same texts too.
pub struct Slot {
    text: Arc<str>,
    /// What it refers to, or why that is not there.
    texts: Result<Texts, String>,
    /// Of the text and of all that it refers to.
    digest: Digest,
    form: ArcSwapOption<Form>,
    /// Whoever compiles, on its thread.
    compiling: Mutex<()>,
    /// Whoever waits without holding a thread.
    turn: tokio::sync::Mutex<()>,
    missing: Arc<AtomicUsize>,
}

impl Slot {
    /// The compiled form where it is there; waits for nothing.
    pub(super) fn ready(&self) -> Guard<Option<Arc<Form>>> {
        self.form.load()
    }

    pub(super) fn text(&self) -> &Arc<str> {
        &self.text
    }

    fn put(&self, form: Option<Arc<Form>>) {
        let is_there = form.is_some();
        match (self.form.swap(form).is_some(), is_there) {
            (false, true) => {
                self.missing.fetch_sub(1, Ordering::Relaxed);
            }
            (true, false) => {
                self.missing.fetch_add(1, Ordering::Relaxed);
            }
            (true, true) | (false, false) => {}
        }
    }

    /// In KiB. The text's length is what is known of a compiled form's size.
    fn weight(&self) -> u32 {
        let referred = self.texts.as_ref().map_or(0, Texts::len);
        let bytes = COMPILED_SCHEMA_BYTES_BASE + (self.text.len() + referred) * COMPILED_SCHEMA_BYTES_FACTOR;
        u32::try_from(bytes / 1024).unwrap_or(u32::MAX).max(1)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.form.load().is_none() {
            self.missing.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Compiles schemas and keeps what was compiled. One for all the tables of a gateway.
pub struct Compiler {
    cache: Cache<Digest, Arc<Slot>>,
    slots: Mutex<HashMap<Digest, Weak<Slot>>>,
    /// Slots of living tables that have no compiled form now.
    missing: Arc<AtomicUsize>,
    compilations: AtomicUsize,
    /// For compilations that requests wait for; the background has its own thread.
    at_once: Semaphore,
}

impl Default for Compiler {
    fn default() -> Compiler {
        Compiler::new(Limits::default().compiled_schema_bytes.0)
    }
}

impl Compiler {
    /// `bytes_max` bounds all compiled forms together.
    pub fn new(bytes_max: u64) -> Compiler {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Compiler {
            cache: Cache::builder()
                .max_capacity(bytes_max / 1024)
                .weigher(|_, slot: &Arc<Slot>| slot.weight())
                .eviction_policy(EvictionPolicy::lru())
                .eviction_listener(|_, slot: Arc<Slot>, cause| {
                    if cause != RemovalCause::Replaced {
                        slot.put(None);
                    }
                })
                .build(),
            slots: Mutex::default(),
            missing: Arc::default(),
            compilations: AtomicUsize::new(0),
            at_once: Semaphore::new(cores),
        }
    }

    /// The slot of this schema's text; an empty one where no table has it yet.
    pub(super) fn slot(&self, schema: &Schema, texts: Result<Texts, Vec<Fault>>) -> Arc<Slot> {
        let texts = texts.map_err(|faults| {
            let sentences: Vec<String> = faults.into_iter().map(|fault| fault.message).collect();
            sentences.join("; ")
        });
        let digest = match &texts {
            Ok(texts) => texts.digest(schema.digest),
            Err(cause) => Digest::of(format!("{} {cause}", schema.digest).as_bytes()),
        };
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(&digest).and_then(Weak::upgrade) {
            return slot;
        }
        // Slots that are gone leave their names behind; swept when the map would grow.
        if slots.len() == slots.capacity() {
            slots.retain(|_, slot| slot.strong_count() > 0);
        }
        self.missing.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot {
            text: Arc::clone(&schema.text),
            texts,
            digest,
            form: ArcSwapOption::empty(),
            compiling: Mutex::new(()),
            turn: tokio::sync::Mutex::new(()),
            missing: Arc::clone(&self.missing),
        });
        slots.insert(digest, Arc::downgrade(&slot));
        slot
    }

    /// Whether some schema of a living table has no compiled form now.
    pub fn has_missing(&self) -> bool {
        self.missing.load(Ordering::Relaxed) > 0
    }

    /// Schemas without a compiled form.
    pub fn missing(&self) -> usize {
        self.missing.load(Ordering::Relaxed)
    }

    /// How many schemas were compiled since the start, the same one again included.
    pub fn compilations(&self) -> usize {
        self.compilations.load(Ordering::Relaxed)
    }

    /// Says that an event has used the schema.
    pub(super) fn note_use(&self, slot: &Slot) {
        thread_local! {
            static USES: Cell<u32> = const { Cell::new(0) };
        }
        let uses = USES.get().wrapping_add(1);
        USES.set(uses);
        if uses.is_multiple_of(USES_PER_NOTE) {
            self.cache.get(&slot.digest);
        }
    }

    /// Compiles on this thread, which may take as long as the schema pleases; who comes meanwhile waits for the same.
    pub(super) fn compile_here(&self, slot: &Arc<Slot>) -> Arc<Form> {
        if let Some(form) = slot.form.load_full() {
            return form;
        }
        aside(|| {
            let _alone = slot.compiling.lock();
            if let Some(form) = slot.form.load_full() {
                return form;
            }
            let form = Arc::new(match &slot.texts {
                Ok(texts) => Compiled::with(&slot.text, texts),
                Err(cause) => Err(cause.clone()),
            });
            self.compilations.fetch_add(1, Ordering::Relaxed);
            // In this order: a form that the cache does not hold would never go.
            slot.put(Some(Arc::clone(&form)));
            self.cache.insert(slot.digest, Arc::clone(slot));
            // Beside a compilation this costs nothing, and the bound holds at once.
            self.cache.run_pending_tasks();
            form
        })
    }

    /// Compiles on a thread of its own. All who wait for one schema wait for one compilation, and nobody waits for
    /// the background's queue.
    pub(super) async fn compile(self: &Arc<Compiler>, slot: &Arc<Slot>) {
        let _turn = slot.turn.lock().await;
        if slot.ready().is_some() {
            return;
        }
        // The semaphore is never closed.
        let _permit = self.at_once.acquire().await;
        self.compile_elsewhere(slot).await;
    }

    async fn compile_elsewhere(self: &Arc<Compiler>, slot: &Arc<Slot>) {
        let (compiler, wanted) = (Arc::clone(self), Arc::clone(slot));
        let compiled = tokio::task::spawn_blocking(move || drop(compiler.compile_here(&wanted))).await;
        if let Err(error) = compiled {
            tracing::error!(%error, digest = %slot.digest, "the compilation of a schema broke off");
            slot.put(Some(Arc::new(Err("its compilation broke off".to_owned()))));
        }
    }

    /// Compiles one after another until the bound comes near. The rest is compiled when an event needs it.
    pub(super) async fn compile_in_background(self: Arc<Compiler>, slots: Vec<Weak<Slot>>) {
        let bound = self.cache.policy().max_capacity().unwrap_or(u64::MAX);
        for slot in slots {
            if self.cache.weighted_size() * 100 >= bound * BACKGROUND_SHARE_PERCENT {
                break;
            }
            // A table that is gone needs it no more.
            if let Some(slot) = slot.upgrade()
                && slot.ready().is_none()
            {
                self.compile_elsewhere(&slot).await;
            }
        }
    }
}

/// Runs what takes long; on a worker of the runtime, others take over its tasks meanwhile.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(work)
        }
        _ => work(),
    }
}
