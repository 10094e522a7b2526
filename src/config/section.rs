//! Reading a table of the tree: each key that is asked for is a known key, all others are faults.

use std::collections::BTreeSet;

use crate::limits::ByteSize;

use super::{
    error::{ConfigError, ConfigErrors, Place},
    tree::{Member, Node, Value},
};

/// Gathers faults, and the keys that were asked for, while a tree is read.
#[derive(Debug, Default)]
pub struct Faults {
    errors: Vec<ConfigError>,
    unknown: Vec<Unknown>,
    known: BTreeSet<String>,
}

#[derive(Debug)]
struct Unknown {
    place: Place,
    section: String,
    pattern: String,
    key: String,
    siblings: Vec<&'static str>,
}

impl Faults {
    pub fn push(&mut self, error: ConfigError) {
        self.errors.push(error);
    }

    /// Every key that was asked for, as `section.key`.
    #[cfg(test)]
    pub fn known(&self) -> &BTreeSet<String> {
        &self.known
    }

    pub fn into_vec(self) -> Vec<ConfigError> {
        let Faults {
            mut errors,
            unknown,
            known,
        } = self;
        for Unknown {
            place,
            section,
            pattern,
            key,
            siblings,
        } in unknown
        {
            let suggestion = closest(&key, siblings.iter().copied())
                .map(|sibling| format!("did you mean `{sibling}`?"))
                .or_else(|| elsewhere(&pattern, &key, &known))
                .unwrap_or_else(|| known_keys(&section, &siblings));
            errors.push(ConfigError::new(place, join(&section, &key), "unknown key").suggesting(suggestion));
        }
        errors
    }

    /// `value`, unless there are faults.
    pub fn finish<T>(self, value: T) -> Result<T, ConfigErrors> {
        let errors = self.into_vec();
        if errors.is_empty() {
            Ok(value)
        } else {
            Err(ConfigErrors::new(errors))
        }
    }
}

