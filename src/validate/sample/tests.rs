use std::{collections::BTreeSet, path::Path, sync::Arc};

use super::Sampler;
use crate::{json::Document, validate::Compiled};

/// Of 100 values so many are what the schema accepts.
fn accepted(text: &str) -> usize {
    let text: Arc<str> = text.into();
    let compiled = Compiled::new(&text).unwrap();
    let schema = compiled.schema().unwrap();
    let mut sampler = Sampler::new(&schema);
    (0..100)
        .filter(|index| {
            let document = Document::from_value(&sampler.value(*index)).unwrap();
            compiled.violations(&document).is_none()
        })
        .count()
}

#[test]
fn every_schema_of_the_sample_company_gets_values() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut seen = 0;
    for folder in std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if !folder.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if !file.is_file() || file.to_string_lossy().ends_with(".upgrade.json") {
                continue;
            }
            let found = accepted(&std::fs::read_to_string(&file).unwrap());
            assert!(found >= 20, "{}: {found} of 100", file.display());
            seen += 1;
        }
    }
    assert!(seen >= 25, "{seen}");
}

#[test]
fn keywords_are_understood() {
    for text in [
        r#"{"type":"integer","minimum":3,"exclusiveMaximum":5}"#,
        r#"{"$schema":"http://json-schema.org/draft-04/schema#","type":"integer","minimum":3,"exclusiveMinimum":true}"#,
        r#"{"type":"number","multipleOf":0.25,"minimum":1,"maximum":2}"#,
        r#"{"type":["string","null"],"minLength":3,"maxLength":4}"#,
        r#"{"pattern":"^[A-Z]{2}-[0-9]{2,}(a|b)?$"}"#,
        r#"{"type":"string","pattern":"^\\d+$","maxLength":6}"#,
        r#"{"prefixItems":[{"const":1},{"enum":["a","b"]}],"items":false,"minItems":2,"maxItems":2}"#,
        r#"{"allOf":[{"required":["a"]},{"properties":{"a":{"type":"boolean"}}}],"type":"object"}"#,
        r##"{"type":"object","properties":{"next":{"$ref":"#"},"n":{"type":"integer"}},"required":["n"]}"##,
        r##"{"$ref":"#/$defs/a%20b","$defs":{"a b":{"const":7}}}"##,
        r#"{"type":"array","items":{"type":"integer"},"uniqueItems":true,"minItems":1}"#,
        r#"{"type":"object","properties":{"a":true,"b":true},"dependentRequired":{"a":["b"]}}"#,
        r#"{"anyOf":[{"type":"object","required":["a"],"properties":{"a":{"type":"null"}}},{"type":"integer"}]}"#,
    ] {
        let found = accepted(text);
        assert!(found >= 30, "{found} of 100: {text}");
    }
}

#[test]
fn values_differ_and_are_the_same_each_time() {
    let schema = serde_json::json!({
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
        "required": ["b"],
    });
    let values = || -> Vec<String> {
        let mut sampler = Sampler::new(&schema);
        (0..50).map(|index| sampler.value(index).to_string()).collect()
    };
    assert_eq!(values(), values());
    assert!(values().iter().collect::<BTreeSet<_>>().len() > 30);
    assert!(values()[0].contains("\"a\""));
    assert!(!values()[1].contains("\"a\""));
}
