//! `headworks schema infer`: a proposal of a schema, from sample events, with the evidence for each thing it says.

mod evidence;
mod propose;

use std::{collections::BTreeMap, path::Path};

use evidence::Evidence;

use super::{import::file_text, pretty::pretty};
use crate::{
    cli::{
        failure::Failure,
        output::{self, Output},
    },
    event::EventType,
    json::{Document, Kind, Node},
    limits::{DEPTH_CEILING, Limits},
    validate::{Compiled, Texts, check_schema},
};

/// Prints a schema that takes every event of `file`, on standard output; and why it says what it says, on standard
/// error.
pub fn run(
    file: &Path,
    event_type: Option<&EventType>,
    evidence_min: usize,
    output: Output,
) -> Result<(), Failure> {
    let events = events(&file_text(file)?, event_type)?;
    let (schema, decisions) = infer(&events, evidence_min)?;
    if !output.is_json() {
        let rows = decisions
            .into_iter()
            .map(|decision| vec![decision.place, decision.seen, decision.decided])
            .collect();
        output::note(&output::rendered(&["PLACE", "SEEN", "DECIDED"], rows));
    }
    output::line(schema.trim_end())
}

/// What was decided of one place, for a person.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub place: String,
    pub seen: String,
    pub decided: String,
}

pub(super) fn infer(events: &[Document], evidence_min: usize) -> Result<(String, Vec<Decision>), Failure> {
    let mut evidence = Evidence::default();
    for event in events {
        evidence.add(event.root());
    }
    let (schema, decisions) = propose::schema(&evidence, evidence_min);
    let document = Document::from_value(&schema).map_err(|error| Failure::Usage(error.to_string()))?;
    let text = pretty(document.root());
    check_schema(
        &text,
        &Texts::default(),
        Limits::default().schema_bytes.as_usize(),
    )
    .map_err(|faults| {
        let first = faults
            .first()
            .map(|fault| fault.message.clone())
            .unwrap_or_default();
        Failure::Usage(format!("no schema can be proposed for these events: {first}"))
    })?;
    // What is proposed takes what it was made from, or it is no proposal.
    let compiled = Compiled::new(&text.as_str().into()).map_err(Failure::Usage)?;
    for (index, event) in events.iter().enumerate() {
        if let Some(violations) = compiled.violations(event) {
            let first = violations.first().map(|violation| violation.message.clone());
            return Err(Failure::Usage(format!(
                "no schema can be proposed for these events: event {} would break it: {}",
                index + 1,
                first.unwrap_or_default()
            )));
        }
    }
    Ok((text, decisions))
}

/// The events' data, from lines that are data, or CloudEvents with it.
pub(super) fn events(text: &str, event_type: Option<&EventType>) -> Result<Vec<Document>, Failure> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let document = Document::parse(line.to_owned().into(), DEPTH_CEILING)
            .map_err(|error| Failure::Usage(format!("line {}: {error}", index + 1)))?;
        lines.push((index + 1, document));
    }
    if lines.is_empty() {
        return Err(Failure::Usage(
            "the file holds no event: write one a line".to_owned(),
        ));
    }
    if let Some(note) = mixture(&lines) {
        output::note(&note);
    }
    let lines: Vec<Document> = lines.into_iter().map(|(_, line)| line).collect();
    if !lines.iter().all(|line| is_envelope(line.root())) {
        return match event_type {
            None => Ok(lines),
            Some(_) => Err(Failure::Usage(
                "--type chooses among events with their attributes, and these lines are data alone"
                    .to_owned(),
            )),
        };
    }
    let mut by_type: BTreeMap<String, Vec<Document>> = BTreeMap::new();
    for line in &lines {
        let name = line
            .root()
            .get("type")
            .and_then(|node| node.as_str().map(String::from));
        if let (Some(name), Some(data)) = (name, line.root().get("data")) {
            by_type.entry(name).or_default().push(line.subdocument(data));
        }
    }
    match event_type {
        Some(wanted) => by_type.remove(wanted.as_str()).ok_or_else(|| {
            let known: Vec<&str> = by_type.keys().map(String::as_str).collect();
            Failure::Usage(format!(
                "the file has no event of {wanted}; it has {}",
                known.join(", ")
            ))
        }),
        None if by_type.len() > 1 => {
            let known: Vec<&str> = by_type.keys().map(String::as_str).collect();
            Err(Failure::Usage(format!(
                "the file holds events of several types: give --type with one of {}",
                known.join(", ")
            )))
        }
        None => Ok(by_type.into_values().next().unwrap_or_default()),
    }
}

/// What is to be said where some lines are events with their attributes and others are not.
pub(super) fn mixture(lines: &[(usize, Document)]) -> Option<String> {
    let (enveloped, other): (Vec<_>, Vec<_>) = lines.iter().partition(|(_, line)| is_envelope(line.root()));
    let ((first, _), false) = (other.first()?, enveloped.is_empty()) else {
        return None;
    };
    Some(format!(
        "{} of {} lines are events with their attributes; line {first} is not, so every line is taken as data alone",
        enveloped.len(),
        lines.len()
    ))
}

/// An event with its attributes: CloudEvents' members, and `data` among them.
fn is_envelope(node: Node<'_>) -> bool {
    let is_text = |name: &str| node.get(name).is_some_and(|member| member.kind() == Kind::String);
    node.kind() == Kind::Object
        && is_text("type")
        && node.get("data").is_some()
        && (is_text("specversion") || is_text("source") || is_text("id") || is_text("appversion"))
}
