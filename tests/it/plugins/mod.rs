//! Plugins in the gateway's own host: real ones by their cases, hostile ones by what they must not be able to do.

mod author_errors;
pub mod bombs;
mod company;
mod compilation;
mod hostile;
mod lookups;
mod pages;
mod projects;
mod refused;
mod sdks;
mod security;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

use bytes::Bytes;
use headworks::{
    cli::plugin_project::{self, Built},
    event::{Attributes, Body, Decoded, Output, Validated},
    json::Document,
    limits::Limits,
    transform::{PluginFailure, Prepared, TransformSettings, Transformer},
};
use serde_json::Value;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One engine for all of these tests; its compiled forms are kept for as long as they run.
fn transformer() -> &'static Transformer {
    static SHARED: OnceLock<(Arc<Transformer>, tempfile::TempDir)> = OnceLock::new();
    let (transformer, _) = SHARED.get_or_init(|| {
        let cache = tempfile::tempdir().expect("a folder for the cache");
        // Five times the default: the host of these tests is built without optimisation.
        (make_transformer(cache.path(), 50), cache)
    });
    transformer
}

fn make_transformer(cache: &Path, plugin_time_ms: u32) -> Arc<Transformer> {
    Transformer::new(TransformSettings {
        limits: Limits {
            plugin_time_ms,
            ..Limits::default()
        },
        cache_dir: cache.join("compiled"),
        compiler: PathBuf::from(env!("CARGO_BIN_EXE_headworks")),
    })
    .expect("this machine runs plugins")
}

/// The component of `tests/plugins/hostile`, built once.
pub fn hostile_component() -> Bytes {
    static BUILT: OnceLock<Bytes> = OnceLock::new();
    BUILT
        .get_or_init(|| component(&build(&repository().join("tests/plugins/hostile"))))
        .clone()
}

/// Builds a project, or the module of a file, once for all tests.
fn build(path: &Path) -> Built {
    static BUILT: Mutex<BTreeMap<PathBuf, Arc<OnceLock<Built>>>> = Mutex::new(BTreeMap::new());
    let known = BUILT
        .lock()
        .expect("nothing panics in there")
        .entry(path.to_owned())
        .or_default()
        .clone();
    let build = || {
        plugin_project::build(path).unwrap_or_else(|error| {
            panic!(
                "{}: {error}\n`scripts/setup test` installs what the SDKs' tests need",
                path.display()
            )
        })
    };
    known.get_or_init(build).clone()
}

fn component(built: &Built) -> Bytes {
    std::fs::read(&built.path).expect("it was just built").into()
}

/// An event whose data a schema would have let through.
fn event(data: &str) -> Validated {
    let decoded = Decoded {
        partner: "callbridge".parse().expect("a name"),
        attributes: Arc::new(Attributes {
            client_ip: None,
            user_agent: None,
            id: "event-1".into(),
            source: "/calls".to_owned(),
            event_type: "call.ended".parse().expect("a type"),
            time: "2026-11-02T10:15:30+09:00".to_owned(),
            subject: None,
            app_version: Some("5.10".to_owned()),
        }),
        data: Document::parse(Bytes::copy_from_slice(data.as_bytes()), 64).expect("it is JSON"),
        received: jiff::Timestamp::UNIX_EPOCH,
        id_generated: false,
        traceparent: None,
    };
    Validated::attest(decoded, "call.ended@1.0.0".into())
}

/// What the hostile plugin makes of `{"do": what, "amount": amount}`.
fn call(plugin: &Prepared, what: &str, amount: usize) -> Result<Vec<Output>, PluginFailure> {
    plugin.transform(&event(&format!(r#"{{"do": "{what}", "amount": {amount}}}"#)))
}

/// The text of the one output.
fn only_body(outputs: Result<Vec<Output>, PluginFailure>) -> String {
    let outputs = outputs.expect("the plugin succeeds");
    let [output] = outputs.as_slice() else {
        panic!("one output, not {outputs:?}");
    };
    let bytes = match &output.body {
        Body::Document(document) => document.to_bytes(),
        Body::Bytes(bytes) => bytes.clone(),
    };
    String::from_utf8(bytes.into()).expect("these bodies are UTF-8")
}

/// The text of a call that failed by the plugin's fault.
fn failure(result: Result<Vec<Output>, PluginFailure>) -> String {
    match result {
        Err(PluginFailure::Failed(text) | PluginFailure::Trapped(text)) => text,
        other => panic!("a failure, not {other:?}"),
    }
}

async fn prepare_hostile(name: &str, config: Option<&Value>) -> Arc<Prepared> {
    let name = name.parse().expect("a plugin's name");
    transformer()
        .prepare(&name, 1, hostile_component(), config)
        .await
        .expect("the hostile plugin is a plugin")
}
