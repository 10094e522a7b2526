//! Each form as its own documentation shows it, and proposals from events.

mod infer;

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{
    confluent, iglu,
    import::{Reading, sort_out},
    segment,
};

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Files by their place below the folder; and what was refused, as "FROM: REASON".
fn taken(reading: Reading) -> (Vec<(String, String)>, Vec<String>) {
    let directory = Path::new("/nowhere");
    let (report, files) = sort_out(reading, directory).unwrap();
    let files = files
        .into_iter()
        .map(|(path, text)| (path.strip_prefix(directory).unwrap().display().to_string(), text))
        .collect();
    let report = serde_json::to_value(&report).unwrap();
    let refused = report["refused"].as_array().unwrap().iter();
    let sentence = |refused: &Value| {
        format!(
            "{}: {}",
            refused["from"].as_str().unwrap(),
            refused["reason"].as_str().unwrap()
        )
    };
    (files, refused.map(sentence).collect())
}

fn names(files: &[(String, String)]) -> Vec<&str> {
    files.iter().map(|(name, _)| name.as_str()).collect()
}

const CLICK: &str = r#"{
  "$schema": "http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#",
  "description": "Schema for a link click",
  "self": {
    "vendor": "com.acme_company",
    "name": "link_click",
    "format": "jsonschema",
    "version": "1-0-1"
  },
  "type": "object",
  "properties": {
    "target_url": { "type": "string", "minLength": 1, "maxLength": 2048 },
    "element_classes": { "type": ["array", "null"], "items": { "type": "string" } }
  },
  "required": ["target_url"],
  "additionalProperties": false
}
"#;

#[test]
fn iglu_folders_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let vendor = root.join("schemas/com.acme_company");
    write(&vendor.join("link_click/jsonschema/1-0-1"), CLICK);
    let second = CLICK
        .replace("\"version\": \"1-0-1\"", "\"version\": \"2-0-0\"")
        .replace("/jsonschema/1-0-0#", "/jsonschema/2-0-0#");
    write(&vendor.join("link_click/jsonschema/2-0-0"), &second);
    write(&vendor.join("link_click/jsonschema/2-0-1"), &second);
    write(&vendor.join("link_click/avro/1-0-0"), "{}");
    write(&vendor.join("plain/jsonschema/1-0-0"), r#"{"type":"object"}"#);
    write(
        &vendor.join("broken/jsonschema/1-0-0"),
        &CLICK
            .replace("link_click", "broken")
            .replace("1-0-1", "1-0-0")
            .replace("\"minLength\": 1", "\"minLength\": \"1\""),
    );
    write(&root.join("README.md"), "# Ours");
    write(&root.join("jsonpaths/com.acme_company/link_click_1.json"), "{}");

    let (files, refused) = taken(iglu::read(root).unwrap());
    assert_eq!(
        names(&files),
        [
            "schemas/com.acme_company.link_click/1.0.1.json",
            "schemas/com.acme_company.link_click/2.0.0.json"
        ]
    );
    assert!(
        files[0].1.contains("http://json-schema.org/draft-04/schema#"),
        "{}",
        files[0].1
    );
    assert!(!files[0].1.contains("\"self\""));
    assert!(
        files[0].1.find("target_url") < files[0].1.find("element_classes"),
        "members keep their order"
    );
    assert!(files[1].1.contains("http://json-schema.org/draft-07/schema#"));
    assert_eq!(refused.len(), 4, "{refused:?}");
    for (file, reason) in [
        ("broken/jsonschema/1-0-0", "/properties/target_url/minLength"),
        ("link_click/avro/1-0-0", "its format is avro"),
        ("link_click/jsonschema/2-0-1", "its path says \"2-0-1\""),
        ("plain/jsonschema/1-0-0", "no self.vendor"),
    ] {
        assert!(
            refused
                .iter()
                .any(|line| line.contains(file) && line.contains(reason)),
            "{file}: {reason} in {refused:?}"
        );
    }
}

const ORDER_1: &str = r#"{"$schema":"http://json-schema.org/draft-07/schema#","title":"Order","type":"object","additionalProperties":false,"properties":{"orderId":{"type":"integer"},"total":{"oneOf":[{"type":"null"},{"type":"number"}]}},"required":["orderId"]}"#;
const ORDER_2: &str =
    r#"{"title":"Order","type":"object","properties":{"orderId":{"type":"integer"}},"required":["orderId"]}"#;

