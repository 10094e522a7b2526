mod drafts;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::{
    prelude::{Just, Strategy, any, prop, prop_oneof},
    test_runner::{Config, TestCaseError, TestRunner},
};
use serde_json::{Value, json};

use drafts::{drafts, in_draft};

use super::{Answer, Source, Verdict, compare, includes};
use crate::event::AppVersion;

fn source(schema: &Value) -> Source {
    Source {
        root: Arc::new(schema.clone()),
        library: Arc::default(),
    }
}

fn ask(narrow: &Value, wide: &Value) -> Answer {
    let until = Instant::now() + Duration::from_secs(20);
    includes(&source(narrow), &source(wide), &[], until)
}

fn accepts(schema: &Value, value: &Value) -> bool {
    jsonschema::options()
        .offline()
        .should_validate_formats(true)
        .build(schema)
        .expect("the schema compiles")
        .is_valid(value)
}

fn is_closed(schema: &Value, value: &Value) -> bool {
    let mut arena = super::node::Arena::new();
    let (node, _) = super::read::Reader::new(&mut arena, source(schema)).read(None);
    super::evaluate::Evaluator::default().is_closed(&arena, &[node], value, 0)
}

/// `old → new`: backward, forward.
#[track_caller]
fn case(old: &Value, new: &Value, backward: Verdict, forward: Verdict) {
    let report = compare(&source(old), &source(new), &[], Duration::from_secs(20));
    assert_eq!(
        (report.backward.verdict, report.forward.verdict),
        (backward, forward),
        "{old}\n{new}\n{report:#?}"
    );
    for (answer, narrow, wide) in [(&report.backward, old, new), (&report.forward, new, old)] {
        if let Some(refusal) = &answer.refusal {
            assert!(
                accepts(narrow, &refusal.example),
                "{narrow} must accept {refusal:?}"
            );
            assert!(!accepts(wide, &refusal.example), "{wide} must refuse {refusal:?}");
            let shown = jsonschema::options()
                .should_validate_formats(true)
                .build(&refusal.schema)
                .expect("the difference is a schema");
            assert!(
                shown.is_valid(&refusal.example),
                "the difference holds the example: {refusal:?}"
            );
        }
    }
}

use Verdict::{No, Yes};

#[test]
fn an_optional_property_is_compatible_both_ways() {
    let old = json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"] });
    let new = json!({
        "type": "object",
        "properties": { "a": { "type": "string" }, "b": { "type": "integer" } },
        "required": ["a"],
    });
    case(&old, &new, Yes, Yes);
    // In an array, behind a reference, in a combination.
    let nested = |inner: &Value| json!({ "type": "array", "items": { "$ref": "#/$defs/one" }, "$defs": { "one": inner } });
    case(&nested(&old), &nested(&new), Yes, Yes);
    let combined = |inner: &Value| json!({ "allOf": [inner, { "properties": { "z": { "type": "null" } } }] });
    case(&combined(&old), &combined(&new), Yes, Yes);
    let patterned = |inner: &Value| json!({ "type": "object", "patternProperties": { "^x-": inner } });
    case(&patterned(&old), &patterned(&new), Yes, Yes);
}

