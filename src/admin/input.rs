//! Reads a resource out of JSON and notes every fault with its pointer, so that one answer names all.

use std::{cell::RefCell, fmt::Display, ops::RangeInclusive, str::FromStr};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    json::pointer_escaped,
    problem::{Code, Fault, Problem},
};

/// Faults listed in one answer.
const FAULTS_LISTED: usize = 100;

/// Collects the faults of one body.
#[derive(Debug, Default)]
pub struct Faults(RefCell<Vec<Fault>>);

impl Faults {
    pub fn add(&self, pointer: impl Into<String>, message: impl Into<String>) {
        let mut faults = self.0.borrow_mut();
        if faults.len() < FAULTS_LISTED {
            faults.push(Fault {
                pointer: pointer.into(),
                message: message.into(),
                keyword: None,
            });
        }
    }

    /// 422 where there was any fault.
    pub fn into_result(self) -> Result<(), Problem> {
        let faults = self.0.into_inner();
        match faults.as_slice() {
            [] => Ok(()),
            [fault] => {
                let detail = fault.message.clone();
                Err(Problem::new(Code::InputInvalid, detail).with_errors(faults))
            }
            _ => {
                let detail = format!("{} faults; see errors", faults.len());
                Err(Problem::new(Code::InputInvalid, detail).with_errors(faults))
            }
        }
    }
}

/// One value of the body, or none where the member is absent or null.
pub struct Input<'a> {
    value: Option<&'a Value>,
    pointer: String,
    faults: &'a Faults,
}

/// An object whose member names are known to be good.
pub struct Members<'a> {
    object: &'a Map<String, Value>,
    pointer: String,
    faults: &'a Faults,
}

impl<'a> Members<'a> {
    pub fn get(&self, name: &str) -> Input<'a> {
        Input {
            value: self.object.get(name).filter(|value| !value.is_null()),
            pointer: format!("{}/{}", self.pointer, pointer_escaped(name)),
            faults: self.faults,
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl<'a> Input<'a> {
    /// The whole body.
    pub fn root(value: &'a Value, faults: &'a Faults) -> Input<'a> {
        Input {
            value: Some(value),
            pointer: String::new(),
            faults,
        }
    }

    pub fn is_present(&self) -> bool {
        self.value.is_some()
    }

    pub fn value(&self) -> Option<&'a Value> {
        self.value
    }

    pub fn fault(&self, message: impl Into<String>) {
        self.faults.add(self.pointer.clone(), message);
    }

    fn expected<T>(&self, expected: &str, value: &Value) -> Option<T> {
        self.fault(format!("must be {expected}, not {}", kind(value)));
        None
    }

    /// Notes a fault where the value is absent.
    #[must_use]
    pub fn required(self) -> Input<'a> {
        if self.value.is_none() {
            self.fault("is missing");
        }
        self
    }

    /// The members, where the value is an object; each member that is not among `names` is a fault.
    pub fn members(&self, names: &[&str]) -> Option<Members<'a>> {
        let value = self.value?;
        let Some(object) = value.as_object() else {
            return self.expected("an object", value);
        };
        for unknown in object.keys().filter(|name| !names.contains(&name.as_str())) {
            let pointer = format!("{}/{}", self.pointer, pointer_escaped(unknown));
            self.faults.add(pointer, unknown_name("member", unknown, names));
        }
        Some(Members {
            object,
            pointer: self.pointer.clone(),
            faults: self.faults,
        })
    }

    /// The elements of an array of at most `max`.
    pub fn elements(&self, max: usize) -> Vec<Input<'a>> {
        let Some(value) = self.value else {
            return Vec::new();
        };
        let Some(elements) = value.as_array() else {
            self.fault(format!("must be an array, not {}", kind(value)));
            return Vec::new();
        };
        if elements.len() > max {
            self.fault(format!("may have at most {max} elements"));
        }
        let one = |(index, element)| Input {
            value: Some(element),
            pointer: format!("{}/{index}", self.pointer),
            faults: self.faults,
        };
        elements.iter().take(max).enumerate().map(one).collect()
    }

    /// A string of at most `characters_max` characters.
    pub fn text(&self, characters_max: usize) -> Option<&'a str> {
        let value = self.value?;
        let Some(text) = value.as_str() else {
            return self.expected("a string", value);
        };
        if text.chars().count() > characters_max {
            self.fault(format!("may have at most {characters_max} characters"));
            return None;
        }
        if let Some(control) = text
            .chars()
            .find(|character| character.is_control() && !"\n\t".contains(*character))
        {
            self.fault(format!("must not hold the control character {control:?}"));
            return None;
        }
        Some(text)
    }

    /// Like [`Input::text`], and not empty.
    pub fn filled_text(&self, characters_max: usize) -> Option<&'a str> {
        let text = self.text(characters_max)?;
        if text.is_empty() {
            self.fault("must not be empty");
            return None;
        }
        Some(text)
    }

    /// A string that `T` can be read from.
    pub fn parsed<T: FromStr>(&self) -> Option<T>
    where
        T::Err: Display,
    {
        self.text(1024)?
            .parse()
            .map_err(|error: T::Err| self.fault(error.to_string()))
            .ok()
    }

    pub fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.value?;
        let number = value.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = range.into_inner();
            self.fault(format!("must be an integer from {least} to {most}"));
        }
        number
    }

    pub fn boolean(&self) -> Option<bool> {
        let value = self.value?;
        value.as_bool().or_else(|| self.expected("true or false", value))
    }

    /// One of `names`, read as `T`.
    pub fn choice<T: DeserializeOwned>(&self, names: &[&str]) -> Option<T> {
        let value = self.value?;
        let read = value
            .as_str()
            .filter(|name| names.contains(name))
            .and_then(|_| serde_json::from_value(value.clone()).ok());
        if read.is_none() {
            self.fault(format!("must be one of {}", quoted(names)));
        }
        read
    }
}

fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(", ")
}

/// "there is no member …", with the nearest name there is.
pub fn unknown_name(what: &str, unknown: &str, names: &[&str]) -> String {
    let shown: String = unknown.chars().take(80).collect();
    let near = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&shown, name), name))
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3))
        .min();
    match near {
        Some((_, name)) => format!("there is no {what} {shown:?}; did you mean {name:?}?"),
        None => format!("there is no {what} {shown:?}; known are {}", quoted(names)),
    }
}
