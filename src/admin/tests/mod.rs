//! The API over a real socket, with a real registry and quarantine.

mod access;
mod frame;
mod openapi;
mod plugin_test;
mod plugins;
mod quarantine;
mod recent;
mod resources;
mod routes;
mod schema_check;
mod schema_references;
mod schemas;
mod tables;
mod upgrades;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use bytes::Bytes;
use futures::FutureExt as _;
use parking_lot::Mutex;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    Actions, AdminServer, AdminState, Asynchronous, Check, PluginHealth, PluginStanding, PluginStatus,
    PluginTest, Preparation, Readiness, Sweep,
};
use crate::{
    config::RecentSettings,
    event::DestinationName,
    limits::{ByteSize, Limits},
    lookup::TableSet,
    pipeline::{Lookups, TrialReport},
    problem::{Code, Problem},
    quarantine::{Quarantine, Report},
    recent::Recent,
    registry::{
        Registry,
        model::{Change, Digest, Isolation, Role, Sdk, Token},
        now,
        seal::Sealer,
        secret::{NewSecret, TOKEN_PREFIX},
    },
    spool::{Budget, Spool, SpoolOptions},
    store::Store,
    transform::{ComponentFacts, KeptLine, LogLevel},
    validate::{
        self,
        compatibility::{Report as SchemaReport, child::Pair},
    },
};

