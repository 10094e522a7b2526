//! Which plugin versions run between each route and its destinations.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use super::{
    preparations::Preparations,
    shadow::{Comparison, Shadow, ShadowReport},
};
use crate::{
    event::{Decoded, PluginName, RouteName},
    registry::model::{Isolation, Plugin, PluginVersion, Route, State},
    telemetry::{PluginPage, Telemetry},
    transform::{PluginUse, Prepared},
};

/// What runs between a route and its destinations.
pub(super) enum Binding {
    None,
    Plugin(Version),
    /// More versions than one: kept apart, so that routes with one pay for nothing.
    Staged(Arc<Staged>),
    /// Events wait in quarantine; the text says why.
    Unavailable(Arc<str>),
}

/// A version that runs, and where its calls are counted.
#[derive(Clone)]
pub(super) struct Version {
    pub plugin: Arc<Prepared>,
    pub numbers: PluginPage,
}

/// A version, or why it cannot run on this node.
type Runnable = Result<Version, Arc<str>>;

/// A plugin of which several versions run at once.
pub(super) struct Staged {
    active: Runnable,
    /// The part of events that the active version takes, and the version that takes the rest.
    split: Option<(u8, Runnable)>,
    pub shadow: Option<Shadow>,
}

impl Staged {
    /// The version that takes the event.
    pub fn choose(&self, event: &Decoded) -> Result<&Version, &Arc<str>> {
        match &self.split {
            Some((share, rest)) if bucket(event) >= *share => rest.as_ref(),
            _ => self.active.as_ref(),
        }
    }

    fn fault(&self) -> Option<&Arc<str>> {
        let rest = self.split.as_ref().and_then(|(_, rest)| rest.as_ref().err());
        self.active.as_ref().err().or(rest)
    }
}

/// 0 to 99, the same for an event on every node and at every replay. A share that grows keeps the events that it had.
fn bucket(event: &Decoded) -> u8 {
    let mut hash = Sha256::new();
    hash.update(event.partner.as_str());
    hash.update([0]);
    hash.update(event.attributes.id.as_bytes());
    let digest = hash.finalize();
    let first = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    u8::try_from(first % 100).unwrap_or(0)
}

struct Bound {
    made_from: BoundFrom,
    binding: Binding,
    /// An earlier stage runs on; the text says why.
    delay: Option<Arc<str>>,
}

#[derive(Clone, PartialEq)]
struct BoundFrom {
    plugin: PluginName,
    stage: Stage,
    config: Option<serde_json::Value>,
    isolation: Isolation,
}

impl BoundFrom {
    /// The same but for which versions run.
    fn is_earlier_of(&self, later: &BoundFrom) -> bool {
        self.plugin == later.plugin && self.config == later.config && self.isolation == later.isolation
    }
}

/// Which versions of a plugin run.
#[derive(Clone, Debug, PartialEq)]
struct Stage {
    active: Option<u32>,
    split: Option<(u8, u32)>,
    shadow: Option<u32>,
}

impl Stage {
    fn of(plugin: Option<&Plugin>) -> Stage {
        Stage {
            active: plugin
                .and_then(Plugin::active_version)
                .map(|version| version.version),
            split: plugin
                .and_then(Plugin::split)
                .map(|(share, rest)| (share, rest.version)),
            shadow: plugin
                .and_then(Plugin::shadow_version)
                .map(|version| version.version),
        }
    }
}

/// The bindings of one registry state.
#[derive(Default)]
pub(super) struct Bindings {
    of_routes: HashMap<RouteName, Bound>,
    /// Of the plugins with a shadow: all routes of one add to the same.
    comparisons: HashMap<PluginName, (Stage, Arc<Comparison>)>,
    /// Some route runs what it lacked in the bindings before.
    has_caught_up: bool,
}

/// What bindings are made by.
pub(super) struct Binder<'a> {
    pub state: &'a State,
    pub preparations: &'a Arc<Preparations>,
    pub telemetry: &'a Telemetry,
}

