//! OTLP over HTTP: metrics and spans as protobuf, to a collector.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
    },
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, Status, span, status::StatusCode},
};
use prost::Message as _;
use tokio::sync::mpsc;

use super::{
    Telemetry,
    family::{Family, Kind, Point, Value},
    trace::{Span, SpanKind, unix_nanoseconds},
};
use crate::limits::SPANS_PER_EXPORT;

/// Where to, and as whom.
#[derive(Clone)]
pub struct Export {
    /// Without `/v1/metrics` and `/v1/traces`.
    pub endpoint: String,
    pub headers: Vec<(String, String)>,
    pub interval: Duration,
    pub trace_one_in: u32,
    /// This node, the same over restarts.
    pub instance: String,
}

/// A collector that takes longer gets the next.
const EXPORT_TIME: Duration = Duration::from_secs(10);
/// Spans wait this long for company.
const SPAN_TIME: Duration = Duration::from_secs(1);
/// After a refusal that may pass.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "headworks".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn resource(instance: &str) -> Resource {
    Resource {
        attributes: vec![
            attribute("service.name", "headworks"),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
            attribute("service.instance.id", instance),
        ],
        ..Resource::default()
    }
}

pub(super) fn metrics(
    families: &[Family],
    instance: &str,
    started: SystemTime,
    now: SystemTime,
) -> ExportMetricsServiceRequest {
    let times = (unix_nanoseconds(started), unix_nanoseconds(now));
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource(instance)),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope()),
                metrics: families
                    .iter()
                    .filter(|family| !family.points.is_empty())
                    .map(|family| metric(family, times))
                    .collect(),
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

fn metric(family: &Family, times: (u64, u64)) -> Metric {
    let instrument = family.instrument;
    let attributes = |point: &Point| {
        let pairs = instrument.labels.iter().zip(&point.labels);
        pairs.map(|(name, value)| attribute(name, value)).collect()
    };
    let numbers = || {
        let number = |point: &Point| NumberDataPoint {
            attributes: attributes(point),
            start_time_unix_nano: times.0,
            time_unix_nano: times.1,
            value: Some(match &point.value {
                Value::Whole(number) => {
                    number_data_point::Value::AsInt(i64::try_from(*number).unwrap_or(i64::MAX))
                }
                Value::Real(number) => number_data_point::Value::AsDouble(*number),
                Value::Distribution(distribution) => {
                    number_data_point::Value::AsDouble(distribution.sum as f64)
                }
            }),
            ..NumberDataPoint::default()
        };
        family.points.iter().map(number).collect::<Vec<_>>()
    };
    let temporality = AggregationTemporality::Cumulative.into();
    Metric {
        name: instrument.name.to_owned(),
        description: instrument.description.to_owned(),
        unit: instrument.unit.to_owned(),
        data: Some(match instrument.kind {
            Kind::Gauge => Data::Gauge(Gauge {
                data_points: numbers(),
            }),
            Kind::Counter => Data::Sum(Sum {
                data_points: numbers(),
                aggregation_temporality: temporality,
                is_monotonic: true,
            }),
            Kind::Histogram => Data::Histogram(Histogram {
                data_points: family
                    .points
                    .iter()
                    .filter_map(|point| histogram(point, attributes(point), instrument.scale(), times))
                    .collect(),
                aggregation_temporality: temporality,
            }),
        }),
        ..Metric::default()
    }
}

fn histogram(
    point: &Point,
    attributes: Vec<KeyValue>,
    scale: f64,
    times: (u64, u64),
) -> Option<HistogramDataPoint> {
    let Value::Distribution(distribution) = &point.value else {
        return None;
    };
    Some(HistogramDataPoint {
        attributes,
        start_time_unix_nano: times.0,
        time_unix_nano: times.1,
        count: distribution.count(),
        sum: Some(distribution.sum as f64 / scale),
        bucket_counts: distribution.counts.clone(),
        explicit_bounds: distribution
            .bounds
            .iter()
            .map(|bound| *bound as f64 / scale)
            .collect(),
        ..HistogramDataPoint::default()
    })
}

/// `SAMPLED`, and that the parent may be elsewhere is not known.
const SPAN_FLAGS: u32 = 1;

