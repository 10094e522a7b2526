//! Partners, types and routes as TOML files: the members of the API's JSON.

use std::{io::Read as _, path::Path};

use serde::Serialize;

use super::failure::Failure;
use crate::{
    config::{
        ConfigError, ConfigErrors,
        section::{Faults, Section, ValueFault, boolean, choice, text, whole_number},
        tree::{self, Node, Value},
    },
    event::PluginName,
    registry::model::{
        Compatibility, Digest, DigestError, Enrichment, Form, Isolation, Partner, Policy, RateLimit, Route,
        RouteMatch, RouteTarget, TypeEntry, UnreadableVersion,
    },
};

/// The API takes no larger body.
const FILE_BYTES_MAX: u64 = 1 << 20;

const POLICIES: [(&str, Policy); 2] = [("quarantine", Policy::Quarantine), ("reject", Policy::Reject)];
const ENRICHMENTS: [(&str, Enrichment); 2] = [
    ("client_ip", Enrichment::ClientIp),
    ("user_agent", Enrichment::UserAgent),
];
const COMPATIBILITIES: [(&str, Compatibility); 4] = [
    ("none", Compatibility::None),
    ("backward", Compatibility::Backward),
    ("forward", Compatibility::Forward),
    ("full", Compatibility::Full),
];
const FORMS: [(&str, Form); 2] = [("sent", Form::Sent), ("latest", Form::Latest)];
const ISOLATIONS: [(&str, Isolation); 2] = [("shared", Isolation::Shared), ("event", Isolation::Event)];
const UNREADABLE_VERSIONS: [(&str, UnreadableVersion); 2] = [
    ("latest", UnreadableVersion::Latest),
    ("quarantine", UnreadableVersion::Quarantine),
];

/// The resource in the file at `path`, `-` being standard input.
pub fn read<T>(path: &Path, resource: fn(&Node, &mut Faults) -> T) -> Result<T, Failure> {
    let (name, text) = read_text(path, FILE_BYTES_MAX)?;
    Ok(parse(&name, &text, resource)?)
}

/// The resource in `text`, the contents of `file`.
pub fn parse<T>(file: &str, text: &str, resource: fn(&Node, &mut Faults) -> T) -> Result<T, ConfigErrors> {
    let (root, syntax) = tree::parse(file, text);
    if !syntax.is_empty() {
        return Err(ConfigErrors::new(syntax));
    }
    let mut faults = Faults::default();
    let value = resource(&root, &mut faults);
    faults.finish(value)
}

/// A file's name for messages, and its text; `-` is standard input.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<(String, String), Failure> {
    let failed = |source| Failure::File {
        path: path.to_owned(),
        source,
    };
    if path == Path::new("-") {
        let mut text = String::new();
        let input = std::io::stdin().lock();
        input.take(bytes_max).read_to_string(&mut text).map_err(failed)?;
        return Ok(("standard input".to_owned(), text));
    }
    let text = crate::config::bounded_text(path, bytes_max).map_err(failed)?;
    Ok((path.display().to_string(), text))
}

