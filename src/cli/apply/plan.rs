//! What has to change so that the registry matches the folder; pure.

use std::collections::BTreeMap;

use super::{
    folder::{LocalSchema, LocalUpgrade, same_schema},
    order,
    tables::LocalTable,
};
use crate::{
    event::{EventType, PartnerName, PluginName, RouteName, TableName},
    registry::model::{Digest, Partner, Route, SchemaKey, Table, TypeEntry, Upgrade},
    validate::References,
};

/// What the registry should hold; an absent kind is left alone.
#[derive(Debug, Default)]
pub struct Wanted {
    pub partners: Option<BTreeMap<PartnerName, Partner>>,
    pub types: Option<BTreeMap<EventType, TypeEntry>>,
    pub schemas: Option<Vec<LocalSchema>>,
    /// Between `schemas`.
    pub references: References,
    pub upgrades: Vec<LocalUpgrade>,
    pub tables: Option<BTreeMap<TableName, LocalTable>>,
    pub routes: Option<BTreeMap<RouteName, Route>>,
    pub plugins: BTreeMap<PluginName, Digest>,
}

/// What the registry holds.
#[derive(Debug, Default)]
pub struct Current {
    pub partners: BTreeMap<PartnerName, Partner>,
    pub types: BTreeMap<EventType, TypeEntry>,
    pub schemas: Vec<(SchemaKey, Digest)>,
    /// The schemas that refer to one; of those that some refer to.
    pub referred_by: Vec<(SchemaKey, Vec<SchemaKey>)>,
    pub upgrades: Vec<(SchemaKey, Upgrade)>,
    pub tables: BTreeMap<TableName, Table>,
    pub routes: BTreeMap<RouteName, Route>,
    pub plugins: BTreeMap<PluginName, CurrentPlugin>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentPlugin {
    pub active: Option<u32>,
    pub versions: Vec<(u32, Digest)>,
}

/// One change of the registry.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    PutPartner {
        name: PartnerName,
        partner: Partner,
        is_new: bool,
    },
    PutType {
        name: EventType,
        entry: TypeEntry,
        is_new: bool,
    },
    PutSchema {
        schema: LocalSchema,
        is_new: bool,
    },
    /// They refer to each other: all at once.
    PutSchemas {
        schemas: Vec<LocalSchema>,
        is_new: bool,
    },
    /// After all schemas: it is tried on two of them.
    PutUpgrade {
        upgrade: LocalUpgrade,
        is_new: bool,
    },
    PutTable {
        table: LocalTable,
        is_new: bool,
    },
    /// Upload the component in the folder, and let it run.
    PushPlugin {
        name: PluginName,
        is_new: bool,
    },
    /// The registry has the component, and another one runs.
    ActivatePlugin {
        name: PluginName,
        version: u32,
    },
    PutRoute {
        name: RouteName,
        route: Route,
        is_new: bool,
    },
    DeleteRoute(RouteName),
    DeleteTable(TableName),
    /// Those that refer to each other go with force, one after the other.
    DeleteSchema {
        key: SchemaKey,
        force: bool,
    },
    DeleteUpgrade(SchemaKey),
    /// A type's entry cannot be deleted; one with the defaults says the same as none.
    ResetType(EventType),
    DeletePartner(PartnerName),
}

/// What is to be done, in this order: first all that is new or changed, then what goes.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub changes: Vec<Step>,
    pub deletions: Vec<Step>,
    pub unchanged: usize,
}

