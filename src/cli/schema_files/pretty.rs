//! JSON over several lines, its members in the order in which they stand.

use std::fmt::Write as _;

use crate::json::{Kind, Node, write_string};

/// What is shorter than this stays on one line.
const LINE_CHARACTERS: usize = 100;

pub fn pretty(node: Node<'_>) -> String {
    let mut text = String::new();
    write(node, 0, &mut text);
    text.push('\n');
    text
}

fn write(node: Node<'_>, indent: usize, text: &mut String) {
    let flat = flat(node);
    let (open, close, is_empty) = match node.kind() {
        Kind::Object => ('{', '}', node.members().next().is_none()),
        Kind::Array => ('[', ']', node.elements().next().is_none()),
        _ => ('\0', '\0', true),
    };
    // The whole is always opened, so that a schema looks like one.
    if is_empty || (indent > 0 && indent * 2 + flat.chars().count() <= LINE_CHARACTERS) {
        text.push_str(&flat);
        return;
    }
    text.push(open);
    let mut separator = "";
    let mut begin = |text: &mut String| {
        // Writing to a string never fails.
        let _ = write!(text, "{separator}\n{:1$}", "", (indent + 1) * 2);
        separator = ",";
    };
    if node.kind() == Kind::Object {
        for (name, value) in node.members() {
            begin(text);
            text.push_str(&quoted(&name));
            text.push_str(": ");
            write(value, indent + 1, text);
        }
    } else {
        for element in node.elements() {
            begin(text);
            write(element, indent + 1, text);
        }
    }
    let _ = write!(text, "\n{:1$}", "", indent * 2);
    text.push(close);
}

fn flat(node: Node<'_>) -> String {
    match node.kind() {
        Kind::Object => {
            let members: Vec<String> = node
                .members()
                .map(|(name, value)| format!("{}: {}", quoted(&name), flat(value)))
                .collect();
            match members.is_empty() {
                true => "{}".to_owned(),
                false => format!("{{ {} }}", members.join(", ")),
            }
        }
        Kind::Array => {
            let elements: Vec<String> = node.elements().map(flat).collect();
            format!("[{}]", elements.join(", "))
        }
        _ => node.raw().to_owned(),
    }
}

fn quoted(name: &str) -> String {
    let mut text = Vec::new();
    write_string(&mut text, name);
    String::from_utf8_lossy(&text).into_owned()
}
