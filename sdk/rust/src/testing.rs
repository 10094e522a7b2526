//! Runs a plugin natively on its `cases/`: folders that hold an event, the records that are expected of it, and where
//! it matters a configuration. The gateway runs the same folders in its own host: `headworks plugin test --local`.
//!
//! | file | holds |
//! |---|---|
//! | `event.json` | `data`, and of `id`, `source`, `type`, `time`, `subject`, `appversion`, `partner`, `schema` what matters |
//! | `records.json` | a list of records: `data` (JSON) or `text` (bytes), and where the plugin sets them `destination`, `topic`, `key`, `headers` (a list of pairs); or `{"rejected": "why"}` or `{"broken": "why"}` |
//! | `config.json` | the route's `config`; absent: that of `cases/config.json`, or `{}` |
//! | `tables/NAME.ndjson` | a lookup table, an object a line; its key is the member `key`, or `KEY` where the file is called `NAME.KEY.ndjson`. Those in `cases/tables/` are there for every case |
//!
//! ```no_run
//! # use headworks_plugin::{Event, Failure, NoConfig, Output, Plugin};
//! # struct Mine;
//! # impl Plugin for Mine {
//! #     type Config = NoConfig;
//! #     fn configure(_: NoConfig) -> Result<Self, String> { Ok(Mine) }
//! #     fn transform(&self, event: Event) -> Result<Vec<Output>, Failure> { Ok(vec![event.data.into()]) }
//! # }
//! #[test]
//! fn cases() {
//!     headworks_plugin::testing::run_cases::<Mine>("cases");
//! }
//! ```

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value as Json};

use crate::{Body, Document, Error, Event, Failure, Output, Plugin, Text, backend};

/// Configures a plugin with JSON text, as the gateway does.
///
/// # Errors
///
/// What the plugin says, or why the text is no configuration of it.
pub fn configure<P: Plugin>(config: &str) -> Result<P, String> {
    crate::plugin::configure(config)
}

/// An event of this JSON, in the form of a case's `event.json`.
///
/// # Panics
///
/// Where the JSON is not of that form.
#[must_use]
pub fn event(json: &Json) -> Event {
    read_event(json).unwrap_or_else(|fault| panic!("{fault}"))
}

/// The records of a call, in the form of a case's `records.json`.
///
/// # Panics
///
/// Where a body of bytes is not UTF-8, which that form cannot hold.
#[must_use]
pub fn records(result: Result<Vec<Output>, Failure>) -> Json {
    let written = result.and_then(|outputs| {
        let records = outputs.into_iter().map(write_record);
        records
            .collect::<Result<Vec<_>, Error>>()
            .map(Json::Array)
            .map_err(Failure::from)
    });
    match written {
        Ok(records) => records,
        Err(Failure::Rejected(reason)) => member("rejected", reason),
        Err(Failure::Broken(reason)) => member("broken", reason),
    }
}

/// What this thread's plugins have counted since this was last called, in the order of first use.
#[must_use]
pub fn take_counts() -> Vec<(String, u64)> {
    backend::take_counts()
}

/// Puts a table for this thread's plugins, in the place of one of that name: rows, each with its key.
pub fn put_table<K: Into<String>>(name: &str, rows: impl IntoIterator<Item = (K, Json)>) {
    let rows = rows.into_iter().map(|(key, row)| (key.into(), row));
    backend::put_table(name, rows.collect());
}

/// Runs every case under `directory`, relative to the crate's folder.
///
/// # Panics
///
/// With all differences between expected and actual records, where a case cannot be read, and where there is none.
pub fn run_cases<P: Plugin>(directory: impl AsRef<Path>) {
    let directory = directory.as_ref();
    let mut cases: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir() && !path.ends_with(TABLES))
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "{} holds no case", directory.display());
    let differences: Vec<_> = cases
        .iter()
        .filter_map(|case| run_case::<P>(directory, case).err())
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// The folder of the tables, beside the cases and in one.
const TABLES: &str = "tables";