impl Bindings {
    /// Makes them with everything of `previous` that has not changed. What is not ready in time is left as it was, and
    /// the state is applied again when it is.
    pub async fn build(binder: &Binder<'_>, previous: &Bindings) -> Bindings {
        let mut bindings = Bindings::default();
        for (name, plugin) in &binder.state.plugins {
            let stage = Stage::of(Some(&plugin.value));
            if stage.shadow.is_some() {
                let known = previous
                    .comparisons
                    .get(name)
                    .filter(|(known, _)| *known == stage);
                let comparison = known.map_or_else(Arc::default, |(_, comparison)| Arc::clone(comparison));
                bindings.comparisons.insert(name.clone(), (stage, comparison));
            }
        }
        binder.preparations.want(binder.wanted()).await;
        for (name, route) in &binder.state.routes {
            if let Some(plugin) = &route.value.plugin {
                let comparison = bindings.comparisons.get(plugin).map(|(_, comparison)| comparison);
                let before = previous.of_routes.get(name);
                let bound = binder.bind(plugin, &route.value, comparison, before);
                bindings.has_caught_up |= !bound.is_behind() && before.is_some_and(Bound::is_behind);
                bindings.of_routes.insert(name.clone(), bound);
            }
        }
        bindings
    }

    pub fn has_caught_up(&self) -> bool {
        self.has_caught_up
    }

    /// Every route runs what the registry says.
    pub fn is_whole(&self) -> bool {
        !self.of_routes.values().any(Bound::is_behind)
    }

    /// The routes that run an earlier stage than the registry says, each with the version that does and the reason.
    pub fn all_delayed(&self) -> Vec<(RouteName, String)> {
        let delayed = self.of_routes.iter().filter_map(|(route, bound)| {
            let (detail, running) = (bound.delay.as_ref()?, bound.binding.label());
            Some((route.clone(), format!("{running} runs on: {detail}")))
        });
        delayed.collect()
    }

    pub fn of(&self, route: &RouteName) -> &Binding {
        self.of_routes
            .get(route)
            .map_or(&Binding::None, |bound| &bound.binding)
    }

    pub fn runs(&self, plugin: &PluginName) -> bool {
        self.of_routes.values().any(|bound| {
            bound.made_from.plugin == *plugin
                && matches!(bound.binding, Binding::Plugin(_) | Binding::Staged(_))
        })
    }

    pub fn unavailable(&self, plugin: &PluginName) -> Option<Arc<str>> {
        let mut of_plugin = self
            .of_routes
            .values()
            .filter(|bound| bound.made_from.plugin == *plugin);
        of_plugin.find_map(Bound::told).cloned()
    }

    pub fn all_unavailable(&self) -> Vec<(RouteName, Arc<str>)> {
        self.of_routes
            .iter()
            .filter_map(|(route, bound)| Some((route.clone(), Arc::clone(bound.binding.fault()?))))
            .collect()
    }

    /// Versions that take events, with the memory of each one's largest instance.
    pub fn memory(&self) -> Vec<(Arc<str>, usize)> {
        let versions = self.of_routes.values().flat_map(|bound| bound.binding.versions());
        versions
            .map(|version| (Arc::clone(version.plugin.label()), version.plugin.memory_bytes()))
            .collect()
    }

    pub fn shadow_report(&self, plugin: &PluginName) -> Option<ShadowReport> {
        self.comparisons
            .get(plugin)
            .map(|(_, comparison)| comparison.report())
    }
}

impl Bound {
    /// What is not as the registry says.
    fn told(&self) -> Option<&Arc<str>> {
        self.delay.as_ref().or(self.binding.fault())
    }

    /// It becomes another by itself, once what it lacks is ready; without an active version nothing is made ready.
    fn is_behind(&self) -> bool {
        self.made_from.stage.active.is_some() && self.told().is_some()
    }
}

