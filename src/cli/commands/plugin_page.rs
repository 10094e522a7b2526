//! A plugin's state and health as a page.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{short_digest, short_time};
use crate::cli::{failure::Failure, output};

#[derive(Deserialize)]
pub struct Plugin {
    name: String,
    pub active: Option<u32>,
    previous: Option<u32>,
    share: Option<u8>,
    shadow: Option<u32>,
    activated: Option<String>,
    rolled_back: Option<RolledBack>,
    versions: Vec<Version>,
    health: Health,
    #[serde(default)]
    counters: BTreeMap<String, u64>,
    comparison: Option<Comparison>,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
    digest: String,
    size: u64,
    created: String,
    by: String,
    contract: Option<String>,
    language: Option<String>,
    sdk: Option<Sdk>,
    health: Option<VersionHealth>,
}

#[derive(Deserialize)]
struct Sdk {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct VersionHealth {
    calls: u64,
    rejected: u64,
    failed: u64,
    causes: BTreeMap<String, u64>,
    outputs: u64,
    time_p50_us: Option<u64>,
    time_p99_us: Option<u64>,
    memory_bytes: u64,
    last_failure: Option<String>,
}

#[derive(Deserialize)]
struct Health {
    status: String,
    detail: Option<String>,
}

#[derive(Deserialize)]
struct RolledBack {
    at: String,
    version: u32,
    calls: u64,
    failed: u64,
    last_failure: Option<String>,
}

#[derive(Deserialize)]
struct Comparison {
    events: u64,
    same: u64,
    different: u64,
    skipped: u64,
    differences: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    id: String,
    partner: String,
    differences: Vec<Difference>,
}

/// One place where a version makes something else.
#[derive(Deserialize)]
pub struct Difference {
    record: Option<usize>,
    kind: String,
    #[serde(default)]
    pointer: String,
    before: Option<Value>,
    after: Option<Value>,
}

/// Characters of a value that a difference shows.
const SHOWN: usize = 60;
/// Events of a comparison that are shown.
const SAMPLES: usize = 5;

pub fn row(plugin: Plugin) -> Vec<String> {
    vec![
        plugin.name,
        number(plugin.active),
        number(plugin.previous),
        plugin.versions.len().to_string(),
        plugin.health.status,
    ]
}

pub fn number(version: Option<u32>) -> String {
    version.map_or_else(|| "none".to_owned(), |version| version.to_string())
}

pub fn show(plugin: Plugin) -> Result<(), Failure> {
    let mut pairs = vec![("name", plugin.name.clone()), ("runs", runs(&plugin))];
    if let Some(shadow) = plugin.shadow {
        pairs.push(("shadow", format!("version {shadow}, which delivers nothing")));
    }
    pairs.extend(plugin.activated.as_deref().map(|at| ("since", short_time(at))));
    pairs.push(("health", plugin.health.status.clone()));
    pairs.extend(plugin.health.detail.clone().map(|detail| ("", detail)));
    if let Some(back) = &plugin.rolled_back {
        let why = format!(
            "from version {} at {}: {} of {} calls failed",
            back.version,
            short_time(&back.at),
            back.failed,
            back.calls
        );
        pairs.push(("rolled back", why));
        pairs.extend(back.last_failure.clone().map(|failure| ("", failure)));
    }
    for (counter, value) in &plugin.counters {
        pairs.push(("counts", format!("{counter} {value}")));
    }
    output::pairs(&pairs)?;
    versions(&plugin)?;
    calls(&plugin)?;
    plugin.comparison.as_ref().map_or(Ok(()), compared)
}

/// What takes which events, in words.
fn runs(plugin: &Plugin) -> String {
    match (plugin.active, plugin.previous, plugin.share) {
        (None, _, _) => "none: activate a version".to_owned(),
        (Some(active), Some(previous), Some(share)) if share < 100 => {
            format!("version {active} on {share} % of the events, version {previous} on the others")
        }
        (Some(active), Some(previous), _) => {
            format!("version {active}; a rollback goes back to version {previous}")
        }
        (Some(active), None, _) => format!("version {active}"),
    }
}

fn versions(plugin: &Plugin) -> Result<(), Failure> {
    let rows = plugin.versions.iter().map(|version| {
        vec![
            version.version.to_string(),
            short_digest(&version.digest),
            version.size.to_string(),
            version.language.clone().unwrap_or_default(),
            version.sdk.as_ref().map(Sdk::told).unwrap_or_default(),
            version.contract.clone().unwrap_or_default(),
            short_time(&version.created),
            version.by.clone(),
        ]
    });
    let headers = [
        "VERSION", "DIGEST", "BYTES", "LANGUAGE", "SDK", "CONTRACT", "CREATED", "BY",
    ];
    output::table(&headers, rows.collect())
}

/// Of the versions that ran on this node.
fn calls(plugin: &Plugin) -> Result<(), Failure> {
    let ran = || {
        let versions = plugin.versions.iter();
        versions.filter_map(|version| Some((version.version, version.health.as_ref()?)))
    };
    let rows: Vec<Vec<String>> = ran()
        .filter(|(_, health)| health.calls > 0)
        .map(|(version, health)| {
            vec![
                version.to_string(),
                health.calls.to_string(),
                health.outputs.to_string(),
                health.rejected.to_string(),
                failed(health),
                micros(health.time_p50_us),
                micros(health.time_p99_us),
                format!("{} KiB", health.memory_bytes / 1024),
            ]
        })
        .collect();
    if rows.is_empty() {
        return output::line("no event has come to it on this node since it started");
    }
    let headers = [
        "VERSION", "CALLS", "RECORDS", "REJECTED", "FAILED", "P50", "P99", "MEMORY",
    ];
    output::table(&headers, rows)?;
    for (version, health) in ran() {
        if let Some(failure) = &health.last_failure {
            output::line(&format!(
                "the last failure of version {version}: {}",
                output::printable(failure)
            ))?;
        }
    }
    Ok(())
}

fn failed(health: &VersionHealth) -> String {
    let causes: Vec<String> = health
        .causes
        .iter()
        .map(|(cause, count)| format!("{cause} {count}"))
        .collect();
    if causes.is_empty() {
        "0".to_owned()
    } else {
        format!("{} ({})", health.failed, causes.join(", "))
    }
}

fn micros(time: Option<u64>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{time} µs"))
}

fn compared(comparison: &Comparison) -> Result<(), Failure> {
    output::line(&format!(
        "the shadow was given {} events: {} the same, {} different; {} left out, since it could not keep up",
        comparison.events, comparison.same, comparison.different, comparison.skipped
    ))?;
    for sample in comparison.differences.iter().take(SAMPLES) {
        output::line(&format!(
            "event {} of {}",
            output::printable(&sample.id),
            sample.partner
        ))?;
        for difference in &sample.differences {
            output::line(&format!("  {}", difference.told()))?;
        }
    }
    Ok(())
}

impl Sdk {
    fn told(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

impl Difference {
    /// One line: `record 0 /data/os: "iOS" -> "ios"`.
    pub fn told(&self) -> String {
        let value = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(value) => {
                let text = value.to_string();
                let cut: String = text.chars().take(SHOWN).collect();
                if cut.len() < text.len() {
                    format!("{cut}…")
                } else {
                    cut
                }
            }
        };
        let record = self
            .record
            .map(|record| format!("record {record} "))
            .unwrap_or_default();
        let text = match self.kind.as_str() {
            "added" => format!("{record}is added: {}", value(&self.after)),
            "gone" => format!("{record}is gone: {}", value(&self.before)),
            "spelling" => format!("{record}{}: the same data, written otherwise", self.pointer),
            _ => format!(
                "{record}{}: {} -> {}",
                self.pointer,
                value(&self.before),
                value(&self.after)
            ),
        };
        output::printable(&text).into_owned()
    }
}
