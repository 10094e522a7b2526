//! `headworks plugin`.

use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::{short_digest, short_time};
use crate::{
    cli::{
        arguments::{PluginCommand, Remote},
        client::{Client, Reply, Sent},
        failure::Failure,
        output::{self, Output},
    },
    event::PluginName,
};

#[derive(Deserialize)]
struct Plugin {
    name: String,
    active: Option<u32>,
    previous: Option<u32>,
    share: Option<u8>,
    versions: Vec<Version>,
    health: Option<Health>,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
    digest: String,
    size: u64,
    created: String,
    by: String,
}

#[derive(Deserialize)]
struct Health {
    status: String,
    #[serde(default)]
    calls: u64,
    #[serde(default)]
    rejected: u64,
    #[serde(default)]
    failed: u64,
    detail: Option<String>,
}

/// A version that was uploaded.
#[derive(Deserialize)]
pub struct Uploaded {
    pub version: u32,
    pub digest: String,
}

pub async fn run(command: PluginCommand, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    match command {
        PluginCommand::Push { name, path, activate } => {
            let client = Client::new(remote)?;
            push(&name, &path, activate, &client, *output).await
        }
        PluginCommand::Activate { name, version, share } => {
            let client = Client::new(remote)?;
            let reply = self::activate(&name, version, share, &client).await?;
            output.done(&format!("plugin {name} runs version {version}"), &reply.text)
        }
        PluginCommand::Rollback { name } => {
            let client = Client::new(remote)?;
            let reply = client.post(&["plugins", name.as_str(), "rollback"], None).await?;
            let plugin: Plugin = reply.read()?;
            output.done(&format!("plugin {name} runs version {}", number(plugin.active)), &reply.text)
        }
        PluginCommand::List => {
            let client = Client::new(remote)?;
            let (items, _) = client.list(&["plugins"], &[], usize::MAX).await?;
            let rows = items
                .iter()
                .map(|item| client.parse::<Plugin>(item).map(row))
                .collect::<Result<_, _>>()?;
            let headers = ["NAME", "ACTIVE", "PREVIOUS", "VERSIONS", "STATUS"];
            output.list(&items, &headers, rows, "there is no plugin")
        }
        PluginCommand::Show { name } => {
            let client = Client::new(remote)?;
            let reply = client.get(&["plugins", name.as_str()], &[]).await?;
            if output.is_json() {
                return output::line(&reply.text);
            }
            show(reply.read()?)
        }
    }
}

async fn push(
    name: &PluginName,
    path: &Path,
    activate: bool,
    client: &Client,
    output: Output,
) -> Result<(), Failure> {
    let component = read(path)?;
    let reply = upload(name, component, client).await?;
    let uploaded: Uploaded = reply.read()?;
    let known = if reply.created { "" } else { ", which it already had" };
    let sentence = format!(
        "plugin {name} has version {} ({}){known}",
        uploaded.version,
        short_digest(&uploaded.digest)
    );
    if !activate {
        let next = format!("\nlet it run with `headworks plugin activate {name} --version {}`", uploaded.version);
        return output.done(&(sentence + &next), &reply.text);
    }
    let active = self::activate(name, uploaded.version, None, client).await?;
    output.done(&format!("{sentence}; it runs"), &active.text)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|source| Failure::File {
        path: path.to_owned(),
        source,
    })
}

/// Uploads a component as the plugin's next version.
pub async fn upload(name: &PluginName, component: Vec<u8>, client: &Client) -> Result<Reply, Failure> {
    let body = Sent {
        content_type: "application/wasm",
        bytes: component,
    };
    client.post(&["plugins", name.as_str(), "versions"], Some(body)).await
}

/// Lets a version run.
pub async fn activate(
    name: &PluginName,
    version: u32,
    share: Option<u8>,
    client: &Client,
) -> Result<Reply, Failure> {
    let mut body = json!({ "version": version });
    if let (Some(share), Some(members)) = (share, body.as_object_mut()) {
        members.insert("share".to_owned(), json!(share));
    }
    client.post(&["plugins", name.as_str(), "activate"], Some(Sent::json(&body)?)).await
}

fn row(plugin: Plugin) -> Vec<String> {
    vec![
        plugin.name,
        number(plugin.active),
        number(plugin.previous),
        plugin.versions.len().to_string(),
        plugin.health.map(|health| health.status).unwrap_or_default(),
    ]
}

fn number(version: Option<u32>) -> String {
    version.map_or_else(|| "none".to_owned(), |version| version.to_string())
}

fn show(plugin: Plugin) -> Result<(), Failure> {
    let mut pairs = vec![
        ("name", plugin.name),
        ("active", number(plugin.active)),
        ("previous", number(plugin.previous)),
    ];
    if let Some(share) = plugin.share.filter(|share| *share < 100) {
        pairs.push(("share", format!("{share} %")));
    }
    if let Some(health) = plugin.health {
        let counts = format!(
            "{} ({} calls, {} rejected, {} failed)",
            health.status, health.calls, health.rejected, health.failed
        );
        pairs.push(("health", counts));
        pairs.extend(health.detail.map(|detail| ("", detail)));
    }
    output::pairs(&pairs)?;
    let rows = plugin
        .versions
        .into_iter()
        .map(|version| {
            vec![
                version.version.to_string(),
                short_digest(&version.digest),
                version.size.to_string(),
                short_time(&version.created),
                version.by,
            ]
        })
        .collect();
    output::table(&["VERSION", "DIGEST", "BYTES", "CREATED", "BY"], rows)
}
