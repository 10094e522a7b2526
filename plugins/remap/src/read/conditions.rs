use serde_json::Value as Json;

use super::{Members, Reader, join, one_of};
use crate::{
    bounds::CONDITION_DEPTH_MAX,
    condition::{Condition, TYPES, Test},
};

const NAMES: [&str; 12] = [
    "all", "any", "not", "exists", "equals", "in", "prefix", "suffix", "contains", "at_least", "below",
    "type",
];

impl Reader {
    /// All members of a condition must hold.
    pub(super) fn condition(&mut self, at: &str, condition: &Json, depth: usize) -> Option<Condition> {
        if depth > CONDITION_DEPTH_MAX {
            self.error(at, format!("conditions stand at most {CONDITION_DEPTH_MAX} deep"));
            return None;
        }
        let members = self.entries(at, condition, r#"{"exists": "/user/id"}"#)?;
        self.known(at, members, &NAMES);
        let mut parts = Vec::new();
        for (name, value) in members {
            let at = join(at, name);
            match name.as_str() {
                "all" => parts.push(Condition::All(self.conditions(&at, value, depth)?)),
                "any" => parts.push(Condition::Any(self.conditions(&at, value, depth)?)),
                "not" => parts.push(Condition::Not(Box::new(self.condition(&at, value, depth + 1)?))),
                "exists" => {
                    let text = self.text(&at, value, "\"/user/id\"")?;
                    parts.push(Condition::Exists(self.source(&at, text)?));
                }
                test => {
                    let example = r#"{"/type": "app"}"#;
                    let entries = self.entries(&at, value, example)?;
                    self.tests(&at, test, entries, &mut parts);
                }
            }
        }
        Some(match parts.len() {
            1 => parts.remove(0),
            _ => Condition::All(parts),
        })
    }

    fn conditions(&mut self, at: &str, value: &Json, depth: usize) -> Option<Vec<Condition>> {
        let Some(conditions) = value.as_array().filter(|conditions| !conditions.is_empty()) else {
            self.error(at, "a list of conditions");
            return None;
        };
        let conditions = conditions.iter().enumerate();
        Some(
            conditions
                .filter_map(|(index, condition)| {
                    self.condition(&format!("{at}/{index}"), condition, depth + 1)
                })
                .collect(),
        )
    }

    fn tests(&mut self, at: &str, test: &str, entries: &Members, parts: &mut Vec<Condition>) {
        for (place, wanted) in entries {
            let at = join(at, place);
            let Some(place) = self.source(&at, place) else {
                continue;
            };
            match self.test(test, wanted) {
                Ok(test) => parts.push(Condition::Test(place, test)),
                Err(reason) => self.error(&at, reason),
            }
        }
    }

    fn test(&mut self, test: &str, wanted: &Json) -> Result<Test, String> {
        let text = || match wanted {
            Json::String(text) => Ok(text.clone()),
            _ => Err("a text to look for".to_owned()),
        };
        let number = || wanted.as_f64().ok_or_else(|| "a number".to_owned());
        match test {
            "equals" => Ok(Test::In(vec![wanted.clone()])),
            "in" => match wanted {
                Json::Array(values) => {
                    self.count(values.len());
                    Ok(Test::In(values.clone()))
                }
                _ => Err("a list of values, such as [\"ios\", \"android\"]".to_owned()),
            },
            "prefix" => text().map(Test::Prefix),
            "suffix" => text().map(Test::Suffix),
            "contains" => text().map(Test::Contains),
            "at_least" => number().map(Test::AtLeast),
            "below" => number().map(Test::Below),
            "type" => one_of(&TYPES, wanted.as_str().unwrap_or_default()).map(Test::Type),
            // Said already.
            _ => Ok(Test::In(Vec::new())),
        }
    }
}
