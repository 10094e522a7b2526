//! From a schema's text to a validator, and from a validator to violations.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::{references::Texts, weigh::weigh};
use crate::{
    event::Violation,
    json::{Document, TapeJson},
    limits::{PATTERN_STEPS, SCHEMA_DEPTH, VIOLATION_MESSAGE_CHARACTERS, VIOLATIONS_LISTED},
    problem::Fault,
};

/// What `$schema` may say. Others would need a metaschema from elsewhere.
pub(super) const DRAFTS: [&str; 5] = [
    "http://json-schema.org/draft-04/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];

/// A schema that can check data.
pub struct Compiled {
    validator: Validator<TapeJson>,
    text: Arc<str>,
    texts: Texts,
    /// Few schemas are ever read as JSON, and the tree is larger than all else.
    schema: OnceLock<Option<Arc<Value>>>,
}

impl Compiled {
    /// Compiles a registered schema's text.
    ///
    /// # Errors
    ///
    /// The first fault, as a sentence. Registration has refused such a text: this node is older than the one that
    /// took it, or the store's content has changed.
    pub fn new(text: &Arc<str>) -> Result<Compiled, String> {
        Compiled::with(text, &Texts::default())
    }

    /// [`Compiled::new`] of a schema with all that its references lead to.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn with(text: &Arc<str>, texts: &Texts) -> Result<Compiled, String> {
        let sentence = |fault: Fault| format!("{}: {}", fault.pointer, fault.message);
        let schema = parse(text).map_err(|fault| fault.message)?;
        let library = texts.library().map_err(sentence)?;
        Ok(Compiled {
            validator: build(&schema, &library).map_err(sentence)?,
            text: Arc::clone(text),
            texts: texts.clone(),
            schema: OnceLock::new(),
        })
    }

    /// The schema as JSON. It was read before, so none is never given.
    pub fn schema(&self) -> Option<Arc<Value>> {
        self.schema.get_or_init(|| schema_value(&self.text)).clone()
    }

    /// The schema as JSON, with what it refers to among its own definitions: for looking at, not for validating.
    pub(super) fn whole_schema(&self) -> Option<Arc<Value>> {
        let schema = self.schema()?;
        match self.texts.library() {
            Ok(library) if !library.is_empty() => Some(Arc::new(bundle(&schema, &library))),
            _ => Some(schema),
        }
    }

    /// None where `data` is valid; else the first violations, up to [`VIOLATIONS_LISTED`].
    pub fn violations(&self, data: &Document) -> Option<Vec<Violation>> {
        let node = data.root();
        if self.validator.is_valid(node) {
            return None;
        }
        let listed = self
            .validator
            .iter_errors(node)
            .take(VIOLATIONS_LISTED)
            .map(|error| Violation {
                pointer: error.instance_path().to_string(),
                keyword: error.kind().keyword().to_owned(),
                message: message(&error),
            })
            .collect();
        Some(listed)
    }
}

/// Every fault of a schema's text that would keep it from being used; registration refuses it with these. Takes as long
/// as the schema pleases: [`check::check_apart`](super::check::check_apart) bounds it.
///
/// # Errors
///
/// Faults with pointers into the schema: not JSON, too large, too deep, an unknown `$schema`, against its metaschema,
/// a reference that leads nowhere, a pattern that no engine takes, references that multiply each other.
pub fn check_schema(text: &str, texts: &Texts, schema_bytes_max: usize) -> Result<(), Vec<Fault>> {
    if text.len() > schema_bytes_max {
        return Err(vec![fault(
            "",
            format!(
                "the schema has {} bytes, {schema_bytes_max} are allowed",
                text.len()
            ),
        )]);
    }
    let schema = parse(text).map_err(|fault| vec![fault])?;
    let metaschema = jsonschema::meta::validator_for(&schema)
        .map_err(|error| vec![fault(error.instance_path().as_str(), message(&error))])?;
    let faults: Vec<Fault> = metaschema
        .iter_errors(&schema)
        .take(VIOLATIONS_LISTED)
        .map(|error| Fault {
            pointer: error.instance_path().to_string(),
            message: message(&error),
            keyword: Some(error.kind().keyword().to_owned()),
        })
        .collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let library = texts.library().map_err(|fault| vec![fault])?;
    weigh(&schema, &library)?;
    build(&schema, &library).map(drop).map_err(|fault| vec![fault])
}

/// A registered schema's text as JSON.
pub(super) fn schema_value(text: &str) -> Option<Arc<Value>> {
    parse(text).ok().map(Arc::new)
}

