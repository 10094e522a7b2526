//! Build and try at each save.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use notify::{RecursiveMode, Watcher};
use serde_json::Value;

use super::{ProjectError, Report, cases::lines_changed, test_local};
use crate::transform::Transformer;

/// An editor writes a file in several steps; a formatter follows.
const QUIET: Duration = Duration::from_millis(150);
/// Folders that a build writes to, and that no author edits.
const NOT_WATCHED: [&str; 4] = ["build", "node_modules", "target", "__pycache__"];

/// What a save changed.
pub struct Round<'a> {
    pub report: Result<&'a Report, &'a ProjectError>,
    /// Cases whose outcome is not what it was at the round before, with the lines that went and came.
    pub changed: Vec<(String, String)>,
}

/// Builds the plugin in `directory` and runs its cases, now and at each save, until `show` gives false.
pub async fn dev(
    directory: &Path,
    transformer: &Transformer,
    mut show: impl FnMut(Round<'_>) -> bool,
) -> Result<(), ProjectError> {
    let (sender, events) = mpsc::channel();
    let root = std::path::absolute(directory).map_err(super::io_error(directory))?;
    let watched = root.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let matters = event.is_ok_and(|event| {
            !event.kind.is_access() && event.paths.iter().any(|path| is_source(&watched, path))
        });
        if matters {
            // Nobody waits any more where `dev` has ended.
            let _ = sender.send(());
        }
    })
    .map_err(|error| ProjectError::Watch(error.to_string()))?;
    watcher
        .watch(&root, RecursiveMode::Recursive)
        .map_err(|error| ProjectError::Watch(error.to_string()))?;
    let mut before: Option<BTreeMap<String, Value>> = None;
    loop {
        let report = test_local(directory, None, transformer).await;
        let mut changed = Vec::new();
        if let Ok(report) = &report {
            let now: BTreeMap<_, _> = report
                .cases
                .iter()
                .map(|case| (case.name.clone(), case.actual.clone()))
                .collect();
            if let Some(before) = &before {
                changed = differences(before, &now);
            }
            before = Some(now);
        }
        if !show(Round {
            report: report.as_ref(),
            changed,
        }) || !next_save(&events)
        {
            return Ok(());
        }
    }
}

fn differences(before: &BTreeMap<String, Value>, now: &BTreeMap<String, Value>) -> Vec<(String, String)> {
    now.iter()
        .filter_map(|(case, after)| {
            let before = before.get(case)?;
            (before != after).then(|| (case.clone(), lines_changed(before, after)))
        })
        .collect()
}

/// Waits for a save and for the quiet after it; false where no more can come.
fn next_save(events: &mpsc::Receiver<()>) -> bool {
    if events.recv().is_err() {
        return false;
    }
    loop {
        match events.recv_timeout(QUIET) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

fn is_source(root: &Path, path: &Path) -> bool {
    path.strip_prefix(root).is_ok_and(|path| {
        path.iter().all(|part| {
            let part = part.to_string_lossy();
            !part.starts_with('.') && !NOT_WATCHED.contains(&&*part) && !part.ends_with('~')
        })
    })
}
