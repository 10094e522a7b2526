//! Events brought to a newer version's form.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{event, state};
use crate::{
    json::{Document, EditedDocument},
    problem::Code,
    registry::model::{State, Upgrade, Versioned},
    validate::{Compiled, Schemas, check_step, check_upgrade, upgrade::upgrade},
};

fn steps(steps: &Value) -> Upgrade {
    let read: Upgrade = serde_json::from_value(json!({ "steps": steps })).unwrap();
    assert_eq!(
        serde_json::to_value(&read).unwrap()["steps"],
        *steps,
        "kept as declared"
    );
    for step in &read.steps {
        check_step(step).unwrap();
    }
    read
}

fn upgraded(data: &str, declared: &Value) -> Result<String, String> {
    let document = Document::parse(Bytes::copy_from_slice(data.as_bytes()), 64).unwrap();
    let mut edited = EditedDocument::new(document);
    upgrade(&mut edited, &steps(declared)).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(edited.to_bytes().to_vec()).unwrap())
}

#[test]
fn each_step_does_what_it_says_and_leaves_the_rest_as_it_came() {
    for (data, declared, expected) in [
        (
            r#"{"id": "a", "n":1.50}"#,
            json!([{"move": "/id", "to": "/session/id"}]),
            r#"{ "n":1.50,"session":{"id":"a"}}"#,
        ),
        (
            r#"{"n":1}"#,
            json!([{"move": "/id", "to": "/session/id"}]),
            r#"{"n":1}"#,
        ),
        (
            r#"{"a":{"q":"x"}}"#,
            json!([{"rename": "/a/q", "to": "query/text"}]),
            r#"{"a":{"query/text":"x"}}"#,
        ),
        (
            r#"{"a":null}"#,
            json!([{"default": "/a", "value": 1}]),
            r#"{"a":null}"#,
        ),
        (
            r#"{"a":{}}"#,
            json!([{"default": "/a/b", "value": {"c": [1]}}, {"default": "/x/y", "value": 1}]),
            r#"{"a":{"b":{"c":[1]}}}"#,
        ),
        (
            r#"{"a":1}"#,
            json!([{"default": "/b", "value": null}]),
            r#"{"a":1,"b":null}"#,
        ),
        (
            r#"{"a":1,"b":2}"#,
            json!([{"remove": "/a"}, {"remove": "/z"}]),
            r#"{"b":2}"#,
        ),
        (
            r#"{"items":[{"p":"1.20"},{"p":"3"},{}]}"#,
            json!([{"cast": "/items/*/p", "to": "number"}, {"move": "/items/*/p", "to": "/items/*/price"}]),
            r#"{"items":[{"price":1.20},{"price":3},{}]}"#,
        ),
        (r#"[1]"#, json!([{"default": "/a", "value": 1}]), "[1]"),
    ] {
        assert_eq!(upgraded(data, &declared).as_deref(), Ok(expected), "{declared}");
    }
}

#[test]
fn casts_take_what_is_exact_and_refuse_the_rest() {
    for (value, to, expected) in [
        (r#""12""#, "integer", Some("12")),
        (r#"" 12 ""#, "integer", Some("12")),
        (r#""12.0""#, "integer", Some("12")),
        ("12.0", "integer", Some("12")),
        ("true", "integer", Some("1")),
        (r#""12.5""#, "integer", None),
        ("1e300", "integer", None),
        (r#""0x1f""#, "integer", None),
        (r#""1.50""#, "number", Some("1.50")),
        (r#""1,50""#, "number", None),
        (r#""NaN""#, "number", None),
        ("7", "number", Some("7")),
        ("7", "string", Some(r#""7""#)),
        ("false", "string", Some(r#""false""#)),
        (
            "12345678901234567890",
            "string",
            Some(r#""12345678901234567890""#),
        ),
        ("[1]", "string", None),
        ("1", "boolean", Some("true")),
        (r#""false""#, "boolean", Some("false")),
        ("2", "boolean", None),
        (r#""yes""#, "boolean", None),
        ("null", "integer", Some("null")),
        ("{}", "boolean", None),
    ] {
        let found = upgraded(&format!(r#"{{"v":{value}}}"#), &json!([{"cast": "/v", "to": to}]));
        match expected {
            Some(expected) => assert_eq!(found, Ok(format!(r#"{{"v":{expected}}}"#)), "{value} to {to}"),
            None => {
                let message = found.expect_err("it cannot be cast");
                assert!(message.contains("step 0") && message.contains("/v"), "{message}");
                assert!(message.contains(&format!("cannot be cast to {to}")), "{message}");
            }
        }
    }
}

#[test]
fn an_upgrade_is_bounded() {
    let data = format!(r#"{{"a":[{}]}}"#, vec!["{}"; 20_000].join(","));
    let failed = upgraded(&data, &json!([{"default": "/a/*/b", "value": 1}])).unwrap_err();
    assert!(failed.contains("at most"), "{failed}");
    let large = "x".repeat(300_000);
    let data = r#"{"a":[{},{},{},{}]}"#;
    let failed = upgraded(data, &json!([{"default": "/a/*/b", "value": large}])).unwrap_err();
    assert!(failed.contains("larger together"), "{failed}");
}

#[test]
fn steps_that_lead_nowhere_are_refused() {
    for step in [
        json!({"remove": ""}),
        json!({"remove": "a"}),
        json!({"move": "/a/*/b", "to": "/c"}),
        json!({"move": "/a", "to": "b"}),
        json!({"rename": "/a", "to": ""}),
        json!({"cast": "/a~2", "to": "string"}),
    ] {
        check_step(&serde_json::from_value(step.clone()).unwrap()).expect_err(&step.to_string());
    }
}

fn compiled(schema: &Value) -> Compiled {
    Compiled::new(&schema.to_string().into()).unwrap()
}

#[test]
fn an_upgrade_is_tried_and_refused_with_the_event_that_it_fails() {
    let older = compiled(&json!({
        "type": "object",
        "properties": {"uid": {"type": "integer", "minimum": 1}, "page": {"type": "string"}},
        "required": ["uid"],
    }));
    let newer = compiled(&json!({
        "type": "object",
        "properties": {"user_id": {"type": "string"}, "page": {"type": "string", "minLength": 1}},
        "required": ["user_id", "page"],
        "additionalProperties": false,
    }));
    let rename = json!({"rename": "/uid", "to": "user_id"});
    let cast = json!({"cast": "/user_id", "to": "string"});
    let page = json!({"default": "/page", "value": "home"});

    let found = check_upgrade(&older, &newer, &steps(&json!([rename, page])), []).unwrap_err();
    assert!(
        older
            .violations(&Document::from_value(&found.event).unwrap())
            .is_none()
    );
    assert_eq!(found.result.as_ref().unwrap()["user_id"], found.event["uid"]);
    assert!(
        found
            .errors
            .iter()
            .any(|error| error.pointer == "/user_id" && error.keyword == "type"),
        "{found:?}"
    );

    let found = check_upgrade(&older, &newer, &steps(&json!([rename, cast, page])), []).unwrap_err();
    assert_eq!(
        found.event["page"], "",
        "an empty page is the older schema's and not the newer's"
    );

    let laxer = compiled(&json!({
        "type": "object",
        "properties": {"user_id": {"type": "string"}, "page": {"type": "string"}},
        "required": ["user_id", "page"],
        "additionalProperties": false,
    }));
    let checked = check_upgrade(&older, &laxer, &steps(&json!([rename, cast, page])), []).unwrap();
    assert!(checked > 100, "{checked}");

    let recent = Document::from_value(&json!({"uid": 1, "member": true})).unwrap();
    let found = check_upgrade(&older, &laxer, &steps(&json!([rename, cast, page])), [recent]).unwrap_err();
    assert_eq!(
        found.event["member"], true,
        "recent events have what no schema names"
    );
}

fn with_upgrades(schemas: &[(&str, Option<&str>, &str)], upgrades: &[(&str, Value)]) -> Arc<State> {
    let mut state = State::clone(&state(schemas));
    let of_type = Arc::make_mut(state.schemas.get_mut("app.opened").unwrap());
    for (since, declared) in upgrades {
        let known = of_type.schemas.iter().find(|known| known.value.0.since == *since);
        let key = known.unwrap().value.0.clone();
        of_type.upgrades.push(Arc::new(Versioned {
            sequence: 2,
            value: (key, steps(declared)),
        }));
    }
    Arc::new(state)
}

#[test]
fn an_event_is_brought_through_every_version_to_the_latest() {
    let state = with_upgrades(
        &[
            (
                "1",
                None,
                r#"{"properties":{"q":{"type":"string"}},"required":["q"]}"#,
            ),
            (
                "2",
                None,
                r#"{"properties":{"query":{"type":"string"}},"required":["query"]}"#,
            ),
            (
                "3",
                None,
                r#"{"properties":{"query":{"type":"string"}},"required":["query","count"]}"#,
            ),
            (
                "4",
                None,
                r#"{"properties":{"query":{"type":"string"}},"required":["query","count"],"additionalProperties":{"type":"integer"}}"#,
            ),
        ],
        &[
            ("2", json!([{"rename": "/q", "to": "query"}])),
            ("3", json!([{"default": "/count", "value": 0}])),
        ],
    );
    let schemas = Schemas::build(&state, &Schemas::default());
    let latest = |version: &str, data: &str| {
        let validated = schemas.check(event(Some(version), data)).unwrap();
        schemas.latest_form(&validated).map(|form| {
            form.map(|form| {
                let data = String::from_utf8(form.event().data.bytes().to_vec()).unwrap();
                (form.schema().to_string(), data)
            })
        })
    };
    let of_latest = |data: &str| Ok(Some(("app.opened@4".to_owned(), data.to_owned())));
    assert_eq!(
        latest("1.5", r#"{"q":"x"}"#),
        of_latest(r#"{"query":"x","count":0}"#)
    );
    assert_eq!(
        latest("2", r#"{"query":"x","count":7}"#),
        of_latest(r#"{"query":"x","count":7}"#)
    );
    assert_eq!(
        latest("3", r#"{"query":"x","count":7}"#),
        of_latest(r#"{"query":"x","count":7}"#)
    );
    assert_eq!(
        latest("4", r#"{"query":"x","count":7}"#),
        Ok(None),
        "it is in that form"
    );
    let reason = latest("2", r#"{"query":"x","more":true}"#).unwrap_err();
    assert_eq!(reason.code, Code::UpgradeFailed);
    assert_eq!(reason.errors[0].pointer, "/more");
    assert!(
        reason.detail.contains("app.opened@2 to app.opened@4"),
        "{}",
        reason.detail
    );
}

#[test]
fn the_sample_companys_upgrades_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let folder = root.join("app.page_view");
    let mut seen = 0;
    for (older, newer) in [("5.0.0", "5.9.0"), ("5.9.0", "5.10.0")] {
        let compiled =
            |since: &str| Compiled::new(&read(&folder.join(format!("{since}.json"))).into()).unwrap();
        let declared: Upgrade =
            serde_json::from_str(&read(&folder.join(format!("{newer}.upgrade.json")))).unwrap();
        let samples = std::fs::read_dir(folder.join("samples").join(older)).unwrap();
        let recent: Vec<Document> = samples
            .map(|entry| serde_json::from_str::<Value>(&read(&entry.unwrap().path())).unwrap())
            .map(|sample| Document::from_value(&sample["data"]).unwrap())
            .collect();
        assert!(!recent.is_empty());
        let checked = check_upgrade(&compiled(older), &compiled(newer), &declared, recent)
            .unwrap_or_else(|found| panic!("{found:?}"));
        assert!(checked > 50, "{checked}");
        seen += 1;
    }
    assert_eq!(seen, 2);
}
