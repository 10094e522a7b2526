//! What was collected, as a table.

use std::fmt;

use crate::{
    baseline,
    stages::{METRICS, SEEN, Stage, UNSEEN},
};

#[derive(Default)]
pub struct Report {
    rows: Vec<(&'static str, Vec<f64>)>,
}

impl Report {
    pub fn add(&mut self, stage: &Stage, instructions: f64) {
        match self.rows.iter_mut().find(|(name, _)| *name == stage.name) {
            Some((_, runs)) => runs.push(instructions),
            None => self.rows.push((stage.name, vec![instructions])),
        }
    }

    /// The lowest of each stage's runs: what disturbs one only adds to it.
    pub fn stages(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.rows.iter().map(|(name, runs)| (*name, lowest(runs)))
    }

    fn find(&self, name: &str) -> Option<f64> {
        self.stages()
            .find(|(known, _)| *known == name)
            .map(|(_, count)| count)
    }

    fn write_seeing(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(unseen) = self.find(UNSEEN) else {
            return Ok(());
        };
        writeln!(
            formatter,
            "\n{:<38} {:>12} {:>9}",
            "what seeing costs a single post", "instructions", "of all"
        )?;
        let mut row = |name: &str, count: f64| {
            writeln!(
                formatter,
                "{name:<38} {count:>12.0} {:>8.2} %",
                count / unseen * 100.0
            )
        };
        if let Some(count) = self.find(METRICS) {
            row("metrics (in every path above)", count)?;
        }
        for name in SEEN {
            if let Some(count) = self.find(name) {
                row(name.rsplit("; ").next().unwrap_or(name), count - unseen)?;
            }
        }
        Ok(())
    }
}

fn lowest(runs: &[f64]) -> f64 {
    runs.iter().copied().fold(f64::INFINITY, f64::min)
}

/// By how much the runs differ, in percent of the lowest.
fn spread(runs: &[f64]) -> f64 {
    let highest = runs.iter().copied().fold(0.0, f64::max);
    (highest / lowest(runs) - 1.0) * 100.0
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let baseline = baseline::read();
        writeln!(
            formatter,
            "{:<38} {:>12} {:>12} {:>9} {:>9}",
            "instructions an event", "now", "baseline", "change", "runs vary"
        )?;
        for (name, runs) in &self.rows {
            let now = lowest(runs);
            let (before, change) = match baseline.get(*name) {
                Some(before) => (
                    format!("{before:.0}"),
                    format!("{:+.2} %", (now / before - 1.0) * 100.0),
                ),
                None => ("none".to_owned(), String::new()),
            };
            let vary = if runs.len() > 1 {
                format!("{:.2} %", spread(runs))
            } else {
                String::new()
            };
            writeln!(
                formatter,
                "{name:<38} {now:>12.0} {before:>12} {change:>9} {vary:>9}"
            )?;
        }
        self.write_seeing(formatter)
    }
}