impl Binding {
    fn fault(&self) -> Option<&Arc<str>> {
        match self {
            Binding::None | Binding::Plugin(_) => None,
            Binding::Staged(staged) => staged.fault(),
            Binding::Unavailable(detail) => Some(detail),
        }
    }

    /// The versions that take events.
    fn versions(&self) -> impl Iterator<Item = &Version> {
        let (one, staged) = match self {
            Binding::Plugin(version) => (Some(version), None),
            Binding::Staged(staged) => (None, Some(staged)),
            Binding::None | Binding::Unavailable(_) => (None, None),
        };
        let staged = staged.into_iter().flat_map(|staged| {
            let rest = staged.split.as_ref().map(|(_, rest)| rest);
            [Some(&staged.active), rest].into_iter().flatten()
        });
        one.into_iter()
            .chain(staged.filter_map(|version| version.as_ref().ok()))
    }

    /// The same, where nothing is wrong with it.
    fn kept(&self) -> Option<Binding> {
        match self {
            Binding::Plugin(version) => Some(Binding::Plugin(version.clone())),
            Binding::Staged(staged) if staged.fault().is_none() => Some(Binding::Staged(Arc::clone(staged))),
            Binding::Staged(_) | Binding::None | Binding::Unavailable(_) => None,
        }
    }

    fn has_shadow(&self) -> bool {
        matches!(self, Binding::Staged(staged) if staged.shadow.is_some())
    }

    /// `NAME@VERSION`, of the version that takes events first.
    fn label(&self) -> &str {
        let first = self.versions().next();
        first.map_or("no version", |version| &**version.plugin.label())
    }
}

impl Binder<'_> {
    /// All that the state's routes run.
    fn wanted(&self) -> HashSet<PluginUse> {
        let routes = self.state.routes.values();
        let with_plugins = routes.filter_map(|route| {
            let plugin = self.state.plugins.get(route.value.plugin.as_ref()?)?;
            Some((route.value.plugin.as_ref()?, &plugin.value, &route.value))
        });
        with_plugins
            .flat_map(|(name, plugin, route)| {
                let active = plugin.active_version();
                let beside = [plugin.split().map(|(_, rest)| rest), plugin.shadow_version()];
                // Without an active version nothing runs.
                let beside = beside.into_iter().filter(move |_| active.is_some());
                let versions = beside.chain([active]).flatten();
                versions.map(move |version| use_of(name, version, route))
            })
            .collect()
    }

    fn bind(
        &self,
        name: &PluginName,
        route: &Route,
        comparison: Option<&Arc<Comparison>>,
        previous: Option<&Bound>,
    ) -> Bound {
        let plugin = self.state.plugins.get(name).map(|known| &known.value);
        let made_from = BoundFrom {
            plugin: name.clone(),
            stage: Stage::of(plugin),
            config: route.config.clone(),
            isolation: route.isolation,
        };
        let wants_shadow = made_from.stage.active.is_some() && made_from.stage.shadow.is_some();
        let same = previous.filter(|previous| previous.made_from == made_from);
        let kept = same.filter(|same| same.binding.has_shadow() == wants_shadow);
        let kept = kept.and_then(|kept| kept.binding.kept());
        let binding = kept.unwrap_or_else(|| self.make(name, plugin, route, comparison));
        let Some(detail) = binding.fault() else {
            return Bound {
                made_from,
                binding,
                delay: None,
            };
        };
        let is_news = previous.is_none_or(|previous| previous.told() != Some(detail));
        // Another configuration is another plugin to its destinations, which may have changed with it.
        let earlier = previous.filter(|previous| {
            made_from.stage.active.is_some() && previous.made_from.is_earlier_of(&made_from)
        });
        if let Some((earlier, running)) = earlier.and_then(|earlier| Some((earlier, earlier.binding.kept()?)))
        {
            if is_news {
                tracing::warn!(plugin = %name, %detail, "a version is not in force on this node; the one before runs on");
            }
            return Bound {
                made_from: earlier.made_from.clone(),
                delay: Some(Arc::clone(detail)),
                binding: running,
            };
        }
        if is_news {
            tracing::warn!(plugin = %name, %detail, "a route's plugin is not available; its events go to quarantine");
        }
        Bound {
            made_from,
            binding,
            delay: None,
        }
    }

    fn make(
        &self,
        name: &PluginName,
        plugin: Option<&Plugin>,
        route: &Route,
        comparison: Option<&Arc<Comparison>>,
    ) -> Binding {
        let Some((plugin, active)) = plugin.and_then(|plugin| Some((plugin, plugin.active_version()?)))
        else {
            let detail = format!("the plugin {name} has no active version; its events go out when it has");
            return Binding::Unavailable(detail.into());
        };
        let active = self.version(name, active, route);
        let split = plugin
            .split()
            .map(|(share, rest)| (share, self.version(name, rest, route)));
        let shadow = match (plugin.shadow_version(), comparison) {
            (Some(version), Some(comparison)) => {
                // Its failure harms nobody: nothing waits for it.
                let prepared = self.version(name, version, route);
                prepared.ok().map(|version| Shadow {
                    plugin: version.plugin,
                    comparison: Arc::clone(comparison),
                })
            }
            _ => None,
        };
        match (active, split, shadow) {
            (Ok(version), None, None) => Binding::Plugin(version),
            (Err(detail), None, _) => Binding::Unavailable(detail),
            (active, split, shadow) => Binding::Staged(Arc::new(Staged {
                active,
                split,
                shadow,
            })),
        }
    }

    fn version(&self, plugin: &PluginName, version: &PluginVersion, route: &Route) -> Runnable {
        let prepared = self.preparations.take(&use_of(plugin, version, route))?;
        Ok(Version {
            numbers: self.telemetry.plugin(prepared.label()),
            plugin: prepared,
        })
    }
}