pub(super) fn parse(text: &str) -> Result<Value, Fault> {
    let document = Document::parse(Bytes::copy_from_slice(text.as_bytes()), SCHEMA_DEPTH)
        .map_err(|error| fault("", error.to_string()))?;
    let schema = document.root().to_value();
    match &schema {
        Value::Object(members) => match members.get("$schema") {
            None => Ok(schema),
            Some(Value::String(uri)) if DRAFTS.contains(&uri.trim_end_matches('#')) => Ok(schema),
            Some(other) => Err(fault(
                "/$schema",
                format!("{other} is not known: leave it out for draft 2020-12, or write one of {DRAFTS:?}"),
            )),
        },
        Value::Bool(_) => Ok(schema),
        _ => Err(fault("", "a schema is an object or a boolean".to_owned())),
    }
}

/// Schemas by the URIs that others refer to them by.
pub type Library = BTreeMap<String, Arc<Value>>;

pub(super) fn build(schema: &Value, library: &Library) -> Result<Validator<TapeJson>, Fault> {
    let registry = registry(library)?;
    let options = || {
        jsonschema::options_for::<TapeJson>()
            .offline()
            .with_registry(&registry)
            .should_validate_formats(true)
    };
    // The linear engine first. It refuses look-around and back-references: those get steps, and no more.
    options()
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .or_else(|_| {
            options()
                .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(PATTERN_STEPS))
                .build(schema)
        })
        .map_err(|error| {
            let advice = match error.kind() {
                jsonschema::error::ValidationErrorKind::Referencing(_) => {
                    ": a reference leads into the schema itself or to a registered one; nothing is fetched from \
                     anywhere"
                }
                _ => "",
            };
            fault(
                error.instance_path().as_str(),
                format!("{}{advice}", message(&error)),
            )
        })
}

fn registry(library: &Library) -> Result<jsonschema::Registry<'_>, Fault> {
    let unusable = |error: jsonschema::ReferencingError| fault("", error.to_string());
    let mut registry = jsonschema::Registry::new().retriever(Offline);
    for (uri, schema) in library {
        registry = registry.add(uri, schema.as_ref()).map_err(unusable)?;
    }
    registry.prepare().map_err(unusable)
}

/// Where [`bundle`] puts what is referred to.
const BUNDLED: &str = "headworks-referred";

/// References that say another document's URI lead into the schema itself now.
fn bundle(schema: &Value, library: &Library) -> Value {
    fn lead(value: &mut Value, at: &str, library: &Library) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(reference) if name == "$ref" => {
                            let (uri, fragment) = reference.split_once('#').unwrap_or((reference, ""));
                            let place = match uri {
                                "" => at.to_owned(),
                                uri => match library.keys().position(|known| known == uri) {
                                    Some(place) => format!("/{BUNDLED}/{place}"),
                                    None => continue,
                                },
                            };
                            *reference = format!("#{place}{fragment}");
                        }
                        _ => lead(value, at, library),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| lead(item, at, library)),
            _ => {}
        }
    }
    let mut whole = schema.clone();
    lead(&mut whole, "", library);
    let mut bundled = Vec::new();
    for (place, other) in library.values().enumerate() {
        let mut other = other.as_ref().clone();
        lead(&mut other, &format!("/{BUNDLED}/{place}"), library);
        bundled.push(other);
    }
    if let Value::Object(members) = &mut whole {
        members.insert(BUNDLED.to_owned(), Value::Array(bundled));
    }
    whole
}

/// Nothing is fetched from anywhere.
struct Offline;

impl jsonschema::Retrieve for Offline {
    fn retrieve(
        &self,
        uri: &jsonschema::Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("{uri} is registered nowhere").into())
    }
}

pub(super) fn fault(pointer: &str, message: String) -> Fault {
    Fault {
        pointer: pointer.to_owned(),
        message,
        keyword: None,
    }
}

/// The error's text, cut: it may quote a value of any size.
fn message(error: &ValidationError<'_>) -> String {
    let mut text = Cut {
        text: String::new(),
        left: VIOLATION_MESSAGE_CHARACTERS,
    };
    if write!(text, "{error}").is_err() {
        text.text.push('…');
    }
    text.text
}

struct Cut {
    text: String,
    left: usize,
}

impl fmt::Write for Cut {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        match part.char_indices().nth(self.left) {
            None => {
                self.left -= part.chars().count();
                self.text.push_str(part);
                Ok(())
            }
            Some((end, _)) => {
                self.left = 0;
                self.text.push_str(&part[..end]);
                Err(fmt::Error)
            }
        }
    }
}
