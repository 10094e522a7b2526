//! What one registry state means for events: keys, compiled schemas, routes, plugins. Built beside the traffic, swapped
//! in whole.

use std::{collections::HashMap, sync::Arc};

use super::{
    bindings::{Binder, Binding, Bindings},
    enrich::Wanted,
    envelopes::Envelopes,
    lookups::Lookups,
    preparations::Preparations,
    rates::Rates,
    shadow::ShadowReport,
    shares::Shares,
};
use crate::{
    authenticate::Keys,
    decode::Hints,
    event::{EventType, PartnerName, PluginName, RouteName},
    lookup::TableSet,
    registry::{
        model::{Key, Policy, SigningSecret, State},
        seal::Sealer,
    },
    route::Routes,
    telemetry::{Telemetry, TimesPage},
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
    partners: HashMap<PartnerName, PartnerEntry, foldhash::fast::FixedState>,
    /// Of some partner.
    pub(super) some_enrich: bool,
    bindings: Bindings,
    lookups: Arc<TableSet>,
}

struct PartnerEntry {
    policy: Policy,
    default_source: Arc<str>,
    enrich: Wanted,
    times: TimesPage,
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
        preparations: &Arc<Preparations>,
        lookups: &Arc<Lookups>,
        sealer: &Sealer,
        telemetry: &Telemetry,
    ) -> Tables {
        let partners: HashMap<PartnerName, PartnerEntry, foldhash::fast::FixedState> = state
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
        let binder = Binder {
            state: &state,
            preparations,
            telemetry,
        };
        preparations.compile_ahead(&previous.state, &state);
        let (schemas, fresh) = Schemas::change(&state, &previous.schemas);
        // Each waits a little; nobody waits for all of them after one another.
        let (bindings, (), lookups) = tokio::join!(
            Bindings::build(&binder, &previous.bindings),
            fresh.compile(),
            lookups.build(&state, &previous.lookups),
        );
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
            lookups,
            state,
        }
    }

    pub(super) fn policy(&self, partner: &PartnerName) -> Policy {
        self.partners
            .get(partner)
            .map_or_else(Policy::default, |entry| entry.policy)
    }

    /// What is hidden of the type's events where they are shown.
    pub(super) fn mask(&self, event_type: &EventType) -> &[String] {
        let entry = self.state.types.get(event_type);
        entry.map_or(&[], |entry| entry.value.mask.as_slice())
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
        self.bindings.memory()
    }

    pub(super) fn default_source(&self, partner: &PartnerName) -> Arc<str> {
        self.partners.get(partner).map_or_else(
            || fallback_source(partner),
            |entry| Arc::clone(&entry.default_source),
        )
    }

    pub(super) fn binding(&self, route: &RouteName) -> &Binding {
        self.bindings.of(route)
    }

    /// The lookup tables that plugins read.
    pub fn lookups(&self) -> &Arc<TableSet> {
        &self.lookups
    }

    /// Whether this node holds the registry's version of every lookup table.
    pub fn has_all_lookups(&self) -> bool {
        self.state.tables.iter().all(|(name, known)| {
            let held = self.lookups.held(name);
            held.is_some_and(|held| held.version == known.value.version)
        })
    }

    /// Whether every route runs the versions that the registry says on this node.
    pub fn has_all_plugins(&self) -> bool {
        self.bindings.is_whole()
    }

    /// Whether a route runs now what it lacked in the tables before these.
    pub fn has_caught_up(&self) -> bool {
        self.bindings.has_caught_up()
    }

    /// The routes that run an earlier version than the registry says, with that one and the reason: for readiness.
    pub fn delayed_plugins(&self) -> Vec<(RouteName, String)> {
        self.bindings.all_delayed()
    }

    /// Whether a route runs the plugin on this node.
    pub fn runs(&self, plugin: &PluginName) -> bool {
        self.bindings.runs(plugin)
    }

    /// Why a route's plugin cannot run on this node, where one of its routes has found that.
    pub fn unavailable(&self, plugin: &PluginName) -> Option<Arc<str>> {
        self.bindings.unavailable(plugin)
    }

    /// The plugins that this node cannot run, with the reason: for readiness.
    pub fn unavailable_plugins(&self) -> Vec<(RouteName, Arc<str>)> {
        self.bindings.all_unavailable()
    }

    /// How the plugin's shadow version compares with its active one on this node.
    pub fn shadow_report(&self, plugin: &PluginName) -> Option<ShadowReport> {
        self.bindings.shadow_report(plugin)
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
