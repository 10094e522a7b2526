//! The sample company's folder: schemas, samples, partners, routes, and the traffic that the generator makes.

#![expect(
    clippy::unwrap_used,
    reason = "a file of the repository that cannot be read fails the test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use headworks::{
    event::{AppVersion, EventType, PartnerName, RouteName},
    registry::model::{Partner, Route, TypeEntry},
};
use jsonschema::Validator;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

#[path = "../../examples/traffic/mix.rs"]
mod mix;

use mix::{Mix, PARTNERS};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    pointer: String,
    keyword: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    appversion: Option<String>,
    #[serde(default)]
    expect: Vec<Fault>,
    data: Value,
}

struct Version {
    since: String,
    order: AppVersion,
    draft: String,
    validator: Validator,
}

/// Every schema under `schemas/`, by type and in the order of versions.
struct Schemas(BTreeMap<String, Vec<Version>>);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands in a folder, sorted.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    entries
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(OsStr::to_str).unwrap()
}

fn read_json<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every `FOLDER/NAME.toml`, by name.
fn read_toml<T: DeserializeOwned>(folder: &str) -> BTreeMap<String, T> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let value = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (stem(&path).to_owned(), value)
    };
    entries(&root().join(folder)).into_iter().map(read).collect()
}

impl Schemas {
    fn load() -> Schemas {
        let mut schemas = BTreeMap::new();
        for folder in entries(&root().join("schemas"))
            .iter()
            .filter(|path| path.is_dir())
        {
            let event_type = folder.file_name().and_then(OsStr::to_str).unwrap();
            let mut versions: Vec<Version> = entries(folder)
                .iter()
                .filter(|path| path.is_file() && !stem(path).ends_with(".upgrade"))
                .map(|path| Version::load(path))
                .collect();
            versions.sort_by(|one, other| one.order.cmp(&other.order));
            schemas.insert(event_type.to_owned(), versions);
        }
        Schemas(schemas)
    }

    /// The one with the highest `since` that is not above the version; without a version, the latest.
    fn resolve(&self, event_type: &str, app_version: Option<&str>) -> &Version {
        let known = &self.0[event_type];
        let wanted = app_version.map(|version| AppVersion::parse(version).unwrap());
        known
            .iter()
            .rfind(|version| wanted.as_ref().is_none_or(|wanted| version.order <= *wanted))
            .unwrap_or_else(|| panic!("{event_type} has no schema for {app_version:?}"))
    }
}

impl Version {
    fn load(path: &Path) -> Version {
        let schema: Value = read_json(path);
        let since = stem(path).to_owned();
        Version {
            order: AppVersion::parse(&since).unwrap(),
            since,
            draft: schema["$schema"].as_str().unwrap().to_owned(),
            validator: jsonschema::options()
                .offline()
                .should_validate_formats(true)
                .should_ignore_unknown_formats(false)
                .build(&schema)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        }
    }

    fn faults(&self, data: &Value) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self
            .validator
            .iter_errors(data)
            .map(|error| Fault {
                pointer: error.instance_path().as_str().to_owned(),
                keyword: error.kind().keyword().to_owned(),
            })
            .collect();
        faults.sort();
        faults
    }
}

