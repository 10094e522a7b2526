//! What two readings say, as tables: by partner, type, version, plugin, destination, code.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::sample::{Sample, Series, quantile};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Partner,
    Type,
    Version,
    Plugin,
    Destination,
    Code,
}

impl By {
    pub const ALL: [By; 6] = [
        By::Partner,
        By::Type,
        By::Version,
        By::Plugin,
        By::Destination,
        By::Code,
    ];

    pub fn title(self) -> &'static str {
        match self {
            By::Partner => "partners",
            By::Type => "types",
            By::Version => "versions",
            By::Plugin => "plugins",
            By::Destination => "destinations",
            By::Code => "codes",
        }
    }

    pub fn columns(self) -> &'static [&'static str] {
        const fn of_events(by: &'static str) -> [&'static str; 7] {
            [
                by,
                "events/s",
                "quarantined/s",
                "rejected/s",
                "bytes/s",
                "p50",
                "p99",
            ]
        }
        const PARTNER: [&str; 7] = of_events("partner");
        const TYPE: [&str; 7] = of_events("type");
        const VERSION: [&str; 7] = of_events("type@since");
        match self {
            By::Partner => &PARTNER,
            By::Type => &TYPE,
            By::Version => &VERSION,
            By::Plugin => &[
                "plugin",
                "calls/s",
                "rejected/s",
                "failed/s",
                "trapped/s",
                "p50",
                "p99",
                "memory",
            ],
            By::Destination => &[
                "destination",
                "state",
                "sent/s",
                "delivered/s",
                "refused/s",
                "waiting",
                "spool",
                "p99",
            ],
            By::Code => &["code", "events/s", "requests/s", "events", "requests"],
        }
    }
}

/// One cell: what is shown, and what it is sorted by.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Text(String),
    Rate(f64),
    Count(f64),
    Bytes(f64),
    /// Seconds.
    Time(Option<f64>),
}

impl Cell {
    pub fn text(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Rate(rate) if *rate == 0.0 => "·".to_owned(),
            Cell::Rate(rate) if *rate < 10.0 => format!("{rate:.1}"),
            Cell::Rate(number) | Cell::Count(number) => short(*number),
            Cell::Bytes(bytes) => size(*bytes),
            Cell::Time(None) => "·".to_owned(),
            Cell::Time(Some(seconds)) => time(*seconds),
        }
    }

    fn number(&self) -> f64 {
        match self {
            Cell::Text(_) | Cell::Time(None) => 0.0,
            Cell::Rate(number) | Cell::Count(number) | Cell::Bytes(number) | Cell::Time(Some(number)) => {
                *number
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Cell::Text(text) => json!(text),
            Cell::Time(None) => Value::Null,
            other => json!(other.number()),
        }
    }

    fn compare(&self, other: &Cell) -> std::cmp::Ordering {
        match (self, other) {
            // Names ascend where numbers descend.
            (Cell::Text(one), Cell::Text(two)) => two.cmp(one),
            (one, two) => one.number().total_cmp(&two.number()),
        }
    }
}

pub fn short(number: f64) -> String {
    match number {
        number if number < 10_000.0 => format!("{number:.0}"),
        number if number < 1e6 => format!("{:.1}k", number / 1e3),
        number if number < 1e9 => format!("{:.1}M", number / 1e6),
        number => format!("{:.1}G", number / 1e9),
    }
}

pub fn size(bytes: f64) -> String {
    const KIB: f64 = 1024.0;
    match bytes {
        bytes if bytes <= 0.0 => "·".to_owned(),
        bytes if bytes < KIB => format!("{bytes:.0} B"),
        bytes if bytes < KIB * KIB => format!("{:.1} KiB", bytes / KIB),
        bytes if bytes < KIB * KIB * KIB => format!("{:.1} MiB", bytes / KIB / KIB),
        bytes => format!("{:.1} GiB", bytes / KIB / KIB / KIB),
    }
}

pub fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}

/// Two readings, one after the other.
pub struct Pair {
    pub now: Sample,
    pub before: Option<Sample>,
}

impl Pair {
    pub fn rate(&self, name: &str, takes: impl Fn(&Series) -> bool) -> f64 {
        let Some(before) = &self.before else { return 0.0 };
        let seconds = self.now.at.duration_since(before.at).as_secs_f64();
        if seconds <= 0.0 {
            return 0.0;
        }
        ((self.now.sum(name, &takes) - before.sum(name, &takes)) / seconds).max(0.0)
    }

