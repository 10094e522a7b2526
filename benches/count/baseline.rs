//! The figures that are held against: a committed file, stage by stage.

use std::{collections::BTreeMap, io::ErrorKind};

use crate::{report::Report, stages};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/count/baseline.json");
/// Part by which a stage may cost more.
const TOLERANCE: f64 = 0.05;

/// Empty where there is none yet.
pub fn read() -> BTreeMap<String, f64> {
    match std::fs::read_to_string(FILE) {
        Ok(text) => serde_json::from_str(&text).unwrap_or_else(|error| panic!("{FILE}: {error}")),
        Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => panic!("{FILE}: {error}"),
    }
}

fn is_counted(name: &str) -> bool {
    stages::ALL.iter().any(|stage| stage.name == name)
}

/// Stages that were not counted this time stay as they are, and those that there are no more go.
pub fn write(report: &Report) {
    let mut stages = read();
    stages.retain(|name, _| is_counted(name));
    stages.extend(
        report
            .stages()
            .map(|(name, count)| (name.to_owned(), count.round())),
    );
    let mut text = serde_json::to_string_pretty(&stages).expect("numbers are JSON");
    text.push('\n');
    std::fs::write(FILE, text).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    println!("\nwritten: {FILE}");
}

/// # Errors
///
/// Names every stage that costs more than it may, or that only one of the two knows.
pub fn compare(report: &Report) -> Result<(), String> {
    let baseline = read();
    let gone = baseline.keys().filter(|name| !is_counted(name));
    let mut faults: Vec<String> = gone
        .map(|name| format!("{name}: nothing counts it any more"))
        .collect();
    let dearer = report
        .stages()
        .filter_map(|(name, now)| match baseline.get(name) {
            None => Some(format!("{name}: the baseline has no such stage")),
            Some(before) if now > before * (1.0 + TOLERANCE) => Some(format!(
                "{name}: {now:.0} instructions, {:+.1} %",
                (now / before - 1.0) * 100.0
            )),
            Some(_) => None,
        });
    faults.extend(dearer);
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more than {} % above the baseline, or not in it; where that is meant, write a new one with BLESS=1 and say why:\n  {}",
        TOLERANCE * 100.0,
        faults.join("\n  ")
    ))
}
