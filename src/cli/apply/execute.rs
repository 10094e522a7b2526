//! Doing what the plan says, step by step. What fails does not keep the rest from being done.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    Components,
    folder::LocalSchema,
    plan::{Plan, Step},
};
use crate::{
    cli::{
        client::{Client, Sent},
        commands::{
            plugin::{self, Uploaded},
            table,
        },
        failure::Failure,
        output::{self, Output},
    },
    event::PluginName,
    registry::model::{SchemaKey, TypeEntry},
};

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    pub created: usize,
    pub changed: usize,
    pub deleted: usize,
    pub failed: usize,
}

/// Makes every change and prints each; failures go to standard error as they come.
pub async fn execute(plan: &Plan, components: &Components, client: &Client, output: Output) -> Done {
    let mut done = Done::default();
    let mut failed_plugins = BTreeSet::new();
    // Where something failed, what would be deleted may be what still has to serve in its place.
    let deletions = plan.deletions.iter().map(|step| (step, true));
    for (step, is_deletion) in plan.changes.iter().map(|step| (step, false)).chain(deletions) {
        if is_deletion && done.failed > 0 {
            done.failed += 1;
            output::note(&format!(
                "not deleted, since something failed: {} {}",
                step.kind(),
                step.name()
            ));
            continue;
        }
        if let Some(plugin) = waits_for(step, &failed_plugins) {
            done.failed += 1;
            output::note(&format!(
                "error: {} {}: waits for plugin {plugin}",
                step.kind(),
                step.name()
            ));
            continue;
        }
        match take(step, components, client).await {
            Ok(()) => {
                done.count(step);
                if !output.is_json() {
                    // A closed output is no reason to stop half way.
                    let _ = output::line(&format!(
                        "{:6}  {:7}  {}",
                        past(step.action()),
                        step.kind(),
                        step.name()
                    ));
                }
            }
            Err(failure) => {
                done.failed += 1;
                output::note(&format!("error: {} {}: {failure}", step.kind(), step.name()));
                if let Step::PushPlugin { name, .. } | Step::ActivatePlugin { name, .. } = step {
                    failed_plugins.insert(name.clone());
                }
            }
        }
    }
    done
}

impl Done {
    fn count(&mut self, step: &Step) {
        match step.action() {
            "create" => self.created += 1,
            "delete" => self.deleted += 1,
            _ => self.changed += 1,
        }
    }
}

fn past(action: &str) -> String {
    format!("{action}d")
}

/// The plugin without which a route would be tried in vain.
fn waits_for<'s>(step: &'s Step, failed: &BTreeSet<PluginName>) -> Option<&'s PluginName> {
    match step {
        Step::PutRoute { route, .. } => route.plugin.as_ref().filter(|plugin| failed.contains(*plugin)),
        _ => None,
    }
}

async fn take(step: &Step, components: &Components, client: &Client) -> Result<(), Failure> {
    match step {
        Step::PutPartner { name, partner, .. } => {
            client
                .put(&["partners", name.as_str()], &[], Sent::json(partner)?)
                .await?;
        }
        Step::PutType { name, entry, .. } => {
            client
                .put(&["types", name.as_str()], &[], Sent::json(entry)?)
                .await?;
        }
        Step::ResetType(name) => {
            let entry = Sent::json(&TypeEntry::default())?;
            client.put(&["types", name.as_str()], &[], entry).await?;
        }
        Step::PutSchema { schema, .. } => {
            let body = Sent {
                content_type: "application/schema+json",
                bytes: schema.text.clone().into_bytes(),
            };
            client
                .put(&schema_path(&schema.key), &source(&schema.key), body)
                .await?;
        }
        Step::PutSchemas { schemas, .. } => {
            let body = Sent::json(&together(schemas))?;
            client.post_with(&["schemas"], &[], body).await?;
        }
        Step::PutUpgrade { upgrade, .. } => {
            let body = Sent::json(&upgrade.upgrade)?;
            client
                .put(&upgrade_path(&upgrade.key), &source(&upgrade.key), body)
                .await?;
        }
        Step::DeleteUpgrade(key) => {
            client.delete(&upgrade_path(key), &source(key)).await?;
        }
        Step::PutTable { table, .. } => {
            let file = &table.file;
            table::put(client, &file.name, &file.path, &file.key).await?;
        }
        Step::DeleteTable(name) => {
            client.delete(&["tables", name.as_str()], &[]).await?;
        }
        Step::PushPlugin { name, .. } => {
            let component = components.get(name).cloned().unwrap_or_default();
            let uploaded: Uploaded = plugin::upload(name, component, client).await?.read()?;
            plugin::activate(name, uploaded.version, None, client).await?;
        }
        Step::ActivatePlugin { name, version } => {
            plugin::activate(name, *version, None, client).await?;
        }
        Step::PutRoute { name, route, .. } => {
            client
                .put(&["routes", name.as_str()], &[], Sent::json(route)?)
                .await?;
        }
        Step::DeleteRoute(name) => {
            client.delete(&["routes", name.as_str()], &[]).await?;
        }
        Step::DeleteSchema { key, force } => {
            let mut query = source(key);
            query.extend(force.then_some(("force", "true")));
            client.delete(&schema_path(key), &query).await?;
        }
        Step::DeletePartner(name) => {
            client.delete(&["partners", name.as_str()], &[]).await?;
        }
    }
    Ok(())
}

fn together(schemas: &[LocalSchema]) -> serde_json::Value {
    let schemas: Vec<_> = schemas
        .iter()
        .map(|LocalSchema { key, text }| {
            let SchemaKey {
                event_type,
                source,
                since,
            } = key;
            json!({ "type": event_type, "since": since, "source": source, "text": text })
        })
        .collect();
    json!({ "schemas": schemas })
}

fn schema_path(key: &SchemaKey) -> [&str; 3] {
    ["schemas", key.event_type.as_str(), &key.since]
}

fn upgrade_path(key: &SchemaKey) -> [&str; 4] {
    ["schemas", key.event_type.as_str(), &key.since, "upgrade"]
}

fn source(key: &SchemaKey) -> Vec<(&'static str, &str)> {
    key.source
        .iter()
        .map(|source| ("source", source.as_str()))
        .collect()
}
