//! Holds the code to ARCHITECTURE.md, and the document to the code: its tables are read, not repeated.

mod documents;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use crate::repository::{code_spans, files, read, root, table};
use source::{Named, names_of_crate};

/// Lines of code in one file, neither blank nor comment; a file of tests may list more cases.
const LINES_MAX: usize = 450;
const LINES_OF_TESTS_MAX: usize = 700;

type Path = Vec<String>;

fn path(text: &str) -> Path {
    text.split("::").map(str::to_owned).collect()
}

/// `module → what else of the crate it may name`, as the table of modules says.
struct ModuleRules(BTreeMap<Path, Vec<Path>>);

impl ModuleRules {
    fn read() -> ModuleRules {
        let rows = table(&read("ARCHITECTURE.md"), "module");
        let named = |kind: &str| -> Vec<Path> {
            let row = rows.iter().find(|row| row[0] == format!("*{kind}*"));
            let row =
                row.unwrap_or_else(|| panic!("ARCHITECTURE.md: the table of modules has no row *{kind}*"));
            code_spans(&row[1]).into_iter().map(path).collect()
        };
        let groups = [("*shared*", named("shared")), ("*stages*", named("stages"))];
        let rules = rows.iter().filter(|row| row[0].starts_with('`')).map(|row| {
            let mut allowed: Vec<Path> = code_spans(&row[2]).into_iter().map(path).collect();
            for (word, members) in &groups {
                if row[2].contains(word) {
                    allowed.extend(members.iter().cloned());
                }
            }
            if row[2].contains("*everything*") {
                allowed.push(Vec::new());
            }
            (path(code_spans(&row[0])[0]), allowed)
        });
        ModuleRules(rules.collect())
    }

    /// The row that a module belongs to: its own, or the nearest around it.
    fn row_of(&self, module: &[String]) -> Option<(&Path, &Vec<Path>)> {
        (1..=module.len())
            .rev()
            .find_map(|length| self.0.get_key_value(&module[..length]))
    }

    fn allow(&self, named: &Named) -> bool {
        let Some((row, allowed)) = self.row_of(&named.module) else {
            return false;
        };
        let target = &named.path[1..];
        target.starts_with(row) || allowed.iter().any(|allowed| target.starts_with(allowed))
    }
}

#[test]
fn each_module_names_only_what_its_row_allows() {
    let rules = ModuleRules::read();
    let violations: BTreeSet<String> = names_of_crate(&root().join("src"))
        .into_iter()
        // `lib.rs` declares the modules.
        .filter(|named| named.path[0] == "crate" && !named.module.is_empty())
        .filter(|named| !rules.allow(named))
        .map(|named| format!("{} names {}", named.module.join("::"), named.path.join("::")))
        .collect();
    assert!(
        violations.is_empty(),
        "ARCHITECTURE.md forbids:\n{}",
        lines(&violations)
    );
}

#[test]
fn the_table_of_modules_is_complete() {
    let known: BTreeSet<Path> = ModuleRules::read()
        .0
        .into_keys()
        .filter(|module| module.len() == 1)
        .collect();
    let there: BTreeSet<Path> = std::fs::read_dir(root().join("src"))
        .expect("src is there")
        .map(|entry| entry.expect("src can be listed").path())
        .filter_map(|path| Some(vec![path.file_stem()?.to_str()?.to_owned()]))
        .filter(|module| module != &["lib"])
        .collect();
    assert_eq!(
        known, there,
        "ARCHITECTURE.md's table of modules (left) and src (right) differ"
    );
}

/// `outside crate, or item → the only modules that may name it`.
fn crate_rules() -> Vec<(Path, Vec<Path>)> {
    let rows = table(&read("ARCHITECTURE.md"), "outside crate or item");
    rows.iter()
        .flat_map(|row| {
            let only: Vec<Path> = code_spans(&row[1]).into_iter().map(path).collect();
            code_spans(&row[0])
                .into_iter()
                .map(move |named| (path(named), only.clone()))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn outside_crates_are_named_only_where_their_row_says() {
    let rules = crate_rules();
    let violations: BTreeSet<String> = names_of_crate(&root().join("src"))
        .into_iter()
        .filter(|named| {
            rules.iter().any(|(restricted, only)| {
                // A type's function may be reached by any path; a crate stands at the beginning.
                let names_it = if restricted[0].starts_with(char::is_uppercase) {
                    named.path.ends_with(restricted)
                } else {
                    named.path.starts_with(restricted)
                };
                names_it && !only.iter().any(|module| named.module.starts_with(module))
            })
        })
        .map(|named| format!("{} names {}", named.module.join("::"), named.path.join("::")))
        .collect();
    assert!(
        violations.is_empty(),
        "ARCHITECTURE.md forbids:\n{}",
        lines(&violations)
    );
}

#[test]
fn the_table_of_crates_speaks_of_what_there_is() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("Cargo.toml is TOML");
    let dependencies: BTreeSet<String> = manifest["dependencies"]
        .as_table()
        .expect("dependencies are a table")
        .keys()
        .map(|name| name.replace('-', "_"))
        .collect();
    let modules = ModuleRules::read().0;
    for (restricted, only) in crate_rules() {
        let first = &restricted[0];
        assert!(
            first == "std" || first.starts_with(char::is_uppercase) || dependencies.contains(first),
            "ARCHITECTURE.md speaks of {first}, which Cargo.toml does not name"
        );
        for module in only {
            assert!(
                modules.contains_key(&module),
                "ARCHITECTURE.md: there is no module {module:?}"
            );
        }
    }
}

#[test]
fn no_file_is_too_long() {
    let violations: Vec<String> = written_rust()
        .into_iter()
        .filter_map(|file| {
            let length = read(&file).lines().filter(|line| is_code(line)).count();
            let is_test =
                file.ends_with("tests.rs") || file.components().any(|part| part.as_os_str() == "tests");
            let max = if is_test { LINES_OF_TESTS_MAX } else { LINES_MAX };
            (length > max).then(|| format!("{} has {length} lines of code, of {max}", file.display()))
        })
        .collect();
    assert!(
        violations.is_empty(),
        "split by what changes together:\n{}",
        lines(&violations)
    );
}

#[test]
fn no_lint_is_silenced_without_a_reason() {
    let silenced = concat!("[", "allow(");
    let violations: Vec<String> = written_rust()
        .into_iter()
        .filter(|file| {
            read(file)
                .lines()
                .any(|line| line.trim_start().starts_with('#') && line.contains(silenced))
        })
        .map(|file| file.display().to_string())
        .collect();
    assert!(
        violations.is_empty(),
        "write #[expect(…, reason = \"…\")] instead of allow in:\n{}",
        lines(&violations)
    );
}

fn is_code(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with("//")
}

fn written_rust() -> Vec<std::path::PathBuf> {
    files("", "rs")
}

fn lines<'a>(violations: impl IntoIterator<Item = &'a String>) -> String {
    violations
        .into_iter()
        .map(|violation| format!("  {violation}\n"))
        .collect()
}
