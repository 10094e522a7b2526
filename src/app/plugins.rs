//! What the admin API asks of plugins: how they stand, and what a version would change.

use std::{collections::BTreeMap, sync::Arc};

use futures::FutureExt as _;

use super::{Gateway, rollback::Rollbacks};
use crate::{
    admin::{
        Asynchronous, PluginHealth, PluginLogs, PluginStanding, PluginStatus, PluginTest, Standings,
        VersionHealth,
    },
    event::{Decoded, PluginName},
    json::Document,
    limits::DEPTH_CEILING,
    pipeline::{Pipeline, PluginTrial, TrialReport, TrialRoute},
    problem::{Code, Problem},
    recent::{RecentEvent, RecentFilter},
    registry::{Registry, model::PluginVersion},
    telemetry::{Telemetry, catalogue},
    transform::{self, Prepared, Transformer},
};

impl Gateway {
    pub(super) fn standings(&self) -> Standings {
        let (pipeline, transformer) = (Arc::clone(&self.pipeline), Arc::clone(&self.transformer));
        Arc::new(move |plugin, versions| standing(&pipeline, &transformer, plugin, versions))
    }

    pub(super) fn plugin_logs(&self) -> PluginLogs {
        let transformer = Arc::clone(&self.transformer);
        Arc::new(move |plugin| transformer.log(plugin))
    }

    pub(super) fn plugin_tests(&self) -> Asynchronous<PluginTest, Result<TrialReport, Problem>> {
        let (pipeline, transformer) = (Arc::clone(&self.pipeline), Arc::clone(&self.transformer));
        let registry = self.registry.clone();
        Arc::new(move |wanted| {
            let (pipeline, registry) = (Arc::clone(&pipeline), registry.clone());
            test(pipeline, registry, Arc::clone(&transformer), wanted).boxed()
        })
    }
}

fn standing(
    pipeline: &Pipeline,
    transformer: &Transformer,
    plugin: &PluginName,
    versions: &[u32],
) -> PluginStanding {
    let tables = pipeline.tables();
    let unavailable = tables.unavailable(plugin);
    let ran = versions
        .iter()
        .filter_map(|version| Some((*version, shown(transformer.health(plugin, *version)?))));
    let counters = transformer
        .counters()
        .into_iter()
        .filter(|reading| reading.plugin == *plugin)
        .map(|reading| (reading.counter.to_string(), reading.value));
    PluginStanding {
        health: PluginHealth {
            status: match (&unavailable, tables.runs(plugin)) {
                (Some(_), _) => PluginStatus::Failing,
                (None, true) => PluginStatus::Ready,
                (None, false) => PluginStatus::Inactive,
            },
            detail: unavailable.map(|detail| detail.to_string()),
        },
        versions: ran.collect(),
        counters: counters.collect(),
        comparison: tables.shadow_report(plugin),
    }
}

/// How often versions were left by themselves.
pub(super) fn observe(telemetry: &Telemetry, rollbacks: Rollbacks) {
    telemetry.observe(&catalogue::PLUGIN_ROLLBACKS, move || {
        let counted = rollbacks.lock();
        let readings = counted.read().map(|(labels, count)| (count, labels.to_vec()));
        readings.collect()
    });
}

fn shown(health: transform::PluginHealth) -> VersionHealth {
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    VersionHealth {
        calls: health.calls,
        rejected: health.rejected,
        failed: health.failed,
        causes: health.causes.into_iter().collect::<BTreeMap<_, _>>(),
        outputs: health.outputs,
        instances: health.instances,
        time_p50_us: health.time_p50.map(micros),
        time_p99_us: health.time_p99.map(micros),
        memory_bytes: health.memory_bytes,
        last_failure: health.last_failure,
    }
}

async fn test(
    pipeline: Arc<Pipeline>,
    registry: Registry,
    transformer: Arc<Transformer>,
    test: PluginTest,
) -> Result<TrialReport, Problem> {
    let prepare = async |version: &PluginVersion, config: Option<&serde_json::Value>| {
        let component = registry.blob(version.digest).await.map_err(|error| {
            tracing::error!(plugin = %test.plugin, version = version.version, %error, "a component cannot be read");
            Problem::new(Code::StoreUnavailable, "the plugin's component cannot be read now; try again later")
        })?;
        transformer
            .prepare(&test.plugin, version.version, component, config)
            .await
    };
    let mut routes = Vec::new();
    let whole = [(None, None)];
    let are_cases = test.attested.is_some();
    let known = if are_cases {
        &[][..]
    } else {
        test.routes.as_slice()
    };
    let of_routes = known
        .iter()
        .map(|(route, config)| (Some(route.clone()), config.clone()));
    // Without a route the version is tried on whatever is given.
    for (route, own) in of_routes.chain(whole).take(known.len().max(1)) {
        let config = test.config.as_ref().or(own.as_ref());
        // Cases bring the configuration of both.
        let of_active = if are_cases { config } else { own.as_ref() };
        let candidate = prepare(&test.version, config).await?;
        let active: Option<Arc<Prepared>> = match &test.active {
            // One that cannot run any more is nothing to compare with.
            Some(version) => prepare(version, of_active).await.ok(),
            None => None,
        };
        routes.push(TrialRoute {
            route,
            candidate,
            active,
        });
    }
    let events = match test.events {
        Ok(events) => events,
        Err(count) => recent(&pipeline, &routes, count)?,
    };
    let attested = test.attested;
    let trial = PluginTrial {
        routes,
        events,
        attested,
    };
    pipeline.try_plugin(trial).await
}

/// The last events that go to the routes, the oldest first, as they came.
fn recent(pipeline: &Pipeline, routes: &[TrialRoute], count: usize) -> Result<Vec<Decoded>, Problem> {
    let tables = pipeline.tables();
    let goes = |event: &Decoded| {
        let matching = tables.routes.matching(event);
        routes.iter().any(|route| {
            matching
                .iter()
                .any(|matching| route.route.as_ref() == Some(&matching.name))
        })
    };
    let remembered = pipeline
        .recent()
        .events(&RecentFilter::default(), None, usize::MAX);
    let mut events: Vec<Decoded> = remembered
        .iter()
        .filter_map(|event| decoded(event))
        .filter(|event| goes(event))
        .take(count)
        .collect();
    events.reverse();
    if events.is_empty() {
        return Err(Problem::new(
            Code::InputInvalid,
            "none of the recent events of this node goes to a route with this plugin: give events",
        ));
    }
    Ok(events)
}

fn decoded(event: &RecentEvent) -> Option<Decoded> {
    Some(Decoded {
        partner: event.partner.clone(),
        attributes: Arc::clone(&event.attributes),
        data: Document::parse(event.data.clone(), DEPTH_CEILING).ok()?,
        received: event.received,
        id_generated: false,
        traceparent: None,
    })
}
