//! Which webhook ids were delivered before, across a restart too: honest senders try again, and a recorded request must
//! not count twice.
//!
//! Remembered for twice the tolerance (a signature may lie that far ahead), and at most [`WEBHOOK_IDS`]. On the disk
//! are two files of fixed entries: the younger is appended to, and takes the older's place when it has held the window.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use moka::sync::Cache;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::limits::{WEBHOOK_IDS, WEBHOOK_TOLERANCE_S};

const WINDOW_S: i64 = 2 * WEBHOOK_TOLERANCE_S as i64;
const PRINT_BYTES: usize = 16;
const ENTRY_BYTES: usize = PRINT_BYTES + 8;

/// Part of a hash of key id and webhook id.
pub(super) type Print = [u8; PRINT_BYTES];

pub(super) fn print(key_id: &str, webhook_id: &str) -> Print {
    let mut hash = Sha256::new();
    hash.update(key_id.as_bytes());
    hash.update([0]);
    hash.update(webhook_id.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut print = [0; PRINT_BYTES];
    print.copy_from_slice(&digest[..PRINT_BYTES]);
    print
}

/// The memory; cheap to clone.
#[derive(Clone)]
pub struct WebhookIds {
    seen: Cache<Print, ()>,
    journal: Arc<Mutex<Journal>>,
    /// Whose requests are under way, and a lock that the one that runs holds.
    running: Arc<Mutex<HashMap<Print, Arc<tokio::sync::Mutex<()>>>>>,
}

/// The right to process a request of a webhook id: nobody else has it at the same time. Given back when it is dropped.
pub(super) struct Turn {
    ids: WebhookIds,
    print: Print,
    /// Dropped before the others see that it is.
    guard: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Turn {
    /// It was delivered before.
    pub(super) fn is_known(&self) -> bool {
        self.ids.seen.contains_key(&self.print)
    }

    /// Only once the request's events are durable.
    pub(super) async fn remember(self) {
        self.ids.remember(self.print).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut running = self.ids.running.lock();
        self.guard = None;
        // Who waits for it holds the lock too, and has taken it under the same lock as this.
        if running
            .get(&self.print)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            running.remove(&self.print);
        }
    }
}

struct Journal {
    folder: PathBuf,
    young: File,
    begun_s: i64,
    entries: u64,
}

fn young(folder: &Path) -> PathBuf {
    folder.join("webhook-ids")
}

fn old(folder: &Path) -> PathBuf {
    folder.join("webhook-ids.old")
}

/// The entries of a file that are younger than the window; a torn one at the end counts for nothing.
fn read(path: &Path, now_s: i64, seen: &Cache<Print, ()>) -> io::Result<(u64, Option<i64>)> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, None)),
        Err(error) => return Err(error),
    };
    let mut first = None;
    let mut count = 0;
    for entry in bytes.as_chunks::<ENTRY_BYTES>().0 {
        let (print, time) = entry.split_at(PRINT_BYTES);
        let (Ok(print), Ok(time)) = (Print::try_from(print), <[u8; 8]>::try_from(time)) else {
            continue;
        };
        let at_s = i64::from_le_bytes(time);
        first.get_or_insert(at_s);
        count += 1;
        if now_s.saturating_sub(at_s) <= WINDOW_S {
            seen.insert(print, ());
        }
    }
    Ok((count, first))
}

impl WebhookIds {
    /// Reads what the last run remembered.
    pub fn open(folder: &Path) -> io::Result<WebhookIds> {
        let seen = Cache::builder()
            .max_capacity(WEBHOOK_IDS)
            .time_to_live(Duration::from_secs(WINDOW_S.unsigned_abs()))
            .build();
        let now_s = Timestamp::now().as_second();
        read(&old(folder), now_s, &seen)?;
        let (entries, first) = read(&young(folder), now_s, &seen)?;
        let file = File::options().create(true).append(true).open(young(folder))?;
        // A torn entry at the end would shift all that follow it.
        file.set_len(entries * ENTRY_BYTES as u64)?;
        Ok(WebhookIds {
            seen,
            journal: Arc::new(Mutex::new(Journal {
                folder: folder.to_owned(),
                young: file,
                begun_s: first.unwrap_or(now_s),
                entries,
            })),
            running: Arc::default(),
        })
    }

