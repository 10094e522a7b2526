//! Segment's tracking plans: the rules that its Public API lists, or a plan of the Config API that came before it.

use std::path::Path;

use super::import::{Found, Reading, file_text};
use crate::{
    cli::failure::Failure,
    json::{Document, EditedDocument, Kind, NewValue, Node},
    limits::DEPTH_CEILING,
};

pub(super) fn read(file: &Path) -> Result<Reading, Failure> {
    let mut reading = Reading::default();
    let document = match Document::parse(file_text(file)?.into(), DEPTH_CEILING) {
        Ok(document) => document,
        Err(error) => {
            reading.refuse("the file", error.to_string());
            return Ok(reading);
        }
    };
    let at = |pointers: &[&str]| pointers.iter().find_map(|pointer| document.pointer(pointer));
    let rules = at(&["/data/rules", "/rules"]).or_else(|| Some(document.root()));
    let is_list = |node: &Node<'_>| node.kind() == Kind::Array;
    if let Some(rules) = rules.filter(is_list) {
        if let Some(pagination) = at(&["/data/pagination", "/pagination"]) {
            of_page(rules.len(), pagination, &mut reading);
        }
        of_public_api(&document, rules, &mut reading);
    } else if let Some(rules) = at(&["/tracking_plan/rules", "/rules"]) {
        of_config_api(&document, rules, &mut reading);
    } else {
        reading.refuse(
            "the file",
            "has no rules: neither \"data.rules\" of the Public API nor \"rules\" of the Config API",
        );
    }
    Ok(reading)
}

/// `{next, totalEntries}`: whether there are rules that the file does not hold.
fn of_page(rules: usize, pagination: Node<'_>, reading: &mut Reading) {
    let total = pagination.get("totalEntries").and_then(|total| total.as_i64());
    let total = total.and_then(|total| usize::try_from(total).ok());
    let has_next = pagination
        .get("next")
        .is_some_and(|next| next.kind() == Kind::String);
    if has_next || total.is_some_and(|total| total > rules) {
        let of = total.map_or_else(String::new, |total| format!(" of {total}"));
        reading.refuse(
            "the rest of the plan",
            format!(
                "the file is one page, with {rules} rules{of}: ask for the next ones with pagination.cursor, and put \
                 the rules of all pages into one list"
            ),
        );
    }
}

/// `[{type, key, version, jsonSchema}]`.
fn of_public_api(document: &Document, rules: Node<'_>, reading: &mut Reading) {
    let kind = |rule: &Node<'_>| text(rule, "type");
    let common: Vec<Node<'_>> = rules
        .elements()
        .filter(|rule| kind(rule).as_deref() == Some("COMMON"))
        .filter_map(|rule| rule.get("jsonSchema"))
        .collect();
    for (index, rule) in rules.elements().enumerate() {
        let key = text(&rule, "key");
        let from = match (kind(&rule), &key) {
            (Some(kind), Some(key)) if !key.is_empty() => format!("{kind} {key:?}"),
            (Some(kind), _) => kind,
            (None, _) => format!("rule {index}"),
        };
        let name = match (kind(&rule).as_deref(), key) {
            (Some("TRACK"), Some(key)) if !key.is_empty() => key,
            (Some(kind @ ("IDENTIFY" | "GROUP" | "PAGE" | "SCREEN" | "ALIAS")), _) => kind.to_lowercase(),
            (Some("COMMON"), _) => continue,
            (Some("TRACK"), _) => {
                reading.refuse(from, "has no \"key\", which is the event's name");
                continue;
            }
            (kind, _) => {
                reading.refuse(from, format!("its type is {:?}", kind.unwrap_or_default()));
                continue;
            }
        };
        let since = rule.get("version").map_or_else(
            || "1".to_owned(),
            |version| version.raw().trim_matches('"').to_owned(),
        );
        let Some(schema) = rule.get("jsonSchema") else {
            reading.refuse(from, "has no \"jsonSchema\"");
            continue;
        };
        take(document, from, name, since, schema, &common, reading);
    }
}

/// `{events: [{name, version, rules}], global, identify, group}`.
fn of_config_api(document: &Document, rules: Node<'_>, reading: &mut Reading) {
    let is_filled = |node: &Node<'_>| node.kind() == Kind::Object && !node.is_empty();
    let common: Vec<Node<'_>> = rules.get("global").filter(is_filled).into_iter().collect();
    for name in ["identify", "group"] {
        if let Some(schema) = rules.get(name).filter(is_filled) {
            let version = "1".to_owned();
            take(
                document,
                name.to_owned(),
                name.to_owned(),
                version,
                schema,
                &common,
                reading,
            );
        }
    }
    let events = rules.get("events").filter(|node| node.kind() == Kind::Array);
    for (index, event) in events.iter().flat_map(Node::elements).enumerate() {
        let Some(name) = text(&event, "name") else {
            reading.refuse(format!("event {index}"), "has no \"name\"");
            continue;
        };
        let from = format!("event {name:?}");
        let since = event.get("version").map_or_else(
            || "1".to_owned(),
            |version| version.raw().trim_matches('"').to_owned(),
        );
        match event.get("rules") {
            Some(schema) => take(document, from, name, since, schema, &common, reading),
            None => reading.refuse(from, "has no \"rules\""),
        }
    }
}

fn text(node: &Node<'_>, member: &str) -> Option<String> {
    node.get(member)?.as_str().map(|text| text.into_owned())
}

/// A rule's schema describes the whole message, with `properties`, `traits` and `context` in it. What is common to all
/// rules holds beside it.
fn take(
    document: &Document,
    from: String,
    name: String,
    since: String,
    schema: Node<'_>,
    common: &[Node<'_>],
    reading: &mut Reading,
) {
    let mut notes = Vec::new();
    let mut edited = EditedDocument::new(document.subdocument(schema));
    if !common.is_empty() {
        if schema.get("allOf").is_some() {
            reading.refuse(from, "has an \"allOf\" of its own beside the plan's common rules");
            return;
        }
        let all: Vec<&str> = common.iter().map(Node::raw).collect();
        if let Err(error) = edited.set("/allOf", NewValue::Json(format!("[{}]", all.join(",")))) {
            reading.refuse(from, error.to_string());
            return;
        }
        // A draft stands only where a document begins.
        for index in 0..common.len() {
            edited.remove(&format!("/allOf/{index}/$schema"));
            edited.remove(&format!("/allOf/{index}/$id"));
        }
        notes.push("the plan's common rules are in its allOf".to_owned());
    }
    reading.found.push(Found {
        from,
        name,
        since,
        schema: edited,
        notes,
    });
}
