//! `headworks plugin logs`.

use std::time::Duration;

use serde::Deserialize;

use super::short_time;
use crate::{
    cli::{
        arguments::LogArguments,
        client::Client,
        failure::Failure,
        output::{self, Output},
    },
    event::PluginName,
};

/// Between two looks, where it follows.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Line {
    sequence: u64,
    at: String,
    version: u32,
    partner: String,
    event_id: String,
    level: String,
    message: String,
}

/// Prints the last lines, and then, where it follows, what comes until it is interrupted or nobody reads.
pub async fn logs(
    name: &PluginName,
    asked: &LogArguments,
    client: &Client,
    output: Output,
) -> Result<(), Failure> {
    let mut after: Option<u64> = None;
    loop {
        let cursor = after.map(|after| after.to_string());
        let version = asked.version.map(|version| version.to_string());
        let limit = asked.limit.to_string();
        let query: Vec<(&str, &str)> = [
            ("version", version.as_deref()),
            ("partner", asked.partner.as_ref().map(|partner| partner.as_str())),
            ("event", asked.event.as_deref()),
            ("level", asked.level.map(|level| level.as_str())),
            ("after", cursor.as_deref()),
            ("limit", Some(limit.as_str())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        let reply = client.get(&["plugins", name.as_str(), "logs"], &query).await?;
        let listing: Listing = reply.read()?;
        for raw in &listing.items {
            let line: Line = client.parse(raw)?;
            after = Some(line.sequence);
            if output.is_json() {
                output::line(raw.get())?;
            } else {
                output::line(&line.told(name))?;
            }
        }
        if !asked.follow {
            return Ok(());
        }
        // What is written before the first line stands there is new as well.
        after = after.or(Some(0));
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

#[derive(Deserialize)]
struct Listing {
    items: Vec<Box<serde_json::value::RawValue>>,
}

impl Line {
    fn told(&self, name: &PluginName) -> String {
        let line = format!(
            "{}  {:5}  {name}@{}  {} {}  {}",
            short_time(&self.at),
            self.level,
            self.version,
            self.partner,
            self.event_id,
            self.message
        );
        output::printable(&line).into_owned()
    }
}
