//! Compiled schemas, resolution by app version, and the check itself.

pub mod check;
pub mod compatibility;
mod compile;
mod compiler;
mod references;
mod resolve;
mod sample;
mod upgrade;
mod weigh;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

pub use compile::{Compiled, check_schema};
pub use compiler::Compiler;
use compiler::{Form, Slot};
pub use references::{Outline, References, SCHEME, Texts, uri_of};
use resolve::TypeTable;
pub use resolve::{Outlook, Resolution, ResolvedSchema, Version};
pub use upgrade::{Counterexample, check_step, check_upgrade};

use crate::{
    event::{Decoded, EventType, Reason, Validated},
    json::{Document, EditedDocument},
    limits::DEPTH_CEILING,
    problem::Code,
    registry::model::State,
};

/// A change waits so long for what it brings to be compiled; more of it is compiled in the background.
const WARM_TIME: Duration = Duration::from_millis(250);

/// An event of a plugin's case, which stands for what a schema has let through: to try a plugin on, never to deliver.
pub fn attest_case(event: Decoded, schema: Arc<str>) -> Validated {
    Validated::attest(event, schema)
}

/// Every schema of one registry state. Immutable; built from the one before, so that a change costs only what it
/// changes. Compiled forms come and go behind it, in [`Compiler`].
#[derive(Default)]
pub struct Schemas {
    /// Names come from operators alone, so that the hash needs no guard.
    types: Arc<HashMap<EventType, Arc<TypeTable>, foldhash::fast::FixedState>>,
    made_from: Arc<State>,
    references: Arc<References>,
    compiler: Arc<Compiler>,
}

/// The schemas that a change has brought.
pub struct Fresh {
    slots: Vec<Weak<Slot>>,
    compiler: Arc<Compiler>,
    is_start: bool,
}

impl Schemas {
    /// No schemas, to build the first from.
    pub fn new(compiler: Compiler) -> Schemas {
        Schemas {
            compiler: Arc::new(compiler),
            ..Schemas::default()
        }
    }

    /// The schemas of `state`, none of those that `previous` has not compiled yet.
    pub fn build(state: &Arc<State>, previous: &Schemas) -> Schemas {
        Schemas::change(state, previous).0
    }

    /// [`Schemas::build`], with what is new to be compiled by [`Fresh::compile`].
    pub fn change(state: &Arc<State>, previous: &Schemas) -> (Schemas, Fresh) {
        let before = &previous.made_from;
        let (references, affected) = previous.references.update(&state.schemas);
        let changed: BTreeSet<&EventType> = affected
            .iter()
            .chain(changed_keys(&before.types, &state.types))
            .collect();
        let mut types = Arc::clone(&previous.types);
        let mut fresh: Vec<(usize, Weak<Slot>)> = Vec::new();
        for event_type in changed {
            let Some(schemas) = state.schemas.get(event_type) else {
                Arc::make_mut(&mut types).remove(event_type);
                continue;
            };
            let entry = state.types.get(event_type);
            let known = types.get(event_type);
            if !affected.contains(event_type) && known.is_some_and(|known| known.is_of(schemas, entry)) {
                continue;
            }
            let table = TypeTable::build(event_type, schemas, entry, &references, &previous.compiler);
            let table = Arc::new(table);
            let missing = table.slots().filter(|(_, slot)| slot.ready().is_none());
            fresh.extend(missing.map(|(place, slot)| (place, Arc::downgrade(slot))));
            Arc::make_mut(&mut types).insert(event_type.clone(), table);
        }
        fresh.sort_by_key(|(place, _)| *place);
        let schemas = Schemas {
            types,
            made_from: Arc::clone(state),
            references: Arc::new(references),
            compiler: Arc::clone(&previous.compiler),
        };
        let fresh = Fresh {
            slots: fresh.into_iter().map(|(_, slot)| slot).collect(),
            compiler: Arc::clone(&previous.compiler),
            is_start: before.sequence == 0,
        };
        (schemas, fresh)
    }

    /// What refers to what.
    pub fn references(&self) -> &Arc<References> {
        &self.references
    }

    /// Compiled forms that there are and are not now.
    pub fn compiler(&self) -> &Arc<Compiler> {
        &self.compiler
    }

