use headworks_plugin::testing;
use serde_json::json;

use crate::CampaignJoin;

#[test]
fn every_case_comes_out_as_written() {
    testing::run_cases::<CampaignJoin>("cases");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let fields = json!({"/name": "/name"});
    for (config, reason) in [
        (
            json!({"table": "", "key": "/id", "fields": fields}),
            "table is empty",
        ),
        (
            json!({"table": "t", "key": "/id", "fields": {}}),
            "fields is empty",
        ),
        (
            json!({"table": "t", "key": "id", "fields": fields}),
            "\"id\" is no JSON Pointer",
        ),
        (
            json!({"table": "t", "key": "/id", "fields": {"/a": "b"}}),
            "\"b\" is no JSON Pointer",
        ),
        (
            json!({"table": "t", "key": "/id", "fields": fields, "missing": "default"}),
            "defaults is empty",
        ),
        (
            json!({"table": "t", "key": "/id", "fields": fields, "defaults": {"/name": "?"}}),
            "only written with missing",
        ),
        (
            json!({"table": "t", "key": "/id", "fields": fields, "mising": "leave"}),
            "mising",
        ),
    ] {
        let Err(refused) = testing::configure::<CampaignJoin>(&config.to_string()) else {
            panic!("{config} is taken");
        };
        assert!(refused.contains(reason), "{refused}");
    }
}

#[test]
fn a_whole_row_and_large_keys_are_taken() {
    let large = "123456789012345678901234567890";
    let row: serde_json::Value = serde_json::from_str(r#"{"key": "x", "a": [1, 2]}"#).expect("JSON");
    testing::put_table("t", [(large, row.clone())]);
    let config = json!({"table": "t", "key": "/id", "fields": {"/row": ""}, "missing": "reject"});
    let plugin = testing::configure::<CampaignJoin>(&config.to_string()).expect("in order");
    let run = |data: &str| {
        let event: serde_json::Value = serde_json::from_str(&format!(r#"{{"data": {data}}}"#)).expect("JSON");
        testing::records(headworks_plugin::Plugin::transform(
            &plugin,
            testing::event(&event),
        ))
    };
    let joined = run(&format!("{{\"id\": \"{large}\"}}"));
    assert_eq!(joined[0]["data"]["row"], row);
    for none in [
        "{\"id\": 1.5}",
        "{\"id\": true}",
        "{\"id\": null}",
        "{}",
        "{\"id\": [1]}",
    ] {
        let refused = run(none);
        assert_eq!(
            refused,
            json!({"rejected": "there is no text or whole number at /id to look up"}),
            "{none}"
        );
    }
}
