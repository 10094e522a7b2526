//! Bringing an older version's event to a newer version's form, by the moves, renames, defaults and casts that were
//! declared for it. Edits of the event's own bytes: what no step names goes out as it came in.

use std::borrow::Cow;

use serde_json::Value;

use super::{Compiled, sample::Sampler};
use crate::{
    event::Violation,
    json::{Document, EditedDocument, Kind, NewValue, pointer_escaped, pointer_tokens},
    limits::{DEPTH_CEILING, UPGRADE_DEFAULT_BYTES, UPGRADE_INSTANCES, UPGRADE_PLACES},
    registry::model::{CastTo, Upgrade, UpgradeStep},
};

/// Why an event cannot be brought to the newer form; a sentence that names step and place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step} of the upgrade, {place}: {cause}")]
pub struct UpgradeError {
    /// From 0.
    pub step: usize,
    pub place: String,
    pub cause: String,
}

/// An event of the older version that an upgrade does not bring to the newer one.
#[derive(Clone, Debug, PartialEq)]
pub struct Counterexample {
    pub event: Value,
    /// It came from a sender, and was not made up.
    pub is_recent: bool,
    /// What the steps made of it; none where a step itself failed.
    pub result: Option<Value>,
    /// A sentence on the failure.
    pub cause: String,
    /// Where the result breaks the newer schema.
    pub errors: Vec<Violation>,
}

/// Makes every step of `upgrade` in order.
///
/// # Errors
///
/// A value that cannot be cast, a move into a place that takes none, or more places than one upgrade may touch.
pub(super) fn upgrade(document: &mut EditedDocument, upgrade: &Upgrade) -> Result<(), UpgradeError> {
    let mut places = 0;
    let mut default_bytes = 0;
    for (step, action) in upgrade.steps.iter().enumerate() {
        for place in places_of(document, action.place()) {
            places += 1;
            let failed = |cause: String| UpgradeError {
                step,
                place: place.pointer.clone(),
                cause,
            };
            if places > UPGRADE_PLACES {
                return Err(failed(format!(
                    "an upgrade touches at most {UPGRADE_PLACES} places"
                )));
            }
            if let UpgradeStep::Default { value, .. } = action {
                default_bytes += value.to_string().len();
                if default_bytes > UPGRADE_DEFAULT_BYTES {
                    let bound = "the defaults of an upgrade are larger together than one event may be";
                    return Err(failed(bound.to_owned()));
                }
            }
            take(document, action, &place).map_err(failed)?;
        }
    }
    Ok(())
}

fn take(document: &mut EditedDocument, action: &UpgradeStep, place: &Place) -> Result<(), String> {
    match action {
        UpgradeStep::Move { to, .. } => {
            let moved = document.move_value(&place.pointer, &place.filled(to));
            moved.map(drop).map_err(|error| error.to_string())
        }
        UpgradeStep::Rename { to, .. } => {
            let (parent, _) = place.pointer.rsplit_once('/').unwrap_or_default();
            let target = format!("{parent}/{}", pointer_escaped(to));
            let moved = document.move_value(&place.pointer, &target);
            moved.map(drop).map_err(|error| error.to_string())
        }
        UpgradeStep::Default { value, .. } => {
            if document.get(&place.pointer).is_some() || !has_object_above(document, &place.pointer) {
                return Ok(());
            }
            document
                .set(&place.pointer, NewValue::Json(value.to_string()))
                .map_err(|error| error.to_string())
        }
        UpgradeStep::Cast { to, .. } => {
            let Some(value) = document.get(&place.pointer) else {
                return Ok(());
            };
            match cast(&value, *to)? {
                Some(new) => document
                    .set(&place.pointer, new)
                    .map_err(|error| error.to_string()),
                None => Ok(()),
            }
        }
        UpgradeStep::Remove { .. } => {
            document.remove(&place.pointer);
            Ok(())
        }
    }
}

/// A pointer whose `*` have become positions.
struct Place {
    pointer: String,
    positions: Vec<usize>,
}

