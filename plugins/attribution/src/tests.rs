use headworks_plugin::testing;
use serde_json::{Value, json};

use super::{Attribution, MEMBERS, Member, dialects::Partner, members};

#[test]
fn cases() {
    testing::run_cases::<Attribution>("cases");
}

#[test]
fn refuses_a_configuration_that_could_not_work() {
    for (config, reason) in [
        (r"{}", "missing field `partner`"),
        (
            r#"{"partner": "tune"}"#,
            "unknown variant `tune`, expected one of `adjust`",
        ),
        (
            r#"{"partner": "adjust", "hash": ["ip"]}"#,
            "/salt is missing or too short for /hash",
        ),
        (
            r#"{"partner": "adjust", "hash": ["ip"], "salt": "short"}"#,
            "/salt is missing or too short for /hash",
        ),
        (
            r#"{"partner": "adjust", "hash": ["email"]}"#,
            "unknown variant `email`",
        ),
        (
            r#"{"partner": "adjust", "parameters": {"a/b": "campain"}}"#,
            r#"/parameters/a~1b: the normal form has no member "campain"; it has event, app_id, "#,
        ),
        (r#"{"partner": "adjust", "salted": 1}"#, "unknown field `salted`"),
    ] {
        let refused = testing::configure::<Attribution>(config).err().expect(config);
        assert!(refused.starts_with(reason), "{refused}");
    }
    let many: serde_json::Map<String, Value> = (0..201)
        .map(|number| (format!("p{number}"), json!("campaign")))
        .collect();
    let refused =
        testing::configure::<Attribution>(&json!({"partner": "plain", "parameters": many}).to_string());
    assert_eq!(
        refused.err().as_deref(),
        Some("/parameters has 201 entries: at most 200")
    );
}

const PARTNERS: [Partner; 6] = [
    Partner::Adjust,
    Partner::Appsflyer,
    Partner::Branch,
    Partner::Kochava,
    Partner::Plain,
    Partner::Singular,
];

#[test]
fn every_name_of_a_dialect_is_a_member_and_stands_there_once() {
    for partner in PARTNERS {
        let mut seen = std::collections::BTreeSet::new();
        for (parameter, member) in partner.parameters() {
            assert!(Member::by_name(member).is_some(), "{partner:?}: {member}");
            assert!(seen.insert(*parameter), "{partner:?}: {parameter} twice");
        }
        for (name, _) in partner.events() {
            assert_eq!(*name, name.to_lowercase(), "{partner:?}");
        }
    }
}

#[test]
fn the_schema_of_the_configuration_names_all_members_and_partners() {
    let text = std::fs::read_to_string("config.schema.json").expect("it is there");
    let schema: Value = serde_json::from_str(&text).expect("it is JSON");
    let members: Vec<&str> = MEMBERS.iter().map(|member| member.name).collect();
    assert_eq!(
        schema["properties"]["parameters"]["additionalProperties"]["enum"],
        json!(members)
    );
    let partners: Vec<&str> = PARTNERS.iter().map(|partner| partner.name()).collect();
    assert_eq!(schema["properties"]["partner"]["enum"], json!(partners));
}

#[test]
fn one_moment_in_many_spellings() {
    for text in [
        "2026-11-02 10:15:30.250",
        "2026-11-02T10:15:30.250Z",
        "2026-11-02 19:15:30.250+0900",
        "2026-11-02T19:15:30.250+09:00",
        "1793614530.25",
        "1793614530250",
        "1793614530250000",
    ] {
        let time = members::time(text).flatten().expect(text);
        assert_eq!(time.to_string(), "2026-11-02T10:15:30.25Z", "{text}");
    }
    assert_eq!(members::time("0"), Some(None));
    for text in [
        "",
        "yesterday",
        "20261102101530",
        "2026-13-02 00:00:00",
        "1e9",
        "9".repeat(40).as_str(),
    ] {
        assert_eq!(members::time(text), None, "{text}");
    }
}

#[test]
fn macros_that_nobody_filled_in_are_nothing() {
    for text in [
        "",
        "null",
        "N/A",
        "undefined",
        "{idfa}",
        "${(user_data.idfa)!}",
        "(idfa)",
        "~(idfa)~",
        "[idfa]",
        "{idfa||gps_adid}",
    ] {
        assert!(members::is_nothing(text), "{text}");
    }
    for text in ["{", "a", "[a b]", "{\"a\":1}", "(한국)", "0"] {
        assert!(!members::is_nothing(text), "{text}");
    }
}

/// Whatever comes, the plugin answers with one record or a reason.
#[test]
fn hostile_parameters_are_answered() {
    let plugin: Attribution = testing::configure(r#"{"partner": "branch"}"#).expect("it is in order");
    for data in [
        json!([]),
        json!("name=install"),
        json!(null),
        json!({}),
        json!({"name": {}}),
        json!({"name": [[["install"]]]}),
        json!({"name": "install", "user_data": "none"}),
        json!({"name": "install", "user_data": [{"os": "ios"}]}),
        json!({"name": "install", "user_data": {"os": {"os": 1}}}),
        json!({"name": "x".repeat(100_000), "": 1, "~": 2, "a/b": 3, "user_data": {"": null}}),
    ] {
        let event = testing::event(&json!({"data": data}));
        let answer = testing::records(headworks_plugin::Plugin::transform(&plugin, event));
        assert!(
            answer["rejected"].is_string() || answer[0]["data"]["event"].is_string(),
            "{answer}"
        );
    }
}
