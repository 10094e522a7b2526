//! `[[destination]]`: where records go.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    AssumeRole, DestinationKind, DestinationSettings, FileRotation, KinesisSettings, Secret, bounded_text,
    error::{ConfigError, Place},
    overrides::destination_variable,
    section::{Faults, Section, ValueFault, boolean, choice, closest, join, shown, text, whole_number},
    tree::{Node, Value},
};
use crate::{event::DestinationName, limits::ByteSize};

/// A larger file holds no secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

#[derive(Clone, Copy)]
enum Kind {
    Kafka,
    Kinesis,
    File,
}

const KINDS: [(&str, Kind); 3] = [
    ("kafka", Kind::Kafka),
    ("kinesis", Kind::Kinesis),
    ("file", Kind::File),
];

/// A setting, the values that it may be given, and why.
pub type FixedOption = (&'static str, &'static [&'static str], &'static str);

/// librdkafka settings that the promise rests on, the values that they may be given, and why.
pub const FIXED_OPTIONS: [FixedOption; 9] = [
    ("bootstrap.servers", &[], "`brokers` names them"),
    ("metadata.broker.list", &[], "`brokers` names them"),
    (
        "acks",
        &["all", "-1"],
        "a record counts as delivered when all in-sync replicas have it",
    ),
    (
        "request.required.acks",
        &["all", "-1"],
        "a record counts as delivered when all in-sync replicas have it",
    ),
    (
        "enable.idempotence",
        &["true"],
        "without it a retry doubles records and changes their order",
    ),
    (
        "message.timeout.ms",
        &["0"],
        "the gateway itself moves a record that waits too long to its spool",
    ),
    (
        "delivery.timeout.ms",
        &["0"],
        "the gateway itself moves a record that waits too long to its spool",
    ),
    (
        "delivery.report.only.error",
        &["false"],
        "the sender's answer waits for the report of success",
    ),
    (
        "transactional.id",
        &[],
        "a record inside an open transaction can be read by nobody",
    ),
];

/// All destinations, in the order of the file.
pub fn list(
    node: Option<&Node>,
    data_dir: &Path,
    environment: &BTreeMap<String, String>,
    faults: &mut Faults,
) -> Vec<DestinationSettings> {
    let Some(node) = node else {
        return Vec::new();
    };
    let Value::Array(items) = &node.value else {
        let message = format!("is {}, and must be a list of tables", node.value.kind());
        faults.push(
            ConfigError::new(node.place.clone(), "destination", message)
                .suggesting("write [[destination]], with two brackets"),
        );
        return Vec::new();
    };
    if items.is_empty() {
        faults.push(
            ConfigError::new(node.place.clone(), "destination", "is empty")
                .suggesting("leave it out for a destination that writes files"),
        );
    }
    let mut known = Known::default();
    items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| one(index, item, data_dir, environment, &mut known, faults))
        .collect()
}

/// What the destinations before have taken for themselves.
#[derive(Default)]
struct Known {
    names: BTreeMap<String, Place>,
    paths: BTreeMap<PathBuf, String>,
}

fn one(
    index: usize,
    item: &Node,
    data_dir: &Path,
    environment: &BTreeMap<String, String>,
    known: &mut Known,
    faults: &mut Faults,
) -> Option<DestinationSettings> {
    let name = match item.member("name").map(|member| &member.node.value) {
        Some(Value::Text(name)) => name.parse::<DestinationName>().ok(),
        _ => None,
    };
    let path = name.as_ref().map_or_else(
        || format!("destination[{index}]"),
        |name| format!("destination.{name}"),
    );
    let mut section = Section::of(item, path, "destination", faults)?;
    let name = section.read("name", faults, |node| {
        text(node)?
            .parse::<DestinationName>()
            .map_err(|error| (error.to_string(), None))
    });
    section.require(
        "name",
        "give it one, by which routes name it: name = \"events\"",
        faults,
    );
    if let Some(name) = &name {
        let place = section.place_of("name").clone();
        if let Some(before) = known.names.get(name.as_str()) {
            let message = format!("{:?} is the name of another destination too", name.as_str());
            let suggestion = format!("the other is at {before}; give one of them another name");
            faults.push(ConfigError::new(place, section.path("name"), message).suggesting(suggestion));
        } else {
            known.names.insert(name.to_string(), place);
        }
    }
    let kind = section.read("kind", faults, |node| choice(node, &KINDS));
    require_kind(&section, name.as_ref(), known, faults);
    let kind = match kind? {
        Kind::Kafka => kafka(&mut section, environment, faults),
        Kind::File => file(&mut section, data_dir, known, faults),
        Kind::Kinesis => kinesis(&mut section, environment, faults),
    };
    section.finish(faults);
    Some(DestinationSettings {
        name: name?,
        kind: kind?,
    })
}