impl Place {
    /// `pattern` with the same positions.
    fn filled(&self, pattern: &str) -> String {
        let mut positions = self.positions.iter();
        let tokens = pattern.split('/').map(|token| match token {
            "*" => positions
                .next()
                .map_or(Cow::Borrowed(token), |position| Cow::Owned(position.to_string())),
            token => Cow::Borrowed(token),
        });
        tokens.collect::<Vec<_>>().join("/")
    }
}

/// Where in the document `pattern` leads: `*` stands for each element of an array.
fn places_of(document: &EditedDocument, pattern: &str) -> Vec<Place> {
    let mut places = vec![Place {
        pointer: String::new(),
        positions: Vec::new(),
    }];
    for token in pattern.split('/').skip(1) {
        if token != "*" {
            for place in &mut places {
                place.pointer.push('/');
                place.pointer.push_str(token);
            }
            continue;
        }
        let mut next = Vec::new();
        for place in places {
            for position in 0..elements(document, &place.pointer) {
                if next.len() > UPGRADE_PLACES {
                    break;
                }
                let mut positions = place.positions.clone();
                positions.push(position);
                next.push(Place {
                    pointer: format!("{}/{position}", place.pointer),
                    positions,
                });
            }
        }
        places = next;
    }
    places
}

fn elements(document: &EditedDocument, pointer: &str) -> usize {
    let Some(NewValue::Json(text)) = document.get(pointer) else {
        return 0;
    };
    match Document::parse(text.into(), DEPTH_CEILING) {
        Ok(value) if value.root().kind() == Kind::Array => value.root().len(),
        Ok(_) | Err(_) => 0,
    }
}

fn has_object_above(document: &EditedDocument, pointer: &str) -> bool {
    match pointer.rsplit_once('/') {
        // No step replaces the whole event, and reading it here would copy it.
        Some(("", _)) => document.is_object(),
        Some((parent, _)) => {
            matches!(document.get(parent), Some(NewValue::Json(text)) if text.trim_start().starts_with('{'))
        }
        None => false,
    }
}

/// The value as `to`; none where it is that already, or null.
fn cast(value: &NewValue, to: CastTo) -> Result<Option<NewValue>, String> {
    let refused = || {
        let kind = match value {
            NewValue::Null => "null",
            NewValue::Boolean(_) => "a boolean",
            NewValue::Integer(_) | NewValue::Number(_) => "this number",
            NewValue::Text(_) => "this text",
            NewValue::Json(text) if text.starts_with('{') => "an object",
            NewValue::Json(text) if text.starts_with('[') => "an array",
            NewValue::Json(_) => "this number",
        };
        format!("{kind} cannot be cast to {}", to.as_str())
    };
    let new = match (to, value) {
        (_, NewValue::Null)
        | (CastTo::String, NewValue::Text(_))
        | (CastTo::Boolean, NewValue::Boolean(_))
        | (CastTo::Integer | CastTo::Number, NewValue::Integer(_))
        | (CastTo::Number, NewValue::Number(_)) => return Ok(None),
        (CastTo::String, NewValue::Boolean(value)) => NewValue::Text(value.to_string()),
        (CastTo::String, NewValue::Integer(value)) => NewValue::Text(value.to_string()),
        (CastTo::String, NewValue::Number(value)) => NewValue::Text(value.to_string()),
        (CastTo::Boolean, NewValue::Integer(value @ (0 | 1))) => NewValue::Boolean(*value == 1),
        (CastTo::Boolean, NewValue::Text(text)) => match text.trim() {
            "true" | "1" => NewValue::Boolean(true),
            "false" | "0" => NewValue::Boolean(false),
            _ => return Err(refused()),
        },
        (CastTo::Integer, NewValue::Boolean(value)) => NewValue::Integer((*value).into()),
        (CastTo::Integer, NewValue::Number(number)) => NewValue::Integer(whole(*number).ok_or_else(refused)?),
        (CastTo::Integer, NewValue::Text(text)) => {
            let text = text.trim();
            let whole = text.parse().ok().or_else(|| whole(number(text)?));
            NewValue::Integer(whole.ok_or_else(refused)?)
        }
        (CastTo::Number, NewValue::Text(text)) => {
            number(text.trim()).ok_or_else(refused)?;
            NewValue::Json(text.trim().to_owned())
        }
        (CastTo::Number, NewValue::Json(text)) if !text.starts_with(['{', '[']) => return Ok(None),
        (CastTo::String, NewValue::Json(text)) if !text.starts_with(['{', '[']) => {
            NewValue::Text(text.clone())
        }
        _ => return Err(refused()),
    };
    Ok(Some(new))
}

