//! What an operator sees: metrics by Prometheus and OTLP, traces that go on behind the gateway, and what is told to nobody.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use headworks::telemetry::{TraceContext, catalogue};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value},
    metrics::v1::{Metric, metric::Data, number_data_point},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;
use serde_json::{Value, json};

use crate::harness::{
    gateway::{Gateway, Options, eventually},
    kafka,
    ports::free_addresses,
};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// Takes OTLP over HTTP, as a collector does.
#[derive(Clone, Default)]
struct Receiver {
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    tokens: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    /// The receiver and its URL. Ends with the test's runtime.
    async fn start() -> (Receiver, String) {
        let receiver = Receiver::default();
        let router = Router::new()
            .route("/v1/metrics", post(take_metrics))
            .route("/v1/traces", post(take_traces))
            .with_state(receiver.clone());
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", socket.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(socket, router).await });
        (receiver, url)
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.traces.lock().expect("whole");
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    fn last_metrics(&self) -> BTreeMap<String, Metric> {
        let requests = self.metrics.lock().expect("whole");
        let resources = requests
            .last()
            .into_iter()
            .flat_map(|request| &request.resource_metrics);
        let scopes = resources.flat_map(|resource| &resource.scope_metrics);
        scopes
            .flat_map(|scope| scope.metrics.clone())
            .map(|metric| (metric.name.clone(), metric))
            .collect()
    }
}

async fn take_metrics(State(receiver): State<Receiver>, headers: http::HeaderMap, body: Bytes) {
    let request = ExportMetricsServiceRequest::decode(body).expect("OTLP");
    receiver.metrics.lock().expect("whole").push(request);
    let token = headers.get("authorization").and_then(|token| token.to_str().ok());
    receiver
        .tokens
        .lock()
        .expect("whole")
        .push(token.unwrap_or_default().to_owned());
}

async fn take_traces(State(receiver): State<Receiver>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    receiver.traces.lock().expect("whole").push(request);
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let attribute = attributes.iter().find(|attribute| attribute.key == key);
    match attribute
        .and_then(|attribute| attribute.value.clone())
        .and_then(|value| value.value)
    {
        Some(any_value::Value::StringValue(text)) => text,
        other => panic!("{key}: {other:?}"),
    }
}

async fn with_orders(gateway: &mut Gateway, destination: &str, topic: &str) {
    gateway.partner("shop", json!({"source": "/shop"})).await;
    gateway
        .put(
            "/v1/schemas/order.placed/1",
            json!({"type": "object", "required": ["n"]}),
        )
        .await;
    let to = json!([{"destination": destination, "topic": topic}]);
    gateway
        .put(
            "/v1/routes/orders",
            json!({"match": {"type": "order.placed"}, "to": to}),
        )
        .await;
}

#[expect(clippy::too_many_lines, reason = "one trace, looked at whole")]
#[tokio::test]
async fn a_trace_goes_on_through_kafka_and_the_parent_decides() {
    let broker = kafka::shared();
    broker.create_topic("traced-orders", 1).await;
    let (receiver, url) = Receiver::start().await;
    let mut gateway = Gateway::start_with(Options {
        kafka: Some(broker.bootstrap().to_owned()),
        configuration: format!(
            "[telemetry]\notlp_endpoint = \"{url}\"\notlp_interval_s = 1\ntrace_one_in = 0\n\
             otlp_headers = {{ authorization = \"Bearer collector\" }}\n"
        ),
        ..Options::default()
    })
    .await;
    with_orders(&mut gateway, "events", "traced-orders").await;
    let send = async |id: &str, traceparent: Option<&str>| {
        let mut request = gateway
            .send("POST", "/v1/events/order.placed", "shop")
            .header("content-type", JSON)
            .header("ce-id", id)
            .body(r#"{"n":1}"#);
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        assert_eq!(request.send().await.expect("answered").status(), 202);
    };
    let sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let unsampled = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-00";
    send("sampled", Some(sampled)).await;
    send("unsampled", Some(unsampled)).await;
    send("none", None).await;

    let messages = broker.consume("traced-orders", 3).await;
    let carried: BTreeMap<&str, Option<&str>> = messages
        .iter()
        .map(|message| {
            let header = |name: &str| message.headers.get(name).map(String::as_str);
            (header("ce_id").expect("an id"), header("traceparent"))
        })
        .collect();
    assert_eq!(carried["unsampled"], Some(unsampled), "handed on as it came");
    assert_eq!(carried["none"], None);
    let consumer = TraceContext::parse(carried["sampled"].expect("a context")).expect("W3C's form");
    assert!(consumer.sampled);

    let spans = eventually("the whole trace is there", async || {
        let spans = receiver.spans();
        (spans.iter().any(|span| span.name == "receive events")
            && spans.iter().any(|span| span.name == "deliver events"))
        .then_some(spans)
    })
    .await;
    let parent = TraceContext::parse(sampled).expect("W3C's form");
    assert!(
        spans.iter().all(|span| span.trace_id == parent.trace),
        "{spans:#?}"
    );
    let named = |name: &str| {
        let mut found = spans.iter().filter(|span| span.name == name);
        let span = found.next().unwrap_or_else(|| panic!("{name}: {spans:#?}"));
        assert!(found.next().is_none(), "{name} once: {spans:#?}");
        span
    };
    let request = named("receive events");
    assert_eq!(request.parent_span_id, parent.span);
    assert_eq!(request.kind, SpanKind::Server as i32);
    assert_eq!(text(&request.attributes, "headworks.partner"), "shop");
    for stage in ["receive", "decode", "deliver"] {
        assert_eq!(named(stage).parent_span_id, request.span_id, "{stage}");
    }
    let event = named("send order.placed");
    assert_eq!(
        event.span_id, consumer.span,
        "the consumer goes on from the event's span"
    );
    assert_eq!(event.parent_span_id, request.span_id);
    assert_eq!(text(&event.attributes, "cloudevents.event_id"), "sampled");
    for part in ["validate", "transform", "deliver events"] {
        assert_eq!(named(part).parent_span_id, event.span_id, "{part}");
    }
    for span in &spans {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }

    let metrics = eventually("metrics are there", async || {
        let metrics = receiver.last_metrics();
        let events = metrics.get("headworks.events")?;
        let Some(Data::Sum(sum)) = &events.data else {
            panic!("{events:?}")
        };
        let accepted = sum
            .data_points
            .iter()
            .find(|point| text(&point.attributes, "status") == "accepted")?;
        (accepted.value == Some(number_data_point::Value::AsInt(3))).then_some(metrics)
    })
    .await;
    let Some(Data::Histogram(durations)) = &metrics["headworks.event.duration"].data else {
        panic!("{metrics:?}")
    };
    let point = &durations.data_points[0];
    assert_eq!(point.count, 3);
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), 3);
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!(text(&point.attributes, "type"), "order.placed");
    assert!(
        receiver
            .tokens
            .lock()
            .expect("whole")
            .iter()
            .all(|token| token == "Bearer collector")
    );
}

