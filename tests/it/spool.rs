//! `headworks spool` on the spools of a gateway that was killed, sound and damaged; and one data folder for two.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, Options};

const EVENTS: u64 = 30;

fn headworks(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headworks"))
        .args(arguments)
        .arg(directory)
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A gateway whose broker never was there: all that it accepted waits in the spool. One more event waits in quarantine.
async fn with_a_spool() -> Gateway {
    let mut gateway = Gateway::start_with(Options {
        kafka: Some("127.0.0.1:1".to_owned()),
        ..Options::default()
    })
    .await;
    gateway.partner("shop", json!({})).await;
    gateway
        .put("/v1/schemas/order.placed/1", json!({"type": "object"}))
        .await;
    let to = json!([{"destination": "events", "topic": "orders", "key": "/n"}]);
    gateway
        .put(
            "/v1/routes/orders",
            json!({"match": {"type": "order.*"}, "to": to}),
        )
        .await;
    let lines: String = (0..EVENTS)
        .map(|n| format!("{}\n", json!({"n": n, "text": "x".repeat(100)})))
        .collect();
    let answer = gateway
        .post("/v1/events/order.placed", "shop", "application/x-ndjson", lines)
        .await
        .expect(202);
    assert_eq!(answer["accepted"], EVENTS);
    gateway
}

/// Every file with its content, to see that nothing was written.
fn snapshot(directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            snapshot(&path, files);
        } else {
            files.insert(path.clone(), std::fs::read(&path).expect("a file"));
        }
    }
}

fn exported(output: &Output) -> Vec<Value> {
    text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("every line is JSON"))
        .collect()
}

#[tokio::test]
async fn a_stopped_gateways_spools_are_checked_and_exported_damaged_or_not() {
    let mut gateway = with_a_spool().await;
    let data = gateway.path("data");
    let busy = headworks(&["spool", "check"], &data);
    assert_eq!(busy.status.code(), Some(2));
    assert!(
        text(&busy.stderr).contains("a gateway runs on this spool"),
        "{busy:?}"
    );
    gateway.kill();

    let mut before = BTreeMap::new();
    snapshot(&data, &mut before);
    let sound = headworks(&["spool", "check", "--json"], &data);
    assert_eq!(sound.status.code(), Some(0), "{sound:?}");
    let report: Value = serde_json::from_slice(&sound.stdout).expect("JSON");
    let events = report["items"]
        .as_array()
        .and_then(|items| {
            items
                .iter()
                .find(|item| item["spool"] == "spool/destinations/events")
        })
        .unwrap_or_else(|| panic!("the destination's spool: {report}"));
    assert_eq!(events["waiting"]["entries"], EVENTS);
    assert_eq!(events["sound"], true);

    let export = headworks(&["spool", "export"], &data);
    assert_eq!(export.status.code(), Some(0), "{export:?}");
    let entries = exported(&export);
    assert_eq!(entries.len() as u64, EVENTS);
    for (n, entry) in entries.iter().enumerate() {
        assert_eq!(entry["spool"], "spool/destinations/events");
        assert_eq!(
            (&entry["topic"], &entry["key"]),
            (&json!("orders"), &json!(n.to_string()))
        );
        assert_eq!(entry["record"]["type"], "order.placed");
        assert_eq!(entry["record"]["data"]["n"], n);
    }

    // One flipped byte: one entry less, named with its place, and the rest is still there.
    let spool = data.join("spool/destinations/events");
    let segment = std::fs::read_dir(&spool)
        .expect("the spool")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .expect("a segment");
    let mut bytes = std::fs::read(&segment).expect("the segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).expect("the segment is damaged");
    before.clear();
    snapshot(&data, &mut before);
    let damaged = headworks(&["spool", "check"], &spool);
    assert_eq!(damaged.status.code(), Some(1), "{damaged:?}");
    assert!(text(&damaged.stderr).contains("are no entries"), "{damaged:?}");
    let export = headworks(&["spool", "export"], &spool);
    assert_eq!(exported(&export).len() as u64, EVENTS - 1);
    let mut after = BTreeMap::new();
    snapshot(&data, &mut after);
    assert!(before == after, "neither command writes");

    // What the commands say is what the gateway does: it starts, and has the rest.
    gateway.start_again().await;
    let accounts = gateway.accounts("events").await;
    assert_eq!(accounts.get("recovered"), EVENTS - 1);
    accounts.assert_balanced(0);
    gateway.kill();

    let nothing = headworks(&["spool", "check"], &gateway.path("data/store"));
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("holds no spool"), "{nothing:?}");
}

#[tokio::test]
async fn a_second_gateway_on_the_same_data_folder_is_refused_and_told_why() {
    let gateway = Gateway::start().await;
    let configuration = gateway.path("second.toml");
    std::fs::write(
        &configuration,
        format!(
            "data_dir = {:?}\n[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n",
            gateway.path("data")
        ),
    )
    .expect("the configuration is written");
    let second = Command::new(env!("CARGO_BIN_EXE_headworks"))
        .args(["serve", "--config"])
        .arg(&configuration)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(
        said.contains("runs on this folder") && said.contains("give each gateway a data_dir of its own"),
        "{said}"
    );
    // The first one goes on.
    gateway.put("/v1/partners/shop", json!({})).await;
}
