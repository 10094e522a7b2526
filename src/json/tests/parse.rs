//! What is refused, why, and where.

use std::fmt::Write as _;

use super::super::{Document, ParseErrorKind};
use super::{parse, try_parse};

fn refusal(text: &str) -> (ParseErrorKind, usize) {
    let error = try_parse(text.as_bytes()).expect_err(text);
    (error.kind, error.offset)
}

fn syntax_offset(text: &str) -> usize {
    match refusal(text) {
        (ParseErrorKind::Syntax(_), offset) => offset,
        (kind, _) => panic!("{kind:?} for {text:?}"),
    }
}

#[test]
fn broken_syntax_is_refused_at_its_place() {
    for (text, offset) in [
        ("", 0),
        ("  ", 2),
        ("\u{feff}{}", 0),
        ("{} {}", 3),
        ("[1,]", 3),
        ("[,1]", 1),
        ("[1 2]", 3),
        ("[1", 2),
        ("{\"a\":1,}", 7),
        ("{\"a\" 1}", 5),
        ("{a:1}", 1),
        ("{\"a\":}", 5),
        ("[}", 1),
        ("{]", 1),
        ("{\"a\":1]", 6),
        ("NaN", 0),
        ("-Infinity", 1),
        ("tru", 0),
        ("nullx", 4),
        ("01", 0),
        ("-01", 0),
        ("1.", 2),
        (".5", 0),
        ("1e", 2),
        ("1e+", 3),
        ("+1", 0),
        ("0x10", 1),
        ("\"a", 2),
        ("\"\\", 2),
        ("\"\\x\"", 1),
        ("\"\\u12g4\"", 1),
        ("\"\\u12", 1),
        ("\"a\nb\"", 2),
        ("\"a\u{0}b\"", 2),
        ("\"sixteen and more characters\u{1f}\"", 28),
        ("'a'", 0),
        ("\u{a0}1", 0),
        ("/* */1", 0),
    ] {
        assert_eq!(syntax_offset(text), offset, "{text:?}");
    }
}

