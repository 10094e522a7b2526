//! What is done while the writer waits for the disk: the next batch is made ready, and those whose entries are on the disk
//! are told. It touches no file.

use std::sync::Arc;

use super::{
    Shared, SpoolOptions, State,
    frame::frame_bytes,
    writer::{Batch, End},
};

pub(super) struct Aide(Arc<Shared>);

enum Task {
    Tell(Batch),
    /// For the segment with this id.
    Prepare(u64, Batch),
}

impl Aide {
    pub(super) fn new(shared: Arc<Shared>) -> Aide {
        Aide(shared)
    }

    pub(super) fn run(self) {
        let shared = &*self.0;
        let _end = End::of_helper(&self.0);
        while let Some(task) = self.wait() {
            match task {
                Task::Tell(batch) => {
                    batch.tell();
                    shared.state.lock().is_telling = false;
                    shared.progress.notify_waiters();
                }
                Task::Prepare(segment, mut batch) => {
                    batch.encode(segment);
                    let mut state = shared.state.lock();
                    state.ready = Some(batch);
                    state.is_preparing = false;
                    drop(state);
                    shared.work.notify_one();
                }
            }
        }
    }

    fn wait(&self) -> Option<Task> {
        let shared = &*self.0;
        let mut state = shared.state.lock();
        loop {
            // First, so that the disk never waits.
            if let Some(segment) = state.prepares_for(&shared.options)
                && let Some(batch) = state.take_batch(shared.options.batch_bytes_max())
            {
                state.is_preparing = true;
                return Some(Task::Prepare(segment, batch));
            }
            if let Some(batch) = state.told_apart.pop_front() {
                state.is_telling = true;
                return Some(Task::Tell(batch));
            }
            if state.ended {
                return None;
            }
            shared.aide_work.wait(&mut state);
        }
    }
}

impl State {
    /// The segment for which it is worth making ready what is queued.
    fn prepares_for(&self, options: &SpoolOptions) -> Option<u64> {
        let is_worth_it = self.writing && self.queue_bytes >= options.prepare_bytes;
        let next = self.queue.first().filter(|_| is_worth_it)?;
        let ready_bytes = self.ready.as_ref().map_or(0, Batch::bytes);
        let has_room = ready_bytes + frame_bytes(next.payload.len()) <= options.batch_bytes_max();
        self.active.filter(|_| has_room).map(|(id, _)| id)
    }
}