#[tokio::test]
async fn an_event_of_a_batch_keeps_its_own_trace() {
    let (receiver, url) = Receiver::start().await;
    let mut gateway = Gateway::start_with(Options {
        configuration: format!("[telemetry]\notlp_endpoint = \"{url}\"\ntrace_one_in = 0\n"),
        ..Options::default()
    })
    .await;
    with_orders(&mut gateway, "files", "orders").await;
    let event = |id: &str, trace: &str| {
        json!({"specversion": "1.0", "id": id, "source": "/s", "type": "order.placed", "traceparent": trace,
            "data": {"n": 1}})
    };
    let one = "00-11111111111111111111111111111111-00f067aa0ba902b7-01";
    let two = "00-22222222222222222222222222222222-00f067aa0ba902b7-00";
    let batch = json!([event("one", one), event("two", two)]);
    let answer = gateway
        .post(
            "/v1/events",
            "shop",
            "application/cloudevents-batch+json",
            batch.to_string(),
        )
        .await;
    answer.expect(202);
    let records = gateway.wait_for_records("orders", 2).await;
    let carried = |id: &str| {
        let record = records
            .iter()
            .find(|record| record["id"] == id)
            .expect("delivered");
        record["traceparent"].as_str().expect("a text").to_owned()
    };
    assert!(carried("one").starts_with("00-11111111111111111111111111111111-"));
    assert_ne!(carried("one"), one, "another span of the same trace");
    assert_eq!(carried("two"), two, "its sender does not want it traced");
    let spans = eventually("the spans are there", async || {
        let spans = receiver.spans();
        spans
            .iter()
            .any(|span| span.name == "receive events")
            .then_some(spans)
    })
    .await;
    let own = spans
        .iter()
        .find(|span| span.name == "send order.placed")
        .expect("a span");
    let request = spans
        .iter()
        .find(|span| span.name == "receive events")
        .expect("a span");
    assert_eq!(
        own.links[0].span_id, request.span_id,
        "linked with the request that brought it"
    );
}