pub(super) fn spans(spans: Vec<Span>, instance: &str) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource(instance)),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope()),
                spans: spans.into_iter().map(in_otlp_form).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn in_otlp_form(span: Span) -> OtlpSpan {
    let kind = match span.kind {
        SpanKind::Internal => span::SpanKind::Internal,
        SpanKind::Server => span::SpanKind::Server,
        SpanKind::Client => span::SpanKind::Client,
        SpanKind::Producer => span::SpanKind::Producer,
    };
    OtlpSpan {
        trace_id: span.context.trace.to_vec(),
        span_id: span.context.span.to_vec(),
        parent_span_id: span.parent.map(|id| id.to_vec()).unwrap_or_default(),
        flags: SPAN_FLAGS,
        name: span.name,
        kind: kind.into(),
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: span
            .attributes
            .iter()
            .map(|(key, value)| attribute(key, value))
            .collect(),
        links: span
            .link
            .map(|link| span::Link {
                trace_id: link.trace.to_vec(),
                span_id: link.span.to_vec(),
                flags: SPAN_FLAGS,
                ..span::Link::default()
            })
            .into_iter()
            .collect(),
        status: span.error.map(|message| Status {
            message,
            code: StatusCode::Error.into(),
        }),
        ..OtlpSpan::default()
    }
}

/// Sends until it is stopped, and then what is left.
pub(super) struct Exporter {
    telemetry: Arc<Telemetry>,
    export: Export,
    client: reqwest::Client,
    spans: mpsc::Receiver<Span>,
    waiting: Vec<Span>,
    /// The signals whose last export failed: the first failure of a row is said, and that it is over.
    failing: HashSet<&'static str>,
}

impl Exporter {
    pub fn new(
        telemetry: Arc<Telemetry>,
        export: Export,
        spans: mpsc::Receiver<Span>,
    ) -> Result<Exporter, reqwest::Error> {
        Ok(Exporter {
            telemetry,
            export,
            client: reqwest::Client::builder().timeout(EXPORT_TIME).build()?,
            spans,
            waiting: Vec::new(),
            failing: HashSet::new(),
        })
    }

    pub async fn run(mut self, mut stopped: tokio::sync::watch::Receiver<bool>) {
        let mut metrics = tokio::time::interval(self.export.interval);
        metrics.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut span_time = tokio::time::interval(SPAN_TIME);
        span_time.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // The sender is gone where the gateway is: time to end as well.
                _ = stopped.changed() => break,
                _ = metrics.tick() => self.send_metrics().await,
                _ = span_time.tick() => self.send_spans().await,
                taken = self.spans.recv_many(&mut self.waiting, SPANS_PER_EXPORT) => {
                    if taken == 0 {
                        break;
                    }
                    if self.waiting.len() >= SPANS_PER_EXPORT {
                        self.send_spans().await;
                    }
                }
            }
        }
        while let Ok(span) = self.spans.try_recv() {
            self.waiting.push(span);
        }
        self.send_spans().await;
        self.send_metrics().await;
    }

    async fn send_metrics(&mut self) {
        let body = metrics(
            &self.telemetry.gather(),
            &self.export.instance,
            self.telemetry.started_at(),
            SystemTime::now(),
        );
        self.send("metrics", body.encode_to_vec()).await;
    }

    async fn send_spans(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let body = spans(waiting, &self.export.instance);
        self.send("traces", body.encode_to_vec()).await;
    }

    async fn send(&mut self, signal: &'static str, body: Vec<u8>) {
        let url = format!("{}/v1/{signal}", self.export.endpoint.trim_end_matches('/'));
        let mut cause = String::new();
        for wait in RETRY.into_iter().map(Some).chain([None]) {
            let mut request = self
                .client
                .post(&url)
                .header("content-type", "application/x-protobuf")
                .body(body.clone());
            for (name, value) in &self.export.headers {
                request = request.header(name, value);
            }
            let may_pass = match request.send().await {
                Ok(answer) if answer.status().is_success() => {
                    if self.failing.remove(signal) {
                        tracing::info!(signal, "the collector takes telemetry again");
                    }
                    return;
                }
                Ok(answer) => {
                    cause = format!("it answered {}", answer.status());
                    matches!(answer.status().as_u16(), 429 | 502 | 503 | 504)
                }
                Err(error) => {
                    // The URL may hold what is nobody's business.
                    cause = error.without_url().to_string();
                    true
                }
            };
            match wait {
                Some(wait) if may_pass && !self.failing.contains(signal) => tokio::time::sleep(wait).await,
                _ => break,
            }
        }
        self.telemetry.exports_failed.fetch_add(1, Ordering::Relaxed);
        if self.failing.insert(signal) {
            tracing::warn!(
                signal,
                cause,
                "the collector does not take telemetry; it is dropped until it does"
            );
        }
    }
}
