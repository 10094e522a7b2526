use std::sync::Arc;

use serde_json::Value as Json;

use super::{Reader, join, one_of};
use crate::{
    functions::{CASTS, Cast, Function, TEXT_CHANGES, TIME_FORMS, TimeCast, offset},
    place::Place,
    steps::{Action, Derivation, Output, Split},
    template::Template,
};

pub const NAMES: [&str; 16] = [
    "set",
    "template",
    "copy",
    "rename",
    "remove",
    "pick",
    "cast",
    "text",
    "hash",
    "map",
    "parse_url",
    "parse_user_agent",
    "split",
    "output",
    "reject",
    "drop",
];

impl Reader {
    /// What a step does, and whether it may be unable to.
    pub(super) fn action(&mut self, at: &str, name: &str, value: &Json) -> Option<(Action, bool)> {
        let action = match name {
            "set" => (self.set(at, value)?, false),
            "template" => (self.template(at, value)?, true),
            "copy" => (
                self.derive(at, value, true, |_, _, _| Some(Function::Same))?,
                false,
            ),
            "rename" => (self.rename(at, value)?, false),
            "remove" => (Action::Remove(self.pointers(at, value)?), false),
            "pick" => {
                let pointers = self.pointers(at, value)?;
                let places = pointers.iter().map(|pointer| Place::data(pointer)).collect();
                (Action::Pick(places), false)
            }
            "cast" => (self.derive(at, value, false, Reader::cast)?, true),
            "text" => (self.derive(at, value, false, Reader::text_change)?, true),
            "hash" => (self.hash(at, value)?, false),
            "map" => (self.derive(at, value, false, Reader::map)?, true),
            "parse_url" => (
                self.derive(at, value, true, |_, _, _| Some(Function::ParseUrl))?,
                true,
            ),
            "parse_user_agent" => {
                let parse = |_: &mut Reader, _: &str, _: &Json| Some(Function::ParseUserAgent);
                (self.derive(at, value, true, parse)?, true)
            }
            "split" => (self.split(at, value)?, true),
            "output" => (self.output(at, value)?, false),
            "reject" => (
                Action::Reject(self.text(at, value, "\"no user is named\"")?.to_owned()),
                false,
            ),
            "drop" if *value == Json::Bool(true) => (Action::Drop, false),
            "drop" => {
                self.error(at, "true: the record is dropped on purpose, and counted");
                return None;
            }
            _ => {
                self.error(at, format!("no such step; there are {}", NAMES.join(", ")));
                return None;
            }
        };
        Some(action)
    }