/// The TOML file that `resource` could have come from; JSON where TOML cannot hold it.
pub fn to_toml(resource: &impl Serialize) -> String {
    toml::Value::try_from(resource)
        .and_then(|value| toml::to_string_pretty(&value))
        .or_else(|_| serde_json::to_string_pretty(resource))
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

pub fn partner(root: &Node, faults: &mut Faults) -> Partner {
    let mut section = Section::root(root);
    let partner = Partner {
        description: section.text("description", faults).unwrap_or_default(),
        source: section.text("source", faults),
        policy: section
            .read("policy", faults, |node| choice(node, &POLICIES))
            .unwrap_or_default(),
        envelope: section.get("envelope").map(Node::to_json),
        rate_limit: section.has("rate_limit").then(RateLimit::default),
        origins: section.read("origins", faults, texts).unwrap_or_default(),
        client_certificates: section
            .read("client_certificates", faults, digests)
            .unwrap_or_default(),
        enrich: section.read("enrich", faults, enrichments).unwrap_or_default(),
        truncate_ip: section.read("truncate_ip", faults, boolean).unwrap_or_default(),
    };
    let mut limits = section.section("rate_limit", faults);
    let rate_limit = partner.rate_limit.map(|_| RateLimit {
        events_per_s: positive(&mut limits, "events_per_s", faults),
        bytes_per_s: positive(&mut limits, "bytes_per_s", faults),
        burst: positive(&mut limits, "burst", faults),
        events_per_day: positive(&mut limits, "events_per_day", faults),
    });
    limits.finish(faults);
    section.finish(faults);
    Partner {
        rate_limit,
        ..partner
    }
}

pub fn type_entry(root: &Node, faults: &mut Faults) -> TypeEntry {
    let mut section = Section::root(root);
    let entry = TypeEntry {
        description: section.text("description", faults).unwrap_or_default(),
        compatibility: section
            .read("compatibility", faults, |node| choice(node, &COMPATIBILITIES))
            .unwrap_or_default(),
        unreadable_version: section
            .read("unreadable_version", faults, |node| {
                choice(node, &UNREADABLE_VERSIONS)
            })
            .unwrap_or_default(),
        mask: section.read("mask", faults, texts).unwrap_or_default(),
    };
    section.finish(faults);
    entry
}

pub fn route(root: &Node, faults: &mut Faults) -> Route {
    let mut section = Section::root(root);
    let mut matched = section.section("match", faults);
    let default = RouteMatch::default();
    let matches = RouteMatch {
        partner: matched.text("partner", faults).unwrap_or(default.partner),
        event_type: matched.text("type", faults).unwrap_or(default.event_type),
        source: matched.text("source", faults).unwrap_or(default.source),
    };
    matched.finish(faults);
    let form = section
        .read("form", faults, |node| choice(node, &FORMS))
        .unwrap_or_default();
    let plugin = section.read("plugin", faults, |node| {
        text(node)?
            .parse::<PluginName>()
            .map_err(|error| (error.to_string(), None))
    });
    let config = section.get("config").map(Node::to_json);
    let isolation = section.read("isolation", faults, |node| choice(node, &ISOLATIONS));
    for (key, is_given, message) in [
        ("config", config.is_some(), "is for a plugin, and none is named"),
        (
            "isolation",
            isolation.is_some(),
            "is of a plugin's instances, and none is named",
        ),
    ] {
        if is_given && !section.has("plugin") {
            let error = ConfigError::new(section.place_of(key).clone(), key, message);
            faults.push(error.suggesting("write plugin = \"NAME\", or leave it out"));
        }
    }
    let to = targets(&mut section, faults);
    section.finish(faults);
    Route {
        matches,
        form,
        plugin,
        config,
        isolation: isolation.unwrap_or_default(),
        to,
    }
}

fn targets(section: &mut Section<'_>, faults: &mut Faults) -> Vec<RouteTarget> {
    let suggestion = "name at least one destination: [[to]] and destination = \"files\"";
    section.require("to", suggestion, faults);
    let Some(node) = section.get("to") else {
        return Vec::new();
    };
    let Value::Array(items) = &node.value else {
        let message = format!("is {}, and must be a list of tables", node.value.kind());
        faults.push(
            ConfigError::new(node.place.clone(), "to", message).suggesting("write [[to]], with two brackets"),
        );
        return Vec::new();
    };
    if items.is_empty() {
        faults.push(ConfigError::new(node.place.clone(), "to", "is empty").suggesting(suggestion));
    }
    let mut targets = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(mut target) = Section::of(item, format!("to[{index}]"), "to", faults) else {
            continue;
        };
        target.require(
            "destination",
            "give the name of a destination of the configuration",
            faults,
        );
        targets.push(RouteTarget {
            destination: target.text("destination", faults).unwrap_or_default(),
            topic: target.text("topic", faults),
            key: target.text("key", faults),
        });
        target.finish(faults);
    }
    targets
}

fn positive<N: TryFrom<u64> + Bounds>(
    section: &mut Section<'_>,
    key: &'static str,
    faults: &mut Faults,
) -> Option<N> {
    let number = section.read(key, faults, |node| match whole_number(node, N::MOST)? {
        0 => Err(("must be at least 1".to_owned(), None)),
        number => Ok(number),
    })?;
    N::try_from(number).ok()
}

trait Bounds {
    /// The largest number that TOML and the API both can hold.
    const MOST: u64;
}

impl Bounds for u32 {
    const MOST: u64 = u32::MAX as u64;
}

impl Bounds for u64 {
    const MOST: u64 = i64::MAX as u64;
}

fn digests(node: &Node) -> Result<Vec<Digest>, ValueFault> {
    texts(node)?
        .iter()
        .enumerate()
        .map(|(index, text)| {
            text.parse()
                .map_err(|error: DigestError| (format!("[{index}] {error}"), None))
        })
        .collect()
}

fn enrichments(node: &Node) -> Result<Vec<Enrichment>, ValueFault> {
    let Value::Array(items) = &node.value else {
        let message = format!("is {}, and must be a list of strings", node.value.kind());
        return Err((message, None));
    };
    items.iter().map(|item| choice(item, &ENRICHMENTS)).collect()
}

fn texts(node: &Node) -> Result<Vec<String>, ValueFault> {
    let Value::Array(items) = &node.value else {
        return Err((
            format!("is {}, and must be a list of strings", node.value.kind()),
            None,
        ));
    };
    items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            text(item)
                .map(str::to_owned)
                .map_err(|(message, suggestion)| (format!("[{index}] {message}"), suggestion))
        })
        .collect()
}
