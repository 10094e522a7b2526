//! Proposals of schemas.

use serde_json::{Value, json};

use crate::{
    cli::schema_files::infer::{events, infer, mixture},
    json::Document,
};

fn proposed(data: &[Value]) -> (Value, String) {
    let documents: Vec<Document> = data
        .iter()
        .map(|data| Document::from_value(data).unwrap())
        .collect();
    let (text, decisions) = infer(&documents, 10).unwrap();
    let lines: Vec<String> = decisions
        .iter()
        .map(|decision| format!("{} [{}] {}", decision.place, decision.seen, decision.decided))
        .collect();
    (serde_json::from_str(&text).unwrap(), lines.join("\n"))
}

fn views(count: usize) -> Vec<Value> {
    let platform = |index: usize| ["ios", "android", "web"][index % 3];
    (0..count)
        .map(|index| {
            let mut view = json!({
                "occurred_at": format!("2026-11-02T10:15:{:02}+09:00", index % 60),
                "session": {"id": format!("c2a9d7f4-3e61-4b8c-a05d-{index:012x}"), "number": index},
                "platform": platform(index),
                "screen": format!("screen_{index}"),
                "load_ms": if index % 7 == 0 { json!(null) } else { json!(index) },
                "ratio": if index % 2 == 0 { json!(1) } else { json!(0.5) },
                "tags": (0..index % 3).map(|tag| format!("t{tag}")).collect::<Vec<_>>(),
            });
            if index % 4 == 0 {
                view["referrer"] = format!("https://example.com/{index}").into();
            }
            view
        })
        .collect()
}

#[test]
fn a_proposal_says_what_the_events_show_and_why() {
    let (schema, decisions) = proposed(&views(60));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(
        schema["required"],
        json!([
            "load_ms",
            "occurred_at",
            "platform",
            "ratio",
            "screen",
            "session",
            "tags"
        ])
    );
    let properties = &schema["properties"];
    assert_eq!(
        properties["occurred_at"],
        json!({"type": "string", "format": "date-time"})
    );
    assert_eq!(
        properties["session"]["properties"]["id"],
        json!({"type": "string", "format": "uuid"})
    );
    assert_eq!(
        properties["session"]["properties"]["number"],
        json!({"type": "integer"})
    );
    assert_eq!(properties["session"]["required"], json!(["id", "number"]));
    assert_eq!(
        properties["platform"],
        json!({"type": "string", "enum": ["android", "ios", "web"]})
    );
    assert_eq!(
        properties["screen"],
        json!({"type": "string"}),
        "every value another"
    );
    assert_eq!(properties["load_ms"], json!({"type": ["integer", "null"]}));
    assert_eq!(properties["ratio"], json!({"type": "number"}));
    assert_eq!(properties["referrer"], json!({"type": "string", "format": "uri"}));
    assert_eq!(properties["tags"]["type"], "array");
    assert_eq!(properties["tags"]["items"]["type"], "string");
    assert_eq!(
        schema.get("additionalProperties"),
        None,
        "what was not seen yet is not forbidden"
    );
    for line in [
        "/platform [60 of 60] required; string; one of 3 values, each seen often",
        "/referrer [15 of 60] optional; string; every text is a uri",
    ] {
        assert!(decisions.contains(line), "{line} in\n{decisions}");
    }
}

#[test]
fn too_little_evidence_says_little() {
    let (schema, decisions) = proposed(&views(4));
    assert_eq!(schema.get("required"), None);
    assert_eq!(schema["properties"]["platform"], json!({"type": "string"}));
    assert_eq!(schema["properties"]["occurred_at"], json!({"type": "string"}));
    assert!(decisions.contains("too few events"), "{decisions}");
    assert!(decisions.contains("perhaps date-time"), "{decisions}");
}

#[test]
fn values_of_several_types_and_maps_are_allowed() {
    let state = |index: usize| ["on", "off", "3"][index % 3];
    let data: Vec<Value> = (0..200)
        .map(|index| {
            json!({
                "id": if index % 2 == 0 { json!(index) } else { json!(format!("a{index}")) },
                "prices": {format!("sku_{}", index % 100): index},
                "state": state(index),
            })
        })
        .collect();
    let (schema, decisions) = proposed(&data);
    assert_eq!(schema["properties"]["id"]["type"], json!(["string", "integer"]));
    assert_eq!(
        schema["properties"]["prices"],
        json!({"type": "object", "additionalProperties": {"type": "integer"}})
    );
    assert_eq!(
        schema["properties"]["state"],
        json!({"type": "string"}),
        "3 is no word"
    );
    assert!(decisions.contains("a map: 100 names"), "{decisions}");
}

#[test]
fn events_with_attributes_are_told_from_data() {
    let data = r#"{"type":"a","data":1}"#;
    assert_eq!(
        events(data, None).unwrap()[0].bytes(),
        data,
        "data may have such members too"
    );
    let enveloped = concat!(
        r#"{"id":"1","type":"note.taken","data":{"text":"a"}}"#,
        "\n\n",
        r#"{"id":"2","type":"note.taken","data":{"text":"b"}}"#,
    );
    let found = events(enveloped, None).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].bytes(), r#"{"text":"b"}"#);
    let two = format!("{enveloped}\n{}", r#"{"id":"3","type":"note.lost","data":7}"#);
    assert!(
        events(&two, None)
            .unwrap_err()
            .to_string()
            .contains("note.lost, note.taken")
    );
    let lost = events(&two, Some(&"note.lost".parse().unwrap())).unwrap();
    assert_eq!(lost[0].bytes(), "7");
    assert!(
        events(&two, Some(&"note.x".parse().unwrap()))
            .unwrap_err()
            .to_string()
            .contains("no event of note.x")
    );
    assert!(
        events("{\"a\":1}\n{\"a\"", None)
            .unwrap_err()
            .to_string()
            .contains("line 2")
    );
    assert!(events("\n", None).is_err());
}

#[test]
fn one_line_of_another_kind_is_pointed_out() {
    let enveloped = |id: usize| json!({"id": id.to_string(), "type": "note.taken", "data": {"text": "a"}});
    let lines = |values: &[Value]| -> Vec<(usize, Document)> {
        let documents = values.iter().map(|value| Document::from_value(value).unwrap());
        documents
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .collect()
    };
    let mut values: Vec<Value> = (0..5).map(enveloped).collect();
    assert_eq!(mixture(&lines(&values)), None);
    values[3].as_object_mut().unwrap().remove("data");
    let note = mixture(&lines(&values)).unwrap();
    assert!(
        note.contains("4 of 5 lines") && note.contains("line 4 is not"),
        "{note}"
    );
    assert_eq!(mixture(&lines(&[json!({"a": 1}), json!(2)])), None);
}
