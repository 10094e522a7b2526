//! The tree's values, section by section, into [`Settings`].

use std::{collections::BTreeMap, ops::Range, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    KeySettings, PluginSettings, QuarantineSettings, RecentSettings, Secret, Settings, SpoolSettings,
    StoreSettings, TelemetrySettings, destination,
    error::{ConfigError, ConfigErrors},
    overrides,
    section::{Faults, Section, ValueFault, choice, closest, shown, text, whole_number},
    server,
    tree::{self, Node, Value},
};
use crate::{
    limits::{ByteSize, Limits},
    telemetry::{LABEL_SETS, LogFormat},
};

const DATA_DIR: &str = "data";
const SPOOL_BYTES: ByteSize = ByteSize(10 << 30);
/// Below this a spool cannot hold what one segment and one large request need.
const SPOOL_BYTES_MIN: ByteSize = ByteSize(64 << 20);
const RECENT_EVENTS: u32 = 100;
const RECENT_EVENTS_MAX: u32 = 10_000;
const RECENT_BYTES: ByteSize = ByteSize(64 << 20);
const RECENT_BYTES_MIN: ByteSize = ByteSize(1 << 20);
const ROLLBACK_PERCENT: u32 = 1;
const ROLLBACK_CALLS: u32 = 100;
const ROLLBACK_WINDOW_S: u32 = 300;
/// How versions fared is remembered for twice as long.
const ROLLBACK_WINDOW_S_MAX: u32 = 3600;
const SEALING_KEY_BYTES: usize = 32;
const OTLP_INTERVAL_S: u32 = 15;
const TRACE_ONE_IN: u32 = 1000;
/// Each set is a dozen lines of text at every scrape.
const LABEL_SETS_MAX: u64 = 100_000;
const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
const LOG_LEVEL: &str = "info";

