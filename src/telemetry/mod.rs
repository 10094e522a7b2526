//! Instruments and their exporter. Label values come only from bounded sets: registry entries, codes, destinations.

use std::{sync::Arc, time::Duration};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Counter, Histogram, Meter, MeterProvider as _},
};
use opentelemetry_sdk::metrics::SdkMeterProvider;

use crate::event::{EventResult, Outcome};

/// The gateway's instruments.
pub struct Telemetry {
    registry: prometheus::Registry,
    meter: Meter,
    /// Keeps the exporter alive.
    _provider: SdkMeterProvider,
    events: Counter<u64>,
    unreadable_versions: Counter<u64>,
    dropped: Counter<u64>,
    request_duration: Histogram<f64>,
}

/// Why the instruments could not be made.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct TelemetryError(String);

/// A number that is read when metrics are asked for, with its labels.
pub type Reading = (u64, Vec<(&'static str, String)>);

impl Telemetry {
    /// # Errors
    ///
    /// Where the exporter cannot be made.
    pub fn new() -> Result<Arc<Telemetry>, TelemetryError> {
        let registry = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .build()
            .map_err(|error| TelemetryError(error.to_string()))?;
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        let meter = provider.meter("headworks");
        let events = meter
            .u64_counter("headworks.events")
            .with_description("Events by partner, status and code")
            .build();
        let unreadable_versions = meter
            .u64_counter("headworks.events.version_unreadable")
            .with_description("Events whose app version cannot be read, by partner")
            .build();
        let dropped = meter
            .u64_counter("headworks.events.dropped")
            .with_description("Events of which a route's plugin made no record, on purpose")
            .build();
        let request_duration = meter
            .f64_histogram("headworks.request.duration")
            .with_unit("s")
            .with_description("From a request's last byte to its answer")
            .with_boundaries(vec![
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
            ])
            .build();
        Ok(Arc::new(Telemetry {
            registry,
            meter,
            _provider: provider,
            events,
            unreadable_versions,
            dropped,
            request_duration,
        }))
    }

    /// Counts one answered request's events. `partner` is a registered one.
    pub fn request(&self, partner: &str, results: &[EventResult], duration: Duration) {
        let mut counts: Vec<(&'static str, &'static str, u64)> = Vec::new();
        for result in results {
            let (status, code) = match &result.outcome {
                Outcome::Accepted => ("accepted", ""),
                Outcome::Duplicate => ("duplicate", ""),
                Outcome::Quarantined(reason) => ("quarantined", reason.code.as_str()),
                Outcome::Rejected(reason) => ("rejected", reason.code.as_str()),
            };
            match counts
                .iter_mut()
                .find(|known| (known.0, known.1) == (status, code))
            {
                Some(known) => known.2 += 1,
                None => counts.push((status, code, 1)),
            }
        }
        for (status, code, count) in counts {
            self.events.add(
                count,
                &[
                    KeyValue::new("partner", partner.to_owned()),
                    KeyValue::new("status", status),
                    KeyValue::new("code", code),
                ],
            );
        }
        self.request_duration.record(duration.as_secs_f64(), &[]);
    }

    /// Counts an event whose app version cannot be read. `partner` is a registered one.
    pub fn unreadable_version(&self, partner: &str) {
        self.unreadable_versions
            .add(1, &[KeyValue::new("partner", partner.to_owned())]);
    }

    /// Counts an event that a route's plugin drops on purpose. `route` is a registered one.
    pub fn dropped(&self, route: &str) {
        self.dropped.add(1, &[KeyValue::new("route", route.to_owned())]);
    }

    /// A total that is read when metrics are asked for.
    pub fn observe_total(
        &self,
        name: &'static str,
        description: &'static str,
        read: impl Fn() -> Vec<Reading> + Send + Sync + 'static,
    ) {
        self.meter
            .u64_observable_counter(name)
            .with_description(description)
            .with_callback(move |observer| observe_all(observer, read()))
            .build();
    }

    /// A value that is read when metrics are asked for.
    pub fn observe(
        &self,
        name: &'static str,
        description: &'static str,
        read: impl Fn() -> Vec<Reading> + Send + Sync + 'static,
    ) {
        self.meter
            .u64_observable_gauge(name)
            .with_description(description)
            .with_callback(move |observer| observe_all(observer, read()))
            .build();
    }

    /// All metrics in Prometheus' text form; a comment in their place where an instrument cannot be encoded.
    pub fn prometheus_text(&self) -> String {
        prometheus::TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_else(|error| format!("# metrics cannot be encoded: {error}\n"))
    }
}

fn observe_all(observer: &dyn AsyncInstrument<u64>, readings: Vec<Reading>) {
    for (value, labels) in readings {
        let labels: Vec<KeyValue> = labels
            .into_iter()
            .map(|(name, value)| KeyValue::new(name, value))
            .collect();
        observer.observe(value, &labels);
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Sends log lines to standard error. `level` is a filter such as `info` or `headworks=debug,warn`.
///
/// # Errors
///
/// Where `level` is no filter.
pub fn start_logging(level: &str, format: LogFormat) -> Result<(), TelemetryError> {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_new(level).map_err(|error| TelemetryError(format!("{level:?}: {error}")))?;
    let base = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let started = match format {
        LogFormat::Text => base
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
        LogFormat::Json => base.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| TelemetryError(error.to_string()))
}
