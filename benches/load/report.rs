//! Figures, their medians and ranges, the goals, and a saved run beside them.

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    client::Load,
    events::Shape,
    verdict::{Bound, Goals, Outcome, Verdict},
};

/// What was loaded, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    pub shape: Shape,
    pub is_open: bool,
    pub path: String,
}

/// CPU time of the processes that took part, and the server's memory at the end.
pub struct Used {
    pub server: Duration,
    pub generator: Duration,
    pub broker: Duration,
    pub resident_mb: f64,
}

/// One round of a case.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub cpu_us_per_event: f64,
    pub generator_cpu_us_per_event: f64,
    pub broker_cpu_us_per_event: f64,
    pub events_per_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p99_9_ms: f64,
    pub resident_mb: f64,
}

impl Measured {
    pub fn new(shape: Shape, load: &Load, used: &Used) -> Measured {
        let events = load.requests as f64 * shape.events() as f64;
        let us = |cpu: Duration| cpu.as_secs_f64() * 1e6 / events;
        let at = |quantile| load.latencies.value_at_quantile(quantile) as f64 / 1e3;
        Measured {
            cpu_us_per_event: us(used.server),
            generator_cpu_us_per_event: us(used.generator),
            broker_cpu_us_per_event: us(used.broker),
            events_per_s: events / load.elapsed.as_secs_f64(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p99_9_ms: at(0.999),
            resident_mb: used.resident_mb,
        }
    }
}

/// What a case is to reach.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Goal {
    /// At most so many times the reference's: its CPU, or in an open loop its p99.
    pub ratio: f64,
    /// In an open loop p99 is to be below this too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// The case that is to reach a goal.
pub struct Aim {
    pub shape: Shape,
    pub is_open: bool,
    pub path: &'static str,
    pub goal: Goal,
}

impl Aim {
    /// Of CPU time at full load.
    pub const fn at_full_load(shape: Shape, path: &'static str, ratio: f64) -> Aim {
        Aim {
            shape,
            is_open: false,
            path,
            goal: Goal { ratio, p99_ms: None },
        }
    }

    fn case(&self) -> Case {
        Case {
            shape: self.shape,
            is_open: self.is_open,
            path: self.path.to_owned(),
        }
    }
}

/// A row as it is saved: medians, the ratio with its range, and every round.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    pub load: String,
    pub path: String,
    pub events_per_request: usize,
    pub median: Measured,
    pub ratio: [f64; 3],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    pub reached: Option<bool>,
    pub rounds: Vec<Measured>,
}

/// A whole run, as it is saved.
#[derive(Debug, Serialize, Deserialize)]
pub struct Saved {
    pub event_bytes: usize,
    pub cores: usize,
    pub seconds: u64,
    /// The path that ratios are to.
    pub reference: String,
    pub rows: Vec<Row>,
    /// One for each goal of the run; absent in runs that were saved before goals had verdicts of their own.
    #[serde(default)]
    pub verdicts: Vec<Verdict>,
    /// Figures that stand alone, by what they are.
    pub others: BTreeMap<String, f64>,
}

impl Saved {
    /// # Errors
    ///
    /// Where the file cannot be read, or is no saved run.
    pub fn read(path: &Path) -> Result<Saved, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

pub struct Report {
    reference: &'static str,
    aims: &'static [Aim],
    /// Of goals that no row has.
    verdicts: Vec<Verdict>,
    rows: BTreeMap<Case, Vec<Measured>>,
    others: BTreeMap<String, f64>,
}

/// Median, lowest, highest.
pub fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match (values.get(values.len() / 2), values.first(), values.last()) {
        (Some(median), Some(lowest), Some(highest)) => [*median, *lowest, *highest],
        _ => [f64::NAN; 3],
    }
}

