//! The state is a function of the log.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{put_partner, put_schema};
use crate::{
    event::AppVersion,
    registry::model::{
        Change, Digest, Entry, Form, Isolation, Key, KeyKind, Plugin, PluginVersion, Role, Route, RouteMatch,
        RouteTarget, State, Table, TableFormat, Token, TypeEntry, Upgrade, UpgradeStep,
    },
};

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn version(number: u32) -> PluginVersion {
    PluginVersion {
        version: number,
        digest: Digest::of(&number.to_le_bytes()),
        size: 7,
        imports: Vec::new(),
        language: None,
        sdk: None,
        created: AT,
        by: "test".to_owned(),
    }
}

fn key(id: &str, partner: &str) -> Key {
    Key {
        id: id.to_owned(),
        partner: partner.parse().expect("a name"),
        kind: KeyKind::Secret,
        sha256: Digest::of(id.as_bytes()),
        signing_secret: None,
        expires: None,
        types: Vec::new(),
        created: AT,
    }
}

fn table(version: u64) -> Table {
    Table {
        version,
        digest: Digest::of(&version.to_le_bytes()),
        format: TableFormat::Csv,
        key: "id".to_owned(),
        rows: 1,
        size: 9,
        memory_bytes: 60,
        created: AT,
        by: "test".to_owned(),
    }
}

/// Few names, so that changes meet.
fn change() -> impl Strategy<Value = Change> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let since = prop::sample::select(vec!["1", "1.0", "1.0.0", "2", "2.1-rc1", "v2"]);
    let source = prop::sample::select(vec![None, Some("/one")]);
    let number = 1_u32..4;
    (0_usize..19, name.clone(), name, since, source, number).prop_map(change_of)
}

fn change_of(
    (kind, one, two, since, source, number): (usize, &str, &str, &str, Option<&str>, u32),
) -> Change {
    let plugin = one.parse().expect("a name");
    let schema = put_schema(one, source, since, &format!("{{\"minLength\": {number}}}"));
    match (kind, schema) {
        (0, _) => put_partner(one, two),
        (1, _) => Change::DeletePartner {
            name: one.parse().expect("a name"),
        },
        (2, _) => Change::CreateKey { key: key(two, one) },
        (3, _) => Change::RevokeKey {
            partner: one.parse().expect("a name"),
            id: two.to_owned(),
        },
        (4, _) => Change::PutType {
            event_type: one.parse().expect("a type"),
            entry: TypeEntry {
                description: two.to_owned(),
                ..TypeEntry::default()
            },
        },
        (5, schema) => schema,
        (6, Change::PutSchema { key, .. }) => Change::DeleteSchema { key, forced: false },
        (7, _) => Change::AddPluginVersion {
            plugin,
            version: version(number),
        },
        (8, _) => Change::ActivatePlugin {
            plugin,
            version: number,
            share: Some(100),
        },
        (9, _) => Change::ShadowPlugin {
            plugin,
            version: Some(number),
        },
        (10, _) => Change::RollBackPlugin { plugin, cause: None },
        (11, _) => Change::PutRoute {
            name: one.parse().expect("a name"),
            route: Route {
                form: Form::Latest,
                matches: RouteMatch::default(),
                plugin: Some(two.parse().expect("a name")),
                config: Some(serde_json::json!({ "n": number })),
                isolation: Isolation::Event,
                to: vec![RouteTarget {
                    destination: two.to_owned(),
                    topic: None,
                    key: None,
                }],
            },
        },
        (12, _) => Change::DeleteRoute {
            name: one.parse().expect("a name"),
        },
        (13, _) => Change::CreateToken {
            token: Token {
                id: one.to_owned(),
                name: two.to_owned(),
                role: Role::Viewer,
                sha256: Digest::of(one.as_bytes()),
                created: AT,
                expires: None,
            },
        },
        (14, Change::PutSchema { key, .. }) => Change::PutUpgrade {
            key,
            upgrade: Upgrade {
                steps: vec![UpgradeStep::Default {
                    default: format!("/{one}"),
                    value: serde_json::json!({ "n": number }),
                }],
            },
        },
        (15, Change::PutSchema { key, .. }) => Change::DeleteUpgrade { key },
        (16 | 17, _) => change_of_table(kind == 16, one, number.into()),
        _ => Change::DeleteToken { id: one.to_owned() },
    }
}

