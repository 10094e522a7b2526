mod compiled;
mod hostile;
mod upgrades;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::{Resolution, Schemas, Texts};
use crate::{
    event::{Attributes, Decoded},
    json::Document,
    problem::Code,
    registry::model::{
        Digest, Schema, SchemaKey, State, TypeEntry, TypeSchemas, UnreadableVersion, Versioned,
    },
};

const MIB: usize = 1 << 20;

fn check_schema(text: &str, bytes_max: usize) -> Result<(), Vec<crate::problem::Fault>> {
    super::check_schema(text, &Texts::default(), bytes_max)
}

fn state(schemas: &[(&str, Option<&str>, &str)]) -> Arc<State> {
    let mut state = State::default();
    let mut list = TypeSchemas::default();
    for (since, source, text) in schemas {
        let key = SchemaKey {
            event_type: "app.opened".parse().unwrap(),
            source: source.map(str::to_owned),
            since: (*since).to_owned(),
        };
        let schema = Schema {
            digest: Digest::of(text.as_bytes()),
            text: (*text).into(),
            created: Timestamp::UNIX_EPOCH,
            by: "test".to_owned(),
        };
        list.schemas.push(Arc::new(Versioned {
            sequence: 1,
            value: (key, schema),
        }));
    }
    state
        .schemas
        .insert("app.opened".parse().unwrap(), Arc::new(list));
    Arc::new(state)
}

fn event(app_version: Option<&str>, data: &str) -> Decoded {
    Decoded {
        partner: "haneul-app".parse().unwrap(),
        attributes: Arc::new(Attributes {
            client_ip: None,
            user_agent: None,
            id: "1".into(),
            source: "/app".to_owned(),
            event_type: "app.opened".parse().unwrap(),
            time: "2026-11-02T10:00:00Z".to_owned(),
            subject: None,
            app_version: app_version.map(str::to_owned),
        }),
        data: Document::parse(Bytes::copy_from_slice(data.as_bytes()), 64).unwrap(),
        received: Timestamp::UNIX_EPOCH,
        id_generated: false,
        traceparent: None,
    }
}

fn label(schemas: &Schemas, source: &str, version: Option<&str>) -> String {
    match schemas.resolve(&"app.opened".parse().unwrap(), source, version) {
        Resolution::Found(schema, _) => schema.label().to_string(),
        Resolution::TypeUnknown => "unknown".to_owned(),
        Resolution::BelowAll { lowest } => format!("below {lowest}"),
        Resolution::Unreadable => "unreadable".to_owned(),
    }
}

#[test]
fn the_highest_since_that_is_not_above_wins() {
    let state = state(&[("5.10.0", None, "{}"), ("3.0", None, "{}"), ("5.2.0", None, "{}")]);
    let schemas = Schemas::build(&state, &Schemas::default());
    for (version, expected) in [
        (Some("3.0.0"), "app.opened@3.0"),
        (Some("5.1.99"), "app.opened@3.0"),
        (Some("5.2"), "app.opened@5.2.0"),
        (Some("5.10.0-rc1"), "app.opened@5.2.0"),
        (Some("v5.10 (build 812)"), "app.opened@5.10.0"),
        (Some("99"), "app.opened@5.10.0"),
        (None, "app.opened@5.10.0"),
        (Some("nightly"), "app.opened@5.10.0"),
        (Some("2.9.9"), "below 3.0"),
    ] {
        assert_eq!(label(&schemas, "/app", version), expected, "{version:?}");
    }
}

#[test]
fn a_source_of_its_own_comes_before_any() {
    let state = state(&[("1", None, "{}"), ("4", Some("/kiosk"), "{}")]);
    let schemas = Schemas::build(&state, &Schemas::default());
    assert_eq!(label(&schemas, "/app", Some("5")), "app.opened@1");
    assert_eq!(label(&schemas, "/kiosk", Some("5")), "app.opened@4");
    assert_eq!(label(&schemas, "/kiosk", Some("2")), "below 4");
}

