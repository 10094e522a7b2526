//! Where a version is called that ran out of its time a moment ago: on a thread of low priority, one call after the other,
//! so that the workers stay with the events of others.

use std::{
    io, panic,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::{
    background,
    limits::{PLUGIN_CALLS_ASIDE, PLUGIN_TURN_WAIT_S, THREAD_STACK_BYTES},
};

/// One version's turn.
pub(super) struct Aside {
    turn: Mutex<()>,
    /// How long a call waits for it.
    patience: Duration,
    /// Calls under way, those that wait for their turn included.
    calls: AtomicUsize,
}

impl Default for Aside {
    fn default() -> Aside {
        Aside {
            turn: Mutex::default(),
            patience: Duration::from_secs(PLUGIN_TURN_WAIT_S),
            calls: AtomicUsize::new(0),
        }
    }
}

/// The calls before take so long that this one had no turn, or so many wait already that it would have none soon.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowded;

impl Aside {
    /// Runs `call` to its end. A worker that waits for it gives its other tasks to another thread.
    pub(super) fn run<T: Send>(&self, call: impl Fn() -> T + Sync) -> Result<T, Crowded> {
        let _counted = self.enter()?;
        let in_turn = || {
            let _turn = self.turn.try_lock_for(self.patience).ok_or(Crowded)?;
            // Without another thread it has to be this one.
            Ok(run_apart(&call).unwrap_or_else(|_| call()))
        };
        let is_of_runtime =
            Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
        if is_of_runtime {
            tokio::task::block_in_place(in_turn)
        } else {
            in_turn()
        }
    }

    fn enter(&self) -> Result<Counted<'_>, Crowded> {
        let counted = Counted(&self.calls);
        if self.calls.fetch_add(1, Ordering::Relaxed) < PLUGIN_CALLS_ASIDE {
            Ok(counted)
        } else {
            Err(Crowded)
        }
    }
}

/// Counts itself out, where a call panics too.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn run_apart<T: Send>(call: &(impl Fn() -> T + Sync)) -> io::Result<T> {
    thread::scope(|scope| {
        let started = thread::Builder::new()
            .name("plugin-aside".to_owned())
            .stack_size(THREAD_STACK_BYTES)
            .spawn_scoped(scope, || {
                background::yield_to_traffic();
                call()
            })?;
        Ok(started
            .join()
            .unwrap_or_else(|payload| panic::resume_unwind(payload)))
    })
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
        time::Duration,
    };

    use super::{Aside, Crowded};
    use crate::limits::PLUGIN_CALLS_ASIDE;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_worker_goes_on_with_other_tasks_meanwhile() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let receiver = parking_lot::Mutex::new(receiver);
        let waits = tokio::spawn(async move {
            let aside = Aside::default();
            let heard = aside.run(|| receiver.lock().recv());
            heard.map(|heard| heard.is_ok())
        });
        // The only worker is needed for this one.
        tokio::spawn(async move { sender.send(()) })
            .await
            .expect("it ran")
            .expect("somebody waits");
        assert_eq!(waits.await.expect("it ran"), Ok(true));
    }

    #[test]
    fn one_call_runs_at_a_time_and_of_many_some_are_turned_away() {
        let aside = Aside {
            patience: Duration::MAX,
            ..Aside::default()
        };
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let callers = PLUGIN_CALLS_ASIDE + 8;
        let begin = Barrier::new(callers);
        let turned_away = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..callers {
                scope.spawn(|| {
                    begin.wait();
                    let result = aside.run(|| {
                        let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        // The first runs until all others have asked.
                        while turned_away.load(Ordering::SeqCst) < 8 {
                            thread::yield_now();
                        }
                        running.fetch_sub(1, Ordering::SeqCst);
                    });
                    if result == Err(Crowded) {
                        turned_away.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 1);
        assert_eq!(turned_away.into_inner(), 8);
        assert_eq!(aside.calls.into_inner(), 0);
    }

    #[test]
    fn who_has_no_turn_in_time_is_turned_away() {
        let aside = Aside {
            patience: Duration::from_millis(20),
            ..Aside::default()
        };
        let inside = aside.run(|| {
            let another = aside.run(|| ());
            assert_eq!(another, Err(Crowded));
        });
        assert_eq!(inside, Ok(()));
        assert_eq!(aside.run(|| 7), Ok(7));
    }

    #[test]
    fn a_panic_goes_to_the_caller_and_leaves_room_for_the_next() {
        let aside = Aside::default();
        for _ in 0..=PLUGIN_CALLS_ASIDE {
            let broken = catch_unwind(AssertUnwindSafe(|| aside.run(|| panic!("on purpose"))));
            assert!(broken.is_err());
        }
        assert_eq!(aside.run(|| 7), Ok(7));
    }
}
