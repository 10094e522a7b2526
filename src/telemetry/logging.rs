//! The log: to standard error, as text or JSON, and never more of one message than is worth reading.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{Metadata, callsite::Identifier};
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt,
    layer::{Context, Filter, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use super::TelemetryError;
use crate::limits::{LOG_BURST, LOG_INTERVAL_S};

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
    let filter = EnvFilter::try_new(level).map_err(|error| TelemetryError(format!("{level:?}: {error}")))?;
    let base = fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        LogFormat::Text => base
            .with_target(false)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .boxed(),
        LogFormat::Json => base.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(Bounded::new(format)).with_filter(filter))
        .try_init()
        .map_err(|error| TelemetryError(error.to_string()))
}

/// Lets so many lines of one place in the code pass in an interval.
#[derive(Default)]
struct Bounded {
    format: LogFormat,
    places: Mutex<HashMap<Identifier, Place>>,
}

struct Place {
    since: Instant,
    lines: u32,
}

impl Bounded {
    fn new(format: LogFormat) -> Bounded {
        Bounded {
            format,
            places: Mutex::default(),
        }
    }

    /// Whether the line may pass, and how many were left out before it.
    fn allows(&self, metadata: &Metadata<'_>, now: Instant) -> (bool, u32) {
        let mut places = self.places.lock();
        let place = places
            .entry(metadata.callsite())
            .or_insert(Place { since: now, lines: 0 });
        let mut left_out = 0;
        if now.duration_since(place.since) >= Duration::from_secs(LOG_INTERVAL_S) {
            left_out = place.lines.saturating_sub(LOG_BURST);
            *place = Place { since: now, lines: 0 };
        }
        place.lines = place.lines.saturating_add(1);
        (place.lines <= LOG_BURST, left_out)
    }
}

impl<S> Filter<S> for Bounded {
    /// Libraries say at `debug` and `trace` what they read and write, headers with keys included: that is for nobody.
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        metadata.target().starts_with("headworks") || *metadata.level() <= tracing::Level::INFO
    }

    fn event_enabled(&self, event: &tracing::Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let (passes, left_out) = self.allows(metadata, Instant::now());
        if left_out > 0 {
            use std::io::Write as _;
            // Where standard error is gone there is nobody to tell that.
            let _ = writeln!(std::io::stderr(), "{}", self.report(metadata, left_out));
        }
        passes
    }
}

impl Bounded {
    /// A line of its own, and not through `tracing`, in whose filter this runs.
    fn report(&self, metadata: &Metadata<'_>, left_out: u32) -> String {
        let (timestamp, message) = (jiff::Timestamp::now(), "lines like the next one were left out");
        match self.format {
            LogFormat::Text => format!("{timestamp:.6}  WARN {message} left_out={left_out}"),
            LogFormat::Json => serde_json::json!({
                "timestamp": timestamp.to_string(),
                "level": "WARN",
                "message": message,
                "left_out": left_out,
                "target": metadata.target(),
            })
            .to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn one_message_does_not_fill_the_log_and_others_pass() {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(Bounded::default()));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..1000 {
                tracing::warn!(number, "the same again");
            }
            tracing::warn!("another");
            tracing::debug!(target: "h2::codec", "a library's");
        });
        let text = String::from_utf8(kept.0.lock().clone()).expect("text");
        let count = |words: &str| text.lines().filter(|line| line.contains(words)).count();
        assert_eq!(count("the same again"), LOG_BURST as usize);
        assert_eq!(count("another"), 1);
        assert_eq!(count("a library's"), 0);
    }

    #[test]
    fn after_the_interval_it_passes_again_and_says_what_was_left_out() {
        use tracing::{Callsite as _, callsite::DefaultCallsite, metadata::Kind};
        static CALLSITE: DefaultCallsite = DefaultCallsite::new(&METADATA);
        static METADATA: Metadata<'static> = tracing::metadata! {
            name: "line",
            target: "headworks",
            level: tracing::Level::WARN,
            fields: &[],
            callsite: &CALLSITE,
            kind: Kind::EVENT,
        };
        let bounded = Bounded::default();
        let begun = Instant::now();
        let metadata = CALLSITE.metadata();
        let passed = (0..100).filter(|_| bounded.allows(metadata, begun).0).count();
        assert_eq!(passed, LOG_BURST as usize);
        let later = begun + Duration::from_secs(LOG_INTERVAL_S);
        assert_eq!(bounded.allows(metadata, later), (true, 100 - LOG_BURST));
        assert_eq!(bounded.allows(metadata, later), (true, 0));
        let text = Bounded::new(LogFormat::Text).report(metadata, 7);
        assert!(
            text.ends_with("  WARN lines like the next one were left out left_out=7"),
            "{text}"
        );
        let json = Bounded::new(LogFormat::Json).report(metadata, 7);
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!((&json["level"], &json["left_out"]), (&"WARN".into(), &7.into()));
    }
}
