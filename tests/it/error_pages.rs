//! Every code of the catalogue has a page that says what the catalogue says.

use std::collections::BTreeSet;

use headworks::problem::{Code, Retry};
use serde_json::Value;

use crate::repository::{files, read};

fn page(code: Code) -> String {
    read(format!("docs/errors/{code}.md"))
}

fn send_again(code: Code) -> &'static str {
    match code.retry() {
        Retry::No => "no",
        Retry::Later => "yes, later",
    }
}

#[test]
fn codes_and_pages_are_the_same() {
    let codes: BTreeSet<String> = Code::ALL.iter().map(|code| code.to_string()).collect();
    assert_eq!(
        codes.len(),
        Code::ALL.len(),
        "a code stands twice in the catalogue"
    );
    let pages: BTreeSet<String> = files("docs/errors", "md")
        .iter()
        .filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned()))
        .filter(|name| name != "README")
        .collect();
    assert_eq!(
        codes, pages,
        "codes (left) and pages under docs/errors (right) differ"
    );
}

#[test]
fn pages_say_what_the_catalogue_says() {
    for &code in Code::ALL {
        let page = page(code);
        let head: Vec<&str> = page.lines().take(3).collect();
        let expected = [
            format!("# {}", code.title()),
            String::new(),
            format!(
                "`{code}` · status {} · send again: {}",
                code.status(),
                send_again(code)
            ),
        ];
        assert_eq!(head, expected, "docs/errors/{code}.md");
    }
}

#[test]
fn the_index_lists_every_code_in_the_catalogues_order() {
    let expected: Vec<String> = Code::ALL
        .iter()
        .map(|&code| {
            let (status, title) = (code.status(), code.title());
            format!(
                "| [{code}]({code}.md) | {status} | {} | {title} |",
                send_again(code)
            )
        })
        .collect();
    let index = read("docs/errors/README.md");
    let listed: Vec<&str> = index.lines().filter(|line| line.starts_with("| [")).collect();
    assert_eq!(listed, expected, "docs/errors/README.md");
}

#[test]
fn examples_are_what_the_gateway_sends() {
    for &code in Code::ALL {
        let page = page(code);
        let examples: Vec<Value> = page
            .split("```json\n")
            .skip(1)
            .map(|rest| {
                let text = rest.split("```").next().unwrap_or(rest);
                serde_json::from_str(text).unwrap_or_else(|error| panic!("docs/errors/{code}.md: {error}"))
            })
            .collect();
        assert!(!examples.is_empty(), "docs/errors/{code}.md shows no example");
        let mut codes = Vec::new();
        for example in &examples {
            check(code, example, &mut codes);
        }
        assert!(
            codes.contains(&code),
            "docs/errors/{code}.md shows another code's example"
        );
    }
}

/// Checks each problem inside an example, and notes the codes that it carries.
fn check(page: Code, example: &Value, codes: &mut Vec<Code>) {
    if let Some(code) = example.get("code") {
        let code: Code =
            serde_json::from_value(code.clone()).unwrap_or_else(|error| panic!("{page}.md: {error}"));
        codes.push(code);
        if let Some(kind) = example.get("type").filter(|_| example.get("title").is_some()) {
            let shown = headworks::problem::Problem::new(code, "").body("");
            assert_eq!(*kind, shown.kind, "{page}.md");
            assert_eq!(example["title"], shown.title, "{page}.md");
            assert_eq!(example["status"], shown.status, "{page}.md");
            assert!(
                example["request_id"].is_string(),
                "{page}.md: every problem has a request_id"
            );
            assert!(
                example["detail"].is_string(),
                "{page}.md: every problem has a detail"
            );
        }
    }
    let inside = match example {
        Value::Array(elements) => elements.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    };
    for value in inside {
        check(page, value, codes);
    }
}
