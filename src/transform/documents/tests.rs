use bytes::Bytes;
use wasmtime::component::Resource;

use super::{Documents, EditRef, HostDocument};
use crate::{
    json::{Document, NewValue},
    limits::{self, ByteSize},
    transform::fault::Fault,
};

const BUDGET: ByteSize = ByteSize(64 << 10);

fn documents() -> Documents {
    Documents::new(BUDGET, 64)
}

fn event(documents: &mut Documents) -> Resource<HostDocument> {
    let data = Document::parse(Bytes::from_static(br#"{"a": 1,  "b": [true]}"#), 64).expect("it is JSON");
    documents.insert_event(&data).expect("the first document fits")
}

/// A second handle for the same document, as the guest's borrow is.
fn again(handle: &Resource<HostDocument>) -> Resource<HostDocument> {
    Resource::new_own(handle.rep())
}

fn text(documents: &Documents, handle: &Resource<HostDocument>) -> String {
    let bytes = documents.get(handle).expect("it is there").document.to_bytes();
    String::from_utf8(bytes.into()).expect("JSON is UTF-8")
}

#[test]
fn a_handle_of_an_earlier_call_names_nothing() {
    let mut documents = documents();
    documents.begin();
    let first = event(&mut documents);
    documents.begin();
    let second = event(&mut documents);
    assert_ne!(first.rep(), second.rep());
    assert_eq!(documents.get(&first).err(), Some(Fault::DocumentGone));
    assert_eq!(documents.copy(&first).err(), Some(Fault::DocumentGone));
    assert!(documents.take(&first).is_none());
    assert!(documents.get(&second).is_ok());
}

#[test]
fn a_document_that_was_given_away_is_gone() {
    let mut documents = documents();
    let handle = event(&mut documents);
    assert!(documents.take(&again(&handle)).is_some());
    assert_eq!(documents.get(&handle).err(), Some(Fault::DocumentGone));
}

#[test]
fn copies_are_edited_apart() {
    let mut documents = documents();
    let one = event(&mut documents);
    let two = documents.copy(&one).expect("there is room");
    let made = documents.edit(&two, EditRef::Set("/a", NewValue::Integer(2)));
    assert_eq!(made, Ok(Ok(true)));
    assert_eq!(text(&documents, &one), r#"{"a": 1,  "b": [true]}"#);
    assert_eq!(text(&documents, &two), r#"{"a": 2,  "b": [true]}"#);
}

#[test]
fn text_that_is_no_json_is_refused_with_the_reason() {
    let mut documents = documents();
    let refused = documents.parse(r#"{"a": }"#.to_owned()).expect("no limit is met");
    assert!(refused.expect_err("it is no JSON").contains("at byte 6"));
    let deep = "[".repeat(65) + &"]".repeat(65);
    let refused = documents.parse(deep).expect("no limit is met");
    assert!(refused.expect_err("it is too deep").contains("64"));
}

#[test]
fn what_a_call_keeps_is_bounded() {
    let mut documents = documents();
    documents.begin();
    let handle = event(&mut documents);
    let value = NewValue::Text("x".repeat(1000));
    let made = (0..1000)
        .take_while(|number| {
            let pointer = format!("/{number}");
            documents
                .edit(&handle, EditRef::Set(&pointer, value.clone()))
                .is_ok()
        })
        .count();
    assert!((50..70).contains(&made), "{made}");
    assert_eq!(
        documents.parse("[0]".repeat(3000)).err(),
        Some(Fault::DocumentBytes(BUDGET))
    );
    documents.begin();
    assert!(documents.parse("[0]".to_owned()).is_ok());
}

#[test]
fn a_copy_costs_what_its_edits_cost() {
    let mut documents = documents();
    let handle = event(&mut documents);
    let value = NewValue::Text("x".repeat(10_000));
    documents
        .edit(&handle, EditRef::Set("/x", value))
        .expect("there is room")
        .expect("an object takes it");
    let copies = (0..100).take_while(|_| documents.copy(&handle).is_ok()).count();
    assert_eq!(copies, 5);
}

#[test]
fn documents_of_one_call_are_counted() {
    let mut documents = documents();
    let handle = event(&mut documents);
    for _ in 1..limits::PLUGIN_DOCUMENTS_PER_CALL {
        let copy = documents.copy(&handle).expect("there is room");
        documents.take(&copy);
    }
    assert_eq!(
        documents.copy(&handle).err(),
        Some(Fault::Documents(limits::PLUGIN_DOCUMENTS_PER_CALL))
    );
}

#[test]
fn the_bound_is_never_below_the_text() {
    let mut documents = documents();
    let handle = event(&mut documents);
    for edit in [
        EditRef::Set("/a\u{1}/b/~1c", NewValue::Text("\u{1}\"\\é".repeat(20))),
        EditRef::Set("/b/-", NewValue::Number(-1.234_567_890_123e-300)),
        EditRef::Set("/b/-", NewValue::Integer(i64::MIN)),
        EditRef::Set("/c", NewValue::Json(r#"{"x":[1,2,3]}"#.to_owned())),
        EditRef::Move("/c", "/\u{2}\u{2}/d"),
        EditRef::Remove("/a"),
    ] {
        // Edits that this document refuses count too: the bound may be generous.
        let _ = documents.edit(&handle, edit).expect("there is room");
        let entry = documents.get(&handle).expect("it is there");
        assert!(entry.document.to_bytes().len() <= entry.text_bytes_bound);
    }
}
