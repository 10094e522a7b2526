//! Edits by example: what the properties leave to taste, and what is refused.

use super::super::{Edit, EditedDocument, NewValue, POINTER_TOKENS_MAX};
use super::parse;

fn edited(text: &str) -> EditedDocument {
    EditedDocument::new(parse(text))
}

fn written(edited: &EditedDocument) -> String {
    String::from_utf8(edited.to_bytes().to_vec()).expect("JSON is UTF-8")
}

fn after(text: &str, edits: &[Edit]) -> String {
    let mut edited = edited(text);
    edited.apply(edits).expect("the edits are good");
    written(&edited)
}

fn set(pointer: &str, value: NewValue) -> Edit {
    Edit::Set(pointer.to_owned(), value)
}

fn remove(pointer: &str) -> Edit {
    Edit::Remove(pointer.to_owned())
}

fn move_value(source: &str, target: &str) -> Edit {
    Edit::Move(source.to_owned(), target.to_owned())
}

const PRETTY: &str = "{\n  \"a\": 1.50,\n  \"b\" : [ 1 , 2,3 ] ,\n  \"c\": {\"d\": \"\\u0064\"}\n}\n";

#[test]
fn a_removed_member_takes_one_comma_and_its_white_space_along() {
    assert_eq!(
        after(PRETTY, &[remove("/a")]),
        "{\n  \"b\" : [ 1 , 2,3 ] ,\n  \"c\": {\"d\": \"\\u0064\"}\n}\n"
    );
    assert_eq!(
        after(PRETTY, &[remove("/b")]),
        "{\n  \"a\": 1.50,\n  \"c\": {\"d\": \"\\u0064\"}\n}\n"
    );
    assert_eq!(
        after(PRETTY, &[remove("/c")]),
        "{\n  \"a\": 1.50,\n  \"b\" : [ 1 , 2,3 ]\n}\n"
    );
    assert_eq!(after(PRETTY, &[remove("/a"), remove("/b"), remove("/c")]), "{}\n");
    assert_eq!(after("[ 1 , 2 , 3 ]", &[remove("/1")]), "[ 1, 3 ]");
    assert_eq!(after("[ 1 , 2 , 3 ]", &[remove("/2"), remove("/0")]), "[ 2 ]");
    assert_eq!(after("[ 1 ]", &[remove("/0")]), "[]");
}

#[test]
fn members_are_kept_replaced_and_removed_in_any_choice() {
    // White space, name and colon, value, white space.
    let members = [
        (" ", "\"a\" :", "1", " "),
        ("\n", "\"b\":", "[2]", ""),
        ("\t", "\"c\": ", "{\"x\" : 3}", " "),
        (" ", "\"d\":", "\"4\"", "\r\n"),
    ];
    let joined = members.map(|(before, name, value, behind)| format!("{before}{name}{value}{behind}"));
    let text = format!("{{{}}}", joined.join(","));
    let steps = [("/a", 1), ("/b", 3), ("/c", 9), ("/d", 27)];
    for choice in 0..81 {
        for is_added in [false, true] {
            let mut edits = Vec::new();
            let mut expected = String::new();
            let mut comma = String::new();
            for ((before, name, value, behind), (pointer, step)) in members.into_iter().zip(steps) {
                let value = match choice / step % 3 {
                    0 => value,
                    1 => {
                        edits.push(set(pointer, NewValue::Integer(0)));
                        "0"
                    }
                    _ => {
                        edits.push(remove(pointer));
                        comma.clear();
                        continue;
                    }
                };
                if comma.is_empty() && !expected.is_empty() {
                    comma.push(',');
                }
                expected.push_str(&format!("{comma}{before}{name}{value}"));
                comma = format!("{behind},");
            }
            if is_added {
                edits.push(set("/e", NewValue::Null));
                expected.push_str(if expected.is_empty() { "" } else { "," });
                expected.push_str("\"e\":null");
            }
            if !expected.is_empty() {
                expected.push_str("\r\n");
            }
            assert_eq!(after(&text, &edits), format!("{{{expected}}}"), "{edits:?}");
        }
    }
}

#[test]
fn members_of_a_large_object_are_edited_like_those_of_a_small_one() {
    let members: Vec<String> = (0..100).map(|at| format!("\"n{at}\": {at}")).collect();
    let text = format!("{{ {} }}", members.join(" , "));
    assert_eq!(
        after(&text, &[set("/n0", NewValue::Null)]),
        text.replace("\"n0\": 0", "\"n0\": null")
    );
    assert_eq!(
        after(
            &text,
            &[
                remove("/n99"),
                set("/n50", NewValue::Null),
                remove("/n0"),
                remove("/n1")
            ]
        ),
        format!("{{ {} }}", members[2..99].join(" , ")).replace("\"n50\": 50", "\"n50\": null")
    );
}

