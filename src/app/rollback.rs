//! Goes back by itself from a version that fails where the one before did not.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::Mutex;

use super::drain::Drain;
use crate::{
    config::PluginSettings,
    event::PluginName,
    limits::ROLLBACK_LABEL_SETS,
    registry::{
        Registry,
        model::{Change, Plugin, RegressionFigures},
    },
    telemetry::OTHER,
    transform::{CallCount, Transformer},
};

const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Between two samples of how versions fared before.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);
/// Requests that were under way at the rollback have kept what failed by then.
const LATE: Duration = Duration::from_secs(5);
/// Whose doing the audit trail calls it.
const BY: &str = "automatic rollback";
/// Standard errors by which a version must fail more often than one that failed too: less may be chance.
const STANDARD_ERRORS: f64 = 3.0;

type Counts = HashMap<(PluginName, u32), CallCount>;

/// How often versions were left since the start, for metrics.
pub(super) type Rollbacks = Arc<Mutex<RollbackCounts>>;

/// By plugin, version and the commonest cause of its failures.
#[derive(Debug, Default)]
pub(super) struct RollbackCounts(BTreeMap<[String; 3], u64>);

impl RollbackCounts {
    fn add(&mut self, plugin: &PluginName, version: u32, cause: &str) {
        let mut labels = [plugin.to_string(), version.to_string(), cause.to_owned()];
        if self.0.len() >= ROLLBACK_LABEL_SETS && !self.0.contains_key(&labels) {
            labels = [OTHER.to_owned(), OTHER.to_owned(), cause.to_owned()];
        }
        *self.0.entry(labels).or_default() += 1;
    }

    pub(super) fn read(&self) -> impl Iterator<Item = (&[String; 3], u64)> {
        self.0.iter().map(|(labels, count)| (labels, *count))
    }
}

/// The cause of most failures; of two that are as common, the first.
fn commonest(causes: &[(&'static str, u64)]) -> &'static str {
    let most = causes.iter().map(|(_, failed)| *failed).max();
    let first = causes.iter().find(|(_, failed)| Some(*failed) == most);
    first.map_or(OTHER, |first| first.0)
}

/// Begins to look; ends with the transformer.
pub(super) fn start(
    settings: &PluginSettings,
    registry: &Registry,
    transformer: &Arc<Transformer>,
    drain: &Drain,
) -> Rollbacks {
    let rollbacks = Rollbacks::default();
    if settings.rollback_percent == 0 {
        return rollbacks;
    }
    let mut watch = Watch::new(settings.clone());
    let (registry, drain, done) = (registry.clone(), drain.clone(), Arc::clone(&rollbacks));
    let transformer = Arc::downgrade(transformer);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let Some(transformer) = transformer.upgrade() else {
                return;
            };
            let state = registry.state();
            let plugins = state.plugins.iter().map(|(name, known)| (name, &known.value));
            let regressions = watch.look(plugins, Timestamp::now(), |plugin, version| {
                transformer.call_count(plugin, version)
            });
            for (plugin, mut cause) in regressions {
                let (version, mut why) = (cause.version, OTHER);
                if let Some(health) = transformer.health(&plugin, version) {
                    why = commonest(&health.causes);
                    cause.last_failure = health.last_failure;
                }
                let activated = state.plugins.get(&plugin).and_then(|known| known.value.activated);
                if roll_back(&registry, &plugin, cause, activated).await {
                    done.lock().add(&plugin, version, why);
                    drain.replay_failed_since(activated, LATE);
                }
            }
        }
    });
    rollbacks
}

/// False where somebody was quicker, or the store cannot be written: then it is tried at the next look.
async fn roll_back(
    registry: &Registry,
    plugin: &PluginName,
    cause: RegressionFigures,
    activated: Option<Timestamp>,
) -> bool {
    let (name, figures) = (plugin.clone(), cause.clone());
    let decide = move |state: &crate::registry::model::State| {
        let known = state.plugins.get(&name).map(|known| &known.value);
        let is_there = known.is_some_and(|known| {
            known.active == Some(figures.version) && known.activated == activated && known.previous.is_some()
        });
        let change = is_there.then(|| Change::RollBackPlugin {
            plugin: name.clone(),
            cause: Some(figures.clone()),
        });
        Ok((change, is_there))
    };
    match registry.commit(BY, decide).await {
        Ok(committed) if committed.outcome => {
            tracing::error!(
                %plugin,
                version = cause.version,
                calls = cause.calls,
                failed = cause.failed,
                last_failure = cause.last_failure,
                "a version fails more often than the one before: rolled back to it; what failed is replayed"
            );
            true
        }
        Ok(_) => false,
        Err(problem) => {
            tracing::error!(%plugin, version = cause.version, %problem, "a failing version cannot be rolled back now");
            false
        }
    }
}

