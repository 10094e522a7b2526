//! Schemas that would cost an event, or their own compilation, any time.

use std::time::{Duration, Instant};

use super::{MIB, check_schema, event, state};
use crate::{
    problem::Code,
    validate::{Schemas, references::Texts, weigh::weigh},
};

/// What registration promises; a debug build is many times slower than what is promised it for.
const TIME: Duration = Duration::from_secs(10);

fn refused(what: &str, text: &str) -> (String, String) {
    let begun = Instant::now();
    let faults = check_schema(text, MIB).expect_err(what);
    assert!(begun.elapsed() < TIME, "{what}: {:?}", begun.elapsed());
    (faults[0].pointer.clone(), faults[0].message.clone())
}

/// `count` definitions, each of which applies the next one twice, by `combine`.
fn chain(count: usize, combine: impl Fn(&str) -> String) -> String {
    let definitions: Vec<String> = (0..count)
        .map(|index| {
            format!(
                r#""d{index}":{}"#,
                combine(&format!(r##"{{"$ref":"#/$defs/d{}"}}"##, index + 1))
            )
        })
        .collect();
    format!(
        r##"{{"$ref":"#/$defs/d0","$defs":{{{},"d{count}":{{"type":"object"}}}}}}"##,
        definitions.join(",")
    )
}

#[test]
fn references_that_multiply_each_other_are_refused() {
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let bomb = chain(40, |next| format!(r#"{{"{keyword}":[{next},{next}]}}"#));
        let (pointer, message) = refused(keyword, &bomb);
        assert!(pointer.starts_with("/$defs/d"), "{keyword}: {pointer}");
        assert!(message.contains("multiply each other"), "{keyword}: {message}");
    }
    let conditions = chain(40, |next| {
        format!(r#"{{"if":{next},"then":{next},"else":{next}}}"#)
    });
    assert!(refused("if", &conditions).1.contains("multiply each other"));
    let dynamic = r##"{"$defs":{"a":{"$dynamicAnchor":"a","allOf":[{"$dynamicRef":"#b"},{"$dynamicRef":"#b"}]},"b":{"$dynamicAnchor":"b","allOf":[{"$dynamicRef":"#a"}]}},"$ref":"#/$defs/a"}"##;
    assert!(refused("$dynamicRef", dynamic).1.contains("leads back"));
    // What a reference leads to is a schema, also where it would be data by itself.
    let twice = chain(40, |next| format!(r#"{{"allOf":[{next},{next}]}}"#));
    let hidden = twice.replace("$defs", "default");
    assert!(refused("default", &hidden).1.contains("multiply each other"));
    let straight = chain(100, |next| format!(r#"{{"allOf":[{next}]}}"#));
    check_schema(&straight, MIB).expect("a chain without branches costs its length");
}

#[test]
fn a_schema_that_applies_itself_twice_to_a_member_is_refused() {
    let doubling = r##"{"$ref":"#/$defs/n","$defs":{"n":{"allOf":[
        {"properties":{"a":{"$ref":"#/$defs/n"}}},{"properties":{"a":{"$ref":"#/$defs/n"}}}]}}}"##;
    let (pointer, message) = refused("doubling", doubling);
    assert!(pointer.is_empty() || pointer.starts_with("/$defs/n"), "{pointer}");
    assert!(message.contains("more than once to the same member"), "{message}");
    for tree in [
        r##"{"$ref":"#/$defs/n","$defs":{"n":{"properties":{"left":{"$ref":"#/$defs/n"},"right":{"$ref":"#/$defs/n"}},"additionalProperties":false}}}"##,
        r##"{"$id":"urn:t","properties":{"children":{"type":"array","items":{"$ref":"urn:t"}}}}"##,
        r##"{"$ref":"#/$defs/e","$defs":{"e":{"oneOf":[{"type":"number"},
            {"properties":{"and":{"type":"array","items":{"$ref":"#/$defs/e"}}},"required":["and"]},
            {"properties":{"or":{"type":"array","items":{"$ref":"#/$defs/e"}}},"required":["or"]},
            {"properties":{"not":{"$ref":"#/$defs/e"}},"required":["not"]}]}}}"##,
        r##"{"$dynamicAnchor":"n","properties":{"data":true,"children":{"items":{"$dynamicRef":"#n"}}},"unevaluatedProperties":false}"##,
    ] {
        check_schema(tree, MIB).unwrap_or_else(|faults| panic!("{tree}: {faults:?}"));
    }
}

#[test]
fn circles_that_come_to_no_other_value_are_refused() {
    for (circle, at) in [
        (r##"{"$ref":"#"}"##, "/$ref"),
        (
            r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}"##,
            "/$defs/",
        ),
        (r##"{"anyOf":[{"type":"null"},{"$ref":"#"}]}"##, "/anyOf/1/$ref"),
        (r##"{"$id":"urn:a","not":{"$ref":"urn:a"}}"##, "/not/$ref"),
        (
            r##"{"$ref":"#/$defs","$defs":{"not":{"$ref":"#/$defs"}}}"##,
            "/$defs/not/$ref",
        ),
    ] {
        let (pointer, message) = refused(circle, circle);
        assert!(pointer.starts_with(at), "{circle}: {pointer}");
        assert!(message.contains("leads back"), "{message}");
    }
}

#[test]
fn the_samples_and_the_metaschemas_are_not_too_dear() {
    for uri in super::super::compile::DRAFTS {
        let own = format!(r#"{{"$schema":"{uri}","items":{{"$ref":"{uri}"}}}}"#);
        check_schema(&own, MIB).unwrap_or_else(|faults| panic!("{uri}: {faults:?}"));
    }
    let many: Vec<String> = (0..2000)
        .map(|index| format!(r##"{{"properties":{{"k":{{"const":{index}}},"v":{{"$ref":"#/$defs/v"}}}}}}"##))
        .collect();
    let union = format!(
        r##"{{"oneOf":[{}],"$defs":{{"v":{{"items":{{"$ref":"#"}}}}}}}}"##,
        many.join(",")
    );
    let value = serde_json::from_str(&union).unwrap();
    weigh(&value, &Texts::default().library().unwrap()).expect("a union of two thousand is a union");
}

#[test]
fn a_pattern_made_to_backtrack_costs_an_event_little() {
    // The engine in use decides: with look-around it is the one that backtracks, without it the linear one.
    for pattern in [
        "^(?=a)(a|a)*\\\\1$",
        "^(a+)+$",
        "^(?!x)(a+)+$",
        "(?<=^)(([a-z])+.)+[A-Z]([a-z])+$",
    ] {
        let text = format!(r#"{{"type":"string","pattern":"{pattern}"}}"#);
        check_schema(&text, MIB).expect("patterns are taken");
        let schemas = Schemas::build(&state(&[("1", None, &text)]), &Schemas::default());
        let data = format!("\"{}!\"", "a".repeat(50_000));
        schemas.check(event(None, "1")).unwrap_err();
        let begun = Instant::now();
        let (_, reason) = *schemas.check(event(None, &data)).unwrap_err();
        assert_eq!(reason.code, Code::SchemaViolation, "{pattern}");
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{pattern}: {:?}",
            begun.elapsed()
        );
    }
}
