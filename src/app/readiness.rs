//! What this node can promise now, in readiness and metrics.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::{
    admin::{Check, Readiness},
    deliver::DestinationState,
    pipeline::Pipeline,
    quarantine::Figures,
    registry::Registry,
    telemetry::Telemetry,
    transform::{CounterReading, Transformer},
};

/// Whether this node can take events now, and on what that hangs. A destination that is down does not count against
/// it: its spool takes the records.
pub(super) fn of(pipeline: &Pipeline, registry: &Registry) -> Readiness {
    let running = Check {
        name: "running".to_owned(),
        ok: !pipeline.is_leaving(),
        detail: pipeline
            .is_leaving()
            .then(|| "this node is shutting down".to_owned()),
    };
    let health = registry.health();
    // A node that cannot follow the log serves with the last state it has.
    let registry = Check {
        name: "registry".to_owned(),
        ok: health.sequence > 0,
        detail: health.failing.map(|cause| {
            format!(
                "serving with change {}: the store cannot be read: {cause}",
                health.sequence
            )
        }),
    };
    let destinations = pipeline.destinations().iter().map(|destination| Check {
        name: format!("destination:{}", destination.name()),
        ok: true,
        detail: (destination.state() != DestinationState::Healthy)
            .then(|| format!("{} records wait in the spool", destination.pending().entries)),
    });
    let plugins = pipeline
        .tables()
        .unavailable_plugins()
        .into_iter()
        .map(|(route, detail)| Check {
            name: format!("route:{route}"),
            ok: true,
            detail: Some(format!("its events go to quarantine: {detail}")),
        });
    let checks: Vec<Check> = [running, registry]
        .into_iter()
        .chain(destinations)
        .chain(plugins)
        .collect();
    Readiness {
        ready: checks.iter().all(|check| check.ok),
        checks,
    }
}

/// Metrics of what is read rather than counted.
pub(super) fn observe(
    telemetry: &Telemetry,
    pipeline: &Arc<Pipeline>,
    registry: &Registry,
    transformer: &Arc<Transformer>,
    figures: Arc<ArcSwap<Figures>>,
) {
    accounts(telemetry, pipeline, transformer);
    let per_destination = |read: fn(&dyn crate::deliver::Destination) -> u64| {
        let pipeline = Arc::clone(pipeline);
        move || {
            pipeline
                .destinations()
                .iter()
                .map(|destination| {
                    let label = vec![("destination", destination.name().to_string())];
                    (read(destination.as_ref()), label)
                })
                .collect()
        }
    };
    telemetry.observe(
        "headworks.destination.state",
        "0 healthy, 1 draining its spool, 2 spooling",
        per_destination(|destination| match destination.state() {
            DestinationState::Healthy => 0,
            DestinationState::Draining => 1,
            DestinationState::Spooling => 2,
        }),
    );
    telemetry.observe(
        "headworks.spool.records",
        "Records that wait in a destination's spool",
        per_destination(|destination| destination.pending().entries),
    );
    telemetry.observe(
        "headworks.spool.size",
        "Bytes that wait in a destination's spool",
        per_destination(|destination| destination.pending().bytes),
    );
    let quarantine = Arc::clone(pipeline.quarantine());
    telemetry.observe(
        "headworks.quarantine.events",
        "Events that wait in quarantine",
        move || vec![(quarantine.len() as u64, Vec::new())],
    );
    let schemas = Arc::clone(pipeline);
    telemetry.observe(
        "headworks.schemas.uncompiled",
        "Schemas that are compiled when an event needs them",
        move || vec![(schemas.tables().schemas.compiler().missing() as u64, Vec::new())],
    );
    let schemas = Arc::clone(pipeline);
    telemetry.observe(
        "headworks.schemas.compilations",
        "Schemas compiled since the start, the same one again included",
        move || {
            let compilations = schemas.tables().schemas.compiler().compilations();
            vec![(compilations as u64, Vec::new())]
        },
    );
    quarantine_figures(telemetry, &figures);
    let recent = Arc::clone(pipeline.recent());
    telemetry.observe(
        "headworks.recent.size",
        "Bytes of the recent events that are remembered",
        move || vec![(recent.bytes(), Vec::new())],
    );
    let followed = registry.clone();
    telemetry.observe(
        "headworks.registry.store_failing",
        "1 while the store cannot be read and the last state is served",
        move || vec![(u64::from(followed.health().failing.is_some()), Vec::new())],
    );
    let registry = registry.clone();
    telemetry.observe(
        "headworks.registry.sequence",
        "The last registry change in force",
        move || vec![(registry.state().sequence, Vec::new())],
    );
}

/// What the quarantine's keeper has seen.
fn quarantine_figures(telemetry: &Telemetry, figures: &Arc<ArcSwap<Figures>>) {
    let read = |read: fn(&Figures) -> u64| {
        let figures = Arc::clone(figures);
        move || vec![(read(&figures.load()), Vec::new())]
    };
    telemetry.observe(
        "headworks.quarantine.size",
        "Bytes of the quarantine in the store",
        read(|figures| figures.bytes),
    );
    telemetry.observe(
        "headworks.quarantine.age",
        "Seconds since the oldest event in quarantine was kept",
        read(|figures| {
            let age = figures
                .oldest
                .map(|oldest| Timestamp::now().duration_since(oldest));
            age.map_or(0, |age| age.as_secs().unsigned_abs())
        }),
    );
    telemetry.observe(
        "headworks.quarantine.expiring",
        "Events in quarantine that retention drops before long: replay or discard them, or allow more",
        read(|figures| figures.expiring),
    );
    telemetry.observe(
        "headworks.quarantine.dropped",
        "Events that retention has dropped from quarantine since the start",
        read(|figures| figures.dropped),
    );
}

/// Where each record is. One instrument, so that all of a destination's numbers are of one moment.
fn accounts(telemetry: &Telemetry, pipeline: &Arc<Pipeline>, transformer: &Arc<Transformer>) {
    let accounted = Arc::clone(pipeline);
    telemetry.observe(
        "headworks.destination.records",
        "Records since the start: accepted + recovered = delivered + waiting + refused + no_place + in_flight + \
         unaccounted",
        move || {
            let mut readings = Vec::new();
            for destination in accounted.destinations().iter() {
                let counts = destination.counts();
                for (state, records) in [
                    ("accepted", counts.accepted),
                    ("recovered", counts.recovered),
                    ("delivered", counts.delivered),
                    ("waiting", counts.waiting),
                    ("refused", counts.refused),
                    ("no_place", counts.no_place),
                    ("in_flight", counts.in_flight),
                    ("unaccounted", counts.unaccounted),
                ] {
                    let labels = vec![
                        ("destination", destination.name().to_string()),
                        ("state", state.to_owned()),
                    ];
                    readings.push((records, labels));
                }
            }
            readings
        },
    );
    let transformer = Arc::clone(transformer);
    telemetry.observe_total(
        "headworks.plugin.counter",
        "What plugins count themselves",
        move || {
            let reading = |reading: CounterReading| {
                let labels = vec![
                    ("plugin", reading.plugin.to_string()),
                    ("counter", reading.counter.to_string()),
                ];
                (reading.value, labels)
            };
            transformer.counters().into_iter().map(reading).collect()
        },
    );
}
