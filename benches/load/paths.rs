//! Every path of the gateway beside the ceiling, and beside the peers that are given.

use std::time::{Duration, Instant};

use crate::{
    Bench,
    client::{self, Target},
    events::Shape,
    meter::{self, Meter},
    page_view,
    report::{Aim, Case, Goal, Report},
    servers::{Ceiling, Gateway, Peer},
    verdict::Bound,
};

const CEILING: &str = "ceiling";
const VALIDATE: &str = "validate";
const PLUGIN: &str = "validate + plugin";

/// At half load, with the ceiling's linger.
const P99_MS_MAX: f64 = 5.0;
/// Once it was loaded.
const RESIDENT_MB_MAX: f64 = 150.0;
const UPLOAD_MS_MAX: f64 = 1000.0;

const AIMS: &[Aim] = &[
    Aim::at_full_load(Shape::Single, VALIDATE, 1.2),
    Aim::at_full_load(Shape::Single, PLUGIN, 1.35),
    Aim::at_full_load(Shape::Batch, VALIDATE, 2.0),
    Aim::at_full_load(Shape::Batch, PLUGIN, 3.0),
    Aim::at_full_load(Shape::Gzip, PLUGIN, 4.0),
    at_half_load(VALIDATE),
    at_half_load(PLUGIN),
];

const fn at_half_load(path: &'static str) -> Aim {
    Aim {
        shape: Shape::Single,
        is_open: true,
        path,
        goal: Goal {
            ratio: 2.0,
            p99_ms: Some(P99_MS_MAX),
        },
    }
}

/// One server and what it is called.
struct Path {
    name: String,
    target: Target,
    id: u32,
}

pub async fn measure(bench: &Bench, peers: &[Peer]) -> Report {
    let brokers = bench.broker.bootstrap();
    for topic in ["bench-ceiling", "bench-validated", "bench-transformed"] {
        bench.broker.create_topic(topic, 4).await;
    }
    let ceiling = Ceiling::start(brokers).await;
    let gateway = Gateway::start(brokers, &bench.program).await;
    let id = gateway.process().id();
    let mut report = Report::new(CEILING, AIMS);
    report.note(
        "RSS of the gateway at rest with the examples, MB",
        meter::resident_mb(id),
    );
    let path = |name: &str, target: &Target, id| Path {
        name: name.to_owned(),
        target: target.clone(),
        id,
    };
    let own = [
        path(CEILING, &ceiling.target, ceiling.process.id()),
        path(VALIDATE, &gateway.validated, id),
        path(PLUGIN, &gateway.transformed, id),
    ];
    let others: Vec<Path> = peers
        .iter()
        .map(|peer| path(&peer.name, &peer.target, peer.id))
        .collect();
    accepted(bench, &own[1..]).await;
    for round in 0..bench.rounds {
        eprintln!("round {} of {}", round + 1, bench.rounds);
        for path in own.iter().chain(&others) {
            at_full_load(bench, &mut report, Shape::Single, path).await;
        }
        let rate = full_rate(&report) / 2.0;
        for path in &own {
            at_rate(bench, &mut report, path, rate).await;
        }
        for path in own.iter().chain(&others) {
            at_full_load(bench, &mut report, Shape::Batch, path).await;
        }
        at_full_load(bench, &mut report, Shape::Gzip, &own[2]).await;
    }
    let resident = gateway.process().status("VmHWM") as f64 * 1024.0 / 1e6;
    report.hold(
        "RSS of the gateway at full load, the most it ever was, MB",
        resident,
        Bound::AtMost(RESIDENT_MB_MAX),
    );
    let uploads = uploads(&gateway).await;
    report.hold(
        "upload of a Rust plugin to the first event through it, ms",
        uploads,
        Bound::AtMost(UPLOAD_MS_MAX),
    );
    report
}

/// Events a second that the plugin's path took in the last round.
fn full_rate(report: &Report) -> f64 {
    let case = Case {
        shape: Shape::Single,
        is_open: false,
        path: PLUGIN.to_owned(),
    };
    report.last(&case).expect("it was loaded").events_per_s
}

/// That events go where they are thought to go, and not to quarantine.
async fn accepted(bench: &Bench, paths: &[Path]) {
    for path in paths {
        for shape in [Shape::Single, Shape::Batch, Shape::Gzip] {
            let request = shape.request(&path.target, &bench.event);
            client::once(&path.target, shape, &request).await;
        }
    }
}

async fn at_full_load(bench: &Bench, report: &mut Report, shape: Shape, path: &Path) {
    let requests = shape.requests(&path.target, &bench.event);
    let meter = Meter::begin(path.id, bench.broker_id);
    let load = client::closed_loop(
        &path.target,
        shape,
        &requests,
        shape.connections(),
        bench.duration,
    )
    .await;
    let case = Case {
        shape,
        is_open: false,
        path: path.name.clone(),
    };
    report.add(case, meter.end(shape, &load));
}

/// Single posts at the same rate for every path.
async fn at_rate(bench: &Bench, report: &mut Report, path: &Path, rate: f64) {
    let shape = Shape::Single;
    let requests = shape.requests(&path.target, &bench.event);
    let meter = Meter::begin(path.id, bench.broker_id);
    let load = client::open_loop(
        &path.target,
        shape,
        &requests,
        shape.connections(),
        rate,
        bench.duration,
    )
    .await;
    let case = Case {
        shape,
        is_open: true,
        path: path.name.clone(),
    };
    report.add(case, meter.end(shape, &load));
}

const UPLOADS: u8 = 5;

/// Milliseconds from the upload of a component that the gateway does not know until an event that went through it was
/// answered; the median.
async fn uploads(gateway: &Gateway) -> f64 {
    let component = page_view::component();
    let event = sample_request(gateway);
    let mut times = Vec::new();
    for number in 0..UPLOADS {
        let started = Instant::now();
        let request = gateway
            .node
            .gateway
            .client
            .post(format!(
                "http://{}/v1/plugins/page-view/versions",
                gateway.node.gateway.admin
            ))
            .header("content-type", "application/wasm")
            .body(another(&component, &[number]));
        let answer = gateway
            .node
            .gateway
            .send(request)
            .await
            .expect("the plugin is taken");
        let version: serde_json::Value = serde_json::from_str(&answer).expect("the answer is JSON");
        let body = serde_json::json!({"version": version["version"]});
        let activate = gateway
            .node
            .gateway
            .call("POST", "/v1/plugins/page-view/activate", Some(body))
            .await;
        activate.expect("it is activated");
        client::once(&gateway.transformed, Shape::Single, &event).await;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64) * 1e3
}

fn sample_request(gateway: &Gateway) -> Vec<u8> {
    Shape::Single.request(&gateway.transformed, &crate::sample::page_view())
}

/// The same component with a custom section more: other bytes, the same code.
pub fn another(component: &[u8], mark: &[u8]) -> Vec<u8> {
    let length = u8::try_from(2 + mark.len()).expect("a mark is short");
    let mut another = component.to_vec();
    another.extend_from_slice(&[0, length, 1, b'x']);
    another.extend_from_slice(mark);
    another
}
