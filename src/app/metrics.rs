//! Metrics of what is read rather than counted.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::{
    deliver::{Destination, DestinationState},
    pipeline::Pipeline,
    quarantine::Figures,
    registry::Registry,
    telemetry::{Telemetry, catalogue},
    transform::{CounterReading, Transformer},
};

pub(super) fn observe(
    telemetry: &Telemetry,
    pipeline: &Arc<Pipeline>,
    registry: &Registry,
    transformer: &Arc<Transformer>,
    figures: &Arc<ArcSwap<Figures>>,
    spool_bytes_max: u64,
) {
    destinations(telemetry, pipeline);
    telemetry.observe(&catalogue::SPOOL_CAPACITY, move || {
        vec![(spool_bytes_max, Vec::new())]
    });
    plugins(telemetry, pipeline, transformer);
    quarantine(telemetry, pipeline, figures);
    let schemas = Arc::clone(pipeline);
    telemetry.observe(&catalogue::SCHEMAS_UNCOMPILED, move || {
        vec![(schemas.tables().schemas.compiler().missing() as u64, Vec::new())]
    });
    let schemas = Arc::clone(pipeline);
    telemetry.observe(&catalogue::SCHEMAS_COMPILATIONS, move || {
        let compilations = schemas.tables().schemas.compiler().compilations();
        vec![(compilations as u64, Vec::new())]
    });
    let recent = Arc::clone(pipeline.recent());
    telemetry.observe(&catalogue::RECENT_SIZE, move || {
        vec![(recent.bytes(), Vec::new())]
    });
    let followed = registry.clone();
    telemetry.observe(&catalogue::STORE_FAILING, move || {
        vec![(u64::from(followed.health().failing.is_some()), Vec::new())]
    });
    let registry = registry.clone();
    telemetry.observe(&catalogue::REGISTRY_SEQUENCE, move || {
        vec![(registry.state().sequence, Vec::new())]
    });
}

fn destinations(telemetry: &Telemetry, pipeline: &Arc<Pipeline>) {
    let each = |read: fn(&dyn Destination) -> u64| {
        let pipeline = Arc::clone(pipeline);
        move || {
            let destinations = pipeline.destinations().iter();
            destinations
                .map(|destination| {
                    let label = vec![destination.name().to_string()];
                    (read(destination.as_ref()), label)
                })
                .collect()
        }
    };
    telemetry.observe(
        &catalogue::DESTINATION_STATE,
        each(|destination| match destination.state() {
            DestinationState::Healthy => 0,
            DestinationState::Draining => 1,
            DestinationState::Spooling => 2,
        }),
    );
    telemetry.observe(
        &catalogue::SPOOL_RECORDS,
        each(|destination| destination.pending().entries),
    );
    telemetry.observe(
        &catalogue::SPOOL_SIZE,
        each(|destination| destination.pending().bytes),
    );
    telemetry.observe(
        &catalogue::SPOOL_DAMAGE,
        each(|destination| destination.damage().regions),
    );
    // One instrument for all accounts, so that a destination's numbers are of one moment.
    let accounted = Arc::clone(pipeline);
    telemetry.observe(&catalogue::DESTINATION_RECORDS, move || {
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
                readings.push((records, vec![destination.name().to_string(), state.to_owned()]));
            }
        }
        readings
    });
}

fn plugins(telemetry: &Telemetry, pipeline: &Arc<Pipeline>, transformer: &Arc<Transformer>) {
    let running = Arc::clone(pipeline);
    telemetry.observe(&catalogue::PLUGIN_MEMORY, move || {
        let mut largest = std::collections::BTreeMap::new();
        for (label, bytes) in running.tables().plugin_memory() {
            let known = largest.entry(label).or_insert(bytes);
            *known = bytes.max(*known);
        }
        let reading = |(label, bytes): (Arc<str>, usize)| {
            let (plugin, version) = label.rsplit_once('@').unwrap_or((&label, ""));
            (bytes as u64, vec![plugin.to_owned(), version.to_owned()])
        };
        largest.into_iter().map(reading).collect()
    });
    let unavailable = Arc::clone(pipeline);
    telemetry.observe(&catalogue::PLUGIN_UNAVAILABLE, move || {
        let routes = unavailable.tables().unavailable_plugins().len();
        vec![(routes as u64, Vec::new())]
    });
    let loading = Arc::clone(transformer);
    telemetry.observe(&catalogue::PLUGIN_CACHE, move || {
        let loads = loading.loads();
        let sources = [
            ("compiler", loads.compiled),
            ("disk", loads.disk),
            ("memory", loads.memory),
        ];
        sources.map(|(from, count)| (count, vec![from.to_owned()])).into()
    });
    let transformer = Arc::clone(transformer);
    telemetry.observe(&catalogue::PLUGIN_COUNTER, move || {
        let reading = |reading: CounterReading| {
            let labels = vec![reading.plugin.to_string(), reading.counter.to_string()];
            (reading.value, labels)
        };
        transformer.counters().into_iter().map(reading).collect()
    });
}

fn quarantine(telemetry: &Telemetry, pipeline: &Arc<Pipeline>, figures: &Arc<ArcSwap<Figures>>) {
    let quarantine = Arc::clone(pipeline.quarantine());
    telemetry.observe(&catalogue::QUARANTINE_EVENTS, move || {
        vec![(quarantine.len() as u64, Vec::new())]
    });
    // What the quarantine's keeper has seen.
    let read = |read: fn(&Figures) -> u64| {
        let figures = Arc::clone(figures);
        move || vec![(read(&figures.load()), Vec::new())]
    };
    telemetry.observe(&catalogue::QUARANTINE_SIZE, read(|figures| figures.bytes));
    telemetry.observe(
        &catalogue::QUARANTINE_AGE,
        read(|figures| {
            let age = figures
                .oldest
                .map(|oldest| Timestamp::now().duration_since(oldest));
            age.map_or(0, |age| age.as_secs().unsigned_abs())
        }),
    );
    telemetry.observe(&catalogue::QUARANTINE_EXPIRING, read(|figures| figures.expiring));
    telemetry.observe(&catalogue::QUARANTINE_DROPPED, read(|figures| figures.dropped));
}
