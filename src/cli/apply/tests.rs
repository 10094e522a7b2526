use std::{collections::BTreeSet, fs, path::Path};

use super::{
    folder::{self, Folder, LocalSchema, LocalUpgrade, PluginSource},
    order,
    plan::{Current, CurrentPlugin, Plan, Step, Wanted, plan},
    tables::LocalTable,
};
use crate::{
    cli::{schema_files::referring::references, table_files::TableFile},
    event::EventType,
    registry::model::{
        Compatibility, Digest, Partner, Route, SchemaKey, Table, TableFormat, TypeEntry, Upgrade, UpgradeStep,
    },
    validate::References,
};

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn key(event_type: &str, since: &str, source: Option<&str>) -> SchemaKey {
    SchemaKey {
        event_type: event_type.parse().unwrap(),
        source: source.map(str::to_owned),
        since: since.to_owned(),
    }
}

fn schema(event_type: &str, since: &str, text: &str) -> LocalSchema {
    LocalSchema {
        key: key(event_type, since, None),
        text: text.to_owned(),
    }
}

fn route() -> Route {
    serde_json::from_value(serde_json::json!({ "to": [{ "destination": "files" }] })).unwrap()
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.changes
        .iter()
        .chain(&plan.deletions)
        .map(|step| format!("{} {} {}", step.action(), step.kind(), step.name()))
        .collect()
}

#[test]
fn the_repositorys_own_folder_is_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = folder::read(root).unwrap_or_else(|errors| panic!("{errors}"));
    let schemas = folder.schemas.as_ref().unwrap();
    assert!(
        schemas
            .iter()
            .any(|schema| schema.key == key("app.page_view", "5.10.0", None))
    );
    assert!(
        schemas
            .iter()
            .all(|schema| !schema.key.event_type.as_str().contains("samples"))
    );
    assert!(folder.partners.as_ref().unwrap().contains_key("callbridge"));
    assert!(folder.routes.as_ref().unwrap().contains_key("calls"));
    assert!(folder.types.as_ref().unwrap().contains_key("call.ended"));
    assert!(matches!(
        folder.plugins.get("call-event"),
        Some(PluginSource::Source(_))
    ));
    assert!(!folder.plugins.contains_key("target"));
    folder::check_plugins_of_routes(root, &folder, &BTreeSet::new()).unwrap();
}

#[test]
fn all_kinds_of_files_are_found_and_others_ignored() {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        &[
            ("README.md", ""),
            ("partners/acme.toml", "description = \"Acme\"\n"),
            ("partners/README.md", ""),
            ("schemas/README.md", ""),
            ("schemas/a.b/5.2.json", "{}"),
            ("schemas/a.b/5.2@%2Fapps%2Fone.json", "true"),
            ("schemas/a.b/5.10.json", "{}"),
            ("schemas/a.b/README.md", ""),
            ("schemas/a.b/samples/5.2/valid.json", "no JSON"),
            ("plugins/built/any.wasm", "component"),
            ("plugins/source/Cargo.toml", ""),
            ("plugins/notes/README.md", ""),
            ("plugins/Cargo.toml", ""),
            ("routes/.hidden.toml", "="),
            ("tables/README.md", ""),
            ("tables/stores.ndjson", ROWS),
            (
                "tables/campaigns.utm_campaign.csv",
                "utm_campaign,name\nspring,Spring\n",
            ),
        ],
    );
    let folder = folder::read(directory.path()).unwrap();
    let tables = folder.tables.unwrap();
    assert_eq!(tables["stores"].digest, Digest::of(ROWS.as_bytes()));
    assert_eq!(tables["campaigns"].file.key, "utm_campaign");
    assert_eq!(folder.partners.unwrap().len(), 1);
    let keys: Vec<SchemaKey> = folder
        .schemas
        .unwrap()
        .into_iter()
        .map(|schema| schema.key)
        .collect();
    assert_eq!(
        keys,
        [
            key("a.b", "5.2", None),
            key("a.b", "5.10", None),
            key("a.b", "5.2", Some("/apps/one"))
        ]
    );
    let names: Vec<&str> = folder
        .plugins
        .keys()
        .map(crate::event::PluginName::as_str)
        .collect();
    assert_eq!(names, ["built", "source"]);
    assert!(folder.routes.is_none() && folder.types.is_none());
}

