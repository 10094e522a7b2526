//! Looks after the quarantine (figures for metrics, retention, what can be removed from the store) and the quotas' file.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use serde_json::json;

use crate::{
    config::QuarantineSettings,
    pipeline::Quotas,
    quarantine::{Figures, Quarantine, Retention, Swept},
    registry::{Registry, model::Change},
};

/// Figures are made anew this often …
const FIGURES_INTERVAL: Duration = Duration::from_secs(10);
/// … and the store is tidied, and retention held, this often.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);
/// Counts of a day are written this often: a crash forgets no more than these.
const QUOTAS_INTERVAL: Duration = Duration::from_secs(1);
/// Between two warnings of what is to be dropped.
const WARNING_INTERVAL: Duration = Duration::from_hours(1);
/// Whose doing the audit trail calls it.
const BY: &str = "retention";

pub(super) fn retention(settings: &QuarantineSettings) -> Retention {
    const DAY: Duration = Duration::from_hours(24);
    Retention {
        max_age: (settings.max_age_days > 0).then(|| DAY * settings.max_age_days),
        max_bytes: (settings.max_bytes.0 > 0).then_some(settings.max_bytes.0),
    }
}

/// Begins; the figures are those of the last look. Ends with the quarantine.
pub(super) fn start(
    quarantine: &Arc<Quarantine>,
    registry: &Registry,
    retention: Retention,
) -> Arc<ArcSwap<Figures>> {
    let figures = Arc::new(ArcSwap::from_pointee(quarantine.figures(&retention)));
    let (weak, registry, seen) = (Arc::downgrade(quarantine), registry.clone(), Arc::clone(&figures));
    tokio::spawn(async move {
        let mut tidied = Instant::now();
        let mut warned: Option<Instant> = None;
        let mut dead = HashSet::new();
        loop {
            tokio::time::sleep(FIGURES_INTERVAL).await;
            let Some(quarantine) = weak.upgrade() else { return };
            if tidied.elapsed() >= TIDY_INTERVAL {
                hold(&quarantine, &registry, &retention).await;
                if let Err(problem) = quarantine.tidy(&mut dead).await {
                    tracing::warn!(%problem, "the quarantine's objects cannot be tidied now");
                }
                tidied = Instant::now();
            }
            let now = quarantine.figures(&retention);
            if now.expiring > 0 && warned.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL) {
                tracing::warn!(
                    events = now.expiring,
                    "events in quarantine come near the end of their retention: replay them, or raise \
                     quarantine.max_age_days or quarantine.max_bytes"
                );
                warned = Some(Instant::now());
            }
            seen.store(Arc::new(now));
        }
    });
    figures
}

/// Drops what is beyond retention, and says so first where it is never lost.
async fn hold(quarantine: &Quarantine, registry: &Registry, retention: &Retention) {
    loop {
        let swept = quarantine.surplus(retention);
        let Swept { too_old, too_many } = &swept;
        if too_old.is_empty() && too_many.is_empty() {
            return;
        }
        let detail = json!({"too_old": too_old.len(), "too_many": too_many.len()});
        let note = move |_: &_| {
            let change = Change::Note {
                action: "quarantine.expire".to_owned(),
                detail: detail.clone(),
            };
            Ok((Some(change), ()))
        };
        if let Err(problem) = registry.commit(BY, note).await {
            tracing::warn!(%problem, "nothing is dropped from quarantine: the audit trail cannot be written");
            return;
        }
        match quarantine.drop_surplus(&swept).await {
            Ok(0) => return,
            Ok(events) => tracing::warn!(
                events,
                "events were dropped from quarantine at the end of their retention"
            ),
            Err(problem) => {
                tracing::warn!(%problem, "nothing could be dropped from quarantine now");
                return;
            }
        }
    }
}

/// Writes the counts as long as somebody counts.
pub(super) fn keep_quotas(quotas: &Arc<Quotas>) {
    let weak = Arc::downgrade(quotas);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(QUOTAS_INTERVAL).await;
            let Some(quotas) = weak.upgrade() else { return };
            if tokio::task::spawn_blocking(move || write_quotas(&quotas))
                .await
                .is_err()
            {
                return;
            }
        }
    });
}

pub(super) fn write_quotas(quotas: &Quotas) {
    if let Err(error) = quotas.save() {
        tracing::warn!(%error, "the quotas' counts of today are kept in memory only");
    }
}
