//! Any edits on any JSON give what the same edits give on a plain tree.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use super::super::{Document, Edit, EditedDocument, NewValue};
use super::generate::{name, new_value, text};
use super::model::{Model, Refused, pointer};
use super::{parse, try_parse};

/// A pointer that mostly leads somewhere: one of those that do, and tokens behind it.
#[derive(Clone, Debug)]
struct Pick {
    base: Index,
    tail: Vec<String>,
}

#[derive(Clone, Debug)]
enum Step {
    Set(Pick, NewValue),
    Remove(Pick),
    Move(Pick, Pick),
}

fn pick() -> impl Strategy<Value = Pick> {
    let tail = prop_oneof![
        4 => Just(Vec::new()),
        3 => name().prop_map(|token| vec![token]),
        1 => Just(vec!["-".to_owned()]),
        1 => prop::collection::vec(name(), 2..4),
    ];
    (any::<Index>(), tail).prop_map(|(base, tail)| Pick { base, tail })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (pick(), new_value()).prop_map(|(at, value)| Step::Set(at, value)),
        2 => pick().prop_map(Step::Remove),
        2 => (pick(), pick()).prop_map(|(source, target)| Step::Move(source, target)),
    ]
}

impl Pick {
    fn tokens(&self, model: &Model) -> Vec<String> {
        let mut tokens = self.base.get(&model.pointers()).clone();
        tokens.extend(self.tail.iter().cloned());
        tokens
    }
}

/// Does one step on both; they must agree on whether it is refused, and on what it answers.
fn step_on_both(step: &Step, edited: &mut EditedDocument, model: &mut Model) -> (Edit, bool) {
    match step {
        Step::Set(at, value) => {
            let tokens = at.tokens(model);
            let edit = Edit::Set(pointer(&tokens), value.clone());
            let expected = model.set(&tokens, value).is_ok();
            assert_eq!(
                edited.set(&pointer(&tokens), value.clone()).is_ok(),
                expected,
                "{edit:?}"
            );
            (edit, expected)
        }
        Step::Remove(at) => {
            let tokens = at.tokens(model);
            let edit = Edit::Remove(pointer(&tokens));
            assert_eq!(
                edited.remove(&pointer(&tokens)),
                model.remove(&tokens),
                "{edit:?}"
            );
            (edit, true)
        }
        Step::Move(source, target) => {
            let (source, target) = (source.tokens(model), target.tokens(model));
            let edit = Edit::Move(pointer(&source), pointer(&target));
            let expected = model.move_value(&source, &target);
            let moved = edited
                .move_value(&pointer(&source), &pointer(&target))
                .map_err(Refused::from);
            assert_eq!(moved.as_ref().ok(), expected.as_ref().ok(), "{edit:?}");
            (edit, expected.is_ok())
        }
    }
}

/// Edits by way of somebody else, with what they come to.
#[derive(Clone, Debug)]
pub(crate) struct EditCase {
    pub(crate) text: String,
    /// Made one by one; whether each is made.
    pub(crate) first: Vec<(Edit, bool)>,
    /// Then made at once, all or none.
    pub(crate) edits: Vec<Edit>,
    pub(crate) is_refused: bool,
    /// The document after all of it.
    pub(crate) written: Bytes,
}

pub(crate) fn edit_case() -> impl Strategy<Value = EditCase> {
    let steps = (
        prop::collection::vec(step(), 0..3),
        prop::collection::vec(step(), 1..6),
    );
    (text(), steps).prop_map(|(text, (first, steps))| {
        let document = parse(&text);
        let mut model = Model::of(document.root());
        let mut edited = EditedDocument::new(document);
        let mut make = |steps: Vec<Step>| -> (Vec<(Edit, bool)>, Bytes) {
            let made = steps
                .iter()
                .map(|step| step_on_both(step, &mut edited, &mut model));
            (made.collect(), edited.to_bytes())
        };
        let (first, before) = make(first);
        let (made, after) = make(steps);
        let is_refused = made.iter().any(|(_, is_done)| !is_done);
        EditCase {
            text,
            first,
            edits: made.into_iter().map(|(edit, _)| edit).collect(),
            is_refused,
            written: if is_refused { before } else { after },
        }
    })
}

