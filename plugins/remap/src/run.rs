//! One event through all stages.

use headworks_plugin::{Document, Error, Event, Failure, Output, Value, rejected};
use serde_json::value::RawValue;

use crate::{
    bounds::{RECORDS_MAX, WRITTEN_BYTES_MAX},
    place::{Attributes, Place, Seen},
    plan::Stage,
    steps::{self, Action, Derivation, Otherwise, Split, Step},
    template::Template,
};

/// A record in the making.
struct Record {
    data: Document,
    destination: Option<String>,
    topic: Option<String>,
    key: Option<String>,
    headers: Vec<(String, String)>,
}

struct Run<'e> {
    attributes: &'e Attributes,
    written_bytes: usize,
}

/// Whether a record goes on.
enum Next {
    Goes,
    Dropped,
}

pub fn run(stages: &[Stage], event: Event) -> Result<Vec<Output>, Failure> {
    let attributes = Attributes::of(&event);
    let mut run = Run {
        attributes: &attributes,
        written_bytes: 0,
    };
    let mut records = vec![Record::new(event.data)];
    for stage in stages {
        let mut kept = Vec::with_capacity(records.len());
        for record in records {
            run.stage(stage, record, &mut kept)?;
        }
        records = kept;
    }
    records.into_iter().map(Record::output).collect()
}

impl Record {
    fn new(data: Document) -> Record {
        Record {
            data,
            destination: None,
            topic: None,
            key: None,
            headers: Vec::new(),
        }
    }

    fn output(self) -> Result<Output, Failure> {
        self.data.values(&[]).map_err(edit_refused)?;
        let mut output = Output::new(self.data);
        output.destination = self.destination;
        output.topic = self.topic;
        output.key = self.key;
        output.headers = self.headers;
        Ok(output)
    }
}

/// Whether a pointer leads somewhere depends on the event: it is rejected, and the plugin is not at fault.
fn edit_refused(error: Error) -> Failure {
    let reason = error.to_string();
    // The gateway names the pointer first.
    let named = reason.strip_prefix('"').and_then(|rest| rest.split_once("\": "));
    let pointer = named.map_or("a pointer", |(pointer, _)| pointer);
    rejected(format!(
        "nothing can be written at {pointer}: what stands above it has no members, or no such element"
    ))
}

impl<'e> Run<'e> {
    fn stage(&mut self, stage: &Stage, mut record: Record, kept: &mut Vec<Record>) -> Result<(), Failure> {
        let pointers: Vec<&str> = stage.reads.iter().map(String::as_str).collect();
        let values = record.data.values(&pointers).map_err(edit_refused)?;
        let seen = self.seen(&values);
        for step in &stage.steps {
            if step
                .when
                .as_ref()
                .is_some_and(|condition| !condition.holds(&seen))
            {
                continue;
            }
            if let Action::Split(split) = &step.action {
                return self.split(step, split, &values, record, kept);
            }
            if let Next::Dropped = self.step(step, &values, &mut record)? {
                return Ok(());
            }
        }
        push(kept, record)
    }

    fn step(&mut self, step: &Step, values: &[Option<Value>], record: &mut Record) -> Result<Next, Failure> {
        match &step.action {
            Action::Set(entries) => {
                for (to, value) in entries {
                    self.set(step, record, to, value.clone())?;
                }
            }
            Action::Template(entries) => {
                for (to, template) in entries {
                    match self.fill(template, values) {
                        Ok(Some(text)) => self.set(step, record, to, Value::Text(text))?,
                        Ok(None) => {}
                        Err(reason) => {
                            self.otherwise(step, record, to, &format!("the text for {to} {reason}"))?;
                        }
                    }
                }
            }
            Action::Derive(entries) => {
                for entry in entries {
                    self.derive(step, entry, values, record)?;
                }
            }
            Action::Rename(entries) => {
                for (from, to) in entries {
                    record.data.rename(from, to);
                }
            }
            Action::Remove(pointers) => {
                for pointer in pointers {
                    record.data.remove(pointer);
                }
            }
            Action::Pick(places) => {
                self.set(step, record, "", Value::Json("{}".to_owned()))?;
                for place in places {
                    if let (Place::Data { pointer, .. }, Some(value)) = (place, self.seen(values).get(place))
                    {
                        let value = value.clone();
                        self.set(step, record, pointer, value)?;
                    }
                }
            }
            Action::Output(output) => self.output(step, output, values, record)?,
            Action::Reject(reason) => return Err(rejected(reason.clone())),
            Action::Drop => return Ok(Next::Dropped),
            // It ends its stage.
            Action::Split(_) => {}
        }
        Ok(Next::Goes)
    }