/// What is known of the versions' calls until now.
struct Watch {
    settings: PluginSettings,
    /// At the last look.
    last: Counts,
    /// Where the active versions stood when they were activated.
    begun: HashMap<PluginName, (u32, Option<Timestamp>, CallCount)>,
    /// The oldest first.
    samples: VecDeque<Counts>,
    sampled: Option<Instant>,
}

impl Watch {
    fn new(settings: PluginSettings) -> Watch {
        Watch {
            settings,
            last: Counts::new(),
            begun: HashMap::new(),
            samples: VecDeque::new(),
            sampled: None,
        }
    }

    /// The plugins whose active version is to be left.
    fn look<'a>(
        &mut self,
        plugins: impl Iterator<Item = (&'a PluginName, &'a Plugin)>,
        now: Timestamp,
        count: impl Fn(&PluginName, u32) -> CallCount,
    ) -> Vec<(PluginName, RegressionFigures)> {
        let mut counts = Counts::new();
        let mut found = Vec::new();
        for (name, plugin) in plugins.filter(|(_, plugin)| plugin.versions.len() > 1) {
            for version in &plugin.versions {
                let version = version.version;
                counts.insert((name.clone(), version), count(name, version));
            }
            let (Some(active), Some(previous)) = (plugin.active, plugin.previous) else {
                continue;
            };
            let at =
                |counts: &Counts, version| counts.get(&(name.clone(), version)).copied().unwrap_or_default();
            let known = self.begun.get(name);
            if known
                .is_none_or(|(version, activated, _)| (*version, *activated) != (active, plugin.activated))
            {
                // Before the last look it had no event of this activation.
                let begun = (active, plugin.activated, at(&self.last, active));
                self.begun.insert(name.clone(), begun);
            }
            let begun = self
                .begun
                .get(name)
                .map(|(_, _, begun)| *begun)
                .unwrap_or_default();
            let new = at(&counts, active).since(begun);
            let before = self
                .samples
                .front()
                .map(|sample| at(sample, previous))
                .unwrap_or_default();
            let old = at(&counts, previous).since(before);
            let is_recent = plugin.activated.is_some_and(|activated| {
                now.duration_since(activated).as_secs() <= i64::from(self.settings.rollback_window_s)
            });
            if is_recent && self.is_regression(new, old) {
                found.push((
                    name.clone(),
                    RegressionFigures {
                        version: active,
                        calls: new.calls,
                        failed: new.failed,
                        previous_calls: old.calls,
                        previous_failed: old.failed,
                        last_failure: None,
                    },
                ));
            }
        }
        self.remember(counts);
        found
    }

    fn is_regression(&self, new: CallCount, old: CallCount) -> bool {
        let PluginSettings {
            rollback_percent,
            rollback_calls,
            ..
        } = self.settings;
        let passes = new.failed.saturating_mul(100) > new.calls.saturating_mul(rollback_percent.into());
        new.calls >= u64::from(rollback_calls) && passes && is_above(new, old)
    }

    fn remember(&mut self, counts: Counts) {
        if self
            .sampled
            .is_none_or(|sampled| sampled.elapsed() >= SAMPLE_INTERVAL)
        {
            let window = Duration::from_secs(self.settings.rollback_window_s.into());
            let most = window.as_secs().div_ceil(SAMPLE_INTERVAL.as_secs()) * 2;
            self.samples.push_back(counts.clone());
            while self.samples.len() as u64 > most {
                self.samples.pop_front();
            }
            self.sampled = Some(Instant::now());
        }
        self.last = counts;
    }
}