#[test]
fn what_is_refused_is_shown_by_an_example() {
    let object = |properties: Value, required: Value| json!({ "type": "object", "properties": properties, "required": required });
    let string = json!({ "type": "string" });
    case(
        &object(json!({ "a": string }), json!([])),
        &object(json!({ "a": string }), json!(["a"])),
        No,
        Yes,
    );
    case(
        &object(json!({ "a": string }), json!([])),
        &object(json!({ "a": { "type": "string", "maxLength": 50 } }), json!([])),
        No,
        Yes,
    );
    case(
        &object(json!({ "a": { "enum": ["x", "y"] } }), json!([])),
        &object(json!({ "a": { "enum": ["x", "y", "z"] } }), json!([])),
        Yes,
        No,
    );
    case(
        &object(json!({ "a": { "type": "integer" } }), json!([])),
        &object(json!({ "a": { "type": "number" } }), json!([])),
        Yes,
        No,
    );
    case(
        &object(
            json!({ "a": { "type": "string", "pattern": "^[a-z]{3}$" } }),
            json!([]),
        ),
        &object(
            json!({ "a": { "type": "string", "pattern": "^[a-z]{3,5}[0-9]?$" } }),
            json!(["a"]),
        ),
        No,
        No,
    );
    case(
        &json!({ "minimum": 3 }),
        &json!({ "exclusiveMinimum": 3 }),
        No,
        Yes,
    );
    case(
        &json!({ "format": "date" }),
        &json!({ "format": "date-time" }),
        No,
        No,
    );
    case(
        &json!({ "type": "array", "items": { "type": "integer" }, "maxItems": 3 }),
        &json!({ "type": "array", "items": { "type": "integer" }, "maxItems": 2, "uniqueItems": true }),
        No,
        Yes,
    );
}

#[test]
fn a_member_that_only_one_side_names_counts_as_not_sent_by_the_other() {
    // `b` is new; that the old would have let an unnamed `b` of any type pass is no break.
    let old = json!({ "properties": { "a": true } });
    let new = json!({ "properties": { "a": true, "b": { "type": "integer" } } });
    case(&old, &new, Yes, Yes);
    // Where others are spoken of, they count.
    let open = json!({ "properties": { "a": true }, "additionalProperties": true });
    case(&open, &new, No, Yes);
    let shut = json!({ "properties": { "a": true }, "additionalProperties": false });
    case(&shut, &new, Yes, No);
    // An object that names nothing is a map: anything may stand in it.
    let mut typed = new;
    typed["type"] = json!("object");
    case(&json!({ "type": "object" }), &typed, No, Yes);
}

#[test]
fn combinations_are_taken_apart() {
    let variant = |kind: &str, extra: Value| json!({ "properties": { "kind": { "const": kind }, "value": extra }, "required": ["kind", "value"] });
    let (one, two) = (
        variant("one", json!({ "type": "string" })),
        variant("two", json!({ "type": "integer" })),
    );
    let three = variant("three", json!({ "type": "null" }));
    for keyword in ["oneOf", "anyOf"] {
        case(
            &json!({ "type": "object", keyword: [one, two] }),
            &json!({ "type": "object", keyword: [three, two, one] }),
            Yes,
            No,
        );
    }
    // Two variants over a discriminator, and the same as conditions.
    case(
        &json!({ "type": "object", "oneOf": [one, two] }),
        &json!({
            "type": "object",
            "properties": { "kind": { "enum": ["one", "two"] } },
            "required": ["kind", "value"],
            "if": { "properties": { "kind": { "const": "one" } } },
            "then": { "properties": { "value": { "type": "string" } } },
            "else": { "properties": { "value": { "type": "integer" } } },
        }),
        Yes,
        Yes,
    );
    case(
        &json!({ "type": ["string", "null"] }),
        &json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }),
        Yes,
        Yes,
    );
    case(
        &json!({ "not": { "type": "string" } }),
        &json!({ "type": ["null", "boolean", "number", "array", "object"] }),
        Yes,
        Yes,
    );
    case(
        &json!({ "type": "integer", "minimum": 0 }),
        &json!({ "anyOf": [{ "maximum": 10 }, { "minimum": 11 }] }),
        Yes,
        No,
    );
    case(
        &json!({ "dependentRequired": { "a": ["b"] } }),
        &json!({ "anyOf": [{ "required": ["b"] }, { "not": { "required": ["a"] } }] }),
        Yes,
        Yes,
    );
}