fn require_kind(section: &Section<'_>, name: Option<&DestinationName>, known: &Known, faults: &mut Faults) {
    let others = known
        .names
        .keys()
        .map(String::as_str)
        .filter(|other| Some(*other) != name.map(DestinationName::as_str));
    let suggestion = match (section.place(), name) {
        (Place::Variable(_), Some(name)) => match closest(name.as_str(), others) {
            Some(other) => format!("did you mean {}…?", destination_variable(other, "")),
            None => format!(
                "set {} to kafka, kinesis or file",
                destination_variable(name.as_str(), "kind")
            ),
        },
        _ => "write kind = \"kafka\", kind = \"kinesis\" or kind = \"file\"".to_owned(),
    };
    section.require("kind", suggestion, faults);
}

fn kafka(
    section: &mut Section<'_>,
    environment: &BTreeMap<String, String>,
    faults: &mut Faults,
) -> Option<DestinationKind> {
    let brokers = section.read("brokers", faults, brokers);
    section.require(
        "brokers",
        "name at least one: brokers = \"localhost:9092\"",
        faults,
    );
    let options = options(
        section,
        &FIXED_OPTIONS,
        "\"compression.type\" = \"zstd\"",
        environment,
        faults,
    );
    Some(DestinationKind::Kafka {
        brokers: brokers?,
        options,
    })
}

fn brokers(node: &Node) -> Result<String, ValueFault> {
    if matches!(node.value, Value::Array(_)) {
        let suggestion = "write one string: \"one:9092,two:9092\"".to_owned();
        return Err(("is an array, and must be a string".to_owned(), Some(suggestion)));
    }
    let brokers = text(node)?;
    for broker in brokers.split(',') {
        let (host, port) = broker.trim().rsplit_once(':').unwrap_or((broker.trim(), "9092"));
        if host.is_empty() || port.parse::<u16>().is_err() {
            let suggestion = "write HOST:PORT, more of them parted by commas".to_owned();
            return Err((format!("{:?} is no broker", shown(broker)), Some(suggestion)));
        }
    }
    Ok(brokers.to_owned())
}

/// Settings of a client, by its own names; values may be secrets. `fixed_options` are left to nobody, and `example` is
/// shown to who wrote no table.
pub(super) fn options(
    section: &mut Section<'_>,
    fixed_options: &[FixedOption],
    example: &str,
    environment: &BTreeMap<String, String>,
    faults: &mut Faults,
) -> BTreeMap<String, Secret> {
    let check = |key: &str, value: &Secret| fixed(fixed_options, key, value);
    secrets(section, ("options", example), environment, check, faults)
}

