//! The registry: partners, keys, types, schemas, plugins, routes and tokens, as a log of changes in the store.
//!
//! Entry `n` is written with put-if-absent, which decides between nodes that write at once; every node follows the log.

mod admin_token;
mod log;
pub mod model;
pub mod seal;
pub mod secret;
mod state;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Mutex;

pub use self::state::put_schema;
use self::{
    log::Log,
    model::{Change, Digest, Entry, State},
};
use crate::{
    problem::{Code, Problem},
    store::{Store, StoreError},
};

/// How often each node looks for changes by others: a change is in force everywhere within 2 s.
pub const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);
/// Entries between two snapshots.
const SNAPSHOT_EVERY: u64 = 500;
/// Each lost race is another node's success, so this many in a row say that something else is wrong.
const COMMIT_ATTEMPTS: usize = 200;

/// What is wrong with the registry's part of the store, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("entry {sequence} of the registry's log cannot be read: {cause}")]
    EntryUnreadable { sequence: u64, cause: String },
    #[error("entry {sequence} of the registry's log is missing")]
    EntryMissing { sequence: u64 },
    #[error("registry snapshot {path} cannot be read: {cause}")]
    SnapshotUnreadable { path: String, cause: String },
    #[error("blob {digest} of the registry is missing")]
    BlobMissing { digest: Digest },
    #[error("blob {digest} of the registry is damaged")]
    BlobDamaged { digest: Digest },
    #[error("the registry cannot write what it holds: {0}")]
    Encode(String),
    #[error("{path}: {cause}")]
    TokenFile { path: String, cause: String },
    #[error(transparent)]
    Refused(#[from] Problem),
}

impl RegistryError {
    /// What a client of the admin API is told; the cause itself goes to the log.
    fn problem(&self, detail: &str) -> Problem {
        tracing::error!(error = %self, "the registry failed");
        Problem::new(Code::StoreUnavailable, detail)
    }
}

/// Makes a state take effect on this node; the future is awaited.
pub type Applier = Arc<dyn Fn(Arc<State>) -> BoxFuture<'static, ()> + Send + Sync>;

/// What [`Registry::commit`] did.
#[derive(Clone, Debug)]
pub struct Committed<T> {
    /// Absent where nothing had to change.
    pub entry: Option<Entry>,
    /// The state in which the decision holds.
    pub state: Arc<State>,
    /// What the decision gave beside the change.
    pub outcome: T,
}

/// How the registry fares, for readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Of the state in force.
    pub sequence: u64,
    /// Why the log cannot be followed now; the last state is still served.
    pub failing: Option<String>,
}

/// A handle on the registry of this node. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    log: Log,
    /// In force: the applier has been through with it.
    state: ArcSwap<State>,
    writer: Mutex<Writer>,
    failing: ArcSwapOption<String>,
}

/// Who holds this alone moves the state on.
struct Writer {
    newest: Arc<State>,
    applier: Option<Applier>,
}

impl Registry {
    /// Loads the registry and follows it for as long as a handle lives.
    pub async fn open(store: Store) -> Result<Registry, RegistryError> {
        Registry::open_every(store, FOLLOW_INTERVAL).await
    }

    /// [`Registry::open`] with another interval between looks at the log.
    pub async fn open_every(store: Store, interval: Duration) -> Result<Registry, RegistryError> {
        let log = Log::new(store);
        let (state, replayed) = log.load().await?;
        let state = Arc::new(state);
        if replayed > SNAPSHOT_EVERY {
            keep_snapshot(log.clone(), state.clone());
        }
        let shared = Arc::new(Shared {
            log,
            state: ArcSwap::new(state.clone()),
            writer: Mutex::new(Writer {
                newest: state,
                applier: None,
            }),
            failing: ArcSwapOption::empty(),
        });
        tokio::spawn(follow(Arc::downgrade(&shared), interval));
        Ok(Registry { shared })
    }

    /// The state in force.
    pub fn state(&self) -> Arc<State> {
        self.shared.state.load_full()
    }

    /// The state with all that any node has written until now, in force on this one.
    pub async fn fresh_state(&self) -> Result<Arc<State>, Problem> {
        let nothing = self.commit("", |_| Ok((None, ()))).await?;
        Ok(nothing.state)
    }

    pub fn health(&self) -> Health {
        Health {
            sequence: self.shared.state.load().sequence,
            failing: self.shared.failing.load().as_deref().cloned(),
        }
    }

    /// Awaits `applier` for the state in force, and from now on for each new one before it is in force: in order, never
    /// two at once. States that were superseded before their turn are left out. The applier must not call
    /// [`Registry::commit`].
    pub async fn set_applier<F>(&self, applier: F)
    where
        F: Fn(Arc<State>) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    {
        let mut writer = self.shared.writer.lock().await;
        let applier: Applier = Arc::new(applier);
        applier(writer.newest.clone()).await;
        self.shared.state.store(writer.newest.clone());
        writer.applier = Some(applier);
    }

