//! Work that live events must not feel: on a thread of its own and of low priority.

use std::future::Future;

use crate::problem::{Code, Problem};

/// A tenth of what a worker gets where both want a core. Less would keep the thread from running while it holds a
/// spool's lock, for which live events wait.
const NICE: i32 = 10;

/// Lowers the priority of this thread alone. Where the system does not allow it, pauses are all that holds work back.
pub(super) fn yield_to_traffic() {
    let _ = rustix::process::nice(NICE);
}

/// Runs `work` to its end, even where nobody waits for it any more.
///
/// # Errors
///
/// `internal` where there is no thread, or the work panicked.
pub(super) async fn traffic<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    let runtime = tokio::runtime::Handle::current();
    let (done, result) = tokio::sync::oneshot::channel();
    let failed = || Problem::new(Code::Internal, "the work broke off; see the gateway's log");
    std::thread::Builder::new()
        .name("beside".to_owned())
        .spawn(move || {
            yield_to_traffic();
            // Whoever asked may be gone.
            let _ = done.send(runtime.block_on(work));
        })
        .map_err(|error| {
            tracing::error!(%error, "work beside the traffic cannot begin");
            failed()
        })?;
    result.await.map_err(|_| failed())
}