#[test]
fn references_may_lead_in_circles() {
    let tree = |value: Value| {
        json!({
            "$ref": "#/$defs/node",
            "$defs": { "node": {
                "type": "object",
                "properties": {
                    "value": value,
                    "children": { "type": "array", "items": { "$ref": "#/$defs/node" } },
                },
                "required": ["value"],
            } },
        })
    };
    case(
        &tree(json!({ "type": "integer" })),
        &tree(json!({ "type": "number" })),
        Yes,
        No,
    );
    let root =
        |value: Value| json!({ "type": "object", "properties": { "value": value, "next": { "$ref": "#" } } });
    case(
        &root(json!({ "type": "integer" })),
        &root(json!({ "type": ["integer", "null"] })),
        Yes,
        No,
    );
}

#[test]
fn drafts_are_told_apart() {
    let draft = |number: &str, mut schema: Value| {
        schema["$schema"] = json!(number);
        schema
    };
    let (four, six, seven) = (
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
    );
    let latest = "https://json-schema.org/draft/2020-12/schema";
    // Draft 4 spells exclusive bounds otherwise, and its integers have no fraction, not even `.0`.
    case(
        &draft(four, json!({ "minimum": 0, "exclusiveMinimum": true })),
        &draft(latest, json!({ "exclusiveMinimum": 0 })),
        Yes,
        Yes,
    );
    case(
        &draft(four, json!({ "type": "integer" })),
        &draft(six, json!({ "type": "integer" })),
        Yes,
        No,
    );
    // What a draft does not know says nothing.
    case(
        &draft(four, json!({ "const": 1 })),
        &draft(six, json!({ "const": 1 })),
        No,
        Yes,
    );
    case(
        &draft(six, json!({ "if": false, "else": false })),
        &draft(seven, json!({ "if": false, "else": false })),
        No,
        Yes,
    );
    case(
        &draft(
            seven,
            json!({ "items": [{ "type": "string" }], "additionalItems": false }),
        ),
        &draft(
            latest,
            json!({ "prefixItems": [{ "type": "string" }], "items": false }),
        ),
        Yes,
        Yes,
    );
    // Beside a reference, older drafts see nothing.
    let beside = json!({ "properties": { "a": { "$ref": "#/definitions/a", "maxLength": 1 } }, "definitions": { "a": { "type": "string" } } });
    case(&draft(seven, beside.clone()), &draft(latest, beside), No, Yes);
    case(
        &draft(seven, json!({ "format": "uuid" })),
        &draft(latest, json!({ "format": "uuid" })),
        No,
        Yes,
    );
    case(
        &draft(seven, json!({ "dependencies": { "a": ["b"] } })),
        &draft(latest, json!({ "dependentRequired": { "a": ["b"] } })),
        Yes,
        Yes,
    );
}

#[test]
fn unevaluated_properties_count_what_holds() {
    let shut = |extra: Value| {
        json!({
            "type": "object",
            "properties": { "a": { "type": "string" } },
            "anyOf": [{ "properties": { "b": { "type": "integer" } }, "required": ["b"] }, extra],
            "unevaluatedProperties": false,
        })
    };
    let c = json!({ "properties": { "c": { "type": "null" } }, "required": ["c"] });
    case(
        &shut(c.clone()),
        &shut(json!({ "properties": { "c": true }, "required": ["c"] })),
        Yes,
        No,
    );
    case(
        &shut(c),
        &shut(json!({ "properties": { "d": true }, "required": ["d"] })),
        No,
        No,
    );
}

#[test]
fn other_schemas_are_compared_too() {
    let with = |library: Value| Source {
        root: Arc::new(json!({ "properties": { "a": { "$ref": "headworks:common.address@1.0.0" } } })),
        library: Arc::new(BTreeMap::from([(
            "headworks:common.address@1.0.0".to_owned(),
            Arc::new(library),
        )])),
    };
    let old = with(json!({ "properties": { "zip": { "type": "string" } } }));
    let new = with(json!({ "properties": { "zip": { "type": "string" } }, "required": ["zip"] }));
    let report = compare(&old, &new, &[], Duration::from_secs(20));
    assert_eq!(
        report.backward.refusal.map(|refusal| refusal.example),
        Some(json!({ "a": {} }))
    );
    assert_eq!(report.forward.verdict, Yes);
}