fn key(subject: &str, version: u64) -> String {
    json!({"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1}).to_string()
}

fn value(subject: &str, version: u64, schema_type: Option<&str>, schema: &str) -> Value {
    let mut value = json!({"subject": subject, "version": version, "id": 100 + version, "schema": schema, "deleted": false});
    if let Some(schema_type) = schema_type {
        value["schemaType"] = schema_type.into();
    }
    value
}

#[test]
fn the_topic_of_confluents_registry_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schemas.txt");
    let avro = r#"{"type":"record","name":"Payment","fields":[]}"#;
    let mut referring = value(
        "invoice-value",
        1,
        Some("JSON"),
        r##"{"$ref":"order.json#/properties/orderId"}"##,
    );
    referring["references"] = json!([{"name": "order.json", "subject": "orders-value", "version": 1}]);
    let mut lost = value("lost-value", 1, Some("JSON"), r#"{"$ref":"gone"}"#);
    lost["references"] = json!([{"name": "gone", "subject": "gone-value", "version": 1}]);
    let mut deleted = value("orders-value", 3, Some("JSON"), ORDER_2);
    deleted["deleted"] = true.into();
    let lines = [
        "{\"keytype\":\"NOOP\",\"magic\":0}\tnull".to_owned(),
        format!("{}\t{}", key("orders-value", 1), value("orders-value", 1, Some("JSON"), ORDER_1)),
        "{\"keytype\":\"CONFIG\",\"subject\":\"orders-value\",\"magic\":0}\t{\"compatibilityLevel\":\"BACKWARD_TRANSITIVE\"}".to_owned(),
        "{\"keytype\":\"CONFIG\",\"subject\":null,\"magic\":0}\t{\"compatibilityLevel\":\"FULL\"}".to_owned(),
        "{\"keytype\":\"CONFIG\",\"subject\":\":.eu:\",\"magic\":0}\t{\"compatibilityLevel\":\"NONE\"}".to_owned(),
        format!("{}\t{}", key("orders-value", 2), value("orders-value", 2, Some("JSON"), ORDER_2)),
        format!("{}\t{deleted}", key("orders-value", 3)),
        format!("{}\t{}", key("orders-key", 1), value("orders-key", 1, Some("JSON"), r#"{"type":"string"}"#)),
        format!("{}\t{}", key("payments-value", 1), value("payments-value", 1, None, avro)),
        format!("{}\t{}", key(":.eu:Stock Moves-value", 1), value(":.eu:Stock Moves-value", 1, Some("JSON"), ORDER_2)),
        format!("{}\t{referring}", key("invoice-value", 1)),
        format!("{}\t{}", key("old-value", 1), value("old-value", 1, Some("JSON"), ORDER_2)),
        "{\"keytype\":\"DELETE_SUBJECT\",\"subject\":\"old-value\",\"magic\":0}\t{\"subject\":\"old-value\",\"version\":1}".to_owned(),
        format!("{}\t{}", key("gone-value", 1), value("gone-value", 1, Some("JSON"), ORDER_2)),
        format!("{}\tnull", key("gone-value", 1)),
        format!("{}\t{lost}", key("lost-value", 1)),
        "not a record".to_owned(),
    ];
    write(&file, &lines.join("\n"));
    let (mut files, refused) = taken(confluent::read(&file).unwrap());
    assert_eq!(
        names(&files),
        [
            "schemas/Stock-Moves/1.json",
            "schemas/invoice/1.json",
            "schemas/orders/1.json",
            "schemas/orders/2.json",
            "types/Stock-Moves.toml",
            "types/invoice.toml",
            "types/orders.toml"
        ]
    );
    let invoice = files.remove(1).1;
    assert!(
        invoice.contains("\"headworks:orders@1#/properties/orderId\""),
        "{invoice}"
    );
    assert_eq!(files[3].1, "compatibility = \"none\"\n", "its context's");
    assert_eq!(files[4].1, "compatibility = \"full\"\n", "the registry's");
    assert_eq!(files[5].1, "compatibility = \"backward\"\n");
    assert_eq!(
        serde_json::from_str::<Value>(&files[1].1).unwrap(),
        serde_json::from_str::<Value>(ORDER_1).unwrap()
    );
    let order = &files[1].1;
    assert!(order.find("title") < order.find("properties"), "{order}");
    assert!(order.lines().count() > 5, "one line became several");
    assert!(files[2].1.contains("draft-07"), "what names no draft is draft 7");
    assert_eq!(refused.len(), 6, "{refused:?}");
    for (from, reason) in [
        ("line 17", "is no JSON"),
        ("lost-value version 1", "/$ref: no schema gone@1 is registered"),
        ("old-value version 1", "its subject was deleted"),
        ("orders-key version 1", "records' keys"),
        ("orders-value version 3", "it was deleted"),
        ("payments-value version 1", "it is AVRO"),
    ] {
        assert!(
            refused
                .iter()
                .any(|line| line.starts_with(from) && line.contains(reason)),
            "{from}: {reason} in {refused:?}"
        );
    }
}

#[test]
fn answers_of_confluents_rest_api_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("answer.json");
    let all = json!([
        value("orders-value", 1, Some("JSON"), ORDER_1),
        value("orders-value", 2, Some("JSON"), ORDER_2),
        {"subject": "orders-value"},
    ]);
    write(&file, &serde_json::to_string_pretty(&all).unwrap());
    let (files, refused) = taken(confluent::read(&file).unwrap());
    assert_eq!(names(&files), ["schemas/orders/1.json", "schemas/orders/2.json"]);
    assert!(refused[0].starts_with("[2]: has not the members"), "{refused:?}");

    write(
        &file,
        &value("orders-value", 2, Some("JSON"), ORDER_2).to_string(),
    );
    let (files, refused) = taken(confluent::read(&file).unwrap());
    assert_eq!((names(&files), refused.len()), (vec!["schemas/orders/2.json"], 0));
}

fn track(properties: &Value) -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "context": {}, "traits": {},
            "properties": {"type": "object", "properties": properties, "required": ["order_id"]},
        },
        "required": ["properties"],
    })
}

