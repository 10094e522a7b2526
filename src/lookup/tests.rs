use bytes::Bytes;
use proptest::prelude::*;

use super::{Rows, read};
use crate::{
    limits::{ByteSize, TABLE_FAULTS_LISTED, TABLE_KEY_BYTES, TABLE_ROW_BYTES, TABLE_ROWS},
    problem::{Code, Problem},
    registry::model::TableFormat::{self, Csv, Ndjson},
};

const MAX: ByteSize = ByteSize(1 << 20);

fn table(format: TableFormat, key: &str, data: impl Into<Bytes>) -> Result<Rows, Problem> {
    read(&data.into(), format, key, MAX)
}

/// What is wrong, by line.
fn faults(format: TableFormat, key: &str, data: impl Into<Bytes>) -> Vec<String> {
    let problem = table(format, key, data).expect_err("it is refused");
    assert_eq!(problem.code, Code::TableInvalid);
    if problem.errors.is_empty() {
        return vec![problem.detail];
    }
    problem.errors.into_iter().map(|fault| fault.message).collect()
}

#[test]
fn rows_are_found_by_their_keys_as_they_were_sent() {
    let data = "\u{feff}{\"key\": \"a\", \"n\": 1.50 }\r\n\n  {\"n\":2,\"key\":7}\n{\"key\":\"\\u00e9\\n\"}";
    let rows = table(Ndjson, "key", data).expect("it is a table");
    assert_eq!(rows.len(), 3);
    assert_eq!(rows.get("a"), Some("{\"key\": \"a\", \"n\": 1.50 }"));
    assert_eq!(rows.get("7"), Some("{\"n\":2,\"key\":7}"));
    assert_eq!(rows.get("\u{e9}\n"), Some("{\"key\":\"\\u00e9\\n\"}"));
    for absent in ["", "A", "b", "\\u00e9"] {
        assert_eq!(rows.get(absent), None);
    }
}

#[test]
fn csv_becomes_objects_of_texts() {
    let data = "\u{feff}id,name,\"a \"\"note\"\"\"\r\n1,Spring,\n\n2,\"two\nlines\",\"x,\"\"y\"\n";
    let rows = table(Csv, "id", data).expect("it is a table");
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows.get("1"),
        Some("{\"id\":\"1\",\"name\":\"Spring\",\"a \\\"note\\\"\":\"\"}")
    );
    assert_eq!(
        rows.get("2"),
        Some("{\"id\":\"2\",\"name\":\"two\\nlines\",\"a \\\"note\\\"\":\"x,\\\"y\"}")
    );
}

#[test]
fn each_line_at_fault_is_told_with_its_number() {
    let data = b"{\"key\":\"a\"}\n[]\n\n{\"k\":1}\n{\"key\":1.5}\n{\"key\":\"a\",\"a\":1,\"a\":2}\n{\"key\":\"\xff\"}\n{\"key\":\"\"}\n{\"key\":null}\n{\"key\"\n{\"key\":\"a\"}";
    let found = faults(Ndjson, "key", &data[..]);
    let lines = [
        ("line 2: ", "a row is an object"),
        ("line 4: ", "no member \"key\""),
        ("line 5: ", "must be a text or a whole number"),
        ("line 6: ", "\"a\" stands twice"),
        ("line 7: ", "invalid UTF-8"),
        ("line 8: ", "the key is empty"),
        ("line 9: ", "must be a text or a whole number"),
        ("line 10: ", "at byte 7 of the line"),
        ("line 11: ", "the key \"a\" stands at line 1 already"),
    ];
    assert_eq!(found.len(), lines.len(), "{found:#?}");
    for (message, (line, part)) in found.iter().zip(lines) {
        assert!(message.starts_with(line) && message.contains(part), "{message}");
    }
}

