//! Prometheus' text form.

use prometheus::{
    Encoder as _, TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use super::family::{Family, Kind, Point, Value};

/// All families; a comment in their place where one cannot be encoded.
pub(super) fn write(families: &[Family]) -> String {
    let families: Vec<MetricFamily> = families
        .iter()
        .filter(|family| !family.points.is_empty())
        .map(in_prometheus_form)
        .collect();
    let mut text = Vec::new();
    match TextEncoder::new().encode(&families, &mut text) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => format!("# metrics cannot be encoded: {error}\n"),
    }
}

fn in_prometheus_form(family: &Family) -> MetricFamily {
    let instrument = family.instrument;
    let mut form = MetricFamily::default();
    form.set_name(instrument.prometheus_name());
    form.set_help(instrument.description.to_owned());
    form.set_field_type(match instrument.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    form.set_metric(
        family
            .points
            .iter()
            .map(|point| metric(point, instrument.labels, instrument.kind, instrument.scale()))
            .collect(),
    );
    form
}

fn metric(point: &Point, names: &[&str], kind: Kind, scale: f64) -> Metric {
    let labels = names.iter().zip(&point.labels).map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.replace('.', "_"));
        pair.set_value(value.clone().into_owned());
        pair
    });
    let mut metric = Metric::from_label(labels.collect());
    match &point.value {
        Value::Distribution(distribution) => {
            let mut histogram = Histogram::default();
            let mut below = 0;
            let buckets = distribution.bounds.iter().zip(&distribution.counts);
            let buckets = buckets.map(|(bound, count)| {
                below += count;
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(*bound as f64 / scale);
                bucket.set_cumulative_count(below);
                bucket
            });
            histogram.set_bucket(buckets.collect());
            histogram.set_sample_count(distribution.count());
            histogram.set_sample_sum(distribution.sum as f64 / scale);
            metric.set_histogram(histogram);
        }
        Value::Whole(number) => set_number(&mut metric, kind, *number as f64),
        Value::Real(number) => set_number(&mut metric, kind, *number),
    }
    metric
}

fn set_number(metric: &mut Metric, kind: Kind, number: f64) {
    if kind == Kind::Counter {
        let mut counter = Counter::default();
        counter.set_value(number);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(number);
        metric.set_gauge(gauge);
    }
}