#[test]
fn a_replaced_value_keeps_its_place_and_what_stands_around_it() {
    assert_eq!(
        after(
            PRETTY,
            &[
                set("/b/1", NewValue::Text("x".to_owned())),
                set("/a", NewValue::Null)
            ]
        ),
        "{\n  \"a\": null,\n  \"b\" : [ 1 , \"x\",3 ] ,\n  \"c\": {\"d\": \"\\u0064\"}\n}\n"
    );
    assert_eq!(
        after(r#"{"\u0061" :1}"#, &[set("/a", NewValue::Integer(2))]),
        r#"{"\u0061" :2}"#
    );
}

#[test]
fn what_is_new_comes_last() {
    assert_eq!(
        after(r#"{"a":1 }"#, &[set("/b\"", NewValue::Boolean(true))]),
        r#"{"a":1,"b\"":true }"#
    );
    assert_eq!(
        after("{ }", &[set("/a/b/c", NewValue::Integer(1))]),
        r#"{"a":{"b":{"c":1}}}"#
    );
    assert_eq!(
        after("[ ]", &[set("/-", NewValue::Null), set("/1", NewValue::Null)]),
        "[null,null]"
    );
    assert_eq!(after("[1]", &[set("/1/x", NewValue::Null)]), r#"[1,{"x":null}]"#);
    assert_eq!(after("{}", &[set("/a/-", NewValue::Null)]), r#"{"a":{"-":null}}"#);
    assert_eq!(
        after(
            r#"{"a":1,"b":2}"#,
            &[remove("/a"), set("/a", NewValue::Integer(3))]
        ),
        r#"{"b":2,"a":3}"#
    );
}

#[test]
fn what_is_moved_whole_keeps_its_bytes() {
    assert_eq!(
        after(
            PRETTY,
            &[move_value("/c", "/new/place"), move_value("/a", "/b/0")]
        ),
        "{\n  \"b\" : [ 1.50 , 2,3 ],\"new\":{\"place\":{\"d\": \"\\u0064\"}}\n}\n"
    );
    assert_eq!(after(PRETTY, &[move_value("/b", "")]), "[ 1 , 2,3 ]");
    assert_eq!(
        after(PRETTY, &[move_value("/b/2", "/b")]),
        PRETTY.replace("[ 1 , 2,3 ]", "3")
    );
    // Removal first: what stood at 2 then stands at 1.
    assert_eq!(after("[0,1,2,3]", &[move_value("/0", "/1")]), "[1,0,3]");
}

#[test]
fn the_whole_document_can_be_set_but_not_removed() {
    assert_eq!(
        after(PRETTY, &[set("", NewValue::Json(" [1, 2] ".to_owned()))]),
        "[1, 2]"
    );
    assert_eq!(
        after(
            PRETTY,
            &[
                set("", NewValue::Json("{ }".to_owned())),
                set("/a", NewValue::Null)
            ]
        ),
        r#"{"a":null}"#
    );
    let mut document = edited(PRETTY);
    assert!(!document.remove(""));
    assert!(!document.is_edited());
    assert_eq!(written(&document), PRETTY);
}

#[test]
fn bad_edits_are_refused_and_change_nothing() {
    let mut document = edited(r#"{"a":{"b":1},"list":[1,2]}"#);
    let before = document.to_bytes();
    for (pointer, value) in [
        ("/a/b/c", NewValue::Null),
        ("/list/3", NewValue::Null),
        ("/list/01", NewValue::Null),
        ("/list/x", NewValue::Null),
        ("/list/-/x", NewValue::Null),
        ("/list/-1", NewValue::Null),
        ("a", NewValue::Null),
        ("/a~2", NewValue::Null),
        ("/a~", NewValue::Null),
        ("/a", NewValue::Number(f64::NAN)),
        ("/a", NewValue::Number(f64::INFINITY)),
        ("/a", NewValue::Json("{\"x\":1,\"x\":2}".to_owned())),
        ("/a", NewValue::Json("1e400".to_owned())),
        ("/a", NewValue::Json(String::new())),
        (
            "/a",
            NewValue::Json(format!("{}{}", "[".repeat(65), "]".repeat(65))),
        ),
    ] {
        let error = document.set(pointer, value).expect_err(pointer);
        assert_eq!(error.pointer, pointer);
    }
    for (source, target) in [
        ("/a", "/a/b"),
        ("/a", "/a/c/d"),
        ("", "/x"),
        ("/a", "/list/9"),
        ("/a", "x"),
        ("/a", "/list/0/x"),
    ] {
        document.move_value(source, target).expect_err(target);
    }
    assert!(!document.is_edited());
    assert_eq!(document.to_bytes(), before);
}

/// Only what is edited loses its white space, not what a refused edit looked into.
#[test]
fn a_refused_edit_leaves_the_bytes_of_what_it_looked_into() {
    let mut document = edited(r#"{"a":1, "list":[ ], "object":{ "deep" : { } }}"#);
    document.set("/a", NewValue::Integer(2)).expect("a member");
    document.set("/list/x", NewValue::Null).expect_err("no position");
    document
        .move_value("/object/deep", "/list/x")
        .expect_err("no position");
    assert_eq!(
        written(&document),
        r#"{"a":2, "list":[ ], "object":{ "deep" : { } }}"#
    );
}

#[test]
fn what_is_not_there_is_neither_removed_nor_moved() {
    let mut document = edited(r#"{"a":{"b":1},"list":[1,2]}"#);
    for pointer in [
        "/x",
        "/a/b/c",
        "/list/2",
        "/list/-",
        "/list/00",
        "no pointer",
        "/a~",
    ] {
        assert!(!document.remove(pointer), "{pointer}");
        assert_eq!(document.move_value(pointer, "/y"), Ok(false), "{pointer}");
        assert_eq!(document.get(pointer), None, "{pointer}");
    }
    assert_eq!(document.move_value("/a", "/a"), Ok(true));
    assert!(!document.is_edited());
}

#[test]
fn a_move_that_fails_puts_the_value_back_where_it_was() {
    let mut document = edited(r#"{"a":1,"list":[1,{"x":2}, 3]}"#);
    document.set("/new", NewValue::Integer(5)).expect("a member");
    document.set("/newer", NewValue::Integer(6)).expect("a member");
    document.set("/list/-", NewValue::Integer(4)).expect("an element");
    let before = document.to_bytes();
    for source in ["/a", "/new", "/list/0", "/list/1/x", "/list/3"] {
        document
            .move_value(source, "/list/9")
            .expect_err("no such position");
        assert_eq!(document.to_bytes(), before, "{source}");
    }
    document.set("/new", NewValue::Null).expect("still a member");
    assert_eq!(
        written(&document),
        r#"{"a":1,"list":[1,{"x":2}, 3,4],"new":null,"newer":6}"#
    );
}

#[test]
fn numbers_are_read_as_numbers_where_nothing_is_lost() {
    let document = edited(
        r#"[1, 1.0, -0, 0.1, 1e2, 9007199254740993.0, 123456789012345678901234567890, 18446744073709551615, 1e-400, 5e-324, 0.30, 9223372036854775808]"#,
    );
    let json = |text: &str| NewValue::Json(text.to_owned());
    let expected = [
        NewValue::Integer(1),
        NewValue::Number(1.0),
        NewValue::Number(-0.0),
        NewValue::Number(0.1),
        NewValue::Number(100.0),
        json("9007199254740993.0"),
        json("123456789012345678901234567890"),
        json("18446744073709551615"),
        json("1e-400"),
        NewValue::Number(5e-324),
        NewValue::Number(0.3),
        json("9223372036854775808"),
    ];
    for (at, expected) in expected.into_iter().enumerate() {
        assert_eq!(document.get(&format!("/{at}")), Some(expected), "at {at}");
    }
}

#[test]
fn very_many_edits_of_one_array_or_object_take_no_time_of_note() {
    let elements: Vec<String> = (0..40_000).map(|at| at.to_string()).collect();
    let mut document = edited(&format!("[{}]", elements.join(",")));
    document.apply(&vec![remove("/0"); 39_999]).expect("removed");
    assert_eq!(written(&document), "[39999]");

    let mut document = edited("{}");
    let sets: Vec<Edit> = (0..20_000)
        .map(|at| set(&format!("/n{at}"), NewValue::Integer(at)))
        .collect();
    document.apply(&sets).expect("set");
    assert_eq!(document.get("/n19999"), Some(NewValue::Integer(19_999)));
    let removes: Vec<Edit> = (0..19_999).map(|at| remove(&format!("/n{at}"))).collect();
    document.apply(&removes).expect("removed");
    assert_eq!(written(&document), r#"{"n19999":19999}"#);
}

#[test]
fn edits_cannot_build_up_levels_without_end() {
    let deep = "/a".repeat(POINTER_TOKENS_MAX);
    let mut document = edited("{}");
    document.set(&deep, NewValue::Null).expect("as deep as can be");
    document
        .set(&format!("{deep}/a"), NewValue::Null)
        .expect_err("deeper");
    document.move_value("/a", "/b/c").expect_err("deeper");
    document.move_value("/a", "/b").expect("as deep");
    assert_eq!(
        document.get(&format!("/b{}", "/a".repeat(POINTER_TOKENS_MAX - 1))),
        Some(NewValue::Null)
    );
}