fn change_of_table(is_put: bool, name: &str, version: u64) -> Change {
    let name = name.parse().expect("a name");
    match is_put {
        true => Change::PutTable {
            name,
            table: table(version),
        },
        false => Change::DeleteTable { name, forced: false },
    }
}

fn entries(changes: Vec<Change>) -> Vec<Entry> {
    (1..)
        .zip(changes)
        .map(|(sequence, change)| Entry {
            sequence,
            at: AT,
            by: "test".to_owned(),
            change,
        })
        .collect()
}

/// Texts are blobs of their own, so what is written down has none.
fn without_texts(state: &State) -> serde_json::Value {
    serde_json::to_value(state).expect("a state is JSON")
}

proptest! {
    #[test]
    fn replaying_the_log_equals_applying_as_it_grows(changes in prop::collection::vec(change(), 0..60)) {
        let entries = entries(changes);
        let mut states = vec![State::default()];
        for entry in &entries {
            let next = states[states.len() - 1].apply(entry);
            states.push(next);
        }
        let written: Vec<serde_json::Value> = states.iter().map(without_texts).collect();

        let mut replayed = State::default();
        for (entry, expected) in entries.iter().zip(&written[1..]) {
            let text = serde_json::to_vec(entry).expect("an entry is JSON");
            let read: Entry = serde_json::from_slice(&text).expect("an entry is read");
            replayed.apply_in_place(&read);
            prop_assert_eq!(&without_texts(&replayed), expected);
        }
        // From any snapshot on, the tail leads to the same end.
        for (snapshot, from) in written.iter().zip(0..) {
            let mut state: State = serde_json::from_value(snapshot.clone()).expect("a snapshot is read");
            entries[from..].iter().for_each(|entry| state.apply_in_place(entry));
            prop_assert_eq!(&without_texts(&state), &written[written.len() - 1]);
        }
    }

    #[test]
    fn states_hold_what_they_must(changes in prop::collection::vec(change(), 0..60)) {
        let mut state = State::default();
        for entry in entries(changes) {
            state = state.apply(&entry);
            prop_assert_eq!(state.sequence, entry.sequence);
            for of_type in state.schemas.values() {
                prop_assert!(!of_type.schemas.is_empty());
                for upgrade in &of_type.upgrades {
                    prop_assert!(of_type.find(&upgrade.value.0).is_some(), "it leads to a schema");
                    prop_assert_eq!(of_type.upgrade(&upgrade.value.0), Some(upgrade), "and is the only one");
                }
                let keys: Vec<_> = of_type.schemas.iter().map(|known| &known.value.0).collect();
                for (index, one) in keys.iter().enumerate() {
                    for two in &keys[..index] {
                        let same = AppVersion::parse(&one.since) == AppVersion::parse(&two.since);
                        prop_assert!(!(same && one.source == two.source), "{one:?} and {two:?}");
                    }
                }
            }
            for plugin in state.plugins.values() {
                let numbers: BTreeSet<u32> = plugin.value.versions.iter().map(|known| known.version).collect();
                prop_assert_eq!(numbers.len(), plugin.value.versions.len());
            }
            if let Change::DeletePartner { name } = &entry.change {
                prop_assert!(state.keys.values().all(|key| key.value.partner != *name));
            }
        }
    }
}