#[test]
fn what_is_not_read_is_unknown_and_named() {
    // The same strings, which only an automaton would show.
    let answer = ask(
        &json!({ "properties": { "a": { "pattern": "^(a|b)+$" } } }),
        &json!({ "properties": { "a": { "pattern": "^[ab]+$" } } }),
    );
    assert_eq!(answer.verdict, Verdict::Unknown);
    assert_eq!(
        answer.undecided.as_deref(),
        Some("`pattern` at /a could not be decided")
    );
}

#[test]
fn what_senders_send_refutes_what_is_not_proved() {
    let old = json!({ "pattern": "^([a-z]+ )+[a-z]+$" });
    let new = json!({ "pattern": "^(?!correct horse battery staple$).*$" });
    let time = Duration::from_secs(20);
    let report = |events: &[Value]| compare(&source(&old), &source(&new), events, time);
    assert_eq!(
        report(&[]).backward.verdict,
        Verdict::Unknown,
        "nobody makes it up"
    );
    let told = json!("correct horse battery staple");
    // Neither what the old one refuses nor what both accept shows anything.
    let found = report(&[json!("No"), json!("a word"), told.clone()]).backward;
    let example = found.refusal.map(|refusal| refusal.example);
    assert_eq!((found.verdict, example), (No, Some(told)));
}

/// Promised: at most one verdict in twenty is unknown.
#[test]
fn this_repositorys_schemas_have_verdicts() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let entries = |folder: &std::path::Path| {
        let entries = std::fs::read_dir(folder).expect("the folder can be read");
        entries.map(|entry| entry.expect("an entry").path())
    };
    let mut verdicts = Vec::new();
    for of_type in entries(&folder).filter(|path| path.is_dir()) {
        let mut versions: Vec<(AppVersion, Value)> = entries(&of_type)
            .filter(|path| path.is_file())
            .filter_map(|path| {
                let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
                let version = AppVersion::parse(name).filter(|_| !name.ends_with(".upgrade"))?;
                let text = std::fs::read_to_string(&path).expect("the file can be read");
                Some((version, serde_json::from_str(&text).expect("a schema is JSON")))
            })
            .collect();
        versions.sort_by(|one, two| one.0.cmp(&two.0));
        for pair in versions.windows(2) {
            let (old, new) = (source(&pair[0].1), source(&pair[1].1));
            let report = compare(&old, &new, &[], Duration::from_secs(20));
            for answer in [report.backward, report.forward] {
                verdicts.push((of_type.display().to_string(), answer));
            }
        }
    }
    assert!(verdicts.len() >= 32, "{}", verdicts.len());
    let unknown: Vec<_> = verdicts
        .iter()
        .filter(|(_, answer)| answer.verdict == Verdict::Unknown)
        .collect();
    assert!(unknown.len() * 20 <= verdicts.len(), "{unknown:#?}");
}

#[test]
fn time_is_bounded() {
    // Each level doubles what the next has to look at.
    let bomb = |leaf: Value| {
        let mut defs = serde_json::Map::new();
        for level in 0..24 {
            let next = format!("#/$defs/l{}", level + 1);
            defs.insert(
                format!("l{level}"),
                json!({ "anyOf": [
                    { "properties": { "x": { "$ref": next } } }, { "properties": { "y": { "$ref": next } } },
                    { "maxProperties": level }
                ] }),
            );
        }
        defs.insert("l24".to_owned(), leaf);
        json!({ "$ref": "#/$defs/l0", "$defs": defs })
    };
    let started = Instant::now();
    let until = started + Duration::from_secs(2);
    includes(
        &source(&bomb(json!({ "type": "string" }))),
        &source(&bomb(json!({ "type": "null" }))),
        &[],
        until,
    );
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..6).prop_map(Value::from),
        prop::sample::select(vec![0.5, 1.0, 2.5, -1.0]).prop_map(Value::from),
        prop::sample::select(vec!["", "a", "ab", "abc", "b1", "2026-11-25", "x@y.z"]).prop_map(Value::from),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "x-1"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// One keyword or two that belong together.
