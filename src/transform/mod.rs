//! WASM plugins: compiled in a child process, run in pooled instances under limits.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;

use crate::{
    event::{Output, PluginName, Validated},
    limits::Limits,
    problem::Problem,
    registry::model::Digest,
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
}

/// Why a plugin gave no outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginFailure {
    /// The plugin says that the event cannot be transformed.
    Rejected(String),
    /// The plugin is at fault: trap, time, memory, a limit, or `broken`.
    Failed(String),
}

/// The engine, its compiled forms and its instances.
pub struct Transformer {}

impl Transformer {
    pub fn new(_settings: TransformSettings) -> Result<Arc<Transformer>, Problem> {
        todo!()
    }
    /// Checks and compiles an upload (in a child process), keeps the compiled form, and makes one instance to see
    /// that it can run.
    pub async fn compile(&self, _component: Bytes) -> Result<ComponentFacts, Problem> {
        todo!()
    }
    /// Makes a version with one route's configuration ready to be called: loads the compiled form (or compiles it
    /// anew), makes an instance and runs `configure`. The same arguments give the same `Prepared`.
    pub async fn prepare(
        &self,
        _plugin: &PluginName,
        _version: u32,
        _component: Bytes,
        _config: Option<&serde_json::Value>,
    ) -> Result<Arc<Prepared>, Problem> {
        todo!()
    }
}

/// One plugin version with one route's configuration.
pub struct Prepared {}

impl Prepared {
    /// `NAME@VERSION`.
    pub fn label(&self) -> &Arc<str> {
        todo!()
    }
    /// Runs the plugin on this thread; at most the time limit.
    pub fn transform(&self, _event: &Validated) -> Result<Vec<Output>, PluginFailure> {
        todo!()
    }
}
