//! `headworks schema`.

use std::path::Path;

use serde::Deserialize;

use super::{
    schema_report::{self, Checked, Comparison, Dependent, Falls},
    short_digest, short_time,
};
use crate::{
    cli::{
        arguments::{SchemaCommand, SchemaName},
        client::{Client, Reply, Sent},
        confirm::confirm,
        failure::Failure,
        output::{self, Output},
        resources::read_text,
        schema_files::export,
    },
    registry::model::SchemaKey,
};

/// The gateway's own bound is a setting; this one keeps a wrong file out of memory.
const SCHEMA_BYTES_MAX: u64 = 64 << 20;

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "type")]
    event_type: String,
    since: String,
    source: Option<String>,
    digest: String,
    created: String,
    by: String,
}

#[derive(Deserialize)]
struct Bonds {
    refers_to: Vec<String>,
    referred_by: Vec<SchemaKey>,
}

#[derive(Deserialize)]
struct Deletion {
    falls: Vec<Falls>,
    referred_by: Vec<SchemaKey>,
    upgrade_refused: Option<String>,
}

#[derive(Deserialize)]
struct Registered {
    #[serde(default)]
    compatibility: Vec<Comparison>,
    #[serde(default)]
    dependents: Vec<Dependent>,
}

#[derive(Deserialize)]
struct Upgraded {
    from: String,
    checked: usize,
}

pub async fn run(command: SchemaCommand, client: &Client, output: &mut Output) -> Result<(), Failure> {
    match command {
        SchemaCommand::List { event_type } => {
            let mut path = vec!["schemas"];
            path.extend(event_type.as_ref().map(crate::event::EventType::as_str));
            let (items, _) = client.list(&path, &[], usize::MAX).await?;
            let rows = items
                .iter()
                .map(|item| client.parse::<Listed>(item).map(row))
                .collect::<Result<_, _>>()?;
            let headers = ["TYPE", "SINCE", "SOURCE", "DIGEST", "CREATED", "BY"];
            output.list(&items, &headers, rows, "no schema is registered")
        }
        SchemaCommand::Show { schema } => {
            let reply = client.get(&path(&schema), &query(&schema)).await?;
            output::line(reply.text.trim_end())?;
            bonds(&schema, client).await
        }
        SchemaCommand::Register { schema, file, force } => {
            let (_, text) = read_text(&file, SCHEMA_BYTES_MAX)?;
            let mut query = query(&schema);
            if force {
                query.push(("force", "true"));
            }
            let body = Sent {
                content_type: "application/schema+json",
                bytes: text.into_bytes(),
            };
            let reply = client.put(&path(&schema), &query, body).await?;
            let done = if reply.created { "registered" } else { "in force:" };
            output.done(&format!("{done} {}", label(&schema)), &reply.text)?;
            comparisons(reply.read::<Registered>()?, *output)
        }
        SchemaCommand::Export { directory, overwrite } => {
            export::run(&directory, overwrite, client, *output).await
        }
        // Neither speaks to a gateway: they are done before there is a client.
        SchemaCommand::Import { .. } | SchemaCommand::Infer { .. } => Ok(()),
        SchemaCommand::Upgrade { schema, file, delete } => {
            upgrade(&schema, file.as_deref(), delete, client, output).await
        }
        SchemaCommand::Check { schema, file } => {
            let (_, text) = read_text(&file, SCHEMA_BYTES_MAX)?;
            let (reply, checked) = check(client, &schema, text, None).await?;
            if output.is_json() {
                output::line(reply.text.trim_end())?;
            } else {
                schema_report::print(&checked, &label(&schema), &schema.since)?;
            }
            if checked.registers {
                Ok(())
            } else {
                Err(Failure::Said)
            }
        }
        SchemaCommand::Diff { schema, other } => diff(&schema, other, client, output).await,
        SchemaCommand::Delete {
            schema,
            force,
            dry_run,
            yes,
        } => {
            if (dry_run || !yes) && !would_be_deleted(&schema, dry_run, client, output).await? {
                return Ok(());
            }
            let mut query = query(&schema);
            query.extend(force.then_some(("force", "true")));
            let reply = client.delete(&path(&schema), &query).await?;
            output.done(&format!("deleted {}", label(&schema)), &reply.text)
        }
    }
}

/// What the schema refers to and what refers to it, beside the text: on standard error, as all that is no text.
async fn bonds(schema: &SchemaName, client: &Client) -> Result<(), Failure> {
    let [schemas, event_type, since] = path(schema);
    let path = [schemas, event_type, since, "references"];
    let bonds: Bonds = client.get(&path, &query(schema)).await?.read()?;
    if !bonds.refers_to.is_empty() {
        output::note(&format!("refers to {}", bonds.refers_to.join(", ")));
    }
    if !bonds.referred_by.is_empty() {
        let names: Vec<String> = bonds.referred_by.iter().map(SchemaKey::to_string).collect();
        output::note(&format!("referred to by {}", names.join(", ")));
    }
    Ok(())
}

