//! `docs/versions.md` says how versions are read; its tables are held here.

use std::sync::Arc;

use headworks::{
    event::AppVersion,
    registry::model::{Digest, Schema, SchemaKey, State, TypeSchemas, Versioned},
    validate::{Resolution, Schemas},
};
use jiff::Timestamp;

const PAGE: &str = include_str!("../../docs/versions.md");

/// The first two cells of every row of the table with this header.
fn rows(header: &str) -> Vec<(String, String)> {
    let rows: Vec<(String, String)> = PAGE
        .lines()
        .skip_while(|line| !line.starts_with(header))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let mut cells = line.split('|').skip(1).map(|cell| cell.trim().trim_matches('`'));
            let mut next = || cells.next().unwrap_or_default().to_owned();
            (next(), next())
        })
        .collect();
    assert!(rows.len() >= 10, "no table begins with {header}");
    rows
}

#[test]
fn versions_are_read_as_the_table_says() {
    for (written, read) in rows("| written |") {
        let found = AppVersion::parse(&written).map(|version| version.to_string());
        assert_eq!(found.unwrap_or_default(), read, "{written}");
    }
}

#[test]
fn versions_ascend_as_the_page_says() {
    let (_, after) = PAGE.split_once("Ascending: ").expect("the page has the line");
    let (sentence, _) = after.split_once(".\n").expect("the line ends");
    let versions: Vec<&str> = sentence
        .split('<')
        .map(|part| part.trim().trim_matches('`'))
        .collect();
    assert!(versions.len() >= 10, "{versions:?}");
    for pair in versions.windows(2) {
        let [one, two] = [pair[0], pair[1]].map(|text| AppVersion::parse(text).expect("it is a version"));
        assert!(one < two, "{} < {}", pair[0], pair[1]);
    }
}

#[test]
fn schemas_count_as_the_table_says() {
    let event_type: headworks::event::EventType = "app.opened".parse().expect("it is a type");
    let mut list = TypeSchemas::default();
    for since in ["3.0.0", "5.2", "5.10.0"] {
        let key = SchemaKey {
            event_type: event_type.clone(),
            source: None,
            since: since.to_owned(),
        };
        let schema = Schema {
            digest: Digest::of(b"{}"),
            text: "{}".into(),
            created: Timestamp::UNIX_EPOCH,
            by: "test".to_owned(),
        };
        list.schemas.push(Arc::new(Versioned {
            sequence: 1,
            value: (key, schema),
        }));
    }
    let mut state = State::default();
    state.schemas.insert(event_type.clone(), Arc::new(list));
    let schemas = Schemas::build(&Arc::new(state), &Schemas::default());
    for (version, since) in rows("| `appversion` |") {
        let version = (version != "none").then_some(version);
        let found = match schemas.resolve(&event_type, "/app", version.as_deref()) {
            Resolution::Found(schema, _) => schema.label().trim_start_matches("app.opened@").to_owned(),
            Resolution::BelowAll { .. } => "quarantine".to_owned(),
            Resolution::TypeUnknown | Resolution::Unreadable => "none".to_owned(),
        };
        assert_eq!(found, since, "{version:?}");
    }
}
