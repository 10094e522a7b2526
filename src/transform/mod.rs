//! WASM plugins: compiled in a child process, run in pooled instances under limits.

mod account;
mod aside;
mod bindings;
mod cache;
pub mod child;
mod clock;
mod compile;
mod component;
mod core;
mod counters;
mod documents;
mod engine;
mod fault;
mod flat;
mod host;
mod instance;
mod kept_log;
mod linker;
mod log;
mod lookups;
mod prepared;
mod slots;
mod waste;

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;

use self::core::Core;
pub use self::{
    account::{CallCount, PluginHealth},
    component::{CONFIG_SCHEMA, config_schema, examine},
    kept_log::KeptLine,
    log::{LogLevel, LogLine},
    prepared::{Prepared, Purpose, Trial, TrialInstance},
};
use crate::{
    event::PluginName,
    limits::Limits,
    problem::Problem,
    registry::model::{Digest, Isolation, Sdk},
};

#[derive(Clone, Debug)]
pub struct TransformSettings {
    pub limits: Limits,
    /// Where compiled forms are kept; only the gateway writes there.
    pub cache_dir: PathBuf,
    /// The binary that compiles (`headworks compile-component`, hidden).
    pub compiler: PathBuf,
}

/// What an upload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentFacts {
    pub digest: Digest,
    pub size: u64,
    /// Interfaces it imports, with versions: all of `headworks:plugin`.
    pub imports: Vec<String>,
    /// What it was written in, where its tools wrote that down.
    pub language: Option<&'static str>,
    /// The SDK that it was written with, where `plugin build` noted it.
    pub sdk: Option<Sdk>,
}

/// A plugin version with what a route gives it: what makes two preparations the same.
// No `Debug`: configurations hold salts and keys.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PluginUse {
    pub plugin: PluginName,
    pub version: u32,
    pub digest: Digest,
    /// JSON text.
    config: Box<str>,
    pub isolation: Isolation,
}

impl PluginUse {
    /// Without a configuration the plugin is given `{}`.
    pub fn new(
        plugin: PluginName,
        version: u32,
        digest: Digest,
        config: Option<&serde_json::Value>,
        isolation: Isolation,
    ) -> PluginUse {
        PluginUse {
            plugin,
            version,
            digest,
            config: config.map_or_else(|| "{}".to_owned(), ToString::to_string).into(),
            isolation,
        }
    }

    /// `NAME@VERSION`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.plugin, self.version)
    }
}

/// Why a plugin gave no outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginFailure {
    /// The plugin says that the event cannot be transformed.
    Rejected(String),
    /// What it looked up is not there: the plugin is not at fault, and the event can wait for it.
    Unavailable(String),
    /// The plugin is at fault: a limit of its outputs, or `broken`.
    Failed(String),
    /// The plugin is at fault, and its instance is gone: trap, time, memory.
    Trapped(String),
    /// It was not called: too much time went into calls that failed.
    Held(String),
}

impl PluginFailure {
    /// An output goes to what is no destination of the route.
    pub fn misaddressed(destination: &str, route: &str) -> PluginFailure {
        PluginFailure::Failed(format!(
            "the plugin sends to {destination:?}, which is no destination of the route {route}"
        ))
    }
}

/// How often a component became native code since the start, by where that came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadCounts {
    pub compiled: u64,
    pub disk: u64,
    /// It was there already.
    pub memory: u64,
}

/// A counter that a plugin made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterReading {
    pub plugin: PluginName,
    pub counter: Arc<str>,
    pub value: u64,
}

/// The engine, its compiled forms and its instances.
pub struct Transformer {
    core: Arc<Core>,
}

impl Transformer {
    pub fn new(settings: TransformSettings) -> Result<Arc<Transformer>, Problem> {
        let core = Arc::new(Core::new(settings)?);
        Core::keep_tidy(&core)?;
        Ok(Arc::new(Transformer { core }))
    }

    /// Checks and compiles an upload (in a child process), keeps the compiled form, and makes one instance to see
    /// that it can run.
    pub async fn compile(&self, component: Bytes) -> Result<ComponentFacts, Problem> {
        self.core.compile(component).await
    }

    /// Makes a version with one route's configuration ready to be called: loads the compiled form (or compiles it
    /// anew), makes an instance and runs `configure`. The same arguments give the same `Prepared`. Without a
    /// configuration the plugin is given `{}`.
    pub async fn prepare(
        &self,
        plugin: &PluginName,
        version: u32,
        component: Bytes,
        config: Option<&serde_json::Value>,
    ) -> Result<Arc<Prepared>, Problem> {
        let digest = Digest::of(&component);
        let of = PluginUse::new(plugin.clone(), version, digest, config, Isolation::default());
        self.core.prepare(&of, component).await
    }

    /// As [`Transformer::prepare`]; `component` must be the one that `of` names.
    pub async fn prepare_use(&self, of: &PluginUse, component: Bytes) -> Result<Arc<Prepared>, Problem> {
        self.core.prepare(of, component).await
    }

    /// As [`Transformer::prepare_use`], with a component that is fetched only where no compiled form of it is on this
    /// node. Of many at once few hold one, so that what waits for a compiler takes no memory.
    ///
    /// # Errors
    ///
    /// Those of `fetch`, and why the version cannot run.
    pub async fn prepare_fetched<E: From<Problem>>(
        &self,
        of: &PluginUse,
        fetch: impl Future<Output = Result<Bytes, E>> + Send,
    ) -> Result<Arc<Prepared>, E> {
        self.core.prepare_fetched(of, fetch).await
    }

    /// Whether the component with this digest needs no compiling on this node.
    pub fn has_compiled(&self, digest: &Digest) -> bool {
        self.core.has_compiled(digest)
    }

    /// Compiles a component that may be needed later, in a child process, and keeps the compiled form.
    pub async fn compile_ahead(&self, component: Bytes) -> Result<(), Problem> {
        self.core.compile_ahead(component).await
    }

    /// Frees the instances that had no call since this was called before; gives how many. It is called by itself every
    /// [`PLUGIN_IDLE_S`](crate::limits::PLUGIN_IDLE_S).
    pub fn release_unused(&self) -> usize {
        self.core.release_unused()
    }

    /// How a version fares on this node; none where it never ran here.
    pub fn health(&self, plugin: &PluginName, version: u32) -> Option<PluginHealth> {
        self.core.health(&format!("{plugin}@{version}"))
    }

    /// Live calls of a version on this node.
    pub fn call_count(&self, plugin: &PluginName, version: u32) -> CallCount {
        self.core.call_count(&format!("{plugin}@{version}"))
    }

    /// The last lines that a plugin wrote on this node, and its failures, the oldest first.
    pub fn log(&self, plugin: &PluginName) -> Vec<Arc<KeptLine>> {
        self.core.log(plugin)
    }

    pub fn loads(&self) -> LoadCounts {
        self.core.loads()
    }

    /// The counters of all plugins, each plugin's in the order of their names.
    pub fn counters(&self) -> Vec<CounterReading> {
        self.core.counters()
    }
}

impl std::fmt::Debug for Transformer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Transformer").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the configuration: it holds salts and keys.
        formatter
            .debug_struct("Prepared")
            .field("label", self.label())
            .finish_non_exhaustive()
    }
}
