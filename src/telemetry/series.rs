//! The numbers of the data side: what the way of an event adds to, and how they are read.

use std::{
    cell::Cell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    book::{Book, Page},
    catalogue,
    cells::{Bounds, Buckets, Cells, every},
    family::{Family, Instrument, Label, Value},
    http::HttpNumbers,
};
use crate::{event::Outcome, limits::METRIC_TIMED_ONE_IN, problem::Code};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

/// The semantic conventions' advice for `http.server.request.duration`, and below it what this gateway needs.
const REQUEST_BOUNDS: Bounds = &[
    500 * US,
    MS,
    5 * MS / 2,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    75 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    750 * MS,
    S,
    5 * S / 2,
    5 * S,
    15 * S / 2,
    10 * S,
];
/// Few, since there is a row of them for every type.
const EVENT_BOUNDS: Bounds = &[
    MS,
    5 * MS / 2,
    5 * MS,
    10 * MS,
    25 * MS,
    100 * MS,
    500 * MS,
    5 * S / 2,
];
const STAGE_BOUNDS: Bounds = &[
    US,
    5 * US / 2,
    5 * US,
    10 * US,
    25 * US,
    50 * US,
    100 * US,
    250 * US,
    500 * US,
    MS,
    5 * MS / 2,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    500 * MS,
    S,
    5 * S,
];

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A part of an event's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The body's arrival.
    Receive,
    Decode,
    /// Resolution and the check.
    Validate,
    /// One route: its plugin, and the making of its records.
    Transform,
    /// All records of the request are durable.
    Deliver,
}

impl Stage {
    pub const ALL: [Stage; 5] = [
        Stage::Receive,
        Stage::Decode,
        Stage::Validate,
        Stage::Transform,
        Stage::Deliver,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Receive => "receive",
            Stage::Decode => "decode",
            Stage::Validate => "validate",
            Stage::Transform => "transform",
            Stage::Deliver => "deliver",
        }
    }
}

const ACCEPTED: usize = 0;
const DUPLICATE: usize = 1;
const BYTES: usize = 2;
const EVENT_BUCKETS: Buckets = Buckets {
    first: 3,
    bounds: EVENT_BOUNDS,
};

/// The events of one partner, type and schema.
pub struct EventNumbers {
    cells: Cells,
    /// Quarantined, then rejected, by code; most have none.
    refused: OnceLock<Box<[AtomicU64]>>,
}

impl EventNumbers {
    pub(super) fn new() -> EventNumbers {
        EventNumbers {
            cells: Cells::new(EVENT_BUCKETS.first + Buckets::width(EVENT_BOUNDS)),
            refused: OnceLock::new(),
        }
    }

