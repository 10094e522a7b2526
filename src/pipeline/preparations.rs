//! The plugin versions that routes run on this node: made ready beside the traffic and beside the registry, and tried
//! again where that fails. Until a version is ready the one before it runs on.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::Instant,
};

use crate::{
    problem::{Code, Problem},
    registry::{
        Registry, RegistryError,
        model::{Digest, State},
    },
    transform::{PluginUse, Prepared, Transformer},
};

/// How long a change waits for what it needs; what takes longer, as compiling does, comes into force after it.
const GRACE: Duration = Duration::from_secs(1);
/// At the start nobody waits for anything else.
const GRACE_AT_START: Duration = Duration::from_secs(60);
/// How long a version is kept that was tried for a change that is about to be made.
const TRIED_KEPT: Duration = Duration::from_secs(30);
/// After the first failure; twice as long after each further one …
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// … up to this.
const RETRY_LAST: Duration = Duration::from_secs(30);
/// The same where the version itself was refused: it may be a limit that a busy machine ran into, and trying it costs.
const REFUSED_FIRST: Duration = Duration::from_secs(10);
const REFUSED_LAST: Duration = Duration::from_secs(600);

/// Makes plugin versions ready, and holds those that routes want.
pub struct Preparations {
    registry: Registry,
    transformer: Arc<Transformer>,
    inner: Mutex<Inner>,
    /// Changes whenever making one ready has ended, well or not.
    ended: watch::Sender<()>,
    /// What may be needed later must not keep what is needed now from both compilers.
    ahead: Semaphore,
    has_begun: AtomicBool,
}

#[derive(Default)]
struct Inner {
    /// What the routes of the newest state run.
    wanted: HashSet<PluginUse>,
    ready: HashMap<PluginUse, Arc<Prepared>>,
    news: News,
    /// Made ready for a change that is about to be made.
    tried: HashMap<PluginUse, (Instant, Arc<Prepared>)>,
    /// Each with what ends its pause after a failure.
    preparing: HashMap<PluginUse, Arc<Notify>>,
    /// Why the last attempt failed.
    faults: HashMap<PluginUse, Arc<str>>,
}

/// What the state has to be applied again for.
#[derive(Default)]
struct News {
    /// Ready, and not in force yet.
    fresh: HashSet<PluginUse>,
    /// Some route was left without it since the state was last applied; another one that takes it changes nothing there.
    missed: HashSet<PluginUse>,
}

impl News {
    /// The state is applied: every route that lacks something asks for it again.
    fn begin(&mut self, wanted: &HashSet<PluginUse>) {
        self.fresh.retain(|of| wanted.contains(of));
        self.missed.clear();
    }

    fn made(&mut self, of: &PluginUse) {
        self.fresh.insert(of.clone());
    }

    fn taken(&mut self, of: &PluginUse) {
        self.fresh.remove(of);
    }

    fn missing(&mut self, of: &PluginUse) {
        self.missed.insert(of.clone());
    }

    fn has(&self, of: &PluginUse) -> bool {
        self.fresh.contains(of) || self.missed.contains(of)
    }
}

/// Why an attempt gave nothing.
enum Failure {
    Store(RegistryError),
    Plugin(Problem),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure::Plugin(problem)
    }
}

struct Fault {
    /// For whoever is told that the version does not run.
    shown: String,
    /// For the log, beside it.
    cause: Option<String>,
    /// It is the version that is refused, and not something around it that failed.
    is_refusal: bool,
}

impl Preparations {
    pub fn new(registry: Registry, transformer: Arc<Transformer>) -> Arc<Preparations> {
        Arc::new(Preparations {
            registry,
            transformer,
            inner: Mutex::default(),
            ended: watch::Sender::new(()),
            ahead: Semaphore::new(1),
            has_begun: AtomicBool::new(false),
        })
    }