#[test]
fn a_plugin_goes_forward_and_back() {
    let plugin = || "calls".parse().expect("a name");
    let steps = [
        (
            Change::AddPluginVersion {
                plugin: plugin(),
                version: version(1),
            },
            (None, None),
        ),
        (
            Change::ActivatePlugin {
                plugin: plugin(),
                version: 1,
                share: Some(100),
            },
            (Some(1), None),
        ),
        (
            Change::AddPluginVersion {
                plugin: plugin(),
                version: version(2),
            },
            (Some(1), None),
        ),
        (
            Change::ActivatePlugin {
                plugin: plugin(),
                version: 2,
                share: Some(100),
            },
            (Some(2), Some(1)),
        ),
        (
            Change::RollBackPlugin {
                plugin: plugin(),
                cause: None,
            },
            (Some(1), None),
        ),
        (
            Change::RollBackPlugin {
                plugin: plugin(),
                cause: None,
            },
            (Some(1), None),
        ),
    ];
    let mut state = State::default();
    let (changes, expected): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
    for (entry, expected) in entries(changes).iter().zip(expected) {
        state = state.apply(entry);
        let Plugin { active, previous, .. } = state.plugins["calls"].value;
        assert_eq!((active, previous), expected, "after {:?}", entry.change);
    }
}

#[test]
fn a_share_keeps_the_version_that_takes_the_rest() {
    let plugin = || "calls".parse().expect("a name");
    let add = |number| Change::AddPluginVersion {
        plugin: plugin(),
        version: version(number),
    };
    let activate = |version, share| Change::ActivatePlugin {
        plugin: plugin(),
        version,
        share: Some(share),
    };
    let shadow = |version| Change::ShadowPlugin {
        plugin: plugin(),
        version: Some(version),
    };
    let back = Change::RollBackPlugin {
        plugin: plugin(),
        cause: None,
    };
    let steps = [
        (add(1), (None, None, None, None)),
        (add(2), (None, None, None, None)),
        (add(3), (None, None, None, None)),
        (activate(1, 100), (Some(1), None, Some(100), None)),
        (activate(2, 5), (Some(2), Some(1), Some(5), None)),
        (shadow(3), (Some(2), Some(1), Some(5), Some(3))),
        // What has only tried its luck is nothing to go back to.
        (activate(3, 20), (Some(3), Some(1), Some(20), None)),
        (activate(3, 100), (Some(3), Some(1), Some(100), None)),
        (activate(2, 50), (Some(2), Some(3), Some(50), None)),
        (shadow(1), (Some(2), Some(3), Some(50), Some(1))),
        (back, (Some(3), None, Some(100), None)),
        (activate(2, 50), (Some(2), Some(3), Some(50), None)),
        (activate(3, 100), (Some(3), None, Some(100), None)),
    ];
    let mut state = State::default();
    let (changes, expected): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
    for (entry, expected) in entries(changes).iter().zip(expected) {
        state = state.apply(entry);
        let plugin = &state.plugins["calls"].value;
        let found = (plugin.active, plugin.previous, plugin.share, plugin.shadow);
        assert_eq!(found, expected, "after {:?}", entry.change);
    }
}

#[test]
fn what_a_change_leaves_alone_is_shared() {
    let before = State::default().apply(&entries(vec![put_partner("a", "one")])[0]);
    let after = before.apply(&Entry {
        sequence: 2,
        at: AT,
        by: "test".to_owned(),
        change: put_partner("b", "two"),
    });
    assert!(std::sync::Arc::ptr_eq(
        &before.partners["a"],
        &after.partners["a"]
    ));
    assert!(!before.partners.contains_key("b"));
}

#[test]
fn a_tables_version_never_comes_back() {
    let name = || "a".parse().expect("a name");
    let mut state = State::default();
    for (sequence, version) in [(1, 1), (2, 2), (4, 3)] {
        if sequence == 4 {
            state = state.apply(&Entry {
                sequence: 3,
                at: AT,
                by: "test".to_owned(),
                change: Change::DeleteTable {
                    name: name(),
                    forced: true,
                },
            });
            assert!(state.tables.is_empty());
        }
        assert_eq!(state.next_table_version(&name()), version);
        state = state.apply(&Entry {
            sequence,
            at: AT,
            by: "test".to_owned(),
            change: Change::PutTable {
                name: name(),
                table: table(version),
            },
        });
    }
    assert!(state.deleted_tables.is_empty());
    assert_eq!(state.next_table_version(&name()), 4);
}
