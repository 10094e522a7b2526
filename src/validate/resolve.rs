//! From an event's type, source and app version to its schema.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;
use smallvec::SmallVec;

use super::{
    compile::schema_value,
    compiler::{Compiler, Slot},
    references::References,
};
use crate::{
    event::{AppVersion, EventType},
    registry::model::{Schema, SchemaKey, TypeEntry, TypeSchemas, UnreadableVersion, Upgrade, Versioned},
};

/// What an event's type, source and app version lead to.
pub enum Resolution<'a> {
    Found(&'a ResolvedSchema, Version),
    /// No schema of this type for this source or for any.
    TypeUnknown,
    /// The app version is below every `since`; `lowest` is the lowest of them.
    BelowAll {
        lowest: &'a str,
    },
    /// The app version cannot be read, and the type wants such events kept.
    Unreadable,
}

/// What the event said of its app version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Absent,
    Read,
    /// The latest schema counts, as if there were none.
    Unreadable,
}

/// One registered schema in its place in the order of versions.
pub struct ResolvedSchema {
    version: AppVersion,
    known: Arc<Versioned<(SchemaKey, Schema)>>,
    label: Arc<str>,
    slot: Arc<Slot>,
    /// From the version before.
    upgrade: Option<Arc<Versioned<(SchemaKey, Upgrade)>>>,
}

impl ResolvedSchema {
    /// `TYPE@SINCE`.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// As it is registered.
    pub fn key(&self) -> &SchemaKey {
        &self.known.value.0
    }

    /// How an event of the version before is brought to this one's form; none: as it is.
    pub(super) fn upgrade(&self) -> Option<&Upgrade> {
        self.upgrade.as_ref().map(|known| &known.value.1)
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// The schema as JSON.
    pub fn schema(&self) -> Option<Arc<Value>> {
        match self.slot.ready().as_deref() {
            Some(Ok(compiled)) => compiled.schema(),
            Some(Err(_)) => None,
            None => schema_value(self.slot.text()),
        }
    }
}

/// All schemas of one type.
pub(super) struct TypeTable {
    made_from: Arc<TypeSchemas>,
    entry: Option<Arc<Versioned<TypeEntry>>>,
    unreadable: UnreadableVersion,
    any_source: Versions,
    by_source: HashMap<String, Versions, foldhash::fast::FixedState>,
}

/// Schemas, ascending by version.
#[derive(Default)]
struct Versions {
    /// Each one's [`AppVersion::order_key`], together: to look for one touches no other's memory.
    order_keys: SmallVec<[u128; 4]>,
    schemas: Vec<ResolvedSchema>,
}

impl Versions {
    fn of(mut schemas: Vec<ResolvedSchema>) -> Versions {
        schemas.sort_by(|one, two| one.version.cmp(&two.version));
        Versions {
            order_keys: schemas.iter().map(|schema| schema.version.order_key()).collect(),
            schemas,
        }
    }

    /// The highest that is not above `version`.
    fn up_to(&self, version: &AppVersion) -> Option<&ResolvedSchema> {
        let order_key = version.order_key();
        let below = self.order_keys.partition_point(|&known| known < order_key);
        let alike = self.order_keys.get(below..)?.iter();
        let alike = alike.take_while(|&&known| known == order_key).count();
        let alike = self.schemas.get(below..below + alike)?;
        let above = below + alike.partition_point(|schema| schema.version <= *version);
        self.schemas.get(above.checked_sub(1)?)
    }
}

impl TypeTable {
    pub(super) fn is_of(
        &self,
        schemas: &Arc<TypeSchemas>,
        entry: Option<&Arc<Versioned<TypeEntry>>>,
    ) -> bool {
        Arc::ptr_eq(&self.made_from, schemas)
            && self.entry.as_ref().map(Arc::as_ptr) == entry.map(Arc::as_ptr)
    }