    /// Writes the change that `decide` makes of the newest state, as the next entry of the log. `decide` is called
    /// again where another node was first; no change means that nothing has to be written. Once this has returned the
    /// change is in force on this node. Goes on to its end even where the caller stops waiting.
    pub async fn commit<F, T>(&self, by: &str, decide: F) -> Result<Committed<T>, Problem>
    where
        F: FnMut(&State) -> Result<(Option<Change>, T), Problem> + Send + 'static,
        T: Send + 'static,
    {
        let shared = self.shared.clone();
        let by = by.to_owned();
        let task = tokio::spawn(async move {
            let mut writer = shared.writer.lock().await;
            let result = shared.write(&mut writer, by, decide).await;
            shared.put_in_force(&writer).await;
            result
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a change of the registry broke off");
            Err(Problem::new(
                Code::Internal,
                "the change broke off; read the resource to see whether it was made",
            ))
        })
    }

    /// Awaits the applier for the state in force once more, where `is_wanted` says so when its turn comes: something
    /// beside the registry has changed what the state means on this node.
    pub async fn apply_again(&self, is_wanted: impl Fn() -> bool + Send) {
        let writer = self.shared.writer.lock().await;
        if let Some(applier) = &writer.applier
            && is_wanted()
        {
            applier(writer.newest.clone()).await;
            self.shared.state.store(writer.newest.clone());
        }
    }

    /// Entries of the log after sequence `after`, at most `limit`, without schema texts; and whether there are more.
    pub async fn changes(&self, after: u64, limit: usize) -> Result<(Vec<Entry>, bool), Problem> {
        let newest = self.shared.state.load().sequence;
        let last = newest.min(after.saturating_add(limit as u64));
        if after >= last {
            return Ok((Vec::new(), false));
        }
        let entries = self.shared.log.bare_entries(after + 1, last).await;
        let entries = entries.map_err(|error| error.problem("the log of changes cannot be read now"))?;
        Ok((entries, last < newest))
    }

    /// Keeps `bytes` under their SHA-256, durably.
    pub async fn put_blob(&self, bytes: Bytes) -> Result<Digest, Problem> {
        let kept = self.shared.log.put_blob(bytes).await;
        kept.map_err(|error| error.problem("the store does not take the upload now; nothing was changed"))
    }

    /// The blob with this SHA-256, checked.
    pub async fn blob(&self, digest: Digest) -> Result<Bytes, RegistryError> {
        self.shared.log.blob(digest).await
    }
}

impl Shared {
    async fn write<F, T>(
        &self,
        writer: &mut Writer,
        by: String,
        mut decide: F,
    ) -> Result<Committed<T>, Problem>
    where
        F: FnMut(&State) -> Result<(Option<Change>, T), Problem>,
    {
        const UNREADABLE: &str = "the registry cannot be read now; nothing was changed";
        for _ in 0..COMMIT_ATTEMPTS {
            self.catch_up(writer)
                .await
                .map_err(|error| error.problem(UNREADABLE))?;
            let (change, outcome) = decide(&writer.newest)?;
            let Some(change) = change else {
                return Ok(Committed {
                    entry: None,
                    state: writer.newest.clone(),
                    outcome,
                });
            };
            let entry = Entry {
                sequence: writer.newest.sequence + 1,
                at: now(),
                by: by.clone(),
                change,
            };
            const UNWRITTEN: &str = "the store failed; read the resource to see whether the change was made";
            if self
                .log
                .append(&entry)
                .await
                .map_err(|error| error.problem(UNWRITTEN))?
            {
                writer.newest = Arc::new(writer.newest.apply(&entry));
                if entry.sequence.is_multiple_of(SNAPSHOT_EVERY) {
                    keep_snapshot(self.log.clone(), writer.newest.clone());
                }
                return Ok(Committed {
                    entry: Some(entry),
                    state: writer.newest.clone(),
                    outcome,
                });
            }
        }
        Err(Problem::new(
            Code::StoreUnavailable,
            "other changes were always first; nothing was changed",
        ))
    }

    /// Applies what other processes have written.
    async fn catch_up(&self, writer: &mut Writer) -> Result<(), RegistryError> {
        while let Some(entry) = self.log.entry(writer.newest.sequence + 1).await? {
            writer.newest = Arc::new(writer.newest.apply(&entry));
        }
        Ok(())
    }

    async fn put_in_force(&self, writer: &Writer) {
        if self.state.load().sequence == writer.newest.sequence {
            return;
        }
        if let Some(applier) = &writer.applier {
            applier(writer.newest.clone()).await;
        }
        self.state.store(writer.newest.clone());
    }

    async fn look_for_changes(&self) -> Result<(), RegistryError> {
        let mut writer = self.writer.lock().await;
        let result = self.catch_up(&mut writer).await;
        self.put_in_force(&writer).await;
        result
    }
}

async fn follow(shared: Weak<Shared>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        match shared.look_for_changes().await {
            Ok(()) => {
                if shared.failing.swap(None).is_some() {
                    tracing::info!("the registry can be followed again");
                }
            }
            Err(error) => {
                if shared.failing.swap(Some(Arc::new(error.to_string()))).is_none() {
                    tracing::error!(%error, "the registry cannot be followed; the last state is served on");
                }
            }
        }
    }
}

/// Snapshots only make start-up short: one that fails is written again later.
fn keep_snapshot(log: Log, state: Arc<State>) {
    tokio::spawn(async move {
        if let Err(error) = log.write_snapshot(&state).await {
            tracing::warn!(%error, "the registry's snapshot was not written");
        }
    });
}

/// To the millisecond: no reader needs more.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
