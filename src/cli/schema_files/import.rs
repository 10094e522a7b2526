//! `headworks schema import`: other registries' schemas in the layout that `apply` reads.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    validate::{References, check_schema, uri_of},
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

/// What was read of one schema, and may be taken.
struct Pending {
    taken: Taken,
    key: SchemaKey,
    text: String,
    present: Present,
}

pub(super) fn sort_out(reading: Reading, directory: &Path) -> Result<(Report, Files), Failure> {
    let mut report = Report {
        taken: Vec::new(),
        refused: reading.refused,
    };
    let mut versions: Vec<(EventType, AppVersion)> = Vec::new();
    let mut pending = Vec::new();
    // What is not written over stands, and others may refer to it.
    let mut standing: Vec<String> = Vec::new();
    for found in reading.found {
        let from = found.from.clone();
        let reason = match one(found, &mut versions) {
            Ok((taken, key, text)) => match layout::present(&directory.join(&taken.file), &text)? {
                Present::Other => {
                    standing.push(uri_of(&key));
                    format!("{} is there already, with another content", taken.file)
                }
                present => {
                    pending.push(Pending {
                        taken,
                        key,
                        text,
                        present,
                    });
                    continue;
                }
            },
            Err(reason) => reason,
        };
        report.refused.push(Refused { from, reason });
    }
    let (usable, references) = usable(pending, &layout::schemas(directory)?, &mut report.refused);
    let types: BTreeSet<String> = usable.iter().map(|one| one.key.event_type.to_string()).collect();
    let mut files = Files::new();
    for one in usable {
        let mut taken = one.taken;
        let referred = references.referred(&one.key);
        taken.notes.extend(
            referred
                .iter()
                .filter(|uri| standing.contains(uri))
                .map(|uri| format!("{uri} is there with another content, and counts as it is there")),
        );
        if one.present == Present::Same {
            taken.notes.push("it is there already".to_owned());
        } else {
            files.push((directory.join(&taken.file), one.text));
        }
        report.taken.push(taken);
    }
    for (name, compatibility) in reading.compatibility {
        let (name, _) = type_name(&name);
        if types.contains(&name) {
            of_type(&name, compatibility, directory, &mut report, &mut files)?;
        }
    }
    Ok((report, files))
}

/// Those that the gateway would take; what refers to one that it would not take is none of them. `there` are the
/// schemas of the target folder.
fn usable(
    mut pending: Vec<Pending>,
    there: &[(SchemaKey, String)],
    refused: &mut Vec<Refused>,
) -> (Vec<Pending>, References) {
    let bytes_max = Limits::default().schema_bytes.as_usize();
    let mut is_first = true;
    loop {
        let there = there.iter().map(|(key, text)| (key, text.as_str()));
        let read = pending.iter().map(|one| (&one.key, one.text.as_str()));
        let references = references(there.chain(read));
        let before = pending.len();
        let mut good = Vec::new();
        for one in pending {
            let checked = match references.texts(&one.key) {
                Ok(texts) if is_first => check_schema(&one.text, &texts, bytes_max),
                texts => texts.map(drop),
            };
            match checked {
                Ok(()) => good.push(one),
                Err(faults) => refused.push(Refused {
                    from: one.taken.from,
                    reason: sentences(&faults),
                }),
            }
        }
        pending = good;
        if pending.len() == before {
            return (pending, references);
        }
        is_first = false;
    }
}

/// The file that says what is enforced between the type's schemas.
fn of_type(
    name: &str,
    compatibility: Compatibility,
    directory: &Path,
    report: &mut Report,
    files: &mut Files,
) -> Result<(), Failure> {
    let word = format!("{compatibility:?}").to_lowercase();
    let text = format!("compatibility = \"{word}\"\n");
    let file = format!("types/{name}.toml");
    let path = directory.join(&file);
    match layout::present(&path, &text)? {
        Present::Absent => files.push((path, text)),
        Present::Same => {}
        // What stands there was written by somebody.
        Present::Other => {
            let known = file_text(&path)?;
            let says = |line: &str| line.replace(' ', "") == text.trim_end().replace(' ', "");
            if !known.lines().any(says) {
                report.refused.push(Refused {
                    from: format!("the compatibility of {name}"),
                    reason: format!("{file} is there already, and does not say {}", text.trim_end()),
                });
            }
        }
    }
    Ok(())
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
