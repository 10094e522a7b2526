//! What one registry state means for events: keys, compiled schemas, routes, plugins. Built beside the traffic, swapped
//! in whole.

use std::{collections::HashMap, sync::Arc};

use super::{enrich::Wanted, envelopes::Envelopes, rates::Rates, shares::Shares};
use crate::{
    authenticate::Keys,
    decode::Hints,
    event::{EventType, PartnerName, PluginName, RouteName},
    registry::{
        Registry,
        model::{Key, Policy, Route, SigningSecret, State},
        seal::Sealer,
    },
    route::Routes,
    telemetry::{PluginPage, Telemetry, TimesPage},
    transform::{Prepared, Transformer},
    validate::{Compiler, Resolution, Schemas},
};

/// An immutable set of everything that a request's events are processed by.
#[derive(Default)]
pub struct Tables {
    pub state: Arc<State>,
    pub keys: Keys,
    pub schemas: Schemas,
    pub routes: Routes,
    pub(super) envelopes: Envelopes,
    pub(super) rates: Rates,
    pub(super) shares: Shares,
    partners: HashMap<PartnerName, PartnerEntry>,
    /// Of some partner.
    pub(super) some_enrich: bool,
    bindings: HashMap<RouteName, Bound>,
}

struct PartnerEntry {
    policy: Policy,
    default_source: Arc<str>,
    enrich: Wanted,
    times: TimesPage,
}

struct Bound {
    made_from: BoundFrom,
    binding: Binding,
}

#[derive(Clone, PartialEq)]
struct BoundFrom {
    plugin: PluginName,
    version: Option<u32>,
    config: Option<serde_json::Value>,
}

/// What runs between a route and its destinations.
pub(super) enum Binding {
    None,
    Plugin(Arc<Prepared>, PluginPage),
    /// Events wait in quarantine; the text says why.
    Unavailable(Arc<str>),
}

impl Tables {
    /// The tables of an empty registry.
    pub(super) fn empty(compiler: Compiler, rates: Rates, shares: Shares) -> Tables {
        Tables {
            schemas: Schemas::new(compiler),
            rates,
            shares,
            ..Tables::default()
        }
    }

    /// Builds the tables of `state`, with everything of `previous` that has not changed.
    pub async fn build(
        state: Arc<State>,
        previous: &Tables,
        registry: &Registry,
        transformer: &Arc<Transformer>,
        sealer: &Sealer,
        telemetry: &Telemetry,
    ) -> Tables {
        let partners: HashMap<PartnerName, PartnerEntry> = state
            .partners
            .iter()
            .map(|(name, partner)| {
                let partner = &partner.value;
                let entry = PartnerEntry {
                    policy: partner.policy,
                    enrich: Wanted::of(partner),
                    default_source: match &partner.source {
                        Some(source) => source.as_str().into(),
                        None => fallback_source(name),
                    },
                    times: telemetry.partner(name.as_str()),
                };
                (name.clone(), entry)
            })
            .collect();
        let mut bindings = HashMap::new();
        for (name, route) in &state.routes {
            if let Some(plugin) = &route.value.plugin {
                let bound = bind(
                    &state,
                    plugin,
                    &route.value,
                    previous.bindings.get(name),
                    registry,
                    transformer,
                    telemetry,
                )
                .await;
                bindings.insert(name.clone(), bound);
            }
        }
        let (schemas, fresh) = Schemas::change(&state, &previous.schemas);
        fresh.compile().await;
        Tables {
            keys: Keys::build(&state, &previous.keys, |key| open(sealer, key)),
            envelopes: Envelopes::build(&state),
            rates: Rates::build(&state, &previous.rates),
            shares: Shares::build(&state, &previous.shares),
            schemas,
            routes: Routes::build(&state),
            some_enrich: partners.values().any(|entry| entry.enrich.is_any()),
            partners,
            bindings,
            state,
        }
    }

    pub(super) fn policy(&self, partner: &PartnerName) -> Policy {
        self.partners
            .get(partner)
            .map_or_else(Policy::default, |entry| entry.policy)
    }

    pub(super) fn enrich(&self, partner: &PartnerName) -> Wanted {
        self.partners
            .get(partner)
            .map_or_else(Wanted::default, |entry| entry.enrich)
    }

    /// What the partner's requests are timed by.
    pub(super) fn times(&self, partner: &PartnerName) -> Option<&TimesPage> {
        self.partners.get(partner).map(|entry| &entry.times)
    }