    /// The schema for an event: of its type, for its `source` or else for any, with the highest `since` that is not
    /// above its app version; the latest where it has none (or one that cannot be read, unless the type keeps those).
    pub fn resolve(&self, event_type: &EventType, source: &str, app_version: Option<&str>) -> Resolution<'_> {
        match self.types.get(event_type) {
            Some(table) => table.resolve(source, app_version),
            None => Resolution::TypeUnknown,
        }
    }

    fn resolve_for(&self, event: &Decoded) -> Resolution<'_> {
        let attributes = &event.attributes;
        self.resolve(
            &attributes.event_type,
            &attributes.source,
            attributes.app_version.as_deref(),
        )
    }

    /// Compiles the event's schema where that is not done yet, beside the threads that serve events; with nothing to
    /// wait for, this is one comparison. [`Schemas::check`] is right without it, and then compiles by itself.
    pub async fn prepare(&self, event: &Decoded) {
        if self.compiler.has_missing()
            && let Resolution::Found(schema, _) = self.resolve_for(event)
            && schema.slot().ready().is_none()
        {
            self.compiler.compile(schema.slot()).await;
        }
    }

    /// Checks an event's data against its schema.
    ///
    /// # Errors
    ///
    /// The event itself, with the reason: `schema-violation`, `schema-unknown`, `version-unknown` or
    /// `version-unreadable`.
    pub fn check(&self, event: Decoded) -> Result<Validated, Box<(Decoded, Reason)>> {
        let attributes = &event.attributes;
        let reason = match self.resolve_for(&event) {
            Resolution::Found(schema, version) => match self.violation(schema, &event) {
                None => {
                    let label = Arc::clone(schema.label());
                    let unreadable = version == Version::Unreadable;
                    return Ok(Validated::attest(event, label).with_unreadable_version(unreadable));
                }
                Some(reason) => reason,
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
            Resolution::Unreadable => Reason::new(
                Code::VersionUnreadable,
                format!(
                    "app version {:?} is no version, and the type {} does not have such events checked by its latest \
                     schema; the event goes out when the type's unreadable_version is \"latest\"",
                    attributes.app_version.as_deref().unwrap_or_default(),
                    attributes.event_type
                ),
            ),
        };
        Err(Box::new((event, reason)))
    }

    /// The event in the form of its type's latest version, where that is another than its own: every upgrade between is
    /// made, and the result is checked by the latest schema.
    ///
    /// # Errors
    ///
    /// `upgrade-failed`: a step cannot be made, or the result breaks the latest schema.
    pub fn latest_form(&self, event: &Validated) -> Result<Option<Validated>, Reason> {
        let decoded = event.event();
        let attributes = &decoded.attributes;
        let Some(table) = self.types.get(&attributes.event_type) else {
            return Ok(None);
        };
        let later = table.after(&attributes.source, event.schema());
        let Some(latest) = later.last() else {
            return Ok(None);
        };
        let failed = |cause: String| {
            let detail = format!(
                "from {} to {}: {cause}; the event goes out when an upgrade brings it there",
                event.schema(),
                latest.label()
            );
            Reason::new(Code::UpgradeFailed, detail)
        };
        let mut edited = EditedDocument::new(decoded.data.clone());
        for schema in later {
            if let Some(steps) = schema.upgrade() {
                upgrade::upgrade(&mut edited, steps).map_err(|error| failed(error.to_string()))?;
            }
        }
        let data = if edited.is_edited() {
            Document::parse(edited.to_bytes(), DEPTH_CEILING).map_err(|error| failed(error.to_string()))?
        } else {
            decoded.data.clone()
        };
        let upgraded = Decoded {
            data,
            ..decoded.clone()
        };
        match self.violation(latest, &upgraded) {
            None => Ok(Some(Validated::attest(upgraded, Arc::clone(latest.label())))),
            Some(broken) => Err(Reason {
                errors: broken.errors,
                ..failed(broken.detail)
            }),
        }
    }

    /// Why the schema does not take the event.
    fn violation(&self, schema: &ResolvedSchema, event: &Decoded) -> Option<Reason> {
        let slot = schema.slot();
        let ready = slot.ready();
        let compiled_now;
        let form: &Form = match &*ready {
            Some(form) => {
                self.compiler.note_use(slot);
                form
            }
            None => {
                compiled_now = self.compiler.compile_here(slot);
                &compiled_now
            }
        };
        match form {
            Ok(compiled) => compiled.violations(&event.data).map(|errors| Reason {
                code: Code::SchemaViolation,
                detail: format!("the data breaks the schema {}", schema.label()),
                errors,
            }),
            Err(cause) => Some(Reason::new(
                Code::SchemaUnknown,
                format!("the schema {} cannot be used: {cause}", schema.label()),
            )),
        }
    }
}

impl Fresh {
    /// Compiles what is new, and gives up waiting soon: the rest goes on in the background. At the start nothing is
    /// waited for at all, since there may be any number.
    pub async fn compile(self) {
        if self.slots.is_empty() {
            return;
        }
        let is_start = self.is_start;
        let compiling = tokio::spawn(self.compiler.compile_in_background(self.slots));
        if !is_start {
            // Late or broken off, an event's own need compiles what is missing.
            let _ = tokio::time::timeout(WARM_TIME, compiling).await;
        }
    }
}

/// The keys whose values are not the same ones.
fn changed_keys<'s, T>(
    before: &'s BTreeMap<EventType, Arc<T>>,
    after: &'s BTreeMap<EventType, Arc<T>>,
) -> Vec<&'s EventType> {
    let mut changed = Vec::new();
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        match (before.peek(), after.peek()) {
            (None, None) => return changed,
            (Some((one, known)), Some((two, new))) if one == two => {
                if !Arc::ptr_eq(known, new) {
                    changed.push(*two);
                }
                before.next();
                after.next();
            }
            (Some((one, _)), Some((two, _))) if one < two => {
                changed.push(*one);
                before.next();
            }
            (_, Some((two, _))) => {
                changed.push(*two);
                after.next();
            }
            (Some((one, _)), None) => {
                changed.push(*one);
                before.next();
            }
        }
    }
}