    pub fn quantile(&self, name: &str, part: f64, takes: impl Fn(&Series) -> bool) -> Option<f64> {
        quantile(&self.now, self.before.as_ref(), name, part, takes)
    }

    /// The rows, those with the most in the column `sort` first; the other way round where `is_reversed`.
    pub fn rows(&self, by: By, sort: usize, is_reversed: bool) -> Vec<Vec<Cell>> {
        let mut rows = match by {
            By::Partner => self.events(&["partner"]),
            By::Type => self.events(&["type"]),
            By::Version => self.events(&["type", "since"]),
            By::Plugin => self.plugins(),
            By::Destination => self.destinations(),
            By::Code => self.codes(),
        };
        rows.sort_by(|one, two| {
            let order = match (one.get(sort), two.get(sort)) {
                (Some(one), Some(two)) => two.compare(one),
                _ => std::cmp::Ordering::Equal,
            };
            if is_reversed { order.reverse() } else { order }
        });
        rows
    }

    pub fn json(&self) -> Value {
        let tables = By::ALL.iter().map(|by| {
            let rows = self.rows(*by, 1, false).into_iter().map(|row| {
                let cells = by.columns().iter().zip(&row);
                let members = cells.map(|(name, cell)| ((*name).to_owned(), cell.json()));
                Value::Object(members.collect())
            });
            (by.title().to_owned(), Value::Array(rows.collect()))
        });
        Value::Object(tables.collect())
    }

    fn keys(&self, name: &str, labels: &[&str]) -> BTreeSet<Vec<String>> {
        let series = self.now.series(name).iter();
        let key = |series: &Series| {
            labels
                .iter()
                .map(|label| series.label(label).to_owned())
                .collect()
        };
        series.map(key).collect()
    }

    fn events(&self, labels: &[&str]) -> Vec<Vec<Cell>> {
        const EVENTS: &str = "headworks_events_total";
        let keys = self.keys(EVENTS, labels);
        let row = |key: Vec<String>| {
            let is = |series: &Series| {
                labels
                    .iter()
                    .zip(&key)
                    .all(|(label, value)| series.label(label) == value)
            };
            let with = |status: &'static str| {
                let is = &is;
                move |series: &Series| is(series) && series.label("status") == status
            };
            let durations = if labels == ["partner"] {
                "headworks_request_duration_seconds_bucket"
            } else {
                "headworks_event_duration_seconds_bucket"
            };
            vec![
                Cell::Text(name(&key)),
                Cell::Rate(self.rate(EVENTS, is)),
                Cell::Rate(self.rate(EVENTS, with("quarantined"))),
                Cell::Rate(self.rate(EVENTS, with("rejected"))),
                Cell::Bytes(self.rate("headworks_events_size_bytes_total", is)),
                Cell::Time(self.quantile(durations, 0.5, is)),
                Cell::Time(self.quantile(durations, 0.99, is)),
            ]
        };
        keys.into_iter().map(row).collect()
    }

    fn plugins(&self) -> Vec<Vec<Cell>> {
        const CALLS: &str = "headworks_plugin_calls_total";
        const DURATIONS: &str = "headworks_plugin_duration_seconds_bucket";
        let mut keys = self.keys(CALLS, &["plugin", "version"]);
        keys.extend(self.keys("headworks_plugin_memory_bytes", &["plugin", "version"]));
        let row = |key: Vec<String>| {
            let is = |series: &Series| [series.label("plugin"), series.label("version")] == *key;
            let with = |outcome: &'static str| {
                let is = &is;
                move |series: &Series| is(series) && series.label("outcome") == outcome
            };
            vec![
                Cell::Text(name(&key)),
                Cell::Rate(self.rate(CALLS, is)),
                Cell::Rate(self.rate(CALLS, with("rejected"))),
                Cell::Rate(self.rate(CALLS, with("failed"))),
                Cell::Rate(self.rate(CALLS, with("trapped"))),
                Cell::Time(self.quantile(DURATIONS, 0.5, is)),
                Cell::Time(self.quantile(DURATIONS, 0.99, is)),
                Cell::Bytes(self.now.sum("headworks_plugin_memory_bytes", is)),
            ]
        };
        keys.into_iter().map(row).collect()
    }

    fn destinations(&self) -> Vec<Vec<Cell>> {
        const RECORDS: &str = "headworks_destination_records";
        const STATE: &str = "headworks_destination_state";
        let row = |key: Vec<String>| {
            let is = |series: &Series| key.iter().all(|key| series.label("destination") == key);
            let in_state = |state: &'static str| {
                let is = &is;
                move |series: &Series| is(series) && series.label("state") == state
            };
            let state = match self.now.sum(STATE, is) {
                0.0 => "healthy",
                1.0 => "draining",
                _ => "spooling",
            };
            vec![
                Cell::Text(name(&key)),
                Cell::Text(state.to_owned()),
                Cell::Rate(self.rate(RECORDS, in_state("accepted"))),
                Cell::Rate(self.rate(RECORDS, in_state("delivered"))),
                Cell::Rate(self.rate(RECORDS, in_state("refused"))),
                Cell::Count(self.now.sum("headworks_spool_records", is)),
                Cell::Bytes(self.now.sum("headworks_spool_size_bytes", is)),
                Cell::Time(self.quantile("headworks_destination_duration_seconds_bucket", 0.99, is)),
            ]
        };
        self.keys(STATE, &["destination"]).into_iter().map(row).collect()
    }

    fn codes(&self) -> Vec<Vec<Cell>> {
        const EVENTS: &str = "headworks_events_total";
        const REQUESTS: &str = "headworks_requests_refused_total";
        let mut keys = self.keys(EVENTS, &["code"]);
        keys.extend(self.keys(REQUESTS, &["code"]));
        keys.retain(|key| key.iter().all(|code| !code.is_empty()));
        let row = |key: Vec<String>| {
            let is = |series: &Series| key.iter().all(|code| series.label("code") == code);
            vec![
                Cell::Text(name(&key)),
                Cell::Rate(self.rate(EVENTS, is)),
                Cell::Rate(self.rate(REQUESTS, is)),
                Cell::Count(self.now.sum(EVENTS, is)),
                Cell::Count(self.now.sum(REQUESTS, is)),
            ]
        };
        keys.into_iter().map(row).collect()
    }
}

