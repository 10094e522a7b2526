//! JSON texts of every spelling: white space, escapes, member order, numbers big and small.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::super::NewValue;

/// Names that events have, and those that pointers and arrays make hard.
const NAMES: &[&str] = &[
    "a",
    "b",
    "id",
    "",
    "0",
    "1",
    "-",
    "~",
    "/",
    "~1",
    "é",
    "\u{1f600}",
    "a\"b",
    "line\n",
];

pub(super) fn name() -> impl Strategy<Value = String> {
    prop_oneof![8 => select(NAMES).prop_map(str::to_owned), 1 => any::<String>()]
}

fn space() -> impl Strategy<Value = &'static str> {
    select(&["", "", "", "", " ", "\n", "\t ", "\r\n  "][..])
}

/// One character of a string, spelled in one of the ways that JSON has for it.
fn spelled(character: char, way: u8) -> String {
    let plain = !matches!(character, '"' | '\\' | '\0'..='\x1f');
    match way {
        0 if character == '/' => "\\/".to_owned(),
        0..=2 if plain => character.to_string(),
        3 => {
            let units: Vec<String> = character
                .encode_utf16(&mut [0; 2])
                .iter()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect();
            units.concat()
        }
        4 => {
            let units: Vec<String> = character
                .encode_utf16(&mut [0; 2])
                .iter()
                .map(|unit| format!("\\u{unit:04X}"))
                .collect();
            units.concat()
        }
        _ => match character {
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            '\x08' => "\\b".to_owned(),
            '\x0c' => "\\f".to_owned(),
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\0'..='\x1f' => format!("\\u{:04x}", u32::from(character)),
            other => other.to_string(),
        },
    }
}

/// The JSON of a string that says `text`.
fn spelled_string(text: String) -> impl Strategy<Value = String> {
    let count = text.chars().count();
    prop_oneof![
        3 => prop::collection::vec(0_u8..3, count),
        1 => prop::collection::vec(0_u8..6, count),
    ]
    .prop_map(move |ways| {
        let inner: String = text
            .chars()
            .zip(ways)
            .map(|(character, way)| spelled(character, way))
            .collect();
        format!("\"{inner}\"")
    })
}

fn string_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z \"\\\\/\n\u{e9}]{0,40}", name()]
}

pub(super) fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        (-1000_i32..1000).prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?",
        "-?[1-9]\\.[0-9]{1,20}e-3[0-9]{2}",
        select(
            &[
                "-0",
                "0.0",
                "-0.0",
                "1e22",
                "1E+2",
                "1e-400",
                "0e999",
                "9007199254740993",
                "0.10"
            ][..]
        )
        .prop_map(str::to_owned),
    ]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => select(&["null", "true", "false"][..]).prop_map(str::to_owned),
        3 => number(),
        3 => string_text().prop_flat_map(spelled_string),
    ]
}

/// Any JSON value, without white space around it.
pub(super) fn value() -> BoxedStrategy<String> {
    scalar()
        .prop_recursive(5, 60, 8, |inner| prop_oneof![array(inner.clone()), object(inner)])
        .boxed()
}

/// Any JSON text: a value that is mostly an object, with white space around it.
pub(super) fn text() -> impl Strategy<Value = String> {
    let outermost = prop_oneof![6 => object(value()).boxed(), 2 => array(value()).boxed(), 1 => value()];
    (space(), outermost, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"))
}

fn array(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let element =
        (space(), inner, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"));
    (prop::collection::vec(element, 0..6), space()).prop_map(|(elements, inside)| {
        if elements.is_empty() {
            format!("[{inside}]")
        } else {
            format!("[{}]", elements.join(","))
        }
    })
}

fn object(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let spelled_name = name().prop_flat_map(|name| (Just(name.clone()), spelled_string(name)));
    let member = (spelled_name, inner, [space(), space(), space(), space()])
        .prop_map(|((name, spelled), value, [a, b, c, d])| (name, format!("{a}{spelled}{b}:{c}{value}{d}")));
    (prop::collection::vec(member, 0..7), space()).prop_map(|(mut members, inside)| {
        let mut seen = HashSet::new();
        members.retain(|(name, _)| seen.insert(name.clone()));
        if members.is_empty() {
            return format!("{{{inside}}}");
        }
        let members: Vec<String> = members.into_iter().map(|(_, member)| member).collect();
        format!("{{{}}}", members.join(","))
    })
}

pub(super) fn new_value() -> impl Strategy<Value = NewValue> {
    prop_oneof![
        Just(NewValue::Null),
        any::<bool>().prop_map(NewValue::Boolean),
        any::<i64>().prop_map(NewValue::Integer),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(NewValue::Number),
        string_text().prop_map(NewValue::Text),
        text().prop_map(NewValue::Json),
    ]
}