fn keyword(schema: impl Strategy<Value = Value> + Clone + 'static) -> impl Strategy<Value = Value> {
    let many = prop::collection::vec(schema.clone(), 1..3).boxed();
    let map = prop::collection::btree_map(name(), schema.clone(), 1..3).boxed();
    let types = prop::sample::subsequence(
        vec![
            "null", "boolean", "integer", "number", "string", "array", "object",
        ],
        1..4,
    );
    let small = 0_u64..4;
    prop_oneof![
        4 => types.prop_map(|types| json!({ "type": types })),
        1 => prop::collection::vec(scalar(), 1..4).prop_map(|values| json!({ "enum": values })),
        1 => value().prop_map(|value| json!({ "const": value })),
        1 => (-2_i64..5).prop_map(|limit| json!({ "minimum": limit })),
        1 => (-2_i64..5).prop_map(|limit| json!({ "exclusiveMaximum": limit })),
        1 => prop::sample::select(vec![json!(1), json!(2), json!(0.5)]).prop_map(|by| json!({ "multipleOf": by })),
        1 => small.clone().prop_map(|count| json!({ "minLength": count })),
        1 => small.clone().prop_map(|count| json!({ "maxLength": count })),
        1 => prop::sample::select(vec!["^a", "b", "^[a-c]*$"]).prop_map(|pattern| json!({ "pattern": pattern })),
        1 => prop::sample::select(vec!["date", "email"]).prop_map(|format| json!({ "format": format })),
        1 => small.clone().prop_map(|count| json!({ "minItems": count })),
        1 => small.clone().prop_map(|count| json!({ "maxItems": count })),
        1 => Just(json!({ "uniqueItems": true })),
        2 => schema.clone().prop_map(|items| json!({ "items": items })),
        1 => (many.clone(), schema.clone()).prop_map(|(prefix, items)| json!({ "prefixItems": prefix, "items": items })),
        1 => (schema.clone(), 0_u64..3).prop_map(|(node, least)| json!({ "contains": node, "minContains": least })),
        1 => small.clone().prop_map(|count| json!({ "minProperties": count })),
        1 => small.prop_map(|count| json!({ "maxProperties": count })),
        2 => prop::collection::btree_set(name(), 1..3).prop_map(|names| json!({ "required": names })),
        6 => map.clone().prop_map(|map| json!({ "properties": map })),
        1 => (map.clone(), schema.clone()).prop_map(|(map, more)| json!({ "properties": map, "additionalProperties": more })),
        1 => (map.clone(), schema.clone()).prop_map(|(map, more)| json!({ "properties": map, "unevaluatedProperties": more })),
        1 => schema.clone().prop_map(|schema| json!({ "patternProperties": { "^x-": schema } })),
        1 => Just(json!({ "propertyNames": { "maxLength": 1 } })),
        1 => name().prop_map(|name| json!({ "dependentRequired": { name: ["b"] } })),
        1 => (name(), schema.clone()).prop_map(|(name, schema)| json!({ "dependentSchemas": { name: schema } })),
        2 => many.clone().prop_map(|many| json!({ "allOf": many })),
        2 => many.clone().prop_map(|many| json!({ "anyOf": many })),
        2 => many.prop_map(|many| json!({ "oneOf": many })),
        1 => schema.clone().prop_map(|schema| json!({ "not": schema })),
        1 => (schema.clone(), schema.clone(), schema)
            .prop_map(|(one, two, three)| json!({ "if": one, "then": two, "else": three })),
        1 => Just(json!({ "$ref": "#/$defs/one" })),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![4 => Just(json!({})), 1 => any::<bool>().prop_map(Value::from), 4 => scalar().prop_map(|value| json!({ "const": value }))];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop::collection::vec(keyword(inner.boxed()), 1..4).prop_map(|parts| {
            let mut whole = serde_json::Map::new();
            for part in parts {
                if let Value::Object(part) = part {
                    whole.extend(part);
                }
            }
            Value::Object(whole)
        })
    })
}

