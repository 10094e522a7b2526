//! Which routes take an event, and what a route gives to records that say nothing themselves. Pure: no I/O, no clock.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use smallvec::SmallVec;

use crate::{
    event::{Body, Decoded, EventType, Record, RecordAttributes, RouteName},
    json::NewValue,
    registry::model::{self, Form, State},
};

/// The routes of one registry state. Immutable.
#[derive(Default)]
pub struct Routes {
    /// Routes whose type is written out, by that type, so that a thousand routes cost an event no more than one.
    exact: HashMap<EventType, Vec<Arc<Route>>>,
    /// Routes whose type is a prefix or any.
    rest: Vec<Arc<Route>>,
}

/// One route, ready to be asked.
pub struct Route {
    pub name: RouteName,
    pub form: Form,
    pub targets: Vec<Target>,
    partner: Pattern,
    event_type: Pattern,
    source: Pattern,
}

/// One of a route's destinations.
pub struct Target {
    pub destination: Arc<str>,
    topic: Option<Arc<str>>,
    key: Key,
}

enum Pattern {
    Any,
    Exact(String),
    Prefix(String),
}

enum Key {
    None,
    /// JSON Pointer into the record's data.
    Pointer(String),
    Attribute(String),
}

impl Pattern {
    fn parse(text: &str) -> Pattern {
        match text.strip_suffix('*') {
            Some("") => Pattern::Any,
            Some(prefix) => Pattern::Prefix(prefix.to_owned()),
            None => Pattern::Exact(text.to_owned()),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Exact(exact) => exact == text,
            Pattern::Prefix(prefix) => text.starts_with(prefix.as_str()),
        }
    }
}

impl Routes {
    pub fn build(state: &State) -> Routes {
        let mut routes = Routes::default();
        for (name, entry) in &state.routes {
            let route = Arc::new(Route::new(name, &entry.value));
            match &route.event_type {
                Pattern::Exact(text) => match text.parse() {
                    Ok(event_type) => routes.exact.entry(event_type).or_default().push(route),
                    Err(_) => {
                        tracing::error!(route = %name, "a registered route matches no type that may exist")
                    }
                },
                Pattern::Any | Pattern::Prefix(_) => routes.rest.push(route),
            }
        }
        routes
    }

    /// Every route that takes the event, in the order of their names within each kind.
    pub fn matching(&self, event: &Decoded) -> SmallVec<[&Arc<Route>; 4]> {
        let exact = self.exact.get(event.attributes.event_type.as_str());
        exact
            .into_iter()
            .flatten()
            .chain(&self.rest)
            .filter(|route| route.matches(event))
            .collect()
    }
}

impl Route {
    fn new(name: &RouteName, route: &model::Route) -> Route {
        Route {
            name: name.clone(),
            form: route.form,
            targets: route.to.iter().map(Target::new).collect(),
            partner: Pattern::parse(&route.matches.partner),
            event_type: Pattern::parse(&route.matches.event_type),
            source: Pattern::parse(&route.matches.source),
        }
    }

    fn matches(&self, event: &Decoded) -> bool {
        self.partner.matches(event.partner.as_str())
            && self.event_type.matches(event.attributes.event_type.as_str())
            && self.source.matches(&event.attributes.source)
    }
}

impl Target {
    fn new(target: &model::RouteTarget) -> Target {
        Target {
            destination: target.destination.as_str().into(),
            topic: target.topic.as_deref().map(Arc::from),
            key: match target.key.as_deref() {
                None => Key::None,
                Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => {
                    Key::Pointer(pointer.to_owned())
                }
                Some(attribute) => Key::Attribute(attribute.to_owned()),
            },
        }
    }

    /// The record for this target; `topic` and `key` are what the plugin said, where it did.
    pub fn record(
        &self,
        about: &Arc<RecordAttributes>,
        topic: Option<&Arc<str>>,
        key: Option<&Arc<str>>,
        headers: &Arc<[(String, String)]>,
        body: &Body,
        value: &bytes::Bytes,
    ) -> Record {
        Record {
            about: Arc::clone(about),
            topic: topic
                .or(self.topic.as_ref())
                .unwrap_or_else(|| about.attributes.event_type.as_shared())
                .clone(),
            key: key.cloned().or_else(|| self.key.read(about, body)),
            headers: Arc::clone(headers),
            value: value.clone(),
            value_is_json: matches!(body, Body::Document(_)),
            is_alone: false,
            item: None,
        }
    }
}

impl Key {
    fn read(&self, about: &RecordAttributes, body: &Body) -> Option<Arc<str>> {
        match self {
            Key::None => None,
            Key::Pointer(pointer) => match body {
                Body::Document(document) => document.get(pointer).and_then(scalar),
                Body::Bytes(_) => None,
            },
            Key::Attribute(name) => attribute(about, name),
        }
    }
}

/// A key is one value: null, arrays and objects are none.
fn scalar(value: NewValue) -> Option<Arc<str>> {
    match value {
        NewValue::Null => None,
        NewValue::Boolean(value) => Some(if value { "true" } else { "false" }.into()),
        NewValue::Integer(value) => Some(value.to_string().into()),
        NewValue::Number(value) => Some(value.to_string().into()),
        NewValue::Text(text) => Some(text.into()),
        NewValue::Json(text) => (!text.starts_with(['[', '{'])).then(|| text.into()),
    }
}

fn attribute(about: &RecordAttributes, name: &str) -> Option<Arc<str>> {
    let attributes = &about.attributes;
    match name {
        "id" => Some(Arc::clone(&attributes.id)),
        "source" => Some(attributes.source.as_str().into()),
        "type" => Some(Arc::clone(attributes.event_type.as_shared())),
        "subject" => attributes.subject.as_deref().map(Arc::from),
        "time" => Some(attributes.time.as_str().into()),
        "appversion" => attributes.app_version.as_deref().map(Arc::from),
        "partner" => Some(Arc::clone(about.partner.as_shared())),
        _ => None,
    }
}