    fn refuse(&self, code: Code, is_rejected: bool) {
        let codes = Code::ALL.len();
        let refused = self
            .refused
            .get_or_init(|| (0..2 * codes).map(|_| AtomicU64::new(0)).collect());
        if let Some(count) = refused.get(code as usize + if is_rejected { codes } else { 0 }) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Numbers of one partner, type and schema, found once.
pub type EventPage = Page<3, EventNumbers>;

/// Events of one request that share their names, until the request is answered.
pub struct Tally {
    page: Arc<EventPage>,
    accepted: u64,
    duplicate: u64,
    events: u64,
    bytes: u64,
}

impl Tally {
    pub fn new(page: Arc<EventPage>) -> Tally {
        Tally {
            page,
            accepted: 0,
            duplicate: 0,
            events: 0,
            bytes: 0,
        }
    }

    pub fn is_of(&self, names: [&str; 3]) -> bool {
        self.page.is_of(names)
    }

    pub fn count(&mut self, outcome: &Outcome, bytes: u64) {
        self.events += 1;
        self.bytes += bytes;
        match outcome {
            Outcome::Accepted => self.accepted += 1,
            Outcome::Duplicate => self.duplicate += 1,
            Outcome::Quarantined(reason) => self.page.numbers.refuse(reason.code, false),
            Outcome::Rejected(reason) => self.page.numbers.refuse(reason.code, true),
        }
    }

    /// The request was answered.
    pub fn close(&self, duration: Duration) {
        let cells = &self.page.numbers.cells;
        for (index, amount) in [
            (ACCEPTED, self.accepted),
            (DUPLICATE, self.duplicate),
            (BYTES, self.bytes),
        ] {
            if amount > 0 {
                cells.add(index, amount);
            }
        }
        EVENT_BUCKETS.record(cells, nanoseconds(duration), self.events);
    }
}

/// A histogram of times.
pub struct Times {
    cells: Cells,
    bounds: Bounds,
}

impl Times {
    fn new(bounds: Bounds) -> Times {
        Times {
            cells: Cells::new(Buckets::width(bounds)),
            bounds,
        }
    }

    pub(super) fn requests() -> Times {
        Times::new(REQUEST_BOUNDS)
    }

    fn buckets(&self) -> Buckets {
        Buckets {
            first: 0,
            bounds: self.bounds,
        }
    }

    pub fn record(&self, duration: Duration) {
        self.buckets().record(&self.cells, nanoseconds(duration), 1);
    }

    pub(super) fn read(&self) -> Value {
        Value::Distribution(self.buckets().read(&self.cells))
    }
}

/// How a plugin's call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    Made,
    Rejected,
    Failed,
    Trapped,
    /// Not called.
    Held,
}

const CALL_OUTCOMES: [(CallOutcome, &str); 5] = [
    (CallOutcome::Made, "made"),
    (CallOutcome::Rejected, "rejected"),
    (CallOutcome::Failed, "failed"),
    (CallOutcome::Trapped, "trapped"),
    (CallOutcome::Held, "held"),
];

/// One version of a plugin.
pub struct PluginNumbers {
    calls: Cells,
    pub times: Times,
}

impl PluginNumbers {
    fn new() -> PluginNumbers {
        PluginNumbers {
            calls: Cells::new(CALL_OUTCOMES.len()),
            times: Times::new(STAGE_BOUNDS),
        }
    }

    pub fn call(&self, outcome: CallOutcome) {
        self.calls.add(outcome as usize, 1);
    }
}

/// One destination.
pub struct DestinationNumbers {
    bytes: Cells,
    times: Times,
}

impl DestinationNumbers {
    fn new() -> DestinationNumbers {
        DestinationNumbers {
            bytes: Cells::new(1),
            times: Times::new(STAGE_BOUNDS),
        }
    }

    pub fn sent(&self, bytes: usize) {
        self.bytes.add(0, bytes as u64);
    }

    pub fn durable(&self, after: Duration) {
        self.times.record(after);
    }
}

/// One number.
pub struct Counted(Cells);

impl Counted {
    fn new() -> Counted {
        Counted(Cells::new(1))
    }

    pub fn count(&self) {
        self.0.add(0, 1);
    }
}

/// All numbers that the data side adds to.
pub struct Numbers {
    pub(super) events: Book<3, EventNumbers>,
    pub(super) partners: Book<1, Times>,
    pub(super) plugins: Book<2, PluginNumbers>,
    pub(super) destinations: Book<1, DestinationNumbers>,
    pub(super) keys: Book<2, Counted>,
    pub(super) unreadable_versions: Book<1, AtomicU64>,
    pub(super) dropped: Book<1, AtomicU64>,
    pub(super) http: Arc<HttpNumbers>,
    stages: [Times; Stage::ALL.len()],
}

impl Numbers {
    /// Each book has at most so many pages.
    pub(super) fn new(pages: usize) -> Numbers {
        Numbers {
            events: Book::new(pages, EventNumbers::new),
            partners: Book::new(pages, Times::requests),
            plugins: Book::new(pages, PluginNumbers::new),
            destinations: Book::new(pages, DestinationNumbers::new),
            keys: Book::new(pages, Counted::new),
            unreadable_versions: Book::new(pages, AtomicU64::default),
            dropped: Book::new(pages, AtomicU64::default),
            http: Arc::new(HttpNumbers::new()),
            stages: Stage::ALL.map(|_| Times::new(STAGE_BOUNDS)),
        }
    }

    pub(super) fn stage(&self, stage: Stage, duration: Duration) {
        if let Some(times) = self.stages.get(stage as usize) {
            times.record(duration);
        }
    }

