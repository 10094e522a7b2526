//! Reads this repository's own files: which there are, tables and links in its documents.

use std::path::{Path, PathBuf};

/// Built or downloaded, not written.
const SKIPPED: [&str; 5] = ["target", "data", "node_modules", ".git", ".cache"];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file, named from the root.
pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every written file below `directory` with this extension, named from the root, in order.
pub fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&root().join(directory), extension, &mut found);
    found.sort();
    found
}

fn collect(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("the repository can be listed").path();
        if path.is_dir() {
            if !SKIPPED.iter().any(|skipped| path.ends_with(skipped)) {
                collect(&path, extension, found);
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(
                path.strip_prefix(root())
                    .expect("it was found below the root")
                    .to_owned(),
            );
        }
    }
}

/// The rows of the table whose header begins with `first_header`, without header and rule, cells trimmed.
pub fn table(markdown: &str, first_header: &str) -> Vec<Vec<String>> {
    let rows: Vec<Vec<String>> = markdown
        .lines()
        .skip_while(|line| !line.starts_with(&format!("| {first_header} |")))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let line = line.trim().trim_start_matches('|').trim_end_matches('|');
            line.split('|').map(|cell| cell.trim().to_owned()).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "there is no table with {first_header:?}");
    rows
}

/// What stands between backticks in one line.
pub fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The lines outside of fenced blocks.
pub fn prose(markdown: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    markdown.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

/// The targets of inline links in prose.
pub fn links(markdown: &str) -> Vec<String> {
    prose(markdown)
        .flat_map(|line| {
            line.split("](")
                .skip(1)
                .filter_map(|rest| rest.split([')', ' ']).next())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The anchors that headings make, as GitHub makes them.
pub fn anchors(markdown: &str) -> Vec<String> {
    prose(markdown)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|character| character.is_alphanumeric() || "-_ ".contains(*character))
                .map(|character| if character == ' ' { '-' } else { character })
                .collect()
        })
        .collect()
}

#[test]
fn tables_links_and_anchors_are_found() {
    let markdown = "# A `b` (c)\n| x | y |\n|---|---|\n| `p`, `q` | [z](z.md#a) |\n\n```\n[no](no.md)\n```\n";
    assert_eq!(table(markdown, "x"), [["`p`, `q`", "[z](z.md#a)"]]);
    assert_eq!(code_spans("`p`, `q`"), ["p", "q"]);
    assert_eq!(links(markdown), ["z.md#a"]);
    assert_eq!(anchors(markdown), ["a-b-c"]);
}
