//! The references of all registered schemas, kept from one state of the registry to the next.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use percent_encoding::percent_decode_str;

use super::{Outline, SCHEME, Text, Texts, uri_of};
use crate::{
    event::EventType,
    limits::{REFERENCED_BYTES, REFERENCED_SCHEMAS},
    problem::Fault,
    registry::model::{Schema, SchemaKey, TypeSchemas, Versioned},
    validate::changed_keys,
};

type Registered = BTreeMap<EventType, Arc<TypeSchemas>>;
type Known = Arc<Versioned<(SchemaKey, Schema)>>;
/// The types of some schemas, by a URI.
type Types = BTreeMap<String, BTreeSet<EventType>>;

/// What refers to what in one state of the registry. Only schemas that name themselves or refer to others cost.
#[derive(Clone, Debug, Default)]
pub struct References {
    made_from: Registered,
    outlines: HashMap<EventType, Arc<Vec<(Known, Outline)>>>,
    pub(super) by_id: Types,
    pub(super) referrers: Types,
}

impl References {
    /// Those of `schemas`, and the types whose schemas may mean something else than in `self`: the changed ones, and all
    /// that refer to them, through however many others.
    pub fn update(&self, schemas: &Registered) -> (References, BTreeSet<EventType>) {
        let mut next = self.clone();
        let mut affected = BTreeSet::new();
        let mut left = VecDeque::new();
        for event_type in changed_keys(&self.made_from, schemas) {
            let mut provided = next.remove(event_type);
            provided.extend(next.add(event_type, schemas.get(event_type)));
            affected.insert(event_type.clone());
            left.push_back((event_type.clone(), provided));
        }
        next.made_from.clone_from(schemas);
        while let Some((event_type, ids)) = left.pop_front() {
            let start = format!("{SCHEME}{event_type}@");
            let by_version = next
                .referrers
                .range(start.clone()..)
                .take_while(|(uri, _)| uri.starts_with(&start))
                .flat_map(|(_, types)| types);
            let by_id = ids.iter().filter_map(|id| next.referrers.get(id)).flatten();
            let found: Vec<EventType> = by_version.chain(by_id).cloned().collect();
            for referrer in found {
                if affected.insert(referrer.clone()) {
                    let ids = next.ids(&referrer);
                    left.push_back((referrer, ids));
                }
            }
        }
        (next, affected)
    }

    fn ids(&self, event_type: &EventType) -> BTreeSet<String> {
        let known = self.outlines.get(event_type);
        known
            .iter()
            .flat_map(|known| known.iter())
            .filter_map(|(_, outline)| outline.id.clone())
            .collect()
    }

    /// Gives the URIs that the type's schemas had.
    fn remove(&mut self, event_type: &EventType) -> BTreeSet<String> {
        let ids = self.ids(event_type);
        for (_, outline) in self
            .outlines
            .remove(event_type)
            .iter()
            .flat_map(|known| known.iter())
        {
            if let Some(uri) = &outline.id {
                forget(&mut self.by_id, uri, event_type);
            }
            for uri in outline.refers.keys() {
                forget(&mut self.referrers, uri, event_type);
            }
        }
        ids
    }

    /// Gives the URIs that the type's schemas have.
    fn add(&mut self, event_type: &EventType, schemas: Option<&Arc<TypeSchemas>>) -> BTreeSet<String> {
        let outlined: Vec<(Known, Outline)> = schemas
            .iter()
            .flat_map(|schemas| &schemas.schemas)
            .map(|known| (Arc::clone(known), Outline::of(&known.value.1.text)))
            .filter(|(_, outline)| !outline.is_empty())
            .collect();
        if outlined.is_empty() {
            return BTreeSet::new();
        }
        for (_, outline) in &outlined {
            if let Some(uri) = &outline.id {
                self.by_id
                    .entry(uri.clone())
                    .or_default()
                    .insert(event_type.clone());
            }
            for uri in outline.refers.keys() {
                self.referrers
                    .entry(uri.clone())
                    .or_default()
                    .insert(event_type.clone());
            }
        }
        self.outlines.insert(event_type.clone(), Arc::new(outlined));
        self.ids(event_type)
    }

    /// None for a schema that neither names itself nor refers to others.
    fn outline(&self, key: &SchemaKey) -> Option<&Outline> {
        let known = self.outlines.get(&key.event_type)?;
        known
            .iter()
            .find(|(known, _)| known.value.0 == *key)
            .map(|(_, outline)| outline)
    }

    /// The schema that a URI names.
    ///
    /// # Errors
    ///
    /// Why it names none.
    fn find(&self, uri: &str) -> Result<&Known, String> {
        if let Some(name) = uri.strip_prefix(SCHEME) {
            return self.find_version(name).ok_or_else(|| {
                format!("no schema {name} is registered for any source, and {uri} can be nothing else")
            });
        }
        let mut found: Vec<&Known> = self
            .by_id
            .get(uri)
            .into_iter()
            .flatten()
            .filter_map(|event_type| self.outlines.get(event_type))
            .flat_map(|known| known.iter())
            .filter(|(_, outline)| outline.id.as_deref() == Some(uri))
            .map(|(known, _)| known)
            .collect();
        found.dedup_by_key(|known| known.value.1.digest);
        match found[..] {
            [known] => Ok(known),
            [] if uri.starts_with("json-schema:") => Err(
                "the reference leads out of the schema, which has no $id that it could start from".to_owned(),
            ),
            [] => Err(format!(
                "{uri} is not registered, and nothing is fetched, neither from the network nor from a file: register \
                 that schema, and refer to it as {SCHEME}TYPE@SINCE or by the $id in its text"
            )),
            _ => {
                let names: Vec<String> = found.iter().map(|known| uri_of(&known.value.0)).collect();
                Err(format!(
                    "{uri} is the $id of several registered schemas; refer to one of them as {}",
                    names.join(" or ")
                ))
            }
        }
    }