    /// Apart from the run, which goes on counting what it writes.
    fn seen<'r>(&self, values: &'r [Option<Value>]) -> Seen<'r>
    where
        'e: 'r,
    {
        Seen {
            attributes: self.attributes,
            values,
        }
    }

    fn fill(&self, template: &Template, values: &[Option<Value>]) -> Result<Option<String>, String> {
        template.fill(&self.seen(values))
    }

    fn set(&mut self, step: &Step, record: &mut Record, to: &str, value: Value) -> Result<(), Failure> {
        self.written_bytes += to.len();
        self.written_bytes += match &value {
            Value::Text(text) | Value::Json(text) => text.len(),
            Value::Null | Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => 8,
        };
        if self.written_bytes > WRITTEN_BYTES_MAX {
            return Err(rejected(format!(
                "{}: the steps would write more than {WRITTEN_BYTES_MAX} bytes for this event",
                step.pointer
            )));
        }
        record.data.set(to, value);
        Ok(())
    }

    fn derive(
        &mut self,
        step: &Step,
        entry: &Derivation,
        values: &[Option<Value>],
        record: &mut Record,
    ) -> Result<(), Failure> {
        let seen = self.seen(values);
        let Some(value) = seen.get(&entry.from) else {
            return Ok(());
        };
        if *value == Value::Null && !matches!(entry.by, crate::functions::Function::Same) {
            return Ok(());
        }
        match entry.by.apply(value) {
            Ok(value) => self.set(step, record, &entry.to, value),
            Err(expected) => {
                let reason = format!("{} is {expected}", entry.from.name());
                self.otherwise(step, record, &entry.to, &reason)
            }
        }
    }

    fn otherwise(&mut self, step: &Step, record: &mut Record, to: &str, reason: &str) -> Result<(), Failure> {
        match &step.otherwise {
            // Without the value: the reason is shown to people who may not see it.
            Otherwise::Reject => Err(rejected(format!("{}: {reason}", step.pointer))),
            Otherwise::Keep => Ok(()),
            Otherwise::Remove => {
                record.data.remove(to);
                Ok(())
            }
            Otherwise::Set(value) => self.set(step, record, to, value.clone()),
        }
    }

    fn output(
        &mut self,
        step: &Step,
        output: &steps::Output,
        values: &[Option<Value>],
        record: &mut Record,
    ) -> Result<(), Failure> {
        let mut fill = |template: &Template| {
            let filled = self.fill(template, values);
            let filled = filled.map_err(|reason| rejected(format!("{}: a text {reason}", step.pointer)))?;
            self.written_bytes += filled.as_ref().map_or(0, String::len);
            Ok::<_, Failure>(filled)
        };
        for (field, template) in [
            (&mut record.destination, &output.destination),
            (&mut record.topic, &output.topic),
            (&mut record.key, &output.key),
        ] {
            // What holds nothing stays the route's.
            if let Some(filled) = template.as_ref().map(&mut fill).transpose()?.flatten() {
                *field = Some(filled);
            }
        }
        for (name, template) in &output.headers {
            if let Some(filled) = fill(template)? {
                record.headers.retain(|(known, _)| known != name);
                record.headers.push((name.clone(), filled));
            }
        }
        Ok(())
    }

    fn split(
        &mut self,
        step: &Step,
        split: &Split,
        values: &[Option<Value>],
        mut record: Record,
        kept: &mut Vec<Record>,
    ) -> Result<(), Failure> {
        let seen = self.seen(values);
        let elements: Option<Vec<&RawValue>> = match seen.get(&split.each) {
            Some(Value::Json(json)) => serde_json::from_str(json).ok(),
            _ => None,
        };
        let Some(elements) = elements else {
            return match &step.otherwise {
                Otherwise::Reject => Err(rejected(format!(
                    "{}: {} is no array",
                    step.pointer,
                    split.each.name()
                ))),
                Otherwise::Remove => Ok(()),
                Otherwise::Keep | Otherwise::Set(_) => push(kept, record),
            };
        };
        let is_whole = split.each_pointer.is_empty();
        if !is_whole {
            record.data.remove(&split.each_pointer);
        }
        for (index, element) in elements.iter().enumerate() {
            let json = element.get();
            let data = if is_whole {
                Document::from_json("{}")?
            } else {
                record.data.copy().map_err(edit_refused)?
            };
            let mut part = Record {
                data,
                destination: record.destination.clone(),
                topic: record.topic.clone(),
                key: record.key.clone(),
                headers: record.headers.clone(),
            };
            let value = read_json(json);
            self.set(step, &mut part, &split.into, value)?;
            if let Some(to) = &split.index {
                let index = Value::Integer(i64::try_from(index).unwrap_or(i64::MAX));
                self.set(step, &mut part, to, index)?;
            }
            push(kept, part)?;
        }
        Ok(())
    }
}

/// Arrays, objects and numbers keep their text.
fn read_json(json: &str) -> Value {
    match serde_json::from_str(json) {
        Ok(serde_json::Value::String(text)) => Value::Text(text),
        Ok(serde_json::Value::Bool(value)) => Value::Boolean(value),
        Ok(serde_json::Value::Null) => Value::Null,
        _ => Value::Json(json.to_owned()),
    }
}

fn push(kept: &mut Vec<Record>, record: Record) -> Result<(), Failure> {
    if kept.len() >= RECORDS_MAX {
        return Err(rejected(format!(
            "the event would become more than {RECORDS_MAX} records"
        )));
    }
    kept.push(record);
    Ok(())
}