fn document(root: Value, one: Value) -> Value {
    match root {
        Value::Object(mut members) => {
            members.insert("$defs".to_owned(), json!({ "one": one }));
            Value::Object(members)
        }
        root => root,
    }
}

/// Pairs that are near each other, so that many of them include one another.
fn pair() -> impl Strategy<Value = (Value, Value)> {
    let together = (schema(), schema(), schema(), schema()).prop_map(|(one, two, def, other_def)| {
        vec![
            (
                document(one.clone(), def.clone()),
                document(json!({ "anyOf": [one.clone(), two.clone()] }), def.clone()),
            ),
            (
                document(json!({ "allOf": [one.clone(), two.clone()] }), def.clone()),
                document(one.clone(), def.clone()),
            ),
            (document(one.clone(), def.clone()), document(two, def.clone())),
            (document(one.clone(), def), document(one, other_def)),
        ]
    });
    (together, 0_usize..4, any::<bool>()).prop_map(|(mut pairs, index, flip)| {
        let (one, two) = pairs.swap_remove(index);
        if flip { (two, one) } else { (one, two) }
    })
}

/// A reference to itself without a step into the value has no meaning that validators agree on.
fn is_sound(schema: &Value) -> bool {
    let mut names = Vec::new();
    fn in_place(schema: &Value, names: &mut Vec<()>) {
        let Value::Object(members) = schema else { return };
        if members.contains_key("$ref") {
            names.push(());
        }
        for (keyword, value) in members {
            match keyword.as_str() {
                "allOf" | "anyOf" | "oneOf" => value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .for_each(|one| in_place(one, names)),
                "not" | "if" | "then" | "else" => in_place(value, names),
                "dependentSchemas" => value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .for_each(|(_, one)| in_place(one, names)),
                _ => {}
            }
        }
    }
    in_place(&schema["$defs"]["one"], &mut names);
    names.is_empty()
}

#[test]
fn no_value_refutes_a_yes_and_every_no_has_its_example() {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(600);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_global_rejects: 100_000,
        ..Config::default()
    });
    let values = prop::collection::vec(value(), 60);
    runner
        .run(&(pair(), drafts(), values), |((narrow, wide), drafts, values)| {
            if !is_sound(&narrow) || !is_sound(&wide) {
                return Err(TestCaseError::reject("a reference to itself"));
            }
            let (narrow, wide) = (in_draft(&narrow, drafts.0), in_draft(&wide, drafts.1));
            let answer = ask(&narrow, &wide);
            match answer.verdict {
                Yes => {
                    for value in values {
                        if accepts(&narrow, &value) && !accepts(&wide, &value) && is_closed(&narrow, &value) {
                            return Err(TestCaseError::fail(format!(
                                "{value} refutes a yes\n{narrow}\n{wide}"
                            )));
                        }
                    }
                }
                No => {
                    let refusal = answer.refusal.clone().expect("a no has its example");
                    if !accepts(&narrow, &refusal.example) || accepts(&wide, &refusal.example) {
                        return Err(TestCaseError::fail(format!(
                            "{refusal:?} shows nothing\n{narrow}\n{wide}"
                        )));
                    }
                }
                Verdict::Unknown => {
                    if std::env::var_os("SHOW_UNKNOWN").is_some() {
                        println!(
                            "{}\n  {narrow}\n  {wide}",
                            answer.undecided.clone().unwrap_or_default()
                        );
                    }
                }
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