#[test]
fn violations_name_pointer_and_keyword() {
    let text = r#"{"type":"object","required":["at"],"properties":{"at":{"type":"string","format":"date-time"},"n":{"type":"integer","minimum":1}}}"#;
    let schemas = Schemas::build(&state(&[("1", None, text)]), &Schemas::default());
    assert!(
        schemas
            .check(event(None, r#"{"at":"2026-11-02T10:00:00Z","n":3}"#))
            .is_ok()
    );
    let (_, reason) = *schemas
        .check(event(None, r#"{"at":"yesterday","n":0}"#))
        .unwrap_err();
    assert_eq!(reason.code, Code::SchemaViolation);
    let mut found: Vec<_> = reason
        .errors
        .iter()
        .map(|error| (error.pointer.as_str(), error.keyword.as_str()))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [("/at", "format"), ("/n", "minimum")]);
    let (_, reason) = *schemas.check(event(None, "{}")).unwrap_err();
    assert_eq!(reason.errors[0].keyword, "required");
}

#[test]
fn what_has_no_schema_is_kept_apart() {
    let schemas = Schemas::build(&state(&[("3", None, "true")]), &Schemas::default());
    let (_, reason) = *schemas.check(event(Some("1"), "1")).unwrap_err();
    assert_eq!(reason.code, Code::VersionUnknown);
    let (_, reason) = *Schemas::default().check(event(None, "1")).unwrap_err();
    assert_eq!(reason.code, Code::SchemaUnknown);
}

#[test]
fn a_change_of_one_type_keeps_the_others_compiled() {
    let before = state(&[("1", None, "{}")]);
    let first = Schemas::build(&before, &Schemas::default());
    first.check(event(None, "1")).unwrap();
    let mut after = State::clone(&before);
    after
        .schemas
        .insert("app.closed".parse().unwrap(), Arc::new(TypeSchemas::default()));
    let second = Schemas::build(&Arc::new(after), &first);
    let name = "app.opened";
    assert!(Arc::ptr_eq(&first.types[name], &second.types[name]));
    second.check(event(None, "1")).unwrap();
    assert_eq!(second.compiler().compilations(), 1);
}

#[test]
fn what_a_change_removes_is_removed() {
    let first = Schemas::build(&state(&[("1", None, "{}")]), &Schemas::default());
    let second = Schemas::build(&Arc::new(State::default()), &first);
    assert_eq!(label(&second, "/app", Some("1")), "unknown");
    let third = Schemas::build(&state(&[("2", None, "{}")]), &second);
    assert_eq!(label(&third, "/app", Some("2")), "app.opened@2");
}

#[test]
fn a_type_may_keep_what_has_an_unreadable_version() {
    let latest = state(&[("1", None, "{}"), ("2", None, "{}")]);
    let schemas = Schemas::build(&latest, &Schemas::default());
    let validated = schemas.check(event(Some("nightly"), "1")).unwrap();
    assert_eq!(&**validated.schema(), "app.opened@2");
    assert!(validated.version_is_unreadable());
    assert!(
        !schemas
            .check(event(Some("2.1"), "1"))
            .unwrap()
            .version_is_unreadable()
    );

    let mut kept = State::clone(&latest);
    let entry = TypeEntry {
        unreadable_version: UnreadableVersion::Quarantine,
        ..TypeEntry::default()
    };
    kept.types.insert(
        "app.opened".parse().unwrap(),
        Arc::new(Versioned {
            sequence: 2,
            value: entry,
        }),
    );
    let schemas = Schemas::build(&Arc::new(kept), &schemas);
    let (_, reason) = *schemas.check(event(Some("nightly"), "1")).unwrap_err();
    assert_eq!(reason.code, Code::VersionUnreadable);
    schemas.check(event(Some("2.1"), "1")).unwrap();
    schemas.check(event(None, "1")).unwrap();
    let back = Schemas::build(&latest, &schemas);
    back.check(event(Some("nightly"), "1")).unwrap();
}

#[test]
fn unusable_schemas_are_refused_with_a_pointer() {
    let faults = |text: &str| check_schema(text, MIB).unwrap_err();
    assert!(check_schema(r#"{"type":"string"}"#, MIB).is_ok());
    assert!(check_schema(r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"string"}}}"##, MIB).is_ok());
    assert!(
        check_schema(r#"{"$ref":"https://json-schema.org/draft/2020-12/schema"}"#, MIB).is_ok(),
        "the drafts' own metaschemas may be referred to"
    );
    assert!(check_schema(r#"{"pattern":"^(?=a)"}"#, MIB).is_ok());
    assert!(check_schema(r#"{"pattern":"(a)\\1"}"#, MIB).is_ok());
    assert_eq!(faults("{")[0].pointer, "");
    assert_eq!(faults("3")[0].pointer, "");
    assert_eq!(
        faults(r#"{"$schema":"https://example.com/s"}"#)[0].pointer,
        "/$schema"
    );
    assert_eq!(
        faults(r#"{"properties":{"a":{"type":"text"}}}"#)[0].pointer,
        "/properties/a/type"
    );
    assert_eq!(
        faults(r#"{"properties":{"a":{"pattern":"("}}}"#)[0].pointer,
        "/properties/a/pattern"
    );
    for reference in ["http://127.0.0.1:1/a.json", "file:///etc/hostname", "other.json"] {
        let found = faults(&format!(r#"{{"$ref":"{reference}"}}"#));
        assert!(found[0].message.contains("nothing is fetched"), "{found:?}");
    }
    assert!(faults(r##"{"$ref":"#/$defs/none"}"##)[0].message.contains("none"));
    assert_eq!(check_schema(&" ".repeat(100), 50).unwrap_err().len(), 1);
    let deep = format!("{}true{}", r#"{"not":"#.repeat(5000), "}".repeat(5000));
    assert!(faults(&deep)[0].message.contains("nested"));
}

#[test]
fn every_draft_is_taken() {
    for uri in super::compile::DRAFTS {
        for uri in [uri.to_owned(), format!("{uri}#")] {
            let text = format!(r#"{{"$schema":"{uri}","type":"integer"}}"#);
            check_schema(&text, MIB).unwrap_or_else(|faults| panic!("{uri}: {faults:?}"));
        }
    }
}

#[test]
fn a_pattern_that_would_backtrack_for_ever_breaks_the_event_instead() {
    let text = r#"{"type":"string","pattern":"^(?=a)(a|a)*\\1$"}"#;
    let schemas = Schemas::build(&state(&[("1", None, text)]), &Schemas::default());
    let data = format!("\"{}b\"", "a".repeat(60));
    let started = std::time::Instant::now();
    let (_, reason) = *schemas.check(event(None, &data)).unwrap_err();
    assert_eq!(reason.code, Code::SchemaViolation);
    assert!(started.elapsed().as_secs() < 5);
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let text = r##"{"$ref":"#"}"##;
    let schemas = Schemas::build(&state(&[("1", None, text)]), &Schemas::default());
    let _ = schemas.check(event(None, "[[1]]"));
}
