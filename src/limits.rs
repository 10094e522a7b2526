//! Every bound of the gateway, and the assertions between them.

use serde::{Deserialize, Serialize};

/// Bounds that the operator may change (`[limits]`). Defaults are contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A request's body, after decompression.
    pub body_bytes: ByteSize,
    /// One event's data.
    pub event_bytes: ByteSize,
    pub events_per_request: u32,
    /// Nested arrays and objects.
    pub depth: u32,
    /// A request's header section.
    pub header_bytes: ByteSize,
    pub uri_bytes: ByteSize,
    pub header_time_s: u32,
    pub body_idle_s: u32,
    pub body_min_bytes_per_s: u32,
    pub connections: u32,
    /// Of one IPv4 address, or one IPv6 network of 64 bits.
    pub connections_per_address: u32,
    pub schema_bytes: ByteSize,
    /// All compiled schemas together; those that no event needed for long are compiled again when one does.
    pub compiled_schema_bytes: ByteSize,
    pub component_bytes: ByteSize,
    pub plugin_time_ms: u32,
    pub plugin_memory_bytes: ByteSize,
    pub plugin_outputs: u32,
    /// All outputs of one event together.
    pub plugin_output_bytes: ByteSize,
    /// One lookup table: as sent, and its rows as JSON.
    pub table_bytes: ByteSize,
    /// All lookup tables together, as they lie in memory.
    pub tables_memory_bytes: ByteSize,
    /// How long duplicates are known, at most.
    pub duplicate_window_s: u32,
    /// Of how many events.
    pub duplicate_events: u32,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes: ByteSize(16 * MIB),
            event_bytes: ByteSize(MIB),
            events_per_request: 10_000,
            depth: 64,
            header_bytes: ByteSize(40 * KIB),
            uri_bytes: ByteSize(8 * KIB),
            header_time_s: 10,
            body_idle_s: 10,
            body_min_bytes_per_s: 1024,
            connections: 20_000,
            connections_per_address: 4096,
            schema_bytes: ByteSize(MIB),
            compiled_schema_bytes: ByteSize(192 * MIB),
            component_bytes: ByteSize(64 * MIB),
            plugin_time_ms: 10,
            plugin_memory_bytes: ByteSize(64 * MIB),
            plugin_outputs: 1000,
            plugin_output_bytes: ByteSize(MIB),
            table_bytes: ByteSize(256 * MIB),
            tables_memory_bytes: ByteSize(512 * MIB),
            duplicate_window_s: 600,
            duplicate_events: 1_000_000,
        }
    }
}

impl Limits {
    /// The bounds that contradict each other, as sentences for the operator; empty where all is well.
    pub fn contradictions(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if self.event_bytes.0 > self.body_bytes.0 {
            found.push((
                "event_bytes",
                format!("must not be above body_bytes ({})", self.body_bytes),
            ));
        }
        if self.uri_bytes.0 > self.header_bytes.0 {
            found.push((
                "uri_bytes",
                format!("must not be above header_bytes ({})", self.header_bytes),
            ));
        }
        if self.depth == 0 || self.depth > DEPTH_CEILING {
            found.push(("depth", format!("must lie between 1 and {DEPTH_CEILING}")));
        }
        if self.body_bytes.0 == 0 || self.body_bytes.0 > BODY_BYTES_CEILING {
            found.push((
                "body_bytes",
                format!("must lie between 1 and {}", ByteSize(BODY_BYTES_CEILING)),
            ));
        }
        if self.header_bytes.0 < 8 * KIB || self.header_bytes.0 > MIB {
            found.push(("header_bytes", "must lie between 8KiB and 1MiB".to_owned()));
        }
        for (name, value) in [
            ("events_per_request", self.events_per_request),
            ("header_time_s", self.header_time_s),
            ("body_idle_s", self.body_idle_s),
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
            ("plugin_time_ms", self.plugin_time_ms),
            ("plugin_outputs", self.plugin_outputs),
            ("duplicate_window_s", self.duplicate_window_s),
            ("duplicate_events", self.duplicate_events),
        ] {
            if value == 0 {
                found.push((name, "must be at least 1".to_owned()));
            }
        }
        if self.duplicate_events > DUPLICATE_EVENTS_CEILING {
            found.push((
                "duplicate_events",
                format!("must not be above {DUPLICATE_EVENTS_CEILING}"),
            ));
        }
        if self.compiled_schema_bytes.0
            < self
                .schema_bytes
                .0
                .saturating_mul(COMPILED_SCHEMA_BYTES_FACTOR as u64)
        {
            found.push((
                "compiled_schema_bytes",
                format!(
                    "must be at least {COMPILED_SCHEMA_BYTES_FACTOR} times schema_bytes ({})",
                    self.schema_bytes
                ),
            ));
        }
        if self.plugin_memory_bytes.0 > PLUGIN_MEMORY_BYTES_CEILING {
            found.push((
                "plugin_memory_bytes",
                format!("must not be above {}", ByteSize(PLUGIN_MEMORY_BYTES_CEILING)),
            ));
        }
        if self.table_bytes.0 > TABLE_BYTES_CEILING || self.table_bytes.0 > self.tables_memory_bytes.0 {
            found.push((
                "table_bytes",
                format!(
                    "must be above neither {} nor tables_memory_bytes ({})",
                    ByteSize(TABLE_BYTES_CEILING),
                    self.tables_memory_bytes
                ),
            ));
        }
        found
    }
}

