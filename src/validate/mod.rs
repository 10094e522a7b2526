//! Compiled schemas, resolution by app version, and the check itself.

pub mod compatibility;
mod compile;
mod resolve;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

pub use compile::{Compiled, check_schema};
use resolve::TypeTable;
pub use resolve::{Resolution, ResolvedSchema};

use crate::{
    event::{Decoded, EventType, Reason, Validated},
    problem::Code,
    registry::model::State,
};

/// Every schema of one registry state, compiled. Immutable; built from the one before, so that a change costs only
/// what it changes.
#[derive(Default)]
pub struct Schemas {
    types: HashMap<EventType, Arc<TypeTable>>,
}

impl Schemas {
    /// Compiles what `previous` does not hold already. Takes as long as the new schemas take to compile: not for the
    /// path of an event.
    pub fn build(state: &State, previous: &Schemas) -> Schemas {
        let types = state
            .schemas
            .iter()
            .map(|(event_type, schemas)| {
                let known = previous.types.get(event_type);
                let table = match known {
                    Some(table) if table.is_of(schemas) => Arc::clone(table),
                    _ => Arc::new(TypeTable::build(event_type, schemas, known.map(Arc::as_ref))),
                };
                (event_type.clone(), table)
            })
            .collect();
        Schemas { types }
    }

    /// The schema for an event: of its type, for its `source` or else for any, with the highest `since` that is not
    /// above its app version; the latest where it has none (or one that is no version).
    pub fn resolve(&self, event_type: &EventType, source: &str, app_version: Option<&str>) -> Resolution<'_> {
        match self.types.get(event_type) {
            Some(table) => table.resolve(source, app_version),
            None => Resolution::TypeUnknown,
        }
    }

    /// Checks an event's data against its schema.
    ///
    /// # Errors
    ///
    /// The event itself, with the reason: `schema-violation`, `schema-unknown` or `version-unknown`.
    pub fn check(&self, event: Decoded) -> Result<Validated, Box<(Decoded, Reason)>> {
        let attributes = &event.attributes;
        let found = self.resolve(
            &attributes.event_type,
            &attributes.source,
            attributes.app_version.as_deref(),
        );
        let reason = match found {
            Resolution::Found(schema) => match schema.compiled() {
                Ok(compiled) => match compiled.violations(&event.data) {
                    None => {
                        let label = Arc::clone(schema.label());
                        return Ok(Validated::attest(event, label));
                    }
                    Some(errors) => Reason {
                        code: Code::SchemaViolation,
                        detail: format!("the data breaks the schema {}", schema.label()),
                        errors,
                    },
                },
                Err(cause) => Reason::new(
                    Code::SchemaUnknown,
                    format!("the schema {} cannot be used: {cause}", schema.label()),
                ),
            },
            Resolution::TypeUnknown => Reason::new(
                Code::SchemaUnknown,
                format!(
                    "no schema is registered for the type {} and this source; the event goes out when one is",
                    attributes.event_type
                ),
            ),
            Resolution::BelowAll { lowest } => Reason::new(
                Code::VersionUnknown,
                format!(
                    "app version {} is below every schema of {}, the lowest is {lowest}; the event goes out when a \
                     schema for it is registered",
                    attributes.app_version.as_deref().unwrap_or_default(),
                    attributes.event_type
                ),
            ),
        };
        Err(Box::new((event, reason)))
    }
}
