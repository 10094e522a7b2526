//! Work that takes a core for a moment and that nobody waits for: on a thread of its own and of low priority, so that live
//! events get the core when they want it.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::mpsc,
    thread,
};

use tokio::sync::oneshot;

/// A tenth of what a worker gets where both want a core.
const NICE: i32 = 10;

/// Runs `work` to its end, even where nobody waits for it any more. It should hold no lock that live events need: they
/// would wait as long as it waits for a core. `name` is the thread's.
///
/// # Errors
///
/// There is no thread, or the work panicked.
pub async fn run<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    Lane::start(name)?.run(work).await
}

/// One thread of low priority for one piece of work after the other; it ends with this.
pub struct Lane {
    work: mpsc::Sender<Work>,
}

type Work = Box<dyn FnOnce() + Send>;

impl Lane {
    /// `name` is the thread's.
    ///
    /// # Errors
    ///
    /// There is no thread.
    pub fn start(name: &str) -> io::Result<Lane> {
        let (work, to_do) = mpsc::channel::<Work>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            yield_to_traffic();
            for work in to_do {
                // Whoever waits for it learns that it broke off; the thread goes on with the next.
                let _ = panic::catch_unwind(AssertUnwindSafe(work));
            }
        })?;
        Ok(Lane { work })
    }

    /// As [`run`], behind what was given to this thread before.
    ///
    /// # Errors
    ///
    /// The work panicked.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (done, result) = oneshot::channel();
        let work = Box::new(move || {
            // Whoever waits may be gone.
            let _ = done.send(work());
        });
        self.work.send(work).map_err(|_| broke_off())?;
        result.await.map_err(|_| broke_off())
    }
}

fn broke_off() -> io::Error {
    io::Error::other("the work broke off")
}

/// Lowers the priority of this thread alone, for good. Where the system does not allow it, it stays as it is.
pub fn yield_to_traffic() {
    let _ = rustix::process::nice(NICE);
}

#[cfg(test)]
mod tests {
    use super::{Lane, NICE, run};

    #[tokio::test]
    async fn it_runs_with_low_priority_and_a_panic_is_an_error() {
        let priority = || rustix::process::getpriority_process(None).expect("the system says it");
        let before = priority();
        let there = run("low", priority).await.expect("it ran");
        assert_eq!(there, (before + NICE).min(19));
        assert_eq!(priority(), before, "this thread keeps its own");
        let broken = run("broken", || panic!("on purpose")).await;
        assert!(broken.is_err());
    }

    #[tokio::test]
    async fn a_lane_keeps_its_thread_over_a_panic() {
        let lane = Lane::start("lane").expect("a thread");
        let priority = || rustix::process::getpriority_process(None).expect("the system says it");
        let before = priority();
        let thread = move || (std::thread::current().id(), priority());
        let first = lane.run(thread).await.expect("it ran");
        assert_eq!(first.1, (before + NICE).min(19));
        assert!(lane.run(|| panic!("on purpose")).await.is_err());
        assert_eq!(lane.run(thread).await.expect("it ran"), first);
    }
}
