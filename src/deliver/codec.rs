//! A record as it lies in a spool: a version byte, then fields in a fixed order, each with its length.
//!
//! Version 1: texts and bytes as `u32` length and content, an absent text as length `u32::MAX`, the time of receipt
//! as seconds (`i64`) and nanoseconds (`i32`), flags as one byte, all little-endian; last, where a flag says so, an id
//! of 16 bytes. A later version gets another number; readers keep the old ones.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use uuid::Uuid;

use super::KnownEvent;
use crate::event::{Attributes, Record, RecordAttributes};

const VERSION: u8 = 1;
const ABSENT: u32 = u32::MAX;
const VALUE_IS_JSON: u8 = 1;
/// A reader that does not know this flag only forgets which events it has.
const IS_ALONE: u8 = 2;
/// Behind the value stand the 16 bytes of the item's id. A reader that does not know this flag passes over them.
const HAS_ITEM: u8 = 4;

/// Why an entry of a spool is no record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("version {0} of the record format is unknown")]
    Version(u8),
    #[error("the record ends too early")]
    Short,
    #[error("the record holds invalid {0}")]
    Invalid(&'static str),
}

pub(super) fn encode(record: &Record) -> Bytes {
    let about = &*record.about;
    let attributes = &about.attributes;
    let headers: usize = record
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 8)
        .sum();
    let mut writer = Writer(BytesMut::with_capacity(512 + headers + record.value.len()));
    writer.0.put_u8(VERSION);
    let is_json = if record.value_is_json { VALUE_IS_JSON } else { 0 };
    let is_alone = if record.is_alone { IS_ALONE } else { 0 };
    let has_item = if record.item.is_some() { HAS_ITEM } else { 0 };
    writer.0.put_u8(is_json | is_alone | has_item);
    writer.text(&attributes.id);
    writer.text(&attributes.source);
    writer.text(attributes.event_type.as_str());
    writer.text(&attributes.time);
    writer.optional(attributes.subject.as_deref());
    writer.optional(attributes.app_version.as_deref());
    writer.text(about.partner.as_str());
    writer.text(&about.schema);
    writer.optional(about.plugin.as_deref());
    writer.text(about.route.as_str());
    writer.0.put_i64_le(about.received.as_second());
    writer.0.put_i32_le(about.received.subsec_nanosecond());
    writer.optional(about.traceparent.as_deref());
    writer.text(&record.topic);
    writer.optional(record.key.as_deref());
    writer.length(record.headers.len());
    for (name, value) in &*record.headers {
        writer.text(name);
        writer.text(value);
    }
    writer.length(record.value.len());
    writer.0.put_slice(&record.value);
    if let Some(item) = record.item {
        writer.0.put_slice(item.as_bytes());
    }
    writer.0.freeze()
}

/// What [`encode`] makes of a record, in bytes.
pub(super) fn encoded_bytes(record: &Record) -> usize {
    const LENGTH: usize = size_of::<u32>();
    let about = &*record.about;
    let attributes = &about.attributes;
    let texts = [
        &*attributes.id,
        &attributes.source,
        attributes.event_type.as_str(),
        &attributes.time,
        about.partner.as_str(),
        &about.schema,
        about.route.as_str(),
        &record.topic,
    ];
    let optional = [
        attributes.subject.as_deref(),
        attributes.app_version.as_deref(),
        about.plugin.as_deref(),
        about.traceparent.as_deref(),
        record.key.as_deref(),
    ];
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| name.len() + value.len() + 2 * LENGTH);
    let version_and_flags = 2;
    let received = size_of::<i64>() + size_of::<i32>();
    let lengths = LENGTH * (texts.len() + optional.len() + 2);
    let all_texts = texts.into_iter().chain(optional.into_iter().flatten());
    version_and_flags
        + received
        + lengths
        + all_texts.map(str::len).sum::<usize>()
        + headers.sum::<usize>()
        + record.value.len()
        + record.item.map_or(0, |item| item.as_bytes().len())
}

/// Whose an encoded record is, without decoding the rest.
pub(super) fn partner(entry: &[u8]) -> Option<&str> {
    let (_, mut texts) = begin(entry)?;
    texts.nth(6)?
}

/// The event of an encoded record, where the record is all that the event became and came in after `since`.
pub(super) fn known(entry: &[u8], since: Timestamp) -> Option<KnownEvent> {
    let (flags, mut texts) = begin(entry)?;
    if flags & IS_ALONE == 0 {
        return None;
    }
    let (id, source) = (texts.next()??, texts.next()??);
    let partner = texts.nth(4)??;
    // Schema, plugin and route.
    texts.nth(2)?;
    let (second, rest) = texts.0.split_first_chunk()?;
    let (nanosecond, _) = rest.split_first_chunk()?;
    let received = Timestamp::new(i64::from_le_bytes(*second), i32::from_le_bytes(*nanosecond)).ok()?;
    (received > since).then(|| KnownEvent {
        partner: partner.into(),
        source: source.into(),
        id: id.into(),
    })
}

