//! The replays of this node, under way and done: what the API shows of them.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{limits::REPLAYS_SHOWN, problem::Problem, quarantine::Filter};

/// One replay.
pub(super) struct Run {
    id: Uuid,
    cause: &'static str,
    filter: Filter,
    started: Timestamp,
    pub total: AtomicU64,
    pub matched: AtomicU64,
    pub accepted: AtomicU64,
    ended: Mutex<Option<(Timestamp, Option<String>)>>,
}

impl Run {
    pub fn end(&self, problem: Option<&Problem>) {
        *self.ended.lock() = Some((
            Timestamp::now(),
            problem.map(|problem| format!("{}: {}", problem.code, problem.detail)),
        ));
    }
}

/// How far a replay is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Replay {
    pub id: String,
    /// `change`: a schema, route or plugin made events processable. `request`: somebody asked for it.
    pub cause: &'static str,
    /// `running`, `done` or `failed`.
    pub state: &'static str,
    /// Which events.
    pub filter: Filter,
    /// Events that matched when it began.
    pub total: u64,
    /// Events that were processed again until now.
    pub matched: u64,
    /// Of them, those that went out.
    pub accepted: u64,
    /// Of them, those that wait on.
    pub quarantined: u64,
    #[schema(value_type = String)]
    pub started: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ended: Option<Timestamp>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[derive(Default)]
pub(super) struct Runs(Mutex<VecDeque<Arc<Run>>>);

impl Runs {
    pub fn begin(&self, cause: &'static str, filter: &Filter) -> Arc<Run> {
        let run = Arc::new(Run {
            id: Uuid::now_v7(),
            cause,
            filter: filter.clone(),
            started: Timestamp::now(),
            total: AtomicU64::new(0),
            matched: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            ended: Mutex::new(None),
        });
        let mut runs = self.0.lock();
        if runs.len() >= REPLAYS_SHOWN {
            runs.pop_front();
        }
        runs.push_back(Arc::clone(&run));
        run
    }

    /// The newest first.
    pub fn shown(&self) -> Vec<Replay> {
        self.0.lock().iter().rev().map(|run| shown(run)).collect()
    }
}

fn shown(run: &Run) -> Replay {
    let accepted = run.accepted.load(Ordering::Relaxed);
    let matched = run.matched.load(Ordering::Relaxed).max(accepted);
    let ended = run.ended.lock().clone();
    let (ended, detail) = ended.map_or((None, None), |(at, detail)| (Some(at), detail));
    Replay {
        id: run.id.to_string(),
        cause: run.cause,
        state: match (&ended, &detail) {
            (None, _) => "running",
            (Some(_), None) => "done",
            (Some(_), Some(_)) => "failed",
        },
        filter: run.filter.clone(),
        total: run.total.load(Ordering::Relaxed).max(matched),
        matched,
        accepted,
        quarantined: matched - accepted,
        started: run.started,
        ended,
        detail,
    }
}
