//! What a gateway's metrics say about the whereabouts of records.

use std::collections::HashMap;

use super::gateway::Gateway;

/// The accounts of one destination at one moment, by state.
#[derive(Debug)]
pub struct Accounts(HashMap<String, u64>);

impl Accounts {
    pub fn get(&self, state: &str) -> u64 {
        *self
            .0
            .get(state)
            .unwrap_or_else(|| panic!("no records in state {state:?}: {self:?}"))
    }

    /// Nothing is missing, and not more is on its way than senders can have sent.
    pub fn assert_balanced(&self, in_flight_max: u64) {
        let ends = ["delivered", "waiting", "refused", "no_place", "in_flight"];
        assert_eq!(
            self.get("accepted") + self.get("recovered"),
            ends.map(|state| self.get(state)).iter().sum::<u64>(),
            "{self:?}"
        );
        assert_eq!(self.get("unaccounted"), 0, "{self:?}");
        assert!(self.get("in_flight") <= in_flight_max, "{self:?}");
    }
}

/// One sample of Prometheus' text.
pub struct Sample {
    pub labels: HashMap<String, String>,
    pub value: f64,
}

impl Gateway {
    /// All samples of one metric.
    pub async fn metric(&self, name: &str) -> Vec<Sample> {
        let text = self.metrics_text().await;
        text.lines().filter_map(|line| sample(line, name)).collect()
    }

    pub async fn metrics_text(&self) -> String {
        let answer = reqwest::get(format!("{}/metrics", self.admin_url())).await;
        answer
            .expect("metrics are open to all")
            .text()
            .await
            .expect("metrics are text")
    }

    pub async fn accounts(&self, destination: &str) -> Accounts {
        let states = self
            .metric("headworks_destination_records")
            .await
            .into_iter()
            .filter(|sample| sample.labels["destination"] == destination)
            .map(|mut sample| {
                let state = sample.labels.remove("state").expect("every sample has a state");
                (state, sample.value as u64)
            })
            .collect();
        Accounts(states)
    }
}

/// `name{label="value",…} 7`; no label of the gateway's holds a quotation mark or a comma.
fn sample(line: &str, name: &str) -> Option<Sample> {
    let rest = line.strip_prefix(name)?;
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_once("} ")?,
        None => ("", rest.strip_prefix(' ')?),
    };
    let labels = labels.split(',').filter_map(|label| {
        let (name, value) = label.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    });
    Some(Sample {
        labels: labels.collect(),
        value: value.trim().parse().ok()?,
    })
}
