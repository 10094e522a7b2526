//! `headworks table`.

use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{short_digest, short_time};
use crate::{
    cli::{
        arguments::TableCommand,
        client::{Client, Reply, Sent},
        failure::Failure,
        output::{self, Output},
        table_files::{KEY_DEFAULT, format_of},
    },
    event::TableName,
    registry::model::TableFormat,
};

#[derive(Deserialize)]
struct Shown {
    name: String,
    version: u64,
    format: TableFormat,
    key: String,
    rows: u64,
    size: u64,
    memory_bytes: u64,
    digest: String,
    created: String,
    by: String,
    in_force: Option<u64>,
    detail: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    row: Box<RawValue>,
}

impl Shown {
    fn standing(&self) -> String {
        match (self.in_force, &self.detail) {
            (Some(version), None) => format!("version {version} serves on this node"),
            (Some(version), Some(detail)) => format!("version {version} serves on this node: {detail}"),
            (None, detail) => {
                let detail = detail.as_deref().unwrap_or_default();
                format!("not on this node: {detail}")
            }
        }
    }
}

pub async fn run(command: TableCommand, client: &Client, output: &mut Output) -> Result<(), Failure> {
    match command {
        TableCommand::List => list(client, output).await,
        TableCommand::Show { name } => {
            let reply = client.get(&["tables", name.as_str()], &[]).await?;
            if output.is_json() {
                return output::line(&reply.text);
            }
            let shown: Shown = reply.read()?;
            output::pairs(&[
                ("NAME", shown.name.clone()),
                ("VERSION", shown.version.to_string()),
                ("KEY", shown.key.clone()),
                ("ROWS", shown.rows.to_string()),
                ("FORMAT", shown.format.content_type().to_owned()),
                ("BYTES", shown.size.to_string()),
                ("MEMORY", shown.memory_bytes.to_string()),
                ("DIGEST", shown.digest.clone()),
                (
                    "CREATED",
                    format!("{} by {}", short_time(&shown.created), shown.by),
                ),
                ("STANDING", shown.standing()),
            ])
        }
        TableCommand::Put { name, file, key } => {
            let key = key.as_deref().unwrap_or(KEY_DEFAULT);
            let reply = put(client, &name, &file, key).await?;
            let shown: Shown = reply.read()?;
            let done = if reply.created { "created" } else { "in force:" };
            let (version, rows) = (shown.version, shown.rows);
            output.done(
                &format!("{done} table {name}@{version}, {rows} rows"),
                &reply.text,
            )
        }
        TableCommand::Get { name, key } => {
            let reply = client
                .get(&["tables", name.as_str(), "row"], &[("key", &key)])
                .await?;
            if output.is_json() {
                return output::line(&reply.text);
            }
            output::line(reply.read::<Row>()?.row.get())
        }
        TableCommand::Delete { name, force } => {
            let query: &[_] = if force { &[("force", "true")] } else { &[] };
            let reply = client.delete(&["tables", name.as_str()], query).await?;
            output.done(&format!("deleted table {name}"), &reply.text)
        }
    }
}

async fn list(client: &Client, output: &Output) -> Result<(), Failure> {
    let (items, _) = client.list(&["tables"], &[], usize::MAX).await?;
    let rows = items
        .iter()
        .map(|item| {
            client.parse::<Shown>(item).map(|shown| {
                vec![
                    shown.name.clone(),
                    shown.version.to_string(),
                    shown.key.clone(),
                    shown.rows.to_string(),
                    shown.memory_bytes.to_string(),
                    short_digest(&shown.digest),
                    short_time(&shown.created),
                    shown.standing(),
                ]
            })
        })
        .collect::<Result<_, _>>()?;
    let headers = [
        "NAME", "VERSION", "KEY", "ROWS", "MEMORY", "DIGEST", "CREATED", "STANDING",
    ];
    output.list(&items, &headers, rows, "there is no lookup table")
}

/// Sends the file as the table's rows.
pub async fn put(client: &Client, name: &TableName, file: &Path, key: &str) -> Result<Reply, Failure> {
    let Some(format) = format_of(file) else {
        return Err(Failure::Usage(format!(
            "{}: a table is a file that ends in .ndjson or .csv",
            file.display()
        )));
    };
    let bytes = std::fs::read(file).map_err(|source| Failure::File {
        path: file.to_owned(),
        source,
    })?;
    let body = Sent {
        content_type: format.content_type(),
        bytes,
    };
    client
        .put(&["tables", name.as_str()], &[("key", key)], body)
        .await
}
