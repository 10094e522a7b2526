//! What was sent: parameters of a query, or members of a JSON object, which may hold objects.

use std::collections::BTreeMap;

use headworks_plugin::{Failure, rejected};
use serde_json::{Value, value::RawValue};

type Members<'t> = BTreeMap<String, &'t RawValue>;

/// Parameters that nobody has asked for yet.
pub struct Parameters<'t> {
    plain: Members<'t>,
    /// Of the objects that something inside was asked of.
    nested: BTreeMap<String, Members<'t>>,
}

impl<'t> Parameters<'t> {
    pub fn read(json: &'t str) -> Result<Parameters<'t>, Failure> {
        match serde_json::from_str(json) {
            Ok(plain) => Ok(Parameters {
                plain,
                nested: BTreeMap::new(),
            }),
            Err(_) => Err(rejected(
                "the data is no object: the parameters of a postback are its members",
            )),
        }
    }

    /// What was sent under this name, which is then no longer among the rest.
    pub fn take(&mut self, name: &str) -> Option<&'t RawValue> {
        if let Some(value) = self.plain.remove(name) {
            return Some(value);
        }
        let (outer, inner) = name.split_once('.')?;
        if let Some(object) = self.plain.get(outer)
            && let Ok(members) = serde_json::from_str(object.get())
        {
            self.plain.remove(outer);
            self.nested.insert(outer.to_owned(), members);
        }
        self.nested.get_mut(outer)?.remove(inner)
    }

    /// What was sent under this name, which stays among the rest.
    pub fn look(&self, name: &str) -> Option<&'t RawValue> {
        self.plain.get(name).copied()
    }

    /// All else as a JSON object, byte for byte as it was sent; none where nothing is left.
    pub fn rest(mut self) -> Option<String> {
        let mut written = Vec::new();
        self.nested.retain(|_, members| !members.is_empty());
        for (name, members) in &self.nested {
            written.push((
                name,
                object(members.iter().map(|(name, value)| (name, value.get()))),
            ));
        }
        let plain = self.plain.iter().map(|(name, value)| (name, value.get()));
        let nested = written.iter().map(|(name, value)| (*name, value.as_str()));
        let is_empty = self.plain.is_empty() && self.nested.is_empty();
        (!is_empty).then(|| object(plain.chain(nested)))
    }
}

fn object<'m>(members: impl Iterator<Item = (&'m String, &'m str)>) -> String {
    let members: Vec<String> = members
        .map(|(name, json)| format!("{}:{json}", Value::String(name.clone())))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// The one value of a parameter as text, without white space around it; none where it holds nothing. A parameter that is
/// repeated must say the same each time.
pub fn text(name: &str, value: &RawValue) -> Result<Option<String>, Failure> {
    let mut found: Option<String> = None;
    for text in texts(name, value)? {
        match &found {
            Some(other) if *other != text => {
                return Err(rejected(format!(
                    "{name} was sent more than once, with different values"
                )));
            }
            _ => found = Some(text),
        }
    }
    Ok(found)
}

/// All values of a parameter as texts.
pub fn texts(name: &str, value: &RawValue) -> Result<Vec<String>, Failure> {
    let values = match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        Ok(values) => values,
        Err(_) => vec![value],
    };
    let mut texts = Vec::new();
    for value in values {
        let json = value.get();
        let text = match serde_json::from_str(json) {
            Ok(Value::String(text)) => text.trim().to_owned(),
            // As it was spelt: a large number is not rounded.
            Ok(Value::Number(_) | Value::Bool(_)) => json.to_owned(),
            Ok(Value::Null) => continue,
            _ => return Err(rejected(format!("{name} holds no text, number or boolean"))),
        };
        if !crate::members::is_nothing(&text) {
            texts.push(text);
        }
    }
    Ok(texts)
}
