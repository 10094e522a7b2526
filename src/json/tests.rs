use bytes::Bytes;
use serde_json::json;

use super::*;

fn parse(text: &str) -> Result<Document, ParseError> {
    Document::parse(Bytes::copy_from_slice(text.as_bytes()), 64)
}

#[test]
fn quick() {
    let text = r#" {"a": 1, "b" : [1, 2 , {"c\u0061":"x\ny"}], "d":{ }, "e":1.50} "#;
    let document = parse(text).unwrap();
    assert_eq!(
        document.root().to_value(),
        serde_json::from_str::<serde_json::Value>(text).unwrap()
    );
    assert_eq!(document.pointer("/b/2/ca").unwrap().as_str().unwrap(), "x\ny");
    let mut edited = EditedDocument::new(document);
    edited.set("/d/e/f", NewValue::Text("a\"b".into())).unwrap();
    edited.set("/b/-", NewValue::Null).unwrap();
    assert!(edited.remove("/b/1"));
    assert!(edited.move_value("/a", "/z").unwrap());
    assert_eq!(
        edited.to_bytes(),
        Bytes::from_static(
            br#" { "b" : [1, {"c\u0061":"x\ny"},null], "d":{"e":{"f":"a\"b"}}, "e":1.50,"z":1} "#
        )
    );
    let validator = jsonschema::options_for::<TapeJson>()
        .build(&json!({"type":"object","required":["b"]}))
        .unwrap();
    assert!(validator.is_valid(parse(text).unwrap().root()));
    assert_eq!(
        edited.get("/d"),
        Some(NewValue::Json(r#"{"e":{"f":"a\"b"}}"#.into()))
    );
}
