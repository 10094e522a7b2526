//! What is measured, as one reading of all instruments: the source of Prometheus' text and of OTLP alike.

use std::borrow::Cow;

use super::cells::Distribution;

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    Gauge,
    Histogram,
}

/// One instrument; its name and unit follow OpenTelemetry's semantic conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instrument {
    pub name: &'static str,
    /// UCUM: `s`, `By`, or what is counted in braces.
    pub unit: &'static str,
    pub kind: Kind,
    pub description: &'static str,
    /// Names of its attributes.
    pub labels: &'static [&'static str],
}

impl Instrument {
    /// As Prometheus names it.
    pub fn prometheus_name(&self) -> String {
        let mut name = self.name.replace('.', "_");
        match self.unit {
            "s" => name.push_str("_seconds"),
            "By" => name.push_str("_bytes"),
            _ => {}
        }
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }
}

/// A label's value: from the registry, the configuration or a fixed set, never from an event.
pub type Label = Cow<'static, str>;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Whole(u64),
    Real(f64),
    /// Nanoseconds where the instrument's unit is `s`.
    Distribution(Distribution),
}

/// One series at this moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// In the order of the instrument's names.
    pub labels: Vec<Label>,
    pub value: Value,
}

/// An instrument with its series.
#[derive(Clone, Debug)]
pub struct Family {
    pub instrument: &'static Instrument,
    pub points: Vec<Point>,
}

impl Family {
    pub fn of(instrument: &'static Instrument) -> Family {
        Family {
            instrument,
            points: Vec::new(),
        }
    }

    pub fn push(&mut self, labels: impl Into<Vec<Label>>, value: Value) {
        self.points.push(Point {
            labels: labels.into(),
            value,
        });
    }

    /// A series that has counted nothing yet is left out.
    pub fn push_seen(&mut self, labels: impl Into<Vec<Label>>, value: Value) {
        let is_seen = match &value {
            Value::Whole(number) => *number != 0,
            Value::Real(number) => *number != 0.0,
            Value::Distribution(distribution) => distribution.count() != 0,
        };
        if is_seen {
            self.push(labels, value);
        }
    }
}

/// Nanoseconds in a second, for values that are kept whole.
pub(super) const NANOSECONDS: f64 = 1e9;

impl Instrument {
    /// What a histogram's numbers are divided by.
    pub(super) fn scale(&self) -> f64 {
        if self.unit == "s" { NANOSECONDS } else { 1.0 }
    }
}