fn run_case<P: Plugin>(directory: &Path, case: &Path) -> Result<(), String> {
    let fault = |text: String| format!("{}: {text}", case.display());
    let config = [case, directory]
        .iter()
        .find_map(|folder| fs::read_to_string(folder.join("config.json")).ok())
        .unwrap_or_else(|| "{}".to_owned());
    let plugin: P = configure(&config).map_err(|text| fault(format!("configure: {text}")))?;
    let event = read_event(&read_json(&case.join("event.json"))?).map_err(fault)?;
    let mut tables = BTreeMap::new();
    for folder in [directory, case] {
        read_tables(&folder.join(TABLES), &mut tables)?;
    }
    backend::set_tables(tables);
    let expected = read_json(&case.join("records.json"))?;
    let actual = records(plugin.transform(event));
    if actual == expected {
        return Ok(());
    }
    Err(fault(format!("expected\n{expected:#}\nbut got\n{actual:#}")))
}

fn read_tables(folder: &Path, tables: &mut BTreeMap<String, backend::Rows>) -> Result<(), String> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let fault = |text: String| format!("{}: {text}", path.display());
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let Some(stem) = name.strip_suffix(".ndjson") else {
            return Err(fault("a table beside cases is a file NAME.ndjson".to_owned()));
        };
        let (table, key) = stem.split_once('.').unwrap_or((stem, "key"));
        let text = fs::read_to_string(&path).map_err(|error| fault(error.to_string()))?;
        let mut rows = backend::Rows::new();
        for (index, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let at = |text: String| fault(format!("line {}: {text}", index + 1));
            let row: Json = serde_json::from_str(line).map_err(|error| at(error.to_string()))?;
            let found = match &row[key] {
                Json::String(text) => text.clone(),
                Json::Number(number) if !number.is_f64() => number.to_string(),
                _ => return Err(at(format!("the key, {key:?}, must be a text or a whole number"))),
            };
            if rows.insert(found.clone(), row).is_some() {
                return Err(at(format!("the key {found:?} stands there twice")));
            }
        }
        tables.insert(table.to_owned(), rows);
    }
    Ok(())
}

fn read_json(path: &Path) -> Result<Json, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn read_event(json: &Json) -> Result<Event, String> {
    const MEMBERS: [&str; 9] = [
        "id",
        "source",
        "type",
        "time",
        "subject",
        "appversion",
        "partner",
        "schema",
        "data",
    ];
    let members = json.as_object().ok_or("an event is an object")?;
    if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(format!("an event has no member {unknown:?}"));
    }
    let text = |name: &str| match members.get(name) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(Text::from(text.as_str()))),
        Some(_) => Err(format!("{name} is a string")),
    };
    let partner = text("partner")?.unwrap_or_else(|| "example".into());
    let event_type = text("type")?.unwrap_or_else(|| "example".into());
    Ok(Event {
        id: text("id")?.unwrap_or_else(|| "example".into()),
        source: text("source")?.unwrap_or_else(|| format!("/partners/{partner}").into()),
        subject: text("subject")?,
        time: text("time")?.unwrap_or_else(|| "2026-01-01T00:00:00Z".into()),
        app_version: text("appversion")?,
        schema: text("schema")?.unwrap_or_else(|| format!("{event_type}@1").into()),
        event_type,
        partner,
        data: Document::new(backend::Document::from_value(
            members.get("data").cloned().ok_or("an event has a member data")?,
        )),
    })
}

fn write_record(output: Output) -> Result<Json, Error> {
    let mut record = Map::new();
    let texts = [
        ("destination", output.destination),
        ("topic", output.topic),
        ("key", output.key),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            record.insert(name.to_owned(), Json::String(text));
        }
    }
    if !output.headers.is_empty() {
        let pair = |(name, value)| Json::Array(vec![Json::String(name), Json::String(value)]);
        let headers = output.headers.into_iter().map(pair).collect();
        record.insert("headers".to_owned(), Json::Array(headers));
    }
    match output.body {
        Body::Document(document) => {
            record.insert("data".to_owned(), document.into_kept()?.into_value());
        }
        Body::Bytes(bytes) => {
            let text = String::from_utf8(bytes).expect("a case holds only bytes that are UTF-8");
            record.insert("text".to_owned(), Json::String(text));
        }
    }
    Ok(Json::Object(record))
}

fn member(name: &str, text: String) -> Json {
    Json::Object(Map::from_iter([(name.to_owned(), Json::String(text))]))
}
