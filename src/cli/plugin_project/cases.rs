use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::{Built, ProjectError, build, io_error};
use crate::{
    cli::table_files::TableFile,
    event::{Attributes, Body, Decoded, Output, PluginName, Validated},
    json::Document,
    limits::Limits,
    lookup::{TableSet, TableVersion},
    problem::Code,
    registry::model::TableFormat,
    transform::{LogLine, PluginFailure, Purpose, Transformer, TrialInstance},
    validate,
};

/// What became of all cases of a project.
#[derive(Clone, Debug)]
pub struct Report {
    pub built: Built,
    /// In the order of their names.
    pub cases: Vec<CaseReport>,
}

impl Report {
    pub fn is_passed(&self) -> bool {
        self.cases.iter().all(|case| case.difference.is_none())
    }
}

/// What became of one case.
#[derive(Clone, Debug)]
pub struct CaseReport {
    pub name: String,
    /// Absent where the case passed.
    pub difference: Option<String>,
    /// What the plugin made of it, in the form of `records.json`.
    pub actual: Value,
    pub log: Vec<LogLine>,
    /// Of the instance, after the call.
    pub memory_bytes: usize,
    /// Of the first call of a fresh instance.
    pub elapsed: Duration,
    /// Until the second run.
    event: Option<(Validated, Arc<TableSet>)>,
}

/// Builds the plugin at `path` and runs its cases in the gateway's own host: those in `folder`, or in `cases` beside
/// its source.
pub async fn test_local(
    path: &Path,
    folder: Option<&Path>,
    transformer: &Transformer,
) -> Result<Report, ProjectError> {
    let built = build(path)?;
    let beside = if path.is_dir() {
        path.join("cases")
    } else {
        path.with_file_name("cases")
    };
    let cases = run_cases(&built, folder.unwrap_or(&beside), transformer).await?;
    Ok(Report { built, cases })
}

/// Runs the cases in `folder`: each in a fresh instance, and again in one that has run all of them, which must give the
/// same bytes.
pub async fn run_cases(
    built: &Built,
    folder: &Path,
    transformer: &Transformer,
) -> Result<Vec<CaseReport>, ProjectError> {
    let component = fs::read(&built.path)
        .map(Bytes::from)
        .map_err(io_error(&built.path))?;
    let plugin: PluginName = built
        .name
        .parse()
        .map_err(|error: crate::event::NameError| ProjectError::NoComponent(error.to_string()))?;
    let mut reports = Vec::new();
    let mut tried = Vec::new();
    for case in case_folders(folder)? {
        let case = Case::read(folder, &case)?;
        let prepared = transformer
            .prepare(&plugin, 1, component.clone(), case.config.as_ref())
            .await;
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(refused) if refused.code == Code::ConfigurationRefused => {
                reports.push(case.refused(&refused.detail));
                continue;
            }
            Err(refused) => return Err(refused.into()),
        };
        let trial = prepared.try_in(&mut TrialInstance::default(), &case.event, &case.tables);
        // The instance that waits in `prepared` gets its history.
        let _ = prepared.transform_for(Purpose::Live, &case.event, &case.tables);
        let fresh = written(trial.result);
        tried.push((reports.len(), prepared, fresh.bodies));
        reports.push(CaseReport {
            difference: case.unexpected(&fresh.shown),
            actual: fresh.shown,
            log: trial.log,
            memory_bytes: trial.memory_bytes,
            elapsed: trial.elapsed,
            name: case.name,
            event: Some((case.event, case.tables)),
        });
    }
    for (index, prepared, bodies) in tried {
        if let Some(report) = reports.get_mut(index)
            && let Some((event, tables)) = report.event.take()
            && report.difference.is_none()
        {
            let used = written(prepared.transform_for(Purpose::Live, &event, &tables));
            if used.bodies != bodies || used.shown != report.actual {
                report.difference = Some(format!(
                    "the result depends on the events before it: fresh (-), and in an instance that had run all cases \
                     (+):\n{}",
                    lines_changed(&report.actual, &used.shown)
                ));
            }
        }
    }
    Ok(reports)
}

fn case_folders(folder: &Path) -> Result<Vec<PathBuf>, ProjectError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error(folder))? {
        let path = entry.map_err(io_error(folder))?.path();
        if path.is_dir() && !path.ends_with(TABLES) {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(ProjectError::NoCase(folder.to_owned()));
    }
    Ok(found)
}

