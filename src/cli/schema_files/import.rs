//! `headworks schema import`: other registries' schemas in the layout that `apply` reads.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use serde::Serialize;

use super::{
    confluent, iglu,
    layout::{self, Present},
    pretty::pretty,
    referring::references,
    segment,
};
use crate::{
    cli::{
        failure::Failure,
        output::{self, Output},
    },
    event::{AppVersion, EventType},
    json::{Document, EditedDocument},
    limits::{Limits, SCHEMA_DEPTH},
    problem::Fault,
    registry::model::{Compatibility, SchemaKey},
    validate::check_schema,
};

/// Where schemas come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Origin {
    /// A folder of Snowplow's Iglu: schemas/VENDOR/NAME/jsonschema/MODEL-REVISION-ADDITION.
    Iglu,
    /// The topic _schemas, or what Confluent's REST API answers.
    Confluent,
    /// A Segment tracking plan, as its API answers.
    Segment,
}

/// A schema that was found.
pub(super) struct Found {
    /// Where: a file, a subject, a rule.
    pub from: String,
    /// Whatever it is called there.
    pub name: String,
    pub since: String,
    pub schema: EditedDocument,
    /// What the reader has changed.
    pub notes: Vec<String>,
}

/// What a reader makes of its input.
#[derive(Default)]
pub(super) struct Reading {
    pub found: Vec<Found>,
    pub refused: Vec<Refused>,
    /// By the name that the schemas have there.
    pub compatibility: BTreeMap<String, Compatibility>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Refused {
    pub from: String,
    pub reason: String,
}

impl Reading {
    pub fn refuse(&mut self, from: impl Into<String>, reason: impl Into<String>) {
        self.refused.push(Refused {
            from: from.into(),
            reason: reason.into(),
        });
    }
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Taken {
    from: String,
    file: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    taken: Vec<Taken>,
    refused: Vec<Refused>,
}

/// Reads `input`, writes what can be taken below `directory`, and says what could not.
pub fn run(
    origin: Origin,
    input: &Path,
    directory: &Path,
    dry_run: bool,
    output: Output,
) -> Result<(), Failure> {
    let reading = match origin {
        Origin::Iglu => iglu::read(input)?,
        Origin::Confluent => confluent::read(input)?,
        Origin::Segment => segment::read(input)?,
    };
    let (report, files) = sort_out(reading, directory)?;
    if !dry_run {
        for (path, text) in &files {
            layout::write(path, text)?;
        }
    }
    print(&report, dry_run, output)?;
    if report.refused.is_empty() {
        Ok(())
    } else {
        Err(Failure::Said)
    }
}

type Files = Vec<(PathBuf, String)>;

pub(super) fn sort_out(reading: Reading, directory: &Path) -> Result<(Report, Files), Failure> {
    let mut report = Report {
        taken: Vec::new(),
        refused: reading.refused,
    };
    let mut files = Files::new();
    let mut versions: Vec<(EventType, AppVersion)> = Vec::new();
    let read: Vec<_> = reading
        .found
        .into_iter()
        .map(|found| (found.from.clone(), one(found, &mut versions)))
        .collect();
    let all = read.iter().filter_map(|(_, read)| read.as_ref().ok());
    let references = references(all.map(|(_, key, text)| (key, text.as_str())));
    for (from, read) in read {
        let checked = read.and_then(|(taken, key, text)| {
            let checked = references
                .texts(&key)
                .and_then(|texts| check_schema(&text, &texts, Limits::default().schema_bytes.as_usize()));
            match checked {
                Ok(()) => Ok((taken, key, text)),
                Err(faults) => {
                    forget(&mut versions, &key);
                    Err(sentences(&faults))
                }
            }
        });
        match checked {
            Ok((mut taken, key, text)) => {
                let path = directory.join(&taken.file);
                match layout::present(&path, &text)? {
                    Present::Other => {
                        forget(&mut versions, &key);
                        let reason = format!("{} is there already, with another content", taken.file);
                        report.refused.push(Refused { from, reason });
                        continue;
                    }
                    Present::Same => taken.notes.push("it is there already".to_owned()),
                    Present::Absent => files.push((path, text)),
                }
                report.taken.push(taken);
            }
            Err(reason) => report.refused.push(Refused { from, reason }),
        }
    }
    for (name, compatibility) in reading.compatibility {
        let (name, _) = type_name(&name);
        let is_taken = versions.iter().any(|(event_type, _)| event_type.as_str() == name);
        let path = directory.join(format!("types/{name}.toml"));
        // What stands there was written by somebody.
        if is_taken && !path.exists() {
            let word = format!("{compatibility:?}").to_lowercase();
            files.push((path, format!("compatibility = \"{word}\"\n")));
        }
    }
    Ok((report, files))
}

type Read = Result<(Taken, SchemaKey, String), String>;

fn one(found: Found, versions: &mut Vec<(EventType, AppVersion)>) -> Read {
    let Found {
        from,
        name,
        since,
        schema,
        mut notes,
    } = found;
    let (type_name, is_renamed) = type_name(&name);
    if is_renamed {
        notes.push(format!("{name:?} is no type, and became {type_name}"));
    }
    let event_type: EventType = type_name.parse().map_err(|error| format!("{error}"))?;
    let version = AppVersion::parse(&since).ok_or_else(|| format!("{since:?} is no version"))?;
    if versions.contains(&(event_type.clone(), version.clone())) {
        return Err(format!("{event_type}@{since} was taken from elsewhere already"));
    }
    let bytes = schema.to_bytes();
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if !text.trim().contains('\n') {
        let document = Document::parse(bytes, SCHEMA_DEPTH).map_err(|error| error.to_string())?;
        text = pretty(document.root());
    }
    let file = format!("{}.json", layout::schema_stem(event_type.as_str(), &since, None));
    versions.push((event_type.clone(), version));
    let key = SchemaKey {
        event_type,
        source: None,
        since,
    };
    Ok((Taken { from, file, notes }, key, text))
}

fn forget(versions: &mut Vec<(EventType, AppVersion)>, key: &SchemaKey) {
    let version = AppVersion::parse(&key.since);
    versions.retain(|(event_type, known)| *event_type != key.event_type || Some(known) != version.as_ref());
}

fn sentences(faults: &[Fault]) -> String {
    let sentences: Vec<String> = faults
        .iter()
        .map(|fault| match fault.pointer.as_str() {
            "" => fault.message.clone(),
            pointer => format!("{pointer}: {}", fault.message),
        })
        .collect();
    sentences.join("; ")
}

/// The name as a type's: what no type may hold becomes `-`, as in envelopes.
pub(super) fn type_name(name: &str) -> (String, bool) {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "._~-".contains(character);
    let made: String = name
        .trim()
        .chars()
        .map(|character| if allowed(character) { character } else { '-' })
        .collect();
    let is_renamed = made != name;
    (made, is_renamed)
}

fn print(report: &Report, dry_run: bool, output: Output) -> Result<(), Failure> {
    if output.is_json() {
        let text = serde_json::to_string(report).map_err(|error| Failure::Usage(error.to_string()))?;
        return output::line(&text);
    }
    if !report.taken.is_empty() {
        let rows = report
            .taken
            .iter()
            .map(|taken| vec![taken.from.clone(), taken.file.clone(), taken.notes.join("; ")])
            .collect();
        output::table(&["TAKEN FROM", "FILE", "NOTE"], rows)?;
    }
    if !report.refused.is_empty() {
        let rows = report
            .refused
            .iter()
            .map(|refused| vec![refused.from.clone(), refused.reason.clone()])
            .collect();
        output::table(&["NOT TAKEN", "REASON"], rows)?;
    }
    let (taken, refused) = (report.taken.len(), report.refused.len());
    let would = if dry_run { "would be " } else { "" };
    output::line(&format!("{taken} {would}taken, {refused} not"))
}

/// A schema's text, to be edited without losing the order of its members.
pub(super) fn parsed(text: &str) -> Result<EditedDocument, String> {
    Document::parse(text.to_owned().into(), SCHEMA_DEPTH)
        .map(EditedDocument::new)
        .map_err(|error| error.to_string())
}

/// A file of another registry, whole.
pub(super) fn file_text(path: &Path) -> Result<String, Failure> {
    const FILE_BYTES_MAX: u64 = 256 << 20;
    crate::cli::resources::read_text(path, FILE_BYTES_MAX).map(|(_, text)| text)
}
