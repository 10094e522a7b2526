//! Postbacks of mobile measurement partners, each with its own names and spellings, become one normal form. See README.md.

mod dialects;
mod members;
mod parameters;

use std::collections::{BTreeMap, BTreeSet};

use headworks_plugin::{Document, Event, Failure, Output, Plugin, Value, plugin, rejected};
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::Sha256;

use dialects::Partner;
use members::{DEVICE_IDS, Kind, MEMBERS, Member, Personal, Times};
use parameters::Parameters;

const SALT_CHARACTERS_MIN: usize = 16;
/// Of each of `parameters`, `events` and `drop`: an event looks all of them up.
const ENTRIES_MAX: usize = 200;

/// The route's configuration. No `Debug`: the salt is a secret.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whose names the parameters have.
    partner: Partner,
    #[serde(default)]
    times: Times,
    /// From a parameter to a member of the normal form; before the partner's own.
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    /// From the partner's name of an event to the company's; before those that are known.
    #[serde(default)]
    events: BTreeMap<String, String>,
    #[serde(default)]
    hash: Vec<Personal>,
    salt: Option<String>,
    /// Parameters that go nowhere.
    #[serde(default)]
    drop: Vec<String>,
}

/// The plugin, configured.
pub struct Attribution {
    partner: Partner,
    times: Times,
    parameters: Vec<(String, &'static Member)>,
    /// The left side in lower case.
    events: BTreeMap<String, String>,
    hash: Vec<Personal>,
    salt: Vec<u8>,
    drop: Vec<String>,
}

impl Plugin for Attribution {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        for (pointer, entries) in [
            ("/parameters", config.parameters.len()),
            ("/events", config.events.len()),
            ("/drop", config.drop.len()),
        ] {
            if entries > ENTRIES_MAX {
                return Err(format!("{pointer} has {entries} entries: at most {ENTRIES_MAX}"));
            }
        }
        let salt = config.salt.unwrap_or_default();
        if !config.hash.is_empty() && salt.chars().count() < SALT_CHARACTERS_MIN {
            return Err(format!(
                "/salt is missing or too short for /hash: {SALT_CHARACTERS_MIN} characters or more, kept secret"
            ));
        }
        let known = config.partner.parameters().iter();
        let known = known.map(|(parameter, member)| ((*parameter).to_owned(), *member));
        let mut parameters = Vec::new();
        for (parameter, name) in &config.parameters {
            parameters.push((parameter.clone(), by_name(parameter, name)?));
        }
        parameters.extend(
            known
                .filter(|(parameter, _)| !config.parameters.contains_key(parameter))
                .filter_map(|(parameter, name)| Some((parameter, Member::by_name(name)?))),
        );
        let known = config.partner.events().iter();
        let mut events: BTreeMap<String, String> = known
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect();
        events.extend(
            config
                .events
                .into_iter()
                .map(|(from, to)| (from.to_lowercase(), to)),
        );
        Ok(Attribution {
            partner: config.partner,
            times: config.times,
            parameters,
            events,
            hash: config.hash,
            salt: salt.into_bytes(),
            drop: config.drop,
        })
    }

    fn transform(&self, event: Event) -> Result<Vec<Output>, Failure> {
        let json = event.data.to_json()?;
        let mut sent = Parameters::read(&json)?;
        for name in &self.drop {
            sent.take(name);
        }
        let found = self.find(&mut sent)?;
        let mut record = self.record(found)?;
        if let Some(rest) = sent.rest() {
            record.set("/other", Value::Json(rest));
        }
        Ok(vec![record.into()])
    }
}

fn by_name(parameter: &str, name: &str) -> Result<&'static Member, String> {
    Member::by_name(name).ok_or_else(|| {
        let pointer = format!("/parameters/{}", parameter.replace('~', "~0").replace('/', "~1"));
        let names: Vec<&str> = MEMBERS.iter().map(|member| member.name).collect();
        format!(
            "{pointer}: the normal form has no member {name:?}; it has {}",
            names.join(", ")
        )
    })
}

/// What one member of the normal form holds.
enum Found {
    Text(String),
    Flag(bool),
    Time(Timestamp),
    Texts(Vec<String>),
    /// A JSON number.
    Number(String),
}

type Members = BTreeMap<&'static str, Found>;

impl Attribution {
    /// Takes out of what was sent all that the normal form has a place for.
    fn find(&self, sent: &mut Parameters<'_>) -> Result<Members, Failure> {
        let mut found = Members::new();
        let mut decided = BTreeSet::new();
        for (parameter, member) in &self.parameters {
            let is_hidden = member
                .personal()
                .is_some_and(|personal| self.hash.contains(&personal));
            // A second parameter of a member stands among the rest, but where nobody may read it.
            if decided.contains(member.name) && !is_hidden {
                continue;
            }
            // Such a parameter says more than this.
            let value = match member.kind {
                Kind::Organic => sent.look(parameter),
                _ => sent.take(parameter),
            };
            let Some(value) = value else {
                continue;
            };
            let value = match member.kind {
                Kind::Texts => {
                    let texts = parameters::texts(parameter, value)?;
                    (!texts.is_empty()).then_some(Found::Texts(texts))
                }
                kind => match parameters::text(parameter, value)? {
                    Some(text) => read(parameter, kind, text)?,
                    None => None,
                },
            };
            if let Some(value) = value
                && decided.insert(member.name)
            {
                found.insert(member.name, value);
            }
        }
        Ok(found)
    }

