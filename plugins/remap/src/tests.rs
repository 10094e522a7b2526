use headworks_plugin::{Plugin, testing};
use serde_json::{Value, json};

use super::Remap;

#[test]
fn cases() {
    testing::run_cases::<Remap>("cases");
}

fn transform(config: &Value, data: &Value) -> Value {
    let plugin: Remap = testing::configure(&config.to_string()).expect("the configuration is in order");
    testing::records(plugin.transform(testing::event(&json!({"data": data}))))
}

fn refused(config: &Value) -> String {
    testing::configure::<Remap>(&config.to_string())
        .err()
        .unwrap_or_else(|| panic!("{config} is taken"))
}

#[test]
fn a_wrong_configuration_names_the_step_and_what_to_write() {
    for (config, reason) in [
        (json!([]), "the configuration: an object"),
        (json!({}), "/steps: a list of steps, such as "),
        (json!({"steps": []}), "/steps: a list of steps, such as "),
        (
            json!({"step": [], "steps": [{"drop": true}]}),
            "/step: no such member; here stand salt, steps, tables",
        ),
        (
            json!({"steps": [{"drop": true}, {}]}),
            "/steps/1: a step does one thing, this one none; it is one of set, ",
        ),
        (
            json!({"steps": [{"drop": true, "remove": ["/a"]}]}),
            r#"/steps/0: a step does one thing, this one ["drop", "remove"]; it is one of set, "#,
        ),
        (
            json!({"steps": [{"delete": ["/a"]}]}),
            "/steps/0/delete: no such step; there are set, template, ",
        ),
        (
            json!({"steps": [{"remove": ["a"]}]}),
            r#"/steps/0/remove/0: "a" is no JSON Pointer such as "/user/email""#,
        ),
        (
            json!({"steps": [{"remove": [""]}]}),
            "/steps/0/remove/0: the whole of the data cannot be changed at once",
        ),
        (
            json!({"steps": [{"set": {"/a~2": 1}}]}),
            r#"/steps/0/set/~1a~02: "/a~2": a tilde in a pointer is written ~0"#,
        ),
        (
            json!({"steps": [{"set": {"@id": 1}}]}),
            r#"/steps/0/set/@id: "@id": the event's attributes cannot be changed"#,
        ),
        (
            json!({"steps": [{"cast": {"/a": "int"}}]}),
            "/steps/0/cast/~1a: one of boolean, integer, number, string, ",
        ),
        (
            json!({"steps": [{"cast": {"/a": {"to": "date", "offset": "Seoul"}}}]}),
            r#"/steps/0/cast/~1a/offset: an offset such as "+09:00""#,
        ),
        (
            json!({"steps": [{"cast": {"/a": {"to": "integer", "format": "%d"}}}]}),
            "/steps/0/cast/~1a: format and offset are for times, not for integer",
        ),
        (
            json!({"steps": [{"hash": ["/a"]}]}),
            "/steps/0/hash: a hash needs /salt: a text of 16 characters or more",
        ),
        (
            json!({"salt": "short", "steps": [{"hash": ["/a"]}]}),
            "/salt: a text of 16 characters or more, kept secret",
        ),
        (
            json!({"steps": [{"map": {"/a": "os"}}]}),
            "/steps/0/map/~1a: the name of a table: write it under /tables",
        ),
        (
            json!({"tables": {"os": {}}, "steps": [{"map": {"/a": "oz"}}]}),
            "/steps/0/map/~1a: the name of one of /tables: os",
        ),
        (
            json!({"steps": [{"template": {"/a": "{/b"}}]}),
            r#"/steps/0/template/~1a: "{/b": a brace is left open or closed alone"#,
        ),
        (
            json!({"steps": [{"template": {"/a": "{b}"}}]}),
            r#"/steps/0/template/~1a: "{b}": inside braces stands a pointer or an attribute"#,
        ),
        (
            json!({"steps": [{"template": {"/a": "{@user}"}}]}),
            r#"/steps/0/template/~1a: no attribute is called "@user": there are @app_version, @id, "#,
        ),
        (
            json!({"steps": [{"drop": true, "when": {"is": "/a"}}]}),
            "/steps/0/when/is: no such member; here stand all, any, not, exists, equals, ",
        ),
        (
            json!({"steps": [{"drop": true, "when": {"in": {"/a": "ios"}}}]}),
            r#"/steps/0/when/in/~1a: a list of values, such as ["ios", "android"]"#,
        ),
        (
            json!({"steps": [{"rename": {"/a": "/a/b"}}]}),
            "/steps/0/rename/~1a: a value cannot be moved into itself: /a to /a/b",
        ),
        (
            json!({"steps": [{"rename": {"/a": "/b", "/b": "/c"}}]}),
            r#"/steps/0: "/b" and "/b" touch each other: give each a step of its own"#,
        ),
        (
            json!({"steps": [{"copy": {"/a": "/b", "/b/c": "/d"}}]}),
            r#"/steps/0: "/b" and "/b/c" touch each other: give each a step of its own"#,
        ),
        (
            json!({"steps": [{"split": {"into": "/item"}}]}),
            "/steps/0/split/each: the pointer of an array, such as ",
        ),
        (
            json!({"steps": [{"remove": ["/a"], "otherwise": "keep"}]}),
            "/steps/0/otherwise: remove never fails: leave it out",
        ),
        (
            json!({"steps": [{"cast": {"/a": "integer"}, "otherwise": "skip"}]}),
            r#"/steps/0/otherwise: one of "reject" (the default), "keep", "remove" and {"set": VALUE}"#,
        ),
        (
            json!({"steps": [{"split": {"each": "/a"}, "otherwise": {"set": 1}}]}),
            r#"/steps/0/otherwise: a split has "reject", "keep" (one record) or "remove" (none)"#,
        ),
        (
            json!({"steps": [{"drop": false}]}),
            "/steps/0/drop: true: the record is dropped on purpose",
        ),
        (
            json!({"steps": [{"output": {"partition": "{/a}"}}]}),
            "/steps/0/output/partition: no such member; here stand destination, topic, key, headers",
        ),
    ] {
        let refused = refused(&config);
        assert!(refused.starts_with(reason), "{config}\n{refused}");
    }
}