/// Offsets into a body are 32 bits wide.
pub const BODY_BYTES_CEILING: u64 = 1 << 30;
/// Validation and edits descend one frame a level.
pub const DEPTH_CEILING: u32 = 128;
/// Address space of one instance in the pool.
pub const PLUGIN_MEMORY_BYTES_CEILING: u64 = 1 << 30;
/// Nested arrays and objects in a schema: its compiler descends one frame a level.
pub const SCHEMA_DEPTH: u32 = 128;
/// Schemas that the references of one may lead to …
pub const REFERENCED_SCHEMAS: usize = 200;
/// … and the bytes of their texts.
pub const REFERENCED_BYTES: usize = 4 << 20;
/// Subschemas that one value may be checked by, references followed: past that a small schema costs any time.
pub const SCHEMA_STEPS: f64 = 50_000.0;
/// Subschemas that an event may be checked by on the way to one value, nested as deeply as events may be.
pub const SCHEMA_STEPS_NESTED: f64 = 10_000_000.0;
/// Processor time of checking and compiling the schemas of one registration …
pub const SCHEMA_CHECK_CPU_S: u64 = 8;
/// … its real time …
pub const SCHEMA_CHECK_WALL_S: u64 = 10;
/// … its private memory …
pub const SCHEMA_CHECK_MEMORY_BYTES: u64 = 256 * MIB;
/// … and what it says.
pub const SCHEMA_CHECKED_BYTES: u64 = 4 * MIB;
/// What a compiled schema may really take: this …
pub const COMPILED_SCHEMA_BYTES_SLACK: usize = 16 << 20;
/// … and so many times what it is taken to take for its text.
pub const COMPILED_SCHEMA_BYTES_EXCESS: usize = 2;
/// Schemas that are registered at once.
pub const SCHEMAS_AT_ONCE: usize = 100;
/// A compiled schema is taken to need this much memory (measured: 38 KiB for 1.7 KiB of text) …
pub const COMPILED_SCHEMA_BYTES_BASE: usize = 4 << 10;
/// … and this much for each byte of its text.
pub const COMPILED_SCHEMA_BYTES_FACTOR: usize = 20;
/// Steps of one upgrade …
pub const UPGRADE_STEPS: usize = 200;
/// … and the places in one event that they may touch together.
pub const UPGRADE_PLACES: usize = 10_000;
/// The defaults that one upgrade may set in one event, as JSON.
pub const UPGRADE_DEFAULT_BYTES: usize = 1 << 20;
/// Events that are made up to try an upgrade on; those that the older schema does not accept do not count.
pub const UPGRADE_INSTANCES: u64 = 500;
/// Recent events that an upgrade is tried on beside them.
pub const UPGRADE_RECENT_EVENTS: usize = 1000;
/// Violations listed for one event; a batch of broken events must not make a large answer.
pub const VIOLATIONS_LISTED: usize = 20;
/// Characters of one violation's message.
pub const VIOLATION_MESSAGE_CHARACTERS: usize = 300;
/// Steps of the backtracking engine, for patterns that need one.
pub const PATTERN_STEPS: usize = 10_000;
/// `id`, `source`, `subject`, `time` and `appversion` of one event.
pub const ATTRIBUTE_BYTES: usize = 1024;
/// Bodies of all requests in flight together, the larger of as sent and decompressed; past it a request is refused as
/// overload. Where one body may be larger than this, one at a time still passes. A partner may hold as much as is still
/// free.
pub const BODIES_IN_FLIGHT_BYTES: u64 = 512 * MIB;
/// Requests under way together; past it one is refused as overload. A partner may hold as many as are still free.
pub const REQUESTS_IN_FLIGHT: u64 = 16_384;
/// Connections for lines; never more than `limits.connections`.
pub const LINE_CONNECTIONS: u32 = 4096;
/// How long one of them may rest between two lines.
pub const LINE_IDLE_S: u64 = 600;
/// How long lines wait for their partner's rate or share, unread behind them, before they are refused.
pub const LINE_WAIT_S: u64 = 60;
/// What is read ahead of one connection for lines …
pub const LINES_READ_BYTES: usize = 256 << 10;
/// … and how much of a line it may hold outside its partner's share.
pub const LINE_BYTES_FREE: usize = 16 << 10;
/// TLS handshakes of the admin port at the same time; past it a connection is closed …
pub const ADMIN_HANDSHAKES: usize = 512;
/// … and the time of each.
pub const ADMIN_HANDSHAKE_S: u64 = 10;
/// A token of an identity provider …
pub const JWT_BYTES: usize = 16 << 10;
/// … what the log of changes shows of its subject …
pub const JWT_SUBJECT_CHARACTERS: usize = 200;
/// … and how far its clock may be from this one's.
pub const JWT_LEEWAY_S: u64 = 30;
/// The keys that an identity provider publishes …
pub const JWKS_BYTES: u64 = 256 << 10;
/// … the time of reading them …
pub const JWKS_FETCH_S: u64 = 5;
/// … how often they are read from a URL …
pub const JWKS_URL_S: u64 = 300;
/// … or from a file …
pub const JWKS_FILE_S: u64 = 10;
/// … and how soon again for a token whose key is not among them.
pub const JWKS_AGAIN_S: u64 = 5;
/// The file of the partners' counts of a day.
pub const QUOTA_FILE_BYTES: u64 = 64 * MIB;
/// A body may become so many times larger by decompression …
pub const DECOMPRESSION_RATIO: u64 = 100;
/// … or, however small it was sent, this large.
pub const DECOMPRESSED_BYTES_FREE: u64 = 64 * KIB;
/// Events of a compressed body that may be more than it has bytes as sent.
pub const COMPRESSED_EVENTS_FREE: usize = 1000;
/// Frames of HTTP/2 between two requests that carry neither a header section nor data: pings, settings, windows.
pub const HTTP2_FRAMES_BETWEEN_REQUESTS: u32 = 1000;
/// For so many bytes that were written the peer may open a window once more than that: Go's client does so twice for
/// every 4 KiB that it reads.
pub const HTTP2_WINDOW_UPDATE_BYTES: u64 = KIB;
/// Members of a query string; finding a member among its siblings is linear.
pub const QUERY_MEMBERS: usize = 1000;
/// Steps through a schema that one query string may cost.
pub const COERCION_STEPS: u32 = 10_000;
/// The window that a brotli stream may ask for, however little may come out of it: what most encoders take.
pub const BROTLI_WINDOW_BYTES_FREE: u64 = 4 * MIB;
/// A zstd frame that needs a larger window is refused, as RFC 9659 asks; the base-2 logarithm of bytes.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// The spool of one destination may take so many times what is free of all spools: however many partners fill it, a
/// seventeenth is left to the other destinations.
pub const SPOOL_FACTOR: u64 = 16;
/// In each destination's spool one partner may take so many times what that spool may still take: alone four fifths.
pub const SPOOL_SHARE_FACTOR: u64 = 4;
/// Where places in spools are few, a request's records are held back until all have one; but no more of them than so
/// many times the largest body.
pub const HELD_BACK_BODIES: usize = 8;
/// Held back of all requests together; past it each hands over what it has.
pub const HELD_BACK_BYTES: usize = 512 << 20;
/// The quarantine's spool has one part in so many of `spool.max_bytes` for itself.
pub const SPOOL_QUARANTINE_PARTS: u64 = 16;
/// Kept in each spool's folder, and given up when the disk is full: for the cursor, so that draining goes on.
pub const SPOOL_HEADROOM_BYTES: u64 = MIB;
/// Events that may be remembered as seen; each takes about a hundred bytes.
pub const DUPLICATE_EVENTS_CEILING: u32 = 100_000_000;
/// How long work may wait for a worker before requests are refused as overload.
pub const QUEUE_TIME_MS: u64 = 500;
/// How far a signature's time may lie from now, before or after.
pub const WEBHOOK_TOLERANCE_S: u64 = 300;
/// A `webhook-id`.
pub const WEBHOOK_ID_BYTES: usize = 256;
/// Webhook ids remembered; a sender who is faster than this within twice the tolerance is known for less long.
pub const WEBHOOK_IDS: u64 = 1_000_000;
/// Signatures of one request: a secret that is being replaced makes two.
pub const SIGNATURES: usize = 8;
/// An event's type.
pub const EVENT_TYPE_BYTES: usize = 200;