fn use_of(plugin: &PluginName, version: &PluginVersion, route: &Route) -> PluginUse {
    PluginUse::new(
        plugin.clone(),
        version.version,
        version.digest,
        route.config.as_ref(),
        route.isolation,
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::bucket;
    use crate::{
        event::{Attributes, Decoded},
        json::Document,
    };

    fn event(partner: &str, id: &str) -> Decoded {
        Decoded {
            partner: partner.parse().expect("a name"),
            attributes: Arc::new(Attributes {
                id: id.into(),
                source: "/test".to_owned(),
                event_type: "a.b".parse().expect("a type"),
                time: "2026-01-01T00:00:00Z".to_owned(),
                subject: None,
                app_version: None,
                client_ip: None,
                user_agent: None,
            }),
            data: Document::parse(Bytes::from_static(b"{}"), 8).expect("it is JSON"),
            received: jiff::Timestamp::UNIX_EPOCH,
            id_generated: false,
            traceparent: None,
        }
    }

    #[test]
    fn a_share_is_about_its_part_and_never_changes() {
        let buckets: Vec<u8> = (0..10_000)
            .map(|id| bucket(&event("one", &id.to_string())))
            .collect();
        for share in [1, 5, 50, 99] {
            let taken = buckets.iter().filter(|bucket| **bucket < share).count();
            let wanted = usize::from(share) * 100;
            assert!(taken.abs_diff(wanted) < 150, "{taken} of 10000 for {share} %");
        }
        // Written down: every version of the gateway must choose the same.
        assert_eq!(["1", "2", "3"].map(|id| bucket(&event("one", id))), WRITTEN_DOWN,);
        assert_ne!(
            buckets[..8],
            (0..8)
                .map(|id| bucket(&event("two", &id.to_string())))
                .collect::<Vec<_>>()
        );
    }

    const WRITTEN_DOWN: [u8; 3] = [26, 71, 36];
}
