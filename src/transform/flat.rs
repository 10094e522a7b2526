//! The contract's interface `flat`: one list of bytes for all that a call reads and writes. `sdk/wit/plugin.wit` says how it
//! is made.

use super::{documents::EditRef, fault::Fault};
use crate::{
    event::Validated,
    json::{FoundValue, NewValue},
};

/// In the place of a text's length.
const ABSENT: u32 = u32::MAX;
/// In the place of a value.
const NOTHING: u8 = 7;

/// Writes an event's attributes in the place of what `room` holds.
pub(super) fn write_attributes(room: &mut Vec<u8>, event: &Validated) {
    let decoded = event.event();
    let attributes = &decoded.attributes;
    room.clear();
    for attribute in [
        Some(&*attributes.id),
        Some(&*attributes.source),
        Some(attributes.event_type.as_str()),
        attributes.subject.as_deref(),
        Some(&*attributes.time),
        attributes.app_version.as_deref(),
        Some(decoded.partner.as_str()),
        Some(event.schema()),
    ] {
        match attribute {
            Some(text) => write_text(room, text),
            None => room.extend_from_slice(&ABSENT.to_le_bytes()),
        }
    }
}

fn write_text(room: &mut Vec<u8>, text: &str) {
    // A text of a guest or of an event never has 4 GiB.
    let bytes = u32::try_from(text.len()).unwrap_or(ABSENT);
    room.extend_from_slice(&bytes.to_le_bytes());
    room.extend_from_slice(text.as_bytes());
}

/// Writes what was found at a pointer.
pub(super) fn write_value(room: &mut Vec<u8>, value: Option<&FoundValue<'_>>) {
    match value {
        None => room.push(NOTHING),
        Some(FoundValue::Null) => room.push(0),
        Some(FoundValue::Boolean(value)) => room.push(1 + u8::from(*value)),
        Some(FoundValue::Integer(value)) => {
            room.push(3);
            room.extend_from_slice(&value.to_le_bytes());
        }
        Some(FoundValue::Number(value)) => {
            room.push(4);
            room.extend_from_slice(&value.to_le_bytes());
        }
        Some(FoundValue::Text(text)) => {
            room.push(5);
            write_text(room, text);
        }
        Some(FoundValue::Json(text)) => {
            room.push(6);
            write_text(room, text);
        }
    }
}

/// Reads a guest's request.
pub(super) struct Request<'r> {
    rest: &'r [u8],
}

impl<'r> Request<'r> {
    pub(super) fn new(bytes: &'r [u8]) -> Request<'r> {
        Request { rest: bytes }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many edits follow.
    pub(super) fn count(&mut self) -> Result<u32, Fault> {
        self.number().map(u32::from_le_bytes)
    }

    pub(super) fn edit(&mut self) -> Result<EditRef<'r>, Fault> {
        Ok(match self.byte()? {
            0 => EditRef::Set(self.text()?, self.value()?),
            1 => EditRef::Remove(self.text()?),
            2 => EditRef::Move(self.text()?, self.text()?),
            _ => return Err(Fault::Request("an edit of no kind that there is")),
        })
    }

    pub(super) fn text(&mut self) -> Result<&'r str, Fault> {
        let bytes = u32::from_le_bytes(self.number()?);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let Some((text, rest)) = self.rest.split_at_checked(bytes) else {
            return Err(Fault::Request("a text that is longer than what follows"));
        };
        self.rest = rest;
        simdutf8::basic::from_utf8(text).map_err(|_| Fault::Request("a text that is not UTF-8"))
    }

    fn value(&mut self) -> Result<NewValue, Fault> {
        Ok(match self.byte()? {
            0 => NewValue::Null,
            1 => NewValue::Boolean(false),
            2 => NewValue::Boolean(true),
            3 => NewValue::Integer(i64::from_le_bytes(self.number()?)),
            4 => NewValue::Number(f64::from_le_bytes(self.number()?)),
            5 => NewValue::Text(self.text()?.to_owned()),
            6 => NewValue::Json(self.text()?.to_owned()),
            _ => return Err(Fault::Request("a value of no kind that there is")),
        })
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        self.number::<1>().map(|[byte]| byte)
    }

    fn number<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], Fault> {
        let Some((number, rest)) = self.rest.split_first_chunk() else {
            return Err(Fault::Request("an end in the middle"));
        };
        self.rest = rest;
        Ok(*number)
    }
}