/// Events of one partner, type and app version that are copied to be remembered, a second …
pub const RECENT_SAMPLES_PER_S: u64 = 10;
/// … and, after a pause, so many times the events that are remembered at once.
pub const RECENT_BURST_FACTOR: u64 = 4;
/// An event larger than this part of what all may hold is counted and not remembered.
pub const RECENT_EVENT_SHARE: u64 = 64;
/// Pointers of a type's `mask`.
pub const MASK_POINTERS: usize = 100;

/// Copies of each metric's number, one a worker, so that workers do not fight for a cache line.
pub const METRIC_STRIPES: usize = 16;
/// Stages, plugins and destinations are timed for one request in so many.
pub const METRIC_TIMED_ONE_IN: u32 = 16;
/// Spans that wait to be sent; more are dropped, and counted.
pub const SPANS_WAITING: usize = 8192;
/// Spans of one export …
pub const SPANS_PER_EXPORT: usize = 512;
/// … and events of one request that have spans of their own.
pub const TRACED_EVENTS: usize = 32;
/// Lines of the log from one place in the code …
pub const LOG_BURST: u32 = 50;
/// … within so long; what is left out is counted.
pub const LOG_INTERVAL_S: u64 = 10;

/// Clients that watch events as they pass …
pub const TAIL_WATCHERS: usize = 8;
/// … events that wait for the slowest of them; more are missed, and counted …
pub const TAIL_EVENTS: usize = 256;
/// … how large a value is shown …
pub const TAIL_VALUE_BYTES: usize = 16 << 10;
/// … and records of one event.
pub const TAIL_RECORDS: usize = 10;

