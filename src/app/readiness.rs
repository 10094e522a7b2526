//! What this node can promise now.

use std::path::PathBuf;

use crate::{
    admin::{Check, Readiness},
    deliver::DestinationState,
    event::TableName,
    limits::SPOOL_HEADROOM_BYTES,
    pipeline::{Lookups, Pipeline},
    registry::Registry,
};

/// Whether this node can take events now, and on what that hangs. A destination that is down does not count against
/// it: its spool takes the records.
pub(super) fn of(pipeline: &Pipeline, registry: &Registry, lookups: &Lookups, place: &Place) -> Readiness {
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
    let tables = pipeline.tables();
    let behind = tables.state.tables.iter().filter_map(|(name, known)| {
        let held = tables.lookups().held(name).map(|held| held.version);
        (held != Some(known.value.version)).then(|| behind(lookups, name, known.value.version, held))
    });
    let checks: Vec<Check> = [running, registry, place.check(pipeline)]
        .into_iter()
        .chain(destinations)
        .chain(plugins)
        .chain(behind)
        .collect();
    Readiness {
        ready: checks.iter().all(|check| check.ok),
        checks,
    }
}

/// A lookup table of which this node does not hold the registry's version.
fn behind(lookups: &Lookups, name: &TableName, version: u64, held: Option<u64>) -> Check {
    let cause = match lookups.fault(name, version) {
        Some(fault) => format!("version {version} cannot be loaded: {fault}"),
        None => format!("version {version} is being loaded"),
    };
    let meanwhile = match held {
        Some(held) => format!("version {held} serves"),
        None => "events that look it up go to quarantine".to_owned(),
    };
    Check {
        name: format!("table:{name}"),
        ok: true,
        detail: Some(format!("{meanwhile}: {cause}")),
    }
}

/// Below this much room the next records may not fit. Segments grow as they are written: a small disk is not a full one.
const ROOM_BYTES: u64 = 2 * SPOOL_HEADROOM_BYTES;

/// Where records and quarantined events go that their destination does not take.
pub(super) struct Place {
    pub data_dir: PathBuf,
    pub spool_bytes_max: u64,
}

impl Place {
    /// Not in order where an event that is taken now may have no durable place: the spool or its disk is full, and some
    /// destination needs it.
    fn check(&self, pipeline: &Pipeline) -> Check {
        let destinations = || pipeline.destinations().iter();
        let waiting: u64 = destinations()
            .map(|destination| destination.pending().bytes)
            .sum();
        let free = rustix::fs::statvfs(&self.data_dir)
            .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        let full = match (waiting >= self.spool_bytes_max, free < ROOM_BYTES) {
            (true, _) => Some(format!(
                "the spools are full: {waiting} bytes wait of spool.max_bytes = {}",
                self.spool_bytes_max
            )),
            (false, true) => Some(format!("the disk of data_dir has {free} bytes left")),
            (false, false) => None,
        };
        let is_needed = destinations().any(|destination| {
            destination.kind() == "file" || destination.state() != DestinationState::Healthy
        });
        Check {
            name: "durable-place".to_owned(),
            ok: full.is_none() || !is_needed,
            detail: full,
        }
    }
}
