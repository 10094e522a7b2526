//! Disks that fail under a running gateway: full, failing in a sync, and gone in the middle of a system call.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::harness::{
    gateway::{Gateway, Options, eventually},
    kafka::Broker,
    long,
};

/// Once there is room again, events must be accepted within this time.
const RECOVERY_MAX: Duration = Duration::from_secs(5);

/// Runs the program with a file system of its own, of 16 MiB, in the place of its data folder.
const ON_A_SMALL_DISK: [&str; 6] = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"];
const MOUNT: &str = "mkdir -p data && mount -t tmpfs -o size=16m none data && exec \"$0\" \"$@\"";

/// Issues ids, and keeps what was answered.
#[derive(Default)]
pub struct Oracle {
    next: AtomicU64,
    owed: Mutex<HashSet<u64>>,
    refused: AtomicU64,
    pub stop: AtomicBool,
}

impl Oracle {
    pub fn owed(&self) -> HashSet<u64> {
        self.owed.lock().expect("no sender panics").clone()
    }

    pub fn accepted(&self) -> usize {
        self.owed.lock().expect("no sender panics").len()
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }
}

/// Sends until it is told to stop, or the connection breaks where `dies` says that it may. A 503 must say when to come
/// again; every other answer is a fault.
pub fn send(
    gateway: &Gateway,
    key: &str,
    oracle: &Arc<Oracle>,
    padding: usize,
    dies: bool,
) -> JoinHandle<()> {
    let (oracle, key) = (Arc::clone(oracle), key.to_owned());
    let url = format!("http://{}/v1/events/fault.test", gateway.data_address());
    let client = crate::harness::client();
    tokio::spawn(async move {
        while !oracle.stop.load(Ordering::SeqCst) {
            let id = oracle.next.fetch_add(1, Ordering::SeqCst);
            let data = json!({"number": id, "padding": "x".repeat(padding)});
            let request = client
                .post(&url)
                .bearer_auth(&key)
                .header("ce-id", id.to_string())
                .json(&data);
            match request.send().await {
                Ok(answer) if answer.status() == 202 => {
                    oracle.owed.lock().expect("no sender panics").insert(id);
                }
                Ok(answer) if answer.status() == 503 => {
                    assert!(answer.headers().contains_key("retry-after"));
                    oracle.refused.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(answer) => panic!("{}: {:?}", answer.status(), answer.text().await),
                Err(error) => {
                    assert!(dies, "{error:?}");
                    return;
                }
            }
        }
    })
}

pub async fn set_up(gateway: &mut Gateway, to: Value) -> String {
    let key = gateway.partner("faults", json!({})).await;
    gateway
        .put("/v1/schemas/fault.test/1", json!({"type": "object"}))
        .await;
    gateway
        .put(
            "/v1/routes/faults",
            json!({"match": {"type": "fault.*"}, "to": to}),
        )
        .await;
    key
}

pub fn numbers(records: impl IntoIterator<Item = Value>) -> HashSet<u64> {
    records
        .into_iter()
        .map(|data| data["number"].as_u64().expect("a number"))
        .collect()
}

/// What the node says of its durable place, once readiness as a whole is `wanted`.
async fn durable_place(gateway: &Gateway, wanted: bool) -> Value {
    let url = format!("{}/readyz", gateway.admin_url());
    eventually("readiness follows the disk", async || {
        let answer = reqwest::get(&url).await.expect("the admin port answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("an answer is text");
        let readiness: Value = serde_json::from_str(&text).expect("readiness is JSON");
        assert_eq!(readiness["ready"], status == 200, "{status}: {readiness}");
        let checks = readiness["checks"].as_array().expect("it lists what it hangs on");
        let place = checks.iter().find(|check| check["name"] == "durable-place");
        let place = place.expect("the durable place is one of them").clone();
        // Nothing else is amiss: a destination that is down is no reason.
        let others = checks.iter().filter(|check| check["name"] != "durable-place");
        for check in others {
            assert_eq!(check["ok"], true, "{readiness}");
        }
        (readiness["ready"] == wanted).then_some(place)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_goes_on_draining_and_recovers() {
    let broker = Arc::new(spawn_blocking(Broker::start).await.expect("started"));
    broker.create_topic("full", 1).await;
    let mut wrapper: Vec<String> = ON_A_SMALL_DISK.map(str::to_owned).to_vec();
    wrapper.push(MOUNT.to_owned());
    let store = tempfile::tempdir().expect("a folder");
    // Ten times what the disk holds: it is the disk that is full, and not the spool.
    let configuration = format!(
        "[spool]\nmax_bytes = \"160MiB\"\n[store]\nurl = \"file:{}\"\n",
        store.path().display()
    );
    let mut gateway = Gateway::start_with(Options {
        configuration,
        kafka: Some(broker.bootstrap().to_owned()),
        wrapper,
        ..Options::default()
    })
    .await;
    let to = json!([{"destination": "events", "topic": "full", "key": "/number"}]);
    let key = set_up(&mut gateway, to).await;
    let rounds = if long() { 5 } else { 1 };
    let oracle = Arc::new(Oracle::default());
    assert_eq!(durable_place(&gateway, true).await["ok"], true);
    for _ in 0..rounds {
        let killed = Arc::clone(&broker);
        spawn_blocking(move || killed.kill()).await.expect("killed");
        let refused = oracle.refused();
        let senders: Vec<_> = (0..4)
            .map(|_| send(&gateway, &key, &oracle, 60_000, false))
            .collect();
        eventually("the disk is full", async || {
            assert_eq!(gateway.exited(), None, "{}", gateway.log());
            (oracle.refused() > refused + 20).then_some(())
        })
        .await;
        gateway.accounts("events").await.assert_balanced(4);
        let waiting = gateway.accounts("events").await.get("waiting");
        assert!(waiting > 100, "{waiting} records fit on the disk");
        let place = durable_place(&gateway, false).await;
        let detail = place["detail"].as_str().expect("the reason is named");
        assert!(detail.starts_with("the disk of data_dir has "), "{place}");
        let restarted = Arc::clone(&broker);
        spawn_blocking(move || restarted.restart())
            .await
            .expect("restarted");
        eventually("it drains", async || {
            (gateway.accounts("events").await.get("waiting") < waiting / 2).then_some(())
        })
        .await;
        let (room, accepted) = (Instant::now(), oracle.accepted());
        eventually("events are accepted again", async || {
            (oracle.accepted() > accepted + 20).then_some(())
        })
        .await;
        let recovery = room.elapsed();
        assert!(recovery < RECOVERY_MAX, "{recovery:?}");
        durable_place(&gateway, true).await;
        println!("accepted again {recovery:?} after there was room, {waiting} records on 16 MiB");
        oracle.stop.store(true, Ordering::SeqCst);
        for sender in senders {
            sender.await.expect("only answers of the contract");
        }
        oracle.stop.store(false, Ordering::SeqCst);
        eventually("all is delivered", async || {
            (gateway.accounts("events").await.get("waiting") == 0).then_some(())
        })
        .await;
    }
    assert_eq!(gateway.exited(), None);
    let messages = broker.consume_all("full").await;
    let found = numbers(
        messages
            .iter()
            .map(|message| serde_json::from_slice(&message.value).expect("JSON")),
    );
    let lost: Vec<u64> = oracle.owed().difference(&found).copied().collect();
    assert!(lost.is_empty(), "{lost:?}");
}

/// Runs a program with faults in its system calls. Each thread counts its own calls.
fn strace<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let always = ["strace", "-f", "-D", "-qq", "-o", "/dev/null"];
    always.iter().chain(arguments).copied().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_sync_costs_an_answer_and_never_an_event() {
    let mut gateway = Gateway::start().await;
    let to = json!([{"destination": "files", "topic": "syncs"}]);
    let key = set_up(&mut gateway, to).await;
    let oracle = Arc::new(Oracle::default());
    // Of spool, cursor and output file: each nth sync fails, from another one on each time.
    let starts = if long() { 40 } else { 4 };
    for start in 0..starts {
        gateway.kill();
        let inject = format!(
            "inject=fsync,fdatasync:error=EIO:when={}+{}",
            8 + start * 3,
            23 + start
        );
        gateway.wrap(&strace(&["-e", "trace=fsync,fdatasync", "-e", &inject]));
        // A sync of the start may be one of them: then it must end, and say so, rather than run on sand.
        if gateway.try_start_again().await.is_some() {
            continue;
        }
        let (before, refused) = (oracle.accepted(), oracle.refused());
        let senders: Vec<_> = (0..3).map(|_| send(&gateway, &key, &oracle, 200, true)).collect();
        eventually("syncs fail, and others succeed", async || {
            assert_eq!(gateway.exited(), None, "{}", gateway.log());
            (oracle.accepted() > before + 60 && oracle.refused() > refused).then_some(())
        })
        .await;
        oracle.stop.store(true, Ordering::SeqCst);
        for sender in senders {
            sender.await.expect("only answers of the contract");
        }
        oracle.stop.store(false, Ordering::SeqCst);
    }
    gateway.kill();
    gateway.wrap(&[]);
    gateway.start_again().await;
    assert_all_in_files(&gateway, &oracle, "syncs", 60).await;
}

/// The cursor says what the files hold; it is written, and its sync fails. A crash may leave it or the one before it:
/// the files must never be cut to less than either says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_may_or_may_not_be_durable_is_never_gone_behind() {
    let mut gateway = Gateway::start().await;
    let to = json!([{"destination": "files", "topic": "notes"}]);
    let key = set_up(&mut gateway, to).await;
    let oracle = Arc::new(Oracle::default());
    let sent_since = async |gateway: &Gateway, count: usize, dies: bool| {
        let before = oracle.accepted();
        let senders: Vec<_> = (0..2).map(|_| send(gateway, &key, &oracle, 200, dies)).collect();
        eventually("events are accepted", async || {
            (oracle.accepted() > before + count).then_some(())
        })
        .await;
        senders
    };
    let stop = async |senders: Vec<JoinHandle<()>>| {
        oracle.stop.store(true, Ordering::SeqCst);
        for sender in senders {
            sender.await.expect("only answers of the contract");
        }
        oracle.stop.store(false, Ordering::SeqCst);
    };
    let senders = sent_since(&gateway, 20, false).await;
    stop(senders).await;
    assert_all_in_files(&gateway, &oracle, "notes", 20).await;
    let file = std::fs::canonicalize(gateway.path("out/notes/latest")).expect("the newest file");
    let cursor = gateway.path("data/spool/destinations/files/cursor");
    let failed = |gateway: &Gateway| gateway.log().matches("the spool's cursor failed").count();
    for round in 0..if long() { 20 } else { 2 } {
        gateway.kill();
        // The first sync of each thread fails, which is that of the cursor; and whatever cuts the file takes so long
        // that the kill comes before anything is written to it again.
        let (cursor, path) = (cursor.display().to_string(), file.display().to_string());
        let (fail, delay) = (
            "inject=fdatasync:error=EIO:when=1",
            "inject=ftruncate:delay_exit=4000000",
        );
        let trace = ["-e", "trace=fdatasync,ftruncate", "-e", fail, "-e", delay];
        gateway.wrap(&strace(&[&["-P", &cursor, "-P", &path], &trace[..]].concat()));
        let before = failed(&gateway);
        gateway.start_again().await;
        let senders = sent_since(&gateway, 20, true).await;
        eventually("the cursor's sync fails", async || {
            (failed(&gateway) > before).then_some(())
        })
        .await;
        let length = || std::fs::metadata(&file).expect("the file").len();
        let (least, written) = (length(), gateway.records("notes").len());
        eventually("the file is cut, or takes more", async || {
            (length() < least || gateway.records("notes").len() > written + round).then_some(())
        })
        .await;
        gateway.kill();
        stop(senders).await;
    }
    gateway.wrap(&[]);
    gateway.start_again().await;
    assert_all_in_files(&gateway, &oracle, "notes", 60).await;
}

/// The process dies inside a system call that changes the disk: each time at another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_in_any_system_call_loses_nothing() {
    let mut gateway = Gateway::start().await;
    let to = json!([{"destination": "files", "topic": "points"}]);
    let key = set_up(&mut gateway, to).await;
    let oracle = Arc::new(Oracle::default());
    let calls = [
        "fdatasync",
        "fsync",
        "pwrite64",
        "rename,renameat2",
        "unlink,unlinkat",
        "ftruncate,openat",
    ];
    let kills = if long() { 200 } else { 12 };
    let mut died = 0;
    for kill in 0..kills {
        gateway.kill();
        let call = calls[kill % calls.len()];
        let nth = 2 + (kill / calls.len()) * 7 % 60;
        let (trace, inject) = (
            format!("trace={call}"),
            format!("inject={call}:signal=KILL:when={nth}"),
        );
        gateway.wrap(&strace(&["-e", &trace, "-e", &inject]));
        if gateway.try_start_again().await.is_some() {
            died += 1;
        } else {
            let before = oracle.accepted();
            let senders: Vec<_> = (0..3).map(|_| send(&gateway, &key, &oracle, 300, true)).collect();
            eventually("it dies, or goes on for long", async || {
                let ended = gateway.exited().is_some();
                died += usize::from(ended);
                (ended || oracle.accepted() > before + 200).then_some(())
            })
            .await;
            gateway.kill();
            for sender in senders {
                sender.await.expect("only answers of the contract");
            }
        }
    }
    assert!(died * 3 > kills, "{died} of {kills} died at their point");
    gateway.wrap(&[]);
    gateway.start_again().await;
    assert_all_in_files(&gateway, &oracle, "points", 60).await;
    println!(
        "{} acknowledged, {died} deaths inside a system call, none lost",
        oracle.accepted()
    );
}

pub async fn assert_all_in_files(gateway: &Gateway, oracle: &Oracle, topic: &str, least: usize) {
    let owed = oracle.owed();
    assert!(owed.len() >= least, "{} events", owed.len());
    let begun = Instant::now();
    eventually("every acknowledged event is in the files", async || {
        let records = gateway.records(topic);
        let found = numbers(records.into_iter().map(|mut line| line["data"].take()));
        let missing: Vec<_> = owed.difference(&found).collect();
        // Nothing waits, and something is missing: that is no matter of patience.
        let settled = gateway.accounts("files").await.get("waiting") == 0 && begun.elapsed().as_secs() > 10;
        assert!(missing.is_empty() || !settled, "lost: {missing:?}");
        missing.is_empty().then_some(())
    })
    .await;
    let accounts = gateway.accounts("files").await;
    accounts.assert_balanced(0);
}