/// The folder of the tables, beside the cases and in one.
const TABLES: &str = "tables";

struct Case {
    name: String,
    event: Validated,
    tables: Arc<TableSet>,
    expected: Value,
    config: Option<Value>,
}

/// `event.json`: data, and of the attributes what matters.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct EventFile {
    #[serde(default = "example")]
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(rename = "type", default = "example")]
    event_type: String,
    #[serde(default = "new_year")]
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(rename = "appversion", skip_serializing_if = "Option::is_none")]
    app_version: Option<String>,
    #[serde(default = "example")]
    partner: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    data: Box<RawValue>,
}

fn example() -> String {
    "example".to_owned()
}

fn new_year() -> String {
    "2026-01-01T00:00:00Z".to_owned()
}

/// A case as it is sent to a gateway, whose own tables count.
#[derive(Clone, Debug)]
pub struct CaseFile {
    pub name: String,
    /// A JSON object: attributes, and the data byte for byte.
    pub event: String,
    pub config: Option<Value>,
    pub expected: Value,
}

/// The cases in `folder`, in the order of their names.
pub fn case_files(folder: &Path) -> Result<Vec<CaseFile>, ProjectError> {
    let folders = case_folders(folder)?;
    folders.iter().map(|case| CaseFile::read(folder, case)).collect()
}

impl CaseFile {
    fn read(folder: &Path, case: &Path) -> Result<CaseFile, ProjectError> {
        let path = case.join("event.json");
        let text = fs::read_to_string(&path).map_err(io_error(&path))?;
        let written = serde_json::from_str(&text).and_then(|event: EventFile| serde_json::to_string(&event));
        let event = written.map_err(|error| ProjectError::CaseMalformed {
            path,
            fault: error.to_string(),
        })?;
        let mut config = read_json(&case.join("config.json"))?;
        if config.is_none() {
            config = read_json(&folder.join("config.json"))?;
        }
        let expected_path = case.join("records.json");
        Ok(CaseFile {
            name: case
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            event,
            config,
            expected: read_json(&expected_path)?.ok_or_else(|| ProjectError::CaseMalformed {
                path: expected_path,
                fault: "is not there".to_owned(),
            })?,
        })
    }
}

impl Case {
    fn read(folder: &Path, case: &Path) -> Result<Case, ProjectError> {
        let file = CaseFile::read(folder, case)?;
        let event = serde_json::from_str(&file.event)
            .map_err(|error| error.to_string())
            .and_then(event_of)
            .map_err(|fault| ProjectError::CaseMalformed {
                path: case.join("event.json"),
                fault,
            })?;
        Ok(Case {
            name: file.name,
            event,
            tables: tables_of([folder, case])?,
            expected: file.expected,
            config: file.config,
        })
    }

    /// A case may show a configuration that is refused.
    fn refused(self, detail: &str) -> CaseReport {
        let actual = member("refused", detail);
        CaseReport {
            difference: self.unexpected(&actual),
            name: self.name,
            actual,
            log: Vec::new(),
            memory_bytes: 0,
            elapsed: Duration::ZERO,
            event: None,
        }
    }

    fn unexpected(&self, actual: &Value) -> Option<String> {
        (*actual != self.expected).then(|| {
            format!(
                "expected (-) and what the plugin made of it (+):\n{}",
                lines_changed(&self.expected, actual)
            )
        })
    }
}

fn event_of(file: EventFile) -> Result<Validated, String> {
    let data = Bytes::copy_from_slice(file.data.get().as_bytes());
    let decoded = Decoded {
        attributes: Arc::new(Attributes {
            client_ip: None,
            user_agent: None,
            id: file.id.into(),
            source: file
                .source
                .unwrap_or_else(|| format!("/partners/{}", file.partner)),
            event_type: file
                .event_type
                .parse()
                .map_err(|error| format!("type: {error}"))?,
            time: file.time,
            subject: file.subject,
            app_version: file.app_version,
        }),
        partner: file
            .partner
            .parse()
            .map_err(|error| format!("partner: {error}"))?,
        data: Document::parse(data, Limits::default().depth).map_err(|error| format!("data: {error}"))?,
        received: Timestamp::UNIX_EPOCH,
        id_generated: false,
        traceparent: None,
    };
    let schema: Arc<str> = match file.schema {
        Some(schema) => schema.into(),
        None => format!("{}@1", decoded.attributes.event_type).into(),
    };
    Ok(validate::attest_case(decoded, schema))
}

