//! What the admin API has the other modules do.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use futures::FutureExt as _;

use super::{Gateway, admin, readiness};
use crate::{
    admin::{Actions, AdminState, Asynchronous, Jwt, Preparation, QuarantinePage, QuarantineQuery},
    config::Settings,
    confined::OWN_PROGRAM,
    pipeline::Preparations,
    problem::{Code, Problem},
    quarantine::{Quarantine, WholeItem},
    registry::model::Digest,
    transform::{ComponentFacts, PluginUse, Transformer},
    validate::{check, compatibility},
};

impl Gateway {
    pub(super) fn admin_state(&self, settings: &Settings, jwt: Option<Arc<Jwt>>) -> AdminState {
        AdminState {
            registry: self.registry.clone(),
            limits: Arc::new(settings.limits.clone()),
            recent: Arc::clone(self.pipeline.recent()),
            tap: Arc::clone(self.pipeline.tap()),
            lookups: Arc::clone(&self.lookups),
            sealer: self.sealer.clone(),
            actions: Arc::new(self.actions(settings)),
            references: Arc::default(),
            jwt,
            needs_certificate: admin::needs_certificate(&settings.server),
        }
    }

    fn actions(&self, settings: &Settings) -> Actions {
        let place = readiness::Place {
            data_dir: settings.data_dir.clone(),
            event_bytes_max: settings.limits.event_bytes.0,
        };
        let schema_bytes_max = settings.limits.schema_bytes.as_usize();
        let pipeline = || Arc::clone(&self.pipeline);
        let (named, counted, shown, seen) = (pipeline(), pipeline(), pipeline(), pipeline());
        let (replayed, discarded, ready, progress) = (pipeline(), pipeline(), pipeline(), pipeline());
        let (compiler, trial) = (Arc::clone(&self.transformer), Arc::clone(&self.preparations));
        let (registry, telemetry) = (self.registry.clone(), Arc::clone(&self.telemetry));
        let (lookups, tables) = (Arc::clone(&self.lookups), pipeline());
        Actions {
            destinations: Arc::new(move || {
                named
                    .destinations()
                    .iter()
                    .map(|destination| destination.name().clone())
                    .collect()
            }),
            check_schemas: Arc::new(move |candidates| {
                async move { check::check_apart(Path::new(OWN_PROGRAM), candidates, schema_bytes_max).await }
                    .boxed()
            }),
            compare: Arc::new(|pairs| {
                async move { compatibility::child::compare_apart(Path::new(OWN_PROGRAM), &pairs).await }
                    .boxed()
            }),
            compile: Arc::new(move |component| compile(Arc::clone(&compiler), component).boxed()),
            prepare: Arc::new(move |preparation| try_out(Arc::clone(&trial), preparation).boxed()),
            key_used: Arc::new(move |id| seen.tables().keys.last_used(id)),
            plugin_standing: self.standings(),
            plugin_log: self.plugin_logs(),
            test_plugin: self.plugin_tests(),
            list_quarantine: self.quarantine_pages(),
            quarantined_versions: Arc::new(move |event_type| {
                counted.quarantine().app_versions(event_type.as_str())
            }),
            get_quarantined: Arc::new(move |id| show(Arc::clone(shown.quarantine()), id).boxed()),
            replay: Arc::new(move |sweep| {
                let pipeline = Arc::clone(&replayed);
                async move {
                    pipeline
                        .replay(&sweep.filter, sweep.after, limit(sweep.limit), sweep.dry_run)
                        .await
                }
                .boxed()
            }),
            discard: Arc::new(move |sweep| {
                let pipeline = Arc::clone(&discarded);
                async move {
                    pipeline
                        .discard(&sweep.filter, limit(sweep.limit), sweep.dry_run)
                        .await
                }
                .boxed()
            }),
            replays: Arc::new(move || progress.replays()),
            readiness: Arc::new(move || {
                let readiness = readiness::of(&ready, &registry, &lookups, &place);
                async move { readiness }.boxed()
            }),
            lookup_tables: Arc::new(move || Arc::clone(tables.tables().lookups())),
            metrics: Arc::new(move || telemetry.prometheus_text()),
        }
    }
}

impl Gateway {
    fn quarantine_pages(&self) -> Asynchronous<QuarantineQuery, Result<QuarantinePage, Problem>> {
        let pipeline = Arc::clone(&self.pipeline);
        Arc::new(move |query| {
            let quarantine = Arc::clone(pipeline.quarantine());
            async move {
                quarantine
                    .list(&query.filter, query.after.as_deref(), query.limit)
                    .await
            }
            .boxed()
        })
    }
}

async fn compile(transformer: Arc<Transformer>, component: Bytes) -> Result<ComponentFacts, Problem> {
    transformer.compile(component).await
}

async fn try_out(preparations: Arc<Preparations>, preparation: Preparation) -> Result<(), Problem> {
    let Preparation {
        plugin,
        version,
        component,
        config,
        isolation,
    } = preparation;
    let digest = Digest::of(&component);
    let of = PluginUse::new(plugin, version, digest, config.as_ref(), isolation);
    preparations.try_out(of, component).await
}

async fn show(quarantine: Arc<Quarantine>, id: String) -> Result<Option<WholeItem>, Problem> {
    let kept = quarantine.get(&id).await?;
    kept.map(|kept| kept.whole()).transpose().map_err(|error| {
        tracing::error!(item = id, %error, "an item of the quarantine cannot be shown");
        Problem::new(Code::Internal, "the item cannot be shown; see the gateway's log")
    })
}

fn limit(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