/// The table of this key, whose values may be secrets; `check` may find fault with one. Beside the key stands what is
/// shown to who wrote no table.
pub(super) fn secrets(
    section: &mut Section<'_>,
    (name, example): (&'static str, &str),
    environment: &BTreeMap<String, String>,
    check: impl Fn(&str, &Secret) -> Option<ValueFault>,
    faults: &mut Faults,
) -> BTreeMap<String, Secret> {
    let path = section.path(name);
    let mut secrets = BTreeMap::new();
    let Some(node) = section.get(name) else {
        return secrets;
    };
    let Value::Table(members) = &node.value else {
        let message = format!("is {}, and must be a table", node.value.kind());
        faults.push(
            ConfigError::new(node.place.clone(), path, message)
                .suggesting(format!("write {name} = {{ {example} }}")),
        );
        return secrets;
    };
    for member in members {
        let key = &member.key;
        let fault = match secret(&member.node, key, environment) {
            Ok(value) => match check(key, &value) {
                Some(fault) => fault,
                None => {
                    secrets.insert(key.clone(), value);
                    continue;
                }
            },
            Err(fault) => fault,
        };
        let mut error = ConfigError::new(
            member.node.place.clone(),
            join(&path, &format!("{key:?}")),
            fault.0,
        );
        error.suggestion = fault.1;
        faults.push(error);
    }
    secrets
}

/// Why the gateway does not leave this setting to the operator.
fn fixed(options: &[FixedOption], key: &str, value: &Secret) -> Option<ValueFault> {
    let (_, allowed, why) = options.iter().find(|(fixed, ..)| *fixed == key)?;
    if allowed.contains(&value.reveal()) {
        return None;
    }
    Some((format!("cannot be set: {why}"), Some("leave it out".to_owned())))
}

/// The text of an option: a string, an integer, a boolean, `{ file = "…" }` or `{ env = "…" }`.
pub(super) fn secret(
    node: &Node,
    key: &str,
    environment: &BTreeMap<String, String>,
) -> Result<Secret, ValueFault> {
    let members = match &node.value {
        Value::Text(text) => return Ok(Secret::new(text.clone())),
        Value::Integer(number) => return Ok(Secret::new(number.to_string())),
        Value::Boolean(boolean) => return Ok(Secret::new(boolean.to_string())),
        Value::Table(members) => members,
        other => {
            return Err((
                format!(
                    "is {}, and must be a string, an integer or a boolean",
                    other.kind()
                ),
                None,
            ));
        }
    };
    let forms = "write a value, { file = \"…\" } or { env = \"…\" }";
    let no_secret = |suggestion: String| Err(("is a table that is no secret".to_owned(), Some(suggestion)));
    let [member] = members.as_slice() else {
        return no_secret(forms.to_owned());
    };
    match member.key.as_str() {
        "file" => read_secret(Path::new(text(&member.node)?)).map(Secret::new),
        "env" => {
            let name = text(&member.node)?;
            let value = environment.get(name).cloned().map(Secret::new);
            value.ok_or_else(|| {
                (
                    format!("the environment variable {:?} is not set", shown(name)),
                    None,
                )
            })
        }
        // `compression.type = "zstd"` without quotation marks is a table in TOML.
        _ => no_secret(format!(
            "put the setting's name in quotation marks: \"{}\"",
            dotted(key, &node.value)
        )),
    }
}

fn dotted(key: &str, value: &Value) -> String {
    match value {
        Value::Table(members) if members.len() == 1 => members
            .iter()
            .map(|member| dotted(&join(key, &member.key), &member.node.value))
            .collect(),
        _ => key.to_owned(),
    }
}

fn read_secret(path: &Path) -> Result<String, ValueFault> {
    let mut text = bounded_text(path, SECRET_BYTES_MAX).map_err(|error| {
        let message = format!("the secret's file {} cannot be read: {error}", path.display());
        (
            message,
            Some("relative paths begin at the working directory".to_owned()),
        )
    })?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    if text.is_empty() {
        return Err((format!("the secret's file {} is empty", path.display()), None));
    }
    Ok(text)
}

const RETENTION_DAYS_MAX: u64 = 36_500;
/// The largest record that a stream can be set to take.
const KINESIS_RECORD_BYTES_MAX: ByteSize = ByteSize(10 << 20);
/// What a stream takes where nobody has set more.
const KINESIS_RECORD_BYTES: ByteSize = ByteSize(1 << 20);

fn kinesis(
    section: &mut Section<'_>,
    environment: &BTreeMap<String, String>,
    faults: &mut Faults,
) -> Option<DestinationKind> {
    let region = section.text("region", faults);
    section.require("region", "name it: region = \"ap-northeast-2\"", faults);
    let endpoint_url = section.read("endpoint_url", faults, |node| {
        let url = text(node)?;
        if url.starts_with("https://") || url.starts_with("http://") {
            Ok(url.to_owned())
        } else {
            let suggestion = "write http://HOST:PORT or https://HOST".to_owned();
            Err((format!("{:?} is no URL", shown(url)), Some(suggestion)))
        }
    });
    let mut secret_of = |key: &'static str| {
        section
            .read(key, faults, |node| secret(node, key, environment))
            .filter(|secret| !secret.reveal().is_empty())
    };
    let (id, access_secret) = (secret_of("access_key_id"), secret_of("secret_access_key"));
    let external_id = secret_of("assume_role_external_id");
    let role = section.text("assume_role_arn", faults);
    for (key, other) in [
        ("access_key_id", "secret_access_key"),
        ("secret_access_key", "access_key_id"),
        ("assume_role_external_id", "assume_role_arn"),
    ] {
        if section.has(key) {
            section.require(other, format!("`{key}` needs it"), faults);
        }
    }
    let aggregation = section.read("aggregation", faults, boolean).unwrap_or_default();
    let record_bytes = section.size("record_bytes", KINESIS_RECORD_BYTES, faults);
    if record_bytes.0 == 0 || record_bytes > KINESIS_RECORD_BYTES_MAX {
        let message = format!("must lie between 1 and {KINESIS_RECORD_BYTES_MAX}");
        section.fault("record_bytes", message, faults);
    }
    Some(DestinationKind::Kinesis(KinesisSettings {
        region: region?,
        endpoint_url,
        credentials: id.zip(access_secret),
        assume_role: role.map(|arn| AssumeRole { arn, external_id }),
        aggregation,
        record_bytes: record_bytes.as_usize(),
    }))
}

fn file(
    section: &mut Section<'_>,
    data_dir: &Path,
    known: &mut Known,
    faults: &mut Faults,
) -> Option<DestinationKind> {
    let path = match section.get("path") {
        Some(_) => PathBuf::from(section.text("path", faults)?),
        None => data_dir.join("out"),
    };
    // `./out` and `out` are one folder.
    let folder: PathBuf = path
        .components()
        .filter(|component| *component != std::path::Component::CurDir)
        .collect();
    if let Some(other) = known.paths.get(&folder) {
        let message = format!("{other} writes into this folder too");
        let error = ConfigError::new(section.place_of("path").clone(), section.path("path"), message);
        faults.push(error.suggesting("give each a folder of its own"));
        return None;
    }
    known.paths.insert(folder, section.title().to_owned());
    let usual = FileRotation::default();
    let rotation = FileRotation {
        file_bytes: section.size("file_bytes", usual.file_bytes, faults),
        file_time_s: section.count("file_time_s", usual.file_time_s, faults),
        retention_days: section
            .read("retention_days", faults, |node| {
                whole_number(node, RETENTION_DAYS_MAX)
            })
            .and_then(|days| u32::try_from(days).ok()),
    };
    for (key, is_zero) in [
        ("file_bytes", rotation.file_bytes.0 == 0),
        ("file_time_s", rotation.file_time_s == 0),
    ] {
        if is_zero {
            section.fault(key, "must be at least 1", faults);
        }
    }
    Some(DestinationKind::File { path, rotation })
}
