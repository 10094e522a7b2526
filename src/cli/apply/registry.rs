//! What the registry holds, over the API.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Held,
    plan::{Current, CurrentPlugin, Step},
};
use crate::{
    cli::{client::Client, failure::Failure},
    event::PluginName,
    registry::model::{Digest, SchemaKey, Upgrade},
};

#[derive(Deserialize)]
struct ListedSchema {
    #[serde(flatten)]
    key: SchemaKey,
    digest: Digest,
    upgrade: Option<Upgrade>,
    #[serde(default)]
    referred_by: Vec<SchemaKey>,
}

#[derive(Deserialize)]
struct ListedPlugin {
    name: PluginName,
    active: Option<u32>,
    versions: Vec<ListedVersion>,
}

#[derive(Deserialize)]
struct ListedVersion {
    version: u32,
    digest: Digest,
}

pub async fn read(client: &Client) -> Result<Current, Failure> {
    let schemas: Vec<ListedSchema> = client.all(&["schemas"]).await?;
    let plugins: Vec<ListedPlugin> = client.all(&["plugins"]).await?;
    Ok(Current {
        partners: named(client, "partners", "name").await?,
        types: named(client, "types", "type").await?,
        routes: named(client, "routes", "name").await?,
        tables: named(client, "tables", "name").await?,
        upgrades: schemas
            .iter()
            .filter_map(|schema| Some((schema.key.clone(), schema.upgrade.clone()?)))
            .collect(),
        referred_by: schemas
            .iter()
            .filter(|schema| !schema.referred_by.is_empty())
            .map(|schema| (schema.key.clone(), schema.referred_by.clone()))
            .collect(),
        schemas: schemas
            .into_iter()
            .map(|schema| (schema.key, schema.digest))
            .collect(),
        plugins: plugins
            .into_iter()
            .map(|plugin| {
                let versions = plugin.versions.into_iter();
                let current = CurrentPlugin {
                    active: plugin.active,
                    versions: versions.map(|known| (known.version, known.digest)).collect(),
                };
                (plugin.name, current)
            })
            .collect(),
    })
}

/// A list whose items have the resource's members and its name.
async fn named<N, T>(client: &Client, path: &str, name: &str) -> Result<BTreeMap<N, T>, Failure>
where
    N: serde::de::DeserializeOwned + Ord,
    T: serde::de::DeserializeOwned,
{
    let items: Vec<Map<String, Value>> = client.all(&[path]).await?;
    items
        .into_iter()
        .map(|mut item| {
            let key = item.remove(name).unwrap_or_default();
            Ok((client.value(key)?, client.value(Value::Object(item))?))
        })
        .collect()
}

/// Takes the partners that have live keys out of `deletions`.
pub async fn partners_in_use(client: &Client, deletions: &mut Vec<Step>) -> Result<Vec<Held>, Failure> {
    let mut held = Vec::new();
    for step in deletions.iter() {
        if let Step::DeletePartner(name) = step {
            let (keys, _) = client
                .list(&["partners", name.as_str(), "keys"], &[], usize::MAX)
                .await?;
            if !keys.is_empty() {
                held.push(Held {
                    name: name.clone(),
                    live_keys: keys.len(),
                });
            }
        }
    }
    deletions.retain(|step| {
        !held
            .iter()
            .any(|held| matches!(step, Step::DeletePartner(name) if *name == held.name))
    });
    Ok(held)
}