    /// Whether what this thread begins now is to be timed.
    pub(super) fn is_timed() -> bool {
        thread_local! {
            static COUNT: Cell<u32> = const { Cell::new(0) };
        }
        every(&COUNT, METRIC_TIMED_ONE_IN)
    }

    pub(super) fn read(&self, families: &mut Vec<Family>) {
        self.read_events(families);
        families.push(counts(&catalogue::VERSION_UNREADABLE, &self.unreadable_versions));
        families.push(counts(&catalogue::DROPPED, &self.dropped));
        let mut partners = Family::of(&catalogue::REQUEST_DURATION);
        for page in self.partners.all() {
            partners.push_seen(names(&page.names), page.numbers.read());
        }
        families.push(partners);
        let mut keys = Family::of(&catalogue::KEY_REQUESTS);
        for page in self.keys.all() {
            keys.push_seen(names(&page.names), Value::Whole(page.numbers.0.sum(0)));
        }
        families.push(keys);
        let mut stages = Family::of(&catalogue::STAGE_DURATION);
        for (stage, times) in Stage::ALL.iter().zip(&self.stages) {
            stages.push_seen([stage.as_str().into()], times.read());
        }
        families.push(stages);
        self.http.read(families);
        self.read_plugins(families);
        let mut bytes = Family::of(&catalogue::DESTINATION_SIZE);
        let mut durations = Family::of(&catalogue::DESTINATION_DURATION);
        for page in self.destinations.all() {
            bytes.push_seen(names(&page.names), Value::Whole(page.numbers.bytes.sum(0)));
            durations.push_seen(names(&page.names), page.numbers.times.read());
        }
        families.extend([bytes, durations]);
    }

    fn read_events(&self, families: &mut Vec<Family>) {
        let mut events = Family::of(&catalogue::EVENTS);
        let mut sizes = Family::of(&catalogue::EVENTS_SIZE);
        let mut durations = Family::of(&catalogue::EVENT_DURATION);
        for page in self.events.all() {
            let numbers = &page.numbers;
            let mut push = |status: &'static str, code: &'static str, count: u64| {
                let mut labels = names(&page.names);
                labels.extend([status.into(), code.into()]);
                events.push_seen(labels, Value::Whole(count));
            };
            push("accepted", "", numbers.cells.sum(ACCEPTED));
            push("duplicate", "", numbers.cells.sum(DUPLICATE));
            if let Some(refused) = numbers.refused.get() {
                let statuses = ["quarantined", "rejected"].into_iter();
                let kinds = statuses.flat_map(|status| Code::ALL.iter().map(move |code| (status, code)));
                for (count, (status, code)) in refused.iter().zip(kinds) {
                    push(status, code.as_str(), count.load(Ordering::Relaxed));
                }
            }
            sizes.push_seen(names(&page.names), Value::Whole(numbers.cells.sum(BYTES)));
            let distribution = EVENT_BUCKETS.read(&numbers.cells);
            durations.push_seen(names(&page.names), Value::Distribution(distribution));
        }
        families.extend([events, sizes, durations]);
    }

    fn read_plugins(&self, families: &mut Vec<Family>) {
        let mut calls = Family::of(&catalogue::PLUGIN_CALLS);
        let mut durations = Family::of(&catalogue::PLUGIN_DURATION);
        for page in self.plugins.all() {
            for (outcome, name) in CALL_OUTCOMES {
                let mut labels = names(&page.names);
                labels.push(name.into());
                calls.push_seen(labels, Value::Whole(page.numbers.calls.sum(outcome as usize)));
            }
            durations.push_seen(names(&page.names), page.numbers.times.read());
        }
        families.extend([calls, durations]);
    }
}

fn names<const N: usize>(names: &[Box<str>; N]) -> Vec<Label> {
    names.iter().map(|name| Label::Owned(name.to_string())).collect()
}

fn counts(instrument: &'static Instrument, book: &Book<1, AtomicU64>) -> Family {
    let mut family = Family::of(instrument);
    for page in book.all() {
        let count = page.numbers.load(Ordering::Relaxed);
        family.push_seen(names(&page.names), Value::Whole(count));
    }
    family
}
