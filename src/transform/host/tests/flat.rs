//! One list of bytes each way, as a guest writes and reads it.

use std::time::{Duration, Instant};

use super::{Fault, host};

/// A request of the interface `flat`, put together as `plugin.wit` says.
#[derive(Default)]
struct Flat(Vec<u8>);

impl Flat {
    fn edits(count: u32) -> Flat {
        Flat(count.to_le_bytes().to_vec())
    }

    fn byte(mut self, byte: u8) -> Flat {
        self.0.push(byte);
        self
    }

    fn text(mut self, text: &str) -> Flat {
        let bytes = u32::try_from(text.len()).expect("a short text");
        self.0.extend(bytes.to_le_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    fn number(mut self, bytes: [u8; 8]) -> Flat {
        self.0.extend(bytes);
        self
    }
}

#[test]
fn one_exchange_makes_edits_of_each_kind_and_reads_values_of_each_kind() {
    let mut host = host(r#"{"old": "a\n", "gone": 1, "array": [1,  2]}"#);
    let request = Flat::edits(9)
        .byte(2)
        .text("/old")
        .text("/new")
        .byte(1)
        .text("/gone");
    let set = |request: Flat, pointer: &str, kind: u8| request.byte(0).text(pointer).byte(kind);
    let request = set(request, "/null", 0);
    let request = set(request, "/no", 1);
    let request = set(request, "/yes", 2);
    let request = set(request, "/integer", 3).number((-7_i64).to_le_bytes());
    let request = set(request, "/number", 4).number(1.5_f64.to_le_bytes());
    let request = set(request, "/text", 5).text("b\"");
    let request = set(request, "/json", 6).text("[ 3]");
    let pointers = [
        "/new", "/gone", "/null", "/no", "/yes", "/integer", "/number", "/text", "/json", "/array",
    ];
    let request = pointers
        .iter()
        .fold(request, |request, pointer| request.text(pointer));
    let data = host.data();
    let answer = host.state.exchange(&data, &request.0).expect("a request");
    let expected = Flat::default()
        .byte(5)
        .text("a\n")
        .byte(7)
        .byte(0)
        .byte(1)
        .byte(2);
    let expected = expected.byte(3).number((-7_i64).to_le_bytes());
    let expected = expected.byte(4).number(1.5_f64.to_le_bytes());
    let expected = expected
        .byte(5)
        .text("b\"")
        .byte(6)
        .text("[ 3]")
        .byte(6)
        .text("[1,  2]");
    assert_eq!(answer, Ok(expected.0));
    let text = host.state.text(&data).expect("it is there");
    let edited = r#"{ "array": [1,  2],"new":"a\n","null":null,"no":false,"yes":true,"integer":-7,"number":1.5,"text":"b\"","json":[ 3]}"#;
    assert_eq!(text, edited);
}

#[test]
fn an_exchange_with_a_refused_edit_makes_none_and_reads_nothing() {
    let mut host = host(r#"{"a": 1}"#);
    let data = host.data();
    let request = Flat::edits(2)
        .byte(1)
        .text("/a")
        .byte(0)
        .text("/a/b/")
        .byte(0)
        .text("/a");
    // Removed, then made again as an object: that can be.
    assert!(host.state.exchange(&data, &request.0).expect("a request").is_ok());
    let request = Flat::edits(2)
        .byte(0)
        .text("/a")
        .byte(0)
        .byte(1)
        .text("no pointer");
    assert!(host.state.exchange(&data, &request.0).expect("a request").is_ok());
    let before = host.state.text(&data).expect("it is there");
    let request = Flat::edits(2)
        .byte(0)
        .text("/c")
        .byte(2)
        .byte(0)
        .text("/a/b")
        .byte(0)
        .text("/c");
    let refused = host.state.exchange(&data, &request.0).expect("a request");
    let reason = refused.expect_err("null holds nothing");
    assert!(reason.contains("/a/b"), "{reason}");
    assert_eq!(host.state.text(&data).expect("it is there"), before);
}

#[test]
fn a_request_that_is_none_ends_the_call() {
    let whole = Flat::edits(1)
        .byte(0)
        .text("/a")
        .byte(3)
        .number([0; 8])
        .text("/a")
        .0;
    for end in 0..whole.len() {
        let mut host = host("{}");
        let data = host.data();
        // Without the pointer to read it is whole as well.
        let is_request = end == whole.len() - 6;
        let answer = host.state.exchange(&data, &whole[..end]);
        assert_eq!(answer.is_ok(), is_request, "{end}");
    }
    for (request, words) in [
        (Flat::edits(1).byte(3).text("/a"), "an edit of no kind"),
        (Flat::edits(1).byte(0).text("/a").byte(7), "a value of no kind"),
        (
            Flat::edits(0).byte(0xff).byte(0xff).byte(0xff).byte(0xff),
            "longer than what follows",
        ),
        (
            Flat::edits(0).byte(1).byte(0).byte(0).byte(0).byte(0xff),
            "not UTF-8",
        ),
    ] {
        let mut host = host("{}");
        let data = host.data();
        let error = host.state.exchange(&data, &request.0).expect_err(words);
        let fault = error.downcast_ref::<Fault>().expect("a fault of the plugin");
        assert!(fault.to_string().contains(words), "{fault}");
    }
}

#[test]
fn an_exchange_ends_when_the_time_is_over() {
    let request = Flat::edits(2).byte(1).text("/a").byte(1).text("/b");
    let (edits, reads) = (request.0, Flat::edits(0).text("/a").0);
    for request in [edits, reads] {
        let mut host = host(r#"{"a": 1}"#);
        let data = host.data();
        host.state.clock.start(Duration::ZERO);
        let begun = Instant::now();
        loop {
            match host.state.exchange(&data, &request) {
                Ok(made) => assert!(made.is_ok(), "{made:?}"),
                Err(error) => break assert!(matches!(error.downcast_ref(), Some(Fault::Time(_))), "{error}"),
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "no end");
        }
    }
}

#[test]
fn what_one_exchange_reads_is_bounded() {
    let text: &'static str = Box::leak(format!(r#"{{"a": "{}"}}"#, "x".repeat(1 << 20)).into_boxed_str());
    let mut host = host(text);
    let data = host.data();
    let request = (0..100).fold(Flat::edits(0), |request, _| request.text("/a"));
    let error = host.state.exchange(&data, &request.0).expect_err("100 MiB");
    assert!(
        matches!(error.downcast_ref(), Some(Fault::DocumentBytes(_))),
        "{error}"
    );
}