fn name(key: &[String]) -> String {
    let named: Vec<&str> = key
        .iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    if named.is_empty() {
        "(none)".to_owned()
    } else {
        named.join("@")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pair(before: &str, now: &str) -> Pair {
        let mut pair = Pair {
            now: Sample::read(now),
            before: Some(Sample::read(before)),
        };
        if let Some(before) = &mut pair.before {
            before.at = pair.now.at - Duration::from_secs(2);
        }
        pair
    }

    #[test]
    fn rates_are_summed_by_what_is_asked_and_sorted() {
        let text = |a: u32, b: u32| {
            format!(
                "headworks_events_total{{partner=\"p\",type=\"a\",since=\"1\",status=\"accepted\",code=\"\"}} {a}\n\
                 headworks_events_total{{partner=\"q\",type=\"b\",since=\"1\",status=\"quarantined\",code=\"schema-violation\"}} {b}\n\
                 headworks_events_total{{partner=\"p\",type=\"b\",since=\"2\",status=\"accepted\",code=\"\"}} {b}\n"
            )
        };
        let pair = pair(&text(0, 100), &text(20, 110));
        let names = |by, sort, reversed| -> Vec<String> {
            pair.rows(by, sort, reversed)
                .iter()
                .map(|row| row[0].text())
                .collect()
        };
        assert_eq!(names(By::Partner, 1, false), ["p", "q"]);
        assert_eq!(names(By::Partner, 1, true), ["q", "p"]);
        assert_eq!(names(By::Version, 0, false), ["a@1", "b@1", "b@2"]);
        let rows = pair.rows(By::Partner, 1, false);
        assert_eq!((&rows[0][1], &rows[1][2]), (&Cell::Rate(15.0), &Cell::Rate(5.0)));
        assert_eq!(names(By::Code, 1, false), ["schema-violation"]);
        assert_eq!(pair.json()["types"][0]["events/s"], 10.0);
    }

    #[test]
    fn numbers_are_short() {
        let shown = [
            Cell::Rate(0.0),
            Cell::Rate(9.94),
            Cell::Rate(12_345.0),
            Cell::Bytes(2048.0),
            Cell::Time(Some(0.0123)),
            Cell::Time(Some(0.000_012)),
            Cell::Count(3.0),
        ]
        .map(|cell| cell.text());
        assert_eq!(shown, ["·", "9.9", "12.3k", "2.0 KiB", "12.3 ms", "12 µs", "3"]);
    }
}