/// Replays, done and under way, that the API shows.
pub const REPLAYS_SHOWN: usize = 100;

/// Offsets into a lookup table's rows and keys are 32 bits wide.
pub const TABLE_BYTES_CEILING: u64 = 1 << 30;
/// Rows of one lookup table …
pub const TABLE_ROWS: usize = 1_000_000;
/// … each, as JSON, of so many bytes …
pub const TABLE_ROW_BYTES: usize = 64 << 10;
/// … and of so many nested arrays and objects …
pub const TABLE_ROW_DEPTH: u32 = 64;
/// … under a key of so many bytes.
pub const TABLE_KEY_BYTES: usize = 512;
/// Columns of a table in CSV.
pub const TABLE_COLUMNS: usize = 1000;
/// Faults of one table that are listed.
pub const TABLE_FAULTS_LISTED: usize = 20;
/// Tables that are uploaded at once: each is held twice while it is read.
pub const TABLE_UPLOADS_AT_ONCE: usize = 2;
/// In which the whole of a table must have come.
pub const TABLE_UPLOAD_TIME_S: u64 = 600;

/// Stack of a plugin's own frames, taken from the calling thread's.
pub const PLUGIN_STACK_BYTES: usize = 512 << 10;
/// `configure` and the making of an instance may take this many times `plugin_time_ms`: runtimes of scripting languages
/// do there what they do once.
pub const PLUGIN_START_TIME_FACTOR: u32 = 20;
/// An instance is made anew after so many calls: what a plugin leaks does not add up for ever.
pub const PLUGIN_CALLS_PER_INSTANCE: u32 = 100_000;
/// Documents that one call may make, dropped ones included.
pub const PLUGIN_DOCUMENTS_PER_CALL: u32 = 10_000;
/// Headers of one output: records carry a few, and who writes them may look through those before.
pub const PLUGIN_HEADERS: usize = 64;
/// Rows that one call may look up in tables.
pub const PLUGIN_LOOKUPS_PER_CALL: u32 = 1000;
/// Instances of all plugins together. Each takes 4 GiB of address space, of 128 TiB that there are.
pub const PLUGIN_INSTANCES: u32 = 4096;
/// Where there is less address space than that, as under an emulator or a limit, at least so many.
pub const PLUGIN_INSTANCES_MIN: u32 = 4;
/// An instance that no event needed for so long is freed, at the latest after twice that.
pub const PLUGIN_IDLE_S: u64 = 120;
/// Lines that one event may write to the log …
pub const PLUGIN_LOG_LINES: usize = 20;
/// … and their bytes together.
pub const PLUGIN_LOG_BYTES: usize = 4096;
/// Lines of one plugin that are kept to be read …
pub const PLUGIN_LOG_LINES_KEPT: usize = 256;
/// … each cut to so many characters.
pub const PLUGIN_LOG_CHARACTERS_KEPT: usize = 500;
/// Counters of one plugin.
pub const PLUGIN_COUNTERS: usize = 100;
/// Sets of plugin, version and cause by which rollbacks are counted; those beyond are counted together.
pub const ROLLBACK_LABEL_SETS: usize = 1000;
/// Characters of a counter's name.
pub const PLUGIN_COUNTER_NAME_CHARACTERS: usize = 64;
/// Characters of the text with which a plugin rejects an event or fails.
pub const PLUGIN_FAILURE_CHARACTERS: usize = 2000;
/// The schema of a plugin's configuration, in its component.
pub const CONFIG_SCHEMA_BYTES: usize = 256 << 10;
/// Of the workers' time that a plugin version's failing calls took, for one partner's events, so many time limits are
/// free …
pub const PLUGIN_WASTE_LIMITS: u32 = 20;
/// … and beyond them this share of one core: past it events are kept without a call.
pub const PLUGIN_WASTE_PER_MILLE: u32 = 20;
/// A version that ran out of its time is called beside the workers for so long, for that partner's events; each time that it
/// does so again begins anew.
pub const PLUGIN_ASIDE_S: u64 = 10;
/// Calls of one version beside the workers, those that wait for their turn included.
pub const PLUGIN_CALLS_ASIDE: usize = 64;
/// A call waits for its turn there no longer: where all cores are busy, those before it may take seconds each.
pub const PLUGIN_TURN_WAIT_S: u64 = 5;
/// Of every thread that validates events or calls plugins: validation descends one frame a level, and a debug build's frames
/// are large.
pub const THREAD_STACK_BYTES: usize = 8 << 20;
/// Events that wait for shadow versions …
pub const SHADOW_EVENTS: usize = 1024;
/// … and their bytes together.
pub const SHADOW_BYTES: usize = 16 << 20;
/// Events that differ, of which a shadow's differences are kept.
pub const SHADOW_SAMPLES: usize = 20;
/// Events that one test of a plugin version takes …
pub const PLUGIN_TEST_EVENTS: usize = 1000;
/// … within this time; the others are left out.
pub const PLUGIN_TEST_TIME_S: u64 = 30;
/// CPU time of one compilation, for a component of at most [`COMPILE_BYTES_AT_ONCE`] …
pub const COMPILE_CPU_S: u64 = 10;
pub const COMPILE_BYTES_AT_ONCE: u64 = 5 * MIB;
/// … and for each further MiB: interpreters are large and their code is ordinary.
pub const COMPILE_CPU_S_PER_MIB: u64 = 2;
/// However large it is.
pub const COMPILE_CPU_S_CEILING: u64 = 60;
/// Private memory of one compilation.
pub const COMPILE_MEMORY_BYTES: u64 = 512 * MIB;
/// Real time of one compilation as a multiple of its CPU time. Processor time is what binds; this ends only a child that
/// a very busy machine hardly lets run.
pub const COMPILE_WALL_FACTOR: u64 = 20;
/// A compiled form.
pub const COMPILED_BYTES: u64 = 512 * MIB;
/// Components, and as many compiled forms, that `headworks plugin` keeps of builds before.
pub const KEPT_BUILDS: usize = 40;
/// Compilations at the same time.
pub const COMPILES_AT_ONCE: usize = 2;

