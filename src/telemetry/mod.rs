//! Instruments, traces, the log, and their exporters. Label values come only from bounded sets: what the registry and the
//! configuration name, codes, and fixed words; and never from more of them than the cap.

mod book;
pub mod catalogue;
mod cells;
mod family;
mod http;
mod logging;
mod observation;
mod otlp;
mod process;
mod series;
mod text;
mod trace;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinHandle};

pub use book::OTHER;
pub use family::{Instrument, Kind};
pub use http::{HttpNumbers, Under};
pub use logging::{LogFormat, start_logging};
pub use observation::{EventWatch, Observation, Stopwatch};
pub use otlp::Export;
pub use series::{CallOutcome, DestinationNumbers, EventPage, PluginNumbers, Stage, Tally, Times};
pub use trace::{TraceContext, Tracer};

use book::Page;
use family::{Family, Label, Value};
use series::Numbers;

/// Sets of label values that each metric has where the configuration says nothing.
pub const LABEL_SETS: u32 = 1000;

/// The gateway's instruments.
pub struct Telemetry {
    numbers: Arc<Numbers>,
    observed: Mutex<Vec<Observed>>,
    started: Instant,
    started_at: SystemTime,
    tracer: OnceLock<Arc<Tracer>>,
    exports_failed: AtomicU64,
}

/// Why telemetry cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("telemetry: {0}")]
pub struct TelemetryError(String);

/// A number that is read when metrics are asked for, with its labels in the order of the instrument's.
pub type Reading = (u64, Vec<String>);

struct Observed {
    instrument: &'static Instrument,
    read: Box<dyn Fn() -> Vec<Reading> + Send + Sync>,
}

/// A page of times, found once.
pub type TimesPage = Arc<Page<1, Times>>;

/// The numbers of a plugin's version, found once.
pub type PluginPage = Arc<Page<2, PluginNumbers>>;

/// The numbers of a destination, found once.
pub type DestinationPage = Arc<Page<1, DestinationNumbers>>;

/// Sends to a collector until it is stopped.
pub struct Exporting {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Exporting {
    /// Sends what is left, within `timeout`.
    pub async fn stop(self, timeout: Duration) {
        self.stop.send_replace(true);
        // What a collector does not take at the end is lost, as it would be at any other time.
        let _ = tokio::time::timeout(timeout, self.task).await;
    }
}

impl Default for Telemetry {
    fn default() -> Telemetry {
        Telemetry::with_label_sets(LABEL_SETS)
    }
}

impl Telemetry {
    pub fn new(label_sets: u32) -> Arc<Telemetry> {
        Arc::new(Telemetry::with_label_sets(label_sets))
    }

    fn with_label_sets(label_sets: u32) -> Telemetry {
        Telemetry {
            numbers: Arc::new(Numbers::new(usize::try_from(label_sets).unwrap_or(usize::MAX))),
            observed: Mutex::default(),
            started: Instant::now(),
            started_at: SystemTime::now(),
            tracer: OnceLock::new(),
            exports_failed: AtomicU64::new(0),
        }
    }

    /// Begins to send metrics and spans, inside a tokio runtime. May be called once.
    ///
    /// # Errors
    ///
    /// Where there is no TLS to be had.
    pub fn export(self: &Arc<Telemetry>, export: Export) -> Result<Exporting, TelemetryError> {
        let (tracer, spans) = Tracer::new(export.trace_one_in);
        if self.tracer.set(tracer).is_err() {
            return Err(TelemetryError("it is exported already".to_owned()));
        }
        let exporter = otlp::Exporter::new(Arc::clone(self), export, spans)
            .map_err(|error| TelemetryError(error.to_string()))?;
        let (stop, stopped) = watch::channel(false);
        Ok(Exporting {
            stop,
            task: tokio::spawn(exporter.run(stopped)),
        })
    }

    fn started_at(&self) -> SystemTime {
        self.started_at
    }

    /// The numbers of the events of these names; `since` names their schema. All of them registered ones or
    /// [`OTHER`].
    pub fn events(&self, partner: &str, event_type: &str, since: &str) -> Arc<EventPage> {
        self.numbers.events.page([partner, event_type, since])
    }

    /// `partner` is a registered one.
    pub fn partner(&self, partner: &str) -> TimesPage {
        self.numbers.partners.page([partner])
    }

