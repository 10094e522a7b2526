//! From an upload to what can be called: examined, compiled or found in the cache, linked, configured, each once.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, Semaphore};
use wasmtime::component::{Component, Linker};

use super::{
    ComponentFacts, CounterReading, LoadCounts, PluginHealth, PluginUse, Prepared, TransformSettings,
    account::{CallCount, VersionAccount},
    bindings::Linked,
    cache::{self, Cache},
    compile, component,
    counters::PluginCounters,
    engine::{self, Ticker},
    fault,
    host::State,
    instance::{Instance, StartError, Surroundings},
    kept_log::{KeptLine, KeptLog},
    linker,
    prepared::{Books, Loaded},
    slots,
};
use crate::{
    event::PluginName,
    limits,
    problem::{Code, Problem},
    registry::model::Digest,
};

const IDLE: Duration = Duration::from_secs(limits::PLUGIN_IDLE_S);

/// What stands behind a transformer and all that it prepared.
pub(super) struct Core {
    pub(super) surroundings: Surroundings,
    linker: Linker<State>,
    cache: Cache,
    compiler: PathBuf,
    compilations: Semaphore,
    readings: Semaphore,
    /// Who has one holds a component from its reading to its end, while it waits for a compiler too.
    fetches: Semaphore,
    /// Who has one loads that component; whoever else needs it waits for the same.
    turns: Mutex<HashMap<Digest, Weak<Turn<()>>>>,
    loaded: Mutex<HashMap<Digest, Weak<Loaded>>>,
    prepared: Mutex<HashMap<PluginUse, Weak<Prepared>>>,
    counters: Mutex<HashMap<PluginName, Arc<PluginCounters>>>,
    logs: Mutex<HashMap<PluginName, Arc<KeptLog>>>,
    /// By label: versions that ran on this node since it started.
    accounts: Mutex<HashMap<Arc<str>, Arc<VersionAccount>>>,
    loads: Loads,
}

/// Where loaded components came from.
#[derive(Default)]
struct Loads {
    compiled: AtomicU64,
    disk: AtomicU64,
    memory: AtomicU64,
}

impl Core {
    pub(super) fn new(settings: TransformSettings) -> Result<Core, Problem> {
        let TransformSettings {
            limits,
            cache_dir,
            compiler,
        } = settings;
        let engine = engine::engine(&limits).map_err(|error| unusable(&error))?;
        let linker = linker::linker(&engine).map_err(|error| unusable(&error))?;
        let cache = Cache::open(&cache_dir, &engine).map_err(|error| unusable(&error))?;
        let ticker = Ticker::start(engine.clone(), &limits).map_err(|error| unusable(&error))?;
        Ok(Core {
            surroundings: Surroundings {
                engine,
                ticker,
                limits,
            },
            linker,
            cache,
            compiler,
            compilations: Semaphore::new(limits::COMPILES_AT_ONCE),
            readings: Semaphore::new(slots::count()),
            fetches: Semaphore::new(limits::COMPILES_AT_ONCE),
            turns: Mutex::default(),
            loaded: Mutex::default(),
            prepared: Mutex::default(),
            counters: Mutex::default(),
            logs: Mutex::default(),
            accounts: Mutex::default(),
            loads: Loads::default(),
        })
    }

    pub(super) async fn compile(self: &Arc<Self>, component: Bytes) -> Result<ComponentFacts, Problem> {
        let facts = self.examine(&component).await?;
        let loaded = self.load(facts.digest, &component).await?;
        let core = Arc::clone(self);
        blocking(move || core.try_start(&loaded)).await??;
        Ok(facts)
    }

    /// Compiles what may be needed later.
    pub(super) async fn compile_ahead(self: &Arc<Self>, component: Bytes) -> Result<(), Problem> {
        let facts = self.examine(&component).await?;
        self.load(facts.digest, &component).await.map(drop)
    }

    pub(super) fn has_compiled(&self, digest: &Digest) -> bool {
        let is_loaded = self
            .loaded
            .lock()
            .get(digest)
            .is_some_and(|loaded| loaded.strong_count() > 0);
        is_loaded || self.cache.holds(digest)
    }

    /// `component` is the one that `of` names.
    pub(super) async fn prepare(
        self: &Arc<Self>,
        of: &PluginUse,
        component: Bytes,
    ) -> Result<Arc<Prepared>, Problem> {
        if let Some(known) = self.known(of) {
            return Ok(known);
        }
        let facts = self.examine(&component).await?;
        let loaded = self.load(facts.digest, &component).await?;
        self.make(of.clone(), loaded).await
    }

    /// `fetch` gives the component that `of` names; it is asked only where there is no compiled form of it yet.
    pub(super) async fn prepare_fetched<E: From<Problem>>(
        self: &Arc<Self>,
        of: &PluginUse,
        fetch: impl Future<Output = Result<Bytes, E>> + Send,
    ) -> Result<Arc<Prepared>, E> {
        if let Some(known) = self.known(of) {
            return Ok(known);
        }
        let loaded = self.load_fetched(of.digest, fetch).await?;
        Ok(self.make(of.clone(), loaded).await?)
    }