/// CPU time of comparing a schema with its neighbours …
pub const COMPARE_CPU_S: u64 = 10;
/// … within which proofs end by themselves, and say what they were at …
pub const COMPARE_TIME_MS: u64 = 7_000;
/// … its real time, after which it is broken off …
pub const COMPARE_WALL_S: u64 = 10;
/// … its private memory …
pub const COMPARE_MEMORY_BYTES: u64 = 512 * MIB;
/// … and the reports.
pub const COMPARED_BYTES: u64 = 16 * MIB;
/// Recent and quarantined events that a schema is tried on.
pub const CHECKED_EVENTS: usize = 1000;
/// Distinct failures among them that are shown.
pub const CHECKED_FAILURES: usize = 20;

// A handle that a plugin kept from an earlier call never names a document of a later one.
const _: () =
    assert!((PLUGIN_CALLS_PER_INSTANCE as u64 + 1) * PLUGIN_DOCUMENTS_PER_CALL as u64 <= u32::MAX as u64);
const _: () = assert!(BODY_BYTES_CEILING < u32::MAX as u64);
// Keys are parts of rows: both together fit.
const _: () = assert!(2 * TABLE_BYTES_CEILING < u32::MAX as u64);
const _: () = assert!(SCHEMA_DEPTH <= DEPTH_CEILING);
const _: () = assert!(TABLE_ROW_DEPTH <= DEPTH_CEILING);
const _: () = assert!(COMPARE_TIME_MS < COMPARE_WALL_S * 1000);

