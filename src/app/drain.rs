//! A change of the registry replays what it may make processable, beside the traffic.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::{
    pipeline::Pipeline,
    problem::Code,
    quarantine::Filter,
    registry::model::{Plugin, State, TypeEntry, Versioned},
    validate::References,
};

/// More types than this at once are replayed by what was wrong alone: each filter is a search of its own.
const TYPES_AT_ONCE: usize = 16;
/// After a replay that ended early.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
const OF_SCHEMAS: [Code; 4] = [
    Code::SchemaUnknown,
    Code::VersionUnknown,
    Code::SchemaViolation,
    Code::UpgradeFailed,
];
const OF_PLUGINS: [Code; 3] = [Code::PluginUnavailable, Code::PluginFailed, Code::PluginRejected];

/// What one step of the registry may have made processable.
struct Step {
    /// The registry's sequence after it; none where it is no step of the registry's.
    sequence: Option<u64>,
    filters: Vec<Filter>,
}

/// What has come into force.
pub(super) struct Change<'a> {
    pub before: &'a State,
    pub after: &'a State,
    /// Of `before`.
    pub references: &'a References,
    /// Lookup tables have rows on this node that they had not before.
    pub brings_rows: bool,
    /// A route runs a plugin's version that it lacked before.
    pub has_caught_up: bool,
    /// This node holds every lookup table and runs every plugin's version; where it does not, what waits for one is still
    /// to come.
    pub is_whole: bool,
}

/// Hands changes to the one task that replays. Cheap to clone.
#[derive(Clone)]
pub(super) struct Drain {
    steps: mpsc::UnboundedSender<Step>,
    task: Arc<tokio::task::JoinHandle<()>>,
    /// What the last life of this node had replayed for; none where that is not known.
    done: Option<u64>,
    has_begun: Arc<AtomicBool>,
}

impl Drain {
    /// `mark` is where it stands up to which change everything was replayed.
    pub fn start(pipeline: Arc<Pipeline>, mark: PathBuf) -> Drain {
        let done = std::fs::read_to_string(&mark)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        // Unbounded, but filled only by changes of the registry, a few at a time.
        let (steps, mut wanted) = mpsc::unbounded_channel::<Step>();
        let task = tokio::spawn(async move {
            let mut is_settled = false;
            while let Some(step) = wanted.recv().await {
                // Only the first step says that there are tables to process anything by.
                if !is_settled {
                    settle_last_life(&pipeline).await;
                    is_settled = true;
                }
                for filter in &step.filters {
                    replay(&pipeline, filter).await;
                }
                // Where it is lost, a few events are looked at once more.
                if let Some(sequence) = step.sequence
                    && let Err(error) = std::fs::write(&mark, sequence.to_string())
                {
                    tracing::warn!(path = %mark.display(), %error, "how far the quarantine was replayed is not noted");
                }
            }
        });
        Drain {
            steps,
            task: Arc::new(task),
            done,
            has_begun: Arc::default(),
        }
    }

    /// Replays what a change may have made processable. The first one is the start's: then all that waits, where
    /// changes were missed.
    pub fn changed(&self, change: &Change<'_>) {
        let after = change.after;
        let filters = if self.has_begun.swap(true, Ordering::Relaxed) {
            affected(change)
        } else if self.done == Some(after.sequence) {
            Vec::new()
        } else {
            let codes = OF_SCHEMAS
                .into_iter()
                .chain([Code::RouteUnknown, Code::VersionUnreadable])
                .chain(OF_PLUGINS);
            codes.map(of_code).collect()
        };
        let step = Step {
            sequence: change.is_whole.then_some(after.sequence),
            filters,
        };
        // The task ends only with the gateway.
        let _ = self.steps.send(step);
    }

    /// Replays, after a while, what failed since then: requests that were under way have kept it by then.
    pub fn replay_failed_since(&self, since: Option<Timestamp>, delay: Duration) {
        let steps = self.steps.clone();
        let filter = Filter {
            from: since,
            ..of_code(Code::PluginFailed)
        };
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // The task ends only with the gateway.
            let _ = steps.send(Step {
                sequence: None,
                filters: vec![filter],
            });
        });
    }

    pub fn stop(&self) {
        self.task.abort();
    }
}

/// Nothing is replayed before it is known what a crash left half done.
async fn settle_last_life(pipeline: &Arc<Pipeline>) {
    loop {
        match pipeline.recover().await {
            Ok(0) => return,
            Ok(settled) => {
                tracing::info!(settled, "a replay that was broken off was brought to its end");
                return;
            }
            Err(problem) => tracing::warn!(%problem, "a replay that was broken off cannot be settled yet"),
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

async fn replay(pipeline: &Arc<Pipeline>, filter: &Filter) {
    loop {
        match pipeline.replay_all(filter).await {
            Ok(report) if report.accepted > 0 => tracing::info!(
                accepted = report.accepted,
                waiting = report.quarantined,
                code = filter.code.map(Code::as_str),
                event_type = filter.event_type,
                "a change replayed quarantined events"
            ),
            Ok(_) => {}
            Err(problem) => {
                tracing::warn!(%problem, "a replay after a change ended early; it is tried again");
                tokio::time::sleep(RETRY_INTERVAL).await;
                continue;
            }
        }
        return;
    }
}

fn of_code(code: Code) -> Filter {
    Filter {
        code: Some(code),
        ..Filter::default()
    }
}

fn affected(change: &Change<'_>) -> Vec<Filter> {
    let (before, after, references) = (change.before, change.after, change.references);
    let mut filters = Vec::new();
    for (event_type, entry) in &after.types {
        let unreadable = |entry: &Versioned<TypeEntry>| entry.value.unreadable_version;
        let before = before.types.get(event_type).map(|entry| unreadable(entry));
        if before.unwrap_or_default() != unreadable(entry) {
            filters.push(Filter {
                event_type: Some(event_type.to_string()),
                ..of_code(Code::VersionUnreadable)
            });
        }
    }
    // With those of which a schema refers to what has changed.
    let types: BTreeSet<String> = references
        .update(&after.schemas)
        .1
        .iter()
        .filter(|event_type| after.schemas.contains_key(*event_type))
        .map(ToString::to_string)
        .collect();
    if types.len() > TYPES_AT_ONCE {
        filters.extend(OF_SCHEMAS.map(of_code));
    } else {
        for event_type in types {
            filters.extend(OF_SCHEMAS.map(|code| Filter {
                event_type: Some(event_type.clone()),
                ..of_code(code)
            }));
        }
    }
    let route_is_new = after.routes.iter().any(|(name, route)| {
        before
            .routes
            .get(name)
            .is_none_or(|known| !Arc::ptr_eq(known, route))
    });
    if route_is_new {
        filters.push(of_code(Code::RouteUnknown));
        filters.push(of_code(Code::UpgradeFailed));
    }
    let plugin_is_new = after.plugins.iter().any(|(name, plugin)| {
        before.plugins.get(name).is_none_or(|known| {
            let takes = |plugin: &Plugin| (plugin.active, plugin.share);
            takes(&known.value) != takes(&plugin.value)
        })
    });
    if route_is_new || plugin_is_new || change.brings_rows || change.has_caught_up {
        filters.extend(OF_PLUGINS.map(of_code));
    }
    filters
}
