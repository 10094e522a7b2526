//! `headworks plugin test NAME --version N`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::plugin_page::Difference;
use crate::{
    cli::{
        client::{Client, Sent},
        failure::Failure,
        output::{self, Output},
        resources,
    },
    event::PluginName,
};

/// Bytes of a file of events.
const EVENTS_BYTES_MAX: u64 = 16 << 20;

/// What is to be tried.
pub struct Asked {
    pub version: u32,
    pub recent: u16,
    pub events: Option<PathBuf>,
    pub config: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Report {
    tried: u64,
    not_for_it: u64,
    left_out: u64,
    same: u64,
    different: u64,
    failed: u64,
    rejected: u64,
    impure: u64,
    time: Cost,
    memory: Cost,
    results: Vec<Tried>,
}

#[derive(Deserialize)]
struct Cost {
    version: u64,
    active: Option<u64>,
}

#[derive(Deserialize)]
struct Tried {
    id: String,
    partner: String,
    #[serde(rename = "type")]
    event_type: String,
    verdict: String,
    made: Value,
    #[serde(default)]
    differences: Vec<Difference>,
    #[serde(default)]
    impure: Vec<Difference>,
    #[serde(default)]
    log: Vec<Line>,
}

#[derive(Deserialize)]
pub struct Line {
    level: String,
    message: String,
}

impl Line {
    pub fn told(&self) -> String {
        format!("{}: {}", self.level, output::printable(&self.message))
    }
}

/// With `--version`, what stands in the place of a folder.
pub fn plugin_name(path: &Path) -> Result<PluginName, Failure> {
    let text = path.to_string_lossy();
    text.parse().map_err(|error: crate::event::NameError| {
        Failure::Usage(format!(
            "with --version, {text:?} must be a plugin's name: {error}"
        ))
    })
}

pub async fn test(path: &Path, asked: &Asked, client: &Client, output: Output) -> Result<(), Failure> {
    let name = plugin_name(path)?;
    let reply = client
        .post(&["plugins", name.as_str(), "test"], Some(body(asked)?))
        .await?;
    let report: Report = reply.read()?;
    if output.is_json() {
        output::line(&reply.text)?;
    } else {
        print(&report)?;
    }
    if report.failed + report.impure > 0 {
        return Err(Failure::Said);
    }
    Ok(())
}

fn body(asked: &Asked) -> Result<Sent, Failure> {
    let mut members = vec![format!("\"version\": {}", asked.version)];
    if let Some(path) = &asked.config {
        let (file, text) = resources::read_text(path, EVENTS_BYTES_MAX)?;
        let config: Box<RawValue> = serde_json::from_str(&text)
            .map_err(|error| Failure::Usage(format!("{file} is not JSON: {error}")))?;
        members.push(format!("\"config\": {}", config.get()));
    }
    match &asked.events {
        None => members.push(format!("\"recent\": {}", asked.recent)),
        Some(path) => {
            let (file, text) = resources::read_text(path, EVENTS_BYTES_MAX)?;
            let mut events = Vec::new();
            for (number, line) in (1..)
                .zip(text.lines())
                .filter(|(_, line)| !line.trim().is_empty())
            {
                let event: &RawValue = serde_json::from_str(line)
                    .map_err(|error| Failure::Usage(format!("{file}, line {number} is not JSON: {error}")))?;
                events.push(event.get().to_owned());
            }
            members.push(format!("\"events\": [{}]", events.join(",")));
        }
    }
    Ok(Sent {
        content_type: "application/json",
        bytes: format!("{{{}}}", members.join(", ")).into_bytes(),
    })
}

fn print(report: &Report) -> Result<(), Failure> {
    for tried in &report.results {
        let is_quiet = tried.verdict == "same" && tried.impure.is_empty() && tried.log.is_empty();
        if is_quiet && tried.made.is_array() {
            continue;
        }
        let event = format!("{} of {} ({})", tried.id, tried.partner, tried.event_type);
        output::line(&format!("{}  {}", tried.verdict, output::printable(&event)))?;
        if !tried.made.is_array() {
            output::line(&format!(
                "  it fails: {}",
                output::printable(&tried.made.to_string())
            ))?;
        }
        for difference in &tried.differences {
            output::line(&format!("  {}", difference.told()))?;
        }
        for difference in &tried.impure {
            output::line(&format!("  in a used instance: {}", difference.told()))?;
        }
        for line in &tried.log {
            output::line(&format!("  {}", line.told()))?;
        }
    }
    let cost = |cost: &Cost, unit: &str| match cost.active {
        Some(active) => format!("{} {unit} (the active version {active} {unit})", cost.version),
        None => format!("{} {unit}", cost.version),
    };
    let pairs = [
        ("tried", report.tried.to_string()),
        ("same", report.same.to_string()),
        ("different", report.different.to_string()),
        ("failed", report.failed.to_string()),
        ("rejected", report.rejected.to_string()),
        ("impure", report.impure.to_string()),
        ("not for it", report.not_for_it.to_string()),
        ("left out", report.left_out.to_string()),
        ("time", cost(&report.time, "µs")),
        ("memory", cost(&report.memory, "bytes")),
    ];
    output::pairs(&pairs)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::{Value, json};

    use super::{Asked, body};

    #[test]
    fn events_go_as_they_stand_in_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("events.ndjson");
        std::fs::write(
            &file,
            "{\"type\": \"a\", \"data\": {\"n\": 1.50}}\n\n{\"type\": \"b\", \"data\": 1}\n",
        )
        .expect("it is written");
        let mut asked = Asked {
            version: 3,
            recent: 7,
            events: Some(file),
            config: None,
        };
        let sent = body(&asked).expect("the file is read");
        let text = String::from_utf8(sent.bytes).expect("it is text");
        assert!(text.contains("{\"n\": 1.50}"), "{text}");
        let value: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(value["events"][1]["type"], "b");
        asked.events = None;
        let sent = body(&asked).expect("nothing is read");
        let value: Value = serde_json::from_slice(&sent.bytes).expect("it is JSON");
        assert_eq!(value, json!({"version": 3, "recent": 7}));
        asked.config = Some(PathBuf::from("/nowhere"));
        assert!(body(&asked).is_err());
    }
}