    fn record(&self, mut found: Members) -> Result<Document, Failure> {
        let Some(Found::Text(event_name)) = found.remove("event") else {
            let names = self
                .parameters
                .iter()
                .filter(|(_, member)| member.name == "event");
            let names: Vec<&str> = names.map(|(parameter, _)| parameter.as_str()).collect();
            return Err(rejected(format!(
                "no event is named: {} holds nothing",
                names.join(" or ")
            )));
        };
        settle_credit(&mut found);
        settle_device(&mut found);
        let mut record = Document::from_json("{}")?;
        let event = self.event(&event_name);
        record.set("/event", event.as_str());
        if event != event_name {
            record.set("/event_name", event_name);
        }
        record.set("/measured_by", self.partner.name());
        for member in &MEMBERS {
            let Some(value) = found.remove(member.name) else {
                continue;
            };
            let hidden = member.personal().filter(|personal| self.hash.contains(personal));
            match value {
                Found::Text(text) if hidden.is_some() => record.set(member.pointer, self.hash(&text)),
                Found::Text(text) => record.set(member.pointer, text),
                Found::Flag(flag) => record.set(member.pointer, flag),
                Found::Number(number) => record.set(member.pointer, Value::Json(number)),
                Found::Texts(texts) => record.set_serialize(member.pointer, &texts)?,
                Found::Time(time) => match self.times {
                    Times::Rfc3339 => record.set(member.pointer, time.to_string()),
                    Times::EpochS => record.set(member.pointer, time.as_second()),
                    Times::EpochMs => record.set(member.pointer, time.as_millisecond()),
                },
            }
        }
        Ok(record)
    }

    fn event(&self, name: &str) -> String {
        const COMMON: [&str; 4] = ["install", "reinstall", "open", "purchase"];
        let lower = name.to_lowercase();
        match self.events.get(&lower) {
            Some(event) => event.clone(),
            None if COMMON.contains(&lower.as_str()) => lower,
            None => name.to_owned(),
        }
    }

    fn hash(&self, text: &str) -> String {
        // A key of any length is taken.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.salt).expect("HMAC takes keys of every length");
        mac.update(text.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

/// None where the parameter holds nothing after all.
fn read(parameter: &str, kind: Kind, text: String) -> Result<Option<Found>, Failure> {
    // Without the value itself: the reason is shown to people who may not see it.
    let refused = |expected: &str| rejected(format!("{parameter} is no {expected}"));
    Ok(Some(match kind {
        Kind::Text | Kind::UserId | Kind::Texts => Found::Text(text),
        Kind::LowerCase => Found::Text(text.to_lowercase()),
        Kind::UpperCase => Found::Text(text.to_uppercase()),
        Kind::Os => Found::Text(members::os(&text)),
        Kind::DeviceId => match members::device_id(&text) {
            Some(id) => Found::Text(id),
            None => return Ok(None),
        },
        Kind::Ip => Found::Text(
            text.parse()
                .map_or(text, |address: std::net::IpAddr| address.to_string()),
        ),
        Kind::Time => match members::time(&text) {
            Some(Some(time)) => Found::Time(time),
            Some(None) => return Ok(None),
            None => {
                return Err(refused(
                    "time such as 2026-11-02 10:15:30, 2026-11-02T10:15:30+09:00 or 1793400120",
                ));
            }
        },
        Kind::Amount => match serde_json::from_str(&text) {
            Ok(serde_json::Value::Number(_)) => Found::Number(text),
            _ => return Err(refused("amount such as 1500 or 12.5")),
        },
        Kind::Currency if members::is_currency(&text) => Found::Text(text.to_uppercase()),
        Kind::Currency => return Err(refused("currency such as KRW")),
        Kind::Flag => Found::Flag(members::flag(&text).ok_or_else(|| refused("boolean such as true or 1"))?),
        Kind::Organic => Found::Flag(members::flag(&text).unwrap_or(members::is_nobody(&text))),
    }))
}

/// Says whether somebody is credited, and whom: partners say it by a flag, by the network's name, or by sending none.
fn settle_credit(found: &mut Members) {
    let flag = |value: Option<Found>| match value {
        Some(Found::Flag(flag)) => Some(flag),
        _ => None,
    };
    let network_is_organic = match found.get("network") {
        Some(Found::Text(network)) => Some(members::is_nobody(network)),
        _ => None,
    };
    let organic = flag(found.remove("organic")).filter(|organic| *organic || network_is_organic.is_none());
    let attributed = flag(found.remove("attributed"))
        .or(organic.map(|organic| !organic))
        .or(network_is_organic.map(|organic| !organic));
    if let Some(attributed) = attributed {
        found.insert("attributed", Found::Flag(attributed));
        if !attributed && network_is_organic != Some(false) {
            found.insert("network", Found::Text("organic".to_owned()));
        }
    }
    // Nothing was touched where nobody is credited.
    let through_view = flag(found.remove("view_through"));
    if let Some(through_view) = through_view.filter(|_| attributed != Some(false)) {
        let touch = if through_view { "impression" } else { "click" };
        found
            .entry("touch_type")
            .or_insert_with(|| Found::Text(touch.to_owned()));
    }
}

/// The id that stands for the device, and its system where only an id tells it.
fn settle_device(found: &mut Members) {
    let known: Vec<(&'static str, String)> = DEVICE_IDS
        .into_iter()
        .filter_map(|name| match found.get(name) {
            Some(Found::Text(id)) => Some((name, id.clone())),
            _ => None,
        })
        .collect();
    if let Some((_, id)) = known.first() {
        found
            .entry("device_id")
            .or_insert_with(|| Found::Text(id.clone()));
    }
    let os = known.iter().find_map(|(name, _)| match *name {
        "idfa" | "idfv" => Some("ios"),
        "gaid" | "android_id" => Some("android"),
        _ => None,
    });
    if let Some(os) = os {
        found.entry("os").or_insert_with(|| Found::Text(os.to_owned()));
    }
}

plugin!(Attribution);

#[cfg(test)]
mod tests;