#[test]
fn every_error_is_told_at_once() {
    let refused = refused(
        &json!({"steps": [{"remove": ["a"]}, {"set": {"b": 1}, "when": {"exists": 7}}, {"drop": 1}]}),
    );
    let at: Vec<&str> = refused
        .split(" | ")
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(
        at,
        [
            "/steps/0/remove/0",
            "/steps/1/when/exists",
            "/steps/1/set/b",
            "/steps/2/drop"
        ]
    );
}

#[test]
fn a_configuration_is_bounded() {
    let steps = |count: usize| vec![json!({"remove": ["/a"]}); count];
    assert!(testing::configure::<Remap>(&json!({"steps": steps(100)}).to_string()).is_ok());
    assert_eq!(
        refused(&json!({"steps": steps(101)})),
        "/steps: 101 steps: at most 100"
    );
    let pointers: Vec<String> = (0..1001).map(|number| format!("/p{number}")).collect();
    assert_eq!(
        refused(&json!({"steps": [{"remove": pointers}]})),
        "/steps: the steps have 1001 entries: at most 1000"
    );
    let rows: serde_json::Map<String, Value> = (0..10_001).map(|row| (row.to_string(), json!(1))).collect();
    assert_eq!(
        refused(&json!({"tables": {"t": rows}, "steps": [{"drop": true}]})),
        "/tables: the tables have 10001 rows: at most 10000"
    );
    let mut condition = json!({"exists": "/a"});
    for _ in 0..9 {
        condition = json!({"not": condition});
    }
    assert!(
        refused(&json!({"steps": [{"drop": true, "when": condition}]}))
            .ends_with("conditions stand at most 8 deep")
    );
    let long = "x".repeat(4097);
    assert_eq!(
        refused(&json!({"steps": [{"reject": long}]})),
        "/steps/0/reject: at most 4096 bytes"
    );
}