#[test]
fn tracking_plans_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json");
    let order = track(&json!({"order_id": {"type": "string"}, "revenue": {"type": ["number", "null"]}}));
    let rules = json!({"data": {"rules": [
        {"type": "TRACK", "key": "Order Completed", "version": 1, "jsonSchema": order, "createdAt": "2025-04-01T00:00:00Z"},
        {"type": "TRACK", "key": "Order Completed", "version": 2, "jsonSchema": order},
        {"type": "IDENTIFY", "key": "", "version": 1, "jsonSchema": {"type": "object", "properties": {"traits": {"type": "object"}}}},
        {"type": "TRACK", "key": "", "version": 1, "jsonSchema": order},
        {"type": "TRACK", "key": "Odd", "version": 1, "jsonSchema": {"type": "objekt"}},
        {"type": "TRACK", "key": "Empty", "version": 1},
    ], "pagination": {"current": "MA==", "totalEntries": 6}}});
    write(&file, &rules.to_string());
    let (files, refused) = taken(segment::read(&file).unwrap());
    assert_eq!(
        names(&files),
        [
            "schemas/Order-Completed/1.json",
            "schemas/Order-Completed/2.json",
            "schemas/identify/1.json"
        ]
    );
    assert_eq!(serde_json::from_str::<Value>(&files[0].1).unwrap(), order);
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert!(
        refused
            .iter()
            .any(|line| line.starts_with("TRACK \"Odd\": /type")),
        "{refused:?}"
    );
    assert!(
        refused
            .iter()
            .any(|line| line.starts_with("TRACK \"Empty\": has no \"jsonSchema\"")),
        "{refused:?}"
    );

    let page = json!({"data": {"rules": [
        {"type": "TRACK", "key": "Order Completed", "version": 1, "jsonSchema": order},
    ], "pagination": {"current": "MA==", "next": "MQ==", "totalEntries": 250}}});
    write(&file, &page.to_string());
    let (files, refused) = taken(segment::read(&file).unwrap());
    assert_eq!((files.len(), refused.len()), (1, 1));
    assert!(
        refused[0].contains("one page, with 1 rules of 250"),
        "the rest is not left out in silence: {refused:?}"
    );

    let common = json!({"rules": [
        {"type": "COMMON", "version": 1, "jsonSchema": {"$schema": "http://json-schema.org/draft-07/schema#", "required": ["context"]}},
        {"type": "TRACK", "key": "Order Completed", "version": 1, "jsonSchema": order},
    ]});
    write(&file, &common.to_string());
    let (files, refused) = taken(segment::read(&file).unwrap());
    assert!(refused.is_empty(), "{refused:?}");
    let schema: Value = serde_json::from_str(&files[0].1).unwrap();
    assert_eq!(schema["allOf"], json!([{"required": ["context"]}]));

    let plan = json!({"tracking_plan": {"name": "workspaces/acme/tracking-plans/rs_1", "display_name": "Acme", "rules": {
        "global": {},
        "identify": {"type": "object"},
        "group": {},
        "events": [{"name": "Order Completed", "version": 1, "description": "", "rules": order}],
    }}});
    write(&file, &plan.to_string());
    let (files, refused) = taken(segment::read(&file).unwrap());
    assert_eq!(
        (names(&files), refused.len()),
        (
            vec!["schemas/identify/1.json", "schemas/Order-Completed/1.json"],
            0
        )
    );

    write(&file, "{\"rules\": 1");
    let (files, refused) = taken(segment::read(&file).unwrap());
    assert_eq!((files.len(), refused.len()), (0, 1));
}