    pub(super) fn build(
        event_type: &EventType,
        schemas: &Arc<TypeSchemas>,
        entry: Option<&Arc<Versioned<TypeEntry>>>,
        references: &References,
        compiler: &Compiler,
    ) -> TypeTable {
        let mut any_source = Vec::new();
        let mut by_source: HashMap<String, Vec<ResolvedSchema>> = HashMap::new();
        for known in &schemas.schemas {
            let (key, schema) = &known.value;
            // Registration refuses a `since` that is no version.
            let Some(version) = AppVersion::parse(&key.since) else {
                tracing::error!(schema = %event_type, since = %key.since, "a registered schema has no version");
                continue;
            };
            let resolved = ResolvedSchema {
                version,
                known: Arc::clone(known),
                label: format!("{event_type}@{}", key.since).into(),
                slot: compiler.slot(schema, references.texts(key)),
                upgrade: schemas.upgrade(key).cloned(),
            };
            match &key.source {
                None => any_source.push(resolved),
                Some(source) => by_source.entry(source.clone()).or_default().push(resolved),
            }
        }
        TypeTable {
            made_from: Arc::clone(schemas),
            entry: entry.cloned(),
            unreadable: entry
                .map(|entry| entry.value.unreadable_version)
                .unwrap_or_default(),
            any_source: Versions::of(any_source),
            by_source: by_source
                .into_iter()
                .map(|(source, schemas)| (source, Versions::of(schemas)))
                .collect(),
        }
    }

    /// The slots of all schemas, each list's newest first, with its place from there: 0 is what most apps send.
    pub(super) fn slots(&self) -> impl Iterator<Item = (usize, &Arc<Slot>)> {
        self.by_source
            .values()
            .chain(std::iter::once(&self.any_source))
            .flat_map(|list| list.schemas.iter().rev().map(ResolvedSchema::slot).enumerate())
    }

    fn list(&self, source: &str) -> &Versions {
        if self.by_source.is_empty() {
            return &self.any_source;
        }
        self.by_source.get(source).unwrap_or(&self.any_source)
    }

    /// The schemas after the one with this label, ascending.
    pub(super) fn after(&self, source: &str, label: &str) -> &[ResolvedSchema] {
        let list = &self.list(source).schemas;
        let place = list.iter().position(|schema| *schema.label == *label);
        place.and_then(|place| list.get(place + 1..)).unwrap_or_default()
    }

    pub(super) fn resolve(&self, source: &str, app_version: Option<&str>) -> Resolution<'_> {
        let list = self.list(source);
        let (Some(lowest), Some(latest)) = (list.schemas.first(), list.schemas.last()) else {
            return Resolution::TypeUnknown;
        };
        let Some(app_version) = app_version else {
            return Resolution::Found(latest, Version::Absent);
        };
        let Some(version) = AppVersion::parse(app_version) else {
            return match self.unreadable {
                UnreadableVersion::Latest => Resolution::Found(latest, Version::Unreadable),
                UnreadableVersion::Quarantine => Resolution::Unreadable,
            };
        };
        match list.up_to(&version) {
            Some(schema) => Resolution::Found(schema, Version::Read),
            None => Resolution::BelowAll {
                lowest: &lowest.key().since,
            },
        }
    }
}

/// Which schemas of one type events would be led to, by the rules that events are led by; nothing is compiled.
pub struct Outlook(Option<TypeTable>);

impl Outlook {
    /// `schemas` and `entry` are the type's; without schemas it is not known.
    pub fn new(
        event_type: &EventType,
        schemas: Option<&Arc<TypeSchemas>>,
        entry: Option<&Arc<Versioned<TypeEntry>>>,
    ) -> Outlook {
        let (references, compiler) = (References::default(), Compiler::default());
        Outlook(schemas.map(|schemas| TypeTable::build(event_type, schemas, entry, &references, &compiler)))
    }

    pub fn resolve(&self, source: &str, app_version: Option<&str>) -> Resolution<'_> {
        match &self.0 {
            Some(table) => table.resolve(source, app_version),
            None => Resolution::TypeUnknown,
        }
    }

    /// Whether it depends on an event's source.
    pub fn asks_for_source(&self) -> bool {
        self.0.as_ref().is_some_and(|table| !table.by_source.is_empty())
    }
}