/// What grows by itself is stopped by what the steps may write, and not by the memory.
#[test]
fn an_event_is_bounded() {
    let doubling: Vec<Value> = (0..40)
        .map(|step| json!({"copy": {"": format!("/c{step}")}}))
        .collect();
    let rejected = transform(&json!({"steps": doubling}), &json!({"text": "x".repeat(1000)}));
    let reason = rejected["rejected"].as_str().expect("it is rejected");
    assert!(
        reason.ends_with("the steps would write more than 4194304 bytes for this event"),
        "{reason}"
    );

    let split = json!({"steps": [{"split": {"each": "/a"}}, {"split": {"each": "/a"}}]});
    let rejected = transform(&split, &json!({"a": vec![vec![0; 50]; 50]}));
    assert_eq!(
        rejected["rejected"],
        "the event would become more than 1000 records"
    );

    let template = json!({"steps": [{"template": {"/b": "{/a}{/a}"}}]});
    let rejected = transform(&template, &json!({"a": "x".repeat(40_000)}));
    assert_eq!(
        rejected["rejected"],
        "/steps/0: the text for /b would have more than 65536 bytes"
    );
}

#[test]
fn steps_that_do_not_depend_on_each_other_read_together() {
    let stages = |steps: Value| {
        let config = json!({"salt": "sixteen-and-more", "steps": steps});
        let plugin: Remap = testing::configure(&config.to_string()).expect("the configuration is in order");
        plugin
            .stages
            .iter()
            .map(|stage| stage.steps.len())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        stages(json!([
            {"rename": {"/a": "/b"}},
            {"cast": {"/c": "integer"}},
            {"hash": ["/d"]},
            {"remove": ["/e"], "when": {"exists": "/f"}},
        ])),
        [4]
    );
    // Each reads what the one before has changed.
    assert_eq!(
        stages(json!([{"rename": {"/a": "/b"}}, {"cast": {"/b/c": "integer"}}, {"hash": ["/b"]}])),
        [1, 1, 1]
    );
    assert_eq!(
        stages(json!([{"remove": ["/list/0"]}, {"hash": ["/list/1"]}])),
        [1, 1]
    );
    assert_eq!(stages(json!([{"remove": ["/a"]}, {"hash": ["/ab"]}])), [2]);
    assert_eq!(
        stages(json!([{"remove": ["/x"]}, {"split": {"each": "/a"}}, {"remove": ["/b"]}])),
        [1, 1, 1]
    );
}

