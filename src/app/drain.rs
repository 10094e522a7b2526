//! A change of the registry replays what it may make processable, beside the traffic.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    pipeline::Pipeline,
    problem::Code,
    quarantine::Filter,
    registry::model::{State, TypeEntry, Versioned},
};

/// Hands changes to the one task that replays. Cheap to clone.
#[derive(Clone)]
pub(super) struct Drain {
    filters: mpsc::UnboundedSender<Filter>,
    task: Arc<tokio::task::JoinHandle<()>>,
}

impl Drain {
    pub fn start(pipeline: Arc<Pipeline>) -> Drain {
        // Unbounded, but filled only by changes of the registry, a few at a time.
        let (filters, mut wanted) = mpsc::unbounded_channel::<Filter>();
        let task = tokio::spawn(async move {
            while let Some(filter) = wanted.recv().await {
                match pipeline.replay_all(&filter).await {
                    Ok(report) if report.accepted > 0 => {
                        tracing::info!(
                            accepted = report.accepted,
                            waiting = report.quarantined,
                            code = filter.code.map(Code::as_str),
                            event_type = filter.event_type,
                            "a change replayed quarantined events"
                        );
                    }
                    Ok(_) => {}
                    Err(problem) => tracing::warn!(%problem, "a replay after a change ended early"),
                }
            }
        });
        Drain {
            filters,
            task: Arc::new(task),
        }
    }

    /// Replays what the step from `before` to `after` may have made processable.
    pub fn changed(&self, before: &State, after: &State) {
        for filter in affected(before, after) {
            // The task ends only with the gateway.
            let _ = self.filters.send(filter);
        }
    }

    pub fn stop(&self) {
        self.task.abort();
    }
}

fn affected(before: &State, after: &State) -> Vec<Filter> {
    let mut filters = Vec::new();
    let with = |code| Filter {
        code: Some(code),
        ..Filter::default()
    };
    for (event_type, entry) in &after.types {
        let unreadable = |entry: &Versioned<TypeEntry>| entry.value.unreadable_version;
        let before = before.types.get(event_type).map(|entry| unreadable(entry));
        if before.unwrap_or_default() != unreadable(entry) {
            filters.push(Filter {
                event_type: Some(event_type.to_string()),
                ..with(Code::VersionUnreadable)
            });
        }
    }
    for (event_type, schemas) in &after.schemas {
        let known = before.schemas.get(event_type);
        if known.is_none_or(|known| !Arc::ptr_eq(known, schemas)) {
            for code in [
                Code::SchemaUnknown,
                Code::VersionUnknown,
                Code::SchemaViolation,
                Code::UpgradeFailed,
            ] {
                filters.push(Filter {
                    event_type: Some(event_type.to_string()),
                    ..with(code)
                });
            }
        }
    }
    let route_is_new = after.routes.iter().any(|(name, route)| {
        before
            .routes
            .get(name)
            .is_none_or(|known| !Arc::ptr_eq(known, route))
    });
    if route_is_new {
        filters.push(with(Code::RouteUnknown));
        filters.push(with(Code::UpgradeFailed));
    }
    let plugin_is_new = after.plugins.iter().any(|(name, plugin)| {
        before
            .plugins
            .get(name)
            .is_none_or(|known| known.value.active != plugin.value.active)
    });
    if route_is_new || plugin_is_new {
        for code in [Code::PluginUnavailable, Code::PluginFailed, Code::PluginRejected] {
            filters.push(with(code));
        }
    }
    filters
}