#[test]
fn a_member_that_stands_twice_is_refused_however_it_is_spelled() {
    let twice = |name: &str| ParseErrorKind::DuplicateMember(name.to_owned());
    assert_eq!(refusal(r#"{"a":1,"a":2}"#), (twice("a"), 7));
    assert_eq!(refusal(r#"{"a":1,"\u0061":2}"#), (twice("a"), 7));
    assert_eq!(refusal(r#"{"\ud83d\ude00":1,"b":{},"😀":2}"#), (twice("😀"), 25));
    assert_eq!(refusal(r#"{"":1,"":2}"#), (twice(""), 6));
    assert_eq!(refusal(r#"[{"x":{"a":{"a":1},"b":0,"a":1}}]"#), (twice("a"), 25));
    parse(r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#);
    parse(r#"{"a":1,"A":2,"a ":3,"":4,"á":5,"\u0000":6,"\u0000a":7}"#);
}

/// Names of 40 characters that differ only where the short hash does not look.
fn colliding_names(count: usize) -> Vec<String> {
    (0..count)
        .map(|at| format!("12345678{at:08}{}", "x".repeat(24)))
        .collect()
}

fn object_of(names: &[String]) -> String {
    let members: Vec<String> = names.iter().map(|name| format!("\"{name}\":0")).collect();
    format!("{{{}}}", members.join(","))
}

#[test]
fn names_whose_short_hashes_collide_are_still_told_apart() {
    let hashes: Vec<u32> = colliding_names(2)
        .iter()
        .map(|name| super::super::string::short_hash(name.as_bytes()))
        .collect();
    assert_eq!(
        hashes[0], hashes[1],
        "the names must collide for this test to say anything"
    );
    for count in [2, 3, 20, 64, 65, 200] {
        let mut names = colliding_names(count);
        let document = parse(&object_of(&names));
        assert!(names.iter().all(|name| document.root().get(name).is_some()));
        names.push(names[count / 2].clone());
        assert_eq!(
            refusal(&object_of(&names)).0,
            ParseErrorKind::DuplicateMember(names[count].clone())
        );
    }
}

/// Compared pair by pair, either object would take minutes.
#[test]
fn very_many_members_are_compared_in_passing() {
    let names: Vec<String> = (0..60_000).map(|at| format!("n{at}")).collect();
    let document = parse(&object_of(&names));
    assert!(names.iter().all(|name| document.root().get(name).is_some()));
    let same = vec!["n".to_owned(); 60_000];
    assert_eq!(
        refusal(&object_of(&same)),
        (ParseErrorKind::DuplicateMember("n".to_owned()), 7)
    );
    let mut late = names;
    late.push("n7".to_owned());
    assert_eq!(
        refusal(&object_of(&late)).0,
        ParseErrorKind::DuplicateMember("n7".to_owned())
    );
}

#[test]
fn nesting_is_bounded_without_recursion() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    parse(&nested(64));
    let too_deep = |pointer: String| ParseErrorKind::TooDeep { levels: 64, pointer };
    assert_eq!(refusal(&nested(65)), (too_deep("/0".repeat(64)), 64));
    parse(&format!("[{},{}]", nested(63), nested(63)));
    let objects = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
    assert_eq!(refusal(&objects), (too_deep("/a".repeat(64)), 64 * 5));
    let mixed = Document::parse(r#"{"b":[0,{"x":1},{"y":[],"a/~\u0062":[[]]}]}"#.into(), 4);
    assert_eq!(
        mixed.expect_err("too deep").kind.to_string(),
        r#"more than 4 nested arrays and objects, at "/b/2/a~1~0b/0""#
    );
    let long = format!("{{{:?}:{{}}}}", "n".repeat(1000));
    let message = Document::parse(long.into(), 1).expect_err("too deep").to_string();
    assert!(message.len() < 300, "{message}");
    assert!(Document::parse(nested(1_000_000).into(), u32::MAX).is_ok());
    assert!(Document::parse("1".into(), 0).is_ok());
    assert!(Document::parse("[]".into(), 0).is_err());
}

#[test]
fn numbers_beyond_a_double_are_refused() {
    for text in ["1e400", "-1e400", "1.0E+309", "1.8e308"] {
        assert_eq!(refusal(text), (ParseErrorKind::NumberOutOfRange, 0));
    }
    assert_eq!(
        refusal(&format!("[1{}]", "0".repeat(309))),
        (ParseErrorKind::NumberOutOfRange, 1)
    );
    for text in [
        "1e-400",
        "1.7976931348623157e308",
        "123456789012345678901234567890",
        "0e999999999999999999999",
    ] {
        let document = parse(text);
        assert_eq!(document.root().raw(), text);
        assert!(document.root().as_f64().is_some_and(f64::is_finite));
    }
    parse(&"1".repeat(309));
}

#[test]
fn lone_surrogates_are_refused_at_their_escape() {
    for (text, offset) in [
        (r#""a\ud800""#, 2),
        (r#""\udc00""#, 1),
        (r#""\ud800\ud800""#, 1),
        (r#""\ud800\n""#, 1),
        (r#""\ud83d\ude00\ud83d""#, 13),
        (r#"{"\udfff":1}"#, 2),
    ] {
        assert_eq!(refusal(text), (ParseErrorKind::LoneSurrogate, offset), "{text}");
    }
    assert_eq!(parse(r#""\uD83D\uDE00""#).root().as_str().as_deref(), Some("😀"));
}

#[test]
fn invalid_utf8_is_refused_at_its_place() {
    for (text, offset) in [
        (&b"\"a\xff\""[..], 2),
        (b"\"\xed\xa0\x80\"", 1),
        (b"\"\xc0\xaf\"", 1),
        (b"{}\x80", 2),
    ] {
        let error = try_parse(text).expect_err("invalid");
        assert_eq!((error.kind, error.offset), (ParseErrorKind::InvalidUtf8, offset));
    }
}

#[test]
fn an_error_tells_line_and_column() {
    let text = "{\n  \"é\": 1,\n  \"é\": nul\n}".as_bytes();
    let error = try_parse(text).expect_err("duplicate");
    assert_eq!(error.line_and_column(text), (3, 3));
    assert_eq!(
        error.to_string(),
        "member \"é\" stands twice in one object at byte 15"
    );
    let end = try_parse(b"[1,").expect_err("cut");
    assert_eq!(end.line_and_column(b"[1,"), (1, 4));
}

#[test]
fn values_are_read_as_they_are_spelled() {
    let document = parse(
        r#" { "n" : -12.50e1, "i":9223372036854775807,"j":9223372036854775808,"s":"a\/\u00e9","t":true} "#,
    );
    assert_eq!(document.pointer("/n").map(|node| node.raw()), Some("-12.50e1"));
    assert_eq!(
        document.pointer("/n").and_then(|node| node.as_f64()),
        Some(-125.0)
    );
    assert_eq!(document.pointer("/n").and_then(|node| node.as_i64()), None);
    assert_eq!(
        document.pointer("/i").and_then(|node| node.as_i64()),
        Some(i64::MAX)
    );
    assert_eq!(document.pointer("/j").and_then(|node| node.as_i64()), None);
    assert_eq!(
        document.pointer("/s").and_then(|node| node.as_str()).as_deref(),
        Some("a/é")
    );
    assert_eq!(document.pointer("/t").and_then(|node| node.as_bool()), Some(true));
    assert_eq!(document.pointer("/s/x").map(|node| node.raw()), None);
    assert_eq!(document.root().raw().len(), document.bytes().len() - 2);
}

#[test]
fn a_part_of_a_document_shares_its_text() {
    let document = parse(r#"[{"a":1}, {"b":[true]} ]"#);
    let second = document.subdocument(document.pointer("/1").expect("there"));
    assert_eq!(second.bytes(), r#"{"b":[true]}"#);
    assert_eq!(
        second.bytes().as_ptr() as usize,
        document.bytes().as_ptr() as usize + 10
    );
    assert_eq!(second.pointer("/b/0").and_then(|node| node.as_bool()), Some(true));
}

#[test]
fn debug_output_shows_no_data() {
    let document = parse(r#"{"card":"4111"}"#);
    let mut shown = String::new();
    write!(shown, "{document:?} {:?}", document.pointer("/card")).expect("a string takes all");
    assert!(!shown.contains("4111") && !shown.contains("card"), "{shown}");
}
