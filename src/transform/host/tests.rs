mod flat;

use std::{cell::RefCell, sync::Arc};

use bytes::Bytes;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use wasmtime::component::Resource;

use super::{Change, MemoryCap, State, from_guest, host, to_guest, types};
use crate::{
    json::{Document, Edit as PlainEdit, tests::edit_properties::edit_case},
    limits::{ByteSize, Limits},
    transform::{
        clock::CallClock,
        counters::{Counting, InstanceCounters, PluginCounters},
        documents::{Documents, HostDocument},
        engine::{Ticker, engine},
        fault::Fault,
        log::CallLog,
        lookups::Lookups,
    },
};

use types::{Edit, Value};

struct Host {
    state: State,
    counters: Arc<PluginCounters>,
    /// Ends with this.
    _ticker: Ticker,
    data: u32,
}

/// A host with one event, as `transform` finds it.
fn host(data: &'static str) -> Host {
    let limits = Limits::default();
    let engine = engine(&limits).expect("this machine runs plugins");
    let ticker = Ticker::start(engine, &limits).expect("a thread can be made");
    let counters = Arc::new(PluginCounters::default());
    let mut state = State {
        documents: Documents::new(limits.plugin_memory_bytes, limits.depth),
        memory: MemoryCap::new(limits.plugin_memory_bytes),
        clock: CallClock::new(ticker.reader()),
        log: CallLog::default(),
        counters: InstanceCounters::new(Arc::clone(&counters)),
        lookups: Lookups::default(),
        pointers: String::new(),
        request: Vec::new(),
        host_calls: 0,
    };
    state.clock.start(std::time::Duration::from_secs(10));
    state.counters.begin(Counting::Shared);
    let document = Document::parse(Bytes::from_static(data.as_bytes()), 64).expect("it is JSON");
    let data = state.documents.insert_event(&document).expect("it fits").rep();
    Host {
        state,
        counters,
        _ticker: ticker,
        data,
    }
}

