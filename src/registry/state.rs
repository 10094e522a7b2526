//! How an entry of the log changes the state. Pure: replaying the same log gives the same state everywhere, so an
//! entry that finds nothing to change is no error.

use std::{collections::BTreeMap, sync::Arc};

use super::model::{
    Change, Entry, KeyedSchema, Plugin, Schema, SchemaKey, State, TypeSchemas, Upgrade, Versioned,
};
use crate::event::{EventType, PluginName, TableName};

impl State {
    /// The state after `entry`; what it does not touch is shared with this one.
    #[must_use]
    pub fn apply(&self, entry: &Entry) -> State {
        let mut state = self.clone();
        state.apply_in_place(entry);
        state
    }

    /// [`State::apply`] without the copy, for replaying a long log.
    pub fn apply_in_place(&mut self, entry: &Entry) {
        let sequence = entry.sequence;
        self.sequence = sequence;
        match entry.change.clone() {
            Change::PutPartner { name, partner } => {
                self.partners.insert(name, versioned(sequence, partner));
            }
            Change::DeletePartner { name } => {
                self.partners.remove(&name);
                self.keys.retain(|_, key| key.value.partner != name);
            }
            Change::CreateKey { key } => {
                self.keys.insert(key.id.clone(), versioned(sequence, key));
            }
            Change::RevokeKey { partner, id } => {
                if self.keys.get(&id).is_some_and(|key| key.value.partner == partner) {
                    self.keys.remove(&id);
                }
            }
            Change::PutType { event_type, entry } => {
                self.types.insert(event_type, versioned(sequence, entry));
            }
            Change::PutSchema { key, schema, .. } => put_schema(&mut self.schemas, sequence, key, schema),
            Change::PutSchemas { schemas, .. } => {
                for KeyedSchema { key, schema } in schemas {
                    put_schema(&mut self.schemas, sequence, key, schema);
                }
            }
            Change::DeleteSchema { key, .. } => self.delete_schema(&key),
            Change::PutUpgrade { key, upgrade } => self.put_upgrade(sequence, key, upgrade),
            Change::DeleteUpgrade { key } => {
                if let Some(of_type) = self.schemas.get_mut(&key.event_type)
                    && of_type.upgrade(&key).is_some()
                {
                    Arc::make_mut(of_type).remove_upgrade(&key);
                }
            }
            Change::PutRoute { name, route } => {
                self.routes.insert(name, versioned(sequence, route));
            }
            Change::DeleteRoute { name } => {
                self.routes.remove(&name);
            }
            Change::PutTable { name, table } => {
                self.deleted_tables.remove(&name);
                self.tables.insert(name, versioned(sequence, table));
            }
            Change::DeleteTable { name, .. } => {
                if let Some(known) = self.tables.remove(&name) {
                    self.deleted_tables.insert(name, known.value.version);
                }
            }
            Change::CreateToken { token } => {
                self.tokens.insert(token.id.clone(), versioned(sequence, token));
            }
            Change::DeleteToken { id } => {
                self.tokens.remove(&id);
            }
            Change::AddPluginVersion { .. }
            | Change::ActivatePlugin { .. }
            | Change::ShadowPlugin { .. }
            | Change::RollBackPlugin { .. } => self.change_plugin(entry),
            Change::Note { .. } => {}
        }
    }

    fn delete_schema(&mut self, key: &SchemaKey) {
        let Some(of_type) = self.schemas.get_mut(&key.event_type) else {
            return;
        };
        if let Some(index) = of_type.position(key) {
            let of_type = Arc::make_mut(of_type);
            of_type.schemas.remove(index);
            of_type.remove_upgrade(key);
        }
        if of_type.schemas.is_empty() {
            self.schemas.remove(&key.event_type);
        }
    }

    /// The version that a table's next contents get.
    pub fn next_table_version(&self, name: &TableName) -> u64 {
        let known = self.tables.get(name).map(|known| known.value.version);
        let last = known.or_else(|| self.deleted_tables.get(name).copied());
        last.unwrap_or(0) + 1
    }

    /// An upgrade to a schema that is gone meanwhile would lead nowhere.
    fn put_upgrade(&mut self, sequence: u64, key: SchemaKey, upgrade: Upgrade) {
        let Some(of_type) = self.schemas.get_mut(&key.event_type) else {
            return;
        };
        if of_type.position(&key).is_some() {
            let of_type = Arc::make_mut(of_type);
            of_type.remove_upgrade(&key);
            of_type.upgrades.push(versioned(sequence, (key, upgrade)));
        }
    }

    fn change_plugin(&mut self, entry: &Entry) {
        let (sequence, at) = (entry.sequence, entry.at);
        match &entry.change {
            Change::AddPluginVersion { plugin, version } => {
                self.edit_plugin(sequence, plugin, |plugin| {
                    if plugin.version(version.version).is_none() {
                        plugin.versions.push(version.clone());
                    }
                });
            }
            Change::ActivatePlugin {
                plugin,
                version,
                share,
            } => {
                self.edit_plugin(sequence, plugin, |plugin| plugin.activate(*version, *share, at));
            }
            Change::ShadowPlugin { plugin, version } => {
                self.edit_plugin(sequence, plugin, |plugin| plugin.shadow = *version);
            }
            Change::RollBackPlugin { plugin, cause } => {
                self.edit_plugin(sequence, plugin, |plugin| plugin.roll_back(cause.clone(), at));
            }
            _ => {}
        }
    }

    fn edit_plugin(&mut self, sequence: u64, name: &PluginName, edit: impl FnOnce(&mut Plugin)) {
        let mut plugin = self
            .plugins
            .get(name)
            .map(|known| known.value.clone())
            .unwrap_or_default();
        edit(&mut plugin);
        self.plugins.insert(name.clone(), versioned(sequence, plugin));
    }
}

/// Also how it is found out what a registration would come to.
pub fn put_schema(
    schemas: &mut BTreeMap<EventType, Arc<TypeSchemas>>,
    sequence: u64,
    key: SchemaKey,
    schema: Schema,
) {
    let of_type = Arc::make_mut(schemas.entry(key.event_type.clone()).or_default());
    let known = of_type.position(&key);
    let entry = versioned(sequence, (key, schema));
    match known.and_then(|index| of_type.schemas.get_mut(index)) {
        Some(place) => *place = entry,
        None => of_type.schemas.push(entry),
    }
}

impl TypeSchemas {
    fn remove_upgrade(&mut self, key: &SchemaKey) {
        let known = self.upgrade(key).map(|known| known.sequence);
        self.upgrades.retain(|upgrade| Some(upgrade.sequence) != known);
    }
}

fn versioned<T>(sequence: u64, value: T) -> Arc<Versioned<T>> {
    Arc::new(Versioned { sequence, value })
}
