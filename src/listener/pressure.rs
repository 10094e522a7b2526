//! How long work waits for a worker. Where it waits too long, requests are refused at their head: what is taken is then
//! answered in time, and nothing piles up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use crate::problem::{Code, Problem};

/// How often a task asks for a worker.
const PROBE: Duration = Duration::from_millis(20);
/// So many probes in a row say that it is more than a hitch …
const IN_A_ROW: u32 = 5;

/// Whether the workers are behind.
#[derive(Clone, Debug, Default)]
pub(super) struct Pressure(Arc<AtomicBool>);

impl Pressure {
    /// Measures for ever. Requests are shed while probes wait longer than `most`.
    pub(super) fn measure(&self, most: Duration) -> JoinHandle<()> {
        let behind = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut late_in_a_row = 0;
            loop {
                let due = Instant::now() + PROBE;
                tokio::time::sleep(PROBE).await;
                let late = due.elapsed();
                // … and one that is in time again says that it is over.
                late_in_a_row = if late > most { late_in_a_row + 1 } else { 0 };
                behind.store(late_in_a_row >= IN_A_ROW, Ordering::Relaxed);
            }
        })
    }

    /// 503 while the workers are behind.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Problem::new(
                Code::Overloaded,
                "requests wait too long for their turn; nothing of this one was taken: send it again later",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_is_held_up_sheds_and_recovers() {
        let pressure = Pressure::default();
        let measuring = pressure.measure(Duration::from_millis(10));
        assert!(pressure.check().is_ok());
        for _ in 0..=IN_A_ROW {
            tokio::task::yield_now().await;
            // The one worker of this test does something else meanwhile.
            std::thread::sleep(PROBE + Duration::from_millis(30));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(
            pressure.check().map_err(|problem| problem.code),
            Err(Code::Overloaded)
        );
        tokio::time::sleep(PROBE * 4).await;
        assert!(pressure.check().is_ok());
        measuring.abort();
    }
}
