//! Validation of a document gives the verdict that validation of a tree gives.

use jsonschema::Validator;
use jsonschema::json::{Json, Node as _, Object as _, SerdeJson};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::super::TapeJson;
use super::parse;

const NAMES: &[&str] = &["a", "b", "ab", "id", "é", "a\"b"];

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-4_i64..5).prop_map(Value::from),
        (-8_i64..9).prop_map(|quarters| json!(quarters as f64 / 4.0)),
        select(vec![
            json!(1e10),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(0.1),
            json!(1.5e300)
        ]),
    ]
}

fn string() -> impl Strategy<Value = Value> {
    prop_oneof![
        select(NAMES).prop_map(Value::from),
        "[ab\u{e9}\u{1f600}]{0,4}".prop_map(Value::from),
        select(vec![
            json!("2026-03-14T09:26:53Z"),
            json!("a@example.com"),
            json!("127.0.0.1")
        ]),
    ]
}

fn instance() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number(),
        string()
    ]
    .prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(select(NAMES).prop_map(str::to_owned), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
    .boxed()
}

fn type_name() -> impl Strategy<Value = Value> {
    select(vec![
        "null", "boolean", "number", "integer", "string", "array", "object",
    ])
    .prop_map(Value::from)
}

/// One keyword on values themselves.
fn simple_keyword() -> BoxedStrategy<Value> {
    let names = || prop::collection::btree_set(select(NAMES), 1..4);
    let small = || 0_u64..5;
    prop_oneof![
        type_name().prop_map(|name| json!({"type": name})),
        prop::collection::vec(type_name(), 1..3).prop_map(|mut names| {
            names.dedup();
            names.sort_by_key(ToString::to_string);
            names.dedup();
            json!({"type": names})
        }),
        instance().prop_map(|value| json!({"const": value})),
        prop::collection::vec(instance(), 1..4).prop_map(|values| json!({"enum": values})),
        number().prop_map(|limit| json!({"minimum": limit})),
        number().prop_map(|limit| json!({"exclusiveMaximum": limit})),
        select(vec![json!(1), json!(2), json!(0.25), json!(0.1)])
            .prop_map(|step| json!({"multipleOf": step})),
        (small(), small()).prop_map(|(min, max)| json!({"minLength": min, "maxLength": max})),
        select(vec!["^a", "b$", "^[ab]*$", "é"]).prop_map(|pattern| json!({"pattern": pattern})),
        select(vec!["date-time", "email", "ipv4"]).prop_map(|format| json!({"format": format})),
        (small(), small()).prop_map(|(min, max)| json!({"minItems": min, "maxItems": max})),
        Just(json!({"uniqueItems": true})),
        names().prop_map(|names| json!({"required": names})),
        (small(), small()).prop_map(|(min, max)| json!({"minProperties": min, "maxProperties": max})),
        (select(NAMES), names()).prop_map(|(name, names)| json!({"dependentRequired": {name: names}})),
    ]
    .boxed()
}

fn merged(left: Value, right: Value) -> Value {
    match (left, right) {
        (Value::Object(mut left), Value::Object(right)) => {
            left.extend(right);
            Value::Object(left)
        }
        (left, _) => left,
    }
}

fn schema() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        1 => any::<bool>().prop_map(Value::Bool),
        6 => simple_keyword(),
        4 => (simple_keyword(), simple_keyword()).prop_map(|(left, right)| merged(left, right)),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let properties = || {
            prop::collection::btree_map(select(NAMES).prop_map(str::to_owned), inner.clone(), 1..4)
        };
        let keyword = prop_oneof![
            4 => properties().prop_map(|schemas| json!({"properties": schemas})),
            1 => (properties(), inner.clone())
                .prop_map(|(schemas, rest)| json!({"properties": schemas, "additionalProperties": rest})),
            1 => properties().prop_map(|schemas| json!({"properties": schemas, "unevaluatedProperties": false})),
            1 => inner.clone().prop_map(|schema| json!({"patternProperties": {"^a": schema}})),
            1 => inner.clone().prop_map(|schema| json!({"propertyNames": schema})),
            1 => inner.clone().prop_map(|schema| json!({"items": schema})),
            1 => (inner.clone(), inner.clone()).prop_map(|(first, rest)| json!({"prefixItems": [first], "items": rest})),
            1 => inner.clone().prop_map(|schema| json!({"contains": schema, "minContains": 2})),
            1 => prop::collection::vec(inner.clone(), 1..3).prop_map(|schemas| json!({"allOf": schemas})),
            1 => prop::collection::vec(inner.clone(), 1..3).prop_map(|schemas| json!({"anyOf": schemas})),
            1 => prop::collection::vec(inner.clone(), 1..3).prop_map(|schemas| json!({"oneOf": schemas})),
            1 => inner.clone().prop_map(|schema| json!({"not": schema})),
            1 => [inner.clone(), inner.clone(), inner.clone()]
                .prop_map(|[condition, then, otherwise]| json!({"if": condition, "then": then, "else": otherwise})),
        ];
        (keyword, simple_keyword()).prop_map(|(left, right)| merged(left, right))
    })
    .boxed()
}

