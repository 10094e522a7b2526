//! Figures, their medians and ratios, and what they were before.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Value, json};

use crate::client::{Load, Shape};

#[derive(Clone, Copy, Debug)]
pub struct Measured {
    cpu_us_per_event: f64,
    events_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    resident_mib: f64,
}

impl Measured {
    pub fn new(load: &Load, cpu: Duration, resident_mib: u64) -> Measured {
        let events = load.events.max(1) as f64;
        let at = |part: f64| load.latencies.value_at_quantile(part) as f64 / 1e3;
        Measured {
            cpu_us_per_event: cpu.as_secs_f64() * 1e6 / events,
            events_per_s: load.events as f64 / load.elapsed.as_secs_f64(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            resident_mib: resident_mib as f64,
        }
    }

    pub fn events_per_s(&self) -> f64 {
        self.events_per_s
    }
}

/// `closed`, or `open` at half of what the closed loop reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loop {
    Closed,
    Open,
}

impl Loop {
    fn name(self) -> &'static str {
        match self {
            Loop::Closed => "closed",
            Loop::Open => "open, half",
        }
    }
}

type Row = (Shape, Loop, String);

#[derive(Default)]
pub struct Report {
    rows: BTreeMap<Row, Vec<Measured>>,
}

/// With the lowest and the highest.
fn median(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match (values.get(values.len() / 2), values.first(), values.last()) {
        (Some(median), Some(low), Some(high)) => (*median, *low, *high),
        _ => (f64::NAN, f64::NAN, f64::NAN),
    }
}

impl Report {
    pub fn add(&mut self, shape: Shape, how: Loop, path: &str, measured: Measured) {
        self.rows
            .entry((shape, how, path.to_owned()))
            .or_default()
            .push(measured);
    }

    /// The path's CPU an event over the ceiling's, round by round.
    fn ratio(&self, row: &Row, measured: &[Measured]) -> (f64, f64, f64) {
        // The ceiling decompresses nothing: what compressed batches cost is held against plain ones.
        let shape = match row.0 {
            Shape::Gzip(events) => Shape::Batch(events),
            shape => shape,
        };
        let ceiling = (shape, row.1, "ceiling".to_owned());
        let ceiling = self.rows.get(&ceiling).map_or(&[][..], Vec::as_slice);
        let pairs = measured.iter().zip(ceiling);
        median(pairs.map(|(row, ceiling)| row.cpu_us_per_event / ceiling.cpu_us_per_event))
    }

    fn figures(&self, row: &Row, measured: &[Measured]) -> Value {
        let of = |read: fn(&Measured) -> f64| median(measured.iter().map(read)).0;
        let (ratio, ratio_min, ratio_max) = self.ratio(row, measured);
        json!({
            "shape": row.0.name(),
            "loop": row.1.name(),
            "path": row.2,
            "rounds": measured.len(),
            "cpu_us_per_event": of(|row| row.cpu_us_per_event),
            "ratio_to_ceiling": ratio,
            "ratio_min": ratio_min,
            "ratio_max": ratio_max,
            "events_per_s": of(|row| row.events_per_s),
            "p50_ms": of(|row| row.p50_ms),
            "p99_ms": of(|row| row.p99_ms),
            "p999_ms": of(|row| row.p999_ms),
            "resident_mib": of(|row| row.resident_mib),
        })
    }

    pub fn json(&self) -> Value {
        let rows = self
            .rows
            .iter()
            .map(|(row, measured)| self.figures(row, measured));
        Value::Array(rows.collect())
    }

    /// What has changed since a saved run: ratios to the ceiling of each run, since machines differ.
    pub fn against(&self, saved: &Value) -> String {
        let mut text = format!(
            "{:<10} {:<11} {:<20} {:>10} {:>10} {:>9}\n",
            "shape", "loop", "path", "then", "now", "change"
        );
        for now in self.json().as_array().into_iter().flatten() {
            let is_same = |then: &&Value| ["shape", "loop", "path"].iter().all(|key| then[key] == now[key]);
            let then = saved.as_array().into_iter().flatten().find(is_same);
            let ratio = |row: &Value| row["ratio_to_ceiling"].as_f64();
            if let (Some(then), Some(now_ratio)) = (then.and_then(ratio), ratio(now)) {
                text.push_str(&format!(
                    "{:<10} {:<11} {:<20} {then:>10.2} {now_ratio:>10.2} {:>+8.1}%\n",
                    now["shape"].as_str().unwrap_or_default(),
                    now["loop"].as_str().unwrap_or_default(),
                    now["path"].as_str().unwrap_or_default(),
                    (now_ratio / then - 1.0) * 100.0
                ));
            }
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<10} {:<11} {:<20} {:>9} {:>20} {:>9} {:>8} {:>8} {:>9} {:>6}",
            "shape",
            "loop",
            "path",
            "CPU µs/ev",
            "ratio (min–max)",
            "events/s",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "MiB"
        )?;
        for (row, measured) in &self.rows {
            let figures = self.figures(row, measured);
            let number = |key: &str| figures[key].as_f64().unwrap_or(f64::NAN);
            writeln!(
                formatter,
                "{:<10} {:<11} {:<20} {:>9.2} {:>20} {:>9.0} {:>8.2} {:>8.2} {:>9.2} {:>6.0}",
                row.0.name(),
                row.1.name(),
                row.2,
                number("cpu_us_per_event"),
                format!(
                    "{:.2} ({:.2}–{:.2})",
                    number("ratio_to_ceiling"),
                    number("ratio_min"),
                    number("ratio_max")
                ),
                number("events_per_s"),
                number("p50_ms"),
                number("p99_ms"),
                number("p999_ms"),
                number("resident_mib"),
            )?;
        }
        Ok(())
    }
}