    fn find_version(&self, name: &str) -> Option<&Known> {
        let (event_type, since) = name.split_once('@')?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
        let key = SchemaKey {
            event_type: decoded(event_type)?.parse().ok()?,
            source: None,
            since: decoded(since)?,
        };
        self.made_from.get(&key.event_type)?.find(&key)
    }

    /// All that the references of a registered schema may lead to.
    ///
    /// # Errors
    ///
    /// Each reference that leads nowhere, with its place in the schema.
    pub fn texts(&self, key: &SchemaKey) -> Result<Texts, Vec<Fault>> {
        self.outline(key)
            .map_or(Ok(Texts::default()), |outline| self.texts_of(outline))
    }

    /// [`References::texts`] of a text that is registered nowhere.
    pub fn texts_of(&self, root: &Outline) -> Result<Texts, Vec<Fault>> {
        let mut texts = BTreeMap::new();
        let mut claimed: BTreeMap<&String, Option<&Known>> = root.own.iter().map(|id| (id, None)).collect();
        let mut faults = Vec::new();
        let mut bytes = 0;
        // With the pointer into the root from which it is come to, and by whom.
        let mut left: VecDeque<(&String, &String, Option<&SchemaKey>)> = root
            .refers
            .iter()
            .map(|(uri, pointer)| (uri, pointer, None))
            .collect();
        while let Some((uri, pointer, by)) = left.pop_front() {
            let mut refuse = |message: String| {
                faults.push(Fault {
                    pointer: pointer.clone(),
                    message: match by {
                        None => message,
                        Some(by) => format!("{}, which is referred to here: {message}", uri_of(by)),
                    },
                    keyword: None,
                });
            };
            if texts.contains_key(uri) {
                continue;
            }
            let known = match self.find(uri) {
                Ok(known) => known,
                Err(message) => {
                    refuse(message);
                    continue;
                }
            };
            let (key, schema) = &known.value;
            bytes += schema.text.len();
            if texts.len() >= REFERENCED_SCHEMAS || bytes > REFERENCED_BYTES {
                refuse(format!(
                    "the schema leads to more than {REFERENCED_SCHEMAS} others, or to more than {REFERENCED_BYTES} \
                     bytes of them"
                ));
                break;
            }
            let text = Text {
                digest: schema.digest,
                text: Arc::clone(&schema.text),
            };
            texts.insert(uri.clone(), text);
            let Some(outline) = self.outline(key) else {
                continue;
            };
            for id in &outline.own {
                let other = claimed.insert(id, Some(known));
                // The root may come to itself again, by a cycle.
                if other
                    .flatten()
                    .is_some_and(|other| other.value.1.digest != schema.digest)
                {
                    refuse(format!(
                        "{id} is the $id of two different schemas that are referred to"
                    ));
                }
            }
            left.extend(outline.refers.keys().map(|uri| (uri, pointer, Some(key))));
        }
        if faults.is_empty() {
            Ok(Texts::new(texts))
        } else {
            Err(faults)
        }
    }

    /// What a registered schema refers to, as it is written there.
    pub fn referred(&self, key: &SchemaKey) -> Vec<String> {
        let outline = self.outline(key);
        outline
            .iter()
            .flat_map(|outline| outline.refers.keys().cloned())
            .collect()
    }

    /// The registered schemas that it refers to itself.
    pub fn targets(&self, key: &SchemaKey) -> Vec<SchemaKey> {
        let outline = self.outline(key);
        let uris = outline.iter().flat_map(|outline| outline.refers.keys());
        uris.filter_map(|uri| Some(self.find(uri).ok()?.value.0.clone()))
            .collect()
    }

    /// The other schemas that refer to this one themselves.
    pub fn referrers(&self, key: &SchemaKey) -> Vec<SchemaKey> {
        let mut found = BTreeSet::new();
        let start = format!("{SCHEME}{}@", key.event_type);
        let by_version = self
            .referrers
            .range(start.clone()..)
            .take_while(|(uri, _)| uri.starts_with(&start));
        let id = self
            .outline(key)
            .and_then(|outline| outline.id.clone())
            .unwrap_or_default();
        for (uri, types) in by_version.chain(self.referrers.get_key_value(&id)) {
            if !self.find(uri).is_ok_and(|known| known.value.0 == *key) {
                continue;
            }
            let of_types = types.iter().filter_map(|name| self.outlines.get(name));
            for (known, outline) in of_types.flat_map(|known| known.iter()) {
                if outline.refers.contains_key(uri) && known.value.0 != *key {
                    found.insert(known.value.0.clone());
                }
            }
        }
        found.into_iter().collect()
    }

    /// The schemas of a type that refer to others.
    pub fn referring(&self, event_type: &EventType) -> impl Iterator<Item = &SchemaKey> {
        let known = self.outlines.get(event_type);
        known
            .into_iter()
            .flat_map(|known| known.iter())
            .filter(|(_, outline)| !outline.refers.is_empty())
            .map(|(known, _)| &known.value.0)
    }
}

fn forget(types: &mut Types, uri: &str, event_type: &EventType) {
    if let Some(of_uri) = types.get_mut(uri) {
        of_uri.remove(event_type);
        if of_uri.is_empty() {
            types.remove(uri);
        }
    }
}
