//! Edits of a document, beside the same edits of a `serde_json` tree. The input's first line is the document, each other
//! one an edit, its words parted by tabs: `set POINTER JSON`, `text POINTER TEXT`, `integer POINTER NUMBER`,
//! `number POINTER NUMBER`, `remove POINTER`, `move POINTER POINTER`.
#![no_main]

use bytes::Bytes;
use headworks::json::{Document, Edit, EditedDocument, NewValue, pointer_tokens};
use headworks_fuzz::{alike, depth, is_own_limit, model};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Edits build up levels, which the gateway bounds and the model does not: together they stay below that bound.
const EDITS_MAX: usize = 7;
const TOKENS_MAX: usize = 16;
const DEPTH_MAX: u32 = 16;
/// Deeper values `serde_json` does not read again.
const MODEL_DEPTH_MAX: usize = 100;

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});

/// None where the input is none, or where a model cannot tell.
fn run(input: &[u8]) -> Option<()> {
    let mut lines = std::str::from_utf8(input).ok()?.split('\n');
    let text = Bytes::copy_from_slice(lines.next()?.as_bytes());
    let document = Document::parse(text.clone(), DEPTH_MAX).ok()?;
    let mut model: Value = serde_json::from_slice(&text).ok()?;
    let edits: Vec<Edit> = lines.take(EDITS_MAX).map(edit).collect::<Option<_>>()?;
    let mut edited = EditedDocument::new(document.clone());
    assert_eq!(edited.to_bytes(), text);
    let mut is_refused = false;
    for edit in &edits {
        is_refused |= !both(edit, &mut edited, &mut model)?;
        check(edit, &edited, &model)?;
    }
    let mut at_once = EditedDocument::new(document);
    assert_eq!(at_once.apply(&edits).is_err(), is_refused, "{edits:?}");
    let expected = if is_refused { text } else { edited.to_bytes() };
    assert_eq!(at_once.to_bytes(), expected, "{edits:?}");
    Some(())
}

fn edit(line: &str) -> Option<Edit> {
    let mut words = line.splitn(3, '\t');
    let (operation, pointer) = (words.next()?, words.next()?.to_owned());
    let is_short = |pointer: &str| pointer_tokens(pointer).map_or(true, |tokens| tokens.len() <= TOKENS_MAX);
    if !is_short(&pointer) {
        return None;
    }
    let last = words.next();
    Some(match operation {
        "set" => Edit::Set(pointer, NewValue::Json(last?.to_owned())),
        "text" => Edit::Set(pointer, NewValue::Text(last?.to_owned())),
        "integer" => Edit::Set(pointer, NewValue::Integer(last?.parse().ok()?)),
        "number" => Edit::Set(pointer, NewValue::Number(last?.parse().ok()?)),
        "remove" => Edit::Remove(pointer),
        "move" => Edit::Move(pointer, last.filter(|target| is_short(target))?.to_owned()),
        _ => return None,
    })
}

fn tokens(pointer: &str) -> Option<Vec<String>> {
    let tokens = pointer_tokens(pointer).ok()?;
    Some(tokens.into_iter().map(|token| token.into_owned()).collect())
}

/// Makes the edit on both, which must agree on what becomes of it; whether it was made.
fn both(edit: &Edit, edited: &mut EditedDocument, model: &mut Value) -> Option<bool> {
    Some(match edit {
        Edit::Set(pointer, value) => {
            let expected = match (tokens(pointer), model::new_value(value)) {
                (_, model::New::Unknown) => return None,
                (None, _) | (_, model::New::Refused) => false,
                (Some(tokens), model::New::Taken(value)) => model::set(model, &tokens, value),
            };
            let is_made = edited.set(pointer, value.clone()).is_ok();
            assert_eq!(is_made, expected, "{edit:?}");
            is_made
        }
        Edit::Remove(pointer) => {
            let removed = tokens(pointer).and_then(|tokens| model::take(model, &tokens));
            assert_eq!(edited.remove(pointer), removed.is_some(), "{edit:?}");
            true
        }
        Edit::Move(source, target) => {
            let source_tokens = tokens(source).filter(|tokens| model::get(model, tokens).is_some());
            let expected = match (source_tokens, tokens(target)) {
                (None, _) => Some(false),
                (Some(_), None) => None,
                (Some(source), Some(target)) => model::move_value(model, &source, &target),
            };
            let moved = edited.move_value(source, target).ok();
            assert_eq!(moved, expected, "{edit:?}");
            moved.is_some()
        }
    })
}

/// What is read, at the edit's places and as a whole, is what the model has.
fn check(edit: &Edit, edited: &EditedDocument, model: &Value) -> Option<()> {
    if depth(model) > MODEL_DEPTH_MAX {
        return None;
    }
    let pointers = match edit {
        Edit::Set(pointer, _) | Edit::Remove(pointer) => [Some(pointer), None],
        Edit::Move(source, target) => [Some(source), Some(target)],
    };
    for pointer in pointers.into_iter().flatten() {
        let expected = tokens(pointer).and_then(|tokens| model::get(model, &tokens).cloned());
        let read = edited.get(pointer);
        assert_eq!(read.is_some(), expected.is_some(), "{edit:?} at {pointer}");
        if let (Some(read), Some(expected)) = (read, expected) {
            let read = model::read_value(&read)?;
            assert!(alike(&read, &expected), "{edit:?} at {pointer}: {read}");
        }
    }
    let written = edited.to_bytes();
    Document::parse(written.clone(), u32::MAX).expect("the result is strict JSON");
    match serde_json::from_slice::<Value>(&written) {
        Ok(value) => assert!(alike(&value, model), "{edit:?}: {value} is not {model}"),
        Err(error) => {
            assert!(is_own_limit(&error), "{edit:?}: {error}");
            return None;
        }
    }
    Some(())
}
