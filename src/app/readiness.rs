//! What this node can promise now, in readiness and metrics.

use std::sync::Arc;

use crate::{
    deliver::DestinationState,
    pipeline::Pipeline,
    registry::Registry,
    telemetry::Telemetry,
};

/// Why this node is not ready to take events; empty where it is. A destination that is down is no reason: its spool
/// takes the records.
pub(super) fn reasons(pipeline: &Pipeline, registry: &Registry) -> Vec<String> {
    let mut reasons = Vec::new();
    if pipeline.is_stopping() {
        reasons.push("this node is shutting down".to_owned());
    }
    if registry.state().sequence == 0 {
        reasons.push("the registry is not loaded".to_owned());
    }
    reasons
}

/// Metrics of what is read rather than counted.
pub(super) fn observe(telemetry: &Telemetry, pipeline: &Arc<Pipeline>, registry: &Arc<Registry>) {
    let state_value = |state| match state {
        DestinationState::Healthy => 0,
        DestinationState::Draining => 1,
        DestinationState::Spooling => 2,
    };
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
    let states = Arc::clone(pipeline);
    telemetry.observe(
        "headworks.destination.state",
        "0 healthy, 1 draining its spool, 2 spooling",
        move || {
            states
                .destinations()
                .iter()
                .map(|destination| {
                    let label = vec![("destination", destination.name().to_string())];
                    (state_value(destination.state()), label)
                })
                .collect()
        },
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
    telemetry.observe("headworks.quarantine.events", "Events that wait in quarantine", move || {
        vec![(quarantine.len() as u64, Vec::new())]
    });
    let registry = Arc::clone(registry);
    telemetry.observe("headworks.registry.sequence", "The last registry change in force", move || {
        vec![(registry.state().sequence, Vec::new())]
    });
}