/// Flags and texts of an encoded record, borrowed.
fn begin(entry: &[u8]) -> Option<(u8, Texts<'_>)> {
    let (header, rest) = entry.split_first_chunk()?;
    let [version, flags] = *header;
    (version == VERSION).then_some((flags, Texts(rest)))
}

struct Texts<'a>(&'a [u8]);

impl<'a> Iterator for Texts<'a> {
    /// None where it is absent.
    type Item = Option<&'a str>;

    fn next(&mut self) -> Option<Option<&'a str>> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = match u32::from_le_bytes(*length) {
            ABSENT => {
                self.0 = rest;
                return Some(None);
            }
            length => length as usize,
        };
        let (text, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(Some)
    }
}

pub(super) fn decode(entry: &Bytes) -> Result<Record, DecodeError> {
    let mut reader = Reader(entry.clone());
    let version = reader.byte()?;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    let flags = reader.byte()?;
    let about = RecordAttributes {
        attributes: Arc::new(Attributes {
            client_ip: None,
            user_agent: None,
            id: reader.text()?.into(),
            source: reader.text()?,
            event_type: reader.parsed("event type")?,
            time: reader.text()?,
            subject: reader.optional()?,
            app_version: reader.optional()?,
        }),
        partner: reader.parsed("partner")?,
        schema: reader.text()?.into(),
        plugin: reader.optional()?.map(Into::into),
        route: reader.parsed("route")?,
        received: reader.time()?,
        traceparent: reader.optional()?,
    };
    Ok(Record {
        about: Arc::new(about),
        topic: reader.text()?.into(),
        key: reader.optional()?.map(Into::into),
        headers: reader.headers()?,
        value: reader.content()?,
        value_is_json: flags & VALUE_IS_JSON != 0,
        is_alone: flags & IS_ALONE != 0,
        item: (flags & HAS_ITEM != 0).then(|| reader.item()).transpose()?,
    })
}

/// Shared with the files' note.
pub(super) struct Writer(pub(super) BytesMut);

impl Writer {
    /// Nothing in a record comes near 4 GiB: bodies are bounded far below.
    pub(super) fn length(&mut self, length: usize) {
        self.0.put_u32_le(u32::try_from(length).unwrap_or(ABSENT));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.put_slice(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.0.put_u32_le(ABSENT),
        }
    }
}

/// Shared with the files' note.
pub(super) struct Reader(pub(super) Bytes);

impl Reader {
    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], DecodeError> {
        let array = *self.0.first_chunk().ok_or(DecodeError::Short)?;
        self.0 = self.0.slice(LENGTH..);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn take(&mut self, length: u32) -> Result<Bytes, DecodeError> {
        let length = length as usize;
        if length > self.0.len() {
            return Err(DecodeError::Short);
        }
        Ok(self.0.split_to(length))
    }

    fn content(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.u32()?;
        self.take(length)
    }

    fn text_of(&mut self, length: u32) -> Result<String, DecodeError> {
        let content = self.take(length)?;
        std::str::from_utf8(&content)
            .map(str::to_owned)
            .map_err(|_| DecodeError::Invalid("UTF-8"))
    }

    pub(super) fn text(&mut self) -> Result<String, DecodeError> {
        let length = self.u32()?;
        self.text_of(length)
    }

    fn optional(&mut self) -> Result<Option<String>, DecodeError> {
        match self.u32()? {
            ABSENT => Ok(None),
            length => self.text_of(length).map(Some),
        }
    }

    fn parsed<T: TryFrom<String>>(&mut self, what: &'static str) -> Result<T, DecodeError> {
        T::try_from(self.text()?).map_err(|_| DecodeError::Invalid(what))
    }

    fn time(&mut self) -> Result<Timestamp, DecodeError> {
        let second = i64::from_le_bytes(self.array()?);
        let nanosecond = i32::from_le_bytes(self.array()?);
        Timestamp::new(second, nanosecond).map_err(|_| DecodeError::Invalid("time of receipt"))
    }

    fn item(&mut self) -> Result<Uuid, DecodeError> {
        self.array().map(Uuid::from_bytes)
    }

    fn headers(&mut self) -> Result<Arc<[(String, String)]>, DecodeError> {
        let count = self.u32()?;
        (0..count).map(|_| Ok((self.text()?, self.text()?))).collect()
    }
}