#[test]
fn every_fault_of_every_file_is_reported_at_once() {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        &[
            ("partners/Acme.toml", "polcy = \"reject\"\n"),
            ("routes/calls.toml", "[[to]\n"),
            ("schemas/a.b/5.2.json", "{\"type\": \"strin\"}"),
            ("schemas/a.b/5.2.0.json", "{}"),
            ("schemas/a.b/5.2.0.0.json", "{}"),
            ("schemas/a.b/latest.json", "{}"),
            ("schemas/a.b/7.json", "{"),
            ("plugins/two/a.wasm", ""),
            ("plugins/two/b.wasm", ""),
        ],
    );
    let errors = folder::read(directory.path())
        .expect_err("it is broken")
        .to_string();
    let root = format!("{}/", directory.path().display());
    let lines: Vec<String> = errors.lines().map(|line| line.replace(&root, "")).collect();
    let expected = [
        "partners/Acme.toml:1:1: polcy: unknown key (did you mean `policy`?)",
        "routes/calls.toml:1:6: is not TOML: ",
        "partners/Acme.toml: \"Acme\" is no partner name: ",
        "plugins/two: holds more than one .wasm file (leave one: the component that is to run)",
        "schemas/a.b/5.2.0.json: is for the same version as 5.2.0.0.json (keep one of them)",
        "schemas/a.b/5.2.json: /type: ",
        "schemas/a.b/7.json: ",
        "schemas/a.b/latest.json: its name is no app version (name it SINCE.json",
    ];
    assert_eq!(lines.len(), expected.len(), "{errors}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\nis not\n{expected}");
    }
}

#[test]
fn a_folder_without_anything_to_apply_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &[("routes/README.md", "")]);
    let errors = folder::read(directory.path()).expect_err("there is nothing");
    assert!(errors.to_string().contains("holds nothing to apply"), "{errors}");
}

#[test]
fn a_routes_plugin_must_be_somewhere() {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        &[
            (
                "routes/calls.toml",
                "plugin = \"call-evnt\"\n[[to]]\ndestination = \"files\"\n",
            ),
            ("plugins/call-event/Cargo.toml", ""),
        ],
    );
    let folder = folder::read(directory.path()).unwrap();
    let errors = folder::check_plugins_of_routes(directory.path(), &folder, &BTreeSet::new())
        .expect_err("there is no such plugin");
    assert!(
        errors.to_string().ends_with("(did you mean \"call-event\"?)"),
        "{errors}"
    );
    let registered = BTreeSet::from(["call-evnt".parse().unwrap()]);
    folder::check_plugins_of_routes(directory.path(), &folder, &registered).unwrap();
}

fn upgrade(event_type: &str, since: &str) -> LocalUpgrade {
    let steps = vec![UpgradeStep::Remove {
        remove: "/a".to_owned(),
    }];
    LocalUpgrade {
        key: key(event_type, since, None),
        upgrade: Upgrade { steps },
    }
}

