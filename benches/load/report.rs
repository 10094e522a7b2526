//! Figures, their medians and ratios.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::client::{Load, Shape};

#[derive(Clone, Copy, Debug)]
pub struct Measured {
    cpu_us_per_event: f64,
    events_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Measured {
    pub fn new(load: &Load, cpu: Duration) -> Measured {
        let events = load.events as f64;
        let at = |part: f64| {
            let index =
                ((load.latencies.len() as f64 * part) as usize).min(load.latencies.len().saturating_sub(1));
            load.latencies
                .get(index)
                .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
        };
        Measured {
            cpu_us_per_event: cpu.as_secs_f64() * 1e6 / events,
            events_per_s: events / load.elapsed.as_secs_f64(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
        }
    }
}

#[derive(Default)]
pub struct Report {
    rows: BTreeMap<(Shape, &'static str), Vec<Measured>>,
}

fn median(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

impl Report {
    pub fn add(&mut self, shape: Shape, path: &'static str, measured: Measured) {
        self.rows.entry((shape, path)).or_default().push(measured);
    }

    fn ceiling(&self, shape: Shape) -> &[Measured] {
        self.rows.get(&(shape, "ceiling")).map_or(&[], Vec::as_slice)
    }

    /// The path's CPU an event over the ceiling's, round by round.
    fn ratio(&self, shape: Shape, rows: &[Measured]) -> (f64, f64, f64) {
        median(
            rows.iter()
                .zip(self.ceiling(shape))
                .map(|(row, ceiling)| row.cpu_us_per_event / ceiling.cpu_us_per_event),
        )
    }

    pub fn json(&self) -> String {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|((shape, path), rows)| {
                serde_json::json!({
                    "events_per_request": shape.events(),
                    "path": path,
                    "cpu_us_per_event": median(rows.iter().map(|row| row.cpu_us_per_event)).0,
                    "ratio_to_ceiling": self.ratio(*shape, rows).0,
                    "events_per_s": median(rows.iter().map(|row| row.events_per_s)).0,
                    "p50_ms": median(rows.iter().map(|row| row.p50_ms)).0,
                    "p99_ms": median(rows.iter().map(|row| row.p99_ms)).0,
                })
            })
            .collect();
        serde_json::to_string_pretty(&rows).expect("numbers and strings are JSON")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<14} {:<18} {:>12} {:>22} {:>12} {:>9} {:>9}",
            "events/request", "path", "CPU µs/event", "ratio (min–max)", "events/s", "p50 ms", "p99 ms"
        )?;
        for ((shape, path), rows) in &self.rows {
            let (ratio, low, high) = self.ratio(*shape, rows);
            writeln!(
                formatter,
                "{:<14} {:<18} {:>12.2} {:>22} {:>12.0} {:>9.2} {:>9.2}",
                shape.events(),
                path,
                median(rows.iter().map(|row| row.cpu_us_per_event)).0,
                format!("{ratio:.2} ({low:.2}–{high:.2})"),
                median(rows.iter().map(|row| row.events_per_s)).0,
                median(rows.iter().map(|row| row.p50_ms)).0,
                median(rows.iter().map(|row| row.p99_ms)).0,
            )?;
        }
        Ok(())
    }
}
