//! Strings, pointers and lines.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::pointer::Pointer;
use super::super::string::{first_special_portable, plain_run};
use super::super::{PointerError, PointerTokens, newline_free, pointer_tokens, write_string};
use super::generate::text;
use super::parse;

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

proptest! {
    #[test]
    fn a_written_string_reads_back(text in any::<String>()) {
        let mut written = b"before".to_vec();
        write_string(&mut written, &text);
        let json = &written[b"before".len()..];
        prop_assert_eq!(serde_json::from_slice::<String>(json).expect("a JSON string"), text.as_str());
        let document = parse(std::str::from_utf8(json).expect("UTF-8"));
        prop_assert!(document.root().as_str().is_some_and(|read| read == text));
    }

    #[test]
    fn plain_text_ends_at_the_first_special_byte(
        text in prop::collection::vec(prop_oneof![9 => any::<u8>(), 60 => 0x20_u8.., 1 => Just(b'"')], 0..80),
        start in 0_usize..8,
    ) {
        let start = start.min(text.len());
        let expected = text[start..].iter().position(|&byte| is_special(byte)).map_or(text.len(), |at| start + at);
        prop_assert_eq!(plain_run(&text, start), expected);
    }

    #[test]
    fn both_ways_to_find_a_special_byte_agree(chunk in any::<[u8; 16]>(), mask in any::<u8>()) {
        let chunk = chunk.map(|byte| byte | mask);
        let expected = chunk.iter().position(|&byte| is_special(byte));
        prop_assert_eq!(first_special_portable(chunk), expected);
    }

    #[test]
    fn a_text_on_one_line_says_the_same(text in text()) {
        let text = Bytes::from(text);
        let line = newline_free(&text);
        prop_assert!(!line.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
        prop_assert_eq!(line.len(), text.len());
        let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        prop_assert_eq!(value, serde_json::from_slice::<serde_json::Value>(&text).expect("JSON"));
        if line == text {
            prop_assert_eq!(line.as_ptr(), text.as_ptr());
        }
    }

    #[test]
    fn pointers_agree_with_those_of_serde_json(text in text(), pointer in "(/[a-z0-9~é-]{0,3}){0,3}") {
        let document = parse(&text);
        let value = document.root().to_value();
        if pointer_tokens(&pointer).is_ok() {
            let found = document.pointer(&pointer).map(|node| node.to_value());
            prop_assert_eq!(found.as_ref(), value.pointer(&pointer));
        } else {
            prop_assert!(document.pointer(&pointer).is_none());
        }
    }

    #[test]
    fn a_checked_pointer_has_the_tokens_that_it_splits_into(
        text in "/?(a|~0|~1|~|0){0,2}(/(a|~0|~1|~|0){0,2}){0,3}",
        start in "(/(a|~0|~1|0){0,1}){0,2}",
    ) {
        let pointer = Pointer::parse(&text);
        let tokens = pointer_tokens(&text);
        let split = pointer.map(|pointer| pointer.tokens().collect::<PointerTokens<'_>>());
        prop_assert_eq!(&split, &tokens);
        if let (Ok(pointer), Ok(tokens)) = (pointer, tokens) {
            prop_assert_eq!(pointer.len(), tokens.len());
            prop_assert_eq!(pointer.last(), tokens.last().cloned());
            let parents = &tokens[..tokens.len().saturating_sub(1)];
            prop_assert_eq!(pointer.parents().collect::<Vec<_>>(), parents);
            let other = Pointer::parse(&start).expect("the test's pointers are good");
            let other_tokens = pointer_tokens(&start).expect("the test's pointers are good");
            prop_assert_eq!(pointer.starts_with(&other), tokens.starts_with(&other_tokens));
        }
    }
}

#[test]
fn pointers_are_split_and_decoded() {
    let tokens = |pointer: &str| {
        pointer_tokens(pointer).map(|tokens| tokens.iter().map(ToString::to_string).collect())
    };
    let expected = |tokens: &[&str]| Ok(tokens.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(tokens(""), expected(&[]));
    assert_eq!(tokens("/"), expected(&[""]));
    assert_eq!(tokens("/a/0//b c"), expected(&["a", "0", "", "b c"]));
    assert_eq!(
        tokens("/a~1b/m~0n/~01/~0~1~0"),
        expected(&["a/b", "m~n", "~1", "~/~"])
    );
    assert_eq!(tokens("a/b"), Err(PointerError::NoLeadingSlash));
    assert_eq!(tokens("#/a"), Err(PointerError::NoLeadingSlash));
    for bad in ["/~", "/a~", "/~2", "/~~", "/~é"] {
        assert_eq!(tokens(bad), Err(PointerError::BadEscape), "{bad}");
    }
}