#[test]
fn samples_are_what_they_say() {
    let schemas = Schemas::load();
    let mut wrong = Vec::new();
    for (event_type, versions) in &schemas.0 {
        for version in versions {
            let folder = root()
                .join("schemas")
                .join(event_type)
                .join("samples")
                .join(&version.since);
            let (mut valid, mut broken) = (0, 0);
            for path in entries(&folder) {
                let mut sample: Sample = read_json(&path);
                match stem(&path).split_once('-') {
                    Some(("valid", _)) if sample.expect.is_empty() => valid += 1,
                    Some(("broken", _)) if !sample.expect.is_empty() => broken += 1,
                    _ => wrong.push(format!("{}: neither valid nor broken", path.display())),
                }
                let app_version = sample.appversion.as_deref().unwrap_or(&version.since);
                let resolved = &schemas.resolve(event_type, Some(app_version)).since;
                if *resolved != version.since {
                    wrong.push(format!("{}: its version resolves to {resolved}", path.display()));
                }
                sample.expect.sort();
                let faults = version.faults(&sample.data);
                if faults != sample.expect {
                    wrong.push(format!("{}: gives {faults:?}", path.display()));
                }
            }
            if valid == 0 || broken == 0 {
                wrong.push(format!("{}: lacks valid or broken samples", folder.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_folder_of_samples_has_its_schema() {
    let schemas = Schemas::load();
    for (event_type, versions) in &schemas.0 {
        let known: BTreeSet<&str> = versions.iter().map(|version| version.since.as_str()).collect();
        let folder = root().join("schemas").join(event_type).join("samples");
        for samples in entries(&folder) {
            let since = samples.file_name().and_then(OsStr::to_str).unwrap();
            assert!(known.contains(since), "{}", samples.display());
        }
    }
}

#[test]
fn types_change_over_versions_and_drafts() {
    let schemas = Schemas::load();
    for event_type in ["app.page_view", "app.opened", "app.search"] {
        assert!(schemas.0[event_type].len() >= 4, "{event_type}");
    }
    let drafts: BTreeSet<&str> = schemas
        .0
        .values()
        .flatten()
        .map(|version| version.draft.as_str())
        .collect();
    assert_eq!(
        drafts.into_iter().collect::<Vec<_>>(),
        [
            "http://json-schema.org/draft-04/schema#",
            "http://json-schema.org/draft-07/schema#",
            "https://json-schema.org/draft/2019-09/schema",
            "https://json-schema.org/draft/2020-12/schema",
        ]
    );
}

/// Members that are no objects, at any depth; an array counts as one.
fn fields(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.values().map(fields).sum(),
        _ => 1,
    }
}

#[test]
fn the_benchmark_event_has_its_published_size() {
    let path = root().join("schemas/app.page_view/samples/5.10.0/valid-full.json");
    let sample: Sample = read_json(&path);
    assert_eq!(fields(&sample.data), 27);
    assert_eq!(sample.data.to_string().len(), 696);
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => text.starts_with(prefix),
        None => pattern == text,
    }
}

#[test]
fn partners_types_and_routes_fit_together() {
    let schemas = Schemas::load();
    let partners = read_toml::<Partner>("partners");
    let routes = read_toml::<Route>("routes");
    for name in partners.keys() {
        name.parse::<PartnerName>().unwrap();
    }
    assert_eq!(
        partners.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from(PARTNERS)
    );
    let types: BTreeSet<String> = read_toml::<TypeEntry>("types").into_keys().collect();
    assert_eq!(types, schemas.0.keys().cloned().collect());
    for (name, route) in &routes {
        name.parse::<RouteName>().unwrap();
        let partner = &route.matches.partner;
        assert!(
            partner == "*" || partners.contains_key(partner),
            "{name}: partner {partner}"
        );
        let pattern = &route.matches.event_type;
        assert!(
            types.iter().any(|known| matches(pattern, known)),
            "{name}: type {pattern}"
        );
        assert!(!route.to.is_empty(), "{name} leads nowhere");
        for target in &route.to {
            assert_eq!(
                target.destination, "files",
                "{name}: the default gateway has no other"
            );
        }
    }
}

#[test]
fn generated_events_keep_their_promise() {
    let schemas = Schemas::load();
    let partners = read_toml::<Partner>("partners");
    let routes = read_toml::<Route>("routes");
    let mut seen = BTreeSet::new();
    for seed in [1, 7, 2026, u64::MAX] {
        let mix = Mix::new(seed).with_broken_per_mille(50);
        let mut broken = 0;
        for event in (0..5000).map(|index| mix.event(index)) {
            event.event_type.parse::<EventType>().unwrap();
            let version = schemas.resolve(event.event_type, event.app_version);
            let faults = version.faults(&event.data);
            assert_eq!(!faults.is_empty(), event.broken, "{faults:?} in {event:?}");
            assert!(partners.contains_key(event.partner), "{event:?}");
            let routed = routes.values().any(|route| {
                matches(&route.matches.partner, event.partner)
                    && matches(&route.matches.event_type, event.event_type)
                    && matches(&route.matches.source, event.source)
            });
            assert!(routed, "no route takes {event:?}");
            broken += usize::from(event.broken);
            seen.insert(format!("{}@{}", event.event_type, version.since));
        }
        assert!((150..=350).contains(&broken), "{broken} of 5000 broken at 50 ‰");
    }
    let known = schemas.0.iter().flat_map(|(event_type, versions)| {
        versions
            .iter()
            .map(move |version| format!("{event_type}@{}", version.since))
    });
    assert_eq!(seen, known.collect());
}

#[test]
fn a_generated_event_can_be_made_again_from_its_id() {
    let mix = Mix::new(7).with_broken_per_mille(500);
    for index in (0..200).rev() {
        let event = mix.event(index);
        assert_eq!(mix.event_of_id(&event.id), Some(event.clone()));
        let envelope = Value::from(&event);
        assert_eq!(envelope["id"], event.id);
        assert_eq!(envelope["data"], event.data);
        assert_eq!(envelope["time"], event.time);
        assert_eq!(
            envelope.get("appversion").and_then(Value::as_str),
            event.app_version
        );
    }
    for strange in ["8-3", "7-03", "7-", "7", "-3", "7-x"] {
        assert_eq!(mix.event_of_id(strange), None, "{strange}");
    }
}

#[test]
fn the_seed_and_the_rate_decide() {
    let data = |mix: Mix| -> Vec<Value> { (0..50).map(|index| mix.event(index).data).collect() };
    assert_eq!(data(Mix::new(1)), data(Mix::new(1)));
    assert_ne!(data(Mix::new(1)), data(Mix::new(2)));
    let broken = |rate| {
        let mix = Mix::new(1).with_broken_per_mille(rate);
        (0..500).filter(|index| mix.event(*index).broken).count()
    };
    assert_eq!((broken(0), broken(1000)), (0, 500));
}