/// Whether `new` fails more often than `old`, beyond chance.
#[expect(
    clippy::cast_precision_loss,
    reason = "rates need no more than a double holds"
)]
fn is_above(new: CallCount, old: CallCount) -> bool {
    if old.failed == 0 || old.calls == 0 {
        return new.failed > 0;
    }
    let rate = |count: CallCount| count.failed as f64 / count.calls as f64;
    let both = (new.failed + old.failed) as f64 / (new.calls + old.calls) as f64;
    let error = (both * (1.0 - both) * (1.0 / new.calls as f64 + 1.0 / old.calls as f64)).sqrt();
    rate(new) - rate(old) > STANDARD_ERRORS * error
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::{CallCount, Plugin, PluginName, PluginSettings, RollbackCounts, Watch, commonest, is_above};
    use crate::{
        limits::ROLLBACK_LABEL_SETS,
        registry::model::{Digest, PluginVersion},
    };

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn settings() -> PluginSettings {
        PluginSettings {
            rollback_percent: 1,
            rollback_calls: 100,
            rollback_window_s: 300,
        }
    }

    fn count(calls: u64, failed: u64) -> CallCount {
        CallCount { calls, failed }
    }

    fn plugin(activated: Timestamp) -> Plugin {
        let version = |version| PluginVersion {
            version,
            digest: Digest::of(&[0]),
            size: 1,
            imports: Vec::new(),
            language: None,
            sdk: None,
            created: NOW,
            by: "test".to_owned(),
        };
        Plugin {
            active: Some(2),
            previous: Some(1),
            activated: Some(activated),
            versions: vec![version(1), version(2)],
            ..Plugin::default()
        }
    }

    /// What is found after versions 1 and 2 came to these counts.
    fn found(watch: &mut Watch, plugin: &Plugin, now: Timestamp, counts: [CallCount; 2]) -> bool {
        let name: PluginName = "calls".parse().expect("a name");
        let [one, two] = counts;
        let looked = watch.look([(&name, plugin)].into_iter(), now, |_, version| match version {
            1 => one,
            _ => two,
        });
        !looked.is_empty()
    }

    #[test]
    fn a_failing_version_is_found_after_enough_calls() {
        let (mut watch, plugin) = (Watch::new(settings()), plugin(NOW));
        assert!(
            !found(&mut watch, &plugin, NOW, [count(500, 0), count(99, 99)]),
            "99 calls tell nothing"
        );
        assert!(found(&mut watch, &plugin, NOW, [count(500, 0), count(100, 2)]));
        assert!(
            !found(&mut watch, &plugin, NOW, [count(500, 0), count(200, 2)]),
            "1 % is allowed"
        );
    }

    #[test]
    fn calls_of_an_earlier_activation_do_not_count() {
        let mut watch = Watch::new(settings());
        let mut idle = plugin(NOW);
        (idle.active, idle.previous) = (Some(1), None);
        assert!(!found(&mut watch, &idle, NOW, [count(500, 0), count(1000, 900)]));
        let plugin = plugin(NOW);
        assert!(!found(
            &mut watch,
            &plugin,
            NOW,
            [count(500, 0), count(1150, 900)]
        ));
        assert!(found(&mut watch, &plugin, NOW, [count(500, 0), count(1150, 903)]));
    }

    #[test]
    fn what_is_old_is_left_alone() {
        let (mut watch, plugin) = (Watch::new(settings()), plugin(NOW));
        let late = NOW + SignedDuration::from_secs(301);
        assert!(!found(
            &mut watch,
            &plugin,
            late,
            [count(500, 0), count(1000, 900)]
        ));
    }

    #[test]
    fn a_version_that_fails_as_the_one_before_is_not_to_blame() {
        assert!(!is_above(count(200, 12), count(1000, 50)));
        assert!(is_above(count(200, 40), count(1000, 50)));
        assert!(is_above(count(100, 2), count(0, 0)));
        assert!(!is_above(count(100, 100), count(1000, 1000)));
    }

    #[test]
    fn rollbacks_are_counted_by_version_and_cause_within_a_bound() {
        let plugin: PluginName = "calls".parse().expect("a name");
        let mut counts = RollbackCounts::default();
        let versions = u32::try_from(ROLLBACK_LABEL_SETS).expect("a small number") + 7;
        for version in 1..=versions {
            counts.add(&plugin, version, "trap");
        }
        counts.add(&plugin, 3, "trap");
        counts.add(&plugin, 3, "time");
        let of = |labels: [&str; 3]| {
            let found = counts
                .read()
                .find(|(known, _)| *known == &labels.map(str::to_owned));
            found.map(|(_, count)| count)
        };
        assert_eq!(of(["calls", "2", "trap"]), Some(1));
        assert_eq!(of(["calls", "3", "trap"]), Some(2));
        assert_eq!(of(["other", "other", "trap"]), Some(7));
        assert_eq!(of(["other", "other", "time"]), Some(1));
        assert_eq!(counts.read().count(), ROLLBACK_LABEL_SETS + 2);
    }

    #[test]
    fn the_cause_is_that_of_most_failures() {
        assert_eq!(commonest(&[("time", 1), ("trap", 3), ("broken", 3)]), "trap");
        assert_eq!(commonest(&[]), "other");
    }
}
