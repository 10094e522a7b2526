//! Fills a registry through the library, without a gateway: what the benchmarks that build one themselves share.

use std::sync::Arc;

use headworks::registry::{
    Registry,
    model::{
        Change, Digest, Key, KeyKind, Partner, PluginVersion, Route, RouteMatch, RouteTarget, Schema,
        SchemaKey,
    },
    now,
    secret::{KEY_PREFIX, NewSecret},
};

const BY: &str = "bench";
/// The destination of every route.
const DESTINATION: &str = "events";

/// A partner with a secret key; gives the key.
pub async fn partner(registry: &Registry, name: &str) -> String {
    let secret = NewSecret::generate(KEY_PREFIX).expect("there are random bytes");
    let put = Change::PutPartner {
        name: name.parse().expect("the name is a partner's"),
        partner: Partner::default(),
    };
    commit(registry, put).await;
    let create = Change::CreateKey {
        key: Key {
            id: secret.id,
            partner: name.parse().expect("the name is a partner's"),
            kind: KeyKind::Secret,
            sha256: secret.sha256,
            signing_secret: None,
            created: now(),
            expires: None,
            types: Vec::new(),
        },
    };
    commit(registry, create).await;
    secret.text
}

/// The schema of a type from the app version `since`.
pub async fn schema(registry: &Registry, event_type: &str, since: &str, text: &str) {
    let put = Change::PutSchema {
        key: SchemaKey {
            event_type: event_type.parse().expect("the name is a type's"),
            source: None,
            since: since.to_owned(),
        },
        schema: Schema {
            digest: Digest::of(text.as_bytes()),
            text: Arc::from(text),
            created: now(),
            by: BY.to_owned(),
        },
        forced: false,
    };
    commit(registry, put).await;
}

/// Version 1 of a plugin, active.
pub async fn plugin(registry: &Registry, name: &str, component: Vec<u8>) {
    let size = component.len() as u64;
    let digest = registry
        .put_blob(component.into())
        .await
        .expect("the store takes it");
    let add = Change::AddPluginVersion {
        plugin: name.parse().expect("the name is a plugin's"),
        version: PluginVersion {
            version: 1,
            digest,
            size,
            imports: Vec::new(),
            language: None,
            sdk: None,
            created: now(),
            by: BY.to_owned(),
        },
    };
    commit(registry, add).await;
    let activate = Change::ActivatePlugin {
        plugin: name.parse().expect("the name is a plugin's"),
        version: 1,
        share: None,
    };
    commit(registry, activate).await;
}

/// Events of the types that match `event_type`, of every partner, go to `topic`, through `plugin` where there is one.
pub async fn route(registry: &Registry, name: &str, event_type: &str, plugin: Option<&str>, topic: &str) {
    let put = Change::PutRoute {
        name: name.parse().expect("the name is a route's"),
        route: Route {
            matches: RouteMatch {
                event_type: event_type.to_owned(),
                ..RouteMatch::default()
            },
            plugin: plugin.map(|plugin| plugin.parse().expect("the name is a plugin's")),
            config: None,
            isolation: Default::default(),
            to: vec![RouteTarget {
                destination: DESTINATION.to_owned(),
                topic: Some(topic.to_owned()),
                key: None,
            }],
            form: Default::default(),
        },
    };
    commit(registry, put).await;
}

async fn commit(registry: &Registry, change: Change) {
    let decide = move |_: &_| Ok((Some(change.clone()), ()));
    registry.commit(BY, decide).await.expect("the change is made");
}
