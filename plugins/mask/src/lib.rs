//! Personal data is dropped, redacted, hashed or truncated: where the configuration says, and where it is found in
//! texts. See README.md.

mod detect;

use std::collections::BTreeMap;

use headworks_plugin::{Event, Failure, Output, Plugin, plugin};
use hmac::{Hmac, Mac};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;

use detect::Detector;

const SALT_CHARACTERS_MIN: usize = 16;
const REDACTED: &str = "***";
/// What `truncate` leaves, at the end.
const CHARACTERS_LEFT: usize = 4;

/// What is done with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The member goes.
    Drop,
    /// `***` stands in its place.
    Redact,
    /// HMAC-SHA-256 under the salt, in hexadecimal: the same value is the same hash.
    Hash,
    /// `***` and the last four characters.
    Truncate,
}

/// The route's configuration. No `Debug`: the salt is a secret.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// By JSON Pointer, in which `*` stands for every member or element.
    #[serde(default)]
    fields: BTreeMap<String, Action>,
    #[serde(default)]
    detect: Detect,
    /// Pointers at and below which nothing is detected.
    #[serde(default)]
    except: Vec<String>,
    salt: Option<String>,
}

/// What is looked for in texts.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Detect {
    card: Option<Action>,
    email: Option<Action>,
    phone: Option<Action>,
}

/// The plugin, configured.
pub struct Mask {
    fields: Vec<(Vec<String>, Action)>,
    except: Vec<Vec<String>>,
    detectors: Vec<(Detector, Action)>,
    salt: Vec<u8>,
}

impl Plugin for Mask {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        let Config {
            fields,
            detect,
            except,
            salt,
        } = config;
        let wanted = [
            (Detector::card as fn() -> Detector, detect.card),
            (Detector::email, detect.email),
            (Detector::phone, detect.phone),
        ];
        let detectors: Vec<_> = wanted
            .into_iter()
            .filter_map(|(detector, action)| Some((detector(), action?)))
            .collect();
        if fields.is_empty() && detectors.is_empty() {
            return Err("nothing is masked: name fields, or what to detect".to_owned());
        }
        let mut actions = fields.values().chain(detectors.iter().map(|(_, action)| action));
        let salt = salt.unwrap_or_default();
        if actions.any(|action| *action == Action::Hash) && salt.chars().count() < SALT_CHARACTERS_MIN {
            return Err(format!(
                "salt is missing or too short for hash: {SALT_CHARACTERS_MIN} characters or more, kept secret"
            ));
        }
        let fields = fields
            .into_iter()
            .map(|(pointer, action)| Ok((tokens(&pointer)?, action)));
        Ok(Mask {
            fields: fields.collect::<Result<_, String>>()?,
            except: except
                .iter()
                .map(|pointer| tokens(pointer))
                .collect::<Result<_, _>>()?,
            detectors,
            salt: salt.into_bytes(),
        })
    }

    fn transform(&self, mut event: Event) -> Result<Vec<Output>, Failure> {
        let data: Value = event.data.get("")?;
        let mut edits = Vec::new();
        self.walk(&data, &mut Vec::new(), &mut edits);
        // From the end: what is dropped from an array moves what stands behind it.
        for (pointer, masked) in edits.into_iter().rev() {
            match masked {
                Some(text) => event.data.set(&pointer, text),
                None => event.data.remove(&pointer),
            }
        }
        Ok(vec![event.data.into()])
    }
}

/// A JSON Pointer's parts.
fn tokens(pointer: &str) -> Result<Vec<String>, String> {
    let unescaped = |token: &str| token.replace("~1", "/").replace("~0", "~");
    match pointer.strip_prefix('/') {
        Some(rest) => Ok(rest.split('/').map(unescaped).collect()),
        None => Err(format!("{pointer:?} is no JSON Pointer such as \"/user/email\"")),
    }
}

fn pointer(path: &[String]) -> String {
    let escaped = |token: &String| format!("/{}", token.replace('~', "~0").replace('/', "~1"));
    path.iter().map(escaped).collect()
}

fn is_at(pattern: &[String], path: &[String]) -> bool {
    pattern.len() == path.len()
        && pattern
            .iter()
            .zip(path)
            .all(|(wanted, token)| wanted == "*" || wanted == token)
}

/// Where, and what stands there instead; none where it goes.
type Edit = (String, Option<String>);

impl Mask {
    fn walk(&self, value: &Value, path: &mut Vec<String>, edits: &mut Vec<Edit>) {
        let field = self.fields.iter().find(|(pattern, _)| is_at(pattern, path));
        if let Some((_, action)) = field {
            if !value.is_null() {
                edits.push((pointer(path), self.mask(value, *action)));
            }
            return;
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    path.push(name.clone());
                    self.walk(member, path, edits);
                    path.pop();
                }
            }
            Value::Array(elements) => {
                for (place, element) in elements.iter().enumerate() {
                    path.push(place.to_string());
                    self.walk(element, path, edits);
                    path.pop();
                }
            }
            Value::String(text) if !self.is_excepted(path) => {
                if let Some(masked) = self.detect(text) {
                    edits.push((pointer(path), masked));
                }
            }
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    fn is_excepted(&self, path: &[String]) -> bool {
        self.except
            .iter()
            .any(|pattern| path.len() >= pattern.len() && is_at(pattern, &path[..pattern.len()]))
    }

    /// None where nothing was found; none within where the whole member goes.
    fn detect(&self, text: &str) -> Option<Option<String>> {
        let mut current = text.to_owned();
        for (detector, action) in &self.detectors {
            let found = detector.find(&current);
            if !found.is_empty() && *action == Action::Drop {
                return Some(None);
            }
            let mut masked = String::with_capacity(current.len());
            let mut end = 0;
            for range in found {
                masked.push_str(&current[end..range.start]);
                end = range.end;
                masked.push_str(&self.mask_text(&current[range], *action));
            }
            masked.push_str(&current[end..]);
            current = masked;
        }
        (current != text).then_some(Some(current))
    }

    fn mask(&self, value: &Value, action: Action) -> Option<String> {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match action {
            Action::Drop => None,
            // Four characters of an object are nobody's wish.
            Action::Truncate if value.is_object() || value.is_array() => Some(REDACTED.to_owned()),
            action => Some(self.mask_text(&text, action)),
        }
    }

    fn mask_text(&self, text: &str, action: Action) -> String {
        match action {
            Action::Drop | Action::Redact => REDACTED.to_owned(),
            Action::Hash => self.hash(text),
            Action::Truncate => {
                let characters = text.chars().count();
                // A short text would be shown whole.
                let shown = if characters > CHARACTERS_LEFT * 2 {
                    CHARACTERS_LEFT
                } else {
                    0
                };
                let rest: String = text.chars().skip(characters - shown).collect();
                format!("{REDACTED}{rest}")
            }
        }
    }

    fn hash(&self, text: &str) -> String {
        // A key of any length is taken.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.salt).expect("HMAC takes keys of every length");
        mac.update(text.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

plugin!(Mask);

#[cfg(test)]
mod tests;
