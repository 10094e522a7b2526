//! What is taken as JSON is what `serde_json` takes, less what the gateway refuses besides.

use std::collections::HashSet;
use std::fmt;

use proptest::prelude::*;
use proptest::sample::Index;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::super::{Document, Kind, Node};
use super::generate::{text, value};
use super::{DEPTH_MAX, parse, try_parse};

/// Reads any value and refuses duplicate members and more than so many nested arrays and objects.
#[derive(Clone, Copy)]
struct Strict(u32);

impl Strict {
    fn inside<E: Error>(self) -> Result<Strict, E> {
        self.0
            .checked_sub(1)
            .map(Strict)
            .ok_or_else(|| E::custom("too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while elements.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("duplicate"));
            }
            members.next_value_seed(inside)?;
        }
        Ok(())
    }
}

fn serde_takes(text: &[u8]) -> bool {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Strict(DEPTH_MAX)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .is_ok()
}

fn assert_same_verdict(text: &[u8]) {
    let parsed = try_parse(text);
    assert_eq!(
        parsed.is_ok(),
        serde_takes(text),
        "{parsed:?} for {:?}",
        String::from_utf8_lossy(text)
    );
    match parsed {
        Ok(document) => {
            let expected: serde_json::Value = serde_json::from_slice(text).expect("it was taken");
            assert_eq!(document.root().to_value(), expected);
        }
        Err(error) => assert!(error.offset <= text.len()),
    }
}

/// Every way to reach a value reaches the same one.
fn assert_consistent(document: &Document, node: Node<'_>) {
    let children: Vec<Node<'_>> = match node.kind() {
        Kind::Array => node.elements().collect(),
        Kind::Object => node.members().map(|(_, value)| value).collect(),
        _ => Vec::new(),
    };
    assert_eq!(node.len(), children.len());
    for (position, element) in node.elements().enumerate() {
        assert_eq!(
            node.element(position).map(|found| found.offset()),
            Some(element.offset())
        );
    }
    assert!(node.element(node.len()).is_none());
    for (name, value) in node.members() {
        assert_eq!(node.get(&name).map(|found| found.offset()), Some(value.offset()));
    }
    assert!(node.get("no such member").is_none());
    for child in children {
        let cut = document.subdocument(child);
        assert_eq!(cut.bytes(), child.raw());
        assert_eq!(cut.root().raw(), child.raw());
        assert_consistent(document, child);
    }
}

/// JSON's own tokens and some that are not, in any order.
fn tokens() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        prop::sample::select(
            &[
                "{",
                "}",
                "[",
                "]",
                ",",
                ":",
                "\"",
                "\"a\"",
                "\"\\u0061\"",
                "\"b\":",
                "\"\\ud83d\\ude00\"",
                "\"\\ud800\"",
                "\"\\udc00x\"",
                "\\",
                "\\u",
                "0",
                "1",
                "-",
                ".",
                "e",
                "+",
                "1e400",
                "-1e-400",
                "1.5E3",
                "01",
                "null",
                "true",
                "false",
                "nul",
                " ",
                "\n",
                "\u{b}",
                "\u{feff}",
                "\u{a0}",
                "NaN",
                "/",
                "'"
            ][..]
        )
        .prop_map(|token| token.as_bytes().to_vec()),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn any_json_is_taken(text in text()) {
        assert_same_verdict(text.as_bytes());
        let document = parse(&text);
        prop_assert_eq!(document.bytes(), text.as_bytes());
        assert_consistent(&document, document.root());
    }

    #[test]
    fn a_document_of_a_value_is_that_value(text in value()) {
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        prop_assert_eq!(Document::from_value(&value).expect("short").root().to_value(), value);
    }

    #[test]
    fn tokens_in_any_order_get_the_same_verdict(text in tokens()) {
        assert_same_verdict(&text);
    }

    #[test]
    fn broken_json_gets_the_same_verdict(
        text in text(),
        places in prop::collection::vec((any::<Index>(), any::<Option<u8>>()), 1..4),
    ) {
        let mut text = text.into_bytes();
        for (place, byte) in places {
            if text.is_empty() {
                break;
            }
            let place = place.index(text.len());
            match byte {
                Some(byte) => text[place] = byte,
                None => {
                    text.remove(place);
                }
            }
        }
        assert_same_verdict(&text);
    }

    #[test]
    fn any_bytes_get_the_same_verdict(text in prop::collection::vec(any::<u8>(), 0..64)) {
        assert_same_verdict(&text);
    }

    /// Around the sizes from which on arrays and objects have an index.
    #[test]
    fn large_objects_and_arrays_are_read_by_index(
        sizes in prop::collection::vec(0_usize..260, 1..4),
        twice in any::<Option<(Index, Index)>>(),
    ) {
        let arrays: Vec<String> = sizes
            .iter()
            .map(|&size| (0..size).map(|at| format!("[{at}]")).collect::<Vec<_>>().join(","))
            .collect();
        let mut names: Vec<String> =
            (0..sizes[0]).map(|at| if at % 3 == 0 { format!("\\u006e{at}") } else { format!("n{at}") }).collect();
        let mut has_duplicate = false;
        if let Some((first, second)) = twice && names.len() > 1 {
            let (first, second) = (first.index(names.len()), second.index(names.len()));
            names[second] = format!("n{first}");
            has_duplicate = first != second;
        }
        let members: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(at, name)| format!("\"{name}\":[{}]", arrays[at % arrays.len()]))
            .collect();
        let text = format!("{{{}}}", members.join(","));
        prop_assert_eq!(try_parse(text.as_bytes()).is_err(), has_duplicate);
        if !has_duplicate {
            let document = parse(&text);
            assert_consistent(&document, document.root());
        }
    }
}