    /// Waits until no other request of this id is under way.
    pub(super) async fn turn(&self, print: Print) -> Turn {
        // Before the wait: whoever gives it up meanwhile lets go of the lock too.
        let mut turn = Turn {
            ids: self.clone(),
            print,
            guard: None,
        };
        let lock = Arc::clone(self.running.lock().entry(print).or_default());
        turn.guard = Some(lock.lock_owned().await);
        turn
    }

    async fn remember(&self, print: Print) {
        self.seen.insert(print, ());
        let journal = Arc::clone(&self.journal);
        let written =
            tokio::task::spawn_blocking(move || journal.lock().append(print, Timestamp::now().as_second()))
                .await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a webhook id is remembered in memory only"),
            Err(error) => tracing::error!(%error, "a webhook id is remembered in memory only"),
        }
    }
}

impl Journal {
    fn append(&mut self, print: Print, now_s: i64) -> io::Result<()> {
        if now_s.saturating_sub(self.begun_s) > WINDOW_S || self.entries >= WEBHOOK_IDS {
            fs::rename(young(&self.folder), old(&self.folder))?;
            self.young = File::options()
                .create(true)
                .append(true)
                .open(young(&self.folder))?;
            self.begun_s = now_s;
            self.entries = 0;
        }
        let mut entry = [0; ENTRY_BYTES];
        entry[..PRINT_BYTES].copy_from_slice(&print);
        entry[PRINT_BYTES..].copy_from_slice(&now_s.to_le_bytes());
        self.young.write_all(&entry)?;
        self.entries += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_seen_is_known_after_a_restart_and_a_torn_entry_harms_nothing() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let ids = WebhookIds::open(folder.path()).expect("opened");
        let prints = [print("k", "a"), print("k", "b"), print("l", "a")];
        assert_eq!(std::collections::HashSet::from(prints).len(), 3);
        ids.remember(prints[0]).await;
        ids.remember(prints[1]).await;
        drop(ids);
        let path = young(folder.path());
        let bytes = fs::read(&path).expect("written");
        fs::write(&path, &bytes[..bytes.len() - 3]).expect("torn");
        let ids = WebhookIds::open(folder.path()).expect("opened");
        assert!(
            knows(&ids, prints[0]).await && !knows(&ids, prints[1]).await && !knows(&ids, prints[2]).await
        );
        ids.remember(prints[2]).await;
        let ids = WebhookIds::open(folder.path()).expect("opened");
        assert!(knows(&ids, prints[0]).await && knows(&ids, prints[2]).await);
    }

    async fn knows(ids: &WebhookIds, print: Print) -> bool {
        ids.turn(print).await.is_known()
    }

    #[tokio::test]
    async fn the_same_id_at_the_same_moment_waits_and_another_does_not() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let ids = WebhookIds::open(folder.path()).expect("opened");
        let (one, other) = (print("k", "a"), print("k", "b"));
        let first = ids.turn(one).await;
        assert!(!first.is_known());
        let waits = || {
            let ids = ids.clone();
            tokio::spawn(async move {
                let turn = ids.turn(one).await;
                let known = turn.is_known();
                if !known {
                    turn.remember().await;
                }
                known
            })
        };
        let (second, third) = (waits(), waits());
        let given_up = waits();
        while Arc::strong_count(&ids.running.lock()[&one]) < 5 {
            tokio::task::yield_now().await;
        }
        given_up.abort();
        assert!(!ids.turn(other).await.is_known());
        assert!(!second.is_finished() && !third.is_finished());
        // It failed: the next one is to try.
        drop(first);
        let mut known = [second.await.expect("no panic"), third.await.expect("no panic")];
        known.sort_unstable();
        assert_eq!(known, [false, true]);
        assert!(given_up.await.is_err_and(|error| error.is_cancelled()));
        assert!(ids.turn(one).await.is_known());
        assert!(ids.running.lock().is_empty(), "what is over takes no memory");
    }

    #[tokio::test]
    async fn the_files_take_turns_and_old_entries_are_forgotten() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let now_s = Timestamp::now().as_second();
        let ids = WebhookIds::open(folder.path()).expect("opened");
        {
            let mut journal = ids.journal.lock();
            journal
                .append(print("k", "long ago"), now_s - WINDOW_S - 10)
                .expect("written");
            journal.begun_s = now_s - WINDOW_S - 10;
            journal.append(print("k", "now"), now_s).expect("written");
        }
        assert!(old(folder.path()).exists());
        let again = WebhookIds::open(folder.path()).expect("opened");
        assert!(knows(&again, print("k", "now")).await && !knows(&again, print("k", "long ago")).await);
    }
}