async fn upgrade(
    schema: &SchemaName,
    file: Option<&Path>,
    delete: bool,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let [schemas, event_type, since] = path(schema);
    let path = [schemas, event_type, since, "upgrade"];
    if delete {
        let reply = client.delete(&path, &query(schema)).await?;
        return output.done(&format!("deleted the upgrade to {}", label(schema)), &reply.text);
    }
    let Some(file) = file else {
        let reply = client.get(&path, &query(schema)).await?;
        return output::line(reply.text.trim_end());
    };
    let (_, text) = read_text(file, SCHEMA_BYTES_MAX)?;
    let body = Sent {
        content_type: "application/json",
        bytes: text.into_bytes(),
    };
    let reply = client.put(&path, &query(schema), body).await?;
    let upgrade: Upgraded = reply.read()?;
    let sentence = format!(
        "events of {} are upgraded to {}; tried on {}",
        upgrade.from,
        label(schema),
        upgrade.checked
    );
    output.done(&sentence, &reply.text)
}

async fn diff(schema: &SchemaName, other: String, client: &Client, output: &Output) -> Result<(), Failure> {
    let other_schema = SchemaName {
        since: other.clone(),
        ..schema.clone()
    };
    let text = client
        .get(&path(&other_schema), &query(&other_schema))
        .await?
        .text;
    let (reply, checked) = check(client, &other_schema, text, Some(&schema.since)).await?;
    if output.is_json() {
        return output::line(reply.text.trim_end());
    }
    schema_report::compared(&checked, &other)
}

/// Says what would become of events, and asks; false where nothing more is to be done.
async fn would_be_deleted(
    schema: &SchemaName,
    dry_run: bool,
    client: &Client,
    output: &Output,
) -> Result<bool, Failure> {
    let mut query = query(schema);
    query.push(("dry_run", "true"));
    let reply = client.delete(&path(schema), &query).await?;
    if output.is_json() {
        if dry_run {
            output::line(reply.text.trim_end())?;
        }
    } else {
        consequences(reply.read()?)?;
    }
    if dry_run {
        return Ok(false);
    }
    confirm(
        &format!("Delete {}?", label(schema)),
        "nothing was deleted: say yes on the terminal, or give --yes",
    )?;
    Ok(true)
}

/// What a deletion would do.
fn consequences(deletion: Deletion) -> Result<(), Failure> {
    if deletion.falls.is_empty() {
        output::line("no event that was seen lately would be checked by another schema")?;
    }
    schema_report::falls(&deletion.falls)?;
    if !deletion.referred_by.is_empty() {
        let names: Vec<String> = deletion.referred_by.iter().map(SchemaKey::to_string).collect();
        output::line(&format!("referred to by {}", names.join(", ")))?;
    }
    match &deletion.upgrade_refused {
        Some(detail) => output::line(&output::printable(detail)),
        None => Ok(()),
    }
}

async fn check(
    client: &Client,
    schema: &SchemaName,
    text: String,
    with: Option<&str>,
) -> Result<(Reply, Checked), Failure> {
    let [schemas, event_type, since] = path(schema);
    let mut query = query(schema);
    query.extend(with.map(|with| ("with", with)));
    let body = Sent {
        content_type: "application/schema+json",
        bytes: text.into_bytes(),
    };
    let reply = client
        .post_with(&[schemas, event_type, since, "check"], &query, body)
        .await?;
    let checked = reply.read()?;
    Ok((reply, checked))
}

fn row(schema: Listed) -> Vec<String> {
    vec![
        schema.event_type,
        schema.since,
        schema.source.unwrap_or_else(|| "any".to_owned()),
        short_digest(&schema.digest),
        short_time(&schema.created),
        schema.by,
    ]
}

fn comparisons(registered: Registered, output: Output) -> Result<(), Failure> {
    if output.is_json() {
        return Ok(());
    }
    if !registered.compatibility.is_empty() {
        schema_report::verdicts(&registered.compatibility)?;
    }
    schema_report::dependents(&registered.dependents)
}

fn path(schema: &SchemaName) -> [&str; 3] {
    ["schemas", schema.event_type.as_str(), &schema.since]
}

fn query(schema: &SchemaName) -> Vec<(&'static str, &str)> {
    schema
        .source
        .iter()
        .map(|source| ("source", source.as_str()))
        .collect()
}

fn label(schema: &SchemaName) -> String {
    match &schema.source {
        Some(source) => format!("{}@{} for {source}", schema.event_type, schema.since),
        None => format!("{}@{}", schema.event_type, schema.since),
    }
}
