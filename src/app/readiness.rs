//! What this node can promise now.

use std::path::PathBuf;

use crate::{
    admin::{Check, Readiness},
    deliver::{Destination, DestinationState},
    event::{DestinationName, TableName},
    limits::SPOOL_HEADROOM_BYTES,
    pipeline::{Lookups, Pipeline},
    registry::Registry,
    spool::Spool,
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
        ..Check::default()
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
        ..Check::default()
    };
    let destinations = pipeline.destinations().iter().map(|destination| Check {
        name: format!("destination:{}", destination.name()),
        ok: true,
        detail: standing(destination.as_ref()),
        state: Some(destination.state().as_str()),
    });
    let tables = pipeline.tables();
    let unavailable = tables.unavailable_plugins().into_iter();
    let unavailable =
        unavailable.map(|(route, detail)| (route, format!("its events go to quarantine: {detail}")));
    let routes = unavailable.chain(tables.delayed_plugins());
    let routes = routes.map(|(route, detail)| Check {
        name: format!("route:{route}"),
        ok: true,
        detail: Some(detail),
        ..Check::default()
    });
    let behind = tables.state.tables.iter().filter_map(|(name, known)| {
        let held = tables.lookups().held(name).map(|held| held.version);
        (held != Some(known.value.version)).then(|| behind(lookups, name, known.value.version, held))
    });
    let checks: Vec<Check> = [running, registry, place.check(pipeline)]
        .into_iter()
        .chain(destinations)
        .chain(routes)
        .chain(behind)
        .collect();
    Readiness {
        ready: checks.iter().all(|check| check.ok),
        checks,
    }
}

/// What a destination that is not healthy does, and what waits for it.
fn standing(destination: &dyn Destination) -> Option<String> {
    let state = destination.state();
    let waiting = destination.pending().entries;
    (state != DestinationState::Healthy)
        .then(|| format!("{}: {waiting} records wait in the spool", state.as_str()))
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
        ..Check::default()
    }
}

/// Below this much room on the disk the next records may not fit. Segments grow as they are written: a small disk is not
/// a full one.
const DISK_ROOM_BYTES: u64 = 2 * SPOOL_HEADROOM_BYTES;

/// Where records and quarantined events go that their destination does not take.
pub(super) struct Place {
    pub data_dir: PathBuf,
    pub event_bytes_max: u64,
}

/// One destination, and what its spool may still take.
struct Room {
    destination: DestinationName,
    /// Its records go through the spool now.
    needs_spool: bool,
    bytes: u64,
}

impl Place {
    fn check(&self, pipeline: &Pipeline) -> Check {
        let rooms = pipeline.destinations().iter().map(|destination| Room {
            destination: destination.name().clone(),
            needs_spool: destination.needs_spool(),
            bytes: destination.spool().map_or(u64::MAX, Spool::room_bytes),
        });
        let disk_bytes = rustix::fs::statvfs(&self.data_dir)
            .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        durable_place(&rooms.collect::<Vec<_>>(), disk_bytes, self.event_bytes_max)
    }
}

/// Not in order where no event that is taken now has a durable place: the disk is full and some destination needs it, or
/// no destination has room. While another has some, one that has none is only named: its events alone are refused.
fn durable_place(rooms: &[Room], disk_bytes: u64, event_bytes_max: u64) -> Check {
    let is_needed = rooms.iter().any(|room| room.needs_spool);
    // One partner may take four fifths of what is left.
    let has_none = |room: &&Room| room.needs_spool && room.bytes < 2 * event_bytes_max;
    let full: Vec<&str> = rooms
        .iter()
        .filter(has_none)
        .map(|room| room.destination.as_str())
        .collect();
    let is_disk_full = disk_bytes < DISK_ROOM_BYTES;
    let detail = if is_disk_full {
        Some(format!("the disk of data_dir has {disk_bytes} bytes left"))
    } else if full.is_empty() {
        None
    } else {
        Some(format!(
            "the spool has no room for {}: spool.max_bytes is reached, but for what others may take",
            full.join(", ")
        ))
    };
    let is_every_one_full = is_needed && full.len() == rooms.len();
    Check {
        name: "durable-place".to_owned(),
        ok: !(is_every_one_full || is_needed && is_disk_full),
        detail,
        ..Check::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{DISK_ROOM_BYTES, Room, durable_place};

    const EVENT_BYTES: u64 = 1000;

    fn room(needs_spool: bool, bytes: u64) -> Room {
        Room {
            destination: if needs_spool { "away" } else { "well" }.parse().expect("a name"),
            needs_spool,
            bytes,
        }
    }

    #[test]
    fn a_node_is_ready_as_long_as_some_destination_can_take_an_event() {
        let check = |rooms: &[Room], disk_bytes| {
            let check = durable_place(rooms, disk_bytes, EVENT_BYTES);
            (check.ok, check.detail)
        };
        let ample = DISK_ROOM_BYTES;
        assert_eq!(check(&[room(true, 2000), room(false, 0)], ample), (true, None));
        let (ok, detail) = check(&[room(true, 1999), room(true, 2000), room(false, 0)], ample);
        assert!(ok && detail.is_some_and(|detail| detail.contains("no room for away:")));
        let (ok, detail) = check(&[room(true, 1999), room(true, 0)], ample);
        assert!(!ok && detail.is_some_and(|detail| detail.contains("away, away")));
        let (ok, detail) = check(&[room(true, 2000), room(false, 0)], ample - 1);
        assert!(!ok && detail.is_some_and(|detail| detail.contains("bytes left")));
        let (ok, detail) = check(&[room(false, 2000)], 0);
        assert!(ok && detail.is_some(), "who needs no disk is only told");
        assert_eq!(check(&[], ample), (true, None));
    }
}
