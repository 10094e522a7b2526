//! The configuration's text becomes steps; every error at once, each with the pointer of what is wrong and what to do.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value as Json};

use crate::{
    bounds::{ENTRIES_MAX, ROWS_MAX, SALT_CHARACTERS_MIN, STEPS_MAX, TEXT_BYTES_MAX},
    functions::Table,
    place,
    plan::may_change,
    steps::{Action, Otherwise, Step},
};

mod actions;
#[cfg(test)]
pub use actions::NAMES as STEP_NAMES;
mod conditions;

/// Of one configuration; more are counted.
const ERRORS_SHOWN: usize = 10;

pub type Members = Map<String, Json>;

/// Reads a configuration, and remembers what is wrong with it.
pub struct Reader {
    errors: Vec<String>,
    entries: usize,
    tables: BTreeMap<String, Arc<Table>>,
    salt: Option<Arc<[u8]>>,
}

pub fn read(config: &Json) -> Result<Vec<Step>, String> {
    let mut reader = Reader {
        errors: Vec::new(),
        entries: 0,
        tables: BTreeMap::new(),
        salt: None,
    };
    let steps = reader.configuration(config);
    if reader.entries > ENTRIES_MAX {
        let entries = reader.entries;
        reader.error(
            "/steps",
            format!("the steps have {entries} entries: at most {ENTRIES_MAX}"),
        );
    }
    if reader.errors.is_empty() {
        return Ok(steps);
    }
    let more = reader.errors.len().saturating_sub(ERRORS_SHOWN);
    reader.errors.truncate(ERRORS_SHOWN);
    if more > 0 {
        reader.errors.push(format!("and {more} more"));
    }
    Err(reader.errors.join(" | "))
}

impl Reader {
    pub fn error(&mut self, at: &str, reason: impl AsRef<str>) {
        let at = if at.is_empty() { "the configuration" } else { at };
        self.errors.push(format!("{at}: {}", reason.as_ref()));
    }

    fn configuration(&mut self, config: &Json) -> Vec<Step> {
        let Some(members) = self.object("", config) else {
            return Vec::new();
        };
        self.known("", members, &["salt", "steps", "tables"]);
        match members.get("salt") {
            None => {}
            Some(Json::String(salt)) if salt.chars().count() >= SALT_CHARACTERS_MIN => {
                self.salt = Some(salt.as_bytes().into());
            }
            Some(_) => self.error(
                "/salt",
                format!("a text of {SALT_CHARACTERS_MIN} characters or more, kept secret"),
            ),
        }
        if let Some(tables) = members.get("tables") {
            self.tables(tables);
        }
        let steps = match members.get("steps") {
            Some(Json::Array(steps)) if !steps.is_empty() => steps,
            _ => {
                self.error("/steps", "a list of steps, such as [{\"remove\": [\"/email\"]}]");
                return Vec::new();
            }
        };
        if steps.len() > STEPS_MAX {
            self.error("/steps", format!("{} steps: at most {STEPS_MAX}", steps.len()));
            return Vec::new();
        }
        let read = steps.iter().enumerate();
        read.filter_map(|(index, step)| self.step(&format!("/steps/{index}"), step))
            .collect()
    }

    fn tables(&mut self, tables: &Json) {
        let Some(tables) = self.object("/tables", tables) else {
            return;
        };
        let mut rows = 0;
        for (name, table) in tables {
            let at = join("/tables", name);
            if let Some(table) = self.object(&at, table) {
                rows += table.len();
                let table: Table = table
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                self.tables.insert(name.clone(), Arc::new(table));
            }
        }
        if rows > ROWS_MAX {
            self.error(
                "/tables",
                format!("the tables have {rows} rows: at most {ROWS_MAX}"),
            );
        }
    }

    fn step(&mut self, at: &str, step: &Json) -> Option<Step> {
        let members = self.object(at, step)?;
        let when = members
            .get("when")
            .and_then(|when| self.condition(&format!("{at}/when"), when, 0));
        let otherwise = self.otherwise(at, members.get("otherwise"));
        let named: Vec<&String> = members
            .keys()
            .filter(|name| !["when", "otherwise", "note"].contains(&name.as_str()))
            .collect();
        let [name] = named.as_slice() else {
            self.error(
                at,
                format!(
                    "a step does one thing, this one {}; it is one of {}",
                    if named.is_empty() {
                        "none".to_owned()
                    } else {
                        format!("{named:?}")
                    },
                    actions::NAMES.join(", ")
                ),
            );
            return None;
        };
        if members.get("note").is_some_and(|note| !note.is_string()) {
            self.error(
                &format!("{at}/note"),
                "a text for whoever reads the configuration",
            );
        }
        let (action, takes_otherwise) = self.action(&join(at, name), name, members.get(*name)?)?;
        if members.contains_key("otherwise") && !takes_otherwise {
            self.error(
                &format!("{at}/otherwise"),
                format!("{name} never fails: leave it out"),
            );
        }
        if matches!((&action, &otherwise), (Action::Split(_), Otherwise::Set(_))) {
            self.error(
                &format!("{at}/otherwise"),
                "a split has \"reject\", \"keep\" (one record) or \"remove\" (none)",
            );
        }
        let step = Step {
            pointer: at.to_owned(),
            when,
            action,
            otherwise,
        };
        self.apart(&step);
        Some(step)
    }