#[test]
fn what_is_there_already_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("answer.json");
    write(
        &file,
        &value("orders-value", 1, Some("JSON"), ORDER_1).to_string(),
    );
    let place = folder.path().join("schemas/orders/1.json");
    write(&place, "{}");
    let (report, files) = sort_out(confluent::read(&file).unwrap(), folder.path()).unwrap();
    let report = serde_json::to_value(&report).unwrap();
    assert!(files.is_empty());
    assert!(
        report["refused"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("is there already"),
        "{report}"
    );
}

/// What became of an import into `directory`; what was taken is written there.
fn imported(file: &Path, records: &Value, directory: &Path) -> Value {
    write(file, &records.to_string());
    let (report, files) = sort_out(confluent::read(file).unwrap(), directory).unwrap();
    for (path, text) in files {
        write(&path, &text);
    }
    serde_json::to_value(&report).unwrap()
}

#[test]
fn references_lead_to_what_stands_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (file, into) = (folder.path().join("answer.json"), folder.path().join("ours"));
    let orders = value("orders-value", 1, Some("JSON"), ORDER_1);
    let referring = |subject: &str, to: &str| {
        let mut value = value(
            subject,
            1,
            Some("JSON"),
            r##"{"properties":{"orderId":{"$ref":"it.json#/properties/orderId"}}}"##,
        );
        value["references"] = json!([{"name": "it.json", "subject": to, "version": 1}]);
        value
    };
    let report = imported(&file, &json!([orders]), &into);
    assert_eq!(report["refused"], json!([]), "{report}");
    let invoice = referring("invoice-value", "orders-value");
    let report = imported(&file, &json!([invoice]), &into);
    assert_eq!(
        report["refused"],
        json!([]),
        "an import before wrote it: {report}"
    );

    let other = json!({"properties": {"orderId": {"type": "string"}}}).to_string();
    write(&into.join("schemas/orders/1.json"), &other);
    let receipt = referring("receipt-value", "orders-value");
    let report = imported(&file, &json!([orders, receipt]), &into);
    assert_eq!(report["refused"][0]["from"], "orders-value version 1", "{report}");
    let notes = report["taken"][0]["notes"].to_string();
    assert!(
        notes.contains("headworks:orders@1 is there with another content"),
        "{report}"
    );

    // What refers to something that is refused is refused as well, and what refers to that.
    let broken = value(
        "a-value",
        1,
        Some("JSON"),
        r#"{"properties": {"orderId": {"type": "objekt"}}}"#,
    );
    let (first, second) = (referring("b-value", "a-value"), referring("c-value", "b-value"));
    let report = imported(&file, &json!([broken, first, second]), &into);
    assert_eq!(report["taken"], json!([]), "{report}");
    assert_eq!(report["refused"].as_array().map(Vec::len), Some(3), "{report}");
}

#[test]
fn a_types_file_that_says_something_else_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (file, into) = (folder.path().join("records.txt"), folder.path().join("ours"));
    let level = r#"{"keytype":"CONFIG","subject":"orders-value","magic":0}"#;
    let lines = [
        format!("{level}\t{{\"compatibilityLevel\":\"FULL\"}}"),
        format!(
            "{}\t{}",
            key("orders-value", 1),
            value("orders-value", 1, Some("JSON"), ORDER_1)
        ),
    ];
    write(&file, &lines.join("\n"));
    for (known, is_reported) in [
        ("description = \"Ours\"\n", true),
        ("description = \"Ours\"\ncompatibility=\"full\"\n", false),
    ] {
        write(&into.join("types/orders.toml"), known);
        let (report, files) = sort_out(confluent::read(&file).unwrap(), &into).unwrap();
        assert_eq!(files.len(), 1, "the schema; what somebody wrote is left alone");
        let report = serde_json::to_value(&report).unwrap();
        let reason = report["refused"][0]["reason"].as_str().unwrap_or_default();
        assert_eq!(
            reason.contains("does not say compatibility = \"full\""),
            is_reported,
            "{report}"
        );
    }
}