/// The settings that `text`, the contents of `file`, and `environment` make.
pub fn settings(
    file: &str,
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<Settings, ConfigErrors> {
    let (mut root, syntax) = tree::parse(file, text);
    let mut faults = Faults::default();
    add_default_destination(&mut root, environment);
    overrides::apply(&mut root, environment, &mut faults);
    let settings = whole(&root, environment, &mut faults);
    if syntax.is_empty() {
        return faults.finish(settings);
    }
    // What stands beside a broken line may have been read wrongly: only what is certain is reported with it.
    let mut errors = faults.into_vec();
    let broken: Vec<Range<u32>> = syntax.iter().filter_map(|error| misread(text, error)).collect();
    errors.retain(|error| {
        let line = error.place.line();
        !error.missing
            && !broken
                .iter()
                .any(|lines| line.is_some_and(|line| lines.contains(&line)))
    });
    errors.extend(syntax);
    Err(ConfigErrors::new(errors))
}

/// The lines that a fault of syntax makes uncertain: its own, and where it broke a table's header all that stand
/// under it.
fn misread(text: &str, error: &ConfigError) -> Option<Range<u32>> {
    let first = error.place.line()?;
    let is_header = |line: &str| line.trim_start().starts_with('[');
    let mut lines = text.lines().zip(1..).skip_while(|(_, number)| *number < first);
    let end = match lines.next() {
        Some((line, _)) if is_header(line) => lines
            .find(|(line, _)| is_header(line))
            .map_or(u32::MAX, |(_, number)| number),
        _ => first + 1,
    };
    Some(first..end)
}

fn add_default_destination(root: &mut Node, environment: &BTreeMap<String, String>) {
    if root.member("destination").is_none()
        && !overrides::name_other_destination(environment)
        && let Value::Table(members) = &mut root.value
    {
        members.push(overrides::default_destination());
    }
}

/// Every section; where a value is at fault, its default stands in its place.
pub fn whole(root: &Node, environment: &BTreeMap<String, String>, faults: &mut Faults) -> Settings {
    let mut section = Section::root(root);
    let data_dir = PathBuf::from(
        section
            .text("data_dir", faults)
            .unwrap_or_else(|| DATA_DIR.to_owned()),
    );
    let server = server::server(section.section("server", faults), faults);
    let store = store(section.section("store", faults), &data_dir, environment, faults);
    let spool = spool(section.section("spool", faults), faults);
    let quarantine = quarantine(section.section("quarantine", faults), faults);
    let recent = recent(section.section("recent", faults), faults);
    let plugins = plugins(section.section("plugins", faults), faults);
    let limits = limits(section.section("limits", faults), faults);
    let keys = keys(section.section("keys", faults), environment, faults);
    let destinations = destination::list(section.get("destination"), &data_dir, environment, faults);
    let telemetry = telemetry(section.section("telemetry", faults), environment, faults);
    section.finish(faults);
    Settings {
        data_dir,
        server,
        store,
        spool,
        quarantine,
        recent,
        plugins,
        limits,
        keys,
        destinations,
        telemetry,
    }
}

fn store(
    mut section: Section<'_>,
    data_dir: &std::path::Path,
    environment: &BTreeMap<String, String>,
    faults: &mut Faults,
) -> StoreSettings {
    let default = || format!("file:{}", data_dir.join("store").display());
    let url = section
        .read("url", faults, |node| {
            let url = text(node)?;
            let meant = || Some(format!("write \"{}\"", default()));
            match url.split_once(':') {
                Some(("file", path)) if !path.trim_start_matches('/').is_empty() => Ok(url.to_owned()),
                Some(("file", _)) => Err(("names no folder".to_owned(), meant())),
                Some(("s3" | "s3a" | "gs" | "az" | "azure" | "adl" | "abfs" | "abfss", bucket)) => {
                    match bucket.strip_prefix("//") {
                        Some(bucket) if !bucket.is_empty() && !bucket.starts_with('/') => Ok(url.to_owned()),
                        _ => Err((
                            "names no bucket".to_owned(),
                            Some("write \"s3://BUCKET/PATH\"".to_owned()),
                        )),
                    }
                }
                _ => Err((format!("{:?} is no store's URL", shown(url)), meant())),
            }
        })
        .unwrap_or_else(default);
    let options = destination::options(
        &mut section,
        &[],
        "region = \"eu-central-1\"",
        environment,
        faults,
    );
    section.finish(faults);
    StoreSettings { url, options }
}

fn spool(mut section: Section<'_>, faults: &mut Faults) -> SpoolSettings {
    let max_bytes = section.size("max_bytes", SPOOL_BYTES, faults);
    if max_bytes < SPOOL_BYTES_MIN {
        let message = format!("must be at least {SPOOL_BYTES_MIN}");
        section.fault("max_bytes", message, faults);
    }
    section.finish(faults);
    SpoolSettings { max_bytes }
}

fn quarantine(mut section: Section<'_>, faults: &mut Faults) -> QuarantineSettings {
    // What was acknowledged is dropped only where the operator has said when.
    let max_age_days = section.count("max_age_days", 0, faults);
    let max_bytes = section.size("max_bytes", ByteSize(0), faults);
    section.finish(faults);
    QuarantineSettings {
        max_age_days,
        max_bytes,
    }
}

fn recent(mut section: Section<'_>, faults: &mut Faults) -> RecentSettings {
    let events = section.count("events", RECENT_EVENTS, faults);
    let max_bytes = section.size("max_bytes", RECENT_BYTES, faults);
    if events > RECENT_EVENTS_MAX {
        let message = format!("must not be above {RECENT_EVENTS_MAX}");
        section.fault("events", message, faults);
    }
    if max_bytes < RECENT_BYTES_MIN {
        let message = format!("must be at least {RECENT_BYTES_MIN}");
        section.fault("max_bytes", message, faults);
    }
    section.finish(faults);
    RecentSettings { events, max_bytes }
}

fn plugins(mut section: Section<'_>, faults: &mut Faults) -> PluginSettings {
    let rollback_percent = section.count("rollback_percent", ROLLBACK_PERCENT, faults);
    let rollback_calls = section.count("rollback_calls", ROLLBACK_CALLS, faults);
    let rollback_window_s = section.count("rollback_window_s", ROLLBACK_WINDOW_S, faults);
    if rollback_percent > 100 {
        section.fault("rollback_percent", "must not be above 100", faults);
    }
    if rollback_calls == 0 {
        section.fault("rollback_calls", "must be at least 1", faults);
    }
    if rollback_window_s > ROLLBACK_WINDOW_S_MAX {
        let message = format!("must not be above {ROLLBACK_WINDOW_S_MAX}");
        section.fault("rollback_window_s", message, faults);
    }
    section.finish(faults);
    PluginSettings {
        rollback_percent,
        rollback_calls,
        rollback_window_s,
    }
}

fn limits(mut section: Section<'_>, faults: &mut Faults) -> Limits {
    let default = Limits::default();
    let limits = Limits {
        body_bytes: section.size("body_bytes", default.body_bytes, faults),
        event_bytes: section.size("event_bytes", default.event_bytes, faults),
        events_per_request: section.count("events_per_request", default.events_per_request, faults),
        depth: section.count("depth", default.depth, faults),
        header_bytes: section.size("header_bytes", default.header_bytes, faults),
        uri_bytes: section.size("uri_bytes", default.uri_bytes, faults),
        header_time_s: section.count("header_time_s", default.header_time_s, faults),
        body_idle_s: section.count("body_idle_s", default.body_idle_s, faults),
        body_min_bytes_per_s: section.count("body_min_bytes_per_s", default.body_min_bytes_per_s, faults),
        connections: section.count("connections", default.connections, faults),
        connections_per_address: section.count(
            "connections_per_address",
            default.connections_per_address,
            faults,
        ),
        schema_bytes: section.size("schema_bytes", default.schema_bytes, faults),
        compiled_schema_bytes: section.size("compiled_schema_bytes", default.compiled_schema_bytes, faults),
        component_bytes: section.size("component_bytes", default.component_bytes, faults),
        plugin_time_ms: section.count("plugin_time_ms", default.plugin_time_ms, faults),
        plugin_memory_bytes: section.size("plugin_memory_bytes", default.plugin_memory_bytes, faults),
        plugin_outputs: section.count("plugin_outputs", default.plugin_outputs, faults),
        plugin_output_bytes: section.size("plugin_output_bytes", default.plugin_output_bytes, faults),
        table_bytes: section.size("table_bytes", default.table_bytes, faults),
        tables_memory_bytes: section.size("tables_memory_bytes", default.tables_memory_bytes, faults),
        duplicate_window_s: section.count("duplicate_window_s", default.duplicate_window_s, faults),
        duplicate_events: section.count("duplicate_events", default.duplicate_events, faults),
    };
    for (key, message) in limits.contradictions() {
        // The bound that is at odds may be a default: then the one that the sentence names was written.
        let written = if section.has(key) {
            key
        } else {
            let words: Vec<&str> = message.split_whitespace().collect();
            section.written(&words).unwrap_or(key)
        };
        faults.push(ConfigError::new(
            section.place_of(written).clone(),
            section.path(key),
            message,
        ));
    }
    section.finish(faults);
    limits
}

fn keys(
    mut section: Section<'_>,
    environment: &BTreeMap<String, String>,
    faults: &mut Faults,
) -> KeySettings {
    let sealing_key = section.read("sealing_key", faults, |node| {
        let key = destination::secret(node, "sealing_key", environment)?;
        match STANDARD.decode(key.reveal().trim()) {
            Ok(bytes) if bytes.len() == SEALING_KEY_BYTES => Ok(key),
            _ => Err((
                format!("is no sealing key: it is {SEALING_KEY_BYTES} bytes in base64"),
                Some(
                    "make one with `openssl rand -base64 32`, and keep it in a file: { file = \"…\" }"
                        .to_owned(),
                ),
            )),
        }
    });
    section.finish(faults);
    KeySettings { sealing_key }
}

fn telemetry(
    mut section: Section<'_>,
    environment: &BTreeMap<String, String>,
    faults: &mut Faults,
) -> TelemetrySettings {
    let otlp_endpoint = section.read("otlp_endpoint", faults, |node| {
        let url = text(node)?;
        if url.starts_with("http://") || url.starts_with("https://") {
            return Ok(url.to_owned());
        }
        let suggestion = "write a URL such as \"http://localhost:4318\"".to_owned();
        Err((format!("{:?} is no HTTP URL", shown(url)), Some(suggestion)))
    });
    let otlp_headers = destination::secrets(
        &mut section,
        ("otlp_headers", "authorization = { file = \"…\" }"),
        environment,
        header_fault,
        faults,
    );
    let otlp_interval_s = section
        .read("otlp_interval_s", faults, |node| {
            match whole_number(node, 3600)? {
                0 => Err(("must be at least 1".to_owned(), None)),
                seconds => Ok(u32::try_from(seconds).unwrap_or(OTLP_INTERVAL_S)),
            }
        })
        .unwrap_or(OTLP_INTERVAL_S);
    let trace_one_in = section.count("trace_one_in", TRACE_ONE_IN, faults);
    let label_sets = section
        .read("label_sets", faults, |node| whole_number(node, LABEL_SETS_MAX))
        .and_then(|sets| u32::try_from(sets).ok())
        .unwrap_or(LABEL_SETS);
    let log_format = section.read("log_format", faults, |node| choice(node, &LOG_FORMATS));
    let log_level = section.read("log_level", faults, log_filter);
    section.finish(faults);
    TelemetrySettings {
        otlp_endpoint,
        otlp_headers,
        otlp_interval_s,
        trace_one_in,
        label_sets,
        log_level: log_level.unwrap_or_else(|| LOG_LEVEL.to_owned()),
        log_format: log_format.unwrap_or(LogFormat::Text),
    }
}

/// Why this cannot be a header of a request.
fn header_fault(name: &str, value: &Secret) -> Option<ValueFault> {
    let is_name = http::HeaderName::try_from(name).is_ok();
    let is_value = http::HeaderValue::try_from(value.reveal()).is_ok();
    let what = match (is_name, is_value) {
        (true, true) => return None,
        (false, _) => "has a name that no HTTP header may have",
        (true, false) => "has a value that no HTTP header may have, such as one with a line end",
    };
    Some((what.to_owned(), None))
}

/// A level, or levels of modules: `warn,headworks=debug`.
fn log_filter(node: &Node) -> Result<String, ValueFault> {
    let filter = text(node)?;
    for part in filter.split(',') {
        let level = part.rsplit('=').next().unwrap_or(part).trim();
        if !LOG_LEVELS.contains(&level) {
            let suggestion = closest(level, LOG_LEVELS).map_or_else(
                || format!("known: {}", LOG_LEVELS.join(", ")),
                |known| format!("did you mean \"{known}\"?"),
            );
            return Err((format!("{:?} is no log level", shown(level)), Some(suggestion)));
        }
    }
    Ok(filter.to_owned())
}
