//! Work that takes a core for a moment and that nobody waits for: on a thread of its own and of low priority, so that live
//! events get the core when they want it.

use std::{io, thread};

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
    let (done, result) = oneshot::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        yield_to_traffic();
        // Whoever waits may be gone.
        let _ = done.send(work());
    })?;
    result.await.map_err(|_| io::Error::other("the work broke off"))
}

/// Lowers the priority of this thread alone, for good. Where the system does not allow it, it stays as it is.
pub fn yield_to_traffic() {
    let _ = rustix::process::nice(NICE);
}

#[cfg(test)]
mod tests {
    use super::{NICE, run};

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
}
