//! One reading of a gateway's `/metrics`.

use std::{collections::BTreeMap, time::Instant};

/// Every series at one moment.
pub struct Sample {
    pub at: Instant,
    families: BTreeMap<String, Vec<Series>>,
}

pub struct Series {
    labels: Vec<(String, String)>,
    pub value: f64,
}

impl Series {
    pub fn label(&self, name: &str) -> &str {
        let mut labels = self.labels.iter();
        labels
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }
}

impl Sample {
    /// Lines that are none of Prometheus' are passed over.
    pub fn read(text: &str) -> Sample {
        let mut families: BTreeMap<String, Vec<Series>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, series)) = series(line) {
                families.entry(name.to_owned()).or_default().push(series);
            }
        }
        Sample {
            at: Instant::now(),
            families,
        }
    }

    pub fn series(&self, name: &str) -> &[Series] {
        self.families.get(name).map_or(&[], Vec::as_slice)
    }

    /// The sum over all series of the name that `takes`.
    pub fn sum(&self, name: &str, takes: impl Fn(&Series) -> bool) -> f64 {
        let series = self.series(name).iter().filter(|series| takes(series));
        // From 0.0, since the sum of nothing is -0.0, which would be shown as such.
        series.fold(0.0, |sum, series| sum + series.value)
    }
}

fn series(line: &str) -> Option<(&str, Series)> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name, Series { labels, value }))
}

/// `a="b",c="d"} …`, whose values escape `\`, `"` and line ends.
fn labels(mut text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches(',');
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        text = loop {
            match characters.next()? {
                (at, '"') => break rest.get(at + 1..)?,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, character) => value.push(character),
            }
        };
        labels.push((name.to_owned(), value));
    }
}

/// The value below which `part` of what came between two readings of a histogram lies; none where nothing came.
pub fn quantile(
    now: &Sample,
    before: Option<&Sample>,
    name: &str,
    part: f64,
    takes: impl Fn(&Series) -> bool,
) -> Option<f64> {
    let cumulated = |sample: &Sample| {
        let mut buckets: BTreeMap<u64, f64> = BTreeMap::new();
        for series in sample.series(name).iter().filter(|series| takes(series)) {
            let bound: f64 = series.label("le").parse().unwrap_or(f64::INFINITY);
            // Bounds are not negative, and their bits then sort as they do.
            *buckets.entry(bound.to_bits()).or_default() += series.value;
        }
        buckets
    };
    let earlier = before.map(cumulated).unwrap_or_default();
    let buckets: Vec<(f64, f64)> = cumulated(now)
        .into_iter()
        .map(|(bits, count)| {
            let known = earlier.get(&bits).copied().unwrap_or_default();
            (f64::from_bits(bits), (count - known).max(0.0))
        })
        .collect();
    let all = buckets
        .last()
        .map(|(_, count)| *count)
        .filter(|count| *count > 0.0)?;
    let wanted = all * part;
    let mut below = (0.0, 0.0);
    for (bound, count) in buckets {
        if count >= wanted {
            if bound.is_infinite() {
                return Some(below.0);
            }
            let within = count - below.1;
            let share = if within > 0.0 {
                (wanted - below.1) / within
            } else {
                1.0
            };
            return Some(below.0 + (bound - below.0) * share);
        }
        below = (bound, count);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE a counter\na_total{x=\"q\\\"uo,te}\",y=\"b\\\\c\\nd\"} 3\na_total{x=\"z\"} 4 1700000000\nb 2.5\nbroken{\n";

    #[test]
    fn prometheus_text_is_read() {
        let sample = Sample::read(TEXT);
        assert_eq!(sample.sum("a_total", |_| true), 7.0);
        assert_eq!(sample.series("a_total")[0].label("x"), "q\"uo,te}");
        assert_eq!(sample.series("a_total")[0].label("y"), "b\\c\nd");
        assert_eq!(sample.sum("b", |_| true), 2.5);
        assert!(sample.series("broken").is_empty());
    }

    #[test]
    fn quantiles_are_of_what_came_between() {
        let text = |one: u32, two: u32, all: u32| {
            format!("h_bucket{{le=\"1\"}} {one}\nh_bucket{{le=\"2\"}} {two}\nh_bucket{{le=\"+Inf\"}} {all}\n")
        };
        let before = Sample::read(&text(100, 100, 100));
        let now = Sample::read(&text(100, 110, 110));
        assert_eq!(
            quantile(&now, Some(&before), "h_bucket", 0.5, |_| true),
            Some(1.5)
        );
        assert_eq!(quantile(&now, None, "h_bucket", 0.5, |_| true), Some(0.55));
        assert_eq!(quantile(&before, Some(&before), "h_bucket", 0.5, |_| true), None);
        let beyond = Sample::read(&text(0, 0, 5));
        assert_eq!(quantile(&beyond, None, "h_bucket", 0.99, |_| true), Some(2.0));
    }
}
