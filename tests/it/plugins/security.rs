//! `docs/plugins/security.md` names a test for each line: each must be there.

use super::repository;

#[test]
fn every_line_of_the_security_page_names_what_holds_it() {
    let page =
        std::fs::read_to_string(repository().join("docs/plugins/security.md")).expect("the page is there");
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains("held by"))
        .collect();
    assert!(rows.len() > 15, "{}", rows.len());
    for row in rows {
        let named: Vec<&str> = row.split('`').filter(|span| span.contains(".rs::")).collect();
        assert!(!named.is_empty(), "no test is named: {row}");
        for name in named {
            let (file, function) = name.split_once("::").expect("a file and a function");
            let source = std::fs::read_to_string(repository().join(file)).expect(file);
            assert!(source.contains(&format!("fn {function}(")), "{name} is not there");
        }
    }
}
