//! A gateway whose registry holds many types, plugins and partners, all of which send, beside one with one of each.

use std::{path::Path, time::Duration};

use headworks::{registry::Registry, store::Store};

use crate::{
    Bench,
    client::{self, Requests},
    events::Shape,
    meter::Meter,
    page_view, paths, register,
    report::{Aim, Case, Report},
    sample,
    servers::Node,
    verdict::Bound,
};

const ONE: &str = "one of each";
const MANY: &str = "many";
const TOPIC: &str = "bench-many";
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

const AIMS: &[Aim] = &[Aim::at_full_load(Shape::Single, MANY, 1.1)];
/// 1 GiB.
const RESIDENT_MB_MAX: f64 = (1 << 30) as f64 / 1e6;

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
    let mut report = Report::new(ONE, AIMS);
    for round in 0..bench.rounds {
        eprintln!("round {} of {}", round + 1, bench.rounds);
        for (name, filled) in [(ONE, &one), (MANY, &many)] {
            let shape = Shape::Single;
            let target = filled.node.target("", "");
            let meter = Meter::begin(filled.node.id(), bench.broker_id);
            let load = client::closed_loop(
                &target,
                shape,
                &filled.requests,
                shape.connections(),
                bench.duration,
            )
            .await;
            let case = Case {
                shape,
                is_open: false,
                path: name.to_owned(),
            };
            report.add(case, meter.end(shape, &load));
        }
    }
    let most = many.node.gateway.process.status("VmHWM") as f64 * 1024.0 / 1e6;
    report.hold(
        "RSS of the gateway with many, the most it ever was, MB",
        most,
        Bound::AtMost(RESIDENT_MB_MAX),
    );
    for (what, size) in [
        ("types", sizes.types),
        ("plugins", sizes.plugins),
        ("partners", sizes.partners),
    ] {
        report.note(&format!("{what} of the gateway with many"), size as f64);
    }
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
        node.gateway.every_route_within(READY_MAX).await;
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
            client::once(&target, Shape::Single, request).await;
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
        keys.push(register::partner(&registry, &format!("partner-{number}")).await);
    }
    let schema: serde_json::Value = serde_json::from_str(&sample::schema_text()).expect("the schema is JSON");
    for number in 0..sizes.types {
        let name = event_type(number, sizes);
        let mut schema = schema.clone();
        schema["title"] = name.clone().into();
        register::schema(&registry, &name, "1", &schema.to_string()).await;
    }
    let component = page_view::component();
    for number in 0..sizes.plugins {
        let name = format!("team-{number}");
        let mark = u32::try_from(number).unwrap_or_default().to_le_bytes();
        register::plugin(&registry, &name, paths::another(&component, &mark)).await;
        register::route(&registry, &name, &format!("{name}.*"), Some(&name), TOPIC).await;
    }
    keys
}