impl Step {
    /// `create`, `change` or `delete`.
    pub fn action(&self) -> &'static str {
        match self {
            Step::PutPartner { is_new: true, .. }
            | Step::PutType { is_new: true, .. }
            | Step::PutSchema { is_new: true, .. }
            | Step::PutSchemas { is_new: true, .. }
            | Step::PutUpgrade { is_new: true, .. }
            | Step::PutTable { is_new: true, .. }
            | Step::PushPlugin { is_new: true, .. }
            | Step::PutRoute { is_new: true, .. } => "create",
            Step::DeleteRoute(_)
            | Step::DeleteTable(_)
            | Step::DeleteSchema { .. }
            | Step::DeleteUpgrade(_)
            | Step::ResetType(_)
            | Step::DeletePartner(_) => "delete",
            _ => "change",
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Step::PutPartner { .. } | Step::DeletePartner(_) => "partner",
            Step::PutType { .. } | Step::ResetType(_) => "type",
            Step::PutSchema { .. } | Step::DeleteSchema { .. } => "schema",
            Step::PutSchemas { .. } => "schemas",
            Step::PutUpgrade { .. } | Step::DeleteUpgrade(_) => "upgrade",
            Step::PutTable { .. } | Step::DeleteTable(_) => "table",
            Step::PushPlugin { .. } | Step::ActivatePlugin { .. } => "plugin",
            Step::PutRoute { .. } | Step::DeleteRoute(_) => "route",
        }
    }

    pub fn name(&self) -> String {
        match self {
            Step::PutPartner { name, .. } | Step::DeletePartner(name) => name.to_string(),
            Step::PutType { name, .. } | Step::ResetType(name) => name.to_string(),
            Step::PutSchema { schema, .. } => schema.key.to_string(),
            Step::PutSchemas { schemas, .. } => {
                let names: Vec<String> = schemas.iter().map(|schema| schema.key.to_string()).collect();
                names.join(" and ")
            }
            Step::DeleteSchema { key, .. } | Step::DeleteUpgrade(key) => key.to_string(),
            Step::PutUpgrade { upgrade, .. } => upgrade.key.to_string(),
            Step::PutTable { table, .. } => table.file.name.to_string(),
            Step::DeleteTable(name) => name.to_string(),
            Step::PushPlugin { name, .. } => name.to_string(),
            Step::ActivatePlugin { name, version } => format!("{name}@{version}"),
            Step::PutRoute { name, .. } | Step::DeleteRoute(name) => name.to_string(),
        }
    }
}

/// Compares what is wanted with what there is.
pub fn plan(wanted: Wanted, current: &Current) -> Plan {
    let mut plan = Plan::default();
    let absent_partners = plan.compare(wanted.partners, &current.partners, |name, partner, is_new| {
        Step::PutPartner {
            name,
            partner,
            is_new,
        }
    });
    let absent_types = plan.compare(wanted.types, &current.types, |name, entry, is_new| {
        Step::PutType { name, entry, is_new }
    });
    let has_schemas = wanted.schemas.is_some();
    let absent_schemas = plan.compare_schemas(wanted.schemas, &wanted.references, &current.schemas);
    let absent_upgrades = plan.compare_upgrades(wanted.upgrades, &current.upgrades);
    let absent_tables = plan.compare_tables(wanted.tables, &current.tables);
    plan.compare_plugins(wanted.plugins, &current.plugins);
    let absent_routes = plan.compare(wanted.routes, &current.routes, |name, route, is_new| {
        Step::PutRoute { name, route, is_new }
    });
    let default = TypeEntry::default();
    let is_set = |name: &EventType| current.types.get(name).is_some_and(|entry| *entry != default);
    // Routes first: what no route takes any more needs no schema, and keys are the last that senders may lose.
    plan.deletions
        .extend(absent_routes.into_iter().map(Step::DeleteRoute));
    plan.deletions
        .extend(absent_tables.into_iter().map(Step::DeleteTable));
    // An upgrade goes with its schema.
    let stays =
        |key: &SchemaKey| has_schemas && !absent_schemas.iter().any(|absent| same_schema(absent, key));
    plan.deletions
        .extend(absent_upgrades.into_iter().filter(stays).map(Step::DeleteUpgrade));
    let absent_schemas = order::deletions(absent_schemas, &current.referred_by, &wanted.references);
    let deletions = absent_schemas.into_iter();
    plan.deletions
        .extend(deletions.map(|(key, force)| Step::DeleteSchema { key, force }));
    plan.deletions
        .extend(absent_types.into_iter().filter(is_set).map(Step::ResetType));
    plan.deletions
        .extend(absent_partners.into_iter().map(Step::DeletePartner));
    plan
}

impl Plan {
    /// Notes what is new or changed, and gives the names that are not wanted.
    fn compare<N: Ord + Clone, T: PartialEq>(
        &mut self,
        wanted: Option<BTreeMap<N, T>>,
        current: &BTreeMap<N, T>,
        put: impl Fn(N, T, bool) -> Step,
    ) -> Vec<N> {
        let Some(wanted) = wanted else {
            return Vec::new();
        };
        let absent = current
            .keys()
            .filter(|name| !wanted.contains_key(name))
            .cloned()
            .collect();
        for (name, value) in wanted {
            match current.get(&name) {
                Some(known) if *known == value => self.unchanged += 1,
                known => self.changes.push(put(name, value, known.is_none())),
            }
        }
        absent
    }