    /// Makes a version ready for a change that is about to be made, which then waits for nothing. `component` is the one
    /// that `of` names.
    ///
    /// # Errors
    ///
    /// Why the version cannot run.
    pub async fn try_out(self: &Arc<Self>, of: PluginUse, component: Bytes) -> Result<(), Problem> {
        let prepared = self.transformer.prepare_use(&of, component).await?;
        let at = Instant::now();
        self.inner.lock().tried.insert(of.clone(), (at, prepared));
        let this = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(TRIED_KEPT).await;
            let Some(this) = this.upgrade() else { return };
            let mut inner = this.inner.lock();
            // Unless it was tried again since.
            if inner.tried.get(&of).is_some_and(|(tried, _)| *tried == at) {
                inner.tried.remove(&of);
            }
        });
        Ok(())
    }

    /// Makes ready what is wanted from now on, and waits a little for it; what takes longer comes into force later, by
    /// applying the state again.
    pub(super) async fn want(self: &Arc<Self>, wanted: HashSet<PluginUse>) {
        let is_start = !self.has_begun.swap(true, Ordering::Relaxed);
        let begun = self.begin(wanted);
        let grace = if is_start { GRACE_AT_START } else { GRACE };
        self.wait(&begun, Instant::now() + grace).await;
    }

    /// What is made ready from now on.
    fn begin(self: &Arc<Self>, wanted: HashSet<PluginUse>) -> Vec<PluginUse> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.ready.retain(|of, _| wanted.contains(of));
        inner.news.begin(&wanted);
        inner.faults.retain(|of, _| wanted.contains(of));
        let mut begun = Vec::new();
        for (of, wake) in &inner.preparing {
            if !wanted.contains(of) {
                wake.notify_one();
            }
        }
        for of in &wanted {
            if inner.ready.contains_key(of) {
                continue;
            }
            if let Some((_, prepared)) = inner.tried.get(of) {
                inner.ready.insert(of.clone(), Arc::clone(prepared));
            } else if let Some(wake) = inner.preparing.get(of) {
                // Wanted again before its task saw that it was not: whoever wants it now waits for no old pause.
                if !inner.wanted.contains(of) {
                    inner.faults.remove(of);
                    wake.notify_one();
                    begun.push(of.clone());
                }
            } else {
                let wake = Arc::default();
                inner.preparing.insert(of.clone(), Arc::clone(&wake));
                tokio::spawn(Arc::clone(self).prepare(of.clone(), wake));
                begun.push(of.clone());
            }
        }
        inner.wanted = wanted;
        begun
    }

    async fn wait(&self, begun: &[PluginUse], until: Instant) {
        let is_pending = || {
            let inner = self.inner.lock();
            let is_pending = |of| inner.preparing.contains_key(of) && !inner.faults.contains_key(of);
            begun.iter().any(is_pending)
        };
        wait_while(&self.ended, until, is_pending).await;
    }

    /// The version, or why it does not run on this node now.
    pub(super) fn take(&self, of: &PluginUse) -> Result<Arc<Prepared>, Arc<str>> {
        let mut inner = self.inner.lock();
        if let Some(prepared) = inner.ready.get(of).map(Arc::clone) {
            inner.news.taken(of);
            return Ok(prepared);
        }
        inner.news.missing(of);
        let fault = inner.faults.get(of).map(Arc::clone);
        Err(fault.unwrap_or_else(|| format!("{} is being prepared", of.label()).into()))
    }

    async fn prepare(self: Arc<Self>, of: PluginUse, wake: Arc<Notify>) {
        let mut failures = 0;
        loop {
            let made = self.make(&of).await;
            if self.gives_up(&of) {
                return;
            }
            let fault = match made {
                Ok(prepared) => {
                    let mut inner = self.inner.lock();
                    inner.preparing.remove(&of);
                    inner.faults.remove(&of);
                    inner.news.made(&of);
                    inner.ready.insert(of.clone(), prepared);
                    break;
                }
                Err(fault) => fault,
            };
            let pause = pause(failures, fault.is_refusal);
            self.note(&of, fault);
            self.ended.send_replace(());
            let is_woken = tokio::time::timeout(pause, wake.notified()).await.is_ok();
            failures = if is_woken { 0 } else { failures + 1 };
            if self.gives_up(&of) {
                return;
            }
        }
        self.ended.send_replace(());
        // Every route that waited for it may have taken it by then.
        self.registry
            .apply_again(|| self.inner.lock().news.has(&of))
            .await;
    }

    async fn make(&self, of: &PluginUse) -> Result<Arc<Prepared>, Fault> {
        // What is compiled already needs no store.
        let component = async { self.registry.blob(of.digest).await.map_err(Failure::Store) };
        let made = self.transformer.prepare_fetched(of, component).await;
        made.map_err(|failure| match failure {
            Failure::Plugin(problem) => Fault {
                shown: format!("{} cannot run: {}", of.label(), problem.detail),
                cause: None,
                is_refusal: !matches!(problem.code, Code::Overloaded | Code::Internal),
            },
            Failure::Store(error) => Fault {
                shown: format!("{} cannot be read from the store", of.label()),
                cause: Some(error.to_string()),
                is_refusal: false,
            },
        })
    }

    fn note(&self, of: &PluginUse, fault: Fault) {
        let mut inner = self.inner.lock();
        if inner.faults.get(of).is_none_or(|known| **known != *fault.shown) {
            tracing::error!(
                plugin = %of.plugin,
                version = of.version,
                fault = fault.shown,
                cause = fault.cause,
                "a plugin cannot be made ready; it is tried again"
            );
        }
        inner.faults.insert(of.clone(), fault.shown.into());
    }

    /// Whether no route wants it any more; then it is no longer made ready either.
    fn gives_up(&self, of: &PluginUse) -> bool {
        let mut inner = self.inner.lock();
        let is_wanted = inner.wanted.contains(of);
        if !is_wanted {
            inner.preparing.remove(of);
            drop(inner);
            self.ended.send_replace(());
        }
        !is_wanted
    }

    /// Compiles, beside everything else, what was uploaded since `before`: when it is activated it is there.
    pub(super) fn compile_ahead(self: &Arc<Self>, before: &State, after: &State) {
        // At the start only what runs is needed.
        if !self.has_begun.load(Ordering::Relaxed) {
            return;
        }
        for (name, known) in &after.plugins {
            let earlier = before.plugins.get(name);
            let is_same = earlier.is_some_and(|earlier| Arc::ptr_eq(earlier, known));
            let seen = earlier.map_or(0, |earlier| earlier.value.versions.len());
            for version in known.value.versions.iter().skip(seen).filter(|_| !is_same) {
                let (digest, label) = (version.digest, format!("{name}@{}", version.version));
                // What was uploaded to this node was compiled for that.
                if !self.transformer.has_compiled(&digest) {
                    tokio::spawn(Arc::clone(self).compile(digest, label));
                }
            }
        }
    }

    async fn compile(self: Arc<Self>, digest: Digest, label: String) {
        let Ok(_turn) = self.ahead.acquire().await else {
            return;
        };
        if self.transformer.has_compiled(&digest) {
            return;
        }
        let compiled = match self.registry.blob(digest).await {
            Ok(component) => self
                .transformer
                .compile_ahead(component)
                .await
                .map_err(|problem| problem.detail),
            Err(error) => Err(error.to_string()),
        };
        if let Err(cause) = compiled {
            tracing::warn!(
                plugin = label,
                cause,
                "a plugin could not be compiled ahead; it is when it is needed"
            );
        }
    }
}