#[test]
fn casts_take_what_spells_the_type_and_nothing_else() {
    let cast = |to: &Value, value: &Value| {
        let config = json!({"steps": [{"cast": {"/v": to}, "otherwise": {"set": "none"}}]});
        transform(&config, &json!({"v": value}))[0]["data"]["v"].clone()
    };
    let none = json!("none");
    for (to, value, expected) in [
        ("integer", json!(" 42 "), json!(42)),
        ("integer", json!(42.0), json!(42)),
        ("integer", json!("1e3"), json!(1000)),
        (
            "integer",
            json!("18446744073709551615"),
            json!(18_446_744_073_709_551_615_u64),
        ),
        (
            "integer",
            json!("9007199254740991.0"),
            json!(9_007_199_254_740_991_i64),
        ),
        // It reads as ….992: which of the two was meant, nobody knows.
        ("integer", json!("9007199254740993.0"), none.clone()),
        ("integer", json!(-9_007_199_254_740_992.0), none.clone()),
        ("integer", json!(1e20), none.clone()),
        ("integer", json!("1e400"), none.clone()),
        ("integer", json!(format!("-1{}", "0".repeat(309))), none.clone()),
        ("integer", json!("042"), none.clone()),
        ("integer", json!(1.5), none.clone()),
        ("integer", json!(true), none.clone()),
        ("integer", json!([1]), none.clone()),
        ("integer", json!("9".repeat(9000)), none.clone()),
        ("number", json!("12.50"), json!(12.5)),
        ("number", json!("1,5"), none.clone()),
        ("number", json!("NaN"), none.clone()),
        ("number", json!({}), none.clone()),
        ("boolean", json!("Yes"), json!(true)),
        ("boolean", json!(0), json!(false)),
        ("boolean", json!("2"), none.clone()),
        ("string", json!(12), json!("12")),
        ("string", json!(1.0), json!("1.0")),
        ("string", json!(false), json!("false")),
        ("string", json!({"a": [1]}), json!(r#"{"a":[1]}"#)),
        (
            "rfc3339",
            json!("2026-11-02 10:15:30"),
            json!("2026-11-02T10:15:30Z"),
        ),
        (
            "rfc3339",
            json!("2026-11-02T10:15:30+09:00"),
            json!("2026-11-02T01:15:30Z"),
        ),
        ("rfc3339", json!(1_793_614_530), json!("2026-11-02T10:15:30Z")),
        ("epoch_ms", json!("1793614530.25"), json!(1_793_614_530_250_i64)),
        ("epoch_s", json!(1_793_614_530_250_i64), json!(1_793_614_530)),
        ("date", json!("2026-11-02T23:15:30-03:00"), json!("2026-11-03")),
        ("rfc3339", json!("20261102101530"), none.clone()),
        ("rfc3339", json!("tomorrow"), none.clone()),
        ("rfc3339", json!(-1), none.clone()),
    ] {
        assert_eq!(cast(&json!(to), &value), expected, "{value} to {to}");
    }
    let packed = json!({"to": "rfc3339", "format": "%Y%m%d%H%M%S", "offset": "+09:00"});
    assert_eq!(
        cast(&packed, &json!("20261102101530")),
        json!("2026-11-02T01:15:30Z")
    );
    assert_eq!(cast(&packed, &json!("2026-11-02")), none);
    let day = json!({"to": "date", "format": "%d/%m/%Y"});
    assert_eq!(cast(&day, &json!("02/11/2026")), json!("2026-11-02"));
    let zoned = json!({"to": "date", "format": "%Y-%m-%d %H:%M %z", "offset": "+09:00"});
    assert_eq!(
        cast(&zoned, &json!("2026-11-02 23:00 +0000")),
        json!("2026-11-03")
    );
}

#[test]
fn conditions() {
    let holds = |condition: &Value, data: &Value| {
        let config = json!({"steps": [{"drop": true, "when": condition}]});
        transform(&config, data) == json!([])
    };
    let data = json!({"os": "ios", "n": 5, "f": 1.0, "null": null, "tags": ["a"], "o": {"k": 1}, "url": "https://x.example/a"});
    for condition in [
        json!({"exists": "/os"}),
        json!({"exists": "/null"}),
        json!({"not": {"exists": "/gone"}}),
        json!({"equals": {"/os": "ios", "/n": 5}}),
        json!({"equals": {"/n": 5.0, "/f": 1}}),
        json!({"equals": {"/null": null}}),
        json!({"equals": {"/tags": ["a"], "/o": {"k": 1}}}),
        json!({"equals": {"@type": "example", "@partner": "example"}}),
        json!({"in": {"/os": ["android", "ios"]}}),
        json!({"prefix": {"/url": "https://"}, "suffix": {"/url": "/a"}, "contains": {"/url": "x.ex"}}),
        json!({"at_least": {"/n": 5}, "below": {"/n": 5.5}}),
        json!({"type": {"/n": "number", "/os": "string", "/null": "null", "/tags": "array", "/o": "object"}}),
        json!({"any": [{"exists": "/gone"}, {"all": [{"exists": "/n"}, {"exists": "/o/k"}]}]}),
    ] {
        assert!(holds(&condition, &data), "{condition}");
        assert!(!holds(&json!({"not": condition}), &data), "not {condition}");
    }
    for condition in [
        json!({"equals": {"/gone": null}}),
        json!({"equals": {"/n": "5"}}),
        json!({"equals": {"/os": "ios", "/n": 6}}),
        json!({"prefix": {"/n": "5"}}),
        json!({"at_least": {"/os": 0}}),
        json!({"exists": "@app_version"}),
    ] {
        assert!(!holds(&condition, &data), "{condition}");
    }
}

#[test]
fn parts_of_urls_and_user_agents() {
    let parse = |step: &str, text: &str| {
        let config = json!({"steps": [{step: {"/v": "/p"}, "otherwise": {"set": "none"}}]});
        transform(&config, &json!({"v": text}))[0]["data"]["p"].clone()
    };
    assert_eq!(
        parse(
            "parse_url",
            "HTTPS://user:secret@WWW.Haneul.example:8443/a%20b/?q=1&q=2&utm_source=%EB%B6%80%EC%82%B0&e=#top"
        ),
        json!({"scheme": "https", "host": "www.haneul.example", "port": 8443, "path": "/a%20b/", "fragment": "top",
            "query": {"q": ["1", "2"], "utm_source": "부산", "e": ""}})
    );
    assert_eq!(
        parse("parse_url", "/s/8812?q=1"),
        json!({"path": "/s/8812", "query": {"q": "1"}})
    );
    assert_eq!(
        parse("parse_url", "https://bücher.example/")["host"],
        "xn--bcher-kva.example"
    );
    for text in ["", "no url", "//x", "http://", &"a".repeat(9000)] {
        assert_eq!(parse("parse_url", text), json!("none"), "{text}");
    }
    let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                  Version/17.6 Mobile/15E148 Safari/604.1";
    assert_eq!(
        parse("parse_user_agent", iphone),
        json!({"name": "Safari", "version": "17.6", "vendor": "Apple", "category": "smartphone", "os": "iPhone",
            "os_version": "17.6.1"})
    );
    assert_eq!(
        parse(
            "parse_user_agent",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
        )["category"],
        "crawler"
    );
    for text in ["", "-", "something/1.0"] {
        assert_eq!(parse("parse_user_agent", text), json!("none"), "{text}");
    }
}

/// Whatever comes, the plugin answers with records or a reason, and is never at fault.
#[test]
fn hostile_data_is_answered() {
    let config = json!({
        "salt": "sixteen-and-more",
        "tables": {"t": {"a": 1}},
        "steps": [
            {"set": {"/a/b": 1}},
            {"template": {"/t": "{/a}{/x|none}"}},
            {"copy": {"/list/0": "/list/-"}},
            {"cast": {"/n": "integer"}, "otherwise": "remove"},
            {"hash": ["/a"]},
            {"map": {"/a": "t"}, "otherwise": "keep"},
            {"split": {"each": "/items", "into": "/item/deep", "index": "/item/index"}, "otherwise": "keep"},
            {"output": {"key": "{/item/deep|none}"}},
        ],
    });
    for data in [
        json!(null),
        json!("text"),
        json!(7),
        json!([]),
        json!([1, 2]),
        json!({}),
        json!({"a": "scalar"}),
        json!({"a": {"b": {"c": 1}}, "list": []}),
        json!({"a": [], "list": [[]], "n": {}}),
        json!({"items": [null, true, 1e300, "x", [], {}]}),
        json!({"items": {"0": 1}}),
        json!({"item": 1, "items": [1]}),
    ] {
        let answer = transform(&config, &data);
        assert!(
            answer["rejected"].is_string() || answer.is_array(),
            "{data}: {answer}"
        );
    }
}

#[test]
fn the_schema_of_the_configuration_names_all_steps() {
    let text = std::fs::read_to_string("config.schema.json").expect("it is there");
    let schema: Value = serde_json::from_str(&text).expect("it is JSON");
    let members = schema["$defs"]["step"]["properties"]
        .as_object()
        .expect("a step has members");
    let mut named: Vec<&str> = members.keys().map(String::as_str).collect();
    named.retain(|name| !["note", "otherwise", "when"].contains(name));
    let mut known = super::read::STEP_NAMES;
    known.sort_unstable();
    assert_eq!(named, known);
}
