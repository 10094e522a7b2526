//! Edits as `plugin.wit` tells them, done on a plain tree. Leaves keep their spelling, members their order.

use serde_json::Value;

use super::super::{EditError, Kind, NewValue, Node};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Model {
    /// The JSON of a scalar.
    Leaf(String),
    Array(Vec<Model>),
    Object(Vec<(String, Model)>),
}

pub(super) struct Refused;

impl From<EditError> for Refused {
    fn from(_: EditError) -> Refused {
        Refused
    }
}

impl Model {
    pub(super) fn of(node: Node<'_>) -> Model {
        match node.kind() {
            Kind::Array => Model::Array(node.elements().map(Model::of).collect()),
            Kind::Object => Model::Object(
                node.members()
                    .map(|(name, value)| (name.into_owned(), Model::of(value)))
                    .collect(),
            ),
            _ => Model::Leaf(node.raw().to_owned()),
        }
    }

    pub(super) fn to_value(&self) -> Value {
        match self {
            Model::Leaf(text) => serde_json::from_str(text).expect("a leaf is JSON"),
            Model::Array(elements) => elements.iter().map(Model::to_value).collect(),
            Model::Object(members) => members
                .iter()
                .map(|(name, value)| (name.clone(), value.to_value()))
                .collect(),
        }
    }

    fn of_new(value: &NewValue) -> Model {
        match value {
            NewValue::Null => Model::Leaf("null".to_owned()),
            NewValue::Boolean(boolean) => Model::Leaf(boolean.to_string()),
            NewValue::Integer(integer) => Model::Leaf(integer.to_string()),
            NewValue::Number(number) => Model::Leaf(format!("{number:?}")),
            NewValue::Text(text) => Model::Leaf(serde_json::to_string(text).expect("a string is JSON")),
            NewValue::Json(text) => Model::of(super::parse(text).root()),
        }
    }

    /// What a plugin gets for this value; nothing where it is an array or object, which is compared as text.
    pub(super) fn scalar(&self) -> Option<NewValue> {
        let Model::Leaf(text) = self else { return None };
        Some(match self.to_value() {
            Value::Null => NewValue::Null,
            Value::Bool(boolean) => NewValue::Boolean(boolean),
            Value::String(string) => NewValue::Text(string),
            _ if text != "-0" && text.parse::<i64>().is_ok() => {
                NewValue::Integer(text.parse().expect("an integer"))
            }
            _ => {
                let double: f64 = text.parse().expect("a number");
                if plain_decimal(text) == plain_decimal(&double.to_string()) {
                    NewValue::Number(double)
                } else {
                    NewValue::Json(text.clone())
                }
            }
        })
    }

    fn child(&self, token: &str) -> Option<&Model> {
        match self {
            Model::Leaf(_) => None,
            Model::Array(elements) => elements.get(position(token)?),
            Model::Object(members) => members
                .iter()
                .find(|(name, _)| name == token)
                .map(|(_, value)| value),
        }
    }

    pub(super) fn get(&self, tokens: &[String]) -> Option<&Model> {
        tokens.iter().try_fold(self, |model, token| model.child(token))
    }

    fn child_mut(&mut self, token: &str) -> Option<&mut Model> {
        match self {
            Model::Leaf(_) => None,
            Model::Array(elements) => elements.get_mut(position(token)?),
            Model::Object(members) => members
                .iter_mut()
                .find(|(name, _)| name == token)
                .map(|(_, value)| value),
        }
    }

    fn put(&mut self, tokens: &[String], value: Model) -> Result<(), Refused> {
        let Some((token, rest)) = tokens.split_first() else {
            *self = value;
            return Ok(());
        };
        if let Some(child) = self.child_mut(token) {
            return child.put(rest, value);
        }
        let mut made = Model::Object(Vec::new());
        made.put(rest, value)?;
        match self {
            Model::Leaf(_) => return Err(Refused),
            Model::Array(elements) => {
                let appends = position(token) == Some(elements.len()) || (token == "-" && rest.is_empty());
                if !appends {
                    return Err(Refused);
                }
                elements.push(made);
            }
            Model::Object(members) => members.push((token.clone(), made)),
        }
        Ok(())
    }

    pub(super) fn set(&mut self, tokens: &[String], value: &NewValue) -> Result<(), Refused> {
        self.put(tokens, Model::of_new(value))
    }

    fn take(&mut self, tokens: &[String]) -> Option<Model> {
        let (last, parents) = tokens.split_last()?;
        let parent = parents
            .iter()
            .try_fold(self, |model, token| model.child_mut(token))?;
        match parent {
            Model::Leaf(_) => None,
            Model::Array(elements) => {
                let position = position(last).filter(|&position| position < elements.len())?;
                Some(elements.remove(position))
            }
            Model::Object(members) => {
                let position = members.iter().position(|(name, _)| name == last)?;
                Some(members.remove(position).1)
            }
        }
    }

    pub(super) fn remove(&mut self, tokens: &[String]) -> bool {
        self.take(tokens).is_some()
    }

    pub(super) fn move_value(&mut self, source: &[String], target: &[String]) -> Result<bool, Refused> {
        if self.get(source).is_none() {
            return Ok(false);
        }
        if source == target {
            return Ok(true);
        }
        if target.starts_with(source) {
            return Err(Refused);
        }
        let mut moved = self.clone();
        let Some(value) = moved.take(source) else {
            return Ok(false);
        };
        moved.put(target, value)?;
        *self = moved;
        Ok(true)
    }

    /// The tokens of every pointer that leads to a value.
    pub(super) fn pointers(&self) -> Vec<Vec<String>> {
        let mut pointers = vec![Vec::new()];
        let children: Vec<(String, &Model)> = match self {
            Model::Leaf(_) => Vec::new(),
            Model::Array(elements) => elements
                .iter()
                .enumerate()
                .map(|(at, model)| (at.to_string(), model))
                .collect(),
            Model::Object(members) => members
                .iter()
                .map(|(name, model)| (name.clone(), model))
                .collect(),
        };
        for (token, child) in children {
            for mut below in child.pointers() {
                below.insert(0, token.clone());
                pointers.push(below);
            }
        }
        pointers
    }
}

fn position(token: &str) -> Option<usize> {
    let position: usize = token.parse().ok()?;
    (position.to_string() == token).then_some(position)
}

pub(super) fn pointer(tokens: &[String]) -> String {
    tokens
        .iter()
        .map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1")))
        .collect()
}

/// A number written out without exponent, without needless zeros.
fn plain_decimal(number: &str) -> String {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().expect("the test's exponents are small");
    let (sign, mantissa) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let padding = "0".repeat(exponent.unsigned_abs() as usize);
    let digits = format!("{padding}{whole}{fraction}{padding}");
    let point = (padding.len() + whole.len()) as i64 + exponent;
    let (whole, fraction) = digits.split_at(usize::try_from(point).expect("padded"));
    format!(
        "{sign}{}.{}",
        whole.trim_start_matches('0'),
        fraction.trim_end_matches('0')
    )
}
