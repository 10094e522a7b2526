//! The gateway behind the SDK, as far as tests need it: a document kept by `serde_json`, a log on standard error.

use std::{cell::RefCell, collections::BTreeMap};

use serde_json::{Map, Value as Json};

use crate::{Value, host::Level, value::Seen};

#[derive(Debug)]
pub(crate) struct Document(RefCell<Json>);

/// One change that is not yet made.
#[derive(Debug)]
enum Edit {
    Set(String, Value),
    Remove(String),
    Move(String, String),
}

/// Changes that are not yet made.
#[derive(Debug, Default)]
pub(crate) struct Edits(Vec<Edit>);

impl Edits {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn set(&mut self, pointer: &str, value: Value) {
        self.0.push(Edit::Set(pointer.to_owned(), value));
    }

    pub(crate) fn remove(&mut self, pointer: &str) {
        self.0.push(Edit::Remove(pointer.to_owned()));
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        self.0.push(Edit::Move(from.to_owned(), to.to_owned()));
    }
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Answer(Vec<Option<Value>>);

impl Answer {
    /// For each pointer what is there, in their order.
    pub(crate) fn values(&self) -> impl Iterator<Item = Option<Seen<'_>>> {
        self.0.iter().map(|value| value.as_ref().map(Seen::of))
    }
}

impl Document {
    pub(crate) fn from_json(json: &str) -> Result<Document, String> {
        serde_json::from_str(json)
            .map(Document::from_value)
            .map_err(|error| error.to_string())
    }

    pub(crate) fn from_value(value: Json) -> Document {
        Document(RefCell::new(value))
    }

    pub(crate) fn into_value(self) -> Json {
        self.0.into_inner()
    }

    pub(crate) fn to_json(&self) -> String {
        self.0.borrow().to_string()
    }

    pub(crate) fn copy(&self) -> Document {
        Document(self.0.clone())
    }

    /// Makes `edits`, or none of them, then reads.
    pub(crate) fn exchange(&self, edits: Edits, pointers: &[&str]) -> Result<Answer, String> {
        if !edits.is_empty() {
            self.apply(edits.0)?;
        }
        let root = self.0.borrow();
        let find = |pointer: &&str| root.pointer(pointer).cloned().map(Value::from);
        Ok(Answer(pointers.iter().map(find).collect()))
    }

    fn apply(&self, edits: Vec<Edit>) -> Result<(), String> {
        let mut edited = self.0.borrow().clone();
        for edit in edits {
            match edit {
                Edit::Set(pointer, value) => set(&mut edited, &pointer, to_json(&pointer, value)?)?,
                Edit::Remove(pointer) => {
                    remove(&mut edited, &pointer);
                }
                Edit::Move(from, to) => {
                    if to.starts_with(&format!("{from}/")) {
                        return Err(format!("{to:?}: a value cannot be moved into itself"));
                    }
                    if from != to
                        && let Some(value) = remove(&mut edited, &from)
                    {
                        set(&mut edited, &to, value)?;
                    }
                }
            }
        }
        *self.0.borrow_mut() = edited;
        Ok(())
    }
}

fn to_json(pointer: &str, value: Value) -> Result<Json, String> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => Json::Bool(value),
        Value::Integer(value) => Json::from(value),
        Value::Number(value) => serde_json::Number::from_f64(value)
            .map(Json::Number)
            .ok_or_else(|| format!("{pointer:?}: {value} is no JSON number"))?,
        Value::Text(value) => Json::String(value),
        Value::Json(value) => {
            serde_json::from_str(&value).map_err(|error| format!("{pointer:?}: {error}"))?
        }
    })
}

fn set(root: &mut Json, pointer: &str, value: Json) -> Result<(), String> {
    if pointer.is_empty() {
        *root = value;
        return Ok(());
    }
    let refused = |reason: &str| format!("{pointer:?}: {reason}");
    let (parents, last) = split(pointer).ok_or_else(|| refused("a JSON Pointer begins with a slash"))?;
    let mut parent = root;
    for token in parents {
        parent = match parent {
            Json::Object(members) => members.entry(token).or_insert_with(|| Json::Object(Map::new())),
            Json::Array(elements) => position(&token, elements.len())
                .and_then(|position| elements.get_mut(position))
                .ok_or_else(|| refused("the array has no such element"))?,
            _ => return Err(refused("leads through a value that holds no others")),
        };
    }
    match parent {
        Json::Object(members) => {
            members.insert(last, value);
        }
        Json::Array(elements) if last == "-" => elements.push(value),
        Json::Array(elements) => match position(&last, elements.len()) {
            Some(position) if position == elements.len() => elements.push(value),
            Some(position) => elements[position] = value,
            None => return Err(refused("the array has no such element")),
        },
        _ => return Err(refused("leads through a value that holds no others")),
    }
    Ok(())
}

fn remove(root: &mut Json, pointer: &str) -> Option<Json> {
    let (parents, last) = split(pointer)?;
    let mut parent = root;
    for token in parents {
        parent = match parent {
            Json::Object(members) => members.get_mut(&token)?,
            Json::Array(elements) => {
                let position = position(&token, elements.len())?;
                elements.get_mut(position)?
            }
            _ => return None,
        };
    }
    match parent {
        Json::Object(members) => members.remove(&last),
        Json::Array(elements) => position(&last, elements.len())
            .filter(|position| *position < elements.len())
            .map(|position| elements.remove(position)),
        _ => None,
    }
}

/// The tokens of a pointer, the last apart.
fn split(pointer: &str) -> Option<(Vec<String>, String)> {
    let mut tokens: Vec<_> = pointer
        .strip_prefix('/')?
        .split('/')
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect();
    let last = tokens.pop()?;
    Some((tokens, last))
}

/// A position in an array, the one behind the last element included.
fn position(token: &str, length: usize) -> Option<usize> {
    let is_plain = token == "0" || !token.starts_with(['0', '+']);
    token
        .parse()
        .ok()
        .filter(|position| is_plain && *position <= length)
}

/// Rows by key.
pub(crate) type Rows = BTreeMap<String, Json>;

thread_local! {
    static TABLES: RefCell<BTreeMap<String, Rows>> = const { RefCell::new(BTreeMap::new()) };
}

/// The tables of this thread's plugins from now on.
pub(crate) fn set_tables(tables: BTreeMap<String, Rows>) {
    TABLES.set(tables);
}

pub(crate) fn put_table(name: &str, rows: Rows) {
    TABLES.with_borrow_mut(|tables| tables.insert(name.to_owned(), rows));
}

pub(crate) fn lookup(table: &str, key: &str) -> Option<Document> {
    TABLES.with_borrow(|tables| match tables.get(table) {
        Some(rows) => rows.get(key).cloned().map(Document::from_value),
        None => panic!(
            "there is no table {table:?}: put it as {table}.ndjson into the folder tables beside the cases, or with \
             testing::put_table"
        ),
    })
}

pub(crate) fn log(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

pub(crate) fn count(counter: &str, amount: u64) {
    COUNTS.with_borrow_mut(
        |counts| match counts.iter_mut().find(|(name, _)| name == counter) {
            Some((_, value)) => *value = value.saturating_add(amount),
            None => counts.push((counter.to_owned(), amount)),
        },
    );
}

thread_local! {
    static COUNTS: RefCell<Vec<(String, u64)>> = const { RefCell::new(Vec::new()) };
}

/// What this thread has counted since it last asked.
pub(crate) fn take_counts() -> Vec<(String, u64)> {
    COUNTS.take()
}