/// The name of `names` that `name` was most likely meant to be.
pub fn closest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    /// A shorter beginning says too little.
    const BEGINNING_BYTES: usize = 4;
    let folded = name.to_ascii_lowercase().replace('-', "_");
    let distance = |known: &str| {
        let known = known.replace('-', "_");
        let distance = strsim::damerau_levenshtein(&folded, &known);
        let begins =
            |longer: &str, shorter: &str| shorter.len() >= BEGINNING_BYTES && longer.starts_with(shorter);
        let alike = distance <= (folded.len().max(known.len()) / 3).max(1)
            || begins(&known, &folded)
            || begins(&folded, &known);
        alike.then_some(distance)
    };
    names
        .into_iter()
        .filter_map(|known| distance(known).map(|distance| (distance, known)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Tables of which there may be many.
const LISTS: [&str; 2] = ["destination", "to"];

fn elsewhere(pattern: &str, key: &str, known: &BTreeSet<String>) -> Option<String> {
    known.iter().find_map(|path| {
        let (section, name) = path.rsplit_once('.')?;
        let table = if LISTS.contains(&section) {
            format!("[[{section}]]")
        } else {
            format!("[{section}]")
        };
        (name == key && section != pattern).then(|| format!("it belongs in {table}"))
    })
}

fn known_keys(section: &str, siblings: &[&str]) -> String {
    let mut sorted = siblings.to_vec();
    sorted.sort_unstable();
    if section.is_empty() {
        format!("known: {}", sorted.join(", "))
    } else {
        format!("known in {section}: {}", sorted.join(", "))
    }
}

pub fn join(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

/// A fault of a value, without its place: the message and what to do.
pub type ValueFault = (String, Option<String>);

/// One table, while it is read.
#[derive(Debug)]
pub struct Section<'t> {
    /// For messages: `destination.events`.
    path: String,
    /// For the list of known keys: `destination`.
    pattern: String,
    place: Place,
    members: &'t [Member],
    asked: Vec<&'static str>,
}

impl<'t> Section<'t> {
    /// The whole of a tree; a root that is no table counts as empty.
    pub fn root(node: &'t Node) -> Section<'t> {
        Section {
            path: String::new(),
            pattern: String::new(),
            place: node.place.clone(),
            members: members(node).unwrap_or(&[]),
            asked: Vec::new(),
        }
    }

    /// `node` as the table `path`; a fault where it is none.
    pub fn of(
        node: &'t Node,
        path: impl Into<String>,
        pattern: impl Into<String>,
        faults: &mut Faults,
    ) -> Option<Section<'t>> {
        let path = path.into();
        let Some(members) = members(node) else {
            faults.push(ConfigError::new(
                node.place.clone(),
                path,
                format!("is {}, and must be a table", node.value.kind()),
            ));
            return None;
        };
        Some(Section {
            path,
            pattern: pattern.into(),
            place: node.place.clone(),
            members,
            asked: Vec::new(),
        })
    }

    pub fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// `destination.events`; empty for the root.
    pub fn title(&self) -> &str {
        &self.path
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The value of `key`, which thereby is a known key of this table.
    pub fn get(&mut self, key: &'static str) -> Option<&'t Node> {
        self.asked.push(key);
        self.members
            .iter()
            .find(|member| member.key == key)
            .map(|member| &member.node)
    }

    /// Where `key` is written; this table's place where it is not.
    pub fn place_of(&self, key: &str) -> &Place {
        self.members
            .iter()
            .find(|member| member.key == key)
            .map_or(&self.place, |member| &member.node.place)
    }

    pub fn has(&self, key: &str) -> bool {
        self.members.iter().any(|member| member.key == key)
    }

    /// The first of `keys` that is written in this table.
    pub fn written<'k>(&self, keys: &[&'k str]) -> Option<&'k str> {
        keys.iter().copied().find(|key| self.has(key))
    }

    /// The table `key`; an empty one where it is absent or no table.
    pub fn section(&mut self, key: &'static str, faults: &mut Faults) -> Section<'t> {
        let path = self.path(key);
        let pattern = join(&self.pattern, key);
        self.get(key)
            .and_then(|node| Section::of(node, path.clone(), pattern.clone(), faults))
            .unwrap_or(Section {
                path,
                pattern,
                place: self.place.clone(),
                members: &[],
                asked: Vec::new(),
            })
    }

    /// What `read` makes of the value of `key`; none where it is absent or at fault.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        faults: &mut Faults,
        read: impl FnOnce(&Node) -> Result<T, ValueFault>,
    ) -> Option<T> {
        let node = self.get(key)?;
        match read(node) {
            Ok(value) => Some(value),
            Err((message, suggestion)) => {
                let mut error = ConfigError::new(node.place.clone(), self.path(key), message);
                error.suggestion = suggestion;
                faults.push(error);
                None
            }
        }
    }

    pub fn text(&mut self, key: &'static str, faults: &mut Faults) -> Option<String> {
        self.read(key, faults, |node| text(node).map(str::to_owned))
    }

    pub fn count(&mut self, key: &'static str, default: u32, faults: &mut Faults) -> u32 {
        self.read(key, faults, |node| whole_number(node, u64::from(u32::MAX)))
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(default)
    }

    pub fn size(&mut self, key: &'static str, default: ByteSize, faults: &mut Faults) -> ByteSize {
        self.read(key, faults, size).unwrap_or(default)
    }

    /// Reports what is wrong with the value of `key`.
    pub fn fault(&self, key: &str, message: impl Into<String>, faults: &mut Faults) {
        faults.push(ConfigError::new(
            self.place_of(key).clone(),
            self.path(key),
            message,
        ));
    }

    /// Reports that `key` is not there.
    pub fn require(&self, key: &str, suggestion: impl Into<String>, faults: &mut Faults) {
        if !self.has(key) {
            // What makes a built-in destination lack something is the kind that it was given.
            let place = match &self.place {
                Place::Default => self.place_of("kind"),
                place => place,
            };
            let error = ConfigError::new(place.clone(), self.path(key), "is missing");
            faults.push(error.suggesting(suggestion).missing());
        }
    }

    /// Reports every key that was not asked for.
    pub fn finish(self, faults: &mut Faults) {
        faults
            .known
            .extend(self.asked.iter().map(|key| join(&self.pattern, key)));
        for member in self.members {
            if !self.asked.contains(&member.key.as_str()) {
                faults.unknown.push(Unknown {
                    place: member.place.clone(),
                    section: self.path.clone(),
                    pattern: self.pattern.clone(),
                    key: member.key.clone(),
                    siblings: self.asked.clone(),
                });
            }
        }
    }
}

fn members(node: &Node) -> Option<&[Member]> {
    match &node.value {
        Value::Table(members) => Some(members),
        _ => None,
    }
}

/// A string that is not empty.
pub fn text(node: &Node) -> Result<&str, ValueFault> {
    match &node.value {
        Value::Text(text) if text.is_empty() => Err(("is empty".to_owned(), None)),
        Value::Text(text) => Ok(text),
        other => Err((format!("is {}, and must be a string", other.kind()), None)),
    }
}

/// A whole number up to `maximum`. A variable's text counts as the number that it spells.
pub fn whole_number(node: &Node, maximum: u64) -> Result<u64, ValueFault> {
    let number = match (&node.value, &node.place) {
        (Value::Integer(number), _) => Some(*number),
        (Value::Text(text), Place::Variable(_)) => text.trim().parse().ok(),
        (Value::Text(text), _) if text.parse::<i64>().is_ok() => {
            let suggestion = format!("write {text} without quotation marks");
            return Err((
                "is a string, and must be a whole number".to_owned(),
                Some(suggestion),
            ));
        }
        (other, _) => return Err((format!("is {}, and must be a whole number", other.kind()), None)),
    };
    number
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| *number <= maximum)
        .ok_or_else(|| (format!("must be a whole number from 0 to {maximum}"), None))
}