    /// The entries of one step have no order: none may change what another reads or changes.
    fn apart(&mut self, step: &Step) {
        let changes = step.changes();
        for (index, one) in changes.iter().enumerate() {
            for (other_index, other) in changes.iter().enumerate() {
                let reads = other.reads.iter().map(|read| (*read, true));
                // Each pair of writes is seen from both sides.
                let writes = other.writes.iter().map(|write| (*write, index < other_index));
                let touched = reads.chain(writes).find_map(|(touched, counts)| {
                    let by = one.writes.iter().find(|write| may_change(write, touched));
                    by.filter(|_| counts && index != other_index)
                        .map(|by| (*by, touched))
                });
                if let Some((by, touched)) = touched {
                    let reason =
                        format!("{by:?} and {touched:?} touch each other: give each a step of its own");
                    return self.error(&step.pointer, reason);
                }
            }
        }
    }

    fn otherwise(&mut self, at: &str, otherwise: Option<&Json>) -> Otherwise {
        match otherwise {
            None => Otherwise::Reject,
            Some(Json::String(name)) if name == "reject" => Otherwise::Reject,
            Some(Json::String(name)) if name == "keep" => Otherwise::Keep,
            Some(Json::String(name)) if name == "remove" => Otherwise::Remove,
            Some(Json::Object(members)) if members.len() == 1 && members.contains_key("set") => {
                Otherwise::Set(members["set"].clone().into())
            }
            Some(_) => {
                self.error(
                    &format!("{at}/otherwise"),
                    "one of \"reject\" (the default), \"keep\", \"remove\" and {\"set\": VALUE}",
                );
                Otherwise::Reject
            }
        }
    }

    /// A JSON object; anything else is an error.
    pub fn object<'c>(&mut self, at: &str, value: &'c Json) -> Option<&'c Members> {
        let found = value.as_object();
        if found.is_none() {
            self.error(at, "an object");
        }
        found
    }

    /// An object with entries, each counted.
    pub fn entries<'c>(&mut self, at: &str, value: &'c Json, example: &str) -> Option<&'c Members> {
        match value {
            Json::Object(entries) if !entries.is_empty() => {
                self.entries += entries.len();
                Some(entries)
            }
            _ => {
                self.error(at, format!("an object with entries, such as {example}"));
                None
            }
        }
    }

    pub fn count(&mut self, entries: usize) {
        self.entries += entries;
    }

    pub fn known(&mut self, at: &str, members: &Members, known: &[&str]) {
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            self.error(
                &join(at, name),
                format!("no such member; here stand {}", known.join(", ")),
            );
        }
    }

    pub fn text<'c>(&mut self, at: &str, value: &'c Json, example: &str) -> Option<&'c str> {
        match value {
            Json::String(text) if text.len() <= TEXT_BYTES_MAX => Some(text),
            Json::String(_) => {
                self.error(at, format!("at most {TEXT_BYTES_MAX} bytes"));
                None
            }
            _ => {
                self.error(at, format!("a text, such as {example}"));
                None
            }
        }
    }

    /// A pointer into the data to change something at.
    pub fn target(&mut self, at: &str, pointer: &str) -> Option<String> {
        let checked = if pointer.is_empty() {
            Err("the whole of the data cannot be changed at once: name a member, or use pick".to_owned())
        } else if pointer.starts_with('@') {
            Err(format!("{pointer:?}: the event's attributes cannot be changed"))
        } else if pointer.len() > TEXT_BYTES_MAX {
            Err(format!("at most {TEXT_BYTES_MAX} bytes"))
        } else {
            place::is_pointer(pointer)
        };
        match checked {
            Ok(()) => Some(pointer.to_owned()),
            Err(reason) => {
                self.error(at, reason);
                None
            }
        }
    }

    /// What to read.
    pub fn source(&mut self, at: &str, text: &str) -> Option<place::Place> {
        match place::Place::parse(text) {
            Ok(place) => Some(place),
            Err(reason) => {
                self.error(at, reason);
                None
            }
        }
    }
}

/// A pointer into the configuration.
pub fn join(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// One of named things, or an error that lists them.
pub fn one_of<T: Clone>(known: &[(&str, T)], name: &str) -> Result<T, String> {
    let found = known.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value.clone()).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        format!("{name:?} is none of {}", names.join(", "))
    })
}