/// What the API had others do.
#[derive(Default)]
struct Calls {
    compiled: usize,
    prepared: Vec<(String, u32, Option<Value>, Isolation)>,
    /// Whatever is prepared takes for ever.
    prepares_endlessly: bool,
    swept: Vec<(&'static str, Sweep)>,
    tested: Vec<PluginTest>,
}

struct Api {
    url: String,
    client: reqwest::Client,
    registry: Registry,
    sealer: Sealer,
    quarantine: Arc<Quarantine>,
    recent: Arc<Recent>,
    calls: Arc<Mutex<Calls>>,
    readiness: Arc<Mutex<Readiness>>,
    /// Tokens by role.
    tokens: Vec<(Role, String)>,
    directory: TempDir,
    /// Ends the server.
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// What was answered, read whole.
struct Answered {
    status: u16,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Answered {
    async fn of(response: Response) -> Answered {
        Answered {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.expect("a body"),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn etag(&self) -> &str {
        self.header("etag").expect("an ETag")
    }

    /// The code of a problem in all its form.
    fn code(&self) -> String {
        let body = self.json();
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{body}"
        );
        assert_eq!(body["status"], self.status, "{body}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{body}");
        for member in ["type", "title", "detail"] {
            assert!(
                body[member].as_str().is_some_and(|text| !text.is_empty()),
                "{member} in {body}"
            );
        }
        body["code"].as_str().expect("a code").to_owned()
    }

    fn pointers(&self) -> Vec<String> {
        let body = self.json();
        let errors = body["errors"].as_array().map_or(&[][..], Vec::as_slice);
        errors
            .iter()
            .map(|error| error["pointer"].as_str().expect("a pointer").to_owned())
            .collect()
    }
}

impl Api {
    async fn start() -> Api {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store =
            Store::open(&format!("file:{}/store", directory.path().display())).expect("the store opens");
        let registry = Registry::open(store.clone()).await.expect("the registry opens");
        let quarantine = quarantine(directory.path(), store).await;
        let recent = Recent::new(&RecentSettings {
            events: 100,
            max_bytes: ByteSize(1 << 20),
        });
        let calls = Arc::new(Mutex::new(Calls::default()));
        let readiness = Arc::new(Mutex::new(Readiness {
            ready: true,
            checks: Vec::new(),
        }));
        let mut tokens = Vec::new();
        for role in [Role::Viewer, Role::Publisher, Role::Operator, Role::Admin] {
            tokens.push((role, token(&registry, role).await));
        }
        let sealer = Sealer::from_file(&directory.path().join("sealing-key")).expect("a sealing key");
        let state = AdminState {
            tap: Arc::default(),
            lookups: Lookups::new(registry.clone(), ByteSize(1 << 20)),
            registry: registry.clone(),
            limits: Arc::new(Limits {
                schema_bytes: ByteSize(20_000),
                component_bytes: ByteSize(3 << 20),
                table_bytes: ByteSize(1 << 20),
                ..Limits::default()
            }),
            recent: recent.clone(),
            sealer: sealer.clone(),
            actions: Arc::new(actions(&calls, &readiness, &quarantine)),
            references: Arc::default(),
            jwt: None,
            needs_certificate: false,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        tokio::spawn(AdminServer::serve(listener, state, stopped.map(drop)));
        Api {
            url,
            client: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .expect("a client"),
            registry,
            sealer,
            quarantine,
            recent,
            calls,
            readiness,
            tokens,
            directory,
            _stop: stop,
        }
    }

    fn store(&self) -> Store {
        let url = format!("file:{}/store", self.directory.path().display());
        Store::open(&url).expect("the store opens")
    }

    fn token(&self, role: Role) -> &str {
        let of_role = self.tokens.iter().find(|(known, _)| *known == role);
        &of_role.expect("a token of each role").1
    }

    /// Without a token.
    fn bare(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("{}{path}", self.url))
    }

    fn request(&self, role: Role, method: &str, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(self.token(role))
    }

    /// As admin.
    async fn get(&self, path: &str) -> Answered {
        send(self.request(Role::Admin, "GET", path)).await
    }

    async fn put(&self, path: &str, body: Value) -> Answered {
        send(self.request(Role::Admin, "PUT", path).json(&body)).await
    }

    async fn post(&self, path: &str, body: Value) -> Answered {
        send(self.request(Role::Admin, "POST", path).json(&body)).await
    }

    async fn delete(&self, path: &str) -> Answered {
        send(self.request(Role::Admin, "DELETE", path)).await
    }

    async fn upload(&self, plugin: &str, component: &'static [u8]) -> Answered {
        let path = format!("/v1/plugins/{plugin}/versions");
        send(self.request(Role::Admin, "POST", &path).body(component)).await
    }
}

async fn send(request: RequestBuilder) -> Answered {
    let response = request.send().await.expect("an answer");
    assert!(
        response.headers().contains_key("x-request-id"),
        "every response has a request id"
    );
    Answered::of(response).await
}

async fn quarantine(directory: &Path, store: Store) -> Arc<Quarantine> {
    let folder = directory.join("spool");
    let spool = Spool::open(&folder, SpoolOptions::default(), Budget::new(1 << 30)).expect("the spool opens");
    Quarantine::open(spool, store)
        .await
        .expect("the quarantine opens")
}

async fn token(registry: &Registry, role: Role) -> String {
    let secret = NewSecret::generate(TOKEN_PREFIX).expect("a secret");
    let token = Token {
        id: secret.id,
        name: format!("{role:?}").to_lowercase(),
        role,
        sha256: secret.sha256,
        created: now(),
        expires: None,
    };
    let change = move |_: &_| Ok((Some(Change::CreateToken { token: token.clone() }), ()));
    registry.commit("test", change).await.expect("the token is made");
    secret.text
}

/// Stands for the engine: a component is what begins like one, and a configuration with `refuse` is refused.
fn compiled(component: &Bytes) -> Result<ComponentFacts, Problem> {
    if !component.starts_with(b"\0asm") {
        return Err(Problem::new(Code::ComponentInvalid, "the upload is no component"));
    }
    Ok(ComponentFacts {
        digest: Digest::of(component),
        size: component.len() as u64,
        imports: vec!["headworks:plugin/document@0.1.0".to_owned()],
        language: Some("Rust"),
        sdk: Some(Sdk {
            name: "headworks-plugin".to_owned(),
            version: "0.1.0".to_owned(),
        }),
    })
}

fn prepared(wanted: &Preparation) -> Result<(), Problem> {
    let refused = wanted
        .config
        .as_ref()
        .is_some_and(|config| config["refuse"] == wanted.version);
    if refused {
        return Err(Problem::new(Code::ConfigurationRefused, "it must not refuse"));
    }
    compiled(&wanted.component).map(drop)
}

fn preparing(calls: &Arc<Mutex<Calls>>) -> Asynchronous<Preparation, Result<(), Problem>> {
    let calls = calls.clone();
    Arc::new(move |wanted| {
        let (plugin, config) = (wanted.plugin.to_string(), wanted.config.clone());
        let mut calls = calls.lock();
        calls
            .prepared
            .push((plugin, wanted.version, config, wanted.isolation));
        if calls.prepares_endlessly {
            return std::future::pending().boxed();
        }
        std::future::ready(prepared(&wanted)).boxed()
    })
}

fn compared(pair: &Pair) -> SchemaReport {
    let time = std::time::Duration::from_secs(20);
    validate::compatibility::compare(&pair.old, &pair.new, &pair.events, time)
}

fn inactive() -> PluginStanding {
    PluginStanding {
        health: PluginHealth {
            status: PluginStatus::Inactive,
            detail: None,
        },
        versions: BTreeMap::new(),
        counters: BTreeMap::new(),
        comparison: None,
    }
}

fn plugin_log() -> Vec<Arc<KeptLine>> {
    let line = |sequence: u64, version: u64, level| {
        Arc::new(KeptLine {
            sequence,
            at: jiff::Timestamp::UNIX_EPOCH,
            label: format!("calls@{version}").into(),
            partner: "bridge".parse().expect("a name"),
            event_id: format!("event-{sequence}").into(),
            level,
            message: "line".to_owned(),
        })
    };
    vec![
        line(1, 1, LogLevel::Info),
        line(2, 2, LogLevel::Error),
        line(3, 2, LogLevel::Debug),
    ]
}

fn actions(
    calls: &Arc<Mutex<Calls>>,
    readiness: &Arc<Mutex<Readiness>>,
    quarantine: &Arc<Quarantine>,
) -> Actions {
    let (compiles, tests) = (calls.clone(), calls.clone());
    let (replays, discards) = (calls.clone(), calls.clone());
    let (listed, shown, counted) = (quarantine.clone(), quarantine.clone(), quarantine.clone());
    let readiness = readiness.clone();
    Actions {
        destinations: Arc::new(|| {
            let names = ["events", "files"].map(|name| name.parse::<DestinationName>().expect("a name"));
            names.into_iter().collect()
        }),
        check_schemas: Arc::new(|candidates| {
            std::future::ready(validate::check::check_here(&candidates, 20_000)).boxed()
        }),
        compare: Arc::new(|pairs| std::future::ready(pairs.iter().map(compared).collect()).boxed()),
        compile: Arc::new(move |component| {
            compiles.lock().compiled += 1;
            std::future::ready(compiled(&component)).boxed()
        }),
        prepare: preparing(calls),
        key_used: Arc::new(|_| Some(jiff::Timestamp::UNIX_EPOCH)),
        plugin_standing: Arc::new(|_, _| inactive()),
        plugin_log: Arc::new(|_| plugin_log()),
        test_plugin: Arc::new(move |test| {
            tests.lock().tested.push(test);
            std::future::ready(Ok(TrialReport::default())).boxed()
        }),
        list_quarantine: Arc::new(move |query| {
            let quarantine = listed.clone();
            async move {
                quarantine
                    .list(&query.filter, query.after.as_deref(), query.limit)
                    .await
            }
            .boxed()
        }),
        quarantined_versions: Arc::new(move |event_type| counted.app_versions(event_type.as_str())),
        get_quarantined: Arc::new(move |id| {
            let quarantine = shown.clone();
            async move {
                Ok(quarantine
                    .get(&id)
                    .await?
                    .map(|kept| kept.whole().expect("it can be shown")))
            }
            .boxed()
        }),
        replay: Arc::new(move |sweep| {
            replays.lock().swept.push(("replay", sweep));
            std::future::ready(Ok(Report {
                matched: 3,
                accepted: 2,
                quarantined: 1,
                ..Report::default()
            }))
            .boxed()
        }),
        discard: Arc::new(move |sweep| {
            discards.lock().swept.push(("discard", sweep));
            std::future::ready(Ok(Report {
                matched: 3,
                discarded: 3,
                ..Report::default()
            }))
            .boxed()
        }),
        replays: Arc::new(Vec::new),
        readiness: Arc::new(move || std::future::ready(readiness.lock().clone()).boxed()),
        lookup_tables: Arc::new(|| Arc::new(TableSet::default())),
        metrics: Arc::new(|| "headworks_up 1\n".to_owned()),
    }
}

fn not_ready() -> Readiness {
    Readiness {
        ready: false,
        checks: vec![Check {
            name: "registry".to_owned(),
            ok: false,
            detail: Some("the log cannot be read".to_owned()),
            state: None,
        }],
    }
}