/// The tables of the folders, those of later ones over those of the same name.
fn tables_of(folders: [&Path; 2]) -> Result<Arc<TableSet>, ProjectError> {
    let mut tables = BTreeMap::new();
    for folder in folders.map(|folder| folder.join(TABLES)) {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).map_err(io_error(&folder))? {
            let path = entry.map_err(io_error(&folder))?.path();
            let malformed = |fault: String| ProjectError::CaseMalformed {
                path: path.clone(),
                fault,
            };
            let file = TableFile::of(&path)
                .filter(|file| {
                    file.as_ref()
                        .map_or(true, |file| file.format == TableFormat::Ndjson)
                })
                .unwrap_or_else(|| Err("a table beside cases is a file NAME.ndjson".to_owned()))
                .map_err(malformed)?;
            let data = fs::read(&path).map(Bytes::from).map_err(io_error(&path))?;
            let rows = file.rows(&data).map_err(|problem| {
                let first = problem.errors.into_iter().next();
                malformed(first.map_or(problem.detail, |fault| fault.message))
            })?;
            let version = TableVersion::new(&file.name, 1, Arc::new(rows));
            tables.insert(file.name, Ok(version));
        }
    }
    Ok(Arc::new(TableSet::new(tables)))
}

fn read_json(path: &Path) -> Result<Option<Value>, ProjectError> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(io_error(path))?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| ProjectError::CaseMalformed {
            path: path.to_owned(),
            fault: error.to_string(),
        })
}

/// A call's result in the form of `records.json`, and its bodies byte for byte.
struct Written {
    shown: Value,
    bodies: Vec<Bytes>,
}

fn written(result: Result<Vec<Output>, PluginFailure>) -> Written {
    let outputs = match result {
        Ok(outputs) => outputs,
        Err(failure) => {
            let (name, reason) = match failure {
                PluginFailure::Rejected(reason) => ("rejected", reason),
                PluginFailure::Unavailable(reason) => ("unavailable", reason),
                PluginFailure::Failed(reason)
                | PluginFailure::Trapped(reason)
                | PluginFailure::Held(reason) => ("broken", reason),
            };
            return Written {
                shown: member(name, &reason),
                bodies: Vec::new(),
            };
        }
    };
    let mut bodies = Vec::new();
    let mut records = Vec::new();
    for output in outputs {
        let (record, body) = write_record(output);
        records.push(record);
        bodies.push(body);
    }
    Written {
        shown: Value::Array(records),
        bodies,
    }
}

fn member(name: &str, text: &str) -> Value {
    Value::Object(Map::from_iter([(
        name.to_owned(),
        Value::String(text.to_owned()),
    )]))
}

/// Both as text, line by line: what went with `-`, what came with `+`.
pub fn lines_changed(before: &Value, after: &Value) -> String {
    let (before, after) = (format!("{before:#}"), format!("{after:#}"));
    let difference = similar::TextDiff::from_lines(&before, &after);
    let lines = difference.iter_all_changes().map(|change| {
        let line = change.value().trim_end_matches('\n');
        format!("{} {line}\n", change.tag())
    });
    lines.collect::<String>().trim_end().to_owned()
}

fn write_record(output: Output) -> (Value, Bytes) {
    let mut record = Map::new();
    let texts = [
        ("destination", output.destination),
        ("topic", output.topic),
        ("key", output.key),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            record.insert(name.to_owned(), Value::String(text));
        }
    }
    if !output.headers.is_empty() {
        let pair = |(name, value)| Value::Array(vec![Value::String(name), Value::String(value)]);
        let headers = output.headers.into_iter().map(pair).collect();
        record.insert("headers".to_owned(), Value::Array(headers));
    }
    let (name, value, bytes) = match output.body {
        Body::Document(document) => {
            let bytes = document.to_bytes();
            let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            ("data", value, bytes)
        }
        Body::Bytes(bytes) => (
            "text",
            Value::String(String::from_utf8_lossy(&bytes).into_owned()),
            bytes,
        ),
    };
    record.insert(name.to_owned(), value);
    (Value::Object(record), bytes)
}
