//! What is read as JSON, and what it is, beside `serde_json`. The input is the text.
#![no_main]

use bytes::Bytes;
use headworks::json::{Document, ParseErrorKind, newline_free};
use headworks_fuzz::{alike, is_own_limit, same};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Less than what `serde_json` takes, which is 127.
const DEPTH_MAX: u32 = 100;

fuzz_target!(|text: &[u8]| run(text));

fn run(text: &[u8]) {
    let ours = Document::parse(Bytes::copy_from_slice(text), DEPTH_MAX);
    let theirs = serde_json::from_slice::<Value>(text);
    match (ours, theirs) {
        (Ok(document), Ok(value)) => {
            assert!(same(document.root(), &value), "{value}");
            assert!(alike(&document.root().to_value(), &value), "{value}");
            assert_eq!(document.bytes(), text);
            let line = newline_free(&document.bytes());
            assert!(!line.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
            let reread = Document::parse(line, DEPTH_MAX).expect("the same text on one line");
            assert!(same(reread.root(), &value), "{value}");
        }
        (Ok(_), Err(error)) => assert!(is_own_limit(&error), "read here alone: {error}"),
        (Err(error), theirs) => {
            assert!(error.offset <= text.len(), "{error:?}");
            let (line, column) = error.line_and_column(text);
            assert!(line > 0 && column > 0 && !error.to_string().is_empty());
            let is_stricter = matches!(
                error.kind,
                ParseErrorKind::DuplicateMember(_)
                    | ParseErrorKind::TooDeep { .. }
                    | ParseErrorKind::NumberOutOfRange
            );
            assert!(is_stricter || theirs.is_err(), "refused here alone: {error}");
        }
    }
}
