//! The gateway with what the soak needs, its accounts, and what the kernel says of it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{gateway, page_view};

pub struct Gateway {
    gateway: gateway::Gateway,
    folder: tempfile::TempDir,
    pub data: std::net::SocketAddr,
    pub key: String,
}

impl Gateway {
    pub async fn start(brokers: &str) -> Gateway {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let configuration = format!(
            "[spool]\nmax_bytes = \"20GiB\"\n\
             [[destination]]\nname = \"files\"\nkind = \"file\"\npath = {:?}\n\
             [[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"{brokers}\"\n",
            folder.path().join("out"),
        );
        let gateway = gateway::Gateway::spawn(gateway::PROGRAM.as_ref(), folder.path(), &configuration);
        gateway.ready().await;
        let key = register(&gateway).await;
        Gateway {
            data: gateway.data,
            gateway,
            folder,
            key,
        }
    }

    /// A call of the admin API.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
        self.gateway.call(method, path, body).await
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn sample(&self) -> Sample {
        let process = &self.gateway.process;
        Sample {
            at: Some(Instant::now()),
            resident_mib: process.resident_mib(),
            descriptors: std::fs::read_dir(format!("/proc/{}/fd", process.id()))
                .map_or(0, |entries| entries.count() as u64),
            threads: process.status("Threads"),
        }
    }

    pub async fn accounts(&self, destination: &str) -> Accounts {
        let text = self.gateway.metrics().await;
        let wanted = format!("destination=\"{destination}\"");
        let states = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("headworks_destination_records{")?;
            let (labels, value) = rest.split_once("} ")?;
            let state = labels
                .split(',')
                .find_map(|label| label.strip_prefix("state=\""))?;
            labels.contains(&wanted).then(|| {
                (
                    state.trim_end_matches('"').to_owned(),
                    value.trim().parse().unwrap_or_default(),
                )
            })
        });
        Accounts(states.collect())
    }

    /// How many events wait in quarantine.
    pub async fn quarantined(&self) -> u64 {
        let text = self.gateway.metrics().await;
        text.lines()
            .find_map(|line| line.strip_prefix("headworks_quarantine_events "))
            .and_then(|value| value.trim().parse().ok())
            .expect("how many there are")
    }

    /// When nothing waits any more; None where it takes longer than `most`.
    pub async fn drained(&self, most: Duration) -> Option<Instant> {
        let end = Instant::now() + most;
        while Instant::now() < end {
            let (events, files) = (self.accounts("events").await, self.accounts("files").await);
            if events.get("waiting") + files.get("waiting") == 0 {
                return Some(Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        None
    }

    pub async fn balanced(&self) -> bool {
        for destination in ["events", "files"] {
            let accounts = self.accounts(destination).await;
            if !accounts.are_balanced() {
                println!("  {destination}: {accounts:?}");
                return false;
            }
        }
        true
    }
}

/// Three types: through a plugin to Kafka, as they are to Kafka and to files, and one that most events break; gives the
/// key of who sends them.
async fn register(gateway: &gateway::Gateway) -> String {
    let key = gateway.partner("soak").await;
    let open = json!({"type": "object"});
    gateway.put("/v1/schemas/soak.plain/1", open.clone()).await;
    gateway.put("/v1/schemas/app.page_view/1", open).await;
    let strict = json!({"type": "object", "required": ["missing"]});
    gateway.put("/v1/schemas/soak.strict/1", strict).await;
    let component = page_view::component();
    let mut other = component.clone();
    // A custom section more: other bytes, another version, the same code.
    other.extend_from_slice(&[0, 5, 1, b'x', 1, 2, 3]);
    push_plugin(gateway, component).await;
    push_plugin(gateway, other).await;
    let version = Some(json!({"version": 1}));
    gateway
        .call("POST", "/v1/plugins/page-view/activate", version)
        .await
        .expect("activated");
    let events = |topic: &str, key: &str| json!({"destination": "events", "topic": topic, "key": key});
    let route = json!({"match": {"type": "app.page_view"}, "plugin": "page-view", "to": [events("soak-plugin", "/platform")]});
    gateway.put("/v1/routes/plugin", route).await;
    let to = [
        events("soak-plain", "/key"),
        json!({"destination": "files", "topic": "plain"}),
    ];
    gateway
        .put("/v1/routes/plain", json!({"match": {"type": "soak.*"}, "to": to}))
        .await;
    key
}

async fn push_plugin(gateway: &gateway::Gateway, component: Vec<u8>) {
    let request = gateway
        .client
        .post(format!("http://{}/v1/plugins/page-view/versions", gateway.admin))
        .header("content-type", "application/wasm")
        .body(component);
    gateway.send(request).await.expect("the plugin is taken");
}

#[derive(Debug)]
pub struct Accounts(HashMap<String, u64>);

impl Accounts {
    pub fn get(&self, state: &str) -> u64 {
        self.0.get(state).copied().unwrap_or_default()
    }

    fn are_balanced(&self) -> bool {
        let ends = ["delivered", "waiting", "refused", "no_place", "in_flight"];
        let ended: u64 = ends.map(|state| self.get(state)).iter().sum();
        self.get("accepted") > 0
            && self.get("accepted") + self.get("recovered") == ended
            && self.get("unaccounted") == 0
    }
}

#[derive(Clone, Copy, Default)]
pub struct Sample {
    /// Absent where it is made of several.
    pub at: Option<Instant>,
    pub resident_mib: u64,
    pub descriptors: u64,
    pub threads: u64,
}

impl Sample {
    fn each(samples: &[Sample], choose: impl Fn(Vec<u64>) -> u64) -> Sample {
        let column = |read: fn(&Sample) -> u64| {
            let mut values: Vec<u64> = samples.iter().map(read).collect();
            values.sort_unstable();
            choose(values)
        };
        Sample {
            at: None,
            resident_mib: column(|sample| sample.resident_mib),
            descriptors: column(|sample| sample.descriptors),
            threads: column(|sample| sample.threads),
        }
    }

    pub fn median(samples: &[Sample]) -> Sample {
        Sample::each(samples, |values| {
            values.get(values.len() / 2).copied().unwrap_or_default()
        })
    }

    pub fn most(samples: &[Sample]) -> Sample {
        Sample::each(samples, |values| values.last().copied().unwrap_or_default())
    }
}

/// Every sample with its phase, and the seconds since `begun`, as JSON.
pub fn write(path: &Path, begun: Instant, phases: &[(&str, &Vec<Sample>)]) {
    let samples = phases.iter().flat_map(|(phase, samples)| {
        samples.iter().map(move |sample| {
            let after = sample
                .at
                .map(|at| at.saturating_duration_since(begun).as_secs_f64());
            json!({
                "phase": phase,
                "after_s": after,
                "resident_mib": sample.resident_mib,
                "descriptors": sample.descriptors,
                "threads": sample.threads,
            })
        })
    });
    let samples: Vec<Value> = samples.collect();
    let text = serde_json::to_string(&json!({ "samples": samples })).expect("numbers and strings are JSON");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).expect("the folder can be made");
    }
    std::fs::write(path, text + "\n").expect("the samples can be written");
}