impl Host {
    fn data(&self) -> Resource<HostDocument> {
        Resource::new_own(self.data)
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// As a guest's edits come.
fn apply(host: &mut Host, edits: &[Edit]) -> Result<Result<(), String>, wasmtime::Error> {
    let data = host.data();
    State::apply(
        &mut host.state,
        |state| state,
        &data,
        edits.to_vec(),
        |_, edit, pointers| {
            Ok(match edit {
                Edit::Set((pointer, value)) => {
                    pointers.push_str(&pointer);
                    Change::Set(from_guest(value))
                }
                Edit::Remove(pointer) => {
                    pointers.push_str(&pointer);
                    Change::Remove
                }
                Edit::Move((source, target)) => {
                    pointers.push_str(&source);
                    pointers.push_str(&target);
                    Change::Move {
                        source_bytes: source.len(),
                    }
                }
            })
        },
    )
}

#[test]
fn get_gives_each_kind_of_value() {
    let host = host(
        r#"{"null": null, "yes": true, "integer": -7, "number": 1.5, "text": "a\n", "big": 18446744073709551615, "array": [1,  2], "": {"~/": 3}}"#,
    );
    for (pointer, expected) in [
        ("/null", Some(Value::Null)),
        ("/yes", Some(Value::Boolean(true))),
        ("/integer", Some(Value::Integer(-7))),
        ("/number", Some(Value::Number(1.5))),
        ("/text", Some(text("a\n"))),
        ("/big", Some(Value::Json("18446744073709551615".to_owned()))),
        ("/array", Some(Value::Json("[1,  2]".to_owned()))),
        ("/array/1", Some(Value::Integer(2))),
        ("//~0~1", Some(Value::Integer(3))),
        ("/array/2", None),
        ("/missing", None),
        ("no pointer", None),
    ] {
        let data = host.data();
        let found = host.state.get(&data, pointer).expect("no limit is met");
        assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{pointer}");
    }
}

#[test]
fn single_edits_tell_what_they_did() {
    let mut host = host(r#"{"a": 1, "b": {"c": [1]}}"#);
    let (one, two, three) = (host.data(), host.data(), host.data());
    assert_eq!(host.state.remove(&one, "/a").ok(), Some(true));
    assert_eq!(host.state.remove(&two, "/a").ok(), Some(false));
    let moved = host.state.move_value(&three, "/b/c", "/d/e");
    assert_eq!(moved.ok(), Some(Ok(true)));
    let (one, two, three) = (host.data(), host.data(), host.data());
    let moved = host.state.move_value(&one, "/a", "/f");
    assert_eq!(moved.ok(), Some(Ok(false)));
    let set = host.state.set(&two, "/d/e/-", text("x"));
    assert_eq!(set.ok(), Some(Ok(())));
    let refused = host.state.set(&three, "/d/e/7", Value::Null);
    assert!(matches!(refused, Ok(Err(_))));
    let data = host.data();
    let json = host.state.text(&data).expect("it is there");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json, serde_json::json!({"b": {}, "d": {"e": [1, "x"]}}));
}

#[test]
fn apply_makes_edits_in_their_order() {
    let mut host = host(r#"{"a": 1}"#);
    let made = apply(
        &mut host,
        &[
            Edit::Move(("/a".to_owned(), "/b".to_owned())),
            Edit::Set(("/a".to_owned(), Value::Json("[1]".to_owned()))),
            Edit::Set(("/a/-".to_owned(), Value::Number(0.5))),
            Edit::Remove("/b".to_owned()),
        ],
    );
    assert_eq!(made.ok(), Some(Ok(())));
    let data = host.data();
    assert_eq!(host.state.text(&data).ok().as_deref(), Some(r#"{"a":[1,0.5]}"#));
}

#[test]
fn apply_makes_all_edits_or_none() {
    let mut host = host(r#"{"a": 1,  "b": [true]}"#);
    let edits = [
        Edit::Remove("/b".to_owned()),
        Edit::Remove("/not-there".to_owned()),
        Edit::Move(("/not-there".to_owned(), "/c".to_owned())),
        Edit::Set(("/a/below-a-number".to_owned(), Value::Null)),
    ];
    assert!(matches!(apply(&mut host, &edits), Ok(Err(_))));
    let data = host.data();
    assert_eq!(
        host.state.text(&data).ok().as_deref(),
        Some(r#"{"a": 1,  "b": [true]}"#)
    );
    assert!(matches!(apply(&mut host, &edits[..3]), Ok(Ok(()))));
    assert_eq!(host.state.text(&data).ok().as_deref(), Some(r#"{"a": 1}"#));
}

fn to_guest_edit(edit: PlainEdit) -> Edit {
    match edit {
        PlainEdit::Set(pointer, value) => Edit::Set((pointer, to_guest(value))),
        PlainEdit::Remove(pointer) => Edit::Remove(pointer),
        PlainEdit::Move(source, target) => Edit::Move((source, target)),
    }
}

/// Whatever a guest's edits are, what stands there afterwards is what the same edits give on a plain tree, or what stood
/// there before.
#[test]
fn edits_of_a_call_are_made_as_on_a_tree_or_not_at_all() {
    let host = RefCell::new(host("{}"));
    let mut runner = TestRunner::new(Config::with_source_file(file!()));
    let tried = runner.run(&edit_case(), |case| {
        let host = &mut *host.borrow_mut();
        host.state.clock.start(std::time::Duration::from_secs(10));
        host.state.documents.begin();
        let document = Document::parse(Bytes::from(case.text), 64).expect("it is JSON");
        host.data = host
            .state
            .documents
            .insert_event(&document)
            .expect("it fits")
            .rep();
        for (edit, is_done) in case.first {
            let made = apply(host, &[to_guest_edit(edit)]).expect("no limit is met");
            prop_assert_eq!(made.is_ok(), is_done);
        }
        let edits: Vec<Edit> = case.edits.into_iter().map(to_guest_edit).collect();
        let made = apply(host, &edits).expect("no limit is met");
        prop_assert_eq!(made.is_err(), case.is_refused);
        let data = host.data();
        let written = host.state.text(&data).expect("it is there");
        prop_assert_eq!(written.as_bytes(), &case.written);
        let bound = host
            .state
            .documents
            .get(&host.data())
            .expect("it is there")
            .text_bytes_bound;
        prop_assert!(
            written.len() <= bound,
            "{} bytes, and at most {} were promised",
            written.len(),
            bound
        );
        Ok(())
    });
    tried.expect("as on a tree");
}

#[test]
fn apply_ends_when_the_time_is_over() {
    let mut host = host(r#"{"a": 1}"#);
    let edits = vec![Edit::Remove("/a".to_owned()); 2];
    host.state.clock.start(std::time::Duration::ZERO);
    let begun = std::time::Instant::now();
    loop {
        match apply(&mut host, &edits) {
            Ok(made) => assert_eq!(made, Ok(())),
            Err(error) => break assert!(error.is::<Fault>(), "{error}"),
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "no end");
    }
}

#[test]
fn values_that_are_no_json_are_refused() {
    let mut host = host(r#"{"a": 1}"#);
    for value in [
        Value::Number(f64::NAN),
        Value::Number(f64::INFINITY),
        Value::Json("{".to_owned()),
        Value::Json("1 2".to_owned()),
        Value::Json(r#"{"x":1,"x":2}"#.to_owned()),
    ] {
        let data = host.data();
        let shown = format!("{value:?}");
        let refused = host.state.set(&data, "/a", value);
        assert!(matches!(refused, Ok(Err(_))), "{shown}");
    }
    let data = host.data();
    assert_eq!(host.state.text(&data).ok().as_deref(), Some(r#"{"a": 1}"#));
}

#[test]
fn texts_become_documents_of_their_own() {
    let mut host = host(r"{}");
    let made = host
        .state
        .parse(r#"[{"a": 1}]"#.to_owned())
        .expect("no limit is met");
    let made = made.expect("it is JSON").rep();
    let copy = host
        .state
        .copy(&Resource::new_own(made))
        .expect("there is room")
        .rep();
    let removed = host.state.remove(&Resource::new_own(copy), "/0/a");
    assert_eq!(removed.ok(), Some(true));
    assert_eq!(
        host.state.text(&Resource::new_own(made)).ok().as_deref(),
        Some(r#"[{"a": 1}]"#)
    );
    assert_eq!(
        host.state.text(&Resource::new_own(copy)).ok().as_deref(),
        Some("[{}]")
    );
    host.state.drop_document(&Resource::new_own(made));
    assert!(host.state.text(&Resource::new_own(made)).is_err());
}

#[test]
fn the_whole_document_can_be_replaced_and_never_removed() {
    let mut host = host(r#"{"a": 1}"#);
    let (one, two, three) = (host.data(), host.data(), host.data());
    assert_eq!(host.state.remove(&one, "").ok(), Some(false));
    let set = host.state.set(&two, "", text("all"));
    assert_eq!(set.ok(), Some(Ok(())));
    assert_eq!(host.state.text(&three).ok().as_deref(), Some(r#""all""#));
}

#[test]
fn counters_are_shared_and_bad_names_are_logged() {
    let mut host = host("{}");
    for (name, amount) in [("calls", 1), ("calls", 2), ("no name", 1)] {
        host.state.count(name.to_owned(), amount);
    }
    assert_eq!(host.counters.read(), [("calls".into(), 3)]);
    let log = host.state.log.take();
    assert_eq!(log.len(), 1);
    assert!(
        log[0].message.starts_with("a counter's name is"),
        "{}",
        log[0].message
    );
}

#[test]
fn log_lines_keep_level_and_order() {
    let mut host = host("{}");
    for (level, message) in [(host::Level::Info, "one"), (host::Level::Error, "two\n")] {
        host.state.write_log(level, message);
    }
    assert_eq!(host.state.log.last_error(), Some("two\\n"));
    let lines: Vec<_> = host
        .state
        .log
        .take()
        .into_iter()
        .map(|line| line.message)
        .collect();
    assert_eq!(lines, ["one", "two\\n"]);
}

#[test]
fn memory_is_counted_over_all_memories() {
    use wasmtime::ResourceLimiter as _;
    let mut cap = MemoryCap::new(ByteSize(1 << 20));
    assert_eq!(cap.memory_growing(0, 600 << 10, None).ok(), Some(true));
    assert_eq!(cap.memory_growing(0, 400 << 10, None).ok(), Some(true));
    assert_eq!(cap.denied_cap(), None);
    assert_eq!(cap.memory_growing(400 << 10, 500 << 10, None).ok(), Some(false));
    assert_eq!(cap.denied_cap(), Some(ByteSize(1 << 20)));
    assert_eq!(cap.used_bytes, 1000 << 10);
}