    fn known(&self, of: &PluginUse) -> Option<Arc<Prepared>> {
        self.prepared.lock().get(of).and_then(Weak::upgrade)
    }

    async fn make(self: &Arc<Self>, of: PluginUse, loaded: Arc<Loaded>) -> Result<Arc<Prepared>, Problem> {
        let label = of.label().into();
        let books = Books {
            counters: Arc::clone(self.counters.lock().entry(of.plugin.clone()).or_default()),
            account: self.account(&label),
            log: Arc::clone(self.logs.lock().entry(of.plugin.clone()).or_default()),
        };
        let core = Arc::clone(self);
        let made = {
            let of = of.clone();
            blocking(move || Prepared::new(core, label, &of, loaded, books)).await??
        };
        Ok(self.keep(of, made))
    }

    pub(super) fn log(&self, plugin: &PluginName) -> Vec<Arc<KeptLine>> {
        let log = self.logs.lock().get(plugin).map(Arc::clone);
        log.map_or_else(Vec::new, |log| log.read())
    }

    fn account(&self, label: &Arc<str>) -> Arc<VersionAccount> {
        let mut accounts = self.accounts.lock();
        let made = || {
            Arc::new(VersionAccount::new(
                slots::count(),
                self.surroundings.limits.plugin_time_ms,
            ))
        };
        Arc::clone(accounts.entry(Arc::clone(label)).or_insert_with(made))
    }

    pub(super) fn call_count(&self, label: &str) -> CallCount {
        let account = self.accounts.lock().get(label).map(Arc::clone);
        account.map_or_else(CallCount::default, |account| account.count())
    }

    pub(super) fn health(&self, label: &str) -> Option<PluginHealth> {
        let account = self.accounts.lock().get(label).map(Arc::clone)?;
        Some(account.health())
    }

