//! A gateway whose registry holds many types, plugins and partners, all of which send, beside one with one of each.

use std::{path::Path, sync::Arc, time::Duration};

use headworks::{
    event::{PartnerName, PluginName},
    registry::{
        Registry,
        model::{
            Change, Digest, Key, KeyKind, Partner, PluginVersion, Route, RouteMatch, RouteTarget, Schema,
            SchemaKey,
        },
        now,
        secret::{KEY_PREFIX, NewSecret},
    },
    store::Store,
};

use crate::{
    Bench,
    client::{self, Requests},
    events::Shape,
    meter::Meter,
    page_view, paths,
    report::{Case, Goal, Report},
    sample,
    servers::Node,
};

const ONE: &str = "one of each";
const MANY: &str = "many";
const TOPIC: &str = "bench-many";
const BY: &str = "bench";
/// A thousand components are compiled before the gateway is ready.
const READY_MAX: Duration = Duration::from_secs(3600);

#[derive(Clone, clap::Args)]
pub struct Sizes {
    /// With --many: so many types, each with a schema.
    #[arg(long, default_value_t = 10_000)]
    types: usize,
    /// With --many: so many plugins, each with a component and a route of its own.
    #[arg(long, default_value_t = 1_000)]
    plugins: usize,
    /// With --many: so many partners, each with a key.
    #[arg(long, default_value_t = 10_000)]
    partners: usize,
}

fn goals(case: &Case) -> Option<Goal> {
    (case.path == MANY).then_some(Goal {
        ratio: 1.1,
        p99_ms: None,
    })
}

pub async fn measure(bench: &Bench, sizes: &Sizes) -> Report {
    bench.broker.create_topic(TOPIC, 4).await;
    let one = Filled::start(
        bench,
        &Sizes {
            types: 1,
            plugins: 1,
            partners: 1,
        },
    )
    .await;
    let many = Filled::start(bench, sizes).await;
    let mut report = Report::new(ONE, goals);
    for round in 0..bench.rounds {
        eprintln!("round {} of {}", round + 1, bench.rounds);
        for (name, filled) in [(ONE, &one), (MANY, &many)] {
            let shape = Shape::Single;
            let target = filled.node.target("", "");
            let meter = Meter::begin(filled.node.id(), bench.broker_id);
            let load =
                client::closed_loop(&target, &filled.requests, shape.connections(), bench.duration).await;
            let case = Case {
                shape,
                is_open: false,
                path: name.to_owned(),
            };
            report.add(case, meter.end(shape, &load));
        }
    }
    let most = many.node.gateway.process.status("VmHWM") as f64 * 1024.0 / 1e6;
    report.note(
        "RSS of the gateway with many, the most it ever was, MB (goal: 1074)",
        most,
    );
    report
}

struct Filled {
    node: Node,
    /// One of each partner, of all types in turn.
    requests: Requests,
    _store: tempfile::TempDir,
}

impl Filled {
    async fn start(bench: &Bench, sizes: &Sizes) -> Filled {
        // In memory where there is such a folder: what syncing costs is not what is measured.
        let store = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .expect("a folder can be made");
        let keys = fill(store.path(), sizes).await;
        let node = Node::spawn(bench.broker.bootstrap(), &bench.program, Some(store.path()));
        node.gateway.ready_within(READY_MAX).await;
        let count = sizes.types.max(sizes.partners);
        let requests = (0..count).map(|number| {
            let event_type = event_type(number % sizes.types, sizes);
            let target = node.target(&event_type, &keys[number % keys.len()]);
            Shape::Single.request(&target, &bench.event)
        });
        let requests: Requests = requests.collect();
        // Every schema is compiled and every plugin has run before anything is measured.
        let target = node.target("", "");
        for request in requests.iter() {
            let answer = client::once(&target, request).await;
            assert!(answer.contains("\"status\":\"accepted\""), "{answer}");
        }
        Filled {
            node,
            requests,
            _store: store,
        }
    }
}

