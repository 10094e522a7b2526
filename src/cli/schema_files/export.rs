//! `headworks schema export`: what a gateway has, in the layout that `apply` reads.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::layout::{self, Present};
use crate::{
    cli::{
        client::Client,
        failure::Failure,
        output::{self, Output},
        resources,
    },
    event::EventType,
    registry::model::{SchemaKey, TypeEntry, Upgrade},
};

#[derive(Deserialize)]
struct ListedSchema {
    #[serde(flatten)]
    key: SchemaKey,
    upgrade: Option<Upgrade>,
}

#[derive(Deserialize)]
struct ListedType {
    #[serde(rename = "type")]
    event_type: EventType,
    #[serde(flatten)]
    entry: serde_json::Value,
}

/// Writes schemas, their upgrades, and types. Nothing is written where a file is there with another content, unless
/// `overwrite` says so.
pub async fn run(directory: &Path, overwrite: bool, client: &Client, output: Output) -> Result<(), Failure> {
    let mut files = schemas(client).await?;
    let types: Vec<ListedType> = client.all(&["types"]).await?;
    for ListedType { event_type, entry } in types {
        let entry: TypeEntry = client.value(entry)?;
        // An entry that says nothing is the same as none.
        if entry != TypeEntry::default() {
            files.push((
                format!("types/{event_type}.toml"),
                resources::to_toml(&entry) + "\n",
            ));
        }
    }
    let mut wanted = Vec::new();
    let mut others = Vec::new();
    let mut same = 0;
    for (name, text) in files {
        let path = directory.join(&name);
        match layout::present(&path, &text)? {
            Present::Same => same += 1,
            Present::Other if !overwrite => others.push(name),
            Present::Other | Present::Absent => wanted.push((path, text)),
        }
    }
    if !others.is_empty() {
        return Err(Failure::Usage(format!(
            "nothing was written: {} {} with another content, the first of them {}; give --overwrite, or another folder",
            others.len(),
            if others.len() == 1 {
                "file is there"
            } else {
                "files are there"
            },
            others[0]
        )));
    }
    let written: Vec<PathBuf> = wanted.iter().map(|(path, _)| path.clone()).collect();
    for (path, text) in wanted {
        layout::write(&path, &text)?;
    }
    if output.is_json() {
        let names: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        return output::line(&serde_json::json!({ "written": names, "unchanged": same }).to_string());
    }
    output::line(&format!("{} written, {same} unchanged", written.len()))
}

async fn schemas(client: &Client) -> Result<Vec<(String, String)>, Failure> {
    let listed: Vec<ListedSchema> = client.all(&["schemas"]).await?;
    let mut files = Vec::new();
    for ListedSchema { key, upgrade } in listed {
        let source = key.source.as_deref();
        let query: Vec<(&str, &str)> = source.iter().map(|source| ("source", *source)).collect();
        let path = ["schemas", key.event_type.as_str(), &key.since];
        let stem = layout::schema_stem(key.event_type.as_str(), &key.since, source);
        // As it was registered, to the byte: a schema is known by its digest.
        files.push((format!("{stem}.json"), client.get(&path, &query).await?.text));
        if let Some(upgrade) = upgrade {
            let text =
                serde_json::to_string_pretty(&upgrade).map_err(|error| Failure::Usage(error.to_string()))?;
            files.push((format!("{stem}.upgrade.json"), text + "\n"));
        }
    }
    Ok(files)
}
