//! The wall clock jumps, by hours and by years, forwards and backwards, while events come in.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, atomic::Ordering},
};

use serde_json::{Value, json};

use crate::{
    faults::{Oracle, assert_all_in_files, numbers, send, set_up},
    harness::{
        gateway::{Gateway, Options, eventually},
        kafka, long,
    },
};

/// Adds the seconds that stand in a file to what a program reads of the wall clock. The steady clock stays.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
static int (*real)(clockid_t, struct timespec *);
static volatile int64_t *offset_s;
__attribute__((constructor)) static void begin(void) {
    real = dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("CLOCK_OFFSET_FILE");
    int file = path ? open(path, O_RDONLY) : -1;
    void *map = file >= 0 ? mmap(0, 8, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
    if (map != MAP_FAILED) offset_s = map;
}
int clock_gettime(clockid_t id, struct timespec *time) {
    if (!real) begin();
    int result = real(id, time);
    if (result == 0 && id == CLOCK_REALTIME && offset_s) time->tv_sec += *offset_s;
    return result;
}
"#;

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;
const YEAR_S: i64 = 365 * DAY_S;

/// The clock of a program that is started with its wrapper.
struct Clock {
    folder: tempfile::TempDir,
}

impl Clock {
    fn new() -> Clock {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, shim) = (folder.path().join("clock.c"), folder.path().join("clock.so"));
        std::fs::write(&source, SHIM).expect("the source is written");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&shim)
            .arg(&source)
            .output()
            .expect("a C compiler runs: the gateway's own dependencies need one");
        assert!(built.status.success(), "{built:?}");
        let clock = Clock { folder };
        clock.set(0);
        clock
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// From now on the program's clock differs by so much from the machine's.
    fn set(&self, offset_s: i64) {
        use std::io::Write as _;
        // Written over in place: the program has mapped this file.
        let mut file = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.file())
            .expect("the file");
        file.write_all(&offset_s.to_le_bytes()).expect("it is written");
    }

    fn wrapper(&self) -> Vec<String> {
        let shown = |path: &Path| path.display().to_string();
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", shown(&self.folder.path().join("clock.so"))),
            format!("CLOCK_OFFSET_FILE={}", shown(&self.file())),
        ]
    }
}

async fn status_of(gateway: &Gateway, id: &str) -> Value {
    let request = gateway
        .send("POST", "/v1/events/fault.test", "faults")
        .header("ce-id", id)
        .json(&json!({"number": 1_000_000_000}));
    let answer: Value = request
        .send()
        .await
        .expect("answered")
        .json()
        .await
        .expect("JSON");
    answer["status"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_loses_nothing_and_fails_no_request() {
    let broker = kafka::shared();
    let topic = format!("clock-{}", uuid::Uuid::now_v7());
    broker.create_topic(&topic, 1).await;
    let clock = Clock::new();
    let mut gateway = Gateway::start_with(Options {
        kafka: Some(broker.bootstrap().to_owned()),
        wrapper: clock.wrapper(),
        ..Options::default()
    })
    .await;
    let to = json!([{"destination": "files", "topic": "clock"}, {"destination": "events", "topic": topic}]);
    let key = set_up(&mut gateway, to).await;
    assert_eq!(status_of(&gateway, "once").await, "accepted");
    let oracle = Arc::new(Oracle::default());
    let jumps = [DAY_S, -2 * DAY_S, 20 * YEAR_S, -5 * YEAR_S, HOUR_S, 0];
    let rounds = if long() { 10 } else { 1 };
    let senders: Vec<_> = (0..3)
        .map(|_| send(&gateway, &key, &oracle, 200, false))
        .collect();
    for jump in jumps.into_iter().cycle().take(jumps.len() * rounds) {
        clock.set(jump);
        let before = oracle.accepted();
        eventually("events go on to be accepted", async || {
            assert_eq!(gateway.exited(), None, "{}", gateway.log());
            (oracle.accepted() > before + 40).then_some(())
        })
        .await;
        assert_eq!(
            status_of(&gateway, "once").await,
            "duplicate",
            "after a jump by {jump} s"
        );
        for destination in ["files", "events"] {
            gateway.accounts(destination).await.assert_balanced(4);
        }
    }
    oracle.stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.await.expect("only answers of the contract");
    }
    oracle.stop.store(false, Ordering::SeqCst);
    assert_eq!(oracle.refused(), 0);

    // It dies in one year and comes up in another one.
    clock.set(3 * YEAR_S);
    let senders: Vec<_> = (0..3).map(|_| send(&gateway, &key, &oracle, 200, true)).collect();
    let before = oracle.accepted();
    eventually("events are accepted", async || {
        (oracle.accepted() > before + 40).then_some(())
    })
    .await;
    gateway.kill();
    for sender in senders {
        sender.await.expect("only answers of the contract");
    }
    clock.set(-3 * YEAR_S);
    gateway.start_again().await;
    assert_all_in_files(&gateway, &oracle, "clock", 240).await;
    let messages = broker.consume_all(&topic).await;
    let values = messages
        .iter()
        .map(|message| serde_json::from_slice(&message.value).expect("JSON"));
    let found = numbers(values);
    let lost: Vec<u64> = oracle.owed().difference(&found).copied().collect();
    assert!(lost.is_empty(), "{lost:?}");
    println!(
        "{} acknowledged over {} jumps, none lost",
        oracle.accepted(),
        jumps.len() * rounds + 2
    );
}