    /// `label` is `NAME@VERSION` of a registered plugin.
    pub fn plugin(&self, label: &str) -> PluginPage {
        let (plugin, version) = label.rsplit_once('@').unwrap_or((label, ""));
        self.numbers.plugins.page([plugin, version])
    }

    /// `destination` is one of the configuration.
    pub fn destination(&self, destination: &str) -> DestinationPage {
        self.numbers.destinations.page([destination])
    }

    /// Counts a request by its key's id; both are registered.
    pub fn key_used(&self, partner: &str, key: &str) {
        self.numbers.keys.page([partner, key]).numbers.count();
    }

    pub fn http(&self) -> &Arc<HttpNumbers> {
        &self.numbers.http
    }

    /// Counts an event whose app version cannot be read. `partner` is a registered one.
    pub fn unreadable_version(&self, partner: &str) {
        let page = self.numbers.unreadable_versions.page([partner]);
        page.numbers.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an event that a route's plugin drops on purpose. `route` is a registered one.
    pub fn dropped(&self, route: &str) {
        let page = self.numbers.dropped.page([route]);
        page.numbers.fetch_add(1, Ordering::Relaxed);
    }

    /// A number that is read when metrics are asked for.
    pub fn observe(
        &self,
        instrument: &'static Instrument,
        read: impl Fn() -> Vec<Reading> + Send + Sync + 'static,
    ) {
        self.observed.lock().push(Observed {
            instrument,
            read: Box::new(read),
        });
    }

    fn gather(&self) -> Vec<Family> {
        let mut families = Vec::new();
        self.numbers.read(&mut families);
        for observed in self.observed.lock().iter() {
            let mut family = Family::of(observed.instrument);
            for (value, labels) in (observed.read)() {
                let labels: Vec<Label> = labels.into_iter().map(Label::Owned).collect();
                family.push(labels, Value::Whole(value));
            }
            families.push(family);
        }
        let mut dropped = Family::of(&catalogue::TELEMETRY_DROPPED);
        let spans = self.tracer.get().map_or(0, |tracer| tracer.dropped());
        dropped.push(["spans".into()], Value::Whole(spans));
        let exports = self.exports_failed.load(Ordering::Relaxed);
        dropped.push(["exports".into()], Value::Whole(exports));
        families.push(dropped);
        process::read(self.started, &mut families);
        families
    }

    /// All metrics in Prometheus' text form; a comment in their place where one cannot be encoded.
    pub fn prometheus_text(&self) -> String {
        text::write(&self.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;

    #[test]
    fn a_million_random_names_make_no_more_series_than_the_cap() {
        let telemetry = Telemetry::new(50);
        for number in 0..1_000_000_u32 {
            let name = format!("n{}", number.wrapping_mul(2_654_435_761));
            let mut tally = Tally::new(telemetry.events(&name, &name, &name));
            tally.count(&Outcome::Accepted, 10);
            tally.close(Duration::from_millis(1));
        }
        let text = telemetry.prometheus_text();
        let series = text
            .lines()
            .filter(|line| line.starts_with("headworks_events_total{"))
            .count();
        assert_eq!(series, 51, "50 and other");
        let of_other = "headworks_events_total{partner=\"other\",type=\"other\",since=\"other\",status=\"accepted\",code=\"\"} 999950";
        assert!(text.contains(of_other), "{text}");
        let lines = text.lines().count();
        assert!(lines < 51 * 20 + 400, "{lines}");
    }

    #[test]
    fn labels_are_escaped_and_units_are_in_the_names() {
        let telemetry = Telemetry::new(10);
        let page = telemetry.partner("a\"b\\c\nd");
        page.numbers.record(Duration::from_millis(30));
        let text = telemetry.prometheus_text();
        assert!(
            text.contains(
                "headworks_request_duration_seconds_bucket{partner=\"a\\\"b\\\\c\\nd\",le=\"0.05\"} 1"
            ),
            "{text}"
        );
        assert!(text.contains("headworks_request_duration_seconds_sum{partner=\"a\\\"b\\\\c\\nd\"} 0.03"));
        assert!(text.contains("# TYPE process_cpu_time_seconds_total counter"));
    }

    #[test]
    fn every_instrument_has_a_name_of_its_own() {
        let mut names: Vec<String> = catalogue::ALL.iter().map(Instrument::prometheus_name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(names.iter().all(|name| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        }));
    }
}
