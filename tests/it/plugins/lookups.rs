//! What plugins look up in tables: rows as documents, bounded, and told with the records.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use headworks::{
    event::Output,
    limits::{ByteSize, PLUGIN_LOOKUPS_PER_CALL},
    lookup::{self, TableSet, TableVersion},
    problem::Code,
    registry::model::TableFormat,
    transform::{PluginFailure, Purpose, TrialInstance},
};

use super::{event, failure, hostile_component, only_body, prepare_hostile, transformer};

fn tables(tables: &[(&str, u64, &'static str)]) -> Arc<TableSet> {
    let tables = tables.iter().map(|(name, version, data)| {
        let name = name.parse().expect("a name");
        let data = Bytes::from_static(data.as_bytes());
        let rows = lookup::read(&data, TableFormat::Ndjson, "id", ByteSize(1 << 20)).expect("a table");
        let version = TableVersion::new(&name, *version, Arc::new(rows));
        (name, Ok(version))
    });
    Arc::new(TableSet::new(tables))
}

const SHOPS: &str = "{\"id\":\"1\",  \"name\":\"Jongno\",\"rate\":1.50}\n{\"id\":2}\n";

fn used(outputs: &[Output]) -> Vec<Option<&str>> {
    outputs.iter().map(|output| output.tables.as_deref()).collect()
}

#[tokio::test]
async fn a_row_is_a_document_and_its_table_is_told() {
    let plugin = prepare_hostile("looks-up", None).await;
    let set = tables(&[("shops", 7, SHOPS), ("other", 1, SHOPS)]);
    let call = |data: &str| plugin.transform_for(Purpose::Live, &event(data), &set);
    let row = call(r#"{"do": "lookup", "table": "shops", "key": "1"}"#);
    assert_eq!(used(row.as_ref().expect("it is there")), [Some("shops@7")]);
    // What is not edited keeps its bytes.
    assert_eq!(
        only_body(row),
        r#"{"id":"1",  "name":"Jongno","rate":1.50,"seen":true}"#
    );
    let unknown = call(r#"{"do": "lookup", "table": "shops", "key": "one"}"#);
    assert!(unknown.expect("there is no row").is_empty());
    // The table is as it was, and who looks nothing up is told of none.
    let again = call(r#"{"do": "lookup", "table": "other", "key": "1"}"#);
    assert_eq!(used(again.as_ref().expect("it is there")), [Some("other@1")]);
    let echo = call(r#"{"do": "echo"}"#).expect("it is given back");
    assert_eq!(used(&echo), [None]);
}

#[tokio::test]
async fn a_table_that_is_not_there_is_not_the_plugins_fault() {
    let name = "looks-up-in-vain".parse().expect("a name");
    let plugin = prepare_hostile("looks-up-in-vain", None).await;
    let missing = |table: &str, set: &Arc<TableSet>| {
        let data = format!(r#"{{"do": "lookup", "table": "{table}", "key": "1"}}"#);
        match plugin.transform_for(Purpose::Live, &event(&data), set) {
            Err(PluginFailure::Unavailable(text)) => text,
            other => panic!("not there, not {other:?}"),
        }
    };
    let unloaded = [("shops".parse().expect("a name"), Err("the store is gone".into()))];
    let unloaded = Arc::new(TableSet::new(unloaded));
    assert_eq!(
        missing("shops", &unloaded),
        "the table shops is not loaded on this node: the store is gone"
    );
    let unknown = missing("nowhere", &unloaded);
    assert!(unknown.starts_with("there is no table \"nowhere\""), "{unknown}");
    assert!(missing(&"x".repeat(5000), &unloaded).len() < 200);
    let health = transformer().health(&name, 1).expect("it ran");
    assert_eq!((health.calls, health.failed, health.rejected), (3, 0, 0));
    // With the table, the same plugin does its work.
    let set = tables(&[("shops", 1, SHOPS)]);
    let row = plugin.transform_for(
        Purpose::Live,
        &event(r#"{"do": "lookup", "table": "shops", "key": "2"}"#),
        &set,
    );
    assert_eq!(only_body(row), r#"{"id":2,"seen":true}"#);
}

#[tokio::test]
async fn lookups_are_bounded() {
    let plugin = prepare_hostile("looks-much-up", None).await;
    let set = tables(&[("shops", 1, SHOPS)]);
    let many = |amount: u32| {
        let data = format!(r#"{{"do": "lookup-many", "amount": {amount}}}"#);
        plugin.transform_for(Purpose::Live, &event(&data), &set)
    };
    assert_eq!(only_body(many(PLUGIN_LOOKUPS_PER_CALL)), "2");
    assert_eq!(
        failure(many(PLUGIN_LOOKUPS_PER_CALL + 1)),
        format!("looked more than {PLUGIN_LOOKUPS_PER_CALL} rows up for one event")
    );
    // The next event begins anew.
    assert_eq!(only_body(many(PLUGIN_LOOKUPS_PER_CALL)), "2");
}

#[tokio::test]
async fn nothing_of_a_table_is_kept_for_another_event() {
    let plugin = prepare_hostile("keeps-a-row", None).await;
    let set = tables(&[("shops", 1, SHOPS)]);
    let mut held = TrialInstance::default();
    let kept = plugin.try_in(&mut held, &event(r#"{"do": "keep-row"}"#), &set);
    assert!(kept.result.expect("it is kept").is_empty());
    let used = plugin.try_in(&mut held, &event(r#"{"do": "use-kept-document"}"#), &set);
    let text = failure(used.result);
    assert!(text.contains("belongs to an earlier event"), "{text}");

    let config = serde_json::json!({"configure": "lookup"});
    let name = "looks-up-early".parse().expect("a name");
    let refused = transformer()
        .prepare(&name, 1, hostile_component(), Some(&config))
        .await
        .expect_err("a configuration is no event");
    assert_eq!(refused.code, Code::ConfigurationRefused);
    assert!(
        refused.detail.contains("outside of `transform`"),
        "{}",
        refused.detail
    );
}

#[tokio::test]
async fn a_component_says_which_contract_it_was_built_for() {
    let facts = transformer()
        .compile(hostile_component())
        .await
        .expect("a plugin");
    let interfaces: BTreeMap<&str, BTreeSet<&str>> = facts
        .imports
        .iter()
        .filter_map(|import| import.split_once('@'))
        .fold(BTreeMap::new(), |mut known, (interface, version)| {
            known
                .entry(version)
                .or_insert_with(BTreeSet::new)
                .insert(interface);
            known
        });
    let wanted = ["flat", "host", "tables", "types"].map(|name| format!("headworks:plugin/{name}"));
    assert_eq!(interfaces.keys().collect::<Vec<_>>(), [&"0.3.0"]);
    assert!(interfaces["0.3.0"].iter().eq(wanted.iter()), "{interfaces:?}");
}

/// A plugin that drops every event, written in text for the contract 0.1.0, as a compiler of then made it.
const OF_0_1: &str = r#"(module
    (import "headworks:plugin/types@0.1.0" "[resource-drop]document" (func $drop (param i32)))
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        (local.get $at))
    (func (export "configure") (param i32 i32) (result i32) (i32.const 16))
    (func (export "transform") (param i32) (result i32)
        (call $drop (i32.load offset=72 (local.get 0)))
        (i32.const 32)))"#;

#[tokio::test]
async fn a_component_of_the_contract_before_runs_beside() {
    let folder = tempfile::tempdir().expect("a folder");
    let module = folder.path().join("of-before.wasm");
    std::fs::write(&module, wat::parse_str(OF_0_1).expect("well-formed")).expect("a file");
    let built = super::build(&module);
    assert_eq!(built.facts.imports, ["headworks:plugin/types@0.1.0"]);
    let name = "of-before".parse().expect("a name");
    let plugin = transformer()
        .prepare(&name, 1, super::component(&built), None)
        .await
        .expect("it is a plugin");
    let set = tables(&[("shops", 1, SHOPS)]);
    for _ in 0..3 {
        let made = plugin.transform_for(Purpose::Live, &event(r#"{"n": 1}"#), &set);
        assert!(made.expect("it runs").is_empty());
    }
}