#[expect(clippy::too_many_lines, reason = "one gateway, looked at whole")]
#[tokio::test]
async fn metrics_name_what_the_registry_names_and_nothing_else() {
    let mut gateway = Gateway::start().await;
    with_orders(&mut gateway, "files", "orders").await;
    let lines = |prefix: &str| -> String {
        (0..500)
            .map(|number| {
                format!("{{\"type\":\"{prefix}.{number}\",\"appversion\":\"{number}.{prefix}\",\"data\":{{\"n\":1}}}}\n")
            })
            .collect()
    };
    for round in 0..4 {
        let batch = lines(&format!("random{round}"));
        let answer = gateway
            .post("/v1/events", "shop", NDJSON, batch)
            .await
            .expect(202);
        assert_eq!(answer["quarantined"], 500);
    }
    let good: String = (0..40).map(|number| format!("{{\"n\":{number}}}\n")).collect();
    gateway
        .post("/v1/events/order.placed", "shop", NDJSON, good)
        .await
        .expect(202);
    // One request in 16 is timed.
    for number in 0..40 {
        let request = gateway.send("POST", "/v1/events/order.placed", "shop");
        let sent = request
            .json(&json!({"n": number}))
            .send()
            .await
            .expect("answered");
        assert_eq!(sent.status(), 202);
    }
    let refused = gateway
        .send("POST", "/v1/events/order.placed", "shop")
        .body("{")
        .send()
        .await;
    assert_eq!(refused.expect("answered").status(), 400);

    let events = gateway.metric("headworks_events_total").await;
    let of = |status: &str| {
        let mut found = events.iter().filter(|sample| sample.labels["status"] == status);
        let sample = found.next().unwrap_or_else(|| panic!("{status}"));
        assert!(found.next().is_none(), "one series of {status}");
        (sample.labels.clone(), sample.value)
    };
    let (labels, count) = of("accepted");
    assert_eq!(
        (
            labels["type"].as_str(),
            labels["since"].as_str(),
            labels["partner"].as_str(),
            count
        ),
        ("order.placed", "1", "shop", 80.0)
    );
    let (labels, count) = of("quarantined");
    assert_eq!(
        (labels["type"].as_str(), labels["code"].as_str(), count),
        ("other", "schema-unknown", 2000.0)
    );
    let text = gateway.metrics_text().await;
    assert!(!text.contains("random"), "no name of an event's own");
    for metric in [
        "headworks_stage_duration_seconds_count{stage=\"validate\"}",
        "headworks_destination_duration_seconds_count{destination=\"files\"}",
        "headworks_key_requests_total{partner=\"shop\"",
        "headworks_requests_refused_total{code=",
        "http_server_request_duration_seconds_bucket{http_request_method=\"POST\",http_response_status_code=\"202\"",
        "process_memory_usage_bytes ",
    ] {
        assert!(text.contains(metric), "{metric}\n{text}");
    }
    // What the catalogue says is what is there: nothing else has a line.
    let known: Vec<String> = catalogue::ALL
        .iter()
        .map(|instrument| instrument.prometheus_name())
        .collect();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().expect("a name");
        assert!(
            known.iter().any(|known| known == name),
            "{name} is not in the catalogue"
        );
    }
}

fn planted(name: &str) -> String {
    format!("planted-{name}-4e1a")
}

/// What no line of the log may hold, beside the keys that the gateway made itself.
const PLANTED: [&str; 2] = ["planted-", "-4e1a"];

