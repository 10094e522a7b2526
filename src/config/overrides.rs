//! `HEADWORKS__SECTION__KEY`: environment variables laid over the file's tree.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    error::{ConfigError, Place},
    section::Faults,
    tree::{Member, Node, Value},
};

const PREFIX: &str = "HEADWORKS__";
/// `HEADWORKS__DESTINATION__NAME__OPTIONS__SETTING__FILE` has five.
const SEGMENTS_MAX: usize = 8;
/// The name of the destination that there is where none is configured.
pub const DEFAULT_DESTINATION: &str = "files";

/// Lays each variable that begins with `HEADWORKS__` over `root`.
pub fn apply(root: &mut Node, environment: &BTreeMap<String, String>, faults: &mut Faults) {
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let variable = Variable {
            place: Place::Variable(name.as_str().into()),
            value,
        };
        let segments: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        if segments.len() > SEGMENTS_MAX || segments.iter().any(String::is_empty) {
            faults.push(
                ConfigError::new(variable.place, "", "names no setting")
                    .suggesting("write HEADWORKS__SECTION__KEY"),
            );
            continue;
        }
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["destination", target, rest @ ..] if !rest.is_empty() => {
                variable.set_destination(root, target, rest, faults);
            }
            segments => variable.set(root, segments),
        }
    }
}

/// Whether some variable configures a destination other than the default one.
pub fn name_other_destination(environment: &BTreeMap<String, String>) -> bool {
    environment.keys().any(|name| {
        name.strip_prefix(PREFIX)
            .and_then(|rest| {
                rest.to_ascii_lowercase()
                    .strip_prefix("destination__")
                    .map(str::to_owned)
            })
            .and_then(|rest| rest.split("__").next().map(str::to_owned))
            .is_some_and(|target| target != DEFAULT_DESTINATION && target != "0")
    })
}

struct Variable<'e> {
    place: Place,
    value: &'e str,
}

impl Variable<'_> {
    fn node(&self) -> Node {
        Node::text(self.place.clone(), self.value)
    }

    fn set(&self, node: &mut Node, segments: &[&str]) {
        let Some((first, rest)) = segments.split_first() else {
            *node = self.node();
            return;
        };
        let at = self.member(node, first, first);
        self.set(at, rest);
    }

    /// The member of `node` with the key `known` up to case and `-`; a new one with the key `fresh` where there is
    /// none.
    fn member<'n>(&self, node: &'n mut Node, known: &str, fresh: &str) -> &'n mut Node {
        if !matches!(node.value, Value::Table(_)) {
            *node = Node::empty_table(self.place.clone());
        }
        let Value::Table(members) = &mut node.value else {
            unreachable!("it was made a table");
        };
        let index = members
            .iter()
            .position(|member| fold(&member.key) == fold(known))
            .unwrap_or_else(|| {
                members.push(Member {
                    key: fresh.to_owned(),
                    place: self.place.clone(),
                    node: Node::empty_table(self.place.clone()),
                });
                members.len() - 1
            });
        &mut members[index].node
    }

    fn set_destination(&self, root: &mut Node, target: &str, rest: &[&str], faults: &mut Faults) {
        let list = self.member(root, "destination", "destination");
        if matches!(&list.value, Value::Table(members) if members.is_empty()) {
            list.value = Value::Array(Vec::new());
        }
        // A file in which it is no array is refused for that when it is read.
        let Value::Array(items) = &mut list.value else {
            return;
        };
        let named = items.iter().position(|item| {
            matches!(item.member("name").map(|name| &name.node.value),
                Some(Value::Text(name)) if fold(name) == fold(target))
        });
        let index = match (named, target.parse::<usize>()) {
            (Some(index), _) => index,
            (None, Ok(index)) if index < items.len() => index,
            (None, Ok(_)) => {
                faults.push(
                    ConfigError::new(
                        self.place.clone(),
                        "destination",
                        format!("there is no destination {target}"),
                    )
                    .suggesting("count from 0, or write the destination's name, which makes a new one"),
                );
                return;
            }
            (None, Err(_)) => {
                let mut fresh = Node::empty_table(self.place.clone());
                let name = Node::text(self.place.clone(), target.replace('_', "-"));
                *self.member(&mut fresh, "name", "name") = name;
                items.push(fresh);
                items.len() - 1
            }
        };
        let Some(item) = items.get_mut(index) else {
            return;
        };
        match rest {
            ["options", setting, rest @ ..] => {
                let options = self.member(item, "options", "options");
                let value = self.member(options, setting, &setting.replace('_', "."));
                // `{ file = … }` in the file and `…__ENV` here are not one secret with two sources.
                *value = Node::empty_table(self.place.clone());
                self.set(value, rest);
            }
            rest => self.set(item, rest),
        }
    }
}

/// How keys of the file and segments of a variable are compared.
fn fold(key: &str) -> String {
    key.to_ascii_lowercase().replace(['-', '.'], "_")
}

/// The node of the destination that there is where none is configured.
pub fn default_destination() -> Member {
    let text = |key: &str, text: &str| Member {
        key: key.to_owned(),
        place: Place::Default,
        node: Node::text(Place::Default, text),
    };
    let item = Node {
        place: Place::Default,
        value: Value::Table(vec![text("name", DEFAULT_DESTINATION), text("kind", "file")]),
    };
    Member {
        key: "destination".to_owned(),
        place: Place::Default,
        node: Node {
            place: Place::Default,
            value: Value::Array(vec![item]),
        },
    }
}

/// The name of the variable that would set `key` of the destination `name`.
pub fn destination_variable(name: &str, key: &str) -> Arc<str> {
    format!("{PREFIX}DESTINATION__{}__{}", fold(name), key)
        .to_ascii_uppercase()
        .into()
}