/// What is read, at every pointer and in the whole text, is what the model has.
fn assert_same(edited: &EditedDocument, model: &Model) {
    for tokens in model.pointers() {
        let read = edited
            .get(&pointer(&tokens))
            .expect("the model has a value there");
        let expected = model.get(&tokens).expect("a pointer of the model");
        match (expected.scalar(), read) {
            // Negative zero is equal to zero, but another number.
            (Some(NewValue::Number(expected)), NewValue::Number(read)) => {
                assert_eq!(read.to_bits(), expected.to_bits());
            }
            (Some(expected), read) => assert_eq!(read, expected),
            (None, NewValue::Json(text)) => assert_eq!(&Model::of(parse(&text).root()), expected),
            (None, read) => panic!("{read:?} for an array or object"),
        }
    }
    let written = edited.to_bytes();
    let value: Value = serde_json::from_slice(&written).expect("the result is JSON");
    assert_eq!(value, model.to_value());
    let reread = Document::parse(written, u32::MAX).expect("the result is strict JSON");
    assert_eq!(&Model::of(reread.root()), model);
}

proptest! {
    #[test]
    fn without_edits_the_bytes_are_the_same(text in text()) {
        let document = parse(&text);
        let edited = EditedDocument::new(document.clone());
        prop_assert!(!edited.is_edited());
        prop_assert_eq!(edited.to_bytes().as_ptr(), document.bytes().as_ptr());
        prop_assert_eq!(edited.to_bytes(), text.as_bytes());
    }

    #[test]
    fn edits_do_what_they_do_on_a_tree(text in text(), steps in prop::collection::vec(step(), 1..8)) {
        let document = parse(&text);
        let mut model = Model::of(document.root());
        let mut edited = EditedDocument::new(document);
        for step in &steps {
            step_on_both(step, &mut edited, &mut model);
            assert_same(&edited, &model);
        }
    }

    #[test]
    fn apply_makes_all_edits_or_none(
        text in text(),
        first in prop::collection::vec(step(), 0..3),
        steps in prop::collection::vec(step(), 1..6),
    ) {
        let document = parse(&text);
        let mut model = Model::of(document.root());
        let mut edited = EditedDocument::new(document);
        for step in &first {
            step_on_both(step, &mut edited, &mut model);
        }
        let (mut stepwise, mut stepwise_model) = (edited.clone(), model.clone());
        let mut edits = Vec::new();
        let mut is_refused = false;
        for step in &steps {
            let (edit, is_done) = step_on_both(step, &mut stepwise, &mut stepwise_model);
            is_refused |= !is_done;
            edits.push(edit);
        }
        let before = edited.to_bytes();
        prop_assert_eq!(edited.apply(&edits).is_err(), is_refused);
        if is_refused {
            prop_assert_eq!(edited.to_bytes(), before);
            assert_same(&edited, &model);
        } else {
            assert_same(&edited, &stepwise_model);
        }
    }

    /// An edit inside one member leaves the bytes before and behind that member's value alone.
    #[test]
    fn what_stands_around_an_edit_keeps_its_bytes(text in text(), at in any::<Index>(), value in new_value()) {
        let document = try_parse(text.as_bytes()).expect("JSON");
        let pointers = Model::of(document.root()).pointers();
        let tokens: &Vec<String> = at.get(&pointers);
        let at = pointer(tokens);
        let node = document.pointer(&at).expect("a pointer of the model");
        let (start, end) = (node.offset(), node.offset() + node.raw().len());
        let mut edited = EditedDocument::new(document.clone());
        edited.set(&at, value).expect("the place exists");
        let written = edited.to_bytes();
        if !at.is_empty() {
            prop_assert_eq!(&written[..start], &text.as_bytes()[..start]);
            prop_assert!(written.ends_with(&text.as_bytes()[end..]));
        }
    }
}