#[test]
fn csv_at_fault_is_told_with_its_line() {
    let data = b"id,name\n1,a\n2\n3,a,b\n\"4\n\",x\n5,\xff\n\xff,x\n1,again\n,none\n";
    let found = faults(Csv, "id", &data[..]);
    let lines = [
        ("line 3: ", "1 cells"),
        ("line 4: ", "3 cells"),
        ("line 7: ", "column \"name\" is not UTF-8"),
        ("line 8: ", "the key is not UTF-8"),
        ("line 10: ", "the key is empty"),
        ("line 9: ", "the key \"1\" stands at line 2 already"),
    ];
    assert_eq!(found.len(), lines.len(), "{found:#?}");
    for (message, (line, part)) in found.iter().zip(lines) {
        assert!(message.starts_with(line) && message.contains(part), "{message}");
    }
    for (data, part) in [
        ("", "holds nothing"),
        ("id,id\n1,2\n", "\"id\" stands there twice"),
        ("id,\n1,2\n", "a column has no name"),
        ("name,x\n1,2\n", "There are \"name\", \"x\""),
        ("id,x\n", "holds no row"),
    ] {
        let found = faults(Csv, "id", data);
        assert!(found.len() == 1 && found[0].contains(part), "{found:?}");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let long = |bytes: usize| "x".repeat(bytes);
    let key = |bytes: usize| format!("{{\"key\":\"{}\"}}", long(bytes));
    assert!(table(Ndjson, "key", key(TABLE_KEY_BYTES)).is_ok());
    assert!(faults(Ndjson, "key", key(TABLE_KEY_BYTES + 1))[0].contains("at most 512"));
    let row = |bytes: usize| format!("{{\"key\":1,\"t\":\"{}\"}}", long(bytes - 16));
    assert!(table(Ndjson, "key", row(TABLE_ROW_BYTES)).is_ok());
    assert!(faults(Ndjson, "key", row(TABLE_ROW_BYTES + 1))[0].contains("at most 64KiB"));
    let padded = format!("{0}{1}{0}\r\n", " ".repeat(TABLE_ROW_BYTES), row(100));
    let rows = table(Ndjson, "key", padded).expect("what stands around a row is none of it");
    assert_eq!(rows.get("1"), Some(row(100).as_str()));

    let many: String = (0..=TABLE_ROWS)
        .map(|key| format!("{{\"key\":{key}}}\n"))
        .collect();
    let refused = read(&many.into(), Ndjson, "key", ByteSize(1 << 30)).expect_err("too many");
    assert!(
        refused.detail.contains("more than 1000000 rows"),
        "{}",
        refused.detail
    );

    let deep = format!("{{\"key\":1,\"d\":{}{}}}", "[".repeat(64), "]".repeat(64));
    assert!(faults(Ndjson, "key", deep)[0].contains("more than 64 nested"));
}

#[test]
fn a_short_file_makes_no_large_table() {
    // Long names, and rows of commas.
    let name = "n".repeat(60);
    let header: Vec<String> = (0..1000).map(|column| format!("{name}{column}")).collect();
    let data = format!("key,{}\n{}", header[1..].join(","), ",".repeat(999) + "\n");
    assert!(faults(Csv, "key", data)[0].contains("more than 64KiB as JSON"));

    let name = "n".repeat(60_000);
    let rows: String = (0..1000).map(|key| format!("{key},\n")).collect();
    let refused = table(Csv, "key", format!("key,{name}\n{rows}")).expect_err("60 MB of JSON");
    assert!(
        refused.detail.contains("limits.table_bytes"),
        "{}",
        refused.detail
    );

    let bad = "x\n".repeat(100_000);
    let refused = table(Ndjson, "key", bad).expect_err("no JSON at all");
    assert_eq!(refused.errors.len(), TABLE_FAULTS_LISTED);
    assert!(refused.detail.starts_with("100000 lines"), "{}", refused.detail);
}

#[test]
fn a_line_longer_than_a_row_is_refused_before_it_is_parsed() {
    // Each of these would be another fault, had it been parsed.
    let lines = [
        "[".repeat(1 << 20),
        "\"".repeat(1 << 20),
        "x".repeat(TABLE_ROW_BYTES + 1),
    ];
    let data = format!("{{\"key\":1}}\n{}\n{{\"key\":2}}\n{{\"key\"\n", lines.join("\n"));
    let found = faults(Ndjson, "key", data);
    assert_eq!(found.len(), 4, "{found:?}");
    for (line, length) in [(2, 1 << 20), (3, 1 << 20), (4, TABLE_ROW_BYTES + 1)] {
        let expected = format!("line {line}: the row has {length} bytes as JSON; at most 64KiB are taken");
        assert_eq!(found[line - 2], expected);
    }
    assert!(
        found[3].starts_with("line 6: ") && found[3].contains("at byte"),
        "{found:?}"
    );
}

#[test]
fn a_long_row_of_csv_is_not_held() {
    let behind = "line 3: the row has more than 64KiB, and what comes after it was not read";
    for long in [
        ",".repeat(1 << 20),
        format!("2,\"{}", "x\n".repeat(1 << 20)),
        "é".repeat(1 << 20),
    ] {
        assert_eq!(faults(Csv, "key", format!("key,n\n1,1\n{long}\n1,1\n")), [behind]);
    }
    let names = faults(Csv, "key", format!("key{}", ",".repeat(1 << 20)));
    assert_eq!(names, ["line 1: the row of names has more than 64KiB"]);

    // Empty lines are no row, however many.
    let gap = "\r\n".repeat(TABLE_ROW_BYTES);
    let longest = "x".repeat(TABLE_ROW_BYTES - "{\"key\":\"1\",\"n\":\"\"}".len());
    let data = format!("key,n\n{gap}1,{longest}\n{gap}2,{longest}\n3,{longest}\n");
    let rows = table(Csv, "key", data).expect("each is as long as a row may be");
    assert_eq!(rows.get("3").map(str::len), Some(TABLE_ROW_BYTES));
    let found = faults(Csv, "key", format!("key,n\n1,{longest}x\n2,{longest}\n1\n"));
    assert!(found.len() == 2 && found[0].starts_with("line 2: "), "{found:?}");
}

proptest! {
    #[test]
    fn a_table_is_a_map(rows in prop::collection::btree_map(".{1,12}", 0_u32..1000, 1..200), absent in ".{0,12}") {
        let lines = |key: &str, number: &u32| serde_json::json!({"key": key, "n": number}).to_string() + "\n";
        let data: String = rows.iter().map(|(key, number)| lines(key, number)).collect();
        let table = table(Ndjson, "key", data).expect("every row is in order");
        prop_assert_eq!(table.len(), rows.len());
        for (key, number) in &rows {
            let line = lines(key, number);
            prop_assert_eq!(table.get(key), Some(line.trim_end()));
        }
        prop_assert_eq!(table.get(&absent).is_some(), rows.contains_key(&absent));
    }

    #[test]
    fn no_input_breaks_the_reader(data in prop::collection::vec(prop::sample::select(&b"{}\"key:,1\n\r\\\xff[a "[..]), 0..200)) {
        for format in [Ndjson, Csv] {
            let _ = table(format, "key", data.clone());
        }
    }
}