/// Waits while something is pending, no longer than that. `ended` changes whenever something pending has ended.
pub(super) async fn wait_while(ended: &watch::Sender<()>, until: Instant, is_pending: impl Fn() -> bool) {
    let mut ended = ended.subscribe();
    loop {
        ended.borrow_and_update();
        // The sender lives as long as this.
        if !is_pending() || tokio::time::timeout_at(until, ended.changed()).await.is_err() {
            return;
        }
    }
}

fn pause(failures: u32, is_refusal: bool) -> Duration {
    let (first, last) = if is_refusal {
        (REFUSED_FIRST, REFUSED_LAST)
    } else {
        (RETRY_FIRST, RETRY_LAST)
    };
    first.saturating_mul(1 << failures.min(16)).min(last)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

    use bytes::Bytes;

    use super::{News, Preparations, REFUSED_FIRST, REFUSED_LAST, RETRY_LAST, pause};
    use crate::{
        limits::Limits,
        registry::{
            Registry,
            model::{Digest, Isolation},
        },
        store::Store,
        transform::{PluginUse, TransformSettings, Transformer},
    };

    fn plugin_use(digest: Digest) -> PluginUse {
        let name = "views".parse().expect("a name");
        PluginUse::new(name, 1, digest, None, Isolation::Shared)
    }

    async fn preparations(folder: &Path) -> Arc<Preparations> {
        let store = Store::open(&format!("file:{}/store", folder.display())).expect("the store opens");
        let registry = Registry::open(store).await.expect("the registry opens");
        let transformer = Transformer::new(TransformSettings {
            limits: Limits::default(),
            cache_dir: folder.join("compiled"),
            compiler: folder.join("none"),
        });
        Preparations::new(registry, transformer.expect("this machine runs plugins"))
    }

    /// Waits less than a pause takes.
    async fn soon(preparations: &Preparations, is_so: impl Fn(&Preparations) -> bool) {
        let mut ended = preparations.ended.subscribe();
        let wait = async {
            while !is_so(preparations) {
                ended.changed().await.expect("it lives");
            }
        };
        let waited = tokio::time::timeout(REFUSED_FIRST / 2, wait).await;
        waited.expect("nothing waits for the end of a pause");
    }

    #[tokio::test]
    async fn a_version_wanted_again_is_tried_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let preparations = preparations(folder.path()).await;
        let kept = preparations
            .registry
            .put_blob(Bytes::from_static(b"no component"));
        let of = plugin_use(kept.await.expect("it is kept"));
        let wanted = HashSet::from([of.clone()]);
        let is_refused = |of: &PluginUse| {
            let of = of.clone();
            move |preparations: &Preparations| preparations.inner.lock().faults.contains_key(&of)
        };
        assert_eq!(preparations.begin(wanted.clone()).len(), 1);
        soon(&preparations, is_refused(&of)).await;
        assert_eq!(preparations.begin(wanted.clone()).len(), 0, "it pauses");

        // Before its task can have seen that it was unwanted.
        assert_eq!(preparations.begin(HashSet::new()).len(), 0);
        assert_eq!(preparations.begin(wanted.clone()).len(), 1);
        assert!(!is_refused(&of)(&preparations));
        soon(&preparations, is_refused(&of)).await;

        // And after.
        preparations.begin(HashSet::new());
        soon(&preparations, |preparations| {
            preparations.inner.lock().preparing.is_empty()
        })
        .await;
        assert_eq!(preparations.begin(wanted).len(), 1);
        soon(&preparations, is_refused(&of)).await;
    }

    #[test]
    fn a_route_that_missed_a_version_gets_it_whoever_else_took_it() {
        let of = plugin_use(Digest::of(b"one"));
        let wanted = HashSet::from([of.clone()]);
        let mut news = News::default();
        news.begin(&wanted);
        assert!(!news.has(&of));
        news.missing(&of);
        news.made(&of);
        news.taken(&of);
        assert!(news.has(&of), "one route took it, another had missed it before");
        news.begin(&wanted);
        assert!(!news.has(&of), "all routes ask again");
        news.made(&of);
        assert!(news.has(&of));
        news.taken(&of);
        assert!(!news.has(&of), "each took it");
    }

    #[test]
    fn pauses_grow_up_to_their_bound() {
        let pauses =
            |is_refusal| [0, 1, 2, 3, 10, 1000].map(|failures| pause(failures, is_refusal).as_secs());
        assert_eq!(
            pauses(false),
            [1, 2, 4, 8, RETRY_LAST.as_secs(), RETRY_LAST.as_secs()]
        );
        assert_eq!(
            pauses(true),
            [10, 20, 40, 80, REFUSED_LAST.as_secs(), REFUSED_LAST.as_secs()]
        );
        assert!(pause(u32::MAX, false) >= Duration::from_secs(1));
    }
}