/// `true` or `false`. A variable's text counts as what it spells.
pub fn boolean(node: &Node) -> Result<bool, ValueFault> {
    match (&node.value, &node.place) {
        (Value::Boolean(boolean), _) => Ok(*boolean),
        (Value::Text(text), Place::Variable(_)) if text == "true" => Ok(true),
        (Value::Text(text), Place::Variable(_)) if text == "false" => Ok(false),
        (other, _) => Err((format!("is {}, and must be true or false", other.kind()), None)),
    }
}

fn size(node: &Node) -> Result<ByteSize, ValueFault> {
    match &node.value {
        Value::Integer(number) => u64::try_from(*number).map(ByteSize).map_err(|_| {
            (
                "must be a whole number of bytes, such as \"16MiB\"".to_owned(),
                None,
            )
        }),
        Value::Text(text) => text
            .parse()
            .map_err(|error: crate::limits::ByteSizeError| (error.to_string(), binary_unit(text))),
        other => Err((
            format!("is {}, and must be a size, such as \"16MiB\"", other.kind()),
            None,
        )),
    }
}

/// `10GB` was meant to be `10GiB`.
fn binary_unit(text: &str) -> Option<String> {
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let unit = match text.get(digits.len()..)?.trim().to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => "KiB",
        "m" | "mb" | "mib" => "MiB",
        "g" | "gb" | "gib" => "GiB",
        "t" | "tb" | "tib" => "TiB",
        _ => return None,
    };
    let meant = format!("{digits}{unit}");
    meant.parse::<ByteSize>().ok()?;
    Some(format!("did you mean \"{meant}\"?"))
}

/// So much of a value as belongs in a message.
pub fn shown(text: &str) -> String {
    const CHARACTERS: usize = 80;
    text.chars().take(CHARACTERS).collect()
}

/// One of `choices`, by its name.
pub fn choice<T: Copy>(node: &Node, choices: &[(&str, T)]) -> Result<T, ValueFault> {
    let name = text(node)?;
    if let Some((_, value)) = choices.iter().find(|(known, _)| *known == name) {
        return Ok(*value);
    }
    let names = || choices.iter().map(|(known, _)| *known);
    let suggestion = closest(name, names()).map_or_else(
        || format!("known: {}", names().collect::<Vec<_>>().join(", ")),
        |known| format!("did you mean \"{known}\"?"),
    );
    Err((format!("{:?} is not known here", shown(name)), Some(suggestion)))
}