fn median(rounds: &[Measured]) -> Measured {
    let of = |read: fn(&Measured) -> f64| spread(rounds.iter().map(read))[0];
    Measured {
        cpu_us_per_event: of(|round| round.cpu_us_per_event),
        generator_cpu_us_per_event: of(|round| round.generator_cpu_us_per_event),
        broker_cpu_us_per_event: of(|round| round.broker_cpu_us_per_event),
        events_per_s: of(|round| round.events_per_s),
        p50_ms: of(|round| round.p50_ms),
        p99_ms: of(|round| round.p99_ms),
        p99_9_ms: of(|round| round.p99_9_ms),
        resident_mb: of(|round| round.resident_mb),
    }
}

impl Report {
    pub fn new(reference: &'static str, aims: &'static [Aim]) -> Report {
        Report {
            reference,
            aims,
            verdicts: Vec::new(),
            rows: BTreeMap::new(),
            others: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, case: Case, measured: Measured) {
        self.rows.entry(case).or_default().push(measured);
    }

    pub fn note(&mut self, what: &str, figure: f64) {
        self.others.insert(what.to_owned(), figure);
    }

    /// A figure that stands alone and has a goal.
    pub fn hold(&mut self, goal: &str, figure: f64, bound: Bound) {
        self.verdicts.push(Verdict::new(goal, figure, bound));
    }

    /// Of a case that is to reach a goal. One that was never loaded misses it.
    fn verdicts_of(&self, aim: &Aim) -> Vec<Verdict> {
        let case = aim.case();
        let rounds: &[Measured] = self.rows.get(&case).map_or(&[], Vec::as_slice);
        let (load, path, reference) = (case.load(), aim.path, self.reference);
        let what = if aim.is_open { "p99" } else { "CPU an event" };
        let ratio = Verdict::new(
            &format!("{load}, {path}: {what}, times that of {reference}"),
            self.ratio(&case, rounds)[0],
            Bound::AtMost(aim.goal.ratio),
        );
        let p99 = aim.goal.p99_ms.map(|most| {
            let goal = format!("{load}, {path}: p99, ms");
            Verdict::new(&goal, median(rounds).p99_ms, Bound::AtMost(most))
        });
        std::iter::once(ratio).chain(p99).collect()
    }

    /// The last round of a case.
    pub fn last(&self, case: &Case) -> Option<&Measured> {
        self.rows.get(case)?.last()
    }

    /// The reference's rounds. What is compressed is compared with what is not: the ceiling reads no bodies.
    fn reference(&self, case: &Case) -> &[Measured] {
        let shape = match case.shape {
            Shape::Gzip => Shape::Batch,
            shape => shape,
        };
        let reference = Case {
            shape,
            is_open: case.is_open,
            path: self.reference.to_owned(),
        };
        self.rows.get(&reference).map_or(&[], Vec::as_slice)
    }

    /// Round by round; of CPU, or in an open loop of p99.
    fn ratio(&self, case: &Case, rounds: &[Measured]) -> [f64; 3] {
        let pairs = rounds.iter().zip(self.reference(case));
        spread(pairs.map(|(round, reference)| {
            if case.is_open {
                round.p99_ms / reference.p99_ms
            } else {
                round.cpu_us_per_event / reference.cpu_us_per_event
            }
        }))
    }

    pub fn save(&self, event_bytes: usize, seconds: u64) -> Saved {
        let rows = self.rows.iter().map(|(case, rounds)| {
            let (median, ratio) = (median(rounds), self.ratio(case, rounds));
            let aim = self.aims.iter().find(|aim| aim.case() == *case);
            let is_reached = |verdict: &Verdict| verdict.verdict == Outcome::Reached;
            let reached = aim.map(|aim| self.verdicts_of(aim).iter().all(is_reached));
            Row {
                load: case.load().to_owned(),
                path: case.path.clone(),
                events_per_request: case.shape.events(),
                median,
                ratio,
                goal: aim.map(|aim| aim.goal),
                reached,
                rounds: rounds.clone(),
            }
        });
        Saved {
            event_bytes,
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            seconds,
            reference: self.reference.to_owned(),
            rows: rows.collect(),
            verdicts: self
                .aims
                .iter()
                .flat_map(|aim| self.verdicts_of(aim))
                .chain(self.verdicts.iter().cloned())
                .collect(),
            others: self.others.clone(),
        }
    }
}

impl Case {
    /// How it is loaded, in words.
    pub fn load(&self) -> &'static str {
        match (self.shape, self.is_open) {
            (Shape::Single, false) => "single posts",
            (Shape::Single, true) => "single posts at half load",
            (Shape::Batch, false) => "batches of 100",
            (Shape::Batch, true) => "batches of 100 at half load",
            (Shape::Gzip, false) => "batches of 100, gzip",
            (Shape::Gzip, true) => "batches of 100, gzip, at half load",
        }
    }
}

