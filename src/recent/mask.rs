//! Hides what a type's list of pointers names.

use bytes::Bytes;

use crate::{
    json::{Document, Node, pointer_tokens},
    limits::DEPTH_CEILING,
};

const MASK: &[u8] = b"\"***\"";

/// `data` with every value that one of `pointers` leads to replaced by `"***"`; all else keeps its bytes. In the place of
/// a name, `*` leads to every member or element. Data that cannot be read is hidden whole.
pub fn masked(data: &Bytes, pointers: &[String]) -> Bytes {
    if pointers.is_empty() {
        return data.clone();
    }
    let Ok(document) = Document::parse(data.clone(), DEPTH_CEILING) else {
        return Bytes::from_static(MASK);
    };
    let mut hidden = Vec::new();
    for pointer in pointers {
        let Ok(tokens) = pointer_tokens(pointer) else {
            return Bytes::from_static(MASK);
        };
        find(document.root(), &tokens, &mut hidden);
    }
    hidden.sort_unstable();
    let mut text = Vec::with_capacity(data.len());
    let mut done = 0;
    for (start, end) in hidden {
        // A value inside one that is hidden already, or the same one.
        if start < done {
            continue;
        }
        text.extend_from_slice(&data[done..start]);
        text.extend_from_slice(MASK);
        done = end;
    }
    text.extend_from_slice(&data[done..]);
    text.into()
}

/// The texts and numbers that `masked` would hide; short ones stand everywhere and are left out.
pub fn hidden_texts(data: &Bytes, pointers: &[String]) -> Vec<String> {
    const CHARACTERS_MIN: usize = 3;
    if pointers.is_empty() {
        return Vec::new();
    }
    let Ok(document) = Document::parse(data.clone(), DEPTH_CEILING) else {
        return Vec::new();
    };
    let mut places = Vec::new();
    for tokens in pointers.iter().filter_map(|pointer| pointer_tokens(pointer).ok()) {
        find(document.root(), &tokens, &mut places);
    }
    let mut texts = Vec::new();
    for (start, end) in places {
        if let Ok(value) = serde_json::from_slice(&data[start..end]) {
            scalars(&value, &mut texts);
        }
    }
    texts.retain(|text| text.chars().count() >= CHARACTERS_MIN);
    texts
}

fn scalars(value: &serde_json::Value, texts: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => texts.push(text.clone()),
        serde_json::Value::Number(number) => texts.push(number.to_string()),
        serde_json::Value::Array(elements) => elements.iter().for_each(|element| scalars(element, texts)),
        serde_json::Value::Object(members) => members.values().for_each(|member| scalars(member, texts)),
        serde_json::Value::Null | serde_json::Value::Bool(_) => {}
    }
}

fn find(node: Node<'_>, tokens: &[impl AsRef<str>], hidden: &mut Vec<(usize, usize)>) {
    let Some((token, rest)) = tokens.split_first() else {
        hidden.push((node.offset(), node.offset() + node.raw().len()));
        return;
    };
    if token.as_ref() == "*" {
        for (_, member) in node.members() {
            find(member, rest, hidden);
        }
        for element in node.elements() {
            find(element, rest, hidden);
        }
        return;
    }
    let child = node.get(token.as_ref()).or_else(|| {
        let position = token.as_ref().parse().ok()?;
        node.element(position)
    });
    if let Some(child) = child {
        find(child, rest, hidden);
    }
}
