//! How an item stands in the spool and in the store: a header in JSON, then the data, byte for byte as it was sent.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    batch::{Group, Packing},
    item::{Kept, KeptRecord},
};
use crate::{
    event::{Attributes, Decoded, PartnerName, Reason, Record, RecordAttributes, RouteName, Violation},
    json::Document,
    limits::DEPTH_CEILING,
    problem::Code,
};

/// Of the header; a reader of a later version reads every earlier one.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    id: Uuid,
    partner: PartnerName,
    attributes: Arc<Attributes>,
    received: Timestamp,
    id_generated: bool,
    traceparent: Option<String>,
    code: Code,
    detail: String,
    errors: Vec<Violation>,
    routes: Option<Vec<RouteName>>,
    record: Option<RecordHeader>,
}

#[derive(Serialize, Deserialize)]
struct RecordHeader {
    destination: String,
    about: RecordAttributes,
    topic: String,
    key: Option<String>,
    headers: Vec<(String, String)>,
    value_is_json: bool,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FormError {
    #[error("an item is cut short")]
    Short,
    #[error("an item has the unknown version {0}")]
    Version(u8),
    #[error("an item's header: {0}")]
    Header(#[from] serde_json::Error),
    #[error("an item's data: {0}")]
    Data(#[from] crate::json::ParseError),
    #[error("an item's bytes: {0}")]
    Bytes(#[from] base64::DecodeError),
    #[error("the object is no batch")]
    NoBatch,
    #[error("compression: {0}")]
    Compression(#[from] std::io::Error),
}

pub(super) fn encode(kept: &Kept) -> Bytes {
    let event = &kept.event;
    let header = Header {
        id: kept.id,
        partner: event.partner.clone(),
        attributes: event.attributes.clone(),
        received: event.received,
        id_generated: event.id_generated,
        traceparent: event.traceparent.clone(),
        code: kept.reason.code,
        detail: kept.reason.detail.clone(),
        errors: kept.reason.errors.clone(),
        routes: kept.routes.clone(),
        record: kept
            .record
            .as_ref()
            .map(|KeptRecord { destination, record }| RecordHeader {
                destination: destination.clone(),
                about: RecordAttributes::clone(&record.about),
                topic: record.topic.to_string(),
                key: record.key.as_deref().map(str::to_owned),
                headers: record.headers.to_vec(),
                value_is_json: record.value_is_json,
            }),
    };
    let header = serde_json::to_vec(&header).expect("a header of strings and numbers is always JSON");
    let data = event.data.bytes();
    let mut bytes = BytesMut::with_capacity(5 + header.len() + data.len());
    bytes.put_u8(VERSION);
    bytes.put_u32_le(
        u32::try_from(header.len()).expect("attributes and violations are bounded far below 4 GiB"),
    );
    bytes.put_slice(&header);
    bytes.put_slice(&data);
    bytes.freeze()
}

/// Whose an encoded item is.
pub(super) fn partner(payload: &[u8]) -> Option<&str> {
    #[derive(Deserialize)]
    struct Owned<'a> {
        partner: &'a str,
    }
    let (version, rest) = payload.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let header = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let known = *version == VERSION;
    known
        .then(|| serde_json::from_slice::<Owned<'_>>(header).ok())
        .flatten()
        .map(|owned| owned.partner)
}

/// The header's text, and what follows it.
fn split(payload: &Bytes) -> Result<(Bytes, Bytes), FormError> {
    let mut rest = payload.clone();
    let version = rest.try_get_u8().map_err(|_| FormError::Short)?;
    if version != VERSION {
        return Err(FormError::Version(version));
    }
    let header_bytes = rest.try_get_u32_le().map_err(|_| FormError::Short)? as usize;
    if rest.len() < header_bytes {
        return Err(FormError::Short);
    }
    Ok((rest.split_to(header_bytes), rest))
}

#[derive(Deserialize)]
struct Listed {
    id: Uuid,
    partner: String,
    attributes: Attributes,
    received: Timestamp,
    code: Code,
}

/// Of an encoded item. The id is the header's first member, so that no more of it need be read.
pub(super) fn id(payload: &Bytes) -> Option<Uuid> {
    const BEFORE: &[u8] = b"{\"id\":\"";
    const TEXT_BYTES: usize = 36;
    let header = payload.get(5..)?.strip_prefix(BEFORE)?;
    Uuid::try_parse_ascii(header.get(..TEXT_BYTES)?).ok()
}

/// What the index holds of an encoded item, without a look at its data.
pub(super) fn packing(payload: Bytes) -> Result<Packing, FormError> {
    let listed: Listed = serde_json::from_slice(&split(&payload)?.0)?;
    Ok(Packing {
        id: listed.id,
        group: Group {
            partner: listed.partner,
            event_type: listed.attributes.event_type.into(),
            app_version: listed.attributes.app_version,
            code: listed.code,
        },
        received_us: listed.received.as_microsecond(),
        payload,
    })
}

pub(super) fn decode(payload: &Bytes) -> Result<Kept, FormError> {
    let (header, rest) = split(payload)?;
    let header: Header = serde_json::from_slice(&header)?;
    let record = header.record.map(|kept| restore(kept, &rest)).transpose()?;
    Ok(Kept {
        id: header.id,
        event: Decoded {
            partner: header.partner,
            attributes: header.attributes,
            data: Document::parse(rest, DEPTH_CEILING)?,
            received: header.received,
            id_generated: header.id_generated,
            traceparent: header.traceparent,
        },
        reason: Reason {
            code: header.code,
            detail: header.detail,
            errors: header.errors,
        },
        routes: header.routes,
        record,
    })
}

fn restore(kept: RecordHeader, data: &Bytes) -> Result<KeptRecord, FormError> {
    let value = if kept.value_is_json {
        data.clone()
    } else {
        use base64::Engine as _;
        let text: &[u8] = data
            .strip_prefix(b"\"")
            .and_then(|text| text.strip_suffix(b"\""))
            .unwrap_or(data);
        base64::engine::general_purpose::STANDARD.decode(text)?.into()
    };
    Ok(KeptRecord {
        destination: kept.destination,
        record: Record {
            about: kept.about.into(),
            topic: kept.topic.into(),
            key: kept.key.map(Into::into),
            headers: kept.headers.into(),
            value,
            value_is_json: kept.value_is_json,
            is_alone: false,
            item: None,
        },
    })
}