    /// The plugins that routes run on this node, with the memory of each one's largest instance.
    pub fn plugin_memory(&self) -> Vec<(Arc<str>, usize)> {
        let bound = self.bindings.values();
        bound
            .filter_map(|bound| match &bound.binding {
                Binding::Plugin(prepared, _) => Some((Arc::clone(prepared.label()), prepared.memory_bytes())),
                Binding::None | Binding::Unavailable(_) => None,
            })
            .collect()
    }

    pub(super) fn default_source(&self, partner: &PartnerName) -> Arc<str> {
        self.partners.get(partner).map_or_else(
            || fallback_source(partner),
            |entry| Arc::clone(&entry.default_source),
        )
    }

    pub(super) fn binding(&self, route: &RouteName) -> &Binding {
        self.bindings
            .get(route)
            .map_or(&Binding::None, |bound| &bound.binding)
    }

    /// Whether a route runs the plugin on this node.
    pub fn runs(&self, plugin: &PluginName) -> bool {
        self.bindings
            .values()
            .any(|bound| bound.made_from.plugin == *plugin && matches!(bound.binding, Binding::Plugin(..)))
    }

    /// Why a route's plugin cannot run on this node, where one of its routes has found that.
    pub fn unavailable(&self, plugin: &PluginName) -> Option<Arc<str>> {
        self.bindings.values().find_map(|bound| match &bound.binding {
            Binding::Unavailable(detail) if bound.made_from.plugin == *plugin => Some(Arc::clone(detail)),
            Binding::None | Binding::Plugin(..) | Binding::Unavailable(_) => None,
        })
    }

    /// The plugins that this node cannot run, with the reason: for readiness.
    pub fn unavailable_plugins(&self) -> Vec<(RouteName, Arc<str>)> {
        self.bindings
            .iter()
            .filter_map(|(route, bound)| match &bound.binding {
                Binding::Unavailable(detail) => Some((route.clone(), Arc::clone(detail))),
                Binding::None | Binding::Plugin(..) => None,
            })
            .collect()
    }
}

/// A signing key's secret; without it the key verifies nothing.
fn open(sealer: &Sealer, key: &Key) -> Option<SigningSecret> {
    let opened = sealer.open(&key.id, key.signing_secret.as_ref()?);
    if opened.is_none() {
        tracing::error!(
            key = key.id,
            "a signing key cannot be opened: it was sealed with another sealing key; give this node the same one \
             (keys.sealing_key), or make the signing key anew"
        );
    }
    opened
}

fn fallback_source(partner: &PartnerName) -> Arc<str> {
    format!("/partners/{partner}").into()
}

async fn bind(
    state: &State,
    plugin: &PluginName,
    route: &Route,
    previous: Option<&Bound>,
    registry: &Registry,
    transformer: &Arc<Transformer>,
    telemetry: &Telemetry,
) -> Bound {
    let active = state
        .plugins
        .get(plugin)
        .and_then(|entry| entry.value.active_version());
    let made_from = BoundFrom {
        plugin: plugin.clone(),
        version: active.map(|version| version.version),
        config: route.config.clone(),
    };
    if let Some(Bound {
        made_from: known,
        binding: Binding::Plugin(prepared, numbers),
    }) = previous
        && *known == made_from
    {
        let binding = Binding::Plugin(Arc::clone(prepared), Arc::clone(numbers));
        return Bound { made_from, binding };
    }
    let prepared = match active {
        None => Err(format!(
            "the plugin {plugin} has no active version; its events go out when it has"
        )),
        Some(version) => match registry.blob(version.digest).await {
            Ok(component) => transformer
                .prepare(plugin, version.version, component, route.config.as_ref())
                .await
                .map_err(|problem| format!("{plugin}@{} cannot run: {}", version.version, problem.detail)),
            Err(error) => {
                tracing::error!(%plugin, version = version.version, %error, "a plugin cannot be read from the store");
                Err(format!(
                    "{plugin}@{} cannot be read from the store",
                    version.version
                ))
            }
        },
    };
    let binding = match prepared {
        Ok(prepared) => {
            let numbers = telemetry.plugin(prepared.label());
            Binding::Plugin(prepared, numbers)
        }
        Err(detail) => {
            tracing::warn!(%plugin, detail, "a route's plugin is not available; its events go to quarantine");
            Binding::Unavailable(detail.into())
        }
    };
    Bound { made_from, binding }
}

impl Hints for Tables {
    fn schema(
        &self,
        event_type: &EventType,
        source: &str,
        app_version: Option<&str>,
    ) -> Option<Arc<serde_json::Value>> {
        match self.schemas.resolve(event_type, source, app_version) {
            Resolution::Found(schema, _) => schema.schema(),
            Resolution::TypeUnknown | Resolution::BelowAll { .. } | Resolution::Unreadable => None,
        }
    }
}
