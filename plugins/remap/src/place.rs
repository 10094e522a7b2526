//! Where steps read: a JSON Pointer into the data, or an attribute of the event.

use headworks_plugin::{Event, Value};

/// What steps read from.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    Data {
        pointer: String,
        /// Among the values that its stage reads in one call.
        slot: usize,
    },
    Attribute(Attribute),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    AppVersion,
    Id,
    Partner,
    Schema,
    Source,
    Subject,
    Time,
    Type,
}

const ATTRIBUTES: [(&str, Attribute); 8] = [
    ("@app_version", Attribute::AppVersion),
    ("@id", Attribute::Id),
    ("@partner", Attribute::Partner),
    ("@schema", Attribute::Schema),
    ("@source", Attribute::Source),
    ("@subject", Attribute::Subject),
    ("@time", Attribute::Time),
    ("@type", Attribute::Type),
];

impl Place {
    pub fn data(pointer: &str) -> Place {
        Place::Data {
            pointer: pointer.to_owned(),
            slot: 0,
        }
    }

    /// `/a/b`, the empty text for all of the data, or `@type` and its like.
    pub fn parse(text: &str) -> Result<Place, String> {
        if !text.starts_with('@') {
            return is_pointer(text).map(|()| Place::data(text));
        }
        let known = ATTRIBUTES.iter().find(|(name, _)| *name == text);
        known
            .map(|(_, attribute)| Place::Attribute(*attribute))
            .ok_or_else(|| {
                let names: Vec<&str> = ATTRIBUTES.iter().map(|(name, _)| *name).collect();
                format!("no attribute is called {text:?}: there are {}", names.join(", "))
            })
    }

    /// As it stands in the configuration.
    pub fn name(&self) -> &str {
        match self {
            Place::Data { pointer, .. } if pointer.is_empty() => "the data",
            Place::Data { pointer, .. } => pointer,
            Place::Attribute(wanted) => ATTRIBUTES
                .iter()
                .find(|(_, attribute)| attribute == wanted)
                .map_or("@", |(name, _)| name),
        }
    }
}

/// A JSON Pointer, or why it is none.
pub fn is_pointer(text: &str) -> Result<(), String> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err(format!("{text:?} is no JSON Pointer such as \"/user/email\""));
    }
    let mut rest = text;
    while let Some((_, escape)) = rest.split_once('~') {
        if !escape.starts_with(['0', '1']) {
            return Err(format!(
                "{text:?}: a tilde in a pointer is written ~0, a slash ~1"
            ));
        }
        rest = escape;
    }
    Ok(())
}

/// The event's attributes, as values.
pub struct Attributes {
    app_version: Option<Value>,
    id: Value,
    partner: Value,
    schema: Value,
    source: Value,
    subject: Option<Value>,
    time: Value,
    event_type: Value,
}

impl Attributes {
    pub fn of(event: &Event) -> Attributes {
        Attributes {
            app_version: event.app_version.as_ref().map(Value::from),
            id: (&event.id).into(),
            partner: (&event.partner).into(),
            schema: (&event.schema).into(),
            source: (&event.source).into(),
            subject: event.subject.as_ref().map(Value::from),
            time: (&event.time).into(),
            event_type: (&event.event_type).into(),
        }
    }

    fn get(&self, attribute: Attribute) -> Option<&Value> {
        match attribute {
            Attribute::AppVersion => self.app_version.as_ref(),
            Attribute::Id => Some(&self.id),
            Attribute::Partner => Some(&self.partner),
            Attribute::Schema => Some(&self.schema),
            Attribute::Source => Some(&self.source),
            Attribute::Subject => self.subject.as_ref(),
            Attribute::Time => Some(&self.time),
            Attribute::Type => Some(&self.event_type),
        }
    }
}

/// What a stage has read.
pub struct Seen<'a> {
    pub attributes: &'a Attributes,
    pub values: &'a [Option<Value>],
}

impl Seen<'_> {
    pub fn get(&self, place: &Place) -> Option<&Value> {
        match place {
            Place::Data { slot, .. } => self.values.get(*slot)?.as_ref(),
            Place::Attribute(attribute) => self.attributes.get(*attribute),
        }
    }
}

/// A value as text, as templates, tables and hashes see it; none for `null`.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Boolean(value) => Some(value.to_string()),
        Value::Integer(value) => Some(value.to_string()),
        Value::Number(value) => Some(number_text(*value)),
        Value::Text(text) | Value::Json(text) => Some(text.clone()),
    }
}

/// As JSON writes it: 1.0, not 1.
pub fn number_text(number: f64) -> String {
    serde_json::Number::from_f64(number).map_or_else(String::new, |number| number.to_string())
}