/// A number as JSON writes it.
fn number(text: &str) -> Option<f64> {
    let document = Document::parse(text.to_owned().into(), 1).ok()?;
    document.root().as_f64()
}

#[expect(clippy::cast_possible_truncation, reason = "only what is exact is cast")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
}

/// Tries an upgrade on events of the older schema: `recent` ones, and as many as can be made up. Gives how many there
/// were.
///
/// # Errors
///
/// The first event that the steps do not bring to what the newer schema accepts.
pub fn check_upgrade(
    older: &Compiled,
    newer: &Compiled,
    steps: &Upgrade,
    recent: impl IntoIterator<Item = Document>,
) -> Result<usize, Box<Counterexample>> {
    let mut checked = 0;
    let valid = |document: &Document| older.violations(document).is_none();
    for event in recent.into_iter().filter(valid) {
        try_one(newer, steps, &event, true)?;
        checked += 1;
    }
    let schema = older.whole_schema().unwrap_or_default();
    let mut sampler = Sampler::new(&schema);
    for index in 0..UPGRADE_INSTANCES {
        let Ok(event) = Document::from_value(&sampler.value(index)) else {
            continue;
        };
        if valid(&event) {
            try_one(newer, steps, &event, false)?;
            checked += 1;
        }
    }
    Ok(checked)
}

fn try_one(
    newer: &Compiled,
    steps: &Upgrade,
    event: &Document,
    is_recent: bool,
) -> Result<(), Box<Counterexample>> {
    let failed = |result, cause: String, errors| {
        Err(Box::new(Counterexample {
            event: event.root().to_value(),
            is_recent,
            result,
            cause,
            errors,
        }))
    };
    let mut edited = EditedDocument::new(event.clone());
    if let Err(error) = upgrade(&mut edited, steps) {
        return failed(None, error.to_string(), Vec::new());
    }
    match Document::parse(edited.to_bytes(), DEPTH_CEILING) {
        Err(error) => failed(None, error.to_string(), Vec::new()),
        Ok(result) => match newer.violations(&result) {
            None => Ok(()),
            Some(errors) => {
                let cause = "the result breaks the newer schema".to_owned();
                failed(Some(result.root().to_value()), cause, errors)
            }
        },
    }
}

/// Whether a step's pointers can be followed; a sentence where not.
pub fn check_step(step: &UpgradeStep) -> Result<(), String> {
    let stars = |pointer: &str| pointer.split('/').filter(|token| *token == "*").count();
    let good = |pointer: &str| match pointer_tokens(pointer) {
        Ok(tokens) if tokens.is_empty() => {
            Err("the whole event cannot be named; write a pointer such as \"/user_id\"")
        }
        Ok(tokens) if tokens.len() > DEPTH_CEILING as usize => Err("the pointer has too many levels"),
        Ok(_) => Ok(()),
        Err(_) => {
            Err("must be a JSON Pointer such as \"/session/id\"; * stands for each element of an array")
        }
    };
    good(step.place())?;
    match step {
        UpgradeStep::Move { from, to } => {
            good(to)?;
            if stars(from) != stars(to) {
                return Err(format!("{from} and {to} must have the same number of *"));
            }
            Ok(())
        }
        UpgradeStep::Rename { to, .. } if to.is_empty() => Err("the new name is empty".to_owned()),
        UpgradeStep::Rename { .. }
        | UpgradeStep::Default { .. }
        | UpgradeStep::Cast { .. }
        | UpgradeStep::Remove { .. } => Ok(()),
    }
}