    pub(super) fn loads(&self) -> LoadCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LoadCounts {
            compiled: read(&self.loads.compiled),
            disk: read(&self.loads.disk),
            memory: read(&self.loads.memory),
        }
    }

    pub(super) fn counters(&self) -> Vec<CounterReading> {
        let plugins: Vec<_> = self
            .counters
            .lock()
            .iter()
            .map(|(plugin, counters)| (plugin.clone(), Arc::clone(counters)))
            .collect();
        plugins
            .into_iter()
            .flat_map(|(plugin, counters)| {
                counters
                    .read()
                    .into_iter()
                    .map(move |(counter, value)| CounterReading {
                        plugin: plugin.clone(),
                        counter,
                        value,
                    })
            })
            .collect()
    }

    async fn examine(&self, component: &Bytes) -> Result<ComponentFacts, Problem> {
        let component = component.clone();
        let size_max = self.surroundings.limits.component_bytes;
        blocking(move || component::examine(&component, size_max)).await?
    }

    /// The loaded component, where it is shared or in the cache. Only for who has the component's turn: what two load at
    /// once is there twice.
    async fn load_kept(self: &Arc<Self>, digest: Digest) -> Result<Option<Arc<Loaded>>, Problem> {
        let shared = self.loaded.lock().get(&digest).and_then(Weak::upgrade);
        if shared.is_some() {
            self.loads.memory.fetch_add(1, Ordering::Relaxed);
            return Ok(shared);
        }
        let core = Arc::clone(self);
        // Each is held twice while it is read.
        let _turn = self.readings.acquire().await.map_err(|error| unusable(&error))?;
        let cached = blocking(move || core.link_cached(&digest)).await?;
        if cached.is_some() {
            self.loads.disk.fetch_add(1, Ordering::Relaxed);
        }
        cached.transpose()
    }

    fn turn(&self, digest: Digest) -> Arc<Turn<()>> {
        let mut turns = self.turns.lock();
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&digest).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(digest, Arc::downgrade(&turn));
        turn
    }

    /// The loaded component: shared, from the cache, or compiled.
    async fn load(self: &Arc<Self>, digest: Digest, component: &Bytes) -> Result<Arc<Loaded>, Problem> {
        let turn = self.turn(digest);
        let _alone = turn.lock().await;
        match self.load_kept(digest).await? {
            Some(loaded) => Ok(loaded),
            None => self.load_new(digest, component).await,
        }
    }

    /// The same, with a component that is fetched where it has to be compiled.
    async fn load_fetched<E: From<Problem>>(
        self: &Arc<Self>,
        digest: Digest,
        fetch: impl Future<Output = Result<Bytes, E>> + Send,
    ) -> Result<Arc<Loaded>, E> {
        let turn = self.turn(digest);
        let _alone = turn.lock().await;
        if let Some(loaded) = self.load_kept(digest).await? {
            return Ok(loaded);
        }
        let _held = self.fetches.acquire().await.map_err(|error| unusable(&error))?;
        let component = fetch.await?;
        self.examine(&component).await?;
        Ok(self.load_new(digest, &component).await?)
    }

    /// Only for who has the component's turn.
    async fn load_new(self: &Arc<Self>, digest: Digest, component: &Bytes) -> Result<Arc<Loaded>, Problem> {
        let compiled = {
            let _turn = self
                .compilations
                .acquire()
                .await
                .map_err(|error| unusable(&error))?;
            compile::compile(&self.compiler, component).await?
        };
        self.loads.compiled.fetch_add(1, Ordering::Relaxed);
        let core = Arc::clone(self);
        blocking(move || core.link_new(&digest, &compiled)).await?
    }

    fn link_new(&self, digest: &Digest, compiled: &[u8]) -> Result<Arc<Loaded>, Problem> {
        let component = cache::load_compiled(&self.surroundings.engine, compiled).map_err(|error| {
            let reason = fault::cut(&format!("{error:#}"));
            Problem::new(
                Code::ComponentInvalid,
                format!("the component does not fit a plugin's limits: {reason}"),
            )
        })?;
        if let Err(error) = self.cache.store(digest, compiled) {
            // It runs now, and is compiled again at the next start.
            tracing::warn!(%error, "a compiled plugin could not be kept");
        }
        self.link(digest, &component)
    }

    fn link_cached(&self, digest: &Digest) -> Option<Result<Arc<Loaded>, Problem>> {
        let component = self.cache.load(&self.surroundings.engine, digest)?;
        Some(self.link(digest, &component))
    }

    fn link(&self, digest: &Digest, component: &Component) -> Result<Arc<Loaded>, Problem> {
        let linked = self
            .linker
            .instantiate_pre(component)
            .and_then(Linked::new)
            .map_err(|error| {
                Problem::new(
                    Code::ComponentInvalid,
                    format!(
                        "the component does not keep to headworks:plugin: {}",
                        fault::cut(&format!("{error:#}"))
                    ),
                )
            })?;
        let surface = component.component_type();
        let looks_up = surface
            .imports(&self.surroundings.engine)
            .any(|(name, _)| linker::TABLES.contains(&name));
        let loaded = Arc::new(Loaded { linked, looks_up });
        let mut known = self.loaded.lock();
        known.retain(|_, loaded| loaded.strong_count() > 0);
        if let Some(first) = known.get(digest).and_then(Weak::upgrade) {
            return Ok(first);
        }
        known.insert(*digest, Arc::downgrade(&loaded));
        Ok(loaded)
    }

    fn try_start(&self, loaded: &Loaded) -> Result<(), Problem> {
        let start = || Instance::new(&self.surroundings, &loaded.linked, &Arc::default());
        let started = start().or_else(|error| match error {
            StartError::NoRoom => {
                self.release_idle();
                start()
            }
            other => Err(other),
        });
        match started {
            Ok(_) => Ok(()),
            Err(StartError::NoRoom) => Err(Problem::new(
                Code::Overloaded,
                "no room is left for another plugin instance",
            )),
            Err(StartError::Failed(text) | StartError::Refused(text)) => Err(Problem::new(
                Code::ComponentInvalid,
                format!("an instance of the component cannot be made: {text}"),
            )),
        }
    }

    /// Keeps what was prepared, unless somebody else was first.
    fn keep(&self, key: PluginUse, made: Prepared) -> Arc<Prepared> {
        let mut known = self.prepared.lock();
        known.retain(|_, prepared| prepared.strong_count() > 0);
        if let Some(first) = known.get(&key).and_then(Weak::upgrade) {
            return first;
        }
        let made = Arc::new(made);
        known.insert(key, Arc::downgrade(&made));
        made
    }

    /// Frees all instances that wait for a call: the pool is full.
    pub(super) fn release_idle(&self) {
        let prepared: Vec<_> = self.prepared.lock().values().filter_map(Weak::upgrade).collect();
        for prepared in prepared {
            prepared.release_idle();
        }
    }

    /// Frees the instances that had no call since this was called before; gives how many.
    pub(super) fn release_unused(&self) -> usize {
        let prepared: Vec<_> = self.prepared.lock().values().filter_map(Weak::upgrade).collect();
        prepared.iter().map(|prepared| prepared.release_unused()).sum()
    }

    /// Looks now and then for instances that no event needs, on a thread of its own, until `core` is gone.
    pub(super) fn keep_tidy(core: &Arc<Core>) -> Result<(), Problem> {
        let core = Arc::downgrade(core);
        let tidy = move || {
            loop {
                thread::sleep(IDLE);
                let Some(core) = core.upgrade() else { return };
                let freed = core.release_unused();
                if freed > 0 {
                    tracing::debug!(freed, "plugin instances that no event needed were freed");
                }
            }
        };
        let spawned = thread::Builder::new().name("plugin-tidy".to_owned()).spawn(tidy);
        spawned.map(drop).map_err(|error| unusable(&error))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| unusable(&error))
}

fn unusable(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "plugins cannot be run");
    Problem::new(
        Code::Internal,
        "plugins cannot be run here: the gateway's log says why",
    )
}