    fn set(&mut self, at: &str, value: &Json) -> Option<Action> {
        let entries = self.entries(at, value, r#"{"/source": "web"}"#)?;
        let set = entries
            .iter()
            .filter_map(|(to, value)| Some((self.target(&join(at, to), to)?, value.clone().into())))
            .collect();
        Some(Action::Set(set))
    }

    fn template(&mut self, at: &str, value: &Json) -> Option<Action> {
        let entries = self.entries(at, value, r#"{"/name": "{/first} {/last}"}"#)?;
        let mut templates = Vec::new();
        for (to, text) in entries {
            let at = join(at, to);
            if let (Some(to), Some(template)) = (self.target(&at, to), self.read_template(&at, text)) {
                templates.push((to, template));
            }
        }
        Some(Action::Template(templates))
    }

    fn read_template(&mut self, at: &str, value: &Json) -> Option<Template> {
        let text = self.text(at, value, "\"{/first} {/last}\"")?;
        match Template::parse(text) {
            Ok(template) => {
                self.count(template.len());
                Some(template)
            }
            Err(reason) => {
                self.error(at, reason);
                None
            }
        }
    }

    fn rename(&mut self, at: &str, value: &Json) -> Option<Action> {
        let entries = self.entries(at, value, r#"{"/from": "/to"}"#)?;
        let mut renamed = Vec::new();
        for (from, to) in entries {
            let at = join(at, from);
            let Some(to) = self.text(&at, to, "\"/to\"") else {
                continue;
            };
            if to.starts_with(&format!("{from}/")) {
                self.error(
                    &at,
                    format!("a value cannot be moved into itself: {from} to {to}"),
                );
            } else if let (Some(from), Some(to)) = (self.target(&at, from), self.target(&at, to)) {
                renamed.push((from, to));
            }
        }
        Some(Action::Rename(renamed))
    }

    fn pointers(&mut self, at: &str, value: &Json) -> Option<Vec<String>> {
        let Some(pointers) = value.as_array().filter(|pointers| !pointers.is_empty()) else {
            self.error(at, "a list of pointers, such as [\"/user/email\"]");
            return None;
        };
        self.count(pointers.len());
        let read = pointers.iter().enumerate().filter_map(|(index, pointer)| {
            let at = format!("{at}/{index}");
            let pointer = self.text(&at, pointer, "\"/user/email\"")?;
            self.target(&at, pointer)
        });
        Some(read.collect())
    }

    /// From one place to another where `is_apart`, else at one place with the entry as the function's argument.
    fn derive(
        &mut self,
        at: &str,
        value: &Json,
        is_apart: bool,
        function: impl Fn(&mut Reader, &str, &Json) -> Option<Function>,
    ) -> Option<Action> {
        let example = if is_apart {
            r#"{"/from": "/to"}"#
        } else {
            r#"{"/pointer": "…"}"#
        };
        let entries = self.entries(at, value, example)?;
        let mut derived = Vec::new();
        for (from, argument) in entries {
            let at = join(at, from);
            let Some(by) = function(self, &at, argument) else {
                continue;
            };
            let to = if is_apart {
                self.text(&at, argument, "\"/to\"")
            } else {
                Some(from.as_str())
            };
            let to = to.and_then(|to| self.target(&at, to));
            if let (Some(from), Some(to)) = (self.source(&at, from), to) {
                derived.push(Derivation { from, to, by });
            }
        }
        Some(Action::Derive(derived))
    }

    fn hash(&mut self, at: &str, value: &Json) -> Option<Action> {
        let pointers = self.pointers(at, value)?;
        let Some(salt) = self.salt.clone() else {
            self.error(
                at,
                "a hash needs /salt: a text of 16 characters or more, kept secret",
            );
            return None;
        };
        let hashed = pointers.into_iter().map(|pointer| Derivation {
            from: Place::data(&pointer),
            to: pointer,
            by: Function::Hash(Arc::clone(&salt)),
        });
        Some(Action::Derive(hashed.collect()))
    }

    fn cast(&mut self, at: &str, value: &Json) -> Option<Function> {
        let (name, format, zone) = match value {
            Json::String(name) => (name.as_str(), None, None),
            Json::Object(members) => {
                self.known(at, members, &["to", "format", "offset"]);
                let name = members.get("to").and_then(Json::as_str).unwrap_or_default();
                (name, members.get("format"), members.get("offset"))
            }
            _ => ("", None, None),
        };
        if let Ok(cast) = one_of(&CASTS, name) {
            if format.is_some() || zone.is_some() {
                self.error(at, format!("format and offset are for times, not for {name}"));
            }
            return Some(Function::Cast(cast));
        }
        let Ok(to) = one_of(&TIME_FORMS, name) else {
            self.error(
                at,
                "one of boolean, integer, number, string, rfc3339, epoch_s, epoch_ms, date; a time also as {\"to\": \
                 \"rfc3339\", \"format\": \"%Y%m%d%H%M%S\", \"offset\": \"+09:00\"}",
            );
            return None;
        };
        let format = match format {
            Some(format) => Some(
                self.text(&format!("{at}/format"), format, "\"%Y%m%d%H%M%S\"")?
                    .to_owned(),
            ),
            None => None,
        };
        let Some(offset) = offset(zone.map_or(Some("+00:00"), Json::as_str).unwrap_or_default()) else {
            self.error(&format!("{at}/offset"), "an offset such as \"+09:00\"");
            return None;
        };
        Some(Function::Cast(Cast::Time(TimeCast { to, format, offset })))
    }

    fn text_change(&mut self, at: &str, value: &Json) -> Option<Function> {
        match one_of(&TEXT_CHANGES, value.as_str().unwrap_or_default()) {
            Ok(change) => Some(Function::Text(change)),
            Err(reason) => {
                self.error(at, reason);
                None
            }
        }
    }

    fn map(&mut self, at: &str, value: &Json) -> Option<Function> {
        let table = value.as_str().and_then(|name| self.tables.get(name));
        if table.is_none() {
            let names: Vec<&str> = self.tables.keys().map(String::as_str).collect();
            let reason = if names.is_empty() {
                "the name of a table: write it under /tables".to_owned()
            } else {
                format!("the name of one of /tables: {}", names.join(", "))
            };
            self.error(at, reason);
            return None;
        }
        table.map(|table| Function::Map(Arc::clone(table)))
    }

    fn split(&mut self, at: &str, value: &Json) -> Option<Action> {
        let members = self.object(at, value)?;
        self.count(members.len());
        self.known(at, members, &["each", "into", "index"]);
        let Some(each) = members.get("each").and_then(Json::as_str) else {
            self.error(
                &format!("{at}/each"),
                "the pointer of an array, such as \"/items\"; \"\" for the data itself",
            );
            return None;
        };
        let place = self.source(&format!("{at}/each"), each)?;
        if matches!(place, Place::Attribute(_)) {
            self.error(
                &format!("{at}/each"),
                "an array stands in the data, not in an attribute",
            );
            return None;
        }
        let into = match members.get("into").map(|into| into.as_str().unwrap_or("@")) {
            // The element takes the place of the whole.
            None if each.is_empty() => String::new(),
            Some("") if each.is_empty() => String::new(),
            into => self.target(&format!("{at}/into"), into.unwrap_or(each))?,
        };
        let index = match members.get("index") {
            Some(index) => {
                let at = format!("{at}/index");
                let index = self.text(&at, index, "\"/position\"")?;
                Some(self.target(&at, index)?)
            }
            None => None,
        };
        Some(Action::Split(Split {
            each: place,
            each_pointer: each.to_owned(),
            into,
            index,
        }))
    }

    fn output(&mut self, at: &str, value: &Json) -> Option<Action> {
        let members = self.entries(at, value, r#"{"topic": "orders", "key": "{/order/id}"}"#)?;
        self.known(at, members, &["destination", "topic", "key", "headers"]);
        let mut output = Output::default();
        for (name, value) in members {
            let at = join(at, name);
            let field = match name.as_str() {
                "destination" => &mut output.destination,
                "topic" => &mut output.topic,
                "key" => &mut output.key,
                "headers" => {
                    for (header, value) in self.entries(&at, value, r#"{"origin": "{@source}"}"#)? {
                        if let Some(template) = self.read_template(&join(&at, header), value) {
                            output.headers.push((header.clone(), template));
                        }
                    }
                    continue;
                }
                _ => continue,
            };
            *field = self.read_template(&at, value);
        }
        Some(Action::Output(output))
    }
}
