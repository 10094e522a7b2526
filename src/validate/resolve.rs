//! From an event's type, source and app version to its schema.

use std::{collections::HashMap, sync::Arc};

use super::compile::Compiled;
use crate::{
    event::{AppVersion, EventType},
    registry::model::TypeSchemas,
};

/// What an event's type, source and app version lead to.
pub enum Resolution<'a> {
    Found(&'a ResolvedSchema),
    /// No schema of this type for this source or for any.
    TypeUnknown,
    /// The app version is below every `since`; `lowest` is the lowest of them.
    BelowAll {
        lowest: &'a str,
    },
}

/// One registered schema in its place in the order of versions.
pub struct ResolvedSchema {
    version: AppVersion,
    since: Arc<str>,
    label: Arc<str>,
    text: Arc<str>,
    compiled: Result<Arc<Compiled>, String>,
}

impl ResolvedSchema {
    /// `TYPE@SINCE`.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// The validator, or why there is none on this node.
    pub fn compiled(&self) -> Result<&Compiled, &str> {
        self.compiled.as_deref().map_err(String::as_str)
    }
}

/// All schemas of one type.
pub(super) struct TypeTable {
    made_from: Arc<TypeSchemas>,
    /// Ascending by version.
    any_source: Vec<ResolvedSchema>,
    by_source: HashMap<String, Vec<ResolvedSchema>>,
}

impl TypeTable {
    pub(super) fn is_of(&self, schemas: &Arc<TypeSchemas>) -> bool {
        Arc::ptr_eq(&self.made_from, schemas)
    }

    pub(super) fn build(
        event_type: &EventType,
        schemas: &Arc<TypeSchemas>,
        previous: Option<&TypeTable>,
    ) -> TypeTable {
        let mut table = TypeTable {
            made_from: Arc::clone(schemas),
            any_source: Vec::new(),
            by_source: HashMap::new(),
        };
        for known in &schemas.schemas {
            let (key, schema) = &known.value;
            // Registration refuses a `since` that is no version.
            let Some(version) = AppVersion::parse(&key.since) else {
                tracing::error!(schema = %event_type, since = %key.since, "a registered schema has no version");
                continue;
            };
            let compiled = previous
                .and_then(|table| table.compiled(&schema.text))
                .map_or_else(|| Compiled::new(&schema.text).map(Arc::new), Ok);
            let resolved = ResolvedSchema {
                version,
                since: key.since.as_str().into(),
                label: format!("{event_type}@{}", key.since).into(),
                text: Arc::clone(&schema.text),
                compiled,
            };
            match &key.source {
                None => table.any_source.push(resolved),
                Some(source) => table.by_source.entry(source.clone()).or_default().push(resolved),
            }
        }
        for list in table
            .by_source
            .values_mut()
            .chain(std::iter::once(&mut table.any_source))
        {
            list.sort_by(|one, two| one.version.cmp(&two.version));
        }
        table
    }

    fn compiled(&self, text: &Arc<str>) -> Option<Arc<Compiled>> {
        self.by_source
            .values()
            .chain(std::iter::once(&self.any_source))
            .flatten()
            .find(|known| known.text == *text)
            .and_then(|known| known.compiled.as_ref().ok().cloned())
    }

    pub(super) fn resolve(&self, source: &str, app_version: Option<&str>) -> Resolution<'_> {
        let list = self.by_source.get(source).unwrap_or(&self.any_source);
        let (Some(lowest), Some(latest)) = (list.first(), list.last()) else {
            return Resolution::TypeUnknown;
        };
        let Some(version) = app_version.and_then(AppVersion::parse) else {
            return Resolution::Found(latest);
        };
        let above = list.partition_point(|schema| schema.version <= version);
        match above.checked_sub(1).and_then(|index| list.get(index)) {
            Some(schema) => Resolution::Found(schema),
            None => Resolution::BelowAll {
                lowest: &lowest.since,
            },
        }
    }
}
