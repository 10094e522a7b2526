use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{FileDestination, folder::folder_name, output::Rotation};
use crate::{
    deliver::{
        Acknowledgement, Delivery, Destination, codec,
        tests::{eventually, record},
    },
    spool::{Budget, OpenError, Spool, SpoolOptions},
};

struct Place {
    directory: TempDir,
    rotation: Rotation,
    retention_days: Option<u32>,
}

impl Place {
    fn new(rotation: Rotation) -> Place {
        Place {
            directory: TempDir::new().expect("a temporary folder"),
            rotation,
            retention_days: None,
        }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    fn spool(&self) -> Result<Spool, OpenError> {
        let path = self.directory.path().join("spool");
        Spool::open(&path, SpoolOptions::default(), Budget::new(1 << 30))
    }

    async fn start(&self) -> FileDestination {
        let mut spool = None;
        // The last life's write may still hold the lock.
        eventually("the spool is free", || {
            spool = self.spool().ok();
            spool.is_some()
        })
        .await;
        let spool = spool.expect("just opened");
        FileDestination::start_with(
            "files".parse().expect("a name"),
            &self.root(),
            spool,
            self.rotation,
            self.retention_days,
        )
    }

    /// What stands in each file. A line that is being written is waited for.
    fn files(&self) -> BTreeMap<PathBuf, String> {
        let begun = Instant::now();
        loop {
            let mut files = BTreeMap::new();
            collect(&self.root(), &mut files);
            let is_whole = |content: &String| content.is_empty() || content.ends_with('\n');
            if files.values().all(is_whole) || begun.elapsed() > Duration::from_secs(10) {
                return files;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Every line below the root, in the order of the files' names, and the files' names.
    fn lines(&self) -> (Vec<String>, Vec<String>) {
        let files = self.files();
        let names = files
            .keys()
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        let lines = files.values().flat_map(|content| {
            assert!(
                content.is_empty() || content.ends_with('\n'),
                "a torn line: {content:?}"
            );
            content.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        (lines.collect(), names)
    }

    fn ids(&self) -> Vec<String> {
        let id = |line: &String| {
            let value: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            value["id"].as_str().expect("an id").to_owned()
        };
        self.lines().0.iter().map(id).collect()
    }
}

fn collect(directory: &Path, files: &mut BTreeMap<PathBuf, String>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else {
            if path.extension().is_some_and(|extension| extension == "tmp") {
                continue;
            }
            // Compressed and removed since the folder was read.
            let Ok(mut content) = fs::read(&path) else {
                continue;
            };
            if path.extension().is_some_and(|extension| extension == "zst") {
                content = zstd::decode_all(&*content).expect("zstd");
            }
            files.insert(path, String::from_utf8(content).expect("UTF-8"));
        }
    }
}

async fn send(destination: &FileDestination, topic: &str, ids: impl Iterator<Item = String>) {
    let acknowledgement = Acknowledgement::new(1);
    for id in ids {
        destination.send(record(topic, &id, "{\"n\": 1}"), acknowledgement.ticket(0));
    }
    assert_eq!(acknowledgement.wait().await, [Delivery::Durable]);
}

fn numbered(numbers: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    numbers.map(|number| format!("{number:06}"))
}

async fn stop(destination: &FileDestination) {
    destination
        .shutdown(Instant::now() + Duration::from_secs(30))
        .await;
}

#[tokio::test]
async fn records_stand_in_order_under_topic_and_day_of_receipt() {
    let place = Place::new(Rotation::default());
    let destination = place.start().await;
    let begun = Instant::now();
    send(&destination, "orders/../x", numbered(0..300)).await;
    eventually("all lines are there", || place.ids().len() == 300).await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "people wait to see their records"
    );
    stop(&destination).await;
    assert_eq!(place.ids(), numbered(0..300).collect::<Vec<_>>());
    let (_, names) = place.lines();
    assert_eq!(names.len(), 1);
    let day = place.root().join("orders%2F..%2Fx").join("2026-03-04");
    assert_eq!(Path::new(&names[0]).parent(), Some(&*day));
    assert!(
        names[0].ends_with(".ndjson"),
        "an open file stays plain over a stop"
    );
    assert_eq!(destination.pending().entries, 0);
    assert_eq!(destination.counts().delivered, 300);
}

#[tokio::test]
async fn a_restart_goes_on_in_the_same_file() {
    let place = Place::new(Rotation::default());
    for life in 0..3 {
        let destination = place.start().await;
        send(&destination, "orders", numbered(life * 10..life * 10 + 10)).await;
        stop(&destination).await;
    }
    assert_eq!(place.ids(), numbered(0..30).collect::<Vec<_>>());
    assert_eq!(place.lines().1.len(), 1);
}

#[tokio::test]
async fn what_was_written_after_the_last_commit_is_cut_off_and_written_once() {
    let place = Place::new(Rotation::default());
    let destination = place.start().await;
    send(&destination, "orders", numbered(0..10)).await;
    stop(&destination).await;
    drop(destination);
    // As a crash leaves it: more in the file than was committed, the last line torn; and a record in the spool.
    let (_, names) = place.lines();
    let mut content = fs::read(&names[0]).expect("the file");
    content.extend_from_slice(b"{\"id\":\"000010\"}\n{\"id\":\"0000");
    fs::write(&names[0], content).expect("written");
    {
        let spool = place.spool().expect("a spool");
        for id in numbered(10..12) {
            spool.append(
                &"shop".into(),
                codec::encode(&record("orders", &id, "{}")),
                |done| {
                    done.expect("appended");
                },
            );
        }
        spool.close().await;
    }
    let destination = place.start().await;
    eventually("drained", || destination.pending().entries == 0).await;
    stop(&destination).await;
    assert_eq!(place.ids(), numbered(0..12).collect::<Vec<_>>());
}

#[tokio::test]
async fn full_files_are_compressed_and_nothing_is_lost_or_doubled() {
    let place = Place::new(Rotation {
        file_bytes: 4096,
        ..Rotation::default()
    });
    let destination = place.start().await;
    send(&destination, "orders", numbered(0..100)).await;
    eventually("all but the open file are compressed", || {
        let (_, names) = place.lines();
        names.len() > 5 && names.iter().filter(|name| !name.ends_with(".ndjson.zst")).count() == 1
    })
    .await;
    stop(&destination).await;
    assert_eq!(place.ids(), numbered(0..100).collect::<Vec<_>>());
    drop(destination);
    let destination = place.start().await;
    send(&destination, "orders", numbered(100..101)).await;
    stop(&destination).await;
    assert_eq!(place.ids(), numbered(0..101).collect::<Vec<_>>());
}

#[tokio::test]
async fn idle_files_of_past_days_are_compressed() {
    let place = Place::new(Rotation {
        idle_past: Duration::ZERO,
        ..Rotation::default()
    });
    let destination = place.start().await;
    send(&destination, "orders", numbered(0..3)).await;
    let compressed = || {
        place
            .lines()
            .1
            .iter()
            .filter(|name| name.ends_with(".zst"))
            .count()
    };
    eventually("compressed", || compressed() == 1 && place.lines().1.len() == 1).await;
    send(&destination, "orders", numbered(3..6)).await;
    eventually("compressed again", || {
        compressed() == 2 && place.lines().1.len() == 2
    })
    .await;
    stop(&destination).await;
    assert_eq!(place.ids(), numbered(0..6).collect::<Vec<_>>());
}

#[tokio::test]
async fn open_files_are_bounded() {
    let place = Place::new(Rotation {
        open_files: 2,
        ..Rotation::default()
    });
    let destination = place.start().await;
    for topic in ["a", "b", "c", "d"] {
        send(&destination, topic, numbered(0..1)).await;
        eventually("written", || destination.pending().entries == 0).await;
    }
    eventually("two are left open", || {
        place
            .lines()
            .1
            .iter()
            .filter(|name| name.ends_with(".ndjson"))
            .count()
            == 2
    })
    .await;
    stop(&destination).await;
    assert_eq!(place.ids().len(), 4);
}

#[tokio::test]
async fn a_root_that_cannot_be_written_holds_records_in_the_spool_until_it_can() {
    let place = Place::new(Rotation::default());
    fs::write(place.root(), "in the way").expect("a file");
    let destination = place.start().await;
    send(&destination, "orders", numbered(0..5)).await;
    eventually("trouble is seen", || {
        destination.state() == super::DestinationState::Spooling
    })
    .await;
    assert_eq!(destination.pending().entries, 5);
    fs::remove_file(place.root()).expect("removed");
    eventually("drained", || destination.pending().entries == 0).await;
    stop(&destination).await;
    assert_eq!(place.ids(), numbered(0..5).collect::<Vec<_>>());
}

#[tokio::test]
async fn after_the_shutdown_a_record_has_no_place() {
    let place = Place::new(Rotation::default());
    let destination = place.start().await;
    stop(&destination).await;
    let acknowledgement = Acknowledgement::new(1);
    destination.send(record("orders", "1", "{}"), acknowledgement.ticket(0));
    assert!(matches!(
        &acknowledgement.wait().await[..],
        [Delivery::NoPlace { .. }]
    ));
}

#[tokio::test]
async fn the_latest_file_of_a_topic_has_a_link_that_follows_it() {
    let place = Place::new(Rotation {
        file_bytes: 4096,
        idle_past: Duration::ZERO,
        ..Rotation::default()
    });
    let link = place.root().join("orders/latest");
    let destination = place.start().await;
    send(&destination, "orders", numbered(0..30)).await;
    eventually("drained", || destination.pending().entries == 0).await;
    let target = fs::read_link(&link).expect("a link");
    assert!(
        target.is_relative() && target.starts_with("2026-03-04"),
        "{target:?}"
    );
    // All of that day is over: the last file is compressed, and the link leads to what is there.
    eventually("the link leads to the compressed file", || {
        fs::read_link(&link).is_ok_and(|target| target.to_string_lossy().ends_with(".ndjson.zst"))
            && fs::metadata(&link).is_ok()
    })
    .await;
    send(&destination, "orders", numbered(30..31)).await;
    eventually("the link leads on", || {
        fs::read_link(&link).is_ok_and(|newer| newer != target)
    })
    .await;
    stop(&destination).await;
    assert_eq!(place.ids(), numbered(0..31).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_is_closed_after_its_time() {
    let place = Place::new(Rotation {
        age: Duration::from_millis(1),
        ..Rotation::default()
    });
    let destination = place.start().await;
    for round in 0..2 {
        send(&destination, "orders", numbered(round..round + 1)).await;
        eventually("the file is closed", || {
            let (_, names) = place.lines();
            names.len() == round + 1 && names.iter().all(|name| name.ends_with(".zst"))
        })
        .await;
    }
    stop(&destination).await;
}

#[tokio::test]
async fn only_closed_files_of_ours_are_removed_once_they_are_old() {
    let mut place = Place::new(Rotation::default());
    let destination = place.start().await;
    send(&destination, "orders", numbered(0..3)).await;
    eventually("drained", || destination.pending().entries == 0).await;
    stop(&destination).await;
    drop(destination);
    let old = place.root().join("orders/2020-01-01");
    let mixed = place.root().join("orders/2020-01-02");
    for day in [&old, &mixed] {
        fs::create_dir_all(day).expect("a folder");
        fs::write(day.join("0123456789abcdef-000000000001.ndjson.zst"), "").expect("a file");
    }
    fs::write(mixed.join("notes.txt"), "").expect("a file");
    let elsewhere = place.directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    fs::write(elsewhere.join("0123456789abcdef-000000000001.ndjson.zst"), "").expect("a file");
    std::os::unix::fs::symlink(&elsewhere, place.root().join("orders/2020-01-03")).expect("a link");
    place.retention_days = Some(7);
    let destination = place.start().await;
    eventually("what is old is removed", || !old.exists()).await;
    eventually("of a mixed folder only what is ours", || {
        fs::read_dir(&mixed).is_ok_and(|entries| entries.count() == 1)
    })
    .await;
    assert!(mixed.join("notes.txt").exists());
    assert_eq!(
        fs::read_dir(&elsewhere).expect("it is there").count(),
        1,
        "a link leads nowhere"
    );
    // The open file is of a day that is over too, and is written on.
    assert_eq!(place.ids().len(), 3);
    stop(&destination).await;
}

proptest! {
    #[test]
    fn a_topic_never_leaves_the_folder(one in "\\PC*|[./\\\\%~\0]{0,4}|[.a]{250,400}", other in "\\PC*|[./]{0,3}") {
        let name = folder_name(&one);
        prop_assert!(!name.is_empty() && name.len() <= 200 && !name.starts_with('.'));
        prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-%~".contains(&byte)));
        prop_assert_eq!(one == other, name == folder_name(&other));
    }
}