/// Types of a team go through the team's plugin.
fn event_type(number: usize, sizes: &Sizes) -> String {
    format!("team-{}.event-{number}", number % sizes.plugins)
}

/// Writes the registry that the gateway is to find; gives the partners' keys.
async fn fill(folder: &Path, sizes: &Sizes) -> Vec<String> {
    let store = Store::open(&format!("file:{}", folder.display())).expect("a store opens");
    let registry = Registry::open(store).await.expect("an empty store is a registry");
    let mut keys = Vec::new();
    for number in 0..sizes.partners {
        let partner: PartnerName = format!("partner-{number}")
            .parse()
            .expect("the name is a partner's");
        let secret = NewSecret::generate(KEY_PREFIX).expect("there are random bytes");
        commit(&registry, put_partner(&partner)).await;
        commit(&registry, create_key(partner, &secret)).await;
        keys.push(secret.text);
    }
    let schema: serde_json::Value = serde_json::from_str(&sample::schema_text()).expect("the schema is JSON");
    for number in 0..sizes.types {
        let name = event_type(number, sizes);
        let mut schema = schema.clone();
        schema["title"] = name.clone().into();
        commit(&registry, put_schema(&name, &schema.to_string())).await;
    }
    let component = page_view::component();
    for number in 0..sizes.plugins {
        let name: PluginName = format!("team-{number}").parse().expect("the name is a plugin's");
        let mark = u32::try_from(number).unwrap_or_default().to_le_bytes();
        add_plugin(&registry, &name, paths::another(&component, &mark)).await;
        let route = Route {
            matches: RouteMatch {
                event_type: format!("team-{number}.*"),
                ..RouteMatch::default()
            },
            plugin: Some(name),
            config: None,
            to: vec![RouteTarget {
                destination: "events".to_owned(),
                topic: Some(TOPIC.to_owned()),
                key: None,
            }],
            form: Default::default(),
        };
        let name = format!("team-{number}").parse().expect("the name is a route's");
        commit(&registry, Change::PutRoute { name, route }).await;
    }
    keys
}

fn put_partner(name: &PartnerName) -> Change {
    Change::PutPartner {
        name: name.clone(),
        partner: Partner::default(),
    }
}

fn create_key(partner: PartnerName, secret: &NewSecret) -> Change {
    Change::CreateKey {
        key: Key {
            id: secret.id.clone(),
            partner,
            kind: KeyKind::Secret,
            sha256: secret.sha256,
            signing_secret: None,
            created: now(),
            expires: None,
            types: Vec::new(),
        },
    }
}

fn put_schema(name: &str, text: &str) -> Change {
    Change::PutSchema {
        key: SchemaKey {
            event_type: name.parse().expect("the name is a type's"),
            source: None,
            since: "1".to_owned(),
        },
        schema: Schema {
            digest: Digest::of(text.as_bytes()),
            text: Arc::from(text),
            created: now(),
            by: BY.to_owned(),
        },
        forced: false,
    }
}

async fn add_plugin(registry: &Registry, name: &PluginName, component: Vec<u8>) {
    let size = component.len() as u64;
    let digest = registry
        .put_blob(component.into())
        .await
        .expect("the store takes it");
    let version = PluginVersion {
        version: 1,
        digest,
        size,
        imports: Vec::new(),
        language: None,
        created: now(),
        by: BY.to_owned(),
    };
    let plugin = name.clone();
    commit(registry, Change::AddPluginVersion { plugin, version }).await;
    let activate = Change::ActivatePlugin {
        plugin: name.clone(),
        version: 1,
        share: None,
    };
    commit(registry, activate).await;
}

async fn commit(registry: &Registry, change: Change) {
    let decide = move |_: &_| Ok((Some(change.clone()), ()));
    registry.commit(BY, decide).await.expect("the store takes it");
}
