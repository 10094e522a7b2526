//! Events are joined with the rows of a lookup table: what stands at one place of the event finds the row, and fields
//! of the row are written into the event. See README.md.

use std::collections::BTreeMap;

use headworks_plugin::{Document, Error, Event, Failure, Output, Plugin, Value, plugin, rejected, tables};
use serde::Deserialize;

/// What becomes of an event for which there is no row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// It passes as it is.
    #[default]
    Leave,
    /// The defaults are written.
    Default,
    /// It waits in quarantine, and goes out when a table with such a row is put.
    Reject,
}

/// The route's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    table: String,
    /// Where the event holds the row's key.
    key: String,
    /// Places in the event, each with the place in the row whose value goes there.
    fields: BTreeMap<String, String>,
    #[serde(default)]
    missing: Missing,
    /// Places in the event, each with the value that goes there where there is no row.
    #[serde(default)]
    defaults: BTreeMap<String, serde_json::Value>,
}

/// The plugin, configured.
pub struct CampaignJoin {
    table: String,
    key: String,
    targets: Vec<String>,
    sources: Vec<String>,
    missing: Missing,
    defaults: Vec<(String, Value)>,
}

impl Plugin for CampaignJoin {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        let Config {
            table,
            key,
            fields,
            missing,
            defaults,
        } = config;
        if table.is_empty() {
            return Err("table is empty: name the table that is looked into".to_owned());
        }
        if fields.is_empty() {
            return Err("fields is empty: say what of the row goes where".to_owned());
        }
        let sources = fields.values().filter(|source| !source.is_empty());
        let places = [&key].into_iter().chain(fields.keys()).chain(sources);
        if let Some(place) = places
            .chain(defaults.keys())
            .find(|place| !place.starts_with('/'))
        {
            return Err(format!("{place:?} is no JSON Pointer such as \"/campaign/name\""));
        }
        match (missing, defaults.is_empty()) {
            (Missing::Default, true) => {
                return Err("defaults is empty: say what is written where there is no row".to_owned());
            }
            (Missing::Leave | Missing::Reject, false) => {
                return Err("defaults are only written with missing = \"default\"".to_owned());
            }
            _ => {}
        }
        let (targets, sources) = fields.into_iter().unzip();
        Ok(CampaignJoin {
            table,
            key,
            targets,
            sources,
            missing,
            defaults: defaults
                .into_iter()
                .map(|(place, value)| (place, value.into()))
                .collect(),
        })
    }

    fn transform(&self, mut event: Event) -> Result<Vec<Output>, Failure> {
        let key = text_of(event.data.values(&[&self.key])?.pop().flatten());
        let row = key.as_ref().and_then(|key| tables::lookup(&self.table, key));
        match (row, self.missing) {
            (Some(row), _) => self.join(&mut event.data, &row)?,
            (None, Missing::Leave) => {}
            (None, Missing::Default) => {
                for (place, value) in &self.defaults {
                    event.data.set(place, value.clone());
                }
            }
            // What stands there is the sender's: it is not for the log.
            (None, Missing::Reject) => {
                let place = &self.key;
                return Err(rejected(match key {
                    Some(_) => format!("{} has no row for what stands at {place}", self.table),
                    None => format!("there is no text or whole number at {place} to look up"),
                }));
            }
        }
        // Makes what was set, so that what cannot be written is told here.
        event.data.values(&[]).map_err(|error| not_written(&error))?;
        Ok(vec![event.data.into()])
    }
}

/// Whether a place leads somewhere depends on the event: it is rejected, and the plugin is not at fault.
fn not_written(error: &Error) -> Failure {
    let reason = error.to_string();
    // The gateway names the pointer first.
    let named = reason.strip_prefix('"').and_then(|rest| rest.split_once("\": "));
    let place = named.map_or("a place", |(place, _)| place);
    rejected(format!(
        "nothing can be written at {place}: what stands above it has no members, or no such element"
    ))
}

impl CampaignJoin {
    /// What the row has not, is left.
    fn join(&self, data: &mut Document, row: &Document) -> Result<(), Failure> {
        let sources: Vec<&str> = self.sources.iter().map(String::as_str).collect();
        for (place, value) in self.targets.iter().zip(row.values(&sources)?) {
            if let Some(value) = value {
                data.set(place, value);
            }
        }
        Ok(())
    }
}

/// A value as keys are written; none where it can be no key.
fn text_of(value: Option<Value>) -> Option<String> {
    match value? {
        Value::Text(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        Value::Json(json) if json.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => Some(json),
        Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Json(_) => None,
    }
}

plugin!(CampaignJoin);

#[cfg(test)]
mod tests;
