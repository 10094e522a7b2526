//! How often a compatibility check has an answer, and how long it takes, over schemas with several versions: those of
//! this repository, and those of folders given as arguments.
//!
//!     cargo bench --profile measure --bench compatibility -- [FOLDER …]
//!     make bench-compatibility ARGS=~/iglu-central/schemas
//!
//! In a folder, schemas that stand beside each other are versions of one: `5.10.0.json`, or Iglu's `1-0-2`. What does not
//! compile, as registration would find, is counted and left out.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use headworks::{
    event::AppVersion,
    validate::{
        Texts, check_schema,
        compatibility::{Source, Verdict, compare},
    },
};
use serde_json::Value;

const SCHEMA_BYTES_MAX: usize = 16 << 20;
const TIME: Duration = Duration::from_secs(7);

fn main() {
    let folders: Vec<PathBuf> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .map(PathBuf::from)
        .collect();
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let explain = std::env::var_os("EXPLAIN").is_some();
    for folder in std::iter::once(own).chain(folders) {
        // The proof descends with the schemas.
        let thread = std::thread::Builder::new().stack_size(128 << 20);
        let measuring = thread
            .spawn(move || measure(&folder, explain))
            .expect("a thread starts");
        measuring.join().expect("the comparisons end");
    }
}

#[derive(Default)]
struct Measured {
    verdicts: BTreeMap<&'static str, usize>,
    times: Vec<Duration>,
    unusable: usize,
}

fn measure(folder: &Path, explain: bool) {
    let mut measured = Measured::default();
    let mut versions: BTreeMap<PathBuf, Vec<(AppVersion, Arc<Value>)>> = BTreeMap::new();
    collect(folder, &mut versions, &mut measured);
    for (place, mut schemas) in versions {
        schemas.sort_by(|one, two| one.0.cmp(&two.0));
        for (old, new) in schemas.iter().zip(schemas.iter().skip(1)) {
            let source = |root: &Arc<Value>| Source {
                root: Arc::clone(root),
                library: Arc::default(),
            };
            let started = Instant::now();
            let report = compare(&source(&old.1), &source(&new.1), &[], TIME);
            measured.times.push(started.elapsed());
            if explain && started.elapsed() > Duration::from_secs(1) {
                println!("{} {:?} took {:?}", place.display(), new.0, started.elapsed());
            }
            for (direction, answer) in [("backward", report.backward), ("forward", report.forward)] {
                let verdict = match answer.verdict {
                    Verdict::Yes => "yes",
                    Verdict::No => "no",
                    Verdict::Unknown => "unknown",
                };
                *measured.verdicts.entry(verdict).or_default() += 1;
                if let (true, Some(why)) = (explain, answer.undecided) {
                    println!("{} {:?} {direction}: {why}", place.display(), new.0);
                }
            }
        }
    }
    report(folder, measured);
}

fn report(folder: &Path, mut measured: Measured) {
    let all: usize = measured.verdicts.values().sum();
    if all == 0 {
        println!("{}: no schema has several versions", folder.display());
        return;
    }
    measured.times.sort_unstable();
    let share = |verdict: &str| measured.verdicts.get(verdict).copied().unwrap_or(0);
    let at = |part: usize| measured.times[(measured.times.len() * part / 100).min(measured.times.len() - 1)];
    println!(
        "{}: {} pairs, {all} verdicts: {} yes, {} no, {} unknown ({:.1} %); a pair takes {:.1} ms (median), {:.1} ms \
         (p99), {:.1} ms (longest); {} schemas left out",
        folder.display(),
        measured.times.len(),
        share("yes"),
        share("no"),
        share("unknown"),
        share("unknown") as f64 * 100.0 / all as f64,
        at(50).as_secs_f64() * 1000.0,
        at(99).as_secs_f64() * 1000.0,
        at(100).as_secs_f64() * 1000.0,
        measured.unusable,
    );
}

fn collect(
    folder: &Path,
    versions: &mut BTreeMap<PathBuf, Vec<(AppVersion, Arc<Value>)>>,
    measured: &mut Measured,
) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        println!("{} cannot be read", folder.display());
        return;
    };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "samples") {
                collect(&path, versions, measured);
            }
            continue;
        }
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let name = name.strip_suffix(".json").unwrap_or(name).replace('-', ".");
        let Some(version) = AppVersion::parse(&name) else {
            continue;
        };
        match read(&path) {
            Some(schema) => versions
                .entry(folder.to_owned())
                .or_default()
                .push((version, Arc::new(schema))),
            None => measured.unusable += 1,
        }
    }
}

/// A schema as it could be registered. Iglu's own `$schema` is draft 4's with `self` beside it.
fn read(path: &Path) -> Option<Value> {
    let mut schema: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    if let Value::Object(members) = &mut schema
        && members.remove("self").is_some()
    {
        members.insert(
            "$schema".to_owned(),
            "http://json-schema.org/draft-04/schema#".into(),
        );
    }
    check_schema(&schema.to_string(), &Texts::default(), SCHEMA_BYTES_MAX).ok()?;
    Some(schema)
}
