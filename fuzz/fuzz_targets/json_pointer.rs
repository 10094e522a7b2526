//! Values read by pointer, beside `serde_json`. The input is a pointer, a line end, and JSON.
#![no_main]

use bytes::Bytes;
use headworks::json::{Document, Node, pointer_escaped, pointer_tokens};
use headworks_fuzz::same;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const DEPTH_MAX: u32 = 100;
/// Values of one input that are looked for: each costs a walk from the root.
const VALUES: usize = 300;

fuzz_target!(|input: &[u8]| run(input));

fn run(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (pointer, text) = (&input[..end], &input[end + 1..]);
    let (Ok(pointer), Ok(document), Ok(value)) = (
        std::str::from_utf8(pointer),
        Document::parse(Bytes::copy_from_slice(text), DEPTH_MAX),
        serde_json::from_slice::<Value>(text),
    ) else {
        return;
    };
    match pointer_tokens(pointer) {
        Ok(tokens) => {
            let written: String = tokens
                .iter()
                .map(|token| format!("/{}", pointer_escaped(token)))
                .collect();
            assert_eq!(written, pointer);
            match (document.pointer(pointer), value.pointer(pointer)) {
                (None, None) => {}
                (Some(node), Some(value)) => assert!(same(node, value), "{pointer}: {value}"),
                (ours, theirs) => panic!("{pointer}: {ours:?} and {theirs:?}"),
            }
        }
        Err(_) => assert!(document.pointer(pointer).is_none()),
    }
    let mut left = VALUES;
    walk(&document, document.root(), "", &value, &mut left);
}

/// Every value is found by its own pointer.
fn walk(document: &Document, node: Node<'_>, pointer: &str, root: &Value, left: &mut usize) {
    if *left == 0 {
        return;
    }
    *left -= 1;
    let found = document.pointer(pointer).expect("the value is there");
    assert_eq!(found.offset(), node.offset(), "{pointer}");
    let value = root.pointer(pointer).expect("the value is there");
    assert!(same(found, value), "{pointer}: {value}");
    if !pointer.is_empty() {
        assert_eq!(document.subdocument(node).bytes(), node.raw().as_bytes());
    }
    for (position, element) in node.elements().enumerate() {
        walk(document, element, &format!("{pointer}/{position}"), root, left);
    }
    for (name, member) in node.members() {
        let pointer = format!("{pointer}/{}", pointer_escaped(&name));
        walk(document, member, &pointer, root, left);
    }
}