impl fmt::Display for Saved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<26} {:<18} {:>8} {:>19} {:>12} {:>9} {:>8} {:>8} {:>8} {:>6} {:>15}",
            "load",
            "path",
            "CPU µs",
            "ratio (range)",
            "goal",
            "events/s",
            "p50 ms",
            "p99 ms",
            "p99.9",
            "RSS MB",
            "CPU µs gen/Kafka"
        )?;
        for row in &self.rows {
            let Measured {
                cpu_us_per_event,
                generator_cpu_us_per_event,
                broker_cpu_us_per_event,
                events_per_s,
                p50_ms,
                p99_ms,
                p99_9_ms,
                resident_mb,
            } = row.median;
            let [ratio, lowest, highest] = row.ratio;
            let goal = row.goal.map_or_else(String::new, |goal| {
                let is_reached = row.reached == Some(true);
                let verdict = if is_reached {
                    Outcome::Reached
                } else {
                    Outcome::Missed
                };
                format!("{:.2} {verdict}", goal.ratio)
            });
            writeln!(
                formatter,
                "{:<26} {:<18} {cpu_us_per_event:>8.2} {:>19} {goal:>12} {events_per_s:>9.0} {p50_ms:>8.2} {p99_ms:>8.2} {p99_9_ms:>8.2} {resident_mb:>6.0} {:>15}",
                row.load,
                row.path,
                format!("{ratio:.2} ({lowest:.2}–{highest:.2})"),
                format!("{generator_cpu_us_per_event:.1}/{broker_cpu_us_per_event:.1}"),
            )?;
        }
        for (what, figure) in &self.others {
            writeln!(formatter, "{what}: {figure:.1}")?;
        }
        write!(formatter, "\n{}", Goals(&self.verdicts))
    }
}

/// A run beside one that was saved before, by the medians.
pub struct Compared<'a> {
    pub before: &'a Saved,
    pub now: &'a Saved,
}

impl fmt::Display for Compared<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<26} {:<18} {:>21} {:>25} {:>21}",
            "beside the saved run", "path", "ratio", "CPU µs", "p99 ms"
        )?;
        for row in &self.now.rows {
            let before = self
                .before
                .rows
                .iter()
                .find(|before| (&before.load, &before.path) == (&row.load, &row.path));
            let Some(before) = before else {
                writeln!(
                    formatter,
                    "{:<26} {:<18} (not in the saved run)",
                    row.load, row.path
                )?;
                continue;
            };
            let change = |before: f64, now: f64| {
                format!("{before:.2} → {now:.2} {:+.0} %", (now / before - 1.0) * 100.0)
            };
            writeln!(
                formatter,
                "{:<26} {:<18} {:>21} {:>25} {:>21}",
                row.load,
                row.path,
                change(before.ratio[0], row.ratio[0]),
                change(before.median.cpu_us_per_event, row.median.cpu_us_per_event),
                change(before.median.p99_ms, row.median.p99_ms),
            )?;
        }
        Ok(())
    }
}