fn validator<F: Json>(schema: &Value) -> Validator<F> {
    let mut options = jsonschema::options_for::<F>();
    options = options.should_validate_formats(true);
    options.build(schema).expect("the schema compiles")
}

/// Where and by which keywords a value breaks a schema.
fn errors<'i, F: Json>(validator: &'i Validator<F>, instance: F::Node<'i>) -> Vec<(String, String)> {
    let mut errors: Vec<(String, String)> = validator
        .iter_errors(instance.clone())
        .map(|error| (error.instance_path().to_string(), error.schema_path().to_string()))
        .collect();
    errors.sort();
    assert_eq!(validator.is_valid(instance), errors.is_empty());
    errors
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_verdict_is_that_on_a_tree(schema in schema(), instance in instance(), is_pretty in any::<bool>()) {
        let text = if is_pretty { format!("{instance:#}") } else { instance.to_string() };
        let document = parse(&text);
        prop_assert_eq!(
            errors(&validator::<TapeJson>(&schema), document.root()),
            errors(&validator::<SerdeJson>(&schema), &instance)
        );
    }
}

fn is_valid(schema: &Value, text: &str) -> bool {
    let document = parse(text);
    validator::<TapeJson>(schema).is_valid(document.root())
}

#[test]
fn big_numbers_are_numbers() {
    let big = "123456789012345678901234567890";
    let integer = json!({"type": "integer"});
    assert!(is_valid(&integer, big));
    assert!(is_valid(&integer, "1.0"));
    assert!(is_valid(&integer, "1.5e1"));
    assert!(!is_valid(&integer, "1.5"));
    assert!(!is_valid(&integer, "1e-400"));
    assert!(!is_valid(&integer, "9007199254740993.5"));
    assert!(is_valid(&json!({"minimum": 1}), big));
    assert!(!is_valid(&json!({"maximum": 1}), big));
    assert!(is_valid(&json!({"multipleOf": 10}), big));
    assert!(!is_valid(&json!({"multipleOf": 11}), big));
    assert!(is_valid(&json!({"const": 1.0}), "1"));
    assert!(is_valid(&json!({"const": 1}), "1.0e0"));
}

#[test]
fn draft_4_goes_by_the_spelling_of_integers() {
    let schema = json!({"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer"});
    assert!(is_valid(&schema, "1"));
    assert!(is_valid(&schema, "123456789012345678901234567890"));
    assert!(!is_valid(&schema, "1.0"));
    assert!(!is_valid(&schema, "1e2"));
}

#[test]
fn escaped_names_and_strings_are_compared_decoded() {
    let schema = json!({
        "properties": {"a": {"const": "b"}},
        "required": ["a"],
        "additionalProperties": false,
        "propertyNames": {"maxLength": 1}
    });
    assert!(is_valid(&schema, r#"{"\u0061":"\u0062"}"#));
    assert!(!is_valid(&schema, r#"{"\u0061":"\u0063"}"#));
    assert!(!is_valid(&schema, r#"{"\u0062":1}"#));
}

#[test]
fn errors_show_the_value() {
    let document = parse(r#"{"n":[1, "x"]}"#);
    let validator = jsonschema::options_for::<TapeJson>()
        .build(&json!({"properties": {"n": {"type": "string"}}}))
        .expect("the schema compiles");
    let error = validator
        .validate(document.root())
        .expect_err("an array is no string");
    assert_eq!(error.to_string(), r#"[1,"x"] is not of type "string""#);
}

#[test]
fn values_can_be_told_apart_by_identity() {
    let document = parse(r#"{"a":{"a":1},"b":[[],[]]}"#);
    let mut identities = Vec::new();
    for pointer in ["", "/a", "/a/a", "/b", "/b/0", "/b/1"] {
        let node = document.pointer(pointer).expect("there");
        assert_eq!(
            node.identity(),
            document.pointer(pointer).expect("there").identity()
        );
        assert!(!identities.contains(&node.identity()), "{pointer}");
        identities.push(node.identity());
    }
}

#[test]
fn a_string_of_its_own_is_a_node() {
    let mut room = <TapeJson as Json>::StringBuffer::default();
    for string in ["", "plain", "é \" \\ \n \u{1f600}"] {
        TapeJson::with_string_node(&mut room, string, |node| {
            assert_eq!(node.as_string().as_deref(), Some(string));
            assert_eq!(node.string_length(), Some(string.chars().count() as u64));
        });
    }
    let key = TapeJson::prepare_key("a");
    let document = parse(r#"{"\u0061":1}"#);
    assert!(
        document
            .root()
            .as_object()
            .is_some_and(|object| object.get(&key).is_some())
    );
}
