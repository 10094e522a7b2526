//! Documents that speak of files speak of files that are there.

use std::{collections::BTreeMap, path::Path};

use crate::repository::{anchors, code_spans, files, links, prose, read, root, table};

/// Whether a file, or one of the modules below it, holds a test.
fn holds_tests(file: impl AsRef<Path>) -> bool {
    let file = file.as_ref();
    let below = files(&file.with_extension("").to_string_lossy(), "rs");
    std::iter::once(file.to_owned()).chain(below).any(|file| {
        let text = read(file);
        text.contains("#[test]") || text.contains("#[tokio::test")
    })
}

#[test]
fn files_without_a_test_hold_none() {
    assert!(holds_tests("tests/it/architecture/documents.rs"));
    assert!(holds_tests("src/json/tests.rs"), "those of its modules");
    assert!(!holds_tests("src/main.rs"));
}

#[test]
fn relative_links_resolve() {
    let (mut broken, mut checked) = (Vec::new(), 0);
    for document in files("", "md") {
        let text = read(&document);
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (target, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let directory = document.parent().expect("a file lies in a folder");
            let path = root().join(directory).join(target);
            let is_found = if target.is_empty() {
                anchors(&text).iter().any(|known| known == anchor)
            } else if anchor.is_empty() || path.extension().is_none_or(|extension| extension != "md") {
                path.exists()
            } else {
                path.exists() && anchors(&read(&path)).iter().any(|known| known == anchor)
            };
            if !is_found {
                broken.push(format!("{}: {link}\n", document.display()));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "these links lead nowhere:\n{}",
        broken.concat()
    );
    assert!(checked > 100, "{checked} links were found");
}

#[test]
fn invariants_are_tested_where_the_architecture_says() {
    let text = read("ARCHITECTURE.md");
    for row in table(&text, "invariant") {
        let places = code_spans(&row[1]);
        assert!(!places.is_empty(), "no test is named for: {}", row[0]);
        for place in places {
            let (file, test) = place.split_once("::").unwrap_or((place, ""));
            assert!(root().join(file).exists(), "{file} is not there, for: {}", row[0]);
            if test.is_empty() {
                assert!(holds_tests(file), "{file} holds no test, for: {}", row[0]);
            } else {
                assert!(
                    read(file).contains(&format!("fn {test}(")),
                    "{file} has no test {test}"
                );
            }
        }
    }
}

#[test]
fn documents_name_only_paths_that_exist() {
    let mut missing = Vec::new();
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let mut checked = 0;
        for span in prose(&read(document)).flat_map(code_spans) {
            let is_path = ["src/", "tests/", "docs/", "scripts/", "sdk/", "benches/"]
                .iter()
                .any(|folder| span.starts_with(folder));
            let is_pattern =
                span.contains(|character: char| character.is_uppercase() || "*{<… ".contains(character));
            checked += usize::from(is_path && !is_pattern);
            if is_path && !is_pattern && !root().join(span.split("::").next().unwrap_or(span)).exists() {
                missing.push(format!("{document}: {span}\n"));
            }
        }
        assert!(checked > 0, "{document} names no path");
    }
    assert!(missing.is_empty(), "these are not there:\n{}", missing.concat());
}

#[test]
fn tests_that_documents_name_are_there() {
    let (mut missing, mut checked) = (Vec::new(), 0);
    for document in files("docs", "md") {
        for span in prose(&read(&document)).flat_map(code_spans) {
            let Some((file, test)) = span.split_once(".rs::") else {
                continue;
            };
            checked += 1;
            if !read(format!("{file}.rs")).contains(&format!("fn {test}(")) {
                missing.push(format!("{}: {span}\n", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "these are not there:\n{}", missing.concat());
    assert!(checked > 50, "{checked} tests were named");
}

/// What docs/reliability.md gives to `cargo test` finds a test.
#[test]
fn filters_of_the_promises_find_tests() {
    let text = read("docs/reliability.md");
    let parts = text.split("\n## ").filter(|part| part.contains("| promise |"));
    let mut found = 0;
    for row in parts.flat_map(|part| table(part, "promise")) {
        for filter in code_spans(&row[1]).into_iter().flat_map(str::split_whitespace) {
            let Some((module, name)) = filter.rsplit_once("::") else {
                continue;
            };
            let file = if module.contains("::") {
                format!("src/{}.rs", module.replace("::", "/"))
            } else {
                format!("tests/it/{module}.rs")
            };
            let source = read(&file);
            let is_found = if name.is_empty() {
                holds_tests(&file)
            } else {
                source.contains(&format!("fn {name}")) || source.contains(&format!("mod {name};"))
            };
            assert!(is_found, "{file} has no test {filter}");
            found += 1;
        }
    }
    assert!(found > 20, "{found} filters");
}

#[test]
fn decisions_are_numbered_once_and_listed() {
    let index = read("docs/decisions/README.md");
    let mut numbers: BTreeMap<String, String> = BTreeMap::new();
    for decision in files("docs/decisions", "md") {
        let name = decision
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name is UTF-8")
            .to_owned();
        if name == "README.md" {
            continue;
        }
        let (number, _) = name
            .split_once('-')
            .unwrap_or_else(|| panic!("{name} is not NNNN-what-was-decided.md"));
        assert!(
            number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit()),
            "{name} begins with no number of four digits"
        );
        assert!(
            index.contains(&format!("]({name})")),
            "docs/decisions/README.md does not list {name}"
        );
        let other = numbers.insert(number.to_owned(), name.clone());
        assert_eq!(other, None, "{name} has the number of another decision");
    }
    assert!(!numbers.is_empty(), "there are decisions");
}
