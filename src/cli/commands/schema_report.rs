//! What a schema would do, told so that it is understood at once: what changed, what is refused, an example.

use std::cmp::Ordering;

use serde::Deserialize;
use serde_json::Value;

use crate::cli::{
    failure::Failure,
    output::{self, printable},
};

/// Characters of an example in a table.
const EXAMPLE_CHARACTERS: usize = 80;
/// Lines of a schema or an example.
const LINES_MAX: usize = 40;

#[derive(Debug, Deserialize)]
pub struct Comparison {
    pub with: String,
    backward: String,
    forward: String,
    #[serde(default)]
    refuses: Refuses,
    #[serde(default)]
    undecided: Undecided,
}

#[derive(Debug, Default, Deserialize)]
struct Refuses {
    backward: Option<Difference>,
    forward: Option<Difference>,
}

#[derive(Debug, Deserialize)]
struct Difference {
    schema: Value,
    example: Value,
}

#[derive(Debug, Default, Deserialize)]
struct Undecided {
    backward: Option<String>,
    forward: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Checked {
    pub registers: bool,
    detail: Option<String>,
    compatibility: Vec<Comparison>,
    #[serde(default)]
    dependents: Vec<Dependent>,
    changes: Vec<Changed>,
    #[serde(default)]
    falls: Vec<Falls>,
    recent: Tried,
    quarantined: Tried,
}

/// An app version that would be checked by another schema than now.
#[derive(Debug, Deserialize)]
pub struct Falls {
    partner: String,
    appversion: Option<String>,
    events: u64,
    to: Option<String>,
    source: Option<String>,
    code: Option<String>,
}

/// A schema that refers to the one that is registered.
#[derive(Debug, Deserialize)]
pub struct Dependent {
    #[serde(rename = "type")]
    event_type: String,
    since: String,
    compatibility: Vec<Comparison>,
}

#[derive(Debug, Deserialize)]
struct Changed {
    pointer: String,
    keyword: String,
    before: Option<String>,
    after: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Tried {
    accepted: u64,
    refused: u64,
    total: u64,
    failures: Vec<Fails>,
}

#[derive(Debug, Deserialize)]
struct Fails {
    pointer: String,
    keyword: String,
    count: u64,
    example: Option<Value>,
}

/// `name` is the checked schema's version.
pub fn print(checked: &Checked, label: &str, name: &str) -> Result<(), Failure> {
    match &checked.detail {
        None => output::line(&format!("{label} would be registered"))?,
        Some(detail) => output::line(&format!("{label} would be refused: {}", printable(detail)))?,
    }
    compared(checked, name)?;
    dependents(&checked.dependents)?;
    if !checked.falls.is_empty() {
        output::line("")?;
        falls(&checked.falls)?;
    }
    events(checked)
}

/// Which app versions, of those seen lately, fall to which schema.
pub fn falls(falls: &[Falls]) -> Result<(), Failure> {
    if falls.is_empty() {
        return Ok(());
    }
    let to = |one: &Falls| match (&one.to, &one.source) {
        (Some(since), Some(source)) => format!("{since} for {source}"),
        (Some(since), None) => since.clone(),
        (None, _) => {
            let code = one.code.as_deref().map(|code| format!(" ({code})"));
            format!("none: quarantine{}", code.unwrap_or_default())
        }
    };
    let rows = falls
        .iter()
        .map(|one| {
            vec![
                one.appversion.clone().unwrap_or_else(|| "-".to_owned()),
                one.partner.clone(),
                one.events.to_string(),
                to(one),
            ]
        })
        .collect();
    output::table(
        &["APP VERSION", "PARTNER", "EVENTS SEEN", "CHECKED FROM THEN ON BY"],
        rows,
    )
}

/// What changed, the verdicts, and what each side refuses of the other.
pub fn compared(checked: &Checked, name: &str) -> Result<(), Failure> {
    if !checked.changes.is_empty() {
        output::line("")?;
        changes(&checked.changes)?;
    }
    if checked.compatibility.is_empty() {
        return output::line("\nno other version is registered: nothing to compare with");
    }
    output::line("")?;
    verdicts(&checked.compatibility)?;
    for comparison in &checked.compatibility {
        differences(comparison, name)?;
    }
    Ok(())
}

fn changes(changes: &[Changed]) -> Result<(), Failure> {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let rows = changes
        .iter()
        .map(|change| {
            let place = if change.pointer.is_empty() {
                "(root)"
            } else {
                &change.pointer
            };
            vec![
                place.to_owned(),
                change.keyword.clone(),
                shown(&change.before),
                shown(&change.after),
            ]
        })
        .collect();
    output::table(&["WHERE", "WHAT", "BEFORE", "AFTER"], rows)
}

/// The table of verdicts alone.
pub fn verdicts(comparisons: &[Comparison]) -> Result<(), Failure> {
    let rows = comparisons
        .iter()
        .map(|one| vec![one.with.clone(), one.backward.clone(), one.forward.clone()])
        .collect();
    output::table(&["COMPARED WITH", "BACKWARD", "FORWARD"], rows)
}

/// What becomes of the schemas that refer to it.
pub fn dependents(dependents: &[Dependent]) -> Result<(), Failure> {
    if dependents.is_empty() {
        return Ok(());
    }
    let rows = dependents
        .iter()
        .flat_map(|one| one.compatibility.iter().map(move |comparison| (one, comparison)))
        .map(|(one, comparison)| {
            let name = format!("{}@{}", one.event_type, one.since);
            let with = if comparison.with == one.since {
                "before"
            } else {
                &comparison.with
            };
            let verdicts = (comparison.backward.clone(), comparison.forward.clone());
            vec![name, with.to_owned(), verdicts.0, verdicts.1]
        })
        .collect();
    output::line("")?;
    output::table(&["REFERS TO IT", "COMPARED WITH", "BACKWARD", "FORWARD"], rows)?;
    for one in dependents {
        for example in one.compatibility.iter().flat_map(Comparison::examples) {
            output::line(&format!(
                "{}@{}: {}",
                one.event_type,
                one.since,
                printable(&example)
            ))?;
        }
    }
    Ok(())
}

fn differences(comparison: &Comparison, name: &str) -> Result<(), Failure> {
    // Backward is always about what the earlier of the two accepts.
    let with = &comparison.with;
    let (earlier, later) = match version(with).cmp(&version(name)) {
        Ordering::Less => (with.clone(), name.to_owned()),
        Ordering::Equal => (format!("the registered {with}"), format!("the new {name}")),
        Ordering::Greater => (name.to_owned(), with.clone()),
    };
    let sides = [
        (&comparison.refuses.backward, &earlier, &later),
        (&comparison.refuses.forward, &later, &earlier),
    ];
    for (difference, accepts, refuses) in sides {
        let Some(difference) = difference else {
            continue;
        };
        output::line(&format!("\n{accepts} accepts and {refuses} refuses, for example"))?;
        output::line(&indented(&difference.example))?;
        output::line("which is one of")?;
        output::line(&indented(&without_dialect(&difference.schema)))?;
    }
    let parts = [
        ("backward", &comparison.undecided.backward),
        ("forward", &comparison.undecided.forward),
    ];
    for (direction, why) in parts {
        if let Some(why) = why {
            output::line(&format!(
                "\n{direction} with {with} is unknown: {}",
                printable(why)
            ))?;
        }
    }
    Ok(())
}

fn version(text: &str) -> Option<crate::event::AppVersion> {
    crate::event::AppVersion::parse(text)
}

fn without_dialect(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(members) = &mut schema {
        members.remove("$schema");
    }
    schema
}

fn indented(value: &Value) -> String {
    let text = match value {
        Value::Object(_) | Value::Array(_) if value.to_string().len() > 100 => {
            serde_json::to_string_pretty(value).unwrap_or_default()
        }
        value => value.to_string(),
    };
    let mut lines: Vec<String> = text
        .lines()
        .take(LINES_MAX)
        .map(|line| format!("  {}", printable(line)))
        .collect();
    if text.lines().count() > LINES_MAX {
        lines.push("  …".to_owned());
    }
    lines.join("\n")
}

fn events(checked: &Checked) -> Result<(), Failure> {
    let tried = [("recent", &checked.recent), ("quarantined", &checked.quarantined)];
    let rows = tried
        .iter()
        .map(|(name, tried)| {
            vec![
                (*name).to_owned(),
                tried.accepted.to_string(),
                tried.refused.to_string(),
                tried.total.to_string(),
            ]
        })
        .collect();
    output::line("")?;
    output::table(&["EVENTS", "ACCEPTED", "REFUSED", "OF"], rows)?;
    let failures: Vec<Vec<String>> = tried
        .iter()
        .flat_map(|(name, tried)| tried.failures.iter().map(move |failure| (name, failure)))
        .map(|(name, failure)| {
            let place = if failure.pointer.is_empty() {
                "(root)"
            } else {
                &failure.pointer
            };
            vec![
                (*name).to_owned(),
                place.to_owned(),
                failure.keyword.clone(),
                failure.count.to_string(),
                failure.example.as_ref().map(cut).unwrap_or_default(),
            ]
        })
        .collect();
    if failures.is_empty() {
        return Ok(());
    }
    output::line("")?;
    output::table(&["EVENTS", "WHERE", "WHAT", "COUNT", "EXAMPLE"], failures)
}

fn cut(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(EXAMPLE_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl Comparison {
    /// What is refused, in a line each.
    pub fn examples(&self) -> Vec<String> {
        let sides = [
            (&self.refuses.backward, "accepted before and refused now"),
            (&self.refuses.forward, "accepted now and refused before"),
        ];
        let shown = sides.into_iter().filter_map(|(difference, what)| {
            let difference = difference.as_ref()?;
            Some(format!(
                "{what} (compared with {}): {}",
                self.with,
                cut(&difference.example)
            ))
        });
        shown.collect()
    }
}