#[test]
fn upgrades_are_read_beside_their_schemas_and_tried() {
    let directory = tempfile::tempdir().unwrap();
    let older = r#"{"properties":{"uid":{"type":"integer"}},"required":["uid"],"additionalProperties":false,"type":"object"}"#;
    let newer = r#"{"properties":{"id":{"type":"integer"}},"required":["id"],"additionalProperties":false,"type":"object"}"#;
    write(
        directory.path(),
        &[
            ("schemas/a.b/1.json", older),
            ("schemas/a.b/2.json", newer),
            (
                "schemas/a.b/2.upgrade.json",
                r#"{"steps":[{"rename":"/uid","to":"id"}]}"#,
            ),
            ("schemas/a.b/1@%2Fapps%2Fone.json", older),
            ("schemas/a.b/2@%2Fapps%2Fone.json", newer),
            (
                "schemas/a.b/2@%2Fapps%2Fone.upgrade.json",
                r#"{"steps":[{"move":"/uid","to":"/id"}]}"#,
            ),
        ],
    );
    let folder = folder::read(directory.path()).unwrap();
    assert_eq!(folder.schemas.unwrap().len(), 4);
    let sources: Vec<_> = folder
        .upgrades
        .iter()
        .map(|upgrade| (upgrade.key.since.as_str(), upgrade.key.source.as_deref()))
        .collect();
    assert_eq!(sources, [("2", None), ("2", Some("/apps/one"))]);

    write(
        directory.path(),
        &[
            ("schemas/a.b/2.upgrade.json", r#"{"steps":[]}"#),
            (
                "schemas/a.b/2@%2Fapps%2Fone.upgrade.json",
                r#"{"steps":[{"rename":"/uid"}]}"#,
            ),
            ("schemas/a.b/1.upgrade.json", r#"{"steps":[]}"#),
            ("schemas/a.b/3.upgrade.json", r#"{"steps":[]}"#),
        ],
    );
    let faults = folder::read(directory.path()).unwrap_err().to_string();
    for (file, message) in [
        ("2.upgrade.json", "which becomes"),
        ("2@%2Fapps%2Fone.upgrade.json", "is missing"),
        ("1.upgrade.json", "no schema of a version before"),
        ("3.upgrade.json", "no schema 3 beside it"),
    ] {
        let found = faults
            .lines()
            .any(|line| line.contains(&format!("/{file}")) && line.contains(message));
        assert!(found, "{file}: {message} in {faults}");
    }
}

const ROWS: &str = "{\"key\":\"a\"}\n";

fn local_table() -> LocalTable {
    LocalTable {
        file: TableFile {
            path: "tables/stores.ndjson".into(),
            name: "stores".parse().unwrap(),
            key: "key".to_owned(),
            format: TableFormat::Ndjson,
        },
        digest: Digest::of(ROWS.as_bytes()),
    }
}

fn table(key: &str) -> Table {
    Table {
        version: 3,
        digest: Digest::of(ROWS.as_bytes()),
        format: TableFormat::Ndjson,
        key: key.to_owned(),
        rows: 1,
        size: ROWS.len() as u64,
        memory_bytes: 50,
        created: jiff::Timestamp::UNIX_EPOCH,
        by: "test".to_owned(),
    }
}

fn wanted() -> Wanted {
    Wanted {
        partners: Some([("acme".parse().unwrap(), Partner::default())].into()),
        types: Some([("a.b".parse().unwrap(), TypeEntry::default())].into()),
        schemas: Some(vec![schema("a.b", "5.2", "{}"), schema("a.b", "5.10", "true")]),
        references: References::default(),
        upgrades: vec![upgrade("a.b", "5.10")],
        tables: Some([("stores".parse().unwrap(), local_table())].into()),
        routes: Some([("all".parse().unwrap(), route())].into()),
        plugins: [("call-event".parse().unwrap(), Digest::of(b"component"))].into(),
    }
}

#[test]
fn into_an_empty_registry_everything_goes_in_the_order_of_what_needs_what() {
    let plan = plan(wanted(), &Current::default());
    assert_eq!(
        steps(&plan),
        [
            "create partner acme",
            "create type a.b",
            "create schema a.b@5.2",
            "create schema a.b@5.10",
            "create upgrade a.b@5.10",
            "create table stores",
            "create plugin call-event",
            "create route all",
        ]
    );
    assert_eq!(plan.unchanged, 0);
}

#[test]
fn what_is_as_wanted_is_left_alone() {
    let current = Current {
        partners: wanted().partners.unwrap(),
        types: wanted().types.unwrap(),
        // One version, spelt in two ways.
        schemas: vec![
            (key("a.b", "5.2.0", None), Digest::of(b"{}")),
            (key("a.b", "5.10", None), Digest::of(b"true")),
        ],
        referred_by: Vec::new(),
        upgrades: vec![(key("a.b", "5.10.0", None), upgrade("a.b", "5.10").upgrade)],
        tables: [("stores".parse().unwrap(), table("key"))].into(),
        routes: wanted().routes.unwrap(),
        plugins: [(
            "call-event".parse().unwrap(),
            CurrentPlugin {
                active: Some(2),
                versions: vec![(1, Digest::of(b"older")), (2, Digest::of(b"component"))],
            },
        )]
        .into(),
    };
    let plan = plan(wanted(), &current);
    assert_eq!(steps(&plan), Vec::<String>::new());
    assert_eq!(plan.unchanged, 8);
}

#[test]
fn what_differs_changes_and_what_is_not_wanted_goes_last() {
    let described = TypeEntry {
        mask: vec!["/user/email".to_owned()],
        description: "described".to_owned(),
        compatibility: Compatibility::Full,
        ..TypeEntry::default()
    };
    let type_name = |name: &str| name.parse::<EventType>().unwrap();
    let current = Current {
        partners: [
            (
                "acme".parse().unwrap(),
                Partner {
                    description: "other".to_owned(),
                    ..Partner::default()
                },
            ),
            ("gone".parse().unwrap(), Partner::default()),
        ]
        .into(),
        types: [
            (type_name("a.b"), described.clone()),
            (type_name("was.described"), described),
            (type_name("was.reset"), TypeEntry::default()),
        ]
        .into(),
        schemas: vec![
            (key("a.b", "5.2", None), Digest::of(b"other")),
            (key("a.b", "5.2", Some("/apps/one")), Digest::of(b"{}")),
        ],
        referred_by: Vec::new(),
        upgrades: vec![
            (key("a.b", "5.2", None), Upgrade::default()),
            (key("a.b", "5.2", Some("/apps/one")), Upgrade::default()),
        ],
        tables: [
            ("stores".parse().unwrap(), table("id")),
            ("gone".parse().unwrap(), table("key")),
        ]
        .into(),
        routes: [("gone".parse().unwrap(), route())].into(),
        plugins: [
            (
                "call-event".parse().unwrap(),
                CurrentPlugin {
                    active: Some(2),
                    versions: vec![(1, Digest::of(b"component")), (2, Digest::of(b"newer"))],
                },
            ),
            ("stays".parse().unwrap(), CurrentPlugin::default()),
        ]
        .into(),
    };
    let plan = plan(wanted(), &current);
    assert_eq!(
        steps(&plan),
        [
            "change partner acme",
            "change type a.b",
            "change schema a.b@5.2",
            "create schema a.b@5.10",
            "create upgrade a.b@5.10",
            "change table stores",
            "change plugin call-event@1",
            "create route all",
            "delete route gone",
            "delete table gone",
            "delete upgrade a.b@5.2",
            "delete schema a.b@5.2 for /apps/one",
            "delete type was.described",
            "delete partner gone",
        ]
    );
}

#[test]
fn a_kind_without_a_folder_is_left_alone() {
    let current = Current {
        partners: wanted().partners.unwrap(),
        schemas: vec![(key("a.b", "5.2", None), Digest::of(b"{}"))],
        routes: wanted().routes.unwrap(),
        ..Current::default()
    };
    let plan = plan(Wanted::default(), &current);
    assert_eq!(plan, Plan::default());
    assert!(Folder::default().partners.is_none());
}

#[test]
fn another_component_is_uploaded_and_an_inactive_one_activated() {
    let current = |active, digest: &[u8]| Current {
        plugins: [(
            "call-event".parse().unwrap(),
            CurrentPlugin {
                active,
                versions: vec![(1, Digest::of(digest))],
            },
        )]
        .into(),
        ..Current::default()
    };
    let wanted = || Wanted {
        plugins: wanted().plugins,
        ..Wanted::default()
    };
    let name = || "call-event".parse().unwrap();
    assert_eq!(
        plan(wanted(), &current(Some(1), b"older")).changes,
        [Step::PushPlugin {
            name: name(),
            is_new: false
        }]
    );
    assert_eq!(
        plan(wanted(), &current(None, b"component")).changes,
        [Step::ActivatePlugin {
            name: name(),
            version: 1
        }]
    );
}

#[test]
fn schemas_that_refer_to_others_come_after_them_and_circles_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let refers = |uri: &str| format!(r#"{{"properties":{{"other":{{"$ref":"{uri}"}}}}}}"#);
    write(
        directory.path(),
        &[
            ("schemas/a/1.json", &refers("headworks:z@1")),
            ("schemas/a/2.json", &refers("urn:m")),
            ("schemas/b/1.json", &refers("headworks:c@1")),
            ("schemas/c/1.json", &refers("headworks:b@1")),
            ("schemas/m/1.json", r#"{"$id":"urn:m"}"#),
            ("schemas/y/1.json", &refers("headworks:only.in.the.registry@1")),
            ("schemas/z/1.json", "true"),
        ],
    );
    let folder = folder::read(directory.path()).unwrap();
    let wanted = Wanted {
        schemas: folder.schemas,
        references: folder.references,
        ..Wanted::default()
    };
    let registered = plan(wanted, &Current::default());
    assert_eq!(
        steps(&registered),
        [
            "create schema z@1",
            "create schema a@1",
            "create schema m@1",
            "create schema a@2",
            "create schemas b@1 and c@1",
            "create schema y@1",
        ]
    );
    let current = Current {
        schemas: ["a", "b", "c", "z"]
            .map(|name| (key(name, "1", None), Digest::of(b"{}")))
            .into(),
        referred_by: vec![
            (key("z", "1", None), vec![key("a", "1", None)]),
            (key("a", "1", None), vec![key("stays", "1", None)]),
            (key("b", "1", None), vec![key("c", "1", None)]),
            (key("c", "1", None), vec![key("b", "1", None)]),
        ],
        ..Current::default()
    };
    let wanted = Wanted {
        schemas: Some(vec![schema("stays", "1", "{}")]),
        ..Wanted::default()
    };
    let deleted = plan(wanted, &current).deletions;
    let said: Vec<(String, bool)> = deleted
        .iter()
        .filter_map(|step| match step {
            Step::DeleteSchema { force, .. } => Some((step.name(), *force)),
            _ => None,
        })
        .collect();
    let expected = [("a@1", false), ("b@1", true), ("c@1", true), ("z@1", false)];
    assert_eq!(said, expected.map(|(name, force)| (name.to_owned(), force)));

    write(
        directory.path(),
        &[
            ("schemas/z/1.json", r#"{"type":"strin"}"#),
            ("schemas/c/1.json", r#"{"$ref":"headworks:b@1#/$defs/none"}"#),
        ],
    );
    let faults = folder::read(directory.path()).unwrap_err().to_string();
    assert!(faults.contains("schemas/z/1.json: /type"), "{faults}");
    assert!(
        faults.contains("schemas/c/1.json: "),
        "a pointer that leads nowhere in another file: {faults}"
    );
}

#[test]
fn a_circle_is_forced_away_only_where_nothing_that_stays_leads_there() {
    let [stays, b, c, z] = ["stays", "b", "c", "z"].map(|name| key(name, "1", None));
    let referred_by = [
        (b.clone(), vec![c.clone(), stays.clone()]),
        (c.clone(), vec![b.clone()]),
    ];
    for (uri, force) in [("headworks:b@1", false), ("headworks:z@1", true)] {
        let text = format!(r#"{{"$ref":"{uri}"}}"#);
        let staying = references([(&stays, text.as_str()), (&z, "true")]);
        let deleted = order::deletions(vec![b.clone(), c.clone()], &referred_by, &staying);
        assert_eq!(deleted, [(b.clone(), force), (c.clone(), force)], "{uri}");
    }
}