/// A gateway that is given secrets wherever its configuration takes any, and says all that it has to say.
async fn with_secrets(format: &str, lines: std::net::SocketAddr) -> Gateway {
    Gateway::start_with(Options {
        configuration: format!(
            "[server.lines]\nlisten = \"{lines}\"\n\
             [[destination]]\nname = \"locked\"\nkind = \"kafka\"\nbrokers = \"127.0.0.1:1\"\n\
             options = {{ \"security.protocol\" = \"sasl_plaintext\", \"sasl.mechanism\" = \"PLAIN\", \
             \"sasl.username\" = \"u\", \"sasl.password\" = \"{}\" }}\n\
             [[destination]]\nname = \"streams\"\nkind = \"kinesis\"\nregion = \"us-east-1\"\n\
             endpoint_url = \"http://127.0.0.1:1\"\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n\
             [telemetry]\nlog_level = \"trace\"\nlog_format = \"{format}\"\notlp_endpoint = \"http://127.0.0.1:1/{}\"\n\
             otlp_headers = {{ authorization = \"{}\" }}\notlp_interval_s = 1\n",
            planted("password"),
            planted("access-key-id"),
            planted("secret-access-key"),
            planted("path"),
            planted("header"),
        ),
        ..Options::default()
    })
    .await
}

/// Refused, quarantined and malformed events, and credentials of all kinds in all places; gives those that are real.
async fn send_secrets(gateway: &Gateway, lines: std::net::SocketAddr) -> Vec<String> {
    let data = json!({"n": planted("payload"), "nested": {"list": [planted("deep")]}}).to_string();
    for (path, body, status) in [
        ("/v1/events/order.placed", data.clone(), 202),
        ("/v1/events/order.streamed", data.clone(), 202),
        ("/v1/events/no.schema", data.clone(), 202),
        (
            "/v1/events/order.placed",
            format!("{{\"{}\":", planted("broken")),
            400,
        ),
    ] {
        gateway.post(path, "shop", JSON, body).await.expect(status);
    }
    let made = gateway
        .admin("POST", "/v1/partners/shop/keys", Some(json!({"kind": "signing"})))
        .await
        .expect(201);
    let text = |member: &str| made[member].as_str().expect("a text").to_owned();
    let (signing_id, signing_secret) = (text("id"), text("secret"));
    let client = crate::harness::client();
    let base = format!("http://{}", gateway.data_address());
    for (path, header, value) in [
        (
            format!("/v1/events/order.placed?key={}", planted("query")),
            "x-api-key",
            planted("api"),
        ),
        (
            format!("/k/{}/v1/events", planted("path-key")),
            "authorization",
            format!("Bearer {}", planted("bearer")),
        ),
        (
            format!("/v1/events/order.placed?key_id={signing_id}"),
            "webhook-signature",
            format!("v1,{}", planted("signature")),
        ),
        (format!("/{}", planted("url")), "cookie", planted("cookie")),
    ] {
        let request = client
            .post(format!("{base}{path}"))
            .header(header, value)
            .header("ce-subject", planted("subject"))
            .body(data.clone());
        let status = request.send().await.expect("answered").status().as_u16();
        assert!((400..500).contains(&status), "{status}");
    }
    let token = gateway.token();
    let wrong = client
        .get(format!("{}/v1/partners", gateway.admin_url()))
        .bearer_auth(planted("token"));
    assert_eq!(wrong.send().await.expect("answered").status(), 401);
    let key = gateway.key("shop");
    // On the port for lines: a key that is none, one that is none and never ends, and a good one with bad lines behind.
    let openings = [
        (format!("AUTH {}\n", planted("line-key")), "-key-invalid"),
        (format!("AUTH {}", planted("endless").repeat(200)), "-key-invalid"),
        (
            format!("AUTH {key}\n{{\"{}\"\n{}\n", planted("line"), planted("words")),
            "+shop",
        ),
    ];
    for (opening, answer) in openings {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(lines).await.expect("connected");
        stream.write_all(opening.as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("shut");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("answered");
        assert!(text.starts_with(answer), "{text}");
    }
    let secret = signing_secret.trim_start_matches("whsec_").to_owned();
    vec![key, token, secret]
}

#[tokio::test]
async fn nothing_that_is_secret_is_written_to_the_log() {
    for format in ["json", "text"] {
        let [lines] = free_addresses();
        let mut gateway = with_secrets(format, lines).await;
        with_orders(&mut gateway, "locked", "orders").await;
        gateway.put("/v1/schemas/order.streamed/1", json!({})).await;
        let to = json!([{"destination": "streams", "topic": "orders"}]);
        let route = json!({"match": {"type": "order.streamed"}, "to": to});
        gateway.put("/v1/routes/streamed", route).await;
        let mut secrets = send_secrets(&gateway, lines).await;
        secrets.extend(PLANTED.map(str::to_owned));
        eventually("the collector was tried", async || {
            gateway.log().contains("does not take telemetry").then_some(())
        })
        .await;
        gateway.terminate().await;
        // A store that does not answer: the gateway says so, and ends.
        gateway.spawn_with(&format!(
            "[store]\nurl = \"s3://bucket/prefix\"\n[store.options]\nendpoint = \"http://127.0.0.1:1\"\n\
             allow_http = true\nregion = \"us-east-1\"\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n\
             session_token = \"{}\"\n",
            planted("store-id"),
            planted("store-secret"),
            planted("session")
        ));
        assert!(!gateway.ended().await.success());
        let log = gateway.log();
        assert!(log.contains("error: store: "), "{log}");
        for secret in secrets {
            let found: Vec<&str> = log.lines().filter(|line| line.contains(&secret)).collect();
            assert!(found.is_empty(), "{secret:?} is in the log: {found:#?}");
        }
        let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with("error: ")).collect();
        match format {
            "json" => read_as_json(&lines),
            _ => read_as_text(&lines),
        }
    }
}

