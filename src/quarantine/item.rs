//! What is kept of an event, and how it is shown and chosen.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::batch::Group;
use crate::{
    event::{Decoded, Reason, Record, RouteName, Violation},
    json::{Document, ParseError},
    limits::DEPTH_CEILING,
    problem::Code,
};

/// An event that waits, with all that a replay needs.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Ascending in time.
    pub id: Uuid,
    pub event: Decoded,
    pub reason: Reason,
    /// The routes that have not delivered it; absent: all that match when it is replayed.
    pub routes: Option<Vec<RouteName>>,
    /// Where a destination refused one finished record: that record, in the place of the event, whose other records have
    /// gone out. `event.data` then holds its value.
    pub record: Option<KeptRecord>,
}

/// A record that its destination refused for good.
#[derive(Clone, Debug)]
pub struct KeptRecord {
    pub destination: String,
    pub record: Record,
}

impl Kept {
    pub fn new(event: Decoded, reason: Reason, routes: Option<Vec<RouteName>>) -> Kept {
        Kept {
            id: Uuid::now_v7(),
            event,
            reason,
            routes,
            record: None,
        }
    }

    /// A record that `destination` refused, for that destination alone.
    ///
    /// # Errors
    ///
    /// Never for a value that is JSON, as a record's value is unless its plugin gave bytes; those are kept as a JSON
    /// string in base64.
    pub fn refused(destination: String, record: Record, detail: String) -> Result<Kept, ParseError> {
        let value = if record.value_is_json {
            record.value.clone()
        } else {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(&record.value);
            format!("\"{text}\"").into()
        };
        let about = &record.about;
        let event = Decoded {
            partner: about.partner.clone(),
            attributes: about.attributes.clone(),
            data: Document::parse(value, DEPTH_CEILING)?,
            received: about.received,
            id_generated: false,
            traceparent: about.traceparent.clone(),
        };
        Ok(Kept {
            record: Some(KeptRecord { destination, record }),
            ..Kept::new(event, Reason::new(Code::DeliveryRefused, detail), None)
        })
    }

    /// A record of this item that its destination refused: an item of its own, beside this one in the order. `number`
    /// counts, from 0, the refusals by one destination of records of one route that say the same. Its id is the same
    /// each time, so that a replay that begins anew after a crash keeps it once.
    ///
    /// # Errors
    ///
    /// As [`Kept::refused`].
    pub fn refused_again(
        &self,
        destination: String,
        record: Record,
        number: u32,
        detail: String,
    ) -> Result<Kept, ParseError> {
        const BITS_AT: usize = 12;
        let mut hash = Sha256::new();
        hash.update(self.id.as_bytes());
        hash.update(number.to_le_bytes());
        for name in [destination.as_str(), record.about.route.as_str()] {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name.as_bytes());
        }
        hash.update(record.digest());
        let digest = hash.finalize();
        // In front of these are the time and a count within it.
        let mut id = *self.id.as_bytes();
        for (byte, hashed) in id.iter_mut().skip(BITS_AT).zip(digest) {
            *byte = hashed;
        }
        Ok(Kept {
            id: Uuid::from_bytes(id),
            ..Kept::refused(destination, record, detail)?
        })
    }

    pub(super) fn group(&self) -> Group {
        let attributes = &self.event.attributes;
        Group {
            partner: self.event.partner.as_str().to_owned(),
            event_type: attributes.event_type.as_str().to_owned(),
            app_version: attributes.app_version.clone(),
            code: self.reason.code,
        }
    }

    pub fn item(&self) -> Item {
        let attributes = &self.event.attributes;
        Item {
            id: self.id.to_string(),
            event_id: attributes.id.to_string(),
            partner: self.event.partner.to_string(),
            event_type: attributes.event_type.to_string(),
            source: attributes.source.clone(),
            app_version: attributes.app_version.clone(),
            code: self.reason.code,
            detail: self.reason.detail.clone(),
            errors: self.reason.errors.clone(),
            received: self.event.received,
            size: self.event.data.bytes().len() as u64,
        }
    }

    /// All that was kept, for whoever looks at one item.
    ///
    /// # Errors
    ///
    /// Never: attributes and data are JSON.
    pub fn whole(&self) -> Result<WholeItem, serde_json::Error> {
        Ok(WholeItem {
            item: self.item(),
            attributes: serde_json::to_value(&self.event.attributes)?,
            data: serde_json::from_slice(&self.event.data.bytes())?,
        })
    }
}

/// Which items; absent members match any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    pub partner: Option<String>,
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    #[serde(rename = "appversion")]
    pub app_version: Option<String>,
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub code: Option<Code>,
    /// Received at or after.
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub from: Option<Timestamp>,
    /// Received before.
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub to: Option<Timestamp>,
}

impl Filter {
    pub(super) fn takes(&self, group: &Group) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.partner, &group.partner)
            && is(&self.event_type, &group.event_type)
            && is(
                &self.app_version,
                group.app_version.as_deref().unwrap_or_default(),
            )
            && self.code.is_none_or(|code| code == group.code)
    }

    pub(super) fn is_in_time(&self, received_us: i64) -> bool {
        self.from.is_none_or(|from| received_us >= from.as_microsecond())
            && self.to.is_none_or(|to| received_us < to.as_microsecond())
    }

    pub(super) fn asks_for_time(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }
}

/// One item as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Item {
    pub id: String,
    pub event_id: String,
    pub partner: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub source: String,
    #[serde(rename = "appversion", skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    #[schema(value_type = String)]
    pub code: Code,
    pub detail: String,
    #[serde(default)]
    pub errors: Vec<Violation>,
    #[schema(value_type = String)]
    pub received: Timestamp,
    /// Bytes of the data.
    pub size: u64,
}

/// One item with all that was kept.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WholeItem {
    #[serde(flatten)]
    pub item: Item,
    /// The event's CloudEvents attributes.
    #[schema(value_type = Object)]
    pub attributes: serde_json::Value,
    /// As sent.
    #[schema(value_type = Object)]
    pub data: Box<serde_json::value::RawValue>,
}

/// What a replay or discard did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    pub matched: u64,
    pub accepted: u64,
    pub quarantined: u64,
    pub discarded: u64,
    /// More items match than one call takes.
    pub more: bool,
    /// Give this as `after` for the rest; absent where there is none. Items that cannot go out yet are behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next: Option<Uuid>,
    /// Items that matched when the call began, from `after` on, those beyond `limit` included.
    #[serde(default)]
    pub total: u64,
}