/// CPU time that compiling a component of this size may take.
pub const fn compile_cpu_s(component_bytes: u64) -> u64 {
    let further_mib = component_bytes
        .saturating_sub(COMPILE_BYTES_AT_ONCE)
        .div_ceil(MIB);
    let allowed = COMPILE_CPU_S.saturating_add(further_mib.saturating_mul(COMPILE_CPU_S_PER_MIB));
    if allowed < COMPILE_CPU_S_CEILING {
        allowed
    } else {
        COMPILE_CPU_S_CEILING
    }
}

/// A number of bytes, written `"16MiB"`, `"40KiB"`, `"10GiB"`, `"512B"` or as a plain integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// In memory sizes; saturates where a pointer is narrower than 64 bits.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no size: write a whole number with B, KiB, MiB, GiB or TiB, such as \"16MiB\"")]
pub struct ByteSizeError(String);

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl std::str::FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<ByteSize, ByteSizeError> {
        let refused = || ByteSizeError(text.chars().take(40).collect());
        let (digits, shift) = UNITS
            .iter()
            .find_map(|(unit, shift)| text.strip_suffix(unit).map(|digits| (digits, *shift)))
            .unwrap_or((text, 0));
        let count: u64 = digits.trim().parse().map_err(|_| refused())?;
        count.checked_mul(1 << shift).map(ByteSize).ok_or_else(refused)
    }
}

impl std::fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unit, shift) = UNITS
            .iter()
            .find(|(_, shift)| self.0 != 0 && self.0.trailing_zeros() >= *shift)
            .unwrap_or(&("B", 0));
        write!(formatter, "{}{unit}", self.0 >> shift)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a size such as \"16MiB\"")
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(value))
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<ByteSize, E> {
                u64::try_from(value)
                    .map(ByteSize)
                    .map_err(|_| E::custom("a size is never negative"))
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<ByteSize, E> {
                value.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
