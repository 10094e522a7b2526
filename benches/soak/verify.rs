//! Every acknowledged event is where its route leads, whole.

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead as _, BufReader, Read},
    path::PathBuf,
    time::Duration,
};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::Headers as _,
};
use serde_json::Value;

use crate::{
    kafka::Broker,
    load::{Sent, data},
    process::Gateway,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// How often each id came, and how many were not as they were sent.
#[derive(Default)]
struct Arrived {
    times: HashMap<u64, u32>,
    different: u64,
}

impl Arrived {
    fn report(&self, name: &str, acknowledged: &[u64]) -> bool {
        let lost: Vec<u64> = acknowledged
            .iter()
            .filter(|id| !self.times.contains_key(id))
            .copied()
            .collect();
        let owed: HashSet<&u64> = acknowledged.iter().collect();
        let doubled = self.times.values().filter(|times| **times > 1).count();
        let unowed = self.times.keys().filter(|id| !owed.contains(id)).count();
        println!(
            "  {name:<24} {} of {} acknowledged arrived, {} lost, {doubled} doubled, {unowed} more, {} different",
            acknowledged.len() - lost.len(),
            acknowledged.len(),
            lost.len(),
            self.different
        );
        lost.is_empty() && self.different == 0
    }
}

pub async fn all_arrived(broker: &Broker, gateway: &Gateway, sent: &Sent) -> bool {
    let read = |topic: &'static str, check: fn(u64, &[u8]) -> bool| {
        let bootstrap = broker.bootstrap().to_owned();
        tokio::task::spawn_blocking(move || read_topic(&bootstrap, topic, check))
    };
    let plain = read("soak-plain", |id, value| value == data(id).as_bytes())
        .await
        .expect("read");
    let plugin = read("soak-plugin", |id, value| {
        serde_json::from_slice::<Value>(value)
            .is_ok_and(|value| value["number"] == id && value["os"] == "ios")
    })
    .await
    .expect("read");
    let out = gateway.path("out/plain");
    let files = tokio::task::spawn_blocking(move || read_files(out))
        .await
        .expect("read");
    let whole = [
        plain.report("Kafka, as sent", &sent.plain),
        plugin.report("Kafka, through a plugin", &sent.plugin),
        files.report("files", &sent.plain),
    ];
    let kept = gateway.quarantined().await;
    if kept < sent.quarantined {
        println!(
            "  quarantine: {kept} of {} acknowledged are there",
            sent.quarantined
        );
    }
    whole.iter().all(|whole| *whole) && kept >= sent.quarantined
}

fn read_topic(brokers: &str, topic: &str, check: fn(u64, &[u8]) -> bool) -> Arrived {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "soak")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let metadata = consumer
        .fetch_metadata(Some(topic), PATIENCE)
        .expect("the broker answers");
    let mut ends = HashMap::new();
    let mut assignment = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer
            .fetch_watermarks(topic, partition.id(), PATIENCE)
            .expect("the broker answers");
        if high > low {
            ends.insert(partition.id(), high);
        }
        assignment
            .add_partition_offset(topic, partition.id(), Offset::Beginning)
            .expect("a partition");
    }
    consumer.assign(&assignment).expect("assigned");
    let mut arrived = Arrived::default();
    while !ends.is_empty() {
        let message = consumer
            .poll(PATIENCE)
            .expect("the topic is not at its end")
            .expect("the broker gives it");
        let headers = message.headers().expect("every record has headers");
        let id: u64 = headers
            .iter()
            .find(|header| header.key == "ce_id")
            .and_then(|header| std::str::from_utf8(header.value?).ok()?.parse().ok())
            .expect("ids are numbers here");
        *arrived.times.entry(id).or_default() += 1;
        arrived.different += u64::from(!check(id, message.payload().unwrap_or_default()));
        if ends
            .get(&message.partition())
            .is_some_and(|end| message.offset() + 1 >= *end)
        {
            ends.remove(&message.partition());
        }
    }
    arrived
}

fn read_files(topic: PathBuf) -> Arrived {
    let mut arrived = Arrived::default();
    let days = std::fs::read_dir(topic).expect("the topic's folder").flatten();
    // Beside the days there is a link.
    let days = days.filter(|day| day.file_type().is_ok_and(|kind| kind.is_dir()));
    for file in days.flat_map(|day| std::fs::read_dir(day.path()).expect("a day").flatten()) {
        let opened = std::fs::File::open(file.path()).expect("a file");
        let compressed = file
            .path()
            .extension()
            .is_some_and(|extension| extension == "zst");
        let reader: Box<dyn Read> = if compressed {
            Box::new(zstd::Decoder::new(opened).expect("zstd"))
        } else {
            Box::new(opened)
        };
        for line in BufReader::new(reader).lines() {
            let line: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
            let id: u64 = line["id"]
                .as_str()
                .and_then(|id| id.parse().ok())
                .expect("a number");
            *arrived.times.entry(id).or_default() += 1;
            let sent: Value = serde_json::from_str(&data(id)).expect("JSON");
            arrived.different += u64::from(line["data"] != sent);
        }
    }
    arrived
}
