//! The children that compile plugins and check schemas: what they could do if their input took them over.

use std::{path::Path, thread};

use headworks::confined::probe::{self, Confinement};
use seccompiler::{SeccompAction, SeccompFilter, apply_filter};
use serde_json::json;

use crate::harness::gateway::Gateway;

const PROGRAM: &str = env!("CARGO_BIN_EXE_headworks");

const ATTEMPTS: [&str; 7] = [
    "open a file",
    "list a folder",
    "open a TCP socket",
    "open a UDP socket",
    "open a Unix socket",
    "signal its parent",
    "start a program",
];

async fn look() -> Confinement {
    probe::look(Path::new(PROGRAM)).await.expect("the child answers")
}

fn errnos(confinement: &Confinement) -> Vec<(&str, Option<i32>)> {
    let attempts = confinement.attempts.iter();
    attempts
        .map(|attempt| (attempt.what.as_str(), attempt.errno))
        .collect()
}

#[tokio::test]
async fn a_confined_child_opens_nothing_and_starts_nothing() {
    assert!(
        Path::new("/proc/sys/kernel/seccomp").exists(),
        "this test needs a kernel with seccomp"
    );
    let confinement = look().await;
    assert_eq!(confinement.unfiltered, None);
    assert_eq!(
        errnos(&confinement),
        ATTEMPTS.map(|what| (what, Some(libc::EPERM)))
    );
}

#[tokio::test]
async fn the_gateway_gives_memory_back_on_a_thread_of_its_own() {
    let gateway = Gateway::start().await;
    let tasks =
        std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).expect("the kernel tells of threads");
    let names: Vec<String> = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect();
    assert!(names.iter().any(|name| name == "jemalloc_bg_thd"), "{names:?}");
}

/// On a thread whose children can install no filter, as in a sandbox that refuses it.
fn where_no_filter_is_taken<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let tested = thread::spawn(move || {
        let arch = std::env::consts::ARCH.try_into().expect("a known processor");
        let filter = SeccompFilter::new(
            [(libc::SYS_seccomp, Vec::new())].into(),
            SeccompAction::Allow,
            SeccompAction::Errno(libc::EACCES.unsigned_abs()),
            arch,
        );
        let program: seccompiler::BpfProgram =
            filter.expect("one rule").try_into().expect("it is translated");
        apply_filter(&program).expect("this kernel takes filters");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(test());
    });
    tested.join().expect("the test passes");
}

#[test]
fn without_a_filter_the_limits_stand_and_the_doctor_says_so() {
    where_no_filter_is_taken(|| async {
        let confinement = look().await;
        let why = confinement.unfiltered.as_deref().expect("it is told");
        assert!(why.contains("Permission denied"), "{why}");
        // Nothing can be opened where there are no descriptors.
        let opens = |what: &str| what.starts_with("open") || what.starts_with("list");
        for (what, errno) in errnos(&confinement) {
            let expected = opens(what).then_some(libc::EMFILE);
            assert_eq!(errno, expected, "{what}");
        }

        let gateway = Gateway::start().await;
        for since in ["1", "2"] {
            gateway
                .put(&format!("/v1/schemas/a.b/{since}"), json!({"type": "object"}))
                .await;
        }
        gateway
            .push_plugin("hostile", crate::plugins::hostile_component().to_vec())
            .await;
        let log = gateway.log();
        let said = log.matches("the kernel takes no seccomp filter here").count();
        assert_eq!(said, 1, "once, however many children: {log}");

        let doctor = gateway.cli(&["doctor", "--config", "headworks.toml"]);
        let text = String::from_utf8_lossy(&doctor.stdout);
        assert!(
            text.contains("warning  confinement: the kernel takes no seccomp filter")
                && text.contains("could signal its parent, start a program"),
            "{text}"
        );
        assert_eq!(doctor.status.code(), Some(0), "{text}");
    });
}
