//! The instances of one preparation that wait for their next call, one place for each worker.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use parking_lot::{Mutex, MutexGuard};

use super::instance::Instance;

type Held = Option<Box<Instance>>;

pub(super) struct Slots(Box<[Slot]>);

/// One worker's place. Apart from its neighbours in the cache.
#[derive(Default)]
#[repr(align(128))]
struct Slot {
    instance: Mutex<Held>,
    /// Of the instance that waits.
    memory_bytes: AtomicUsize,
    /// There was a call since somebody looked for instances that none needs.
    is_used: AtomicBool,
}

impl Slots {
    pub(super) fn new() -> Slots {
        Slots((0..count()).map(|_| Slot::default()).collect())
    }

    /// The instance waits for the first worker.
    pub(super) fn put(&self, instance: Box<Instance>) {
        let slot = self.of(0);
        slot.is_used.store(true, Ordering::Relaxed);
        *slot.instance.lock() = Some(instance);
    }

    /// A place that nobody works in, with its index: the thread's own where it is free. An instance that waits elsewhere
    /// is brought there where it is empty: workers that seldom call at once share one, since with a thousand plugins one
    /// for each worker would be more than there is room for. None where more threads than places call at once.
    pub(super) fn enter(&self, first: usize) -> Option<(usize, MutexGuard<'_, Held>)> {
        (first..first + self.0.len()).find_map(|index| {
            let mut held = self.of(index).instance.try_lock()?;
            if held.is_none() {
                *held = self.take_waiting();
            }
            Some((index, held))
        })
    }

    fn take_waiting(&self) -> Held {
        self.0.iter().find_map(|slot| {
            let taken = slot.instance.try_lock()?.take()?;
            slot.memory_bytes.store(0, Ordering::Relaxed);
            Some(taken)
        })
    }

    /// Notes a call, after which the instance that waits has so much memory: 0 where none does.
    pub(super) fn note_call(&self, index: usize, memory_bytes: usize) {
        let slot = self.of(index);
        slot.memory_bytes.store(memory_bytes, Ordering::Relaxed);
        slot.is_used.store(true, Ordering::Relaxed);
    }

    /// Of the largest instance that waits.
    pub(super) fn memory_bytes(&self) -> usize {
        let sizes = self
            .0
            .iter()
            .map(|slot| slot.memory_bytes.load(Ordering::Relaxed));
        sizes.max().unwrap_or_default()
    }

    /// Frees the instances that wait; those that run are left alone.
    pub(super) fn release_idle(&self) {
        for slot in &self.0 {
            if let Some(mut held) = slot.instance.try_lock() {
                *held = None;
                slot.memory_bytes.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Frees the instances that wait, and had no call since this was called before; gives how many.
    pub(super) fn release_unused(&self) -> usize {
        let is_freed = |slot: &&Slot| {
            let is_used = slot.is_used.swap(false, Ordering::Relaxed);
            let held = (!is_used).then(|| slot.instance.try_lock()).flatten();
            let freed = held.and_then(|mut held| held.take());
            if freed.is_some() {
                slot.memory_bytes.store(0, Ordering::Relaxed);
            }
            freed.is_some()
        };
        self.0.iter().filter(is_freed).count()
    }

    fn of(&self, index: usize) -> &Slot {
        &self.0[index % self.0.len()]
    }
}

/// Twice the workers: the threads of the control side find a place of their own.
pub(super) fn count() -> usize {
    2 * thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// A small number for this thread, the same all its life.
pub(super) fn thread_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    INDEX.with(|index| *index)
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn what_is_freed_has_no_memory() {
        let slots = Slots::new();
        slots.note_call(0, 5 << 20);
        slots.note_call(1, 3 << 20);
        assert_eq!(slots.memory_bytes(), 5 << 20);
        // The first one's instance ended with its call.
        slots.note_call(0, 0);
        assert_eq!(slots.memory_bytes(), 3 << 20);
        slots.release_idle();
        assert_eq!(slots.memory_bytes(), 0);
    }
}