fn read_as_json(lines: &[&str]) {
    let mut refusals = 0;
    for line in lines {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
        refusals += usize::from(line["code"] == "key-conflict");
    }
    assert!(refusals > 0, "refusals have a line each at debug: {lines:#?}");
}

/// A time, a level in capitals, then words: for people, without colours where it goes to a file.
fn read_as_text(lines: &[&str]) {
    let mut refusals = 0;
    for line in lines {
        assert!(!line.contains('\u{1b}'), "{line}");
        let mut words = line.split_whitespace();
        let time = words.next().and_then(|word| word.parse::<jiff::Timestamp>().ok());
        let level = words.next().unwrap_or_default();
        let is_level = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level);
        assert!(time.is_some() && is_level, "{line}");
        refusals += usize::from(line.contains("code=\"key-conflict\""));
    }
    assert!(refusals > 0, "refusals have a line each at debug: {lines:#?}");
}

/// The collector that `make collector` builds; its debug exporter prints what it took.
struct Collector {
    child: std::process::Child,
    folder: tempfile::TempDir,
}

impl Collector {
    /// The collector and its URL.
    async fn start() -> (Collector, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let [address] = free_addresses();
        let configuration = format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"{address}\"}}}}}}}}\n\
             exporters: {{debug: {{verbosity: detailed}}}}\n\
             service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    \
             traces: {{receivers: [otlp], exporters: [debug]}}\n    \
             metrics: {{receivers: [otlp], exporters: [debug]}}\n"
        );
        let file = folder.path().join("collector.yaml");
        std::fs::write(&file, configuration).expect("written");
        let program = crate::repository::root().join(".cache/collector/collector");
        assert!(
            program.exists(),
            "{} is missing: make collector",
            program.display()
        );
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let child = std::process::Command::new(program)
            .arg("--config")
            .arg(&file)
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("the collector starts");
        let collector = Collector { child, folder };
        eventually("the collector listens", async || {
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
        (collector, format!("http://{address}"))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_real_collector_takes_metrics_and_traces() {
    let (collector, url) = Collector::start().await;
    let mut gateway = Gateway::start_with(Options {
        configuration: format!("[telemetry]\notlp_endpoint = \"{url}\"\notlp_interval_s = 1\n"),
        ..Options::default()
    })
    .await;
    with_orders(&mut gateway, "files", "orders").await;
    let request = gateway
        .send("POST", "/v1/events/order.placed", "shop")
        .header("content-type", JSON)
        .header(
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
        .body(r#"{"n":1}"#);
    assert_eq!(request.send().await.expect("answered").status(), 202);
    eventually("the collector has taken all", async || {
        let log = collector.log();
        let words = [
            "Trace ID       : 4bf92f3577b34da6a3ce929d0e0e4736",
            "Parent ID      : 00f067aa0ba902b7",
            "Name           : send order.placed",
            "-> Name: headworks.events",
            "-> type: Str(order.placed)",
            "-> Name: http.server.request.duration",
            "-> AggregationTemporality: Cumulative",
            "-> service.name: Str(headworks)",
        ];
        words.iter().all(|words| log.contains(words)).then_some(())
    })
    .await;
    // It says nothing of what it could not read.
    assert!(
        !collector.log().to_lowercase().contains("error"),
        "{}",
        collector.log()
    );
    assert!(gateway.terminate().await.success());
}
