//! The JSON module against serde_json: the same texts are taken, and what is read, edited and written is the same value.
#![no_main]

use bytes::Bytes;
use headworks_fuzz::json::{Document, EditedDocument};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let ours = Document::parse(Bytes::copy_from_slice(data), 64);
    let Ok(document) = ours else { return };
    let theirs: serde_json::Value = serde_json::from_slice(data).expect("what we take, others take");
    assert_eq!(document.root().raw().len(), data.trim_ascii().len());
    let mut edited = EditedDocument::new(document.clone());
    let copy: serde_json::Value = serde_json::from_slice(&edited.to_bytes()).expect("JSON");
    assert_eq!(copy, theirs);
    if let serde_json::Value::Object(members) = &theirs {
        for name in members.keys().take(4) {
            let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            assert!(document.pointer(&pointer).is_some(), "{pointer}");
            edited.remove(&pointer);
        }
        let after: serde_json::Value = serde_json::from_slice(&edited.to_bytes()).expect("JSON after edits");
        let mut expected = members.clone();
        for name in members.keys().take(4) {
            expected.remove(name);
        }
        assert_eq!(after, serde_json::Value::Object(expected));
    }
});