    fn compare_schemas(
        &mut self,
        wanted: Option<Vec<LocalSchema>>,
        references: &References,
        current: &[(SchemaKey, Digest)],
    ) -> Vec<SchemaKey> {
        let Some(wanted) = wanted else {
            return Vec::new();
        };
        let mut wanted_by_type: BTreeMap<&EventType, Vec<&SchemaKey>> = BTreeMap::new();
        for schema in &wanted {
            wanted_by_type
                .entry(&schema.key.event_type)
                .or_default()
                .push(&schema.key);
        }
        let is_wanted = |key: &SchemaKey| {
            let of_type = wanted_by_type.get(&key.event_type);
            of_type.is_some_and(|of_type| of_type.iter().any(|wanted| same_schema(wanted, key)))
        };
        let absent = current
            .iter()
            .filter(|(key, _)| !is_wanted(key))
            .map(|(key, _)| key.clone())
            .collect();
        let mut by_type: BTreeMap<&EventType, Vec<&(SchemaKey, Digest)>> = BTreeMap::new();
        for known in current {
            by_type.entry(&known.0.event_type).or_default().push(known);
        }
        let known = |schema: &LocalSchema| {
            let of_type = by_type.get(&schema.key.event_type).into_iter().flatten();
            of_type.into_iter().find(|(key, _)| same_schema(key, &schema.key))
        };
        let all = wanted.len();
        let mut changed = wanted;
        changed.retain(|schema| {
            known(schema).is_none_or(|(_, digest)| *digest != Digest::of(schema.text.as_bytes()))
        });
        self.unchanged += all - changed.len();
        for mut group in order::groups(changed, references) {
            let is_new = group.iter().all(|schema| known(schema).is_none());
            self.changes.push(match (group.pop(), group.is_empty()) {
                (None, _) => continue,
                (Some(schema), true) => Step::PutSchema { schema, is_new },
                (Some(schema), false) => {
                    group.push(schema);
                    Step::PutSchemas {
                        schemas: group,
                        is_new,
                    }
                }
            });
        }
        absent
    }

    fn compare_upgrades(
        &mut self,
        wanted: Vec<LocalUpgrade>,
        current: &[(SchemaKey, Upgrade)],
    ) -> Vec<SchemaKey> {
        let absent = current
            .iter()
            .filter(|(key, _)| !wanted.iter().any(|upgrade| same_schema(&upgrade.key, key)))
            .map(|(key, _)| key.clone())
            .collect();
        for upgrade in wanted {
            let known = current.iter().find(|(key, _)| same_schema(key, &upgrade.key));
            if known.is_some_and(|(_, known)| *known == upgrade.upgrade) {
                self.unchanged += 1;
            } else {
                let is_new = known.is_none();
                self.changes.push(Step::PutUpgrade { upgrade, is_new });
            }
        }
        absent
    }

    fn compare_tables(
        &mut self,
        wanted: Option<BTreeMap<TableName, LocalTable>>,
        current: &BTreeMap<TableName, Table>,
    ) -> Vec<TableName> {
        let Some(wanted) = wanted else {
            return Vec::new();
        };
        let absent = current.keys().filter(|name| !wanted.contains_key(*name));
        let absent = absent.cloned().collect();
        for (name, table) in wanted {
            let known = current.get(&name);
            if known.is_some_and(|known| table.is_as(known)) {
                self.unchanged += 1;
            } else {
                let is_new = known.is_none();
                self.changes.push(Step::PutTable { table, is_new });
            }
        }
        absent
    }

    /// Plugins that are not wanted stay: nothing runs them but routes.
    fn compare_plugins(
        &mut self,
        wanted: BTreeMap<PluginName, Digest>,
        current: &BTreeMap<PluginName, CurrentPlugin>,
    ) {
        for (name, digest) in wanted {
            let plugin = current.get(&name);
            let known = plugin.and_then(|plugin| {
                // The newest first, where one component was uploaded as two versions.
                plugin.versions.iter().rev().find(|(_, known)| *known == digest)
            });
            match (plugin, known) {
                (Some(plugin), Some((version, _))) if plugin.active == Some(*version) => self.unchanged += 1,
                (_, Some((version, _))) => self.changes.push(Step::ActivatePlugin {
                    name,
                    version: *version,
                }),
                (plugin, None) => self.changes.push(Step::PushPlugin {
                    name,
                    is_new: plugin.is_none(),
                }),
            }
        }
    }
}
